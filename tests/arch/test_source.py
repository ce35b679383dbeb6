"""Every module is short, every public name says what it is and takes and gives declared types."""

import ast

import pytest

from tests.arch.source import Definition, Function, definitions, modules, parameters

LONGEST_MODULE = 400
LONGEST_FUNCTION = 50
MOST_PARAMETERS = 6

MODULES = modules()
DEFINITIONS = [d for path, tree in MODULES.items() for d in definitions(path, tree)]
FUNCTIONS = [d for d in DEFINITIONS if isinstance(d.node, Function)]


def is_command(definition: Definition) -> bool:
    """A command's parameters are its options, which typer reads off the signature; there can be many."""
    path, _, name = definition.name.partition(":")
    return path == f"featureinterp/cli/commands/{name}.py"


def is_property_setter_or_overload(definition: Definition) -> bool:
    return any(
        ast.unparse(decorator).split(".")[-1] in ("setter", "overload") for decorator in definition.node.decorator_list
    )


def test_the_walk_finds_what_there_is() -> None:
    tree = ast.parse("class A:\n  def b(self, x, *y, z=1): pass\n  def _c(self): pass\ndef d():\n  def e(): pass\n")
    found = {d.name: d.is_public for d in definitions("m.py", tree)}
    assert found == {"m.py:A": True, "m.py:A.b": True, "m.py:A._c": False, "m.py:d": True, "m.py:d.e": False}
    method = next(d.node for d in definitions("m.py", tree) if d.name == "m.py:A.b")
    assert isinstance(method, ast.FunctionDef)
    assert sorted(arg.arg for arg in parameters(method)) == ["x", "y", "z"]
    assert "featureinterp/record.py" in MODULES


def test_modules_are_short() -> None:
    lengths = {path: max((n.end_lineno or 0 for n in tree.body), default=0) for path, tree in MODULES.items()}
    assert {path: n for path, n in lengths.items() if n > LONGEST_MODULE} == {}


def test_functions_are_short() -> None:
    lengths = {d.name: (d.node.end_lineno or 0) - d.node.lineno + 1 for d in FUNCTIONS}
    assert {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION} == {}


def test_functions_take_few_parameters() -> None:
    counts = {d.name: len(parameters(d.node)) for d in FUNCTIONS if isinstance(d.node, Function) and not is_command(d)}
    assert {name: n for name, n in counts.items() if n > MOST_PARAMETERS} == {}


@pytest.mark.parametrize("path", MODULES)
def test_public_names_are_documented_and_typed(path: str) -> None:
    problems = [] if ast.get_docstring(MODULES[path]) else ["the module has no docstring"]
    for definition in definitions(path, MODULES[path]):
        if not definition.is_public or is_property_setter_or_overload(definition):
            continue
        if not ast.get_docstring(definition.node):
            problems.append(f"{definition.name} has no docstring")
        if isinstance(definition.node, Function):
            untyped = [arg.arg for arg in parameters(definition.node) if arg.annotation is None]
            problems += [f"{definition.name}: {arg} has no type" for arg in untyped]
            if definition.node.returns is None:
                problems.append(f"{definition.name} does not say what it returns")
    assert problems == []
