"""Console for tables, views and bars: `cli.screen` for rich."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import IO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from featureinterp.cli.screen import Output
from featureinterp.display import visible_lines


def open_console() -> Console:
    """Return the console for tables, views and bars; text is never markup and cannot control the terminal."""
    return _VisibleConsole(file=cast("IO[str]", Output(sys.stdout)), markup=False, emoji=False)


class _VisibleConsole(Console):
    """Console that escapes invisible characters in its final text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible_lines(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """End quietly on a closed pipe."""
        self.quiet = True
        raise BrokenPipeError
