"""What the records of a latent cost once activations lie on disk. `python -m benchmarks.records [--full]`.

Activations that fire on one window in a hundred, windows and embeddings are drawn at random; latents are planned, their
records made, encoded and written, as `featureinterp records` does, without holistic activations. `--full` is a corpus
of 100,000 windows. CPU time on one thread. Exit code 1 where a latent takes 20 ms or more.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.similar_negatives import sentences
from featureinterp.codec import encode_index_record, encode_more_records
from featureinterp.dataset.activations.arrays import write_arrays
from featureinterp.dataset.activations.merging import MergeTarget, merge_shards
from featureinterp.dataset.activations.store import SparseActivations
from featureinterp.dataset.corpus.windows import Windows
from featureinterp.dataset.records.hook_records import HookData
from featureinterp.dataset.retrieval.exact import ExactRanker
from featureinterp.dataset.retrieval.window_index import WindowIndex
from featureinterp.dataset.spec import DataSpec
from featureinterp.files import atomic_write
from featureinterp.subject.model import SubjectModel

MOST_MILLISECONDS = 20.0
LENGTH = 32


def activations(folder: Path, n: int, n_latents: int) -> SparseActivations:
    """Write activations of latents that each fire on one window in a hundred."""
    rng = np.random.default_rng(0)
    each = n // 100
    sequence = np.concatenate([np.sort(rng.choice(n, each, replace=False)) for _ in range(n_latents)]).astype(np.int32)
    value = rng.exponential(size=len(sequence)).astype(np.float32)
    position = rng.integers(0, LENGTH, len(sequence)).astype(np.int16)
    arrays = {"indptr": np.arange(n_latents + 1) * each, "sequence": sequence, "position": position, "value": value}
    write_arrays(folder / "shard", arrays, {})
    metadata = {"source": "", "n_sequences": str(n), "length": str(LENGTH), "n_latents": str(n_latents)}
    target = MergeTarget(folder / "activations", np.arange(n_latents, dtype=np.int32), metadata)
    merge_shards([folder / "shard"], target, 2**28)
    return SparseActivations.open(folder / "activations")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="100,000 windows")
    parser.add_argument("--latents", type=int, default=64)
    args = parser.parse_args()
    n = 100_000 if args.full else 20_000
    model = SubjectModel.load("embedded", device="cpu")
    rng = np.random.default_rng(1)
    tokens = rng.integers(300, 5000, (n, LENGTH)).astype(np.int32)
    windows = Windows(tokens, np.arange(n, dtype=np.int32) // 4, False)
    spec = DataSpec(top_sample_n=30, complementary_sample_n=30)
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        folder, embeddings = Path(name), sentences(n, 384)
        begun = time.process_time()
        index = WindowIndex.of(windows, model.token_strings)
        print(f"index of {n} windows by token, and near-duplicates: {time.process_time() - begun:.1f} s")
        data = HookData(
            "hook", 0, windows, embeddings, ExactRanker(embeddings), index, activations(folder, n, args.latents),
            model.token_strings,
        )  # fmt: skip
        begun, made = time.process_time(), 0
        for latent, plan in data.plans(range(args.latents), spec):
            assert plan.selection is not None
            record = data.record(latent, plan.selection, None)
            for kind, encoded in (("", encode_index_record(record)), ("more", encode_more_records(record))):
                atomic_write(folder / f"{kind}{latent}.json", encoded)
                made += len(encoded)
        taken = 1000 * (time.process_time() - begun) / args.latents
    print(f"{args.latents} latents over {n} windows: {taken:.1f} ms and {made / args.latents / 1000:.0f} kB each")
    print(f"at most {MOST_MILLISECONDS:g} ms are promised")
    return int(taken >= MOST_MILLISECONDS)


if __name__ == "__main__":
    sys.exit(main())
