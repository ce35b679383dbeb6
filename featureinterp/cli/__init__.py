"""The command line: `featureinterp demo`, `records`, `explain`, `results`, `show`, `report` and the others.

Commands are thin: they read options, make one call into the package and print. What is slow to import is imported
inside the command that needs it, so that `featureinterp --help` answers at once.
"""

from featureinterp.cli import build, draw, estimate, exchange, experiment, look, share  # noqa: F401 - importing them adds commands
from featureinterp.cli.group import app, main

__all__ = ["app", "main"]
