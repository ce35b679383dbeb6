"""The tutorial notebook runs from an empty folder to the figures, and is stored without outputs."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "examples/tutorial.ipynb"


def read() -> nbformat.NotebookNode:
    notebook = nbformat.read(TUTORIAL, as_version=4)
    nbformat.validate(notebook)
    return notebook


def test_it_is_stored_as_if_it_was_never_run() -> None:
    cells = [cell for cell in read().cells if cell.cell_type == "code"]
    assert cells
    assert len(read().cells) <= 16
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


@pytest.mark.slow
def test_it_runs_from_records_to_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    notebook = read()
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    shown = [output.data for output in outputs if "data" in output]
    assert sum("activation" in each.get("text/html", "") for each in shown) >= 1, "the record is drawn"
    assert sum("correlation" in each.get("text/html", "") for each in shown) >= 2, "scored sentences and the frame"
    assert sum("image/png" in each for each in shown) == 3, "both variants by source, and beside each other"
    runs = tmp_path / "tutorial/results/complementary/python-docs_embedded"
    assert sorted(run.parent.name for run in runs.glob("*/run.sqlite")) == ["one-shot", "tree"]
