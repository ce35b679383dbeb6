import pytest

from featureinterp.errors import InputError
from featureinterp.subject.names import KINDS, HookPoint, hook_name, hook_point, layer_of, select_layers


def test_hook_name_and_layer_are_inverse():
    assert hook_name(3) == "blocks.3.hook_resid_post"
    assert layer_of(hook_name(17)) == 17
    assert hook_name(2, "blocks.{layer}.hook_resid_pre") == "blocks.2.hook_resid_pre"


@pytest.mark.parametrize("kind", KINDS)
def test_points_of_a_block(kind):
    assert hook_point(f"blocks.4.{kind}") == HookPoint(4, kind)


def test_a_path_of_a_module_is_a_point_too():
    assert hook_point("model.layers.7") == HookPoint(7, None)
    assert hook_point("transformer.h.0.mlp") == HookPoint(0, None)


@pytest.mark.parametrize("name", ["blocks.4.attn.hook_q", "blocks.4.hook_resid", "blocks.4.hook_resid_post.hook_sae"])
def test_other_points_of_a_block_are_refused_and_the_known_ones_named(name):
    with pytest.raises(InputError, match=r"cannot be read: .* \(the points are hook_resid_pre, .*mlp.hook_post\)"):
        hook_point(name)


def test_a_name_without_layer_is_refused():
    with pytest.raises(InputError, match="no layer number"):
        layer_of("hook_embed")


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("all", (0, 1, 2, 3, 4)),
        ("even", (0, 2, 4)),
        ("odd", (1, 3)),
        ("3", (3,)),
        ("4,0, 4", (0, 4)),
        (" ALL ", (0, 1, 2, 3, 4)),
    ],
)
def test_select_layers(text, layers):
    assert select_layers(text, 5) == layers


@pytest.mark.parametrize("text", ["5", "-1", "", "1,,2", "1;2", "two", "1.0", "²", "1-3"])
def test_a_bad_choice_names_the_valid_range(text):
    with pytest.raises(InputError, match="layers 0 to 4"):
        select_layers(text, 5)


def test_odd_layers_of_a_one_layer_model_are_none():
    with pytest.raises(InputError, match="layers 0 to 0"):
        select_layers("odd", 1)


@pytest.mark.parametrize("text", ["9" * 5000, "\u0663", "1, " + "0" * 5000, "spaced:0", "spaced:\u0663", "\0", "1e999"])
def test_numbers_of_any_length_and_script_are_refused_in_a_sentence(text):
    with pytest.raises(InputError, match="cannot be selected") as refused:
        select_layers(text, 5)
    assert len(str(refused.value)) < 1200
    with pytest.raises(InputError):
        layer_of(f"blocks.{text}.hook_resid_post" if len(text) > 6 else text)
