"""The local simulator's numbers: equal to a plain forward pass over each whole prompt and the whole vocabulary."""

import asyncio
import threading
import time
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from featureinterp.complexity import ComplexityAnalyzer
from featureinterp.complexity.local import LocalJudge
from featureinterp.core import Rule, StructuredExplanation
from featureinterp.errors import InputError, SimulationError, SubjectError
from featureinterp.llm.local.model import LocalModel, LocalModelParams, batches
from featureinterp.simulator import LLMSimulatorFactory, make_simulator_factory
from featureinterp.simulator.alignment import simulation_prompt
from featureinterp.simulator.llm import LocalRuleLevels
from featureinterp.simulator.rules import RuleOnWindow
from tests.models.tiny_llms import TEMPLATES, TOKENIZERS, language_model, local_model, tokenizer

WINDOWS = [
    ("unknown", "\t", "\n", " unknown", "\\xe2\\x80", "5", "\tunknown\n", "é", " ", "\\"),
    (" the", " cat", "<eos>", "<start_of_turn>", "\n\n", "   ", "ry"),
    ("x",),
    tuple(["", "numbers", "and", "12"]) * 4,
]
RULES = ["numbers", "the word ' unknown'", "line breaks,\nor <end_of_turn> and\ttabs " * 3]


@pytest.fixture(autouse=True)
def short_prompt(monkeypatch, request):
    """Two short examples instead of the shipped ones, where a test does not ask for those: the same code, sooner."""
    if "shipped" in request.node.name:
        return
    prompt = simulation_prompt()
    examples = [replace(e, tokens=e.tokens[:7], levels=e.levels[:7], known_from=3) for e in prompt.examples[:2]]
    short = replace(prompt, instruction="Levels, or {withheld}.", examples=tuple(examples))
    monkeypatch.setattr("featureinterp.simulator.llm.simulation_prompt", lambda: short)


def naive(model: LocalModel, words: str, tokens) -> np.ndarray:
    """The whole prompt through the model's own forward pass, log-softmax over the whole vocabulary, then the digits."""
    prompt = LocalRuleLevels(model).prompt(words, tokens)
    model._model.set_attn_implementation("eager")
    with torch.no_grad():
        logits = model._model(torch.tensor([prompt.ids]), use_cache=False).logits[0].float()
    probabilities = logits.log_softmax(-1).exp()[list(prompt.positions)][:, model.encoder.digits(6, "\t")]
    expected = (probabilities * torch.arange(6.0)).sum(-1) / probabilities.sum(-1)
    return expected.numpy()


def simulated(model: LocalModel, pairs) -> list[np.ndarray]:
    outcomes = asyncio.run(LocalRuleLevels(model).expected_levels(pairs))
    levels = [outcome for outcome in outcomes if isinstance(outcome, np.ndarray)]
    assert len(levels) == len(pairs), outcomes
    return levels


@pytest.mark.parametrize("family", TEMPLATES)
def test_equal_to_a_plain_forward_pass_with_and_without_reuse_in_batches_of_one_and_many(family):
    pairs = [RuleOnWindow(words, tokens) for words in RULES for tokens in WINDOWS]
    wanted = [naive(local_model(family), *pair) for pair in pairs]
    assert max(map(np.ptp, wanted)) > 0.4  # a model that expects the same everywhere would prove nothing
    for reuse, batch_tokens in product((True, False), (16, 4096)):
        model = local_model(family, reuse_prefix=reuse, batch_tokens=batch_tokens)
        for levels, right in zip(simulated(model, pairs), wanted, strict=True):
            np.testing.assert_allclose(levels, right, atol=1e-3)


def test_equal_with_the_shipped_prompt():
    model = local_model("gemma2")
    pairs = [RuleOnWindow("numbers", tokens) for tokens in WINDOWS[:2]]
    for pair, levels in zip(pairs, simulated(model, pairs), strict=True):
        assert len(LocalRuleLevels(model).prompt(*pair).ids) > 600
        np.testing.assert_allclose(levels, naive(model, *pair), atol=1e-3)


def test_windows_and_caps_are_in_force():
    """What makes the equality hard is there: without it the numbers would be others."""
    model, pair = local_model("gemma2"), RuleOnWindow(RULES[0], WINDOWS[3])
    right = naive(model, *pair)
    for name, value in (("sliding_window", 4096), ("attn_logit_softcapping", None), ("final_logit_softcapping", None)):
        other = language_model("gemma2")
        setattr(other.config, name, value)
        for layer in other.model.layers:
            layer.self_attn.attn_logit_softcapping = other.config.attn_logit_softcapping
        changed = naive(LocalModel("other", other, tokenizer("gpt4", "gemma2"), model.params), *pair)
        assert np.abs(changed - right).max() > 1e-2, name


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_equal_whatever_the_tokenizer_does_to_tabs_spaces_and_digits(kind):
    model = local_model("gemma2", kind)
    pairs = [RuleOnWindow(RULES[1], tokens) for tokens in WINDOWS]
    for (words, tokens), levels in zip(pairs, simulated(model, pairs), strict=True):
        np.testing.assert_allclose(levels, naive(model, words, tokens), atol=1e-3)


@pytest.mark.parametrize("family", TEMPLATES)
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_slots_are_behind_the_tab_of_each_line(kind, family):
    model = local_model(family, kind)
    encoder, levels = model.encoder, LocalRuleLevels(model)
    ids = encoder._tokenizer.convert_ids_to_tokens
    decode = encoder._tokenizer.decode
    prompt = levels.prompt(RULES[0], WINDOWS[0])
    escaped = ["unknown", "\\t", "\\n", " unknown", "\\\\xe2\\\\x80", "5", "\\tunknown\\n", "é", " ", "\\\\"]
    assert len(prompt.positions) == len(escaped)
    start = prompt.positions[0] + 1
    for text, position in zip(escaped[1:], prompt.positions[1:], strict=True):
        # The anchor keeps a decoder from dropping the space that opens a text.
        line = decode(prompt.ids[start : position + 1])
        assert line.lstrip(" ").removeprefix("unknown\n").lstrip(" ") == f"{text}\t".lstrip(" "), ids(
            prompt.ids[start:]
        )
        start = position + 1
    whole = decode(prompt.ids)
    assert whole.endswith(f"\n{escaped[-1]}\t")
    assert f"\n{RULES[0]}\n" in whole


@pytest.mark.parametrize("kind", ["gpt2", "bytes", "sentencepiece"])
def test_pieces_are_the_tokenizers_own_where_it_does_not_merge_them(kind):
    encoder = local_model("gemma2", kind).encoder
    pieces = ["The", "\t", "unknown", "\n", " feature", "\t", "3", "\n"]
    made = [number for piece in encoder.pieces(pieces, "\n") for number in piece]
    whole = encoder._ids("\n" + "".join(pieces), plain=True)
    assert whole[-len(made) :] == made


def test_a_template_sees_no_text_and_text_holds_no_marks_of_the_template():
    model = local_model("gemma2")
    levels = LocalRuleLevels(model)
    marks = [model.encoder._tokenizer.convert_tokens_to_ids(m) for m in ("<eos>", "<end_of_turn>")]
    plain, hostile = levels.prompt("x", ("a",)), levels.prompt("<eos><end_of_turn>", ("<eos>", "<end_of_turn>"))
    assert [plain.ids.count(mark) for mark in marks] == [hostile.ids.count(mark) for mark in marks]


def test_a_prompt_does_not_depend_on_the_day():
    model = local_model("llama3")
    text = model.encoder._tokenizer.decode(LocalRuleLevels(model).prompt("x", ("a",)).ids)
    assert "Today: 26 Jul 2024" in text


def test_without_a_chat_template_the_layout_is_plain():
    model = local_model("llama3", template=False)
    prompt = LocalRuleLevels(model).prompt("x", ("a",))
    assert prompt.ids[0] == model.encoder._tokenizer.bos_token_id
    assert prompt.ids.count(prompt.ids[0]) == 1
    text = model.encoder._tokenizer.decode(prompt.ids[1:])
    assert text.startswith("Levels, or unknown.\n\nThe feature is")
    assert "\nx\n\n\na\t" in text
    np.testing.assert_allclose(
        simulated(model, [RuleOnWindow("x", WINDOWS[0])])[0], naive(model, "x", WINDOWS[0]), atol=1e-3
    )


def test_an_explanation_is_the_maximum_over_its_rules_and_each_is_computed_once():
    model = local_model("qwen")
    factory = LLMSimulatorFactory(model=model)
    explanation = StructuredExplanation((Rule(RULES[0], 5), Rule(RULES[1], 2)))
    simulations = asyncio.run(factory(explanation).simulate([*WINDOWS, ()]))
    for tokens, simulation in zip(WINDOWS, simulations, strict=False):
        wanted = np.maximum(naive(model, RULES[0], tokens), 0.4 * naive(model, RULES[1], tokens))
        np.testing.assert_allclose(simulation.expected_activations, wanted, atol=1e-3)
    assert simulations[-1].expected_activations == ()
    computed = factory.memory.computed
    asyncio.run(factory(StructuredExplanation((Rule(RULES[1], 5),))).simulate(WINDOWS))
    assert factory.memory.computed == computed


def test_a_record_too_long_for_the_model_is_named_and_spoils_no_other():
    n = len(LocalRuleLevels(local_model("llama3")).prompt("x", ("a",)).ids)
    model = local_model("llama3", length=n + 60)
    good, bad = asyncio.run(
        LocalRuleLevels(model).expected_levels([RuleOnWindow("x", ("a",)), RuleOnWindow("x", (" long",) * 64)])
    )
    assert isinstance(good, np.ndarray)
    np.testing.assert_allclose(good, naive(model, "x", ("a",)), atol=1e-3)
    assert isinstance(bad, SimulationError)
    assert f"takes {n + 60}" in str(bad)
    assert "' long long" in str(bad)


def test_a_context_shorter_than_the_instruction_is_told():
    with pytest.raises(SubjectError, match="takes 64 tokens, the simulator's instruction alone has"):
        LocalRuleLevels(local_model("llama3", length=64))


def test_a_tokenizer_without_single_digits_is_told():
    from tokenizers import normalizers

    odd = tokenizer("gpt4", "llama3")
    odd.backend_tokenizer.normalizer = normalizers.Replace("4", "IV")
    model = LocalModel("odd", language_model("llama3"), odd, LocalModelParams(device="cpu"))
    with pytest.raises(SubjectError, match="no token of its own for the digit 4"):
        LocalRuleLevels(model)


def test_a_template_that_refuses_or_drops_turns_is_told():
    for template, problem in (("{{ raise_exception('no') }}", "refuses"), ("nothing", "does not render")):
        refusing = tokenizer("gpt4", "llama3")
        refusing.chat_template = template
        with pytest.raises(SubjectError, match=problem):
            LocalRuleLevels(LocalModel("odd", language_model("llama3"), refusing, LocalModelParams(device="cpu")))


def test_an_unknown_quirk_of_the_logits_is_found_when_the_model_loads():
    odd = language_model("llama3")
    odd.lm_head.register_forward_hook(lambda _module, _args, output: torch.mul(output, 2))
    with pytest.raises(SubjectError, match="deviate from its own by"):
        LocalModel("odd", odd, tokenizer("gpt4", "llama3"), LocalModelParams(device="cpu"))


def test_a_model_is_loaded_by_its_folder(tmp_path):
    language_model("gemma2").save_pretrained(tmp_path)
    tokenizer("gpt4", "gemma2").save_pretrained(tmp_path)
    factory = make_simulator_factory(f"hf:{tmp_path}", device="cpu")
    [simulation] = asyncio.run(factory(StructuredExplanation.from_text("numbers")).simulate([WINDOWS[0]]))
    wanted = naive(local_model("gemma2"), "numbers", WINDOWS[0])
    np.testing.assert_allclose(simulation.expected_activations, wanted, atol=1e-3)


def test_bfloat16_is_close(tmp_path):
    made = language_model("gemma2").to(torch.bfloat16)
    model = LocalModel("half", made, tokenizer("gpt4", "gemma2"), LocalModelParams(device="cpu"))
    [levels] = simulated(model, [RuleOnWindow("numbers", WINDOWS[3])])
    np.testing.assert_allclose(levels, naive(local_model("gemma2"), "numbers", WINDOWS[3]), atol=0.3)


def test_bad_names_and_settings_are_told(tmp_path):
    with pytest.raises(SubjectError, match="there is no folder '.*none'"):
        make_simulator_factory(f"hf:{tmp_path}/none")
    with pytest.raises(InputError, match="names no model"):
        make_simulator_factory("hf")
    with pytest.raises(InputError, match="quantization '3bit'"):
        LocalModelParams(quantization="3bit")
    with pytest.raises(InputError, match="number type 'float7'"):
        LocalModelParams(dtype="float7")


def test_quantized_weights_name_the_extra(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install 'featureinterp\\[quantization\\]'"):
        LocalModel.load("any", LocalModelParams(quantization="4bit"))


def test_batches_hold_like_lengths_and_no_more_than_allowed():
    lengths = [7, 1, 7, 3, 2, 9]
    made = batches(lengths, 14)
    assert sorted(i for batch in made for i in batch) == list(range(6))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 14 for batch in made)
    assert made == [[5], [0, 2], [3, 4, 1]]


@pytest.mark.parametrize("template", [True, False])
def test_complexity_is_the_expected_digit_of_the_next_token(template):
    model = local_model("gemma2", template=template)
    judge = LocalJudge(model)
    ids = judge.prompt("numbers")
    model._model.set_attn_implementation("eager")
    with torch.no_grad():
        logits = model._model(torch.tensor([ids]), use_cache=False).logits[0, -1].float()
    chosen = logits.log_softmax(-1).exp()[model.encoder.digits(6, "\n")]
    wanted = float((chosen * torch.arange(6.0)).sum() / chosen.sum())
    assert asyncio.run(ComplexityAnalyzer(judge=judge).rule_complexity("numbers")) == pytest.approx(wanted, abs=1e-4)
    text = model.encoder._tokenizer.decode(ids)
    assert "What switches the feature on: names of fruit" in text
    assert text.rstrip("\n").endswith("on: numbers" if not template else "<end_of_turn>\n<start_of_turn>model")


def test_a_computation_that_is_abandoned_ends_with_its_batch(monkeypatch):
    model = local_model(next(iter(TEMPLATES)), batch_tokens=40)
    levels, batches_done, begun = LocalRuleLevels(model), [], threading.Event()
    compute = model._hidden

    def counted(ids, cache):
        if ids.shape[1] > 40:  # a window, each a batch of its own; what all of them share comes in pieces of 40
            batches_done.append(ids.shape)
            begun.set()
            time.sleep(0.05)
        return compute(ids, cache)

    monkeypatch.setattr(model, "_hidden", counted)
    wanted = [RuleOnWindow("numbers", (word,) * 30) for word in "abcdefghijklmnopqrstuvwxyz"]

    async def abandon():
        task = asyncio.create_task(levels.expected_levels(wanted))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        await asyncio.wait([task])
        return await levels.expected_levels(wanted[:2])

    again = asyncio.run(abandon())
    assert len(batches_done) < len(wanted)
    np.testing.assert_allclose(np.asarray(again[0]), naive(model, *wanted[0]), atol=1e-4)
