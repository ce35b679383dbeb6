"""Measure the embedded model and SAEs on this machine and put the figures beside those they were released with."""

from __future__ import annotations

from dataclasses import dataclass

from featureinterp.dataset.python_docs import python_documentation
from featureinterp.dataset.windows import WindowParams, cut_windows
from featureinterp.subject.embedded import EMBEDDED, card, is_held_out, weights_bytes
from featureinterp.subject.quality import bits_per_byte, sae_quality
from featureinterp.subject.subject import open_subject


@dataclass(frozen=True)
class Figure:
    """One measured number, beside the released one and what was promised."""

    name: str
    """Such as `layer 3: variance explained`."""
    measured: float
    released: float | None
    """The same measurement when the weights were released; None where the card has none."""
    at_least: float | None = None
    """What was promised; None where no bound was."""
    at_most: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the measured number keeps the promise."""
        return (self.at_least is None or self.measured >= self.at_least) and (
            self.at_most is None or self.measured <= self.at_most
        )


def check_embedded(device: str = "auto") -> list[Figure]:
    """Measure the embedded subject on the documentation of the running Python: about a minute on two idle cores.

    Bits per byte are over the documents that were held out from training; the figures of the SAEs are over the whole
    default corpus.

    Raises:
        FeatureInterpError: if the shipped files are damaged.
    """
    released = card().get("measured", {})
    return [
        Figure(figure.name, figure.measured, released.get(figure.name), figure.at_least, figure.at_most)
        for figure in measure_embedded(device)
    ]


def measure_embedded(device: str = "auto") -> list[Figure]:
    """Measure what `check_embedded` compares, without looking at the card."""
    subject = open_subject(EMBEDDED, EMBEDDED, device=device)
    documents = list(python_documentation())
    held_out = [text for text in documents if is_held_out(text)]
    windows, _ = cut_windows(documents, subject.model, WindowParams(prepend_bos=subject.prepend_bos))
    figures = [
        Figure("weights, megabytes", weights_bytes() / 1e6, None, at_most=40),
        Figure("bits per byte, held-out documents", bits_per_byte(subject.model, held_out), None, at_most=1.6),
        Figure("windows in the default corpus", float(len(windows)), None),
    ]
    for hook, quality in sae_quality(subject, windows.tokens, windows.has_bos).items():
        name = f"layer {subject.saes[hook].layer}"
        figures += [
            Figure(f"{name}: active latents per token", quality.l0, None, at_least=8, at_most=40),
            Figure(f"{name}: variance explained", quality.variance_explained, None, at_least=0.85),
            Figure(f"{name}: dead latents", quality.dead, None, at_most=0.1),
        ]
    return figures
