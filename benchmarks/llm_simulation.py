"""Is the simulator on a language model fast and small? `python -m benchmarks.llm_simulation`.

Simulates an explanation of 3 rules over 20 windows of 32 tokens on a small random model of Gemma 2's shape, once with
the simulator and once the naive way: the whole prompt of each rule and window, and log-softmax over the whole
vocabulary. Each runs in a process of its own, on one thread. Prints processor seconds, and the memory that simulating
takes on top of the loaded model; exits with 1 where it is less than 10 times as fast, takes more than a fifth of the
memory, or the numbers differ.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LEAST_SPEED, LEAST_MEMORY, LARGEST_ERROR = 10.0, 5.0, 1e-3
RULES = ("names of rivers and lakes", "the token ' and' right after a number", "somebody being late, or sorry for it")
TEMPLATE = (
    "<bos>{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else 'user' }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
)


def make_model(vocabulary: int, width: int, layers: int):
    """Return a random model of Gemma 2's shape, with a tokenizer that has a token for most words of the prompt."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedTokenizerFast

    from featureinterp.llm.local.model import LocalModel, LocalModelParams
    from featureinterp.simulator.alignment import simulation_prompt

    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    text = ["".join(turn.pieces) for turn in simulation_prompt().turns(" ".join(RULES))]
    special = ["<bos>", "<start_of_turn>", "<end_of_turn>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=4096, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(text, trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", chat_template=TEMPLATE)
    config = Gemma2Config(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, head_dim=width // 4, sliding_window=256, initializer_range=0.2,
    )  # fmt: skip
    return LocalModel("random-gemma2", Gemma2ForCausalLM(config), wrapped, LocalModelParams(device="cpu"))


def make_windows(n: int, length: int) -> list[tuple[str, ...]]:
    """Return windows of words, drawn at random from the prompt's own."""
    from featureinterp.simulator.alignment import simulation_prompt

    tokens = [token for example in simulation_prompt().examples for token in example.tokens]
    rng = np.random.default_rng(0)
    return [tuple(tokens[i] for i in rng.integers(len(tokens), size=length)) for _ in range(n)]


def simulate(model, windows: list[tuple[str, ...]]) -> np.ndarray:
    """Return EV of every rule on every window by the simulator, [pairs, tokens]."""
    from featureinterp.simulator.llm import LocalRuleLevels
    from featureinterp.simulator.rules import RuleOnWindow

    pairs = [RuleOnWindow(words, tokens) for words in RULES for tokens in windows]
    outcomes = asyncio.run(LocalRuleLevels(model).expected_levels(pairs))
    return np.stack([levels for levels in outcomes if isinstance(levels, np.ndarray)])


def simulate_naively(model, windows: list[tuple[str, ...]]) -> np.ndarray:
    """Return the same by a plain forward pass over each whole prompt."""
    import torch

    from featureinterp.simulator.llm import LocalRuleLevels

    prompts, digits = LocalRuleLevels(model), model.encoder.digits(6, "\t")
    network = model._model
    network.set_attn_implementation("eager")
    found = []
    with torch.inference_mode():
        for words in RULES:
            for tokens in windows:
                prompt = prompts.prompt(words, tokens)
                logits = network(torch.tensor([prompt.ids]), use_cache=False).logits
                chosen = torch.log_softmax(logits.float(), dim=-1)[0, list(prompt.positions)][:, digits].exp()
                found.append(((chosen * torch.arange(6.0)).sum(-1) / chosen.sum(-1)).numpy())
    return np.stack(found)


def memory(name: str) -> float:
    """Return a figure of this process's memory in MiB, as Linux tells it: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def child(args: argparse.Namespace) -> None:
    """Simulate in this process; print seconds and MiB, and leave the numbers in a file."""
    model = make_model(args.vocabulary, args.width, args.layers)
    windows = make_windows(args.windows, 32)
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to what is held now
    before = memory("VmRSS")
    started = time.process_time()  # of one thread: other work on the machine does not count
    levels = (simulate_naively if args.child == "naive" else simulate)(model, windows)
    seconds = time.process_time() - started
    np.save(args.to, levels)
    print(seconds, memory("VmHWM") - before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--vocabulary", type=int, default=32768)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--child", choices=("naive", "simulator"), help=argparse.SUPPRESS)
    parser.add_argument("--to", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        child(args)
        return 0
    figures, levels = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for way in ("simulator", "naive"):
            to = f"{folder}/{way}.npy"
            command = [sys.executable, "-m", "benchmarks.llm_simulation", *sys.argv[1:], "--child", way, "--to", to]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            figures[way], levels[way] = (float(out[-2]), float(out[-1])), np.load(to)
            print(f"{way}: {figures[way][0]:.2f} s, {figures[way][1]:.0f} MiB on top of the model")
    (fast, small), (slow, large) = figures["simulator"], figures["naive"]
    error = float(np.abs(levels["simulator"] - levels["naive"]).max())
    spread = float(np.ptp(levels["naive"]))
    speed, less = slow / fast, large / max(small, 1e-9)
    print(f"{speed:.1f}x as fast, {less:.1f}x less memory; levels differ by {error:.1e} at most, and span {spread:.2f}")
    return int(speed < LEAST_SPEED or less < LEAST_MEMORY or not error <= LARGEST_ERROR)


if __name__ == "__main__":
    sys.exit(main())
