"""Access of a run to its language models: limits, cached answers, device and timeout."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from featureinterp.chat import Usage
from featureinterp.errors import check_numbers
from featureinterp.llm.api.connection import ChatParams
from featureinterp.llm.api.ledger import DEFAULT_PATH
from featureinterp.llm.api.spending import RunLimits

MOST_AT_ONCE = 1024
"""Requests on their way, processes, actors: each has files open, and a machine commonly lets 1,024 be."""


@dataclass(frozen=True)
class ModelAccess:
    """How a run reaches its language models; nothing here decides its results."""

    limits: RunLimits = field(default_factory=RunLimits)
    """Limits of the run over all its models."""
    spent: Usage = Usage()
    """Spending of earlier runs of the same command; counts towards the limits."""
    offline: bool = ChatParams.offline
    """Use cached answers only."""
    concurrency: int = ChatParams.concurrency
    """Number of concurrent requests, and of features explained concurrently."""
    device: str = "auto"
    """Device: auto, cpu, cuda, cuda:1 or mps."""
    request_seconds: float = ChatParams.total_seconds
    """Timeout of one request in seconds, up to the last byte; retried once."""
    ledger: Path = DEFAULT_PATH
    """Database of cached answers."""

    def __post_init__(self) -> None:
        check_numbers(self, concurrency=(1, MOST_AT_ONCE))
