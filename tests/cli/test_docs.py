"""The documentation is true: its code runs, its commands and options exist, its links lead somewhere."""

import ast
import asyncio
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from featureinterp import errors
from featureinterp.codec import decode_index_record
from featureinterp.core import Score, Scores, StructuredExplanation
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.paper.experiments import EXPERIMENTS, load_experiment
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.experiment.store import RunStore
from featureinterp.explainer import TreeExplainer, TreeExplainerParams
from featureinterp.record import ComplementaryRecordSource, SplitParams
from featureinterp.simulator import LexicalSimulatorFactory
from featureinterp.subject.names import select_layers
from tests.programs import run_program

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text()
RECORD = ROOT / "tests/golden/data/records/blocks.1.hook_resid_post/0.json"
FOLDERS = ("featureinterp", "docs", "tests", "training", "scripts", "examples", "benchmarks")


def python_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def run_block(code: str, **names: object) -> dict[str, object]:
    """Run a block as a notebook cell would, where `await` stands outside of functions too."""
    compiled = compile(code, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, names)  # noqa: S307 - our own documentation
    if inspect.iscoroutine(result):
        asyncio.run(result)
    return names


def test_the_example_prints_what_a_run_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scores = Scores(*[Score(0.5, 0.25, 0.75)] * 8, n_sentences=12, n_complementary=6)
    explained = FeatureResult(
        FeatureKey("blocks.0.hook_resid_post", 0, 7),
        "explained",
        explanation=StructuredExplanation.from_text("the token ' raise'"),
        scores={"similar_negative": scores},
    )
    dead = FeatureResult(FeatureKey("blocks.0.hook_resid_post", 0, 8), "dead", reason="never fires")
    with RunStore.create(Path("runs/demo"), {"seed": 0}) as store:
        store.put(explained)
        store.put(dead)
    run_block(python_blocks(README)[0])
    printed = capsys.readouterr().out
    assert "[5] the token ' raise'" in printed
    assert "0.500 [0.250, 0.750]" in printed
    assert "latent=8" not in printed


def test_the_originals_snippet_runs_on_the_originals_record() -> None:
    record = decode_index_record(RECORD.read_bytes())
    factory, sources = LexicalSimulatorFactory(), (ComplementaryRecordSource.SIMILAR_NEGATIVE,)
    names = run_block(
        python_blocks(README)[1],
        explainer=TreeExplainer("lexical", factory, TreeExplainerParams(depth=1)),
        simulator_factory=factory,
        record=record,
        params=SplitParams(30, 30, *(2 * (sources,)), test_sources=sources),
    )
    assert isinstance(names["score"], float)
    assert isinstance(names["explanations"], tuple)


def test_every_python_block_of_the_readme_is_run() -> None:
    assert len(python_blocks(README)) == 2


def test_the_example_program_explains_the_originals_record() -> None:
    run = run_program("examples/explain_a_feature.py", RECORD)
    assert run.returncode == 0, run.stderr
    assert re.search(r"^\[[0-5]\] \w", run.stdout, flags=re.MULTILINE)
    assert re.search(r"correlation on 20 test sentences: -?\d\.\d{3} \[", run.stdout)


def commands() -> dict[str, set[str]]:
    """Map every command to its options."""
    from featureinterp.cli.group import COMMANDS, load_command

    return {name: {o for p in load_command(name).params for o in p.opts} for name in COMMANDS}


def mentioned_commands(text: str) -> list[tuple[str, list[str]]]:
    calls = re.findall(r"\bfeatureinterp ([a-z]+)((?: (?!\|)[^\n`]*)?)", re.sub(r"\*\*|#.*", "", text))
    return [(name, re.findall(r"--[a-z-]+", rest)) for name, rest in calls]


def test_commands_are_found_in_text() -> None:
    text = "see `featureinterp results RUN --format csv` or\n\n    featureinterp doctor\n"
    assert mentioned_commands(text) == [("results", ["--format"]), ("doctor", [])]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "Makefile"], ids=lambda page: page.name)
def test_commands_and_options_that_are_named_exist(page: Path) -> None:
    known = commands()
    code = "\n".join(re.findall(r"`[^`\n]+`|^(?: {4}|\t).+$", page.read_text(), flags=re.MULTILINE))
    for name, options in mentioned_commands(code):
        assert name in known, f"{page.name} names `featureinterp {name}`"
        assert set(options) <= known[name], f"{page.name} names options of `featureinterp {name}` that it has not"


def test_the_readme_lists_every_command() -> None:
    assert set(re.findall(r"^\| `featureinterp (\w+)` \|", README, flags=re.MULTILINE)) == set(commands())


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:`|^    )make (\w+)", page.read_text(), flags=re.MULTILINE))
        assert named <= targets, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    missing = [link for link in links if not (page.parent / link).exists()]
    paths = [p for p in re.findall(r"`([\w./-]+)`", text) if p.split("/")[0] in FOLDERS and "/" in p]
    missing += [path for path in paths if not (ROOT / path).exists()]
    assert missing == []


def test_every_error_has_its_row() -> None:
    classes = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.FeatureInterpError)
    }
    rows = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/errors.md").read_text(), flags=re.MULTILINE))
    assert rows == classes - {"FeatureInterpError"}


def test_every_folder_has_its_line_in_the_tree() -> None:
    tree = README.split("## The tree", 1)[1]
    packages = {f"featureinterp/{path.parent.name}/" for path in (ROOT / "featureinterp").glob("*/__init__.py")}
    assert packages | {f"{name}/" for name in FOLDERS} <= set(re.findall(r"[\w/]+/(?=[ ,])", tree))
    assert len(README.splitlines()) <= 150


def test_the_site_is_built_strictly_and_lists_every_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    listed = set(re.findall(r"<code>(featureinterp[\w.]*)</code>", (tmp_path / "reference/index.html").read_text()))
    paths = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "featureinterp").rglob("*.py")]
    modules = {".".join(path.parts).removesuffix(".__init__") for path in paths if path.name != "__main__"}
    assert modules <= listed


def test_the_requests_of_the_papers_experiments_are_what_they_declare() -> None:
    page = (ROOT / "docs/reproducing.md").read_text()
    params = TreeExplainerParams()
    tree = params.root_nodes + params.depth * params.width * params.branching_factor
    requests_of = {"one-shot": 1, "tree": tree, "best-of-n": tree - params.root_nodes}  # the others are the tree's
    n_layers = {"gpt2": 12, "gemma": 42, "llama": 32}
    rows = re.findall(r"^\| `(\w+)` \| `?(\w+)`? \| ([\d,]+) \| ([\d,]+) \| .*\|.*\|$", page, flags=re.MULTILINE)
    for name, subject, features, requests in rows:
        experiment = load_experiment(name)
        for subject_name in n_layers if subject == "each" else [subject]:
            layers = select_layers(experiment.layers, n_layers[subject_name])
            n = len(layers) * experiment.latents_per_layer
            asked = sum(requests_of[each.method(MethodSpec()).explainer] for each in experiment.variants)
            assert (features, requests) == (f"{n:,}", f"{n * asked:,}"), (name, subject_name)
    assert {(name, subject) for name, subject, *_ in rows} >= {("explainers", "each"), ("layers", "llama")}
    assert {name for name, *_ in rows} == set(EXPERIMENTS)
