"""What a newcomer types first: help, version, doctor."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from featureinterp import __version__
from featureinterp.cli.commands.doctor import control_table, figure_table
from featureinterp.cli.options import numbers
from featureinterp.errors import InputError
from featureinterp.experiment import doctor
from featureinterp.experiment.doctor import Figure
from featureinterp.subject.embedded import card

HEAVY = ("numpy", "torch", "transformers", "sae_lens", "sentence_transformers", "matplotlib", "jinja2")


def test_help_and_version_load_nothing_heavy_and_answer_at_once():
    program = f"import featureinterp.cli, sys; print(*sorted(set(sys.modules) & {set(HEAVY)!r}))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"
    before = os.times()
    command = [sys.executable, "-m", "featureinterp.cli", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    after = os.times()
    assert all(name in shown.stdout for name in ("demo", "records", "explain", "results", "show", "report", "doctor"))
    assert after.children_user - before.children_user < 1.0


def test_version(cli):
    assert cli("--version").out == f"featureinterp {__version__}\n"


FIGURES = [
    Figure("bits per byte", 1.5, 1.5, at_most=1.6),
    Figure("layer 0: variance explained", 0.8, None, at_least=0.85),
    Figure("windows", 5567.0, 5600.0),
]


@pytest.mark.parametrize(("figures", "code"), [(FIGURES, 1), (FIGURES[::2], 0)])
def test_doctor_prints_the_figures_and_fails_where_a_promise_is_not_kept(cli, monkeypatch, figures, code):
    monkeypatch.setattr(doctor, "check_embedded", lambda device: figures)
    told = cli("doctor", "--device", "cpu")
    assert told.code == code
    assert ["featureinterp", __version__] in [line.split() for line in told.out.splitlines()]
    assert "device" in told.out
    assert ("not kept" in told.out) == bool(code)


def test_a_table_of_figures_has_what_was_measured_released_and_promised():
    cells = list(zip(*(column.cells for column in figure_table(FIGURES).columns), strict=True))
    assert [tuple(map(str, row)) for row in cells] == [
        ("bits per byte", "1.5", "1.5", "at most 1.6", "ok"),
        ("layer 0: variance explained", "0.8", "", "at least 0.85", "not kept"),
        ("windows", "5567", "5600", "", "ok"),
    ]


def test_numbers_are_read_as_they_are_typed():
    assert numbers(" 3, 17", "latents") == (3, 17)
    assert numbers("", "latents") is None
    with pytest.raises(InputError, match="latents '3;4' cannot be read"):
        numbers("3;4", "latents")
    for hostile in ("9" * 5000, "\u0663", "3,", "-1"):
        with pytest.raises(InputError, match="cannot be read"):
            numbers(hostile, "latents")


def test_doctor_shows_the_scores_of_the_release_beside_those_of_random_weights(cli, monkeypatch):
    monkeypatch.setattr(doctor, "check_embedded", lambda device: FIGURES[::2])
    told = cli("doctor", "--device", "cpu").out
    control = card()["control"]
    corpus = control["scores"]["correlation on the corpus"]
    assert corpus["embedded"]["mean"] - corpus["random weights"]["mean"] == pytest.approx(corpus["lift"][0], abs=1e-3)
    assert f"layer {control['layer']}" in told
    assert f"{corpus['lift'][0]:+.3f}" in told
    assert len(control_table(control).rows) == len(control["scores"])
