"""Text on every ground of the pages has the contrast that WCAG AA asks for, in light and dark."""

import re
from importlib.resources import files

import pytest

CSS = files("featureinterp.report.pages").joinpath("templates/report.css").read_text()


def colours(of: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", of))


LIGHT = colours(CSS[: CSS.index("@media")])
DARK = LIGHT | colours(CSS[CSS.index("@media screen and (prefers-color-scheme: dark)") : CSS.index("* { box-sizing")])


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_formula() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["ground", "panel", "accent-ground"])
@pytest.mark.parametrize("text", ["ink", "soft", "accent", "true"])
def test_text_can_be_read(scheme: dict[str, str], ground: str, text: str) -> None:
    assert contrast(scheme[text], scheme[ground]) >= 4.5


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_higher_levels_stand_out_more(scheme: dict[str, str]) -> None:
    for kind in "te":
        steps = [contrast(scheme[f"{kind}{level}"], scheme["ground"]) for level in range(1, 6)]
        assert steps == sorted(steps)
        assert steps[-1] >= 3


def test_the_two_schemes_differ() -> None:
    assert luminance(LIGHT["ground"]) > 0.9
    assert luminance(DARK["ground"]) < 0.02
