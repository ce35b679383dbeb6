"""Simulator on a local language model: one forward pass per rule and window.

    [instruction, worked examples] [a rule's words] [token<TAB>unknown, line by line]
     once per model                 once per rule    batched by length

Keys and values of the preceding parts are shared, not copied. EV is the mean of the digits 0..5 under the softmax over
their six logits, in float32.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from featureinterp.errors import InputError, SimulationError, SubjectError, check_numbers
from featureinterp.formatting import one_line
from featureinterp.llm.local.encoding import open_encoder
from featureinterp.record import MAX_LEVEL
from featureinterp.registry import with_params
from featureinterp.simulator.alignment import Slots, simulation_prompt, window_slots
from featureinterp.simulator.rules import Outcome, RuleOnWindow, RuleSimulatorFactory
from featureinterp.stats import expectation_over_levels

if TYPE_CHECKING:
    from featureinterp.llm.local.attention import Prefix
    from featureinterp.llm.local.model import LocalModel, LocalModelParams

_HINT = "write hf:MODEL, a folder or a name on the hub"


class LocalRuleLevels:
    """EV of rules on a local model; runs in a separate thread, one batch at a time."""

    def __init__(self, model: LocalModel) -> None:
        """Take a model and compute the prefix shared by all prompts.

        Raises:
            SubjectError: if the model's tokenizer or context does not fit the prompt.
        """
        self._model = model
        self._lock = threading.Lock()
        self._abandoned = threading.Event()
        *shared, words, line_end, opening = model.encoder.conversation(simulation_prompt().turns("x"))
        del words
        self._shared = [number for part in shared for number in part]
        self._behind_words = [*line_end, *opening]
        if not model.encoder.pieces(["\t"], "a")[0]:
            raise SubjectError(f"the tokenizer of {model.name!r} drops tabs", "use a model of another family")
        self._digits = model.encoder.digits(MAX_LEVEL + 1, "\t")
        if model.max_length is not None and len(self._shared) >= model.max_length:
            raise SubjectError(
                f"{model.name!r} takes {model.max_length} tokens, the simulator's instruction alone has "
                f"{len(self._shared)}",
                "use a model with a longer context",
            )

    async def expected_levels(self, wanted: Sequence[RuleOnWindow]) -> list[Outcome]:
        """Return EV of each, float64 [tokens]; a `SimulationError` for one beyond the context length."""
        abandoned = threading.Event()
        try:
            return await asyncio.to_thread(self._compute, wanted, abandoned)
        except asyncio.CancelledError:
            abandoned.set()  # a thread cannot be cancelled: it checks this flag between batches
            raise

    def prompt(self, words: str, tokens: Sequence[str]) -> Slots:
        """Return the whole prompt for one rule and window, and its slots."""
        before = [*self._shared, *self._rule(words)]
        slots = window_slots(self._model.encoder, tokens)
        return Slots((*before, *slots.ids), tuple(len(before) + position for position in slots.positions))

    def _compute(self, wanted: Sequence[RuleOnWindow], abandoned: threading.Event) -> list[Outcome]:
        outcomes: dict[RuleOnWindow, Outcome] = {}
        with self._lock:
            self._abandoned = abandoned
            for words in dict.fromkeys(words for words, _ in wanted):
                windows = list(dict.fromkeys(tokens for each, tokens in wanted if each == words))
                of_rule = self._of_rule(words, windows)
                outcomes.update((RuleOnWindow(words, tokens), of_rule[i]) for i, tokens in enumerate(windows))
        return [outcomes[each] for each in wanted]

    def _of_rule(self, words: str, windows: Sequence[tuple[str, ...]]) -> list[Outcome]:
        slots = [window_slots(self._model.encoder, tokens) for tokens in windows]
        rule = self._rule(words)
        n_before = len(self._shared) + len(rule)
        errors = {i: self._too_long(windows[i], n_before + len(each.ids)) for i, each in enumerate(slots)}
        fitting = [i for i, error in errors.items() if error is None and slots[i].ids]
        outcomes: list[Outcome] = [errors[i] or np.empty(0) for i in range(len(windows))]
        for i, levels in zip(fitting, self._expect(rule, [slots[i] for i in fitting]), strict=True):
            outcomes[i] = levels
        return outcomes

    def _expect(self, rule: Sequence[int], slots: Sequence[Slots]) -> list[NDArray[np.float64]]:
        if not slots:
            return []
        if self._model.params.reuse_prefix:
            prefix = self._model.prefix(rule, self._shared_prefix)
            rows, positions = [each.ids for each in slots], [each.positions for each in slots]
        else:
            prefix, before = None, (*self._shared, *rule)
            rows = [(*before, *each.ids) for each in slots]
            positions = [[len(before) + position for position in each.positions] for each in slots]
        logits = self._model.logits(rows, positions, self._digits, prefix, self._go_on)
        return [expectation_over_levels(of_row) for of_row in logits]

    def _go_on(self) -> None:
        if self._abandoned.is_set():
            raise SimulationError("the request for the levels was cancelled")

    @cached_property
    def _shared_prefix(self) -> Prefix:
        return self._model.prefix(self._shared)

    def _rule(self, words: str) -> list[int]:
        [ids] = self._model.encoder.pieces([one_line(words)], "\n")
        return [*ids, *self._behind_words]

    def _too_long(self, tokens: Sequence[str], length: int) -> SimulationError | None:
        if self._model.max_length is None or length <= self._model.max_length:
            return None
        return SimulationError(
            f"the record that begins {''.join(tokens[:8])!r} needs {length} tokens with its prompt, "
            f"{self._model.name!r} takes {self._model.max_length}",
            "use shorter windows or rules, or a model with a longer context",
        )


class LLMSimulatorFactory(RuleSimulatorFactory):
    """Factory of simulators on a shared local Hugging Face model.

    `model_name` is a folder, or a name on the Hugging Face hub; a given `model` is used instead.
    """

    def __init__(
        self,
        model_name: str = "google/gemma-2-27b-it",
        params: LocalModelParams | None = None,
        *,
        model: LocalModel | None = None,
    ) -> None:
        """Load the model.

        Raises:
            SubjectError: if it cannot be loaded, or cannot simulate.
            InputError: if quantized weights are requested and bitsandbytes is not installed.
        """
        if model is None:
            from featureinterp.llm.local.model import LocalModel

            model = LocalModel.load(model_name, params)
        super().__init__(LocalRuleLevels(model))


@dataclass(frozen=True)
class LocalSimulatorParams:
    """Knobs of the simulator on a local model."""

    dtype: str = "auto"
    """Torch dtype; `auto` is bfloat16 on a GPU and float32 elsewhere."""
    batch_tokens: int = 1024
    """Maximum tokens of a batch, including padding; a longer prompt is a separate batch."""

    def __post_init__(self) -> None:
        check_numbers(self, batch_tokens=(1, math.inf))


@with_params(LocalSimulatorParams)
def make_local_simulator_factory(
    what: str, device: str, _open_model: object = None, *, params: LocalSimulatorParams | None = None
) -> LLMSimulatorFactory:
    """Create the factory registered as `hf`; `what` is a folder or a hub name.

    `@4bit` or `@8bit` after the name quantizes the weights.

    Raises:
        InputError: if no model is named.
        SubjectError: if it cannot be loaded, or cannot simulate.
    """
    from featureinterp.llm.local.model import LocalModelParams

    name, bits = _model_and_bits(what)
    params = params or LocalSimulatorParams()
    model = LocalModelParams(device, params.dtype, bits, batch_tokens=params.batch_tokens)
    return LLMSimulatorFactory(name, model)


def local_prompt_hash(what: str) -> str:
    """Return a hash of the prompt prefix of `hf:WHAT`; loads only the tokenizer.

    Raises:
        InputError: if no model is named.
        SubjectError: if its tokenizer cannot be loaded, or its chat template cannot render the prompt.
    """
    return open_encoder(_model_and_bits(what)[0], _HINT).digest(simulation_prompt().turns("x"))


def _model_and_bits(what: str) -> tuple[str, str]:
    from featureinterp.llm.local.model import QUANTIZATIONS

    name, at, bits = what.rpartition("@")
    if not at or bits not in QUANTIZATIONS:
        name, bits = what, ""
    if not name:
        raise InputError("the simulator 'hf' names no model", _HINT)
    return name, bits
