"""The valid files that are made hostile: a tiny model with its SAEs, data, a run, and files of other tools."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

CORPUS = "corpus.jsonl"
_BOMB = 2**30


def make_world(folder: Path) -> None:
    """Write everything below a folder; takes about a minute."""
    from tests.cli.tiny import write_corpus, write_model, write_sae
    from tests.models.tiny_gguf import tiny_llama, write_gguf

    write_corpus(folder / CORPUS, 200)
    write_model(folder / "model", folder / CORPUS)
    write_gguf(folder / "model.gguf", tiny_llama(), "Q8_0")
    for layer in range(2):
        write_sae(folder / "saes" / f"layer_{layer}", layer)
    names = ["--model-name", folder / "model", "--sae-name", folder / "saes", "--dataset-name", folder / CORPUS]
    sizes = ["--max-dataset-size", 150, "--max-seq-length", 10, "--max-features", 6, "--top-sample-n", 12]
    stages = ["--write-sae-acts", "--write-holistic-acts", "--write-records"]
    layers = ["--sae-id-layer-format-string", "layer_{layer}", "--complementary-sample-n", 9]
    _command("records", "--out", folder / "data", *names, *sizes, *layers, *stages)
    _command("explain", folder / "data" / "corpus_model", "--out", folder / "run", "--depth", 1, "--workers", 1)
    for kind in ("openai", "neuronpedia"):
        _command("export", folder / "run", "--format", kind, "--out", folder / kind)
    for path in sorted((folder / "openai").rglob("*.json")):
        if not any(
            any(one["activations"]) for one in json.loads(path.read_bytes())["most_positive_activation_records"]
        ):
            path.unlink()  # of a latent that fires nowhere, which cannot be imported
    _corpora(folder / "corpora", folder / CORPUS)
    _original(folder)
    _delphi(folder / "delphi")
    _archive(folder)
    _ledger(folder / "ledger.sqlite")
    _bombs(folder / "bombs")
    _embedder(folder / "embedder")


def _command(*arguments: object) -> None:
    command = [sys.executable, "-m", "featureinterp.cli", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")


def _corpora(folder: Path, corpus: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Dataset
    from zstandard import ZstdCompressor

    folder.mkdir()
    content = corpus.read_bytes()
    texts = [json.loads(line)["text"] for line in content.splitlines()]
    (folder / "c.jsonl").write_bytes(content)
    (folder / "c.jsonl.zst").write_bytes(ZstdCompressor().compress(content))
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(content))
    (folder / "c.txt").write_text("\n\n".join(texts), encoding="utf-8")
    pq.write_table(pa.table({"text": texts, "input_ids": [[1, 2, 3]] * len(texts)}), folder / "c.parquet")
    Dataset.from_dict({"text": texts[:50]}).save_to_disk(folder / "saved")


def _original(folder: Path) -> None:
    import torch

    from tests.conftest import GOLDEN_DATA

    hook, made = "blocks.1.hook_resid_post", folder / "original"
    golden = np.load(GOLDEN_DATA / "activations_layer1.npz")
    (made / "sae_acts").mkdir(parents=True)
    (made / "records" / hook).mkdir(parents=True)
    for path in sorted((GOLDEN_DATA / "records" / hook).glob("*.json"))[:2]:
        (made / "records" / hook / path.name).write_bytes(path.read_bytes())
    torch.save(torch.from_numpy(golden["tokens"]).long(), made / "tokens.pt")
    torch.save(torch.from_numpy(golden["sae_acts"]), made / "sae_acts" / f"{hook}.pt")


def _delphi(folder: Path) -> None:
    from safetensors.numpy import save_file

    place = folder / "latents" / "layers.1"
    place.mkdir(parents=True)
    rng = np.random.default_rng(0)
    places = rng.choice(12 * 40 * 4, 400, replace=False)
    where = np.stack(np.unravel_index(places, (12, 40, 4)), axis=1).astype(np.uint16)
    values = (0.1 + rng.random(400)).astype(np.float16)
    tokens = rng.integers(4, 400, (12, 40))
    save_file({"locations": where, "activations": values, "tokens": tokens}, place / "0_3.safetensors")
    (place / "config.json").write_text(json.dumps({"model_name": "embedded", "dataset_repo": "x"}))
    sentence = {"str_tokens": ["a", "b"], "activations": [0.0, 1.0], "distance": 1.0, "activating": True}
    simulation = {
        "tokens": ["a"],
        "expected_activations": [1.0],
        "activation_scale": "simulated_normalized_activations",
    }
    scored = {"simulation": simulation, "true_activations": [1.0], "ev_correlation_score": 0.5}
    for name, content in (
        ("explanations/layers.1_latent2.txt", "words about time"),
        ("scores/fuzz/layers.1_latent2.txt", [{**sentence, "prediction": True, "probability": 0.5, "correct": True}]),
        ("scores/simulation/layers.1_latent2.txt", [{"scored_sequence_simulations": [scored], "distance": 0}]),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))


def _archive(folder: Path) -> None:
    from featureinterp.dataset.archive import pack

    pack(folder / "data" / "corpus_model", folder / "data.tar.zst")


def _bombs(folder: Path) -> None:
    """Write small files that hold a GB each: lines of JSON, plain letters, an archive, a column of a database."""
    from zstandard import ZstdCompressor

    folder.mkdir()
    member = tarfile.TarInfo("a")
    member.size = _BOMB
    for name, before in (("line", b'{"text": "'), ("letters", b""), ("archive", member.tobuf())):
        _pack(folder / f"{name}.zst", ZstdCompressor().compressobj(), before)
        _pack(folder / f"{name}.gz", zlib.compressobj(1, wbits=31), before)
    _pack(folder / "spaces.zlib", zlib.compressobj(1), b" ")


def _pack(path: Path, packer: Any, before: bytes) -> None:
    block = b"a" * 2**24
    with path.open("wb") as file:
        file.write(packer.compress(before))
        for _ in range(_BOMB // len(block)):
            file.write(packer.compress(block))
        file.write(packer.flush())


def _ledger(path: Path) -> None:
    from featureinterp.chat import ChatAnswer, Usage
    from featureinterp.llm.api.ledger import Ledger

    with Ledger(path) as ledger:
        for sample in range(3):
            ledger.put(b"asked", sample, ChatAnswer("an answer", usage=Usage(1, 2, 3)))


def _embedder(folder: Path) -> None:
    """Write a small sentence-transformers model of one layer."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    parts = folder.with_name("bert")
    parts.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", "##a"]
    (parts / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(parts / "vocab.txt")).save_pretrained(parts)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(parts)
    transformer = Transformer(str(parts))
    SentenceTransformer(modules=[transformer, Pooling(16)], device="cpu").save(str(folder))
