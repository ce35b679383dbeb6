"""Every option that an error, a hint or a warning of the package names exists."""

import ast
import re

from featureinterp.cli.group import COMMANDS, load_command
from tests.arch.source import modules

OF_PIP = {"--dest", "--disable-pip-version-check", "--no-deps", "--no-input", "--only-binary", "--retries", "--timeout"}
OF_OTHERS = {"--local-dir", "--long", "--head", "--max-logprobs", "--help", "--version", *OF_PIP}
"""Options of `hf download`, zstd, `ray start`, vLLM and pip, and those of every command."""


def options() -> set[str]:
    commands = [load_command(name) for name in COMMANDS]
    return {name for command in commands for param in command.params for name in (*param.opts, *param.secondary_opts)}


def of_programs(tree: ast.Module) -> set[str]:
    """Return the options that argparse reads in the original's programs."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    adding = [call for call in calls if getattr(call.func, "attr", "") == "add_argument"]
    return {
        arg.value
        for call in adding
        for arg in call.args
        if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
    }


def named(tree: ast.Module) -> set[str]:
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return {found for text in texts for found in re.findall(r"(?<![\w-])--[a-z][a-z-]+[a-z]", text)}


def test_options_are_found_in_texts() -> None:
    assert named(ast.parse("hint = f'give --{x} or --max-cost, as --no-ascii-only'")) == {
        "--max-cost",
        "--no-ascii-only",
    }


def test_every_option_that_a_text_names_exists() -> None:
    known = options() | OF_OTHERS | {name for tree in modules().values() for name in of_programs(tree)}
    unknown = {path: found - known for path, tree in modules().items() if (found := named(tree)) - known}
    assert unknown == {}
