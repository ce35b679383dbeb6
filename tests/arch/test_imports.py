"""Imports run upwards only, heavy libraries load late, and what is imported is a declared dependency."""

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest
import tomli

from tests.arch.source import ROOT, modules

HEAVY = ("torch", "transformers", "sae_lens", "transformer_lens", "sentence_transformers", "openai", "matplotlib")
LIGHT = (
    "featureinterp.record",
    "featureinterp.core",
    "featureinterp.protocols",
    "featureinterp.llm.api.client",
    "featureinterp.scoring",
    "featureinterp.explainer",
    "featureinterp.analysis.comparisons",
    "featureinterp.analysis.findings",
    "featureinterp.dataset.folder",
    "featureinterp.dataset.layout",
    "featureinterp.report.pages.experiment_pages",
    "featureinterp.report.pages.run_pages",
    "featureinterp.report.terminal",
    "featureinterp.report.views",
    "featureinterp.interop.neuronpedia",
    "featureinterp.experiment.engines.processes",
    "featureinterp.experiment.explain",
    "featureinterp.experiment.result",
    "featureinterp.experiment.store",
)
PROJECT = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(requirement: str) -> str:
    return canonical(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])


def test_no_module_imports_from_a_row_below_its_own() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def heavy_modules_after(statement: str) -> list[str]:
    """Run one statement in a fresh Python and return which heavy libraries it loaded."""
    program = f"{statement}\nimport sys\nprint(*sorted(set(sys.modules) & {set(HEAVY)!r}))"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout.split()


@pytest.mark.parametrize("module", LIGHT)
def test_reading_a_result_loads_no_gpu_stack(module: str) -> None:
    assert heavy_modules_after(f"import {module}") == []


def test_no_two_modules_import_each_other() -> None:
    graph = grimp.build_graph("featureinterp", exclude_type_checking_imports=True, cache_dir=None)
    circles = [
        module
        for module in sorted(graph.modules)
        if any(
            module in graph.find_upstream_modules(imported)
            for imported in graph.find_modules_directly_imported_by(module)
        )
    ]
    assert circles == []


def test_a_heavy_import_would_be_seen() -> None:
    assert heavy_modules_after("import matplotlib") == ["matplotlib"]


def test_imported_libraries_are_declared() -> None:
    extras = PROJECT["optional-dependencies"]
    promised = {requirement_name(r) for name in extras if name not in ("dev", "training") for r in extras[name]}
    promised |= {requirement_name(r) for r in PROJECT["dependencies"]}
    distributions = packages_distributions()
    undeclared: dict[str, list[str]] = {}
    for path, tree in modules().items():
        for name in sorted(imported_top_level_names(tree)):
            candidates = {canonical(d) for d in distributions.get(name, [name])}
            if name not in sys.stdlib_module_names and name != "featureinterp" and not candidates & promised:
                undeclared.setdefault(name, []).append(path)
    assert undeclared == {}


def imported_top_level_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names
