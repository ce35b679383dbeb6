"""Figures hold what the runs hold: numbers are read back from what is drawn."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from featureinterp.analysis.means import mean_by
from featureinterp.analysis.read_experiment import read_experiment
from featureinterp.display import visible
from featureinterp.errors import DataFolderError, InputError
from featureinterp.experiment.paper.experiments import EXPERIMENTS, load_experiment
from featureinterp.record import SOURCE_WORDS
from featureinterp.registry import load
from featureinterp.report.figures.files import DrawnExperiment, draw_experiment
from featureinterp.report.figures.style import WIDTHS, Width, style
from featureinterp.report.figures.tables import latex_escape
from tests.report import experiments
from tests.report.experiments import (
    CAP_SCORES,
    EXPLAINERS,
    HOSTILE,
    MAKERS,
    SOURCES,
    at_cap,
    explained,
    failed,
    write_run,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]


def drawn(folder: Path, width: Width = "full") -> dict[str, Figure]:
    """Draw an experiment's figures, by their names, with everything laid out."""
    with style():
        read = read_experiment(folder)
        figures = {each.name: each.figure for each in load(read.experiment.figures)(read, width)}
        for figure in figures.values():
            figure.draw_without_rendering()
    return figures


def draw(folder: Path, latex: bool = False) -> DrawnExperiment:
    """Write an experiment's figures and tables beside its runs."""
    return draw_experiment(read_experiment(folder), folder / "figures", folder / "tables", latex)


def line(axes: Axes, label: str) -> tuple[list[float], list[float]]:
    [found] = [line for line in axes.lines if line.get_label() == label]
    return np.asarray(found.get_xdata(), float).tolist(), np.asarray(found.get_ydata(), float).tolist()


def texts(figure: Figure) -> str:
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_scores_and_false_positives_by_layer_for_each_source(tmp_path: Path) -> None:
    figures = drawn(experiments.complementary(tmp_path))
    assert list(figures) == ["sources_one-shot", "sources_tree", "variants"]
    scores, alarms = figures["sources_tree"].axes
    for place, source in enumerate(SOURCES):
        x, y = line(scores, SOURCE_WORDS[source])
        assert [round(at) for at in x] == [0, 2, 4]
        assert y == pytest.approx([0.4 + 0.02 * layer + 0.05 * 1.5 + 0.01 * place for layer in (0, 2, 4)])
        _, y = line(alarms, SOURCE_WORDS[source])
        assert y == pytest.approx([0.1 * place + 0.01 * 1.5] * 3)
    assert line(scores, "token table") == ([0, 2, 4], pytest.approx([0.3] * 3))


def test_bars_and_bands_are_the_intervals_of_the_analysis(tmp_path: Path) -> None:
    folder = experiments.complementary(tmp_path)
    figures, read = drawn(folder), read_experiment(folder)
    rows = read.scores[(read.scores["variant"] == "tree") & (read.scores["source"] == "similar_negative")]
    wanted = mean_by(rows, ["layer"], "correlation")
    assert (wanted["ci_high"] - wanted["ci_low"] > 0.02).all()
    bars = figures["sources_tree"].axes[0].collections[1].get_segments()  # after same-token negatives
    assert [bar[0][1] for bar in bars] == pytest.approx(wanted["ci_low"].tolist())
    assert [bar[1][1] for bar in bars] == pytest.approx(wanted["ci_high"].tolist())
    [band] = [c for c in figures["variants"].axes[0].collections[1:]]
    corners = np.asarray(band.get_paths()[0].vertices)[:, 1]
    assert set(np.round(corners, 9)) == set(np.round([*wanted["ci_low"], *wanted["ci_high"]], 9))


def test_one_shot_against_tree(tmp_path: Path) -> None:
    score, complexity, rules = drawn(experiments.complementary(tmp_path))["variants"].axes
    for place, variant in enumerate(("one-shot", "tree")):
        wanted = [0.3 + 0.02 * layer + 0.05 * 1.5 + 0.1 * place + 0.03 for layer in (0, 2, 4)]
        assert line(score, variant) == ([0, 2, 4], pytest.approx(wanted))
        assert line(complexity, variant)[1] == [0, 1, 2]
        assert line(rules, variant)[1] == [1 + place] * 3


def test_bars_of_the_explainer_comparison(tmp_path: Path) -> None:
    experiments.explainers(tmp_path)
    experiments.explainers(tmp_path, "other", ("tree-structured",))
    first, second = drawn(tmp_path / "explainers")["explainers"].axes
    widths = {
        f"{bars.get_label()}-{CONFIGURATIONS[round(bar.get_y() + bar.get_height() / 2)]}": bar.get_width()
        for bars in first.containers
        for bar in bars
    }
    assert widths == pytest.approx({name: mean + 0.03 for name, mean in EXPLAINERS.items()})
    assert [bar.get_width() for bars in second.containers for bar in bars] == [pytest.approx(0.48)]
    assert [label.get_text() for label in first.get_yticklabels()] == [c.replace("-", " + ") for c in CONFIGURATIONS]
    assert first.get_xlim() == second.get_xlim()
    note = first.figure._supxlabel.get_text().replace("\n", " ")
    assert "Explanations simulated per feature: one-shot 0.0, best-of-n 0.0, tree 0.0." in note


CONFIGURATIONS = ("unstructured", "structured", "structured-negatives", "structured-holistic")


def test_the_table_has_a_row_for_each_variant_with_its_counts(tmp_path: Path) -> None:
    folder = experiments.explainers(tmp_path, variants=("tree-structured", "one-shot-structured"))
    table = draw(folder).tables[0].read_text()
    rows = [row.split(" & ") for row in table.splitlines() if row.endswith(r"\\")]
    assert {len(row) for row in rows} == {len(rows[0])}
    assert table.count("{@{}" + "ll" + "r" * (len(rows[0]) - 2) + "@{}}") == 1
    assert [row[1] for row in rows[1:]] == ["one-shot-structured", "tree-structured"]
    assert rows[2][2].startswith("0.48 [0.")
    assert rows[2][-3:] == ["6", "0", r"1 \\"]
    for command in ("toprule", "midrule", "bottomrule", "end{tabular}"):
        assert f"\\{command}" in table


def cells(of: str, layer: int, cap: int) -> float:
    """The mean of a heat map's cell, feature by feature."""
    found = []
    for by_cap in CAP_SCORES[layer]:
        known = [score for score in by_cap if score is not None]
        until = [score for score in by_cap[:cap] if score is not None]
        value = by_cap[cap - 1] if of in ("score", "share") else max(until, default=None)
        if of in ("share", "best_so_far_share"):
            value = value / max(known) if value is not None and max(known) > 0 else None
        if value is not None:
            found.append(value)
    return sum(found) / len(found) if found else math.nan


def test_heat_maps_hold_means_and_leave_undefined_cells_open(tmp_path: Path) -> None:
    figure = drawn(experiments.polysemanticity(tmp_path))["rule_caps"]
    maps = [axes for axes in figure.axes if axes.get_title(loc="left")]
    for axes, of in zip(maps, ("score", "share", "best_so_far", "best_so_far_share"), strict=True):
        shown = np.ma.getdata(axes.collections[0].get_array().filled(np.nan)).reshape(3, 3)
        wanted = [[cells(of, layer, cap) for layer in CAP_SCORES] for cap in (1, 2, 3)]
        np.testing.assert_allclose(shown, wanted)
        assert axes.patch.get_hatch()
        assert (axes.get_xlim(), axes.get_ylim()) == ((0, 3), (0, 3))  # nothing but cells
        numbers = sorted(text.get_text() for text in axes.texts)
        assert numbers == sorted(
            f"{value:.2f}".replace("-", "−") for value in np.ravel(wanted) if not math.isnan(value)
        )
    assert math.isnan(cells("score", 6, 1))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["undefined"]


def test_rules_needed_and_their_complexity_by_depth(tmp_path: Path) -> None:
    rules, complexity = drawn(experiments.polysemanticity(tmp_path))["rules_by_depth"].axes
    # 90% of the best: at 2 of (0.5, 0.6) and 3 of (0.2, 0.4); at 1 of (0.9, 0.8) and 3 of (0.5, 1.0); last: no share.
    assert line(rules, "docs_tiny") == ([0, 0.5], [2.5, 2])
    assert line(complexity, "docs_tiny") == ([0, 0.5], [2.5, 2])


def test_each_subject_has_its_own_layers(tmp_path: Path) -> None:
    experiments.polysemanticity(tmp_path)
    only = [at_cap(layer, 0, 0.5) for layer in (1, 6)]
    folder = write_run(tmp_path, ("polysemanticity", "other", "cap-1"), only, {"explainer": "tree", "rule_cap": 1})
    figures = drawn(folder)
    assert set(figures) == {"rule_caps_docs_tiny", "rule_caps_other", "rules_by_depth"}
    ticks = [label.get_text() for label in figures["rule_caps_other"].axes[0].get_xticklabels()]
    assert ticks == ["1", "6"]
    assert line(figures["rules_by_depth"].axes[0], "other")[0] == pytest.approx([1 / 6, 1])


def test_rounds_gaps_and_attempts_of_the_layer_sweep(tmp_path: Path) -> None:
    by_round, by_layer, attempts = drawn(experiments.layers(tmp_path))["search"].axes
    # The best so far by train score is the first attempt, then the second: with train scores 0.7, 0.8 and 0.9.
    assert line(by_round, "train score") == ([0, 1, 2], pytest.approx([0.6, 0.8, 0.8]))
    assert line(by_round, "valid score")[1] == pytest.approx([0.5, 0.4, 0.4])
    assert line(by_round, "test score")[1] == pytest.approx([0.45, 0.3, 0.3])
    # Chosen on valid is the third.
    assert line(by_layer, "chosen on valid") == ([1, 2, 5], pytest.approx([0.15 - 0.01 * layer for layer in (1, 2, 5)]))
    assert line(by_layer, "best on train")[1] == pytest.approx([0.5] * 3)
    x, y = line(attempts, "chosen attempt")
    assert (x, sorted(y)) == ([0.6] * 9, pytest.approx([0.51] * 3 + [0.52] * 3 + [0.55] * 3))
    assert len(line(attempts, "other attempt")[0]) == 18


@pytest.fixture(scope="module", params=sorted(MAKERS))
def every_figure(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Figure]:
    """All figures of an experiment at both widths, with three subjects, one of them hostile, and parts missing."""
    folder = tmp_path_factory.mktemp("experiment")
    for subject in ("docs_tiny", "pile_gpt2", HOSTILE):
        made = MAKERS[request.param](folder, subject)
    return [figure for width in WIDTHS for figure in drawn(made, width).values()]


def visible_texts(figure: Figure) -> list[tuple[str, np.ndarray]]:
    """Return every text that is drawn, with its box in pixels; ticks outside of what an axis spans are not drawn."""
    texts = [figure._supxlabel, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        texts += [*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            texts += [label for tick in axis._update_ticks() for label in (tick.label1, tick.label2)]
    shown = [text for text in texts if text is not None and text.get_visible() and text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent().extents) for text in shown]


def test_no_text_leaves_the_figure_or_meets_another(every_figure: list[Figure]) -> None:
    for figure in every_figure:
        boxes = visible_texts(figure)
        assert len(boxes) > 8
        width, height = figure.get_size_inches() * figure.dpi
        for text, (x0, y0, x1, y1) in boxes:
            assert x0 >= -0.5 and y0 >= -0.5 and x1 <= width + 0.5 and y1 <= height + 0.5, text
        for (a, one), (b, other) in combinations(boxes, 2):
            overlap = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
            assert not (overlap > 1).all(), (a, b)


def test_text_can_be_read_at_the_width_it_is_made_for(every_figure: list[Figure]) -> None:
    from matplotlib.text import Text

    for figure in every_figure:
        assert round(figure.get_figwidth(), 2) in WIDTHS.values()
        assert min(float(text.get_fontsize()) for text in figure.findobj(Text)) >= 5.5


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    folders = [experiments.layers(tmp_path), experiments.polysemanticity(tmp_path, caps=(1, 2))]
    folders.append(experiments.explainers(tmp_path, variants=("tree-structured", "one-shot-structured")))
    for folder in folders:
        draw(folder)
    program = "import sys, pathlib; from featureinterp.report.figures.files import draw_experiment\n"
    program += "from featureinterp.analysis.read_experiment import read_experiment\n"
    program += "for path in map(pathlib.Path, sys.argv[1:]):\n"
    program += "    draw_experiment(read_experiment(path), path / 'again', path / 'again')\n"
    settings = tmp_path / "matplotlibrc"
    settings.write_text("font.size: 20\nsavefig.dpi: 50\naxes.prop_cycle: cycler('color', ['r'])\n")
    environment = {**os.environ, "PYTHONHASHSEED": "7", "MATPLOTLIBRC": str(settings), "SOURCE_DATE_EPOCH": "1"}
    subprocess.run([sys.executable, "-c", program, *map(str, folders)], cwd=ROOT, env=environment, check=True)
    for folder in folders:
        made = sorted(path for kind in ("figures", "tables") for path in (folder / kind).glob("*"))
        assert len(made) in (4, 5, 8)  # with the table, with two figures
        for path in made:
            assert path.read_bytes() == (folder / "again" / path.name).read_bytes(), path.name


def test_files_are_vectors_with_their_fonts_and_sharp_pictures(tmp_path: Path) -> None:
    from PIL import Image

    folder = experiments.complementary(tmp_path)
    drawn = draw(folder)
    for figure in drawn.figures:
        for width, ending in (("full", ""), ("column", "_column")):
            png = figure.path.with_name(f"{figure.path.stem}{ending}.png")
            assert Image.open(png).size[0] == round(WIDTHS[width] * 300)
            pdf = png.with_suffix(".pdf").read_bytes()
            assert b"/FontFile2" in pdf
            assert b"/Type3" not in pdf
            assert b"/CreationDate" not in pdf
            assert b"/Subtype /Image" not in pdf


def test_what_is_missing_is_told_and_written_into_the_figure(tmp_path: Path) -> None:
    waiting = [experiments.key(2, latent) for latent in range(5)]
    folder = write_run(
        tmp_path,
        ("complementary", "docs", "tree"),
        [explained(0, 1, 0.5), failed(0, 2)],
        {"explainer": "tree"},
        waiting,
    )
    told = ("docs has no run of one-shot", "docs, tree: 5 of 7 features are not finished")
    assert draw(folder).missing == told
    for width in WIDTHS:
        for figure in drawn(folder, width).values():
            written = texts(figure).replace("\n", " ")
            assert all(message in written for message in told)


def test_an_experiment_without_an_explanation_has_no_figure_and_says_why(tmp_path: Path) -> None:
    for name in MAKERS:
        folder = write_run(tmp_path, (name, "docs", "tree"), [failed(0, 2)], {"explainer": "tree", "rule_cap": 1})
        made = draw(folder)
        assert (made.figures, made.tables) == ((), ())
        assert "docs, tree: none of 1 features has an explanation" in made.missing


def test_a_run_that_is_only_begun_is_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path, ("layers", "docs", "tree"), [], {"explainer": "tree"})
    assert draw(folder).missing == ("docs, tree: no feature is begun",)


def test_undefined_scores_are_left_out_and_counted_never_drawn_as_zero(tmp_path: Path) -> None:
    results = [explained(0, 1, 0.5), explained(0, 2, None), explained(3, 1, None)]
    folder = write_run(tmp_path, ("complementary", "docs", "tree"), results, {"explainer": "tree"})
    figure = drawn(folder)["variants"]
    assert line(figure.axes[0], "tree") == ([0], [pytest.approx(0.53)])
    assert "2 undefined scores left out" in texts(figure).replace("\n", " ")


def test_a_sweep_whose_attempts_were_not_judged_says_so(tmp_path: Path) -> None:
    results = [experiments.with_attempts(explained(0, n, 0.5), [(0, 0.5, 0.4, 0.3)]) for n in range(2)]
    bare = [replace(r, attempts=tuple(replace(a, test_score=None) for a in r.attempts)) for r in results]
    folder = write_run(tmp_path, ("layers", "docs", "tree"), bare, {"explainer": "tree"})
    figure = drawn(folder)["search"]
    assert texts(figure).count("nothing to draw") == 2
    assert "no attempt was judged on test" in texts(figure).replace("\n", " ")


def test_hostile_names_are_text(tmp_path: Path) -> None:
    folder = experiments.explainers(tmp_path, HOSTILE, ("tree-structured",))
    [figure] = drawn(experiments.explainers(tmp_path, "docs_tiny", ("tree-structured",))).values()
    assert visible(HOSTILE)[:13] in texts(figure)
    made = draw(folder)
    assert latex_escape(HOSTILE) in made.tables[0].read_text()
    sources = draw(experiments.complementary(tmp_path, "../" + HOSTILE, ("tr/ee $x", "one-shot")))
    names = [figure.path for figure in sources.figures]
    assert all(path.parent == tmp_path / "complementary/figures" and path.is_file() for path in names)
    assert len(set(names)) == 3


def test_names_that_name_the_same_file_are_told_apart(tmp_path: Path) -> None:
    folder = experiments.polysemanticity(tmp_path, "a/b")
    experiments.polysemanticity(tmp_path, "a?b")
    assert [figure.path.stem for figure in draw(folder).figures] == [
        "rule_caps_a-b_1",
        "rule_caps_a-b_2",
        "rules_by_depth",
    ]


def test_latex_is_not_needed_and_missed_only_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = experiments.layers(tmp_path)
    assert len(draw(folder).figures) == 1
    with pytest.raises(InputError, match="figures with LaTeX need latex and dvipng on the PATH"):
        draw(folder, latex=True)


def test_what_is_no_experiment_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(DataFolderError, match="there is no run"):
        draw(tmp_path)
    single = write_run(tmp_path, ("", "docs", "tree"), [explained(0, 1, 0.5)], {"explainer": "tree"})
    with pytest.raises(InputError, match="are of no experiment"):
        draw(single / "docs" / "tree")
    experiments.layers(tmp_path)
    with pytest.raises(InputError, match="several experiments: , layers"):
        draw(tmp_path)


def test_drawing_leaves_the_users_settings_alone(tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw(experiments.layers(tmp_path))
    assert dict(matplotlib.rcParams) == before


def test_every_latex_command_in_a_name_is_disarmed() -> None:
    escaped = latex_escape(r"\input{x} % & # $ _ ^ ~ é 漢")
    assert escaped == (r"\textbackslash{}input\{x\} \% \& \# \$ \_ \textasciicircum{} \textasciitilde{} é ?")


def test_an_experiment_that_declares_no_figures_is_refused_in_words(tmp_path: Path) -> None:
    folder = write_run(tmp_path, ("mine", "docs", "tree"), [explained(0, 1, 0.5)], {"explainer": "tree"})
    with pytest.raises(InputError, match="the experiment 'mine' has no figures"):
        draw(folder)
    assert not (folder / "figures").exists()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_is_missing_is_measured_by_the_experiments_own_variants(name: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path, (name, "docs", "other"), [explained(0, 1, 0.5)], {"explainer": "tree", "rule_cap": 1})
    declared = [variant.name for variant in load_experiment(name).variants]
    assert draw(folder).missing == (f"docs has no run of {', '.join(declared)}",)
    [figure, *_] = drawn(folder).values() if name != "layers" else [None]
    assert figure is None or "docs has no run of" in texts(figure).replace("\n", " ")
