"""Settings of the report server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from featureinterp.experiment.method.access import ModelAccess
from featureinterp.llm.api.spending import RunLimits


@dataclass(frozen=True)
class ServeSpec:
    """Run to serve, and address."""

    run: Path
    """Run directory, such as runs/demo."""
    data: Path | None = None
    """Data folder (default: that of the run)."""
    host: str = "127.0.0.1"
    """Address to listen on; a non-loopback address requires a token."""
    port: int = 8000
    """Port to listen on (0: any free port)."""
    device: str = ModelAccess.device
    """Device: auto, cpu, cuda, cuda:1 or mps."""
    token: str | None = None
    """Access token required in the URL; generated when --host is not loopback."""
    simulation: RunLimits | None = None
    """Limits of a simulator behind an endpoint; None uses cached answers only."""
    request_seconds: float = ModelAccess.request_seconds
    """Timeout of one request in seconds, up to the last byte; retried once."""
