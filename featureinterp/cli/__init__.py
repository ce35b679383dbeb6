"""The command line: `featureinterp demo`, `records`, `explain`, `results`, `show`, `report`, `serve` and the others.

Commands are thin: they read options, make one call into the package and print. What is slow to import is imported
inside the command that needs it, so that `featureinterp --help` answers at once.
"""

from featureinterp.cli import (  # noqa: F401 - importing them adds commands
    build,
    estimate,
    exchange,
    experiment,
    figures_command,
    look,
    serve,
    share,
)
from featureinterp.cli.group import app, main

__all__ = ["app", "main"]
