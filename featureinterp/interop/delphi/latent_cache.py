"""Reader of delphi's latent cache: `latents/{hookpoint}/{start}_{end}.safetensors`.

A file holds, for the latents `start` to `end` (inclusive), `locations` [N, 3] (row, position, and latent
minus `start`), `activations` [N] in float16, and `tokens` [rows, context], ids of the tokenizer that `config.json`
names. A row is long, spans several texts, and was one sequence for the model. It is cut into windows here, and
counts as a document, so that no row has windows in two splits.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from featureinterp.dataset.corpus.windows import WindowCounts, Windows
from featureinterp.errors import DataFolderError
from featureinterp.files import check_regular
from featureinterp.interop.reading import read_json

WINDOW = 32
"""Tokens of a window, as in delphi's own examples; fewer if rows are shorter."""

_MOST_LATENTS = 2**25
"""Limit of the latents of a sparse coder, above that of the largest known one."""

_FILE = re.compile(r"(\d{1,9})_(\d{1,9})")


class CacheConfig(msgspec.Struct, frozen=True):
    """Used fields of a hookpoint's `config.json`."""

    model_name: str
    dataset_repo: str = ""


@dataclass(frozen=True)
class CacheFile:
    """One file of a hookpoint."""

    path: Path
    start: int
    end: int
    """Last latent of the file."""

    def tokens(self) -> NDArray[np.int64] | None:
        """Return the token rows, int64 [rows, context]; None in caches of older versions.

        Raises:
            DataFolderError: if the file cannot be read.
        """
        tokens = self._arrays("tokens").get("tokens")
        if tokens is not None and (tokens.ndim != 2 or tokens.dtype.kind not in "iu" or min(tokens.shape) < 1):
            raise DataFolderError(f"{self.path} holds tokens {list(tokens.shape)}", "expected integers [rows, context]")
        return None if tokens is None else tokens.astype(np.int64)

    def entries(self, shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return row, position and latent of everything above 0, int64 [N, 3] sorted in this order, and its values [N].

        Args:
            shape: shape of the tokens.

        Raises:
            DataFolderError: if the file cannot be read, or has an entry out of range.
        """
        arrays = self._arrays("locations", "activations")
        missing = {"locations", "activations"} - arrays.keys()
        if missing:
            raise DataFolderError(
                f"{self.path} holds no {' and no '.join(sorted(missing))}", "it is not a cache of latents"
            )
        where, values = arrays["locations"], arrays["activations"]
        if where.shape != (len(values), 3) or values.ndim != 1 or where.dtype.kind not in "iu":
            told = f"locations {list(where.shape)} and activations {list(values.shape)}"
            raise DataFolderError(f"{self.path} holds {told}", "expected integers [N, 3] and numbers [N]")
        values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise DataFolderError(
                f"{self.path} holds an activation that is NaN or infinite", "cache it again in float32"
            )
        where = where.astype(np.int64)
        sizes = (*shape, self.end - self.start + 1)
        for axis, (name, size) in enumerate(zip(("row", "position", "latent"), sizes, strict=True)):
            outside = np.flatnonzero((where[:, axis] < 0) | (where[:, axis] >= size))
            if len(outside):
                raise DataFolderError(
                    f"{self.path} has an activation at {name} {where[outside[0], axis]}, of which there are {size}",
                    "its name or its content is damaged",
                )
        active = values > 0
        where, values = where[active] + [0, 0, self.start], values[active]
        order = np.lexsort((where[:, 2], where[:, 1], where[:, 0]))
        return where[order], values[order]

    def _arrays(self, *names: str) -> dict[str, NDArray]:
        try:
            check_regular(self.path)
            with safe_open(self.path, framework="numpy") as file:
                return {name: file.get_tensor(name) for name in names if name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, TypeError, AttributeError) as error:
            raise DataFolderError(
                f"{self.path} cannot be read: {error}", "it is damaged or in another format"
            ) from error


@dataclass(frozen=True)
class LatentCache:
    """Latent cache of one hookpoint."""

    hookpoint: str
    config: CacheConfig
    files: tuple[CacheFile, ...]
    """Files in the order of their latents."""
    tokens: NDArray[np.int64]
    """int64 [rows, context]"""

    @property
    def n_latents(self) -> int:
        """Number of latents covered by the files."""
        return max(file.end for file in self.files) + 1

    @classmethod
    def open(cls, folder: Path) -> LatentCache:
        """Open the folder of one hookpoint.

        Raises:
            DataFolderError: if a file is missing or damaged, or no file holds tokens.
        """
        config = read_json(folder / "config.json", CacheConfig)
        found = ((path, _FILE.fullmatch(path.stem)) for path in folder.glob("*.safetensors"))
        files = sorted(
            (CacheFile(path, int(name.group(1)), int(name.group(2))) for path, name in found if name is not None),
            key=lambda file: file.start,
        )
        if not files:
            raise DataFolderError(f"{folder} holds no START_END.safetensors", "name the folder of a hookpoint")
        wrong = next((file for file in files if not file.start <= file.end < _MOST_LATENTS), None)
        if wrong is not None:
            raise DataFolderError(
                f"{wrong.path} has an invalid range of latents in its name", "expected START_END.safetensors"
            )
        for before, after in zip(files, files[1:], strict=False):
            if after.start <= before.end:
                raise DataFolderError(
                    f"{before.path} and {after.path} hold the same latents", "one belongs to another cache"
                )
        tokens = next((tokens for file in files if (tokens := file.tokens()) is not None), None)
        if tokens is None:
            raise DataFolderError(f"{folder} holds no tokens: an older delphi wrote it", "cache the latents again")
        return cls(folder.name, config, tuple(files), tokens)


@dataclass(frozen=True)
class Cutting:
    """Rows cut into windows, with the mapping of token positions."""

    windows: Windows
    counts: WindowCounts
    first: int
    """Position in a row at which its first window begins: 1 if every row begins with a special token."""
    numbers: NDArray[np.int32]
    """Number of each window, int32 [rows, windows of a row]; -1 if dropped."""

    def place(
        self, where: NDArray[np.int64], values: NDArray[np.float32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int16], NDArray[np.float32]]:
        """Return latent, window, position and value of the activations inside windows."""
        length, position = self.windows.tokens.shape[1], where[:, 1] - self.first
        inside = (position >= 0) & (position < length * self.numbers.shape[1])
        where, values, position = where[inside], values[inside], position[inside]
        window = self.numbers[where[:, 0], position // length]
        kept = window >= 0
        place = (position % length)[kept].astype(np.int16)
        return where[kept, 2].astype(np.int32), window[kept], place, values[kept]


def cut_rows(tokens: NDArray[np.int64], special: Collection[int]) -> Cutting:
    """Cut rows into windows of `WINDOW` tokens, without special tokens and duplicates.

    Args:
        tokens: int64 [rows, context].
        special: ids of special tokens.

    Raises:
        DataFolderError: if no window remains.
    """
    begins = bool(np.isin(tokens[:, 0], list(special)).all())
    length = min(WINDOW, tokens.shape[1] - begins)
    if length < 2:
        raise DataFolderError(f"rows have {tokens.shape[1]} tokens", "a window has at least 2")
    per_row = (tokens.shape[1] - begins) // length
    cut = tokens[:, begins : begins + per_row * length].reshape(-1, length)
    fine = ~np.isin(cut, list(special)).any(axis=1)
    candidates = np.flatnonzero(fine)
    _, first = np.unique(cut[candidates], axis=0, return_index=True)
    kept = np.sort(candidates[first])
    if len(kept) == 0:
        raise DataFolderError("every window holds a special token", "cache the latents of text")
    numbers = np.full(len(cut), -1, dtype=np.int32)
    numbers[kept] = np.arange(len(kept), dtype=np.int32)
    windows = Windows(cut[kept].astype(np.int32), (kept // per_row).astype(np.int32), has_bos=False)
    dropped = int((~fine).sum())
    counts = WindowCounts(len(tokens), 0, 0, dropped, len(candidates) - len(kept))
    return Cutting(windows, counts, int(begins), numbers.reshape(len(tokens), per_row))


def open_caches(latents: Path) -> Mapping[str, LatentCache]:
    """Open every hookpoint of a folder `latents`, by its name.

    Raises:
        DataFolderError: if there is none, one cannot be read, or their models or tokens differ.
    """
    folders = [path for path in sorted(latents.iterdir()) if path.is_dir()] if latents.is_dir() else []
    caches = {folder.name: LatentCache.open(folder) for folder in folders}
    if not caches:
        raise DataFolderError(
            f"{latents} holds no hookpoint", "name the results of delphi, which hold latents/HOOKPOINT/"
        )
    one, *others = caches.values()
    for other in others:
        if other.config.model_name != one.config.model_name or not np.array_equal(other.tokens, one.tokens):
            told = f"{one.hookpoint} and {other.hookpoint} of {latents} belong to different models or texts"
            raise DataFolderError(told, "import them one by one")
    return caches


def blocks(cache: LatentCache, cutting: Cutting) -> Iterator[tuple[NDArray, ...]]:
    """Yield latent, window, position and value of cached activations, file by file."""
    for file in cache.files:
        yield cutting.place(*file.entries(cache.tokens.shape))
