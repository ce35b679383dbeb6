import pytest

from featureinterp.errors import InputError
from featureinterp.subject.names import ResidualPoint, hook_name, layer_of, residual_point, select_layers


def test_hook_name_and_layer_are_inverse():
    assert hook_name(3) == "blocks.3.hook_resid_post"
    assert layer_of(hook_name(17)) == 17
    assert hook_name(2, "blocks.{layer}.hook_resid_pre") == "blocks.2.hook_resid_pre"


def test_points_of_the_residual_stream():
    assert residual_point("blocks.4.hook_resid_pre") == ResidualPoint(4, is_input=True)
    assert residual_point("blocks.4.hook_resid_post") == ResidualPoint(4, is_input=False)


@pytest.mark.parametrize("name", ["blocks.4.hook_mlp_out", "blocks.4.attn.hook_z", "hook_resid_post", ""])
def test_other_hooks_are_refused(name):
    with pytest.raises(InputError, match="residual stream"):
        residual_point(name)


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
