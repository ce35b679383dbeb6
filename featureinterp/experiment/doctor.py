"""Measurement of the embedded model and SAEs, compared with the released figures."""

from __future__ import annotations

from dataclasses import dataclass

from featureinterp.dataset.corpus.python_docs import python_documentation
from featureinterp.dataset.corpus.training_mixture import training_mixture
from featureinterp.dataset.corpus.windows import WindowParams, cut_windows
from featureinterp.subject.embedded import EMBEDDED, card, is_held_out, weights_bytes
from featureinterp.subject.quality import bits_per_byte, sae_quality
from featureinterp.subject.subject import open_subject


@dataclass(frozen=True)
class Figure:
    """One measured figure with its released value and target."""

    name: str
    """Name, such as `layer 3: variance explained`."""
    measured: float
    released: float | None
    """Value at the release of the weights; None if the card has none."""
    at_least: float | None = None
    """Target value; None if there is none."""
    at_most: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the measured value meets the target."""
        return (self.at_least is None or self.measured >= self.at_least) and (
            self.at_most is None or self.measured <= self.at_most
        )


def check_embedded(device: str = "auto") -> list[Figure]:
    """Measure the embedded subject on this machine: two minutes on two idle cores.

    Bits per byte, active latents and variance explained are measured on documents held out from training, of all
    installed packages of the training mixture; dead latents are those that never fire on the whole
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
    """Measure the figures that `check_embedded` compares."""
    subject = open_subject(EMBEDDED, EMBEDDED, device=device)
    held_out = [text for text in training_mixture() if is_held_out(text)]
    params = WindowParams(prepend_bos=subject.prepend_bos)
    corpus, _ = cut_windows(python_documentation(), subject.model, params)
    unseen, _ = cut_windows(held_out, subject.model, params)
    of_corpus = [text for text in python_documentation() if is_held_out(text)]
    figures = [
        Figure("weights, megabytes", weights_bytes() / 1e6, None, at_most=40),
        Figure("bits per byte, held-out documents", bits_per_byte(subject.model, held_out), None, at_most=1.6),
        Figure("bits per byte, those of the default corpus", bits_per_byte(subject.model, of_corpus), None),
        Figure("held-out documents found here", float(len(held_out)), None),
        Figure("windows in the default corpus", float(len(corpus)), None),
    ]
    on_unseen = sae_quality(subject, unseen.tokens, unseen.has_bos)
    for hook, on_corpus in sae_quality(subject, corpus.tokens, corpus.has_bos).items():
        name, quality = f"layer {subject.saes[hook].layer}", on_unseen[hook]
        figures += [
            Figure(f"{name}: active latents per token", quality.l0, None, at_least=8, at_most=40),
            Figure(f"{name}: variance explained, held-out documents", quality.variance_explained, None, at_least=0.85),
            Figure(f"{name}: dead latents, default corpus", on_corpus.dead, None, at_most=0.1),
        ]
    return figures
