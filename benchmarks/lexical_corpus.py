"""How fast are lexical explanations simulated on a whole corpus? `python -m benchmarks.lexical_corpus`.

On the embedded subject's corpus and on a large one of random tokens, for every form of rule: tokens a CPU second and
rule, compiling the rule included, and the ratio to the simulator of windows of strings in the same run, on the first
windows. Give it one thread (`OMP_NUM_THREADS=1`): CPU seconds are summed over threads.
Exits with 1 where a form is slower than 2 million tokens a second, or where the two differ in any token. Prints
Markdown. The embeddings of the words are made before, once for a corpus; their time is printed apart.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from featureinterp.core import CorpusTokens, StructuredExplanation
from featureinterp.dataset.corpus.python_docs import python_documentation
from featureinterp.dataset.corpus.windows import WindowParams, cut_windows
from featureinterp.phrases import quote
from featureinterp.simulator import LexicalSimulatorFactory
from featureinterp.simulator.lexical import EmbeddingMemory
from featureinterp.simulator.lexical_corpus import CorpusSimulation, LexicalCorpus
from featureinterp.subject.model import SubjectModel

LEAST_SPEED = 2e6
COMPARED = 2000
"""Windows on which the two simulators are compared."""
REPEATS = 5
TokenStrings = Callable[[Sequence[int]], Sequence[str]]
Found = TypeVar("Found")
FORMS = {
    "tokens": "the tokens {0}, {1}",
    "words": "the words {0}, {1}",
    "ending": "words ending in 'ing', 'ed'",
    "starting": "words starting with 're', 'un'",
    "class": "capitalised words",
    "right after": "the token {0} right after {2}, {3}",
    "not right after": "numbers but not right after {2}",
    "earlier in the window": "the token {0} with {3} before",
    "all contexts": "any token right after {0} but not right after {2} with punctuation before",
    "eight strings": "the tokens {0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}",
    "sentence of three": "the token {0}; or numbers right after {1}; or words ending in 's'",
    "free text": 'mentions of "the" or numbers',
    "like": "words like 'error', 'number'",
}


class SeededEmbedder:
    """Vectors that need no model, for the random corpus."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors of 384 normal numbers, seeded by the text."""
        drawn = np.stack([np.random.default_rng(list(text.encode())).normal(size=384) for text in texts])
        return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def timed(call: Callable[[], Found]) -> tuple[float, Found]:
    """Return the CPU seconds of a call and what it returns."""
    started = time.process_time()
    found = call()
    return time.process_time() - started, found


def measure(title: str, tokens: NDArray[np.int32], strings: TokenStrings, embeddings: EmbeddingMemory) -> bool:
    """Print the table of a corpus; return whether every form is fast enough and right."""
    numbered, corpus = timed(lambda: LexicalCorpus(CorpusTokens.of(tokens, strings), embeddings))
    ids, counts = np.unique(tokens, return_counts=True)
    text_of = dict(zip(ids.tolist(), strings(ids.tolist()), strict=True))
    embedded, _ = timed(lambda: embeddings.vectors([text.strip().lower() for text in text_of.values()]))
    print(f"\n{title}: {len(tokens):,} windows of {tokens.shape[1]} tokens, {len(ids):,} of them distinct;")
    print(f"numbered in {numbered:.2f} s, embedded in {embedded:.1f} s\n")
    print("| rule | million tokens/s | of strings, million tokens/s | ratio |\n|---|---|---|---|")
    windows = [tuple(text_of[i] for i in row) for row in tokens[:COMPARED].tolist()]
    frequent = [quote(text_of[i]) for i in ids[np.argsort(-counts, kind="stable")[:8]].tolist()]
    good = True
    for name, form in FORMS.items():
        explanation = StructuredExplanation.from_text(form.format(*frequent))
        runs = [timed(lambda explanation=explanation: corpus.simulate(explanation)) for _ in range(REPEATS)]
        speed, found = tokens.size / min(seconds for seconds, _ in runs), runs[0][1]
        of_strings, same = by_strings(explanation, windows, embeddings, found)
        good &= same and speed >= LEAST_SPEED
        told = f"{speed / of_strings:.0f}x" if same else "DIFFERENT"
        print(f"| {name} | {speed / 1e6:.1f} | {of_strings / 1e6:.2f} | {told} |", flush=True)
    return good


def by_strings(
    explanation: StructuredExplanation,
    windows: Sequence[tuple[str, ...]],
    embeddings: EmbeddingMemory,
    found: CorpusSimulation,
) -> tuple[float, bool]:
    """Return the tokens a second of the simulator of strings, and whether it expects and claims what was found."""
    simulator = LexicalSimulatorFactory(embeddings)(explanation)
    seconds, simulations = timed(lambda: asyncio.run(simulator.simulate(windows)))
    expected = np.array([each.expected_activations for each in simulations], dtype=np.float32)
    same = np.array_equal(expected, found.expected[: len(windows)])
    same &= np.array_equal([each.claims for each in simulations], found.claimed[: len(windows)])
    return expected.size / seconds, same


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=100_000, help="of the random corpus")
    parser.add_argument("--vocabulary", type=int, default=50_000, help="of the random corpus")
    args = parser.parse_args()
    model = SubjectModel.load("embedded", device="cpu")
    windows, _ = cut_windows(python_documentation(), model, WindowParams(prepend_bos=True))
    good = measure("Embedded corpus", windows.text_tokens, model.token_strings, EmbeddingMemory())
    rng = np.random.default_rng(0)
    tokens = (args.vocabulary * rng.random((args.windows, 32)) ** 3).astype(
        np.int32
    )  # some are frequent, most are rare
    spelt = [(" " * (i % 2) + "abcdefghijklmnopqrstuvwxyz"[i % 26] + f"{i:x}") for i in range(args.vocabulary)]
    good &= measure("Random corpus", tokens, lambda ids: [spelt[i] for i in ids], EmbeddingMemory(SeededEmbedder()))
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
