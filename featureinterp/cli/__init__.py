"""The command line: `featureinterp demo`, `records`, `explain`, `results`, `show`, `report`, `serve` and the others.

Commands are thin: they read options, make one call into the package and print. Each is a module of `cli.commands`,
imported when it runs, so that `featureinterp --help` answers at once.
"""

from featureinterp.cli.group import app, main

__all__ = ["app", "main"]
