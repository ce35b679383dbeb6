"""Train the embedded language model from scratch: `python -m training.train_model`.

A GPT-2 architecture (6 layers, width 256) and its byte-level BPE tokenizer, on the documents that
`featureinterp.dataset.corpus.training_mixture` gathers. On 2 CPU cores with bfloat16 instructions 14 million tokens
take less than an hour; a GPU is used where there is one. The run writes a checkpoint every `checkpoint_every` steps
and goes on from the last one; a step's batch depends on the seed and the step alone, so an interrupted run equals an
undisturbed one.

Trap: every row begins with BOS, also in the middle of a document, because the corpus windows that the model
will see do too.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from featureinterp.dataset.corpus.training_mixture import training_mixture
from featureinterp.subject.embedded import is_held_out

BOS = "<|endoftext|>"


@dataclass(frozen=True)
class TrainingSpec:
    """Everything that decides the trained model."""

    vocab_size: int = 6144
    n_layer: int = 6
    n_embd: int = 256
    n_head: int = 8
    n_positions: int = 128
    total_tokens: int = 14_000_000
    batch_rows: int = 32
    micro_rows: int = 8
    """Rows of one forward pass on a CPU: few enough that the logits stay in its cache."""
    peak_lr: float = 1.5e-3
    warmup_steps: int = 120
    decay_fraction: float = 0.5
    """Share of the steps, at the end, over which the learning rate falls linearly to zero."""
    weight_decay: float = 0.1
    seed: int = 0

    @property
    def steps(self) -> int:
        return math.ceil(self.total_tokens / (self.batch_rows * self.n_positions))

    def learning_rate(self, step: int) -> float:
        """Warm up linearly, hold, fall linearly to zero (warmup-stable-decay)."""
        left = (self.steps - step) / (self.steps * self.decay_fraction)
        return self.peak_lr * min(1.0, (step + 1) / self.warmup_steps, left)


def train_tokenizer(documents: list[str], spec: TrainingSpec) -> PreTrainedTokenizerFast:
    """Train GPT-2's byte-level BPE on the documents; token 0 is BOS, EOS and padding at once."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=spec.vocab_size,
        special_tokens=[BOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=BOS, model_max_length=spec.n_positions
    )


def tokenize(documents: list[str], tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    backend = tokenizer.backend_tokenizer
    return [encoding.ids for encoding in backend.encode_batch(documents, add_special_tokens=False)]


def pack_rows(token_lists: list[list[int]], length: int) -> np.ndarray:
    """Pack documents, each behind a BOS, into rows of `length` + 1 tokens; every row begins with BOS.

    Returns uint16 [rows, length + 1]: inputs are `[:, :-1]`, targets `[:, 1:]`.
    """
    stream = np.concatenate([np.array([0, *ids], dtype=np.uint16) for ids in token_lists])
    rows = stream[: len(stream) // length * length].reshape(-1, length)
    return np.concatenate([np.zeros((len(rows), 1), np.uint16), rows], axis=1)


def batch_rows(step: int, n_rows: int, spec: TrainingSpec) -> np.ndarray:
    """Row numbers of a step: epochs are permutations that depend on the seed and the epoch alone."""
    first = step * spec.batch_rows
    wanted = np.arange(first, first + spec.batch_rows)
    epochs = range(wanted[0] // n_rows, wanted[-1] // n_rows + 1)
    order = {epoch: np.random.default_rng([spec.seed, epoch]).permutation(n_rows) for epoch in epochs}
    return np.array([order[row // n_rows][row % n_rows] for row in wanted])


@torch.no_grad()
def bits_per_byte(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, documents: list[str], batch: int = 16
) -> float:
    """Mean bits per UTF-8 byte; each document is scored alone, in windows that begin with BOS."""
    width = model.config.n_positions - 1
    windows = [ids[i : i + width] for ids in tokenize(documents, tokenizer) for i in range(0, len(ids), width)]
    windows.sort(key=len)
    nats = 0.0
    for start in range(0, len(windows), batch):
        group = windows[start : start + batch]
        padded = torch.zeros(len(group), max(map(len, group)) + 1, dtype=torch.long)
        for row, ids in enumerate(group):
            padded[row, 1 : len(ids) + 1] = torch.tensor(ids)
        padded = padded.to(model.device)
        logits = model(padded[:, :-1]).logits.float()
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), padded[:, 1:], reduction="none")
        nats += float((losses * (padded[:, 1:] != 0)).sum())
    return nats / math.log(2) / sum(len(text.encode()) for text in documents)


class Trainer:
    """Holds model, optimizer and step; can be saved to and restored from a folder without pickle."""

    def __init__(self, spec: TrainingSpec, device: torch.device) -> None:
        self.spec, self.device, self.step = spec, device, 0
        torch.manual_seed(spec.seed)
        config = GPT2Config(
            vocab_size=spec.vocab_size, n_positions=spec.n_positions, n_embd=spec.n_embd, n_layer=spec.n_layer,
            n_head=spec.n_head, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
            activation_function="gelu_pytorch_tanh",
        )  # fmt: skip
        # Eager attention is the fastest on a CPU at this length.
        self.model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").to(device)
        self.parameters = list(self.model.parameters())
        matrices = [p for p in self.parameters if p.ndim == 2]
        vectors = [p for p in self.parameters if p.ndim != 2]
        groups = [
            {"params": matrices, "weight_decay": spec.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=spec.peak_lr, betas=(0.9, 0.95), fused=True)

    def train_step(self, rows: np.ndarray) -> float:
        """Make one step on rows [batch, length + 1]; returns the mean loss in nats per token."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.spec.learning_rate(self.step)
        total, micro = 0.0, self.spec.micro_rows if self.device.type == "cpu" else len(rows)
        for start in range(0, len(rows), micro):
            tokens = torch.from_numpy(rows[start : start + micro].astype(np.int64)).to(self.device)
            with torch.autocast(self.device.type, torch.bfloat16):
                logits = self.model(tokens[:, :-1]).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
            share = len(tokens) / len(rows)
            (loss * share).backward()
            total += float(loss.detach()) * share
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return total

    def save(self, folder: Path) -> None:
        tensors = {f"model/{i}": p.detach() for i, p in enumerate(self.parameters)}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": value for name, value in state.items()}
        temporary = folder / "checkpoint.safetensors.tmp"
        save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, {"step": str(self.step)})
        temporary.replace(folder / "checkpoint.safetensors")
        (folder / "step.json").write_text(json.dumps({"step": self.step}))

    def restore(self, folder: Path) -> bool:
        """Go on from the folder's checkpoint; returns whether there was one."""
        if not (folder / "checkpoint.safetensors").exists():
            return False
        tensors = load_file(folder / "checkpoint.safetensors")
        with torch.no_grad():
            for i, parameter in enumerate(self.parameters):
                parameter.copy_(tensors[f"model/{i}"])
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer/"):
                _, index, name = key.split("/")
                state.setdefault(int(index), {})[name] = value
        saved = self.optimizer.state_dict()
        self.optimizer.load_state_dict({"state": state, "param_groups": saved["param_groups"]})
        self.step = int(state[0]["step"])
        return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("training/checkpoints/model"))
    parser.add_argument("--total-tokens", type=int, default=TrainingSpec.total_tokens)
    parser.add_argument("--checkpoint-every", type=int, default=50)
    args = parser.parse_args()
    spec = TrainingSpec(total_tokens=args.total_tokens)
    args.out.mkdir(parents=True, exist_ok=True)

    documents = training_mixture()
    train = [text for text in documents if not is_held_out(text)]
    held_out = [text for text in documents if is_held_out(text)]
    if not (args.out / "tokenizer.json").exists():
        train_tokenizer(train, spec).save_pretrained(args.out)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(args.out)
    rows_file = args.out / "rows.npy"
    if not rows_file.exists():
        np.save(rows_file, pack_rows(tokenize(train, tokenizer), spec.n_positions))
    rows = np.load(rows_file, mmap_mode="r")
    characters = sum(map(len, train))
    print(f"{len(train)} training documents, {characters} characters, {rows.size} tokens; {len(held_out)} held out")

    trainer = Trainer(spec, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    resumed = trainer.restore(args.out)
    print(
        f"{sum(p.numel() for p in trainer.parameters)} parameters; {'going on' if resumed else 'starting'}", flush=True
    )
    began, first = time.monotonic(), trainer.step
    while trainer.step < spec.steps:
        loss = trainer.train_step(rows[batch_rows(trainer.step, len(rows), spec)])
        rate = (trainer.step - first) / (time.monotonic() - began)
        tokens_per_second = rate * spec.batch_rows * spec.n_positions
        left = (spec.steps - trainer.step) / rate / 60
        told = f"loss {loss:.3f} {tokens_per_second:.0f} tokens/s {left:.0f} min left"
        print(f"step {trainer.step}/{spec.steps} {told}", flush=True)
        if trainer.step % args.checkpoint_every == 0 or trainer.step == spec.steps:
            trainer.save(args.out)

    trainer.model.eval()
    figures = {
        "bits_per_byte_held_out": bits_per_byte(trainer.model, tokenizer, held_out),
        "parameters": sum(p.numel() for p in trainer.parameters),
        "training_tokens": spec.steps * spec.batch_rows * spec.n_positions,
        "training_documents": len(train),
        "training_characters": characters,
        "held_out_documents": len(held_out),
        "spec": asdict(spec),
    }
    trainer.model.save_pretrained(args.out / "final")
    tokenizer.save_pretrained(args.out / "final")
    (args.out / "final" / "figures.json").write_text(json.dumps(figures, indent=2))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
