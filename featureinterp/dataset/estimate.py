"""Cost estimate of a data folder: passes, operations, bytes and time.

A short probe runs the real computation on a few windows of the corpus and is extrapolated: torch counts operations
while it runs, and time is measured. Unknown quantities are bounded from above: which latents are dead, and how
many windows a corpus has if reading it takes longer than the probe.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from featureinterp.dataset.activations.attribution import holistic_activations
from featureinterp.dataset.activations.capture import CaptureParams
from featureinterp.dataset.corpus.documents import Document
from featureinterp.dataset.corpus.open import open_corpus, read_documents
from featureinterp.dataset.corpus.window_texts import texts_of
from featureinterp.dataset.corpus.windows import Windows, cut_windows
from featureinterp.dataset.records.selection import ADDED, PLACING_ORDER, PROJECTED
from featureinterp.dataset.spec import DataSpec
from featureinterp.subject.subject import Subject

_logger = logging.getLogger(__name__)

READING_SECONDS = 10.0
"""Seconds for which the corpus is read to count its windows; a longer one is assumed to have `max_windows`."""

_LEAST_DOCUMENTS = 256
"""Documents that are read regardless of time: the probe needs windows."""

_CAPTURED, _DELETED, _EMBEDDED = 64, 8, 32
"""Windows on which each stage is probed."""
_ENTRY_BYTES, _NUMBER_BYTES = 10, 4
_RECORD_SECONDS = 0.02
"""Bound for the records of a latent, as in `benchmarks/records.py`."""
_JSON_TOKEN_BYTES = 24
"""Bytes of a token with its activation in a record; 1.5 times as many with holistic activations."""


@dataclass(frozen=True)
class StageCost:
    """Cost of one stage; passes and tokens of the subject model."""

    stage: str
    passes: int = 0
    """Forward passes: sequences, or shortened sequences, through the model."""
    tokens: int = 0
    flops: float = 0.0
    disk_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """Cost of a data folder by stage."""

    device: str
    sequences: int
    is_bound: bool
    """Whether the number of sequences is an upper bound: the corpus was not read to its end."""
    latents: int
    """Number of latents over all hooks."""
    stages: tuple[StageCost, ...]
    memory_bytes: int
    """Bytes of memory: model, SAEs, windows, embeddings and `max_memory`."""
    probe_seconds: float
    """Seconds of the estimate itself, without loading."""

    @property
    def total(self) -> StageCost:
        """The sum of all stages."""
        names = ("passes", "tokens", "flops", "disk_bytes", "seconds")
        return StageCost("total", **{name: sum(getattr(cost, name) for cost in self.stages) for name in names})


@dataclass(frozen=True)
class _Probe:
    """Sample windows and requested stages."""

    spec: DataSpec
    subject: Subject
    windows: Windows
    n: int
    """Number of sequences of the whole corpus."""
    latents: Mapping[str, tuple[int, ...]]

    @property
    def n_latents(self) -> int:
        return sum(map(len, self.latents.values()))

    @property
    def windows_per_latent(self) -> int:
        sources = len(PLACING_ORDER) + len(ADDED) + len(PROJECTED) * self.spec.projected + bool(self.spec.own_source)
        return 2 * self.spec.top_sample_n + sources * self.spec.complementary_sample_n


def estimate(spec: DataSpec, stages: Collection[str], subject: Subject) -> Estimate:
    """Predict the cost of a data folder from a few measured windows.

    Args:
        spec: content of the folder.
        stages: names from `STAGES`.
        subject: the model and its SAEs.

    Raises:
        CorpusError: if the corpus is missing, empty or not text.
        InputError: if a latent or layer does not exist.
        SubjectError: if the embedder cannot be loaded.
    """
    begun = time.perf_counter()
    latents = spec.latents_of({hook: (sae.layer, sae.n_latents) for hook, sae in subject.saes.items()})
    reading = _Deadline(read_documents(open_corpus(spec.corpus), spec.dataset_name), READING_SECONDS)
    windows, counts = cut_windows(reading, subject.model, spec.window_params(subject.prepend_bos))
    if counts.dropped:
        _logger.warning("%s: %s", spec.dataset_name, counts.dropped)
    n = spec.max_dataset_size if reading.was_cut else len(windows)
    probe = _Probe(spec, subject, windows, n, latents)
    costs = [_windows_cost(probe), _capture_cost(probe)]
    dimensions = 0
    if {"records", "holistic_acts"} & set(stages):
        cost, dimensions = _embedding_cost(probe)
        costs.append(cost)
    if "holistic_acts" in stages:
        costs.append(_holistic_cost(probe))
    if "records" in stages:
        costs.append(_records_cost(probe, "holistic_acts" in stages))
    parameters = sum(p.numel() * p.element_size() for p in subject.model.language_model.parameters())
    saes = sum(2 * sae.n_latents * sae.width * _NUMBER_BYTES for sae in subject.saes.values())
    held = n * _NUMBER_BYTES * (windows.tokens.shape[1] + dimensions)
    return Estimate(
        device=_device_name(subject.model.device),
        sequences=n,
        is_bound=reading.was_cut,
        latents=probe.n_latents,
        stages=tuple(costs),
        memory_bytes=parameters + saes + held + spec.max_memory,
        probe_seconds=time.perf_counter() - begun,
    )


class _Deadline:
    """Documents up to a deadline."""

    def __init__(self, documents: Iterable[Document], seconds: float) -> None:
        self._documents = documents
        self._seconds = seconds
        self.was_cut = False

    def __iter__(self) -> Iterator[Document]:
        end = time.perf_counter() + self._seconds
        for n_read, document in enumerate(self._documents, start=1):
            yield document
            if n_read >= _LEAST_DOCUMENTS and time.perf_counter() > end:
                self.was_cut = True
                return


def _windows_cost(probe: _Probe) -> StageCost:
    return StageCost("tokens", disk_bytes=probe.n * _NUMBER_BYTES * (probe.windows.tokens.shape[1] + 1))


def _capture_cost(probe: _Probe) -> StageCost:
    params = CaptureParams(probe.latents)
    wanted = {hook: params.wanted(sae).tolist() for hook, sae in probe.subject.saes.items()}
    rows = probe.windows.tokens[:_CAPTURED]
    batch = torch.from_numpy(np.array(rows))
    active = 0

    def run() -> None:
        nonlocal active
        streams = probe.subject.model.streams(batch, [*wanted])
        active = sum(int((probe.subject.saes[hook].encode(streams[hook], wanted[hook]) > 0).sum()) for hook in wanted)

    seconds, flops = _measure(run, probe.subject.model.device)
    scale = probe.n / len(rows)
    stored = _ENTRY_BYTES * active * scale + sum(20 * len(latents) for latents in wanted.values())
    return StageCost("sae_acts", probe.n, probe.n * rows.shape[1], flops * scale, int(stored), seconds * scale)


def _embedding_cost(probe: _Probe) -> tuple[StageCost, int]:
    """Return the cost of the embeddings, and their dimensions."""
    from featureinterp.llm.embedding import open_embedder

    embedder = open_embedder(probe.spec.embedder)
    tokens = probe.windows.text_tokens[:_EMBEDDED]
    texts = ["".join(strings) for strings in texts_of(tokens, probe.subject.model.token_strings)]
    made: list[NDArray[np.float32]] = []
    seconds, flops = _measure(lambda: made.append(embedder.embed(texts)), probe.subject.model.device)
    scale, dimensions = probe.n / len(texts), made[0].shape[1]
    stored = probe.n * dimensions * _NUMBER_BYTES * (2 if probe.spec.centre else 1)
    return StageCost("similarity_retriever", 0, 0, flops * scale, stored, seconds * scale), dimensions


def _holistic_cost(probe: _Probe) -> StageCost:
    rows = probe.windows.tokens[:_DELETED]
    length = probe.windows.text_tokens.shape[1]
    whole = probe.spec.holistic_scope == "corpus"
    sequences = probe.n if whole else min(probe.n, probe.n_latents * probe.windows_per_latent)
    pairs = probe.n_latents * (probe.n if whole else probe.windows_per_latent)
    latents = {hook: list(chosen) for hook, chosen in probe.latents.items() if chosen}
    seconds, flops = _measure(
        lambda: holistic_activations(probe.subject, rows, probe.windows.has_bos, latents), probe.subject.model.device
    )
    scale = sequences / len(rows)
    tokens = sequences * (rows.shape[1] + length * (length - 1) // 2)
    stored = pairs * _NUMBER_BYTES * (length + 1)
    return StageCost("holistic_acts", sequences * length, tokens, flops * scale, stored, seconds * scale)


def _records_cost(probe: _Probe, holistic: bool) -> StageCost:
    tokens = probe.n_latents * probe.windows_per_latent * probe.windows.text_tokens.shape[1]
    stored = tokens * _JSON_TOKEN_BYTES * (3 if holistic else 2) // 2
    return StageCost("records", disk_bytes=stored, seconds=probe.n_latents * _RECORD_SECONDS)


def _measure(action: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Return seconds and floating-point operations of an action, after one warm-up run."""
    with FlopCounterMode(display=False) as counter:
        action()
    begun = time.perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun, float(counter.get_total_flops())


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type
