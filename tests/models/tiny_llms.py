"""Tiny random language models with chat templates, and tokenizers that behave as differently as real ones do."""

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from featureinterp.llm.local.model import LocalModel, LocalModelParams
from featureinterp.simulator.alignment import simulation_prompt

TEXT = [
    *("".join(turn.pieces) for turn in simulation_prompt().turns("numbers")),
    "The feature is switched on by unknown numbers, and 12 of 345 tokens.\n\tunknown\t5\nfoo\tunknown\n",
    "One feature of a language model is on at some tokens of a text and off at others.\t0\n\n  \t\tx\n",
    "unknown\tunknown\n unknown\t1\n23\t4\n" * 3,
    "long " * 20 + "x" * 640,
]
SPECIAL = ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"]

TEMPLATES = {
    "gemma2": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}"
        "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else 'user' }}\n{{ m['content'] | trim }}<end_of_turn>\n"
        "{% endfor %}"
    ),
    "llama3": (
        "{{ bos_token }}<start_of_turn>system<end_of_turn>\n\nToday: {{ date_string or strftime_now('%d %b %Y') }}<eos>"
        "{% for m in messages %}<start_of_turn>{{ m['role'] }}<end_of_turn>\n\n"
        "{{ m['content'] | trim }}<eos>{% endfor %}"
    ),
    "qwen": (
        "{% for m in messages %}<start_of_turn>{{ m['role'] }}\n"
        "{% if loop.last and m['role'] == 'assistant' %}<think>\n\n</think>\n\n{% endif %}"
        "{{ m['content'] }}<end_of_turn>\n{% endfor %}"
    ),
    "mistral": (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %} [INST] {{ m['content'] }} [/INST]"
        "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
    ),
}

GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_level(*before) -> Tokenizer:
    """BPE over bytes; `before` cuts the text first."""
    tokenizer = Tokenizer(models.BPE())
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*before, last])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=900, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def plain_bytes() -> Tokenizer:
    """Every byte a token: `unknown` is seven of them, an accented letter two."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def sentencepiece() -> Tokenizer:
    """A space before every text, no token for a tab or a newline but their bytes, as Llama 2 and Mistral have it."""
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    characters = sorted({c for text in TEXT for c in text if c not in "\t\n "} | {"▁"})
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(["<unk>", *SPECIAL, *pieces, *characters]))}
    merges = []
    for word in ("unknown", "▁unknown", "▁the", "▁feature"):
        for end in range(2, len(word) + 1):
            if (word[: end - 1], word[end - 1]) not in merges:
                merges.append((word[: end - 1], word[end - 1]))
            vocabulary.setdefault(word[:end], len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

TOKENIZERS = {
    "gpt2": lambda: byte_level(pre_tokenizers.Split(Regex(GPT2), "isolated")),
    "gpt4": lambda: byte_level(pre_tokenizers.Split(Regex(GPT4), "isolated")),
    "merges_everything": byte_level,
    "splits_digits": lambda: byte_level(pre_tokenizers.Digits(individual_digits=True)),
    "bytes": plain_bytes,
    "sentencepiece": sentencepiece,
}


def tokenizer(kind: str, template: str | None = None) -> PreTrainedTokenizerFast:
    made = TOKENIZERS[kind]()
    begin = made.token_to_id("<bos>")
    made.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", begin)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>" if kind == "sentencepiece" else None,
        additional_special_tokens=SPECIAL[2:],
    )
    wrapped.chat_template = None if template is None else TEMPLATES[template]
    return wrapped


def language_model(family: str, vocabulary: int = 1024, length: int = 8192):
    """Wide initial weights, so that logits differ; caps and windows that would show if they were lost."""
    torch.manual_seed(0)
    sizes = {
        "vocab_size": vocabulary, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": length,
        "initializer_range": 0.3, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None,
    }  # fmt: skip
    if family == "gemma2":
        config = Gemma2Config(
            **sizes,
            sliding_window=64,
            attn_logit_softcapping=2.0,
            final_logit_softcapping=6.0,
            query_pre_attn_scalar=4,
        )
        return Gemma2ForCausalLM(config).eval()
    if family == "llama3":
        return LlamaForCausalLM(LlamaConfig(**sizes)).eval()
    if family == "mistral":
        return MistralForCausalLM(MistralConfig(**sizes, sliding_window=48)).eval()
    qwen = Qwen2Config(**sizes, use_sliding_window=True, sliding_window=40, max_window_layers=1)
    return Qwen2ForCausalLM(qwen).eval()


def local_model(family: str, kind: str = "gpt4", *, template: bool = True, length: int = 8192, **params) -> LocalModel:
    params.setdefault("device", "cpu")
    made = language_model(family, length=length)
    return LocalModel(f"tiny-{family}", made, tokenizer(kind, family if template else None), LocalModelParams(**params))
