"""The group of all commands: the one place where errors become one line and an exit code.

Exit codes: 0 done; 1 nobody reads what is printed any more (`| head`); 2 an error that the user can mend, told in one
sentence with a hint; 130 interrupted. An error that is not ours keeps its traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from featureinterp.cli.screen import prepare_output, tell, tell_error
from featureinterp.display import visible_lines
from featureinterp.errors import FeatureInterpError

CLOSED_PIPE = 1
INTERRUPTED = 130
USER_ERROR = 2

_UsageError: Any = typer.BadParameter.__base__
"""Of click, which typer ships under a name of its own."""


class Commands(TyperGroup):
    """Command group that converts errors to messages and exit codes."""

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
        with errors_told("featureinterp"), _usage_errors_visible():
            return super().invoke(ctx)


@contextmanager
def errors_told(program: str) -> Iterator[None]:
    """Print an error as one line with the program's name, and exit with its code."""
    prepare_output()
    try:
        yield
    except FeatureInterpError as error:
        tell_error(f"{program}: {error}")
        raise SystemExit(USER_ERROR) from error
    except BrokenPipeError as closed:  # whoever read has seen enough; what is left in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(CLOSED_PIPE) from closed
    except OSError as error:
        if error.filename is None:  # of no path: not for the user to mend
            raise
        tell_error(f"{program}: {error.filename} cannot be used: {error.strerror} (name another path)")
        raise SystemExit(USER_ERROR) from error
    except KeyboardInterrupt as interrupt:
        tell_error("")
        tell_error("Interrupted; the same command goes on where it stopped.")
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
