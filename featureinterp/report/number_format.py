"""Formatting of numbers, shares, times and plot positions."""

from __future__ import annotations

import math
from datetime import datetime

from featureinterp.chat import Usage

PLOT_FROM, PLOT_TO = -0.25, 1.0
"""Range of correlations in plots; values outside are drawn at the edge."""


def place(value: float) -> str:
    """Return the position of a correlation on a plot, in percent of its width."""
    share_of_width = (value - PLOT_FROM) / (PLOT_TO - PLOT_FROM)
    return f"{100 * min(max(share_of_width, 0.0), 1.0):.1f}%"


def place_down(value: float) -> str:
    """Return the distance of a correlation from the top of a vertical plot, in percent of its height.

    >>> place_down(1.0), place_down(-0.25)
    ('0.0%', '100.0%')
    """
    return f"{100 - float(place(value)[:-1]):.1f}%"


def number(value: float | None, digits: int = 2) -> str:
    """Format a number with a minus sign; a dash for None.

    >>> number(-0.123), number(None), number(-0.001)
    ('−0.12', '–', '0.00')
    """
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def share(value: float) -> str:
    """Format a share as a percentage of about two significant digits.

    >>> share(0.25), share(0.0012), share(0.00000004)
    ('25%', '0.12%', '<0.01%')
    """
    percent = 100 * value
    if 0 < percent < 0.01:
        return "<0.01%"
    return f"{percent:.0f}%" if percent >= 10 or percent == 0 else f"{percent:.2g}%"


def usage_words(usage: Usage) -> str:
    """Format the usage of language models; empty for none.

    >>> usage_words(Usage(3, 12000, 450, 0.0123)), usage_words(Usage(1, 9, 1, unpriced=1)), usage_words(Usage())
    ('3 requests, 12,450 tokens, $0.0123', '1 request, 10 tokens, at an unknown price', '')
    """
    if not usage.requests:
        return ""
    requests = f"{usage.requests:,} request{'' if usage.requests == 1 else 's'}"
    most = "at most " if usage.estimated else ""
    told = [requests, f"{most}{usage.input_tokens + usage.output_tokens:,} tokens"]
    if usage.cost:
        told.append(f"${usage.cost:.4f}" if usage.cost < 1 else f"${usage.cost:,.2f}")
    if usage.unpriced:
        told.append("at an unknown price" if usage.unpriced == usage.requests else f"{usage.unpriced:,} unpriced")
    return ", ".join(told)


def when(created: str) -> str:
    """Format an ISO 8601 time; other text is unchanged.

    >>> when("2026-02-03T12:34:56+00:00")
    '3 February 2026, 12:34 UTC'
    """
    try:
        moment = datetime.fromisoformat(created.replace("Z", "+00:00"))
    except ValueError:
        return created
    zone = moment.tzname() or ""
    return f"{moment.day} {moment:%B %Y, %H:%M} {zone}".strip()
