"""Command group: loads commands, and converts errors to one line and an exit code.

Exit codes: 0 done; 1 output closed by its reader (`| head`); 2 a user error, printed as one sentence with a hint; 130
interrupted. Any other exception keeps its traceback.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from featureinterp.cli.screen import prepare_output, tell, tell_error
from featureinterp.display import visible_lines
from featureinterp.errors import FeatureInterpError

COMMANDS = {
    name: name
    for name in (
        *("demo", "records", "explain", "estimate", "experiment", "results", "compare", "audit"),
        *("stability", "show", "prompt", "report", "figures", "serve", "export", "share", "fetch", "doctor"),
    )
} | {"import": "import_"}
"""Command -> module in `cli.commands`, and function in it."""

CLOSED_PIPE = 1
INTERRUPTED = 130
USER_ERROR = 2

_UsageError: Any = typer.BadParameter.__base__
"""Of click, which typer ships under a name of its own."""


class Commands(TyperGroup):
    """Command group that imports a command when it runs, and converts errors to messages and exit codes."""

    def __init__(self, **named: Any) -> None:  # noqa: ANN401 - as typer has it
        super().__init__(**named)
        self.commands = {name: TyperCommand(name, help=_help_of(module)) for name, module in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - as typer has it
        """Load the selected command."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and load_command(name or ""), rest

    def main(self, *args: Any, **named: Any) -> Any:  # noqa: ANN401 - as click has it
        """Run the command line."""
        prepare_output()
        return super().main(*args, **named)

    def make_context(self, *args: Any, **named: Any) -> Any:  # noqa: ANN401 - as click has it
        """Parse the global options."""
        with _usage_errors_visible():
            return super().make_context(*args, **named)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - click's context, which typer ships under its own name
        """Run the selected command."""
        with errors_printed("featureinterp"), _usage_errors_visible():
            return super().invoke(ctx)


def load_function(name: str) -> Callable[..., None]:
    """Import the function of a command."""
    module = COMMANDS[name]
    return getattr(import_module(f"featureinterp.cli.commands.{module}"), module)


def load_command(name: str) -> Any:  # noqa: ANN401 - click's command, which typer ships under its own name
    """Import a command, with an option for each field of its dataclass parameters."""
    from featureinterp.cli.fields import with_fields_as_options

    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name)(with_fields_as_options(load_function(name)))
    return typer.main.get_command(alone)


def _help_of(module: str) -> str:
    """Return the docstring of a command without importing its module."""
    source = Path(__file__).with_name("commands") / f"{module}.py"
    functions = (node for node in ast.parse(source.read_bytes()).body if isinstance(node, ast.FunctionDef))
    return next(ast.get_docstring(node) or "" for node in functions if node.name == module)


@contextmanager
def errors_printed(program: str) -> Iterator[None]:
    """Print an error as one line with the program's name, and exit with its code."""
    prepare_output()
    try:
        yield
    except FeatureInterpError as error:
        tell_error(f"{program}: {error}")
        raise SystemExit(USER_ERROR) from error
    except BrokenPipeError as closed:  # the rest of the buffer is discarded
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(CLOSED_PIPE) from closed
    except OSError as error:
        if error.filename is None:  # no path, so nothing that a user can correct
            raise
        tell_error(f"{program}: {error.filename} cannot be used: {error.strerror} (name another path)")
        raise SystemExit(USER_ERROR) from error
    except KeyboardInterrupt as interrupt:
        tell_error("")
        tell_error("Interrupted; the same command resumes.")
        raise SystemExit(INTERRUPTED) from interrupt


@contextmanager
def _usage_errors_visible() -> Iterator[None]:
    """Escape invisible characters in click's usage errors (they may contain file names)."""
    try:
        yield
    except _UsageError as error:
        error.message = visible_lines(error.message or "")
        raise


app = typer.Typer(
    name="featureinterp",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from featureinterp import __version__

        tell(f"featureinterp {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Explain the features of sparse autoencoders, and test each explanation on hard negatives."""
    del version  # its callback has printed it


def main() -> None:
    """Run the command line; the console script `featureinterp`."""
    app()
