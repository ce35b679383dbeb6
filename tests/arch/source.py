"""The package's modules, parsed, for the tests of its architecture."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "featureinterp"

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Definition(NamedTuple):
    """A function or class, where it stands, and whether a user is meant to see it."""

    name: str
    node: Function | ast.ClassDef
    is_public: bool


def modules() -> dict[str, ast.Module]:
    """Map each module's path below the project's folder to its syntax tree."""
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def definitions(path: str, tree: ast.Module) -> Iterator[Definition]:
    """Yield the module's functions, classes and methods; functions inside functions are private."""

    def walk(body: list[ast.stmt], prefix: str, is_public: bool) -> Iterator[Definition]:
        for node in body:
            if isinstance(node, Function | ast.ClassDef):
                name = f"{prefix}{node.name}"
                shown = is_public and not node.name.startswith("_")
                yield Definition(f"{path}:{name}", node, shown)
                yield from walk(node.body, f"{name}.", shown and isinstance(node, ast.ClassDef))
            elif isinstance(node, ast.If | ast.Try | ast.With):
                yield from walk(node.body, prefix, is_public)

    yield from walk(tree.body, "", True)


def parameters(node: Function) -> list[ast.arg]:
    """Return what a caller passes: every parameter but self and cls."""
    args = node.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg))]
    return [arg for arg in every if arg.arg not in ("self", "cls")]
