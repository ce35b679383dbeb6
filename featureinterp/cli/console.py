"""Where commands print tables, views and bars: `cli.screen` for what rich draws."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import IO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from featureinterp.cli.screen import Output
from featureinterp.display import visible_lines


def open_console() -> Console:
    """Return where tables, views and bars are printed: nothing in them is markup, and nothing drives the terminal."""
    return _VisibleConsole(file=cast("IO[str]", Output(sys.stdout)), markup=False, emoji=False)


class _VisibleConsole(Console):
    """A console whose text is made visible after all else is done with it."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible_lines(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Quieten down, and let the command end as after any other write to a closed pipe."""
        self.quiet = True
        raise BrokenPipeError
