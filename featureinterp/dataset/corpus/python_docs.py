"""The default corpus: the documentation inside the Python that runs this, read at run time.

Two sources, neither downloaded nor shipped: the language reference (`pydoc_data.topics`,
what `help("for")` prints) and the docstrings of the standard library, parsed out of its source files
without importing them. About 1.9 million characters; the exact number depends on the Python version.
"""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_NOT_DOCUMENTATION = frozenset({"site-packages", "test", "tests", "idle_test", "lib2to3", "__pycache__"})


def docstrings(root: Path) -> Iterator[str]:
    """Yield the docstring of every module, class and function below `root`, in a fixed order.

    Files that do not parse (templates, sources of another Python version) are skipped, and so are
    installed packages and test suites below `root`.
    """
    for path in sorted(root.rglob("*.py")):
        if _NOT_DOCUMENTATION.intersection(path.relative_to(root).parts):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes in other people's docstrings
                tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, _DOCUMENTED) and (text := ast.get_docstring(node)):
                yield text


def python_documentation() -> Iterator[str]:
    """Yield each distinct document of the running Python's own documentation, in a fixed order."""
    from pydoc_data.topics import topics

    seen: set[str] = set()
    reference = (topics[name] for name in sorted(topics))
    for text in chain(reference, docstrings(Path(sysconfig.get_path("stdlib")))):
        if text not in seen:
            seen.add(text)
            yield text
