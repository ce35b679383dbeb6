"""Readers of folders that hold models: SAEs, language models, tokenizers, sentence embedders."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

from benchmarks.hostile.cases import Case, Reader, wanted
from benchmarks.hostile.mutations import VALUES, copy_tree, damage, mutate_json
from featureinterp.errors import InputError, SubjectError

HOOK = "blocks.0.hook_resid_post"

_SIZES = (0, -1, 1, 3, 10**4, 10**6, 10**9, 10**12, 2**63, 1.5, "2", None, [2], True)
"""What a size in a configuration becomes, beside any other value."""


def _hostile(path: Path, rng: Random) -> None:
    """Make one file of a folder hostile, a configuration more often than weights."""
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix in (".json", ".safetensors", ".txt"))
    configurations = [
        p for p in files if p.name in ("config.json", "cfg.json", "modules.json", "tokenizer_config.json")
    ]
    target = rng.choice(configurations if rng.random() < 0.5 else files)
    if target.suffix == ".json" and rng.random() < 0.6:
        text = mutate_json(target.read_text(), rng, (*VALUES, *_SIZES * 4))
        target.unlink()
        target.write_text(text, encoding="utf-8", errors="surrogatepass")
    else:
        damage(target, rng)


def sae(case: Case) -> None:
    """Load an SAE, and use it as a run does."""
    import torch

    from featureinterp.subject.sae import load_sae

    folder = copy_tree(case.world / "saes", case.folder / "saes")
    _hostile(folder / "layer_0", case.rng)
    found = load_sae(str(folder), "layer_{layer}", 0, device="cpu")
    try:
        used = found.encode(torch.ones(2, found.width)), found.encode(torch.ones(2, found.width), [0, 1])
        values = (found.layer, found.n_latents, found.prepend_bos, found.model_name, found.writes_residual)
        found.decode(used[0])
        found.directions([0])
        found.fingerprint()
        wanted(values[0] >= 0 and used[0].shape == (2, found.n_latents), "activations of another shape")
    except InputError as error:
        raise AssertionError(f"refused after it was loaded: {error}") from error


def language_model(case: Case) -> None:
    """Open a model with its SAE, and read a sentence by it."""
    import torch

    from featureinterp.subject.subject import open_subject

    folder = copy_tree(case.world / "model", case.folder / "model")
    _hostile(folder, case.rng)
    saes = str(case.world / "saes")
    subject = open_subject(str(folder), saes, "layer_{layer}", layers="0", device="cpu")
    model = subject.model
    [ids] = model.tokenize(["a list of numbers"])
    model.token_strings(ids)
    wanted(max(ids, default=0) < model.vocabulary_size, "a token beyond the vocabulary")
    streams = model.streams(torch.tensor([ids or [1]]), [HOOK])
    wanted(streams[HOOK].shape[-1] == model.width, "another width")
    _ = (model.max_length, model.bos_token_id, model.special_token_ids, model.n_token_strings, model.fingerprint())


def tokenizer(case: Case) -> None:
    """Open a tokenizer alone, as imports do."""
    from featureinterp.subject.loading import open_tokenizer
    from featureinterp.subject.pieces import token_texts

    folder = copy_tree(case.world / "model", case.folder / "model")
    path = folder / case.rng.choice(("tokenizer.json", "tokenizer.json", "tokenizer_config.json", "config.json"))
    text = path.read_text()
    path.unlink()
    path.write_text(mutate_json(text, case.rng), encoding="utf-8", errors="surrogatepass")
    found = open_tokenizer(str(folder))
    token_texts(found, [1, 2, 3])


def simulator(case: Case) -> None:
    """Load a model that simulates."""
    from featureinterp.llm.local.model import LocalModel, LocalModelParams

    folder = copy_tree(case.world / "model", case.folder / "model")
    _hostile(folder, case.rng)
    found = LocalModel.load(str(folder), LocalModelParams(device="cpu"))
    found.logits([[1, 2, 3]], [[2]], [0, 1])
    wanted(found.max_length is None or found.max_length > 0, "no prompt fits")


def embedder(case: Case) -> None:
    """Load a sentence embedder, and embed a sentence."""
    from featureinterp.llm.embedding import open_embedder

    folder = copy_tree(case.world / "embedder", case.folder / "embedder")
    _hostile(folder, case.rng)
    found = open_embedder(str(folder), device="cpu").embed(["a b", "c"])
    wanted(found.ndim == 2 and len(found) == 2, "embeddings of another shape")


def gguf_file(case: Case) -> None:
    """Convert a GGUF file into a cache of its own, and open it."""
    import torch

    from featureinterp.subject.model import SubjectModel

    path = case.folder / "model.gguf"
    content = bytearray((case.world / "model.gguf").read_bytes())
    for _ in range(case.rng.choice((1, 1, 2, 5))):
        start = case.rng.randrange(4, content.index(b"token_embd.weight") + 1500)
        number = case.rng.choice((0, 1, 3, 8, 9, 2**31, 2**63, case.rng.randrange(2**64)))
        width = case.rng.choice((1, 4, 8))
        content[start : start + width] = number.to_bytes(8, "little")[:width]
    path.write_bytes(content)
    if case.rng.random() < 0.2:
        damage(path, case.rng)
    before, os.environ["XDG_CACHE_HOME"] = os.environ.get("XDG_CACHE_HOME", ""), str(case.folder / "cache")
    try:
        model = SubjectModel.load(str(path), device="cpu")
    finally:
        os.environ["XDG_CACHE_HOME"] = before
    model.token_strings([1, 2, 3])
    wanted(model.streams(torch.tensor([[1, 2]]), [HOOK])[HOOK].shape == (1, 2, model.width), "another width")


def names(case: Case) -> None:
    """Open a model, an SAE or an embedder by a name that is none."""
    from featureinterp.pretrained.hub import local_folder
    from featureinterp.subject.loading import read_config
    from featureinterp.subject.sae import load_sae

    rng = case.rng
    name = rng.choice(
        ("", "a/b/c", "../x", "a b", "\0", "x" * 5000, "~nobody/x", "/", ".", "-", "a--b", "\ud800", "é/x")
    )
    how = rng.randrange(3)
    if how == 0:
        local_folder(name, "give a folder")
    elif how == 1:
        read_config(name)
    else:
        load_sae(
            rng.choice((name, str(case.world / "saes"))),
            rng.choice(("{", "{0}", "{layer.x}", "{layer:9999999999}", "{x}", name)),
            0,
        )


READERS = (
    Reader("SAEs", sae, (SubjectError, InputError), 100),
    Reader("language models", language_model, (SubjectError, InputError), 60),
    Reader("tokenizers", tokenizer, (SubjectError,), 40),
    Reader("simulating models", simulator, (SubjectError, InputError), 25),
    Reader("sentence embedders", embedder, (SubjectError,), 25),
    Reader("GGUF files", gguf_file, (SubjectError, InputError), 25),
    Reader("names of models", names, (SubjectError, InputError), 20),
)
