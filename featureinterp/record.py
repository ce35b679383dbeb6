"""Records: short token windows with one latent's activations, and the splits an explanation is tested on.

A `SAEIndexRecord` is all the evidence about one latent: the *positives* it fires on and several
*complementary* lists it should mostly be silent on. The original's field names are kept ("expression" is the
activation, "holistic expression" is how much a token causes later activations); `docs/definitions.md` maps
them to the field's words.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from featureinterp.display import folded_html, section_html, tokens_html
from featureinterp.errors import InputError, check_numbers

MAX_LEVEL = 5
"""Activations are compared on a scale from 0 to 5, where 5 is the latent's maximum over its corpus."""


class ComplementaryRecordSource(str, Enum):
    """Source of the complementary sentences."""

    SAME_TOKEN_NEGATIVE = "same_token_negative"
    """Silent windows that contain a token on which the latent peaks."""
    RANDOM = "random"
    RANDOM_NEGATIVE = "random_negative"
    SIMILAR = "similar"
    SIMILAR_NEGATIVE = "similar_negative"
    SIMILAR_PROJECTED = "similar_projected"
    SIMILAR_NEGATIVE_PROJECTED = "similar_negative_projected"
    CORPUS = "corpus"
    """Windows drawn from all strata of the corpus, active ones too; see `SAEIndexRecord.corpus_records`."""
    OTHER = "other"
    """Sentences of one's own choosing: from a source of another package, or made by `DataFolder.activation_records`."""

    @property
    def is_silent(self) -> bool:
        """Whether the latent is silent on all of its windows."""
        return "negative" in self.value


SOURCE_WORDS: dict[str, str] = {
    ComplementaryRecordSource.SAME_TOKEN_NEGATIVE.value: "same-token negatives",
    ComplementaryRecordSource.SIMILAR_NEGATIVE.value: "similar negatives",
    ComplementaryRecordSource.SIMILAR.value: "similar sentences",
    ComplementaryRecordSource.RANDOM_NEGATIVE.value: "random negatives",
    ComplementaryRecordSource.RANDOM.value: "random sentences",
    ComplementaryRecordSource.SIMILAR_NEGATIVE_PROJECTED.value: "projected similar negatives",
    ComplementaryRecordSource.SIMILAR_PROJECTED.value: "projected similar sentences",
    ComplementaryRecordSource.CORPUS.value: "corpus sample",
    ComplementaryRecordSource.OTHER.value: "custom sentences",
}
"""Display names of complementary sources, hardest first."""

EVERYWHERE = "fires on 100% of windows"
"""Why a latent has no silent windows."""

MAIN_SOURCE = ComplementaryRecordSource.SIMILAR_NEGATIVE.value
"""The source that a feature is judged by first."""

MEASURED_SOURCES = (
    ComplementaryRecordSource.RANDOM,
    ComplementaryRecordSource.RANDOM_NEGATIVE,
    ComplementaryRecordSource.SIMILAR,
    ComplementaryRecordSource.SIMILAR_NEGATIVE,
    ComplementaryRecordSource.SAME_TOKEN_NEGATIVE,
)
"""The complementary sources that every explanation of a run is tested on, the hardest last."""


class Split(int, Enum):
    """Split: propose on train, select on valid, score on test; the value is the first index of its `i::3` slice."""

    TRAIN = 0
    VALID = 1
    TEST = 2


N_SPLITS = len(Split)


@dataclass(frozen=True)
class Stratum:
    """Part of the corpus that a latent's corpus records are drawn from."""

    name: str
    size: int
    """Windows of the corpus in it."""
    is_active: bool
    """Whether the latent fires on them."""


@dataclass(frozen=True)
class ActivationRecord:
    """One token window (without BOS) with a latent's activations."""

    tokens: tuple[str, ...]
    expressions: tuple[float, ...]
    """Activation per token, in the SAE's units, at least 0."""
    holistic_expressions: tuple[float, ...]
    """How much each token raises the activations of later ones; may be negative. Empty when not measured."""
    dataset_index: int
    """Row of the window in the corpus."""
    max_expression: float = 0.0
    """The latent's largest activation over its whole corpus: level 5."""
    max_holistic_expression: float = 0.0
    source: ComplementaryRecordSource | None = None
    """The complementary list it was taken from; None for a positive."""
    stratum: str = ""
    """Name of the stratum that a corpus record was drawn from; empty in other lists."""

    def __post_init__(self) -> None:
        n = len(self.tokens)
        if len(self.expressions) != n or len(self.holistic_expressions) not in (0, n):
            raise InputError(
                f"record of sequence {self.dataset_index} has {n} tokens, "
                f"{len(self.expressions)} activations and {len(self.holistic_expressions)} holistic activations",
                "the three lists must be equally long",
            )

    @property
    def is_active(self) -> bool:
        """Whether the latent fires on any token of the window."""
        return max(self.expressions, default=0.0) > 0

    def to_html(self) -> str:
        """Return it as HTML for a notebook."""
        return tokens_html(self.tokens, self.scaled_activations().tolist())

    _repr_html_ = to_html

    def scaled_activations(self) -> NDArray[np.float64]:
        """Activations on the scale 0..5 without rounding, float64 [tokens]: 5·a / max a."""
        return scale_to_levels(self.expressions, self.max_expression)


def scale_to_levels(values: Sequence[float] | NDArray[np.float64], maximum: float) -> NDArray[np.float64]:
    """Put raw values on the scale 0..5 (5·value/maximum, clipped), all 0 where the maximum is not positive."""
    raw = np.asarray(values, dtype=np.float64)
    if maximum <= 0:
        return np.zeros_like(raw)
    # 5·maximum/maximum rounds to just below 5 for some maxima, which would deny the maximum its own level
    return np.where(raw >= maximum, MAX_LEVEL, (MAX_LEVEL * raw / maximum).clip(0.0, MAX_LEVEL))


@dataclass(frozen=True)
class SAEIndexId:
    """Latent id: the layer of its SAE and its index."""

    layer_index: int
    latent_index: int


@dataclass(frozen=True)
class SplitParams:
    """Number of records per split, and the complementary sources of each split."""

    positives_per_split: int = 30
    """Maximum number of positives per split. A short list gives a third of its length."""
    negatives_per_split: int = 30
    """Maximum number of sentences per split and complementary source."""
    train_sources: tuple[ComplementaryRecordSource, ...] = MEASURED_SOURCES
    """Also show negatives to the explainer (default), or only positives. In Python, the sources of train."""
    valid_sources: tuple[ComplementaryRecordSource, ...] = MEASURED_SOURCES
    """Complementary sources in valid, which chooses among explanations."""
    test_sources: tuple[ComplementaryRecordSource, ...] = field(default=MEASURED_SOURCES, kw_only=True)
    """Complementary sources in test."""

    def __post_init__(self) -> None:
        check_numbers(self, positives_per_split=(0, math.inf), negatives_per_split=(0, math.inf))

    def sources(self, split: Split) -> tuple[ComplementaryRecordSource, ...]:
        """Return the complementary sources of one split."""
        return {Split.TRAIN: self.train_sources, Split.VALID: self.valid_sources, Split.TEST: self.test_sources}[split]


@dataclass(frozen=True)
class RecordSliceParams:
    """Number and sources of the records of one split, as in the original: exact numbers, one source."""

    positive_examples_per_split: int | None = None
    """None takes a third of what there is."""
    complementary_examples_per_split: int | None = None
    complementary_record_source: ComplementaryRecordSource | None = None
    """None takes positives only."""

    def __post_init__(self) -> None:
        at_least_none = (0, math.inf)
        check_numbers(self, positive_examples_per_split=at_least_none, complementary_examples_per_split=at_least_none)


def split_records(
    records: Sequence[ActivationRecord], split: Split, per_split: int | None = None
) -> tuple[ActivationRecord, ...]:
    """Take every third record from the split's first index on; all splits are equally long.

    Raises:
        InputError: if there are fewer than `per_split` records for each split, or it is negative.
    """
    if per_split is not None and per_split < 0:
        raise InputError(f"{per_split} records per split cannot be taken", "expected at least 0")
    available = len(records) // 3
    wanted = available if per_split is None else per_split
    if wanted > available:
        raise InputError(
            f"{per_split} records per split cannot be taken: {len(records)} records give only {available}",
            "take fewer, or make the records with a larger sample",
        )
    return tuple(records[split.value :: 3][:wanted])


def one_per_window(records: Sequence[ActivationRecord]) -> tuple[ActivationRecord, ...]:
    """Return the records without duplicate windows (first occurrence kept)."""
    first: dict[int, ActivationRecord] = {}
    for record in records:
        first.setdefault(record.dataset_index, record)
    return tuple(first.values())


def corpus_weights(records: Sequence[ActivationRecord], strata: Sequence[Stratum]) -> list[float]:
    """Return how many windows of the corpus each record stands for: its stratum's size over the number drawn from it.

    Within a stratum every window is equally likely to be drawn, so weighted sums estimate sums over the corpus (Horvitz
    and Thompson, 1952). A stratum from which no record was drawn is not covered: the weights add up to the sizes of the
    others.

    Args:
        records: corpus records of one latent and one split.
        strata: of the latent.

    Raises:
        InputError: if a record is from none of the strata.
    """
    sizes = {stratum.name: stratum.size for stratum in strata}
    drawn = Counter(record.stratum for record in records)
    unknown = sorted(set(drawn) - set(sizes))
    if unknown:
        raise InputError(f"a record of stratum {unknown[0]!r} has no weight", "take corpus records of the same latent")
    return [sizes[record.stratum] / drawn[record.stratum] for record in records]


@dataclass(frozen=True)
class SAEIndexRecord:
    """All evidence about one latent. Lists are ordered so that `i::3` slices share no document."""

    id: SAEIndexId
    max_expression: float
    max_holistic_expression: float
    most_act_records: tuple[ActivationRecord, ...]
    random_records: tuple[ActivationRecord, ...]
    random_no_act_records: tuple[ActivationRecord, ...]
    similar_records: tuple[ActivationRecord, ...]
    similar_no_act_records: tuple[ActivationRecord, ...]
    similar_projected_records: tuple[ActivationRecord, ...] = ()
    similar_projected_no_act_records: tuple[ActivationRecord, ...] = ()
    same_token_no_act_records: tuple[ActivationRecord, ...] = ()
    corpus_records: tuple[ActivationRecord, ...] = ()
    """Windows of every stratum, equally many in each split; see `corpus_weights`."""
    strata: tuple[Stratum, ...] = ()
    """Active windows by largest activation, the weakest first, then silent windows with and without a peak token;
    together they are the corpus. Empty in records made before strata were drawn."""
    other_records: tuple[ActivationRecord, ...] = ()
    """Windows that a source of another package gave."""

    @property
    def active_records(self) -> tuple[ActivationRecord, ...]:
        """Windows drawn evenly over the strata of active windows: what fires weakly, too."""
        return tuple(record for record in self.corpus_records if record.is_active)

    def complementary_records(self, source: ComplementaryRecordSource) -> tuple[ActivationRecord, ...]:
        """Return the whole complementary list of one source."""
        return {
            ComplementaryRecordSource.SAME_TOKEN_NEGATIVE: self.same_token_no_act_records,
            ComplementaryRecordSource.CORPUS: self.corpus_records,
            ComplementaryRecordSource.RANDOM: self.random_records,
            ComplementaryRecordSource.RANDOM_NEGATIVE: self.random_no_act_records,
            ComplementaryRecordSource.SIMILAR: self.similar_records,
            ComplementaryRecordSource.SIMILAR_NEGATIVE: self.similar_no_act_records,
            ComplementaryRecordSource.SIMILAR_PROJECTED: self.similar_projected_records,
            ComplementaryRecordSource.SIMILAR_NEGATIVE_PROJECTED: self.similar_projected_no_act_records,
            ComplementaryRecordSource.OTHER: self.other_records,
        }[source]

    def why_empty(self, source: ComplementaryRecordSource) -> str:
        """Return why a source has no records in a split."""
        silent = [stratum.size for stratum in self.strata if not stratum.is_active]
        if source.is_silent and self.strata and not any(silent):
            return EVERYWHERE
        if source is ComplementaryRecordSource.SAME_TOKEN_NEGATIVE and silent and silent[0] == 0:
            return "fires on every window that contains a peak token"
        return f"the corpus has too few {SOURCE_WORDS[source.value]} for this latent"

    def splits(self, params: SplitParams | None = None) -> Splits:
        """Split the records: positives, then those of each selected complementary source.

        A window that is in several lists comes once in train and in valid, and once for each list in test.

        Raises:
            InputError: if two splits share a window.
        """
        params = params or SplitParams()
        train, valid, test = (self._of_split(split, params) for split in Split)
        return Splits(one_per_window(train), one_per_window(valid), test)

    def _of_split(self, split: Split, params: SplitParams) -> tuple[ActivationRecord, ...]:
        def take(records: Sequence[ActivationRecord], limit: int) -> tuple[ActivationRecord, ...]:
            return split_records(records, split, min(limit, len(records) // 3))

        taken = take(self.most_act_records, params.positives_per_split)
        for source in params.sources(split):
            taken += take(self.complementary_records(source), params.negatives_per_split)
        return taken

    def records(self, split: Split, params: RecordSliceParams | None = None) -> tuple[ActivationRecord, ...]:
        """Return the records of one split: positives, then those of the selected complementary source.

        Raises:
            InputError: if a list holds too few records for the split, or two splits share a window.
        """
        return self.splits(self._exact(params or RecordSliceParams())).of(split)

    def train_records(self, params: RecordSliceParams | None = None) -> tuple[ActivationRecord, ...]:
        """Return the records that explanations are made from."""
        return self.records(Split.TRAIN, params)

    def valid_records(self, params: RecordSliceParams | None = None) -> tuple[ActivationRecord, ...]:
        """Return the records for selecting an explanation."""
        return self.records(Split.VALID, params)

    def test_records(self, params: RecordSliceParams | None = None) -> tuple[ActivationRecord, ...]:
        """Return the records for scoring the selected explanation."""
        return self.records(Split.TEST, params)

    def _exact(self, params: RecordSliceParams) -> SplitParams:
        """Return the limits at which every split holds exactly the requested records."""

        def count(records: Sequence[ActivationRecord], wanted: int | None) -> int:
            return len(split_records(records, Split.TEST, wanted))

        positives = count(self.most_act_records, params.positive_examples_per_split)
        source = params.complementary_record_source
        if source is None:
            return SplitParams(positives, 0, (), (), test_sources=())
        negatives = count(self.complementary_records(source), params.complementary_examples_per_split)
        return SplitParams(positives, negatives, (source,), (source,), test_sources=(source,))

    def _repr_html_(self) -> str:
        top = [record.to_html() for record in self.most_act_records[:5]]
        others = {source: self.complementary_records(source) for source in ComplementaryRecordSource}
        folded = [
            folded_html(f"{SOURCE_WORDS[source.value]}: {len(records)}", *(r.to_html() for r in records[:5]))
            for source, records in others.items()
        ]
        note = f"{len(self.most_act_records)} positives, largest activation {self.max_expression:.4g}"
        return section_html(f"layer {self.id.layer_index}, latent {self.id.latent_index}", *top, *folded, note=note)


@dataclass(frozen=True)
class Splits:
    """Train, valid and test records that share no sequence (enforced)."""

    train: tuple[ActivationRecord, ...]
    valid: tuple[ActivationRecord, ...]
    test: tuple[ActivationRecord, ...]

    def __post_init__(self) -> None:
        seen: dict[int, str] = {}
        for name, records in (("train", self.train), ("valid", self.valid), ("test", self.test)):
            for record in records:
                other = seen.setdefault(record.dataset_index, name)
                if other != name:
                    raise InputError(
                        f"sequence {record.dataset_index} is in both the {other} and the {name} split",
                        "make the records again: their lists must be interleaved by document",
                    )

    def of(self, split: Split) -> tuple[ActivationRecord, ...]:
        """Return the records of one split."""
        return {Split.TRAIN: self.train, Split.VALID: self.valid, Split.TEST: self.test}[split]
