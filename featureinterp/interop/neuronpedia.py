"""Export for Neuronpedia's bulk import: SAEs, features, activations, explanations.

`MODEL/LAYER-SET/` holds `release.jsonl`, `model.jsonl`, `sourceset.jsonl`, `source.jsonl`, and batches of gzipped
JSON lines below `features/`, `activations/` and `explanations/`. The rows are those of Neuronpedia's tables; what a run
does not measure (decoder vectors, the histogram of logits) has the table's own default.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.experiment.store import RunStore
from featureinterp.files import atomic_folder, real_path
from featureinterp.interop.folder import gzip_lines, json_line, one_sentence, plain_name, positives_of
from featureinterp.record import ActivationRecord

BATCH = 1024
"""Maximum number of features in a file."""
MOST_TOKENS = 1024
"""Maximum tokens of a window; a longer one is cut around its largest activation."""
MOST_CHARACTERS = 512
"""Maximum characters of an explanation; a longer one is cut, and complete in its notes."""
DEFAULT_CREATOR = "clkht01d40000jv08hvalcvly"
"""Initial account of a new Neuronpedia."""
_TOP_GROUP = {"binMin": -1.0, "binContains": -1.0}
"""SAEDashboard's mark of the windows with the largest activations; `binMax` is the maximum."""
_EMPTY_LISTS = (
    "vector", "topkCosSimIndices", "topkCosSimValues",
    "neuron_alignment_indices", "neuron_alignment_values", "neuron_alignment_l1",
    "correlated_neurons_indices", "correlated_neurons_pearson", "correlated_neurons_l1",
    "correlated_features_indices", "correlated_features_pearson", "correlated_features_l1",
    "neg_str", "neg_values", "pos_str", "pos_values",
    "freq_hist_data_bar_heights", "freq_hist_data_bar_values",
    "logits_hist_data_bar_heights", "logits_hist_data_bar_values", "decoder_weights_dist",
)  # fmt: skip

Row = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """One SAE of a run, with its Neuronpedia names."""

    model: str
    set_name: str
    release: str
    layer: int
    suffix: str
    """Suffix that distinguishes several SAEs of a layer; empty for a single one."""
    created: str
    """Start of the run, ISO 8601: the date of every row."""
    creator: str
    """Id of the account that the rows belong to."""
    run: str
    """Hash of the run's configuration, which makes row ids unique to the run."""

    @property
    def id(self) -> str:
        """`{layer}-{set}`, or `{layer}-{set}__{suffix}`."""
        return f"{self.layer}-{self.set_name}" + (f"__{self.suffix}" if self.suffix else "")

    @property
    def names(self) -> Row:
        """Columns shared by most tables."""
        return {"modelId": self.model, "creatorId": self.creator, "createdAt": self.created}

    def row_id(self, *names: object) -> str:
        """Return an id of 25 characters, the same for the same names of the same run."""
        digest = hashlib.sha256(repr((self.run, self.id, *names)).encode("utf-8", "backslashreplace")).hexdigest()
        return f"c{digest[:24]}"


def write_neuronpedia(store: RunStore, out: Path, creator: str = DEFAULT_CREATOR) -> int:
    """Write a run as a folder that Neuronpedia imports; equal runs give equal bytes.

    Args:
        store: the run; unfinished features are omitted.
        out: folder to make.
        creator: id of the Neuronpedia account that the rows belong to.

    Returns:
        Number of features written.

    Raises:
        InputError: if `out` already exists.
        StorageError: if a file cannot be written; no output is left.
    """
    about, n = store.about(), 0
    with atomic_folder(out) as folder:
        for source, keys in _sources(store, creator):
            place = folder / source.model / source.id
            place.mkdir(parents=True)
            for name, row in source_rows(source, about.get("corpus", "")).items():
                (place / f"{name}.jsonl").write_bytes(json_line(row))
            results = (result for key in keys if (result := store.readable(key)) is not None)
            n += _write_batches(results, source, place)
    return n


def source_rows(source: Source, corpus: str) -> dict[str, Row]:
    """Return the metadata rows of an SAE, by file name."""
    words = f"features explained by featureinterp in the run {source.release}"
    public: Row = {"visibility": "PUBLIC", "creatorId": source.creator, "createdAt": source.created}
    creator: Row = {"creatorName": "featureinterp", "creatorEmail": None}
    return {
        "release": {
            **public, **creator, "name": source.release, "description": words, "descriptionShort": words,
            "urls": [], "creatorNameShort": "featureinterp", "isNewUi": False, "featured": False,
            "defaultSourceSetName": None, "defaultSourceId": None, "defaultUmapSourceIds": [],
        },
        "model": {
            **public, "id": source.model, "instruct": source.model.endswith("-it"), "displayNameShort": source.model,
            "displayName": source.model, "tlensId": None, "dimension": None, "defaultSourceSetName": None,
            "defaultSourceId": None, "inferenceEnabled": False, "layers": 0, "neuronsPerLayer": 0, "owner": "",
            "updatedAt": source.created, "website": None,
        },
        "sourceset": {
            **public, **creator, "modelId": source.model, "name": source.set_name, "hasDashboards": True,
            "description": words, "type": "", "urls": [], "releaseName": source.release, "defaultOfModelId": None,
            "defaultRange": 1, "defaultShowBreaks": True, "showDfa": False, "showCorrelated": False,
            "showHeadAttribution": False, "showUmap": False,
        },
        "source": {
            **public, "id": source.id, "modelId": source.model, "setName": source.set_name, "hasDashboards": True,
            "inferenceEnabled": False, "inferenceHosts": [], "hasUmap": False, "hasUmapLogSparsity": False,
            "hasUmapClusters": False, "num_prompts": None, "num_tokens_in_prompt": None,
            "dataset": _no_nul(corpus) or None, "notes": None, "defaultOfModelId": None,
        },
    }  # fmt: skip


def feature_row(result: FeatureResult, source: Source) -> Row:
    """Return a feature as a row of Neuronpedia's table of features."""
    return {
        **source.names, "layer": source.id, "index": str(result.key.latent), "sourceSetName": source.set_name,
        "maxActApprox": result.max_activation, "hasVector": False, "vectorLabel": None,
        "vectorDefaultSteerStrength": 10.0, "hookName": _no_nul(result.key.hook_name), "frac_nonzero": 0.0,
        **{name: [] for name in _EMPTY_LISTS}, **_profile_columns(result),
    }  # fmt: skip


def _profile_columns(result: FeatureResult) -> Row:
    """Return the activation histogram and the output tokens, rounded to three decimals as in SAEDashboard."""
    profile = result.profile
    if profile is None:
        return {}
    width = result.max_activation / len(profile.histogram)
    return {
        "frac_nonzero": profile.share_active,
        "freq_hist_data_bar_values": [round(width * (part + 0.5), 3) for part in range(len(profile.histogram))],
        "freq_hist_data_bar_heights": list(profile.histogram),
        "pos_str": [_no_nul(token.text) for token in profile.promoted],
        "pos_values": [round(token.logit, 3) for token in profile.promoted],
        "neg_str": [_no_nul(token.text) for token in profile.suppressed],
        "neg_values": [round(token.logit, 3) for token in profile.suppressed],
    }


def activation_rows(result: FeatureResult, source: Source) -> Iterator[Row]:
    """Yield a feature's positives, most active first, as rows of the activation table."""
    for record in positives_of(result):
        tokens, values = _cut(record)
        largest = max(values)
        yield {
            **source.names, "id": source.row_id("activation", result.key.latent, record.dataset_index),
            "layer": source.id, "index": str(result.key.latent), "tokens": [_no_nul(token) for token in tokens],
            "values": list(values), "maxValue": largest, "maxValueTokenIndex": values.index(largest),
            "minValue": min(values), "dataIndex": str(record.dataset_index), "dataSource": None, "dfaValues": [],
            "dfaTargetIndex": None, "dfaMaxValue": None, "lossValues": [], "logitContributions": None, **_TOP_GROUP,
            "binMax": result.max_activation,
            "qualifyingTokenIndex": values.index(largest),
        }  # fmt: skip


def explanation_rows(result: FeatureResult, source: Source) -> Iterator[Row]:
    """Yield a feature's explanation, if any, as a row of the explanation table."""
    if result.explanation is None:
        return
    words = _no_nul(one_sentence(result.explanation))
    cut = len(words) > MOST_CHARACTERS
    scores = "; ".join(f"correlation with {name} {scores.correlation}" for name, scores in result.scores.items())
    told = [f"by featureinterp, {result.made_by}", scores, f"in full: {words}" if cut else ""]
    yield {
        "id": source.row_id("explanation", result.key.latent), "modelId": source.model, "layer": source.id,
        "index": str(result.key.latent), "description": words[: MOST_CHARACTERS - 1] + "…" if cut else words,
        "authorId": source.creator, "createdAt": source.created, "notes": _no_nul("; ".join(filter(None, told))),
        "triggeredById": None, "typeName": None, "explanationModelName": None,
    }  # fmt: skip


def _sources(store: RunStore, creator: str) -> Iterator[tuple[Source, list[FeatureKey]]]:
    about, by_hook = store.about(), {}
    for key in sorted(store.finished(), key=lambda key: (key.layer, key.hook_name, key.latent)):
        by_hook.setdefault((key.layer, key.hook_name), []).append(key)
    layers = [layer for layer, _ in by_hook]
    used: set[str] = set()
    for (layer, hook_name), keys in by_hook.items():
        suffix = plain_name(hook_name, "hook") if layers.count(layer) > 1 else ""
        while suffix and f"{layer} {suffix}" in used:
            suffix += "_"
        used.add(f"{layer} {suffix}")
        yield Source(
            plain_name(_last_part(about.get("model", "")), "model"),
            plain_name(_last_part(about.get("SAE", "")), "sae"),
            plain_name(real_path(store.path).parent.name, "run"), layer, suffix,
            about["created"], creator, about["configuration_hash"],
        ), keys  # fmt: skip


def _write_batches(results: Iterator[FeatureResult], source: Source, place: Path) -> int:
    n, number = 0, 0
    while batch := list(islice(results, BATCH)):
        tables: Mapping[str, Iterable[Row]] = {
            "features": (feature_row(result, source) for result in batch),
            "activations": (row for result in batch for row in activation_rows(result, source)),
            "explanations": (row for result in batch for row in explanation_rows(result, source)),
        }
        for name, rows in tables.items():
            (place / name).mkdir(exist_ok=True)
            (place / name / f"batch-{number}.jsonl.gz").write_bytes(gzip_lines(rows))
        n, number = n + len(batch), number + 1
    return n


def _cut(record: ActivationRecord) -> tuple[tuple[str, ...], tuple[float, ...]]:
    peak = max(range(len(record.tokens)), key=record.expressions.__getitem__)
    start = max(0, min(peak - MOST_TOKENS // 2, len(record.tokens) - MOST_TOKENS))
    return record.tokens[start : start + MOST_TOKENS], record.expressions[start : start + MOST_TOKENS]


def _no_nul(text: str) -> str:
    """Replace NUL by a space, as in Neuronpedia's import."""
    return text.replace("\0", " ")


def _last_part(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1]
