"""How fast a corpus becomes windows, and how much memory each window takes.

    python -m benchmarks.corpus_windows [--windows 20000] [--memory]

Prints windows per second for each kind of file, one tokenizer thread and as many as there are cores, and bytes of
memory per window; `--memory` only the latter, and that of a tenth of the windows.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from featureinterp.dataset.corpus.documents import CorpusSpec
from featureinterp.dataset.corpus.open import open_corpus, read_documents
from featureinterp.dataset.corpus.windows import WindowParams, cut_windows
from featureinterp.subject.model import SubjectModel

VOCABULARY = 5000


def texts(n: int) -> Iterator[str]:
    """Yield documents of 60 to 1000 random words, of which only the beginning is used."""
    generator = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    words = np.array(["".join(generator.choice(letters, size)) for size in generator.integers(2, 10, VOCABULARY)])
    for length in generator.integers(60, 1000, n):
        yield " ".join(words[generator.zipf(1.3, length) % VOCABULARY])


def write_corpora(folder: Path, n: int) -> dict[str, Path]:
    made = list(texts(n))
    lines = "".join(json.dumps({"text": text}) + "\n" for text in made).encode()
    paths = {kind: folder / f"corpus.{kind}" for kind in ("jsonl", "jsonl.zst", "parquet")}
    paths["jsonl"].write_bytes(lines)
    paths["jsonl.zst"].write_bytes(zstandard.compress(lines))
    pq.write_table(pa.table({"text": made}), paths["parquet"], row_group_size=1000)
    return paths


class Letters:
    """A tokenizer that costs nothing: what is measured with it is everything else."""

    bos_token_id: int | None = None
    special_token_ids = frozenset({0})
    vocabulary_size = 2**20

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the texts' bytes."""
        return [list(text.encode()) for text in texts]


def tell_memory(n_windows: int) -> None:
    """Print what a window takes while windows are made, of documents that take nothing themselves."""
    params = WindowParams(max_windows=n_windows)
    rng = np.random.default_rng(0)
    documents = (rng.integers(1, Letters.vocabulary_size, params.length) for _ in range(n_windows))
    tracemalloc.start()
    windows, _ = cut_windows(documents, Letters(), params)
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    n = len(windows)
    print(f"memory of {n:,} windows: {most / n:.0f} bytes each at most, {held / n:.0f} afterwards")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=20_000)
    parser.add_argument("--memory", action="store_true", help="measure memory only")
    args = parser.parse_args()
    n_windows = args.windows
    if args.memory:
        tell_memory(n_windows // 10)
        tell_memory(n_windows)
        return
    model = SubjectModel.load("embedded", device="cpu")
    params = WindowParams(max_windows=n_windows)
    with tempfile.TemporaryDirectory() as folder:
        for kind, path in write_corpora(Path(folder), n_windows).items():
            for parallel in ("false", "true"):
                os.environ["TOKENIZERS_PARALLELISM"] = parallel
                documents = read_documents(open_corpus(CorpusSpec(str(path))), str(path))
                start = time.perf_counter()
                windows, counts = cut_windows(documents, model, params)
                seconds = time.perf_counter() - start
                threads = "all cores" if parallel == "true" else "one thread"
                print(f"{kind:10} {threads:10} {len(windows) / seconds:8.0f} windows/s, {counts.documents} documents")
    tell_memory(n_windows)


if __name__ == "__main__":
    main()
