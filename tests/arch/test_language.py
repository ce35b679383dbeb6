"""Help texts, docstrings and errors use the field's terms: phrases and names of the old dialect are forbidden."""

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
    "wanted": r"\b(is|are) wanted\b",
    "such as there are": r"\bsuch as there (is|are)\b",
    "what it is of": r"\bwhat (it|they) (is|are) of\b",
    "half a character": r"\bhalf a (character|surrogate)\b",
    "mend": r"\bmend(s|ed)?\b",
    "same command again": r"\bsame command again\b",
}
"""The most frequent of the dialect, by their number in help texts, docstrings and errors before they were replaced."""

OLD_NAMES = {
    "heads", "conduct", "advice", "beside", "silence", "UnansweredError", "ProposalError", "GARBLED", "BUSY", "SLOW",
}  # fmt: skip
"""Names that the field has better ones for; none of a module, class, function or member of an enumeration."""

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
    "wanted": "rule_cap is 0, a number from 1 to 100 is wanted",
    "such as there are": "Read the files, such as there are.",
    "what it is of": "Import a folder; what it is of is seen.",
    "half a character": "A token that is half a character.",
    "mend": "mend it, or delete it",
    "same command again": "give the same command again",
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


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of every docstring of a module, those of attributes too."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            for statement in node.body:
                value = statement.value if isinstance(statement, ast.Expr) else None
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.lineno, value.value


def messages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of every string that a module passes to an error or to a logger.

    A string that a local variable brings to an error is seen too: all strings of a function that raises are taken.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and is_message(node.func):
            yield from strings(node)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            passed = {name.id for call in calls(node) for name in ast.walk(call) if isinstance(name, ast.Name)}
            for statement in ast.walk(node):
                if isinstance(statement, ast.Assign) and passed & {t.id for t in targets(statement)}:
                    yield from strings(statement)


def calls(node: ast.AST) -> list[ast.Call]:
    return [each for each in ast.walk(node) if isinstance(each, ast.Call) and is_message(each.func)]


def targets(statement: ast.Assign) -> list[ast.Name]:
    return [target for target in statement.targets if isinstance(target, ast.Name)]


def is_message(called: ast.expr) -> bool:
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
        return called.value.id in ("logger", "_logger", "warnings") or called.attr.endswith("Error")
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Call):
        return ast.unparse(called.value.func) == "logging.getLogger"
    return isinstance(called, ast.Name) and called.id.endswith("Error")


def strings(node: ast.AST) -> Iterator[tuple[int, str]]:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.lineno, each.value


def names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and name of every class, function and assigned member of a class."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.name
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                if isinstance(statement, ast.Assign):
                    yield from ((statement.lineno, target.id) for target in targets(statement))


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


def test_docstrings_use_the_terms_of_the_field() -> None:
    found = [
        (f"{path}:{line}", forbidden_in(text))
        for path, tree in modules().items()
        for line, text in docstrings(tree)
        if forbidden_in(text)
    ]
    assert found == []


def test_errors_and_warnings_use_the_terms_of_the_field() -> None:
    texts = {(path, line, text) for path, tree in modules().items() for line, text in messages(tree)}
    assert len(texts) > 500
    assert [each for each in sorted(texts) if forbidden_in(each[2])] == []


def test_messages_in_variables_and_parts_of_formatted_strings_are_seen() -> None:
    tree = ast.parse("def f(n):\n    told = f'{n} features'\n    raise XError(told, f'give {n} or', 'two')")
    assert {text for _, text in messages(tree)} == {" features", "give ", " or", "two"}
    logged = ast.parse("logging.getLogger(__name__).warning('%s is old', path)")
    assert {text for _, text in messages(logged)} == {"%s is old"}


def test_names_of_the_old_dialect_are_gone() -> None:
    found = [f"{path}:{line} {name}" for path, tree in modules().items() for line, name in names(tree)]
    assert len(found) > 1000
    assert [each for each in found if each.split()[1] in OLD_NAMES] == []
    assert [path for path in modules() if path.removesuffix(".py").split("/")[-1] in OLD_NAMES] == []


def test_help_texts_use_the_terms_of_the_field() -> None:
    texts = dict(help_texts())
    assert len(texts) > 100
    assert "featureinterp records --quantile-n" in texts
    assert [(place, text) for place, text in texts.items() if forbidden_in(text)] == []


def test_every_command_and_option_has_a_help_text() -> None:
    assert [place for place, text in help_texts() if not text.strip()] == []
