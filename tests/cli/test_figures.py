"""The command `figures` and the original's figure programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.report import experiments

ROOT = Path(__file__).resolve().parents[2]


def test_figures_names_what_it_made_and_what_is_missing(cli, tmp_path: Path) -> None:
    folder = experiments.explainers(tmp_path, "docs", ("tree-structured",))
    made = cli("figures", folder, "--out", tmp_path / "out")
    assert made.code == 0, made.err
    paths = [Path(line) for line in made.out.split()]
    assert paths == [tmp_path / "out/figures/explainers.pdf", tmp_path / "out/tables/explainers.tex"]
    assert all(path.is_file() for path in paths)
    assert "Missing: docs has no run of one-shot-unstructured, one-shot-structured" in made.err
    assert not (folder / "figures").exists()


def test_an_experiment_without_explanations_is_no_error(cli, tmp_path: Path) -> None:
    names = ("complementary", "docs", "tree")
    folder = experiments.write_run(tmp_path, names, [experiments.failed(0, 1)], {"explainer": "tree"})
    made = cli("figures", folder)
    assert made.code == 0
    assert "There is nothing to draw yet." in made.out
    assert "none of 1 features has an explanation" in made.err


def test_what_cannot_be_drawn_is_told(cli, run: Path, tmp_path: Path) -> None:
    assert cli("figures", tmp_path).code == 2
    single = cli("figures", run)
    assert single.code == 2
    assert "no experiment" in single.err


def test_report_makes_a_page_of_an_experiment(cli, tmp_path: Path) -> None:
    folder = experiments.layers(tmp_path)
    made = cli("report", folder)
    assert made.code == 0, made.err
    assert made.out == f"The page: {(folder / 'report/index.html').resolve()}\n"
    assert (folder / "report/runs/docs_tiny_tree/features/1-0.html").is_file()
    again = cli("report", folder, "--out", tmp_path / "again")  # what a report holds is no run
    assert again.code == 0
    refused = cli("report", folder, "--beside", folder / "docs_tiny" / "tree")
    assert refused.code == 2
    assert "holds several runs" in refused.err


@pytest.mark.parametrize(
    ("program", "make"),
    [
        ("complementary_sentences_figs", experiments.complementary),
        ("explainer_comparison_figs", experiments.explainers),
        ("polysemanticity_figs", experiments.polysemanticity),
    ],
)
def test_the_originals_programs_draw_what_lies_in_results(program: str, make, tmp_path: Path) -> None:
    source = ROOT / "paper_figs" / f"{program}.py"
    assert len(source.read_text().splitlines()) <= 60
    make(tmp_path / "results")
    command = [sys.executable, str(source)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    drawn = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert drawn.returncode == 0, drawn.stderr
    assert all((tmp_path / line).is_file() for line in drawn.stdout.split())
    nothing = subprocess.run(
        [*command, "--results", "no"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert nothing.returncode == 2
    assert "Traceback" not in nothing.stderr
