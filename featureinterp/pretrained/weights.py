"""Checks of loaded weights: transformers initialises missing ones randomly and only logs it.

The report of `from_pretrained` lists missing, mismatched and unexpected weights, without those that the model class
itself declares harmless (tied heads, old buffers, layers for multi-token prediction). Of the others, only these are
accepted:

- unexpected: heads for other tasks, and towers of other modalities: no text passes through them. The causal masks and
  rotary frequencies that old checkpoints hold: they are constants of the architecture.
- missing: the pooler of a sentence encoder that pools token embeddings. It is not computed.

All others are errors. An unexpected bias, norm or layer means that the configuration belongs to another model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from featureinterp.errors import SubjectError

if TYPE_CHECKING:
    from torch import nn

_HINT = "download the files again, or check that config.json belongs to the weights"
_NAMED = 3
"""Maximum number of weights named in an error; the others are counted."""

_BUFFERS = r"(?:.*\.)?(?:attn|attention)\.(?:bias|masked_bias|causal_mask)|.*rotary_emb\.inv_freq|.*position_ids"
_HEADS = "score|classifier|classification_head|v_head|value_head|summary|multiple_choice_head|qa_outputs"
_TOWERS = (
    "vision_tower|vision_model|vision_encoder|vision_embed_tokens|visual|multi_modal_projector|mm_projector|embed_vision"
    "|audio_tower|embed_audio|speech_encoder|mtp|talker|token2wav|code2wav"
)
_ENCODER_HEADS = (
    "cls|lm_head|predictions|discriminator_predictions|generator_predictions|generator_lm_head|mask_predictions"
    "|lm_predictions|pred_layer|vocab_transform|vocab_layer_norm|vocab_projector|head|decoder|pooler"
)
_HARMLESS = re.compile(rf"{_BUFFERS}|(?:model\.|transformer\.)?(?:{_HEADS}|{_TOWERS})\..*")
_HARMLESS_IN_ENCODER = re.compile(rf"{_HARMLESS.pattern}|(?:\w+\.)?(?:{_ENCODER_HEADS})\..*")
_POOLER = re.compile(r"(?:\w+\.)?pooler\..*")


def check_loaded(what: str, report: Mapping[str, Any], *, encoder: bool = False, pooled: bool = False) -> None:
    """Check the loading report of a model.

    Args:
        what: description for errors, such as `model 'gpt2'`.
        report: second return value of `from_pretrained(output_loading_info=True, ignore_mismatched_sizes=True)`.
        encoder: whether the model embeds texts, and so needs no head.
        pooled: whether token embeddings are pooled, so that the model's own pooler is unused.

    Raises:
        SubjectError: if a weight is missing, of another shape, or unknown; the error names some and counts all.
    """
    harmless = _HARMLESS_IN_ENCODER if encoder else _HARMLESS
    missing = sorted(name for name in report["missing_keys"] if not (pooled and _POOLER.fullmatch(name)))
    unknown = sorted(name for name in report["unexpected_keys"] if not harmless.fullmatch(name))
    shapes = [
        f"{name} is {list(found)}; expected {list(wanted)}" for name, found, wanted in sorted(report["mismatched_keys"])
    ]
    faults = (
        (missing, f"{what} lacks {_count(missing)}: "),
        (shapes, f"{what} has {_count(shapes)} of another shape than in config.json: "),
        (unknown, f"{what} holds {_count(unknown)} that its architecture does not have: "),
    )
    for names, problem in faults:
        if names:
            raise SubjectError(problem + _some(names), _HINT)
    if report.get("error_msgs"):
        raise SubjectError(f"{what} cannot be loaded: {report['error_msgs'][0]}", _HINT)


def check_finite(what: str, model: nn.Module) -> None:
    """Check that every weight is a finite number.

    Raises:
        SubjectError: if one is NaN or infinite.
    """
    import torch

    with torch.inference_mode():
        bad = [
            name
            for name, weight in model.named_parameters()
            if weight.is_floating_point() and weight.numel() and not all(each.isfinite() for each in weight.aminmax())
        ]
    if bad:
        raise SubjectError(f"{what} has NaN or infinity in {_count(bad)}: {_some(bad)}", _HINT)


@contextmanager
def reports() -> Iterator[list[dict[str, Any]]]:
    """Collect the loading report of each transformers model loaded inside.

    sentence-transformers does not return them and has no option for it, so `from_pretrained` is wrapped.
    """
    from transformers import PreTrainedModel

    found: list[dict[str, Any]] = []
    library: Any = PreTrainedModel
    original = library.__dict__["from_pretrained"]

    def reporting(cls: type, *args: Any, **options: Any) -> Any:
        load = original.__get__(None, cls)
        if options.get("output_loading_info"):
            return load(*args, **options)
        model, report = load(*args, **options, output_loading_info=True, ignore_mismatched_sizes=True)
        found.append(report)
        return model

    library.from_pretrained = classmethod(reporting)
    try:
        with quiet_report():
            yield found
    finally:
        library.from_pretrained = original


@contextmanager
def quiet_report() -> Iterator[None]:
    """Suppress transformers' table of missing and unexpected weights."""

    def is_other(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} weight{'s' * (len(names) != 1)}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
