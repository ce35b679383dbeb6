"""W&B without a server: its own offline mode, and an artifact that speaks its interface."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb


def go_offline(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have W&B write everything below a folder, and nothing to the network."""
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb.teardown()  # a process reads the settings once


def logged(folder: Path, name: bytes) -> bytes:
    """Return the log of the one offline run below a folder, with a name in it; W&B's own process may write it late."""
    (log,) = folder.rglob("*.wandb")
    deadline = time.monotonic() + 300
    while name not in log.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.1)
    return log.read_bytes()


class Artifact:
    """An artifact whose files lie in a folder instead of on a server."""

    def __init__(self, folder: Path, *entries: str, intact: bool = True) -> None:
        self._folder = folder
        self._intact = intact
        self.manifest = SimpleNamespace(entries=dict.fromkeys(entries or [p.name for p in folder.iterdir()]))
        self.fetched = False

    def download(self, root: str) -> str:
        self.fetched = True
        shutil.copytree(self._folder, root, dirs_exist_ok=True)
        return root

    def verify(self, root: str) -> None:
        if not self._intact:
            raise ValueError("Digest mismatch for file: data.tar.zst")
