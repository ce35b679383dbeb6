"""What the site adds to the files in docs/: the project's own pages, and a reference page for each package.

mkdocs calls the functions by their names (see "hooks" in its documentation).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "featureinterp"
OF_THE_PROJECT = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files beside docs/ and the pages they become."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the reference pages in the navigation."""
    (reference,) = (entry for entry in config.nav or [] if "Reference" in entry)
    reference["Reference"] = [f"reference/{page}" for page, _ in sorted(reference_pages(), key=_index_first)]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no file in docs/ holds."""
    for name, page in OF_THE_PROJECT.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    for page, content in reference_pages():
        files.append(File.generated(config, f"reference/{page}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Make links of the repository into links of the site."""
    if page.file.src_uri in OF_THE_PROJECT.values():
        markdown = markdown.replace("](docs/", "](")
    for name, made in OF_THE_PROJECT.items():
        markdown = re.sub(rf"\]\((?:\.\./)?{re.escape(name)}", f"]({made}", markdown)
    return markdown


def reference_pages() -> Iterator[tuple[str, str]]:
    """Yield each page of the reference with its text: the list of all modules, then one page per package."""
    packages = {"featureinterp": PACKAGE.glob("*.py")}
    for folder in sorted(path for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()):
        packages[f"featureinterp.{folder.name}"] = folder.rglob("*.py")
    index = ["# Modules", "", "One line per module, from its docstring."]
    for package, paths in packages.items():
        modules = sorted((module_name(path), path) for path in paths if path.name != "__main__.py")
        page = f"{package.replace('.', '-')}.md"
        index += ["", f"## [`{package}`]({page})", "", "| module | what it holds |", "|---|---|"]
        index += [f"| `{name}` | {first_line(path)} |" for name, path in modules]
        yield page, "\n\n".join([f"# `{package}`", *(f"::: {name}" for name, _ in modules)]) + "\n"
    yield "index.md", "\n".join(index) + "\n"


def _index_first(page: tuple[str, str]) -> tuple[bool, str]:
    return page[0] != "index.md", page[0]


def module_name(path: Path) -> str:
    """Return the dotted name of a module of the package."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring, as a cell of a table."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].replace("|", "\\|")
