import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.errors import InputError
from featureinterp.subject.names import hook_name, hook_point, layer_of, select_layers

N_LAYERS = st.integers(2, 60)


@given(N_LAYERS)
def test_even_and_odd_part_all(n):
    even, odd, every = (select_layers(text, n) for text in ("even", "odd", "all"))
    assert sorted(even + odd) == list(every) == list(range(n))
    assert not set(even) & set(odd)


@given(N_LAYERS, st.data())
def test_numbers_come_back_sorted_without_repeats(n, data):
    chosen = data.draw(st.lists(st.integers(0, n - 1), min_size=1))
    assert select_layers(",".join(map(str, chosen)), n) == tuple(sorted(set(chosen)))


@given(N_LAYERS, st.text(max_size=8))
def test_anything_else_is_layers_of_the_model_or_an_error(n, text):
    try:
        layers = select_layers(text, n)
    except InputError:
        return
    assert layers and set(layers) <= set(range(n))


@given(N_LAYERS, st.integers(0, 1000))
def test_a_layer_beyond_the_last_is_refused(n, beyond):
    with pytest.raises(InputError):
        select_layers(f"0,{n + beyond}", n)


@given(st.integers(0, 1000), st.sampled_from(["pre", "post"]))
def test_hook_names_give_their_layer_back(layer, side):
    name = hook_name(layer, "blocks.{layer}.hook_resid_" + side)
    assert layer_of(name) == hook_point(name).layer == layer
