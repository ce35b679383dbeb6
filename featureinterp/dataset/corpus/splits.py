"""Splits of a folder of files, resolved as in `datasets`.

A dataset card (`README.md`) can name the files of each split; else the names of files and folders do
(`data/train-00000-of-00002.parquet`, `test/a.jsonl`, `dev.txt`); without such names, all files are `train`.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from featureinterp.dataset.corpus.documents import DEFAULT_SPLIT, CorpusSpec
from featureinterp.errors import CorpusError

ALL = "all"
"""Name of the split of all files, whatever their names."""

_HEADER = re.compile(rb"\s*---[\r\n]+(.*?)[\r\n]+---\s*?(?:[\r\n]|$)", re.DOTALL)
_LARGEST_CARD = 2**20
"""Maximum bytes of a card that are read."""
_OTHER_SPLIT = f"name one with --dataset-split, or give --dataset-split {ALL} to read every file"


def files_of_split(folder: Path, readable: Sequence[Path], spec: CorpusSpec) -> tuple[Path, ...]:
    """Return the files of a corpus's split and configuration.

    Args:
        folder: the folder.
        readable: its supported files, in reading order.
        spec: corpus with split and configuration.

    Raises:
        CorpusError: if the split or configuration does not exist, or the card names files that are not in the folder.
    """
    cards = _configurations(folder)
    config = "" if spec.config == "default" and not cards else spec.config
    if config and config not in cards:
        told = f"its README.md names {', '.join(cards)}" if cards else "it has no README.md that names any"
        raise CorpusError(f"corpus folder {folder} has no configuration {config!r}", told)
    if spec.split == ALL and not config:
        return tuple(readable)
    splits = _splits(folder, _chosen(folder, cards, config), readable)
    if spec.split == ALL:
        return tuple(dict.fromkeys(path for paths in splits.values() for path in paths))
    if spec.split not in splits:
        raise CorpusError(
            f"corpus folder {folder} has no split {spec.split!r}", f"it has {', '.join(splits)}; {_OTHER_SPLIT}"
        )
    return splits[spec.split]


def _splits(folder: Path, chosen: Mapping[str, Any], readable: Sequence[Path]) -> dict[str, tuple[Path, ...]]:
    """Return the supported files of each split, by dataset card or file name."""
    from datasets.data_files import EmptyDatasetError, get_data_patterns, sanitize_patterns

    base, named = _inside(folder, str(chosen.get("data_dir") or ".")), chosen.get("data_files")
    try:
        patterns = sanitize_patterns(named) if named else get_data_patterns(glob.escape(str(base)))
    except EmptyDatasetError:
        patterns = {}
    except (ValueError, TypeError) as error:
        raise _unclear(folder, error) from error
    patterns = {str(split): [str(path) for path in paths] for split, paths in patterns.items()}
    within = tuple(path for path in readable if path.is_relative_to(base))
    found = {split: _matching(base, paths, within) for split, paths in patterns.items()}
    splits = {split: paths for split, paths in found.items() if paths}
    if named and not splits:
        raise CorpusError(f"the README.md of corpus folder {folder} names no file that can be read", _OTHER_SPLIT)
    if not splits or patterns == _EVERYTHING:
        return {DEFAULT_SPLIT: within}
    return splits


_EVERYTHING = {DEFAULT_SPLIT: ["**"]}


def _matching(base: Path, patterns: Sequence[str], readable: Sequence[Path]) -> tuple[Path, ...]:
    """Return the supported files that match patterns of the dataset library, in its order."""
    from datasets.data_files import resolve_pattern

    by_place = {os.path.realpath(path): path for path in readable}
    found: dict[Path, None] = {}
    for pattern in patterns:
        _inside(base, pattern)
        try:
            matched = resolve_pattern(pattern, glob.escape(str(base)))
        except FileNotFoundError:
            continue
        found |= {by_place[place]: None for path in matched if (place := os.path.realpath(path)) in by_place}
    return tuple(found)


def _inside(folder: Path, pattern: str) -> Path:
    """Return a path below a folder; CorpusError for a URL or a path outside."""
    if "://" in pattern or "::" in pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise CorpusError(
            f"the README.md of corpus folder {folder} names {pattern!r} as data", "only files in the folder are read"
        )
    return folder / pattern


def _configurations(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Return the configurations of the dataset card; empty without a card."""
    path = folder / "README.md"
    if not path.is_file():
        return {}
    from datasets.utils.metadata import MetadataConfigs

    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_CARD)
        header = _HEADER.match(content)
        card: Any = msgspec.yaml.decode(header[1]) if header else {}
        return dict(MetadataConfigs.from_dataset_card_data(card)) if hasattr(card, "get") else {}
    except (ValueError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise _unclear(folder, error) from error


def _chosen(folder: Path, cards: Mapping[str, Mapping[str, Any]], config: str) -> Mapping[str, Any]:
    """Return the requested configuration of the card, or the default one."""
    if config or not cards:
        return cards.get(config, {})
    defaults = [name for name, card in cards.items() if name == "default" or card.get("default")]
    if len(cards) > 1 and len(defaults) != 1:
        raise CorpusError(
            f"corpus folder {folder} has several configurations, and none is the default",
            f"its README.md names {', '.join(cards)}; name one with --dataset-config",
        )
    return cards[defaults[0] if defaults else next(iter(cards))]


def _unclear(folder: Path, error: Exception) -> CorpusError:
    told = str(error).strip().partition("\n")[0] or type(error).__name__
    return CorpusError(f"the README.md of corpus folder {folder} cannot be read: {told}", "fix or delete it")
