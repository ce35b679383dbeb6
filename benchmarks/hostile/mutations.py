"""Valid files made hostile: damaged bytes, JSON of other types and sizes, headers that lie, things that are no file."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

DEEP = 100_000
"""Brackets inside brackets."""

_RAW = {
    "<deep list>": "[" * DEEP + "]" * DEEP,
    "<deep object>": '{"a":' * DEEP + "1" + "}" * DEEP,
    "<unclosed>": "[" * DEEP,
    "<huge integer>": "9" * 5000,
    "<large integer>": "1" + "0" * 400,
    "<huge exponent>": "1e999",
    "<half a character>": '"\\ud83d"',
    "<hostile key>": '{"__class__": {"__init__": 1}, "\\u0000": null}',
}
"""What `json` cannot write, by what stands for it until the text is made."""

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, -(2**31), 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**9, 10**12),
    *(0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), -float("inf")),
    *("", " ", "a", "0", "1", "nan", "None", "\0", "a\0b", "\x1b[2J", "\u202e", "../../etc/passwd", "/dev/zero"),
    *("x" * 2**20, "é" * 1000, "{}", "%s%n", "{0.__class__}", "=1+1", "<script>alert(1)</script>"),
    *([], {}, [[]], [None], {"": None}, [1, "a", None], {"a": {"b": []}}, list(range(1000)), *_RAW),
)
"""What a value of JSON becomes."""

TEXTS = tuple(value for value in VALUES if isinstance(value, str) and value not in _RAW) + ("\ud83d", "\udc00x", "\r\n")
"""Hostile texts."""


def places(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value inside a value, at most some hundreds of a list."""
    found = [before]
    inner = value.items() if isinstance(value, dict) else enumerate(value[:200]) if isinstance(value, list) else ()
    for key, each in inner:
        found += places(each, (*before, key))
    return found


def mutate_json(text: str, rng: Random, values: tuple[Any, ...] = VALUES) -> str:
    """Return JSON in which one to three values are others, are gone, are there twice, or have other names."""
    value = json.loads(text)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = _changed(value, rng, values)
    return written(value)


def written(value: Any) -> str:
    """Return a value as JSON, NaN and all that `json` cannot write included."""
    text = json.dumps(value)
    for name, raw in _RAW.items():
        text = text.replace(json.dumps(name), raw)
    return text


def _changed(value: Any, rng: Random, values: tuple[Any, ...]) -> Any:
    path = rng.choice(places(value))
    new = copy.deepcopy(rng.choice(values))  # it may be changed in turn
    if not path:
        return new if rng.random() < 0.2 else value
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    key, how = path[-1], rng.random()
    if how < 0.7:
        holder[key] = new
    elif how < 0.8:
        del holder[key]
    elif isinstance(holder, list):
        holder.insert(key, holder[key])
    elif how < 0.9:
        holder[rng.choice(("", "a", str(key).upper(), "x" * 1000, "\0"))] = holder.pop(key)
    else:
        holder[key] = [holder[key]]
    return value


def mutate_bytes(content: bytes, rng: Random) -> bytes:
    """Return bytes that were damaged: bits flipped, parts cut off, left out, doubled or put in; or other bytes."""
    how, n = rng.randrange(10), len(content)
    start = rng.randrange(n + 1)
    end = min(n, start + rng.choice((1, 4, 64, 4096)))
    if how < 3:
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 1, 8, 100)) if n else 0):
            damaged[rng.randrange(n if rng.random() < 0.5 else min(n, 512))] ^= 1 << rng.randrange(8)
        return bytes(damaged)
    if how < 5:
        return content[: rng.choice((start, n - 1, 8, 100, 0))]
    if how == 5:
        return content[:start] + content[end:]
    if how == 6:
        return content[:end] + content[start:]
    if how == 7:
        return content[:start] + rng.randbytes(rng.choice((1, 8, 300))) + content[start:]
    if how == 8:
        return rng.choice(
            (b"\xff\xfe" + content, b"\xef\xbb\xbf" + content, content.decode("latin-1").encode("utf-16"))
        )
    return rng.choice((b"", b"\0" * 1000, rng.randbytes(500), b"[" * DEEP, b"{}", b"null", b"\xff" * 9, b"(" * DEEP))


def mutate_text(content: bytes, rng: Random) -> bytes:
    """Return JSON, or lines of JSON, made hostile; sometimes as bytes."""
    if rng.random() < 0.3:
        return mutate_bytes(content, rng)
    lines = content.splitlines() if content.count(b"\n") > 1 and content.startswith(b"{") else [content]
    try:
        at = rng.randrange(len(lines))
        lines[at] = mutate_json(lines[at].decode(), rng).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):  # it was damaged before
        return mutate_bytes(content, rng)
    return b"\n".join(lines)


def mutate_safetensors(content: bytes, rng: Random) -> bytes:
    """Return a safetensors file whose header or length lies, or whose bytes are damaged."""
    how = rng.random()
    if how < 0.3:
        return mutate_bytes(content, rng)
    if how < 0.4:
        length = rng.choice((0, 1, 7, 2**31, 2**40, 2**63, 2**64 - 1, len(content), len(content) - 8))
        return length.to_bytes(8, "little") + content[8:]
    length = int.from_bytes(content[:8], "little")
    header = mutate_json(content[8 : 8 + length].decode(), rng).encode("utf-8", "surrogatepass")
    if how < 0.9:
        header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def mutation_of(path: Path) -> Callable[[bytes, Random], bytes]:
    """Return what makes a file of that name hostile."""
    if path.suffix == ".safetensors":
        return mutate_safetensors
    return mutate_text if path.suffix in (".json", ".jsonl", ".txt") else mutate_bytes


def put(path: Path, content: bytes, rng: Random) -> None:
    """Write a file; now and then there is something else: nothing, a folder, a link to itself or to nowhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    how = rng.random()
    if how < 0.95:
        path.write_bytes(content)
    elif how < 0.965:
        path.mkdir()
    elif how < 0.975:
        path.symlink_to(path)
    elif how < 0.985:
        path.symlink_to(path.with_name("nowhere"))


def damage(path: Path, rng: Random) -> None:
    """Make one file hostile where it lies; it may be a hard link, which is left alone."""
    put(path, mutation_of(path)(path.read_bytes(), rng), rng)


def copy_tree(source: Path, target: Path, instead: Mapping[str, bytes] | None = None) -> Path:
    """Make a folder like another out of hard links, with some files of other content."""
    for path in sorted(source.rglob("*")):
        to = target / path.relative_to(source)
        if path.is_dir():
            to.mkdir(parents=True, exist_ok=True)
        else:
            to.parent.mkdir(parents=True, exist_ok=True)
            os.link(path.resolve(), to)
    for name, content in (instead or {}).items():
        (target / name).unlink(missing_ok=True)
        (target / name).write_bytes(content)
    return target
