"""What the command line is tested on: a tiny random model of two layers, an SAE on each, and a small corpus."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from pydoc_data.topics import topics

WIDTH, N_LATENTS, N_LAYERS = 16, 96, 2


@dataclass(frozen=True)
class TinyWorld:
    """Where the parts of the tiny world are."""

    model: Path
    saes: Path
    corpus: Path

    def subject(self) -> list[str]:
        """The options that name the model and its SAEs."""
        return [
            *("--model-name", str(self.model), "--sae-name", str(self.saes)),
            *("--sae-id-layer-format-string", "layer_{layer}"),
        ]

    def options(self) -> list[str]:
        """The options that name everything."""
        sizes = ["--max-dataset-size", "400", "--max-seq-length", "12"]
        return [*self.subject(), "--dataset-name", str(self.corpus), *sizes]


def write_corpus(path: Path, n: int) -> None:
    blocks = (block for name in sorted(topics) for block in topics[name].split("\n\n"))
    documents = list(islice((block for block in blocks if block.isascii() and len(block) > 80), n))
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))


def write_model(path: Path, corpus: Path) -> None:
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    tokenizer = ByteLevelBPETokenizer()
    texts = [json.loads(line)["text"] for line in corpus.read_text().splitlines()]
    tokenizer.train_from_iterator(texts, vocab_size=600, special_tokens=["<|endoftext|>"], show_progress=False)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, bos_token="<|endoftext|>")
    fast.save_pretrained(path)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=600, n_positions=64, n_embd=WIDTH, n_layer=N_LAYERS, n_head=2, bos_token_id=0, eos_token_id=0
    )
    config.initializer_range = 0.5
    GPT2LMHeadModel(config).save_pretrained(path)


def write_sae(path: Path, layer: int, width: int = WIDTH, poison: float | None = None) -> None:
    """An SAE with random directions; each latent of the second half needs more than any token gives."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(layer)
    directions = torch.nn.functional.normalize(torch.randn(N_LATENTS, width, generator=generator), dim=1)
    bias = torch.full((N_LATENTS,), (-5.0, -7.0)[layer])
    bias[N_LATENTS // 2 :] = -1e6
    if poison is not None:
        bias[0] = poison
    path.mkdir(parents=True)
    weights = {"W_enc": directions.T, "W_dec": directions, "b_enc": bias, "b_dec": torch.zeros(width)}
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path / "sae_weights.safetensors")
    metadata = {"hook_name": f"blocks.{layer}.hook_resid_post", "prepend_bos": False, "sae_lens_version": "6.0.0"}
    config = {
        "d_in": width, "d_sae": N_LATENTS, "dtype": "float32", "device": "cpu", "architecture": "standard",
        "apply_b_dec_to_input": False, "normalize_activations": "none", "reshape_activations": "none",
        "metadata": metadata,
    }  # fmt: skip
    (path / "cfg.json").write_text(json.dumps(config))


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


def run_command(*arguments: object) -> Outcome:
    """Run a command in this process."""
    from typer.testing import CliRunner

    from featureinterp.cli import app

    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)
