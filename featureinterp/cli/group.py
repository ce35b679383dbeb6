"""The group of all commands: the one place where errors become one line and an exit code.

Exit codes: 0 done; 2 an error that the user can mend, told in one sentence with a hint; 130 interrupted. An error that
is not ours keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from featureinterp.errors import FeatureInterpError

INTERRUPTED = 130
USER_ERROR = 2


class Commands(TyperGroup):
    """Runs a command and turns what goes wrong into words."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - click's context, which typer ships under its own name
        """Run the command that was asked for."""
        with errors_told("featureinterp"):
            return super().invoke(ctx)


@contextmanager
def errors_told(program: str) -> Iterator[None]:
    """Tell what goes wrong in one line that begins with the program's name, and end with the exit code."""
    try:
        yield
    except FeatureInterpError as error:
        typer.echo(f"{program}: {error}", err=True)
        raise SystemExit(USER_ERROR) from error
    except OSError as error:
        if error.filename is None:  # of no path: not for the user to mend
            raise
        told = f"{program}: {error.filename} cannot be used: {error.strerror} (name another path)"
        typer.echo(told, err=True)
        raise SystemExit(USER_ERROR) from error
    except KeyboardInterrupt as interrupt:
        typer.echo("\nInterrupted; the same command goes on where it stopped.", err=True)
        raise SystemExit(INTERRUPTED) from interrupt


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

        typer.echo(f"featureinterp {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Explain the features of sparse autoencoders, and test every explanation where the feature is silent."""
    del version  # its callback has printed it


def main() -> None:
    """Run the command line; the console script `featureinterp`."""
    app()
