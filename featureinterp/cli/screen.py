"""Terminal output of all commands (tables and bars: `cli.console`).

Names, errors and answers come from outside and may hold what drives a terminal: escape sequences that set its title or
clear it, marks that turn the reading direction. On a terminal, and in errors wherever they go, these are made visible
as in tokens (`display.visible`). In a file or a pipe text stays what it is.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import IO, Any

from featureinterp.display import make_log_lines_visible, visible, visible_lines
from featureinterp.errors import StorageError


def prepare_output() -> None:
    """Configure the standard streams for any text, and escape log lines and warnings.

    A character that a stream's encoding lacks is printed as a backslash escape; a stream that is closed takes all.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - it is never closed
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    make_log_lines_visible()


def tell(text: object = "") -> None:
    """Print a line, or several, of text or of a table's rows.

    Raises:
        StorageError: if it cannot be written: a full disk.
    """
    stream = Output(sys.stdout)
    stream.write((visible_lines(str(text)) if stream.isatty() else str(text)) + "\n")
    stream.flush()


def tell_error(text: object) -> None:
    """Print one line to standard error, with line breaks escaped."""
    stream = Output(sys.stderr)
    stream.write(visible(str(text)) + "\n")
    stream.flush()


def stdout_takes_unicode() -> bool:
    """Return whether every character can be printed as it is."""
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


class Output:
    """Standard stream that raises StorageError; a closed pipe remains a `BrokenPipeError`."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a stream has
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text; converts the stream's errors."""
        try:
            return self._stream.write(text)
        except OSError as error:
            raise _unwritten(error) from error

    def flush(self) -> None:
        """Flush the buffer; converts the stream's errors."""
        try:
            self._stream.flush()
        except OSError as error:
            raise _unwritten(error) from error


def _unwritten(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return error
    return StorageError(f"what is printed cannot be written: {error.strerror}", "make room, or print to another place")
