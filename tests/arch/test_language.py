"""Help texts and first docstring lines use the field's terms: ten phrases of the old dialect are forbidden."""

import ast
import re
from collections.abc import Iterator

import pytest
import typer.main

from tests.arch.source import definitions, modules

FORBIDDEN = {
    "say": r"\bsays?\b",
    "asked for": r"\basked (for|of)\b",
    "unless told": r"\bunless (told|given)\b",
    "let go": r"\blets? go\b",
    "tell": r"\btells?\b",
    "told": r"\btold\b",
    "who": r"\bwho\b",
    "as far as": r"\bas far as\b",
    "what is known": r"\bwhat is known\b",
    "gone on with": r"\b(go|goes|going|gone) on with\b",
}
"""The most frequent of the dialect, by their number in help texts and first lines before they were replaced."""

OLD = {
    "say": "What the run says of itself.",
    "asked for": "The token that is asked for.",
    "unless told": "Where data folders are made; OUT/data unless given.",
    "let go": "Let go of the file.",
    "tell": "Tell what the experiment still waits for.",
    "told": "What a proposer is told about an attempt.",
    "who": "Who does units of work.",
    "as far as": "Print the table as far as it is known.",
    "what is known": "What is known of a latent.",
    "gone on with": "Folder of the run; one that is there is gone on with.",
}


def forbidden_in(text: str) -> list[str]:
    return [name for name, pattern in FORBIDDEN.items() if re.search(pattern, text, flags=re.IGNORECASE)]


def first_line(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return the summary of a docstring, up to its first empty line."""
    return " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())


def summaries() -> Iterator[tuple[str, str]]:
    """Yield place and summary of every module, class and function, private ones too."""
    for path, tree in modules().items():
        yield path, first_line(tree)
        for definition in definitions(path, tree):
            yield definition.name, first_line(definition.node)


def help_texts() -> Iterator[tuple[str, str]]:
    """Yield place and text of the help of every command, argument and option."""
    from featureinterp.cli import app
    from featureinterp.cli.group import COMMANDS, load_command

    group = typer.main.get_command(app)
    for name, command in {"": group, **{name: load_command(name) for name in COMMANDS}}.items():
        yield f"featureinterp {name}", (command.help or "").split("\n\n")[0]
        for parameter in command.params:
            yield f"featureinterp {name} {parameter.opts[0]}", getattr(parameter, "help", None) or ""


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_phrase_of_the_old_dialect_is_found(name: str) -> None:
    assert name in forbidden_in(OLD[name])


def test_first_lines_use_the_terms_of_the_field() -> None:
    found = [(place, text) for place, text in summaries() if forbidden_in(text)]
    assert found == []


def test_help_texts_use_the_terms_of_the_field() -> None:
    texts = dict(help_texts())
    assert len(texts) > 100
    assert "featureinterp records --quantile-n" in texts
    assert [(place, text) for place, text in texts.items() if forbidden_in(text)] == []


def test_every_command_and_option_has_a_help_text() -> None:
    assert [place for place, text in help_texts() if not text.strip()] == []
