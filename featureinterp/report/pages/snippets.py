"""A feature in Python: code to copy from its page and run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from featureinterp.experiment.result import FeatureKey, FeatureResult

SAE_ID = "SAE id"
"""Setting of a run with the SAE id of a layer in its release."""
_EMBEDDED = "embedded"
_UNKNOWN = ("", "unknown")


@dataclass(frozen=True)
class Snippet:
    """Lines of Python with their purpose."""

    title: str
    lines: Sequence[str]


def snippets(result: FeatureResult, name: str, settings: Mapping[str, str]) -> list[Snippet]:
    """Return code for working with a feature in Python.

    Args:
        result: the feature.
        name: name of its JSON file, without folder and suffix.
        settings: settings of the run; without the names of model and SAE, only the code that reads the result.
    """
    found = [Snippet("Its result", result_code(result, name))]
    if settings.get("model", "") in _UNKNOWN or settings.get("SAE", "") in _UNKNOWN:
        return found
    return [
        *found,
        Snippet("Its direction, through SAELens", direction_code(result.key, settings)),
        Snippet("Its activations on a text", activations_code(result.key, settings)),
    ]


def result_code(result: FeatureResult, name: str) -> list[str]:
    """Return lines that read the feature's JSON file and print its explanation."""
    explained = result.explanation is not None
    lines = ["from pathlib import Path", ""]
    lines += ["from featureinterp.codec import decode"]
    lines += ["from featureinterp.core import Rule, StructuredExplanation"] if explained else []
    lines += ["from featureinterp.experiment.result import FeatureResult", ""]
    lines += [f'result = decode(Path("features/{name}.json").read_bytes(), FeatureResult)']
    if result.explanation is not None:
        rules = [f"    Rule({ascii(rule.activates_on)}, {rule.strength})," for rule in result.explanation.rules]
        lines += ["", "# The words alone:", "explanation = StructuredExplanation((", *rules, "))"]
    return lines


def direction_code(key: FeatureKey, settings: Mapping[str, str]) -> list[str]:
    """Return lines that load the SAE with SAELens and get the latent's decoder direction."""
    name, sae_id = settings["SAE"], _sae_id(key, settings)
    if name == _EMBEDDED:
        imported = ["from sae_lens import SAE", "", "from featureinterp.subject.embedded import sae_folder"]
        return [*imported, "", f"sae = SAE.load_from_disk(sae_folder({key.layer}))", *_direction(key)]
    local = f"Path({ascii(name)}) / {ascii(sae_id)}"
    return [
        "from pathlib import Path",
        "",
        "from sae_lens import SAE",
        "",
        f"folder = {local}  # where the SAE is a folder; a release of SAELens otherwise",
        "if folder.is_dir():",
        "    sae = SAE.load_from_disk(folder)",
        "else:",
        f"    sae = SAE.from_pretrained({ascii(name)}, {ascii(sae_id)})",
        *_direction(key),
    ]


def activations_code(key: FeatureKey, settings: Mapping[str, str]) -> list[str]:
    """Return lines that print the latent's activation on every token of a text."""
    names = ", ".join(ascii(settings.get(name, "")) for name in ("model", "SAE", SAE_ID))
    return [
        "import torch",
        "",
        "from featureinterp.subject.subject import open_subject",
        "",
        f'subject = open_subject({names}, layers="{key.layer}")',
        f"model, sae = subject.model, subject.sae({key.layer})",
        'tokens = model.tokenize(["Write any text here."])[0]',
        "if subject.prepend_bos:",
        "    tokens = [model.bos_token_id, *tokens]",
        "stream = model.streams(torch.tensor([tokens]), [sae.hook_name])[sae.hook_name]",
        f"activations = sae.encode(stream, [{key.latent}])[0, :, 0].tolist()",
        "for token, activation in zip(model.token_strings(tokens), activations):",
        '    print(f"{activation:8.3f} {token!r}")',
    ]


def _direction(key: FeatureKey) -> list[str]:
    return [f"direction = sae.W_dec[{key.latent}]"]


def _sae_id(key: FeatureKey, settings: Mapping[str, str]) -> str:
    return settings.get(SAE_ID, "").replace("{layer}", str(key.layer))
