"""Readers of files: data folders, corpora, archives, and the files of other tools."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from random import Random

import msgspec
from zstandard import ZstdCompressor

from benchmarks.hostile.cases import Case, Reader, wanted
from benchmarks.hostile.mutations import copy_tree, damage, mutate_bytes, mutate_text, put
from featureinterp.errors import (
    ActivationError,
    CorpusError,
    DataFolderError,
    ExplanationError,
    InputError,
    SharingError,
    StorageError,
    SubjectError,
)

DATA = "data/corpus_model"
OF_FOLDERS = (DataFolderError, InputError)


def nouns(case: Case) -> None:
    """Decode a noun of ours from JSON that was one, or one of another type."""
    from featureinterp.chat import ChatAnswer, PromptReading, PromptToken
    from featureinterp.codec import decode, encode
    from featureinterp.core import Rule, Score, StructuredExplanation
    from featureinterp.dataset.activations.latent_stats import ProfileTable
    from featureinterp.dataset.layout import LatentTable
    from featureinterp.dataset.manifest import Manifest
    from featureinterp.dataset.retrieval.approximate import IndexRecall
    from tests.report.features import explained

    records = case.world / DATA / "records"
    seeds: tuple[tuple[bytes, type], ...] = (
        (encode(one := explained(0, 3, 0.9)), type(one)),
        ((case.world / DATA / "manifest.json").read_bytes(), Manifest),
        (next(iter(sorted(records.glob("*.latents.json")))).read_bytes(), LatentTable),
        (next(iter(sorted(records.glob("*.profiles.json")))).read_bytes(), ProfileTable),
        (encode(ChatAnswer("a", logprobs=({"a": -1.0},))), ChatAnswer),
        (encode(PromptReading((PromptToken("a", 0, {"a": -1.0}),))), PromptReading),
        (encode(StructuredExplanation((Rule("words", 3),))), StructuredExplanation),
        (encode(Score(0.5, 0.4, 0.6)), Score),
        (encode(IndexRecall(3, 10, 0.5, 0.25)), IndexRecall),
    )
    content, noun_type = case.rng.choice(seeds)
    found = decode(mutate_text(content, case.rng), noun_type)
    wanted(type(found) is noun_type, "another noun")


def record_file(case: Case) -> None:
    """Decode a latent's records, and split them."""
    from featureinterp.codec import decode_index_record
    from featureinterp.record import Split

    paths = sorted((case.world / DATA / "records").glob("*/*.json"))
    found = decode_index_record(mutate_text(case.rng.choice(paths).read_bytes(), case.rng))
    for split in Split:
        for record in found.records(split):
            record.scaled_activations()
    found._repr_html_()


def data_folder(case: Case) -> None:
    """Open a data folder one of whose files is hostile, and read everything in it."""
    from featureinterp.dataset.folder import DataFolder

    path = copy_tree(case.world / DATA, case.folder / "corpus_model")
    damage(case.rng.choice(sorted(p for p in path.rglob("*") if p.is_file())), case.rng)
    parts = [_windows, _activations, _records, _retriever]
    case.rng.shuffle(parts)
    folder = DataFolder.open(path)
    for part in parts:
        part(folder)


def _windows(folder) -> None:
    windows = folder.windows()
    wanted(windows.text_tokens.ndim == 2, "windows are no table")
    folder.corpus_counts()


def _activations(folder) -> None:
    for hook in folder.hook_names:
        found = folder.activations(hook)
        for latent in found.latents.tolist()[:8]:
            found.latent(latent).sequence_maxima()
            folder.activation_records(hook, latent, range(3), lambda ids: [str(one) for one in ids])


def _records(folder) -> None:
    for hook in folder.hook_names:
        reports = folder.latent_report(hook)
        folder.profiles(hook)
        for latent, report in list(reports.items())[:20]:
            if report.status == "ok":
                folder.index_record(hook, latent)


def _retriever(folder) -> None:
    from featureinterp.dataset.activations.store import HolisticActivations
    from featureinterp.dataset.layout import Layout
    from featureinterp.dataset.retrieval.embeddings import load_embeddings

    layout = Layout(folder.path)
    load_embeddings(layout.embeddings)
    folder.index_recall()
    for hook in folder.hook_names:
        HolisticActivations.open(layout.holistic_of(hook)).is_intact()


def array_file(case: Case) -> None:
    """Open a safetensors file, check it, and read it by rows."""
    from featureinterp.dataset.activations.arrays import ArrayFile

    path = case.folder / "a.safetensors"
    source = case.rng.choice(("tokens", "sae_acts/blocks.0.hook_resid_post", "similarity_retriever/embeddings"))
    path.write_bytes((case.world / DATA / f"{source}.safetensors").read_bytes())
    damage(path, case.rng)
    file = ArrayFile.open(path)
    file.is_intact()
    for name in file.specs:
        file.mapped(name)
        file.rows(name, 0, 1)


def corpus_of(name: str) -> Callable[[Case], None]:
    """Return what reads a hostile corpus of one kind, and cuts it into windows."""

    def read(case: Case) -> None:
        from featureinterp.dataset.corpus.documents import CorpusSpec
        from featureinterp.dataset.corpus.open import open_corpus, read_documents
        from featureinterp.dataset.corpus.windows import WindowParams, cut_windows

        source, path = case.world / "corpora" / name, case.folder / name
        if source.is_dir():
            copy_tree(source, path)
            damage(case.rng.choice(sorted(path.iterdir())), case.rng)
        else:
            path.write_bytes(_packed(source, case.rng))
            if case.rng.random() < 0.1:
                put(path, b"", case.rng)
        spec = CorpusSpec(str(path), text_column=case.rng.choice(("text", "text", "text", "input_ids", "\0", "")))
        corpus = open_corpus(spec)
        corpus.fingerprint()
        params = WindowParams(max_windows=100, length=8, prepend_bos=False)
        cut_windows(islice(read_documents(corpus, spec.name), 2000), _Words(), params)

    return read


def _packed(source: Path, rng: Random) -> bytes:
    """Return a corpus that is damaged, or one that is packed well and hostile inside."""
    plain = source.name.removesuffix(".zst").removesuffix(".gz")
    if source.suffix not in (".zst", ".gz") or rng.random() < 0.4:
        return (mutate_text if plain == source.name and source.suffix == ".jsonl" else mutate_bytes)(
            source.read_bytes(), rng
        )
    how = rng.random()
    inside = mutate_text(source.with_name(plain).read_bytes(), rng)
    if how < 0.15:
        return (source.parents[1] / "bombs" / f"{rng.choice(('line', 'letters'))}{source.suffix}").read_bytes()
    return gzip.compress(inside, 1) if source.suffix == ".gz" else ZstdCompressor(1).compress(inside)


class _Words:
    """A tokenizer whose tokens are words."""

    name = "words"
    bos_token_id = None
    vocabulary_size = 1000
    n_token_strings = 1000
    special_token_ids: frozenset[int] = frozenset()

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return a number of each word."""
        return [[len(word) % 1000 for word in text.split()] for text in texts]

    def token_strings(self, ids) -> list[str]:
        """Return a text of each number."""
        return ["w" * int(one) for one in ids]


def archive(case: Case) -> None:
    """Unpack an archive that is damaged, a bomb, or puts its entries elsewhere."""
    from featureinterp.dataset.archive import unpack
    from featureinterp.dataset.manifest import Manifest

    path, outside = case.folder / "a.tar.zst", case.folder / "outside"
    path.write_bytes(_archive(case))
    before = {p.name for p in case.folder.iterdir()}
    try:
        unpack(path, case.folder / "made", Manifest.load)
    finally:
        wanted(not outside.exists(), "something was written outside of the folder")
        left = {p.name for p in case.folder.iterdir()} - before
        wanted(left <= {"made"}, f"{left} stays")


def _archive(case: Case) -> bytes:
    rng, whole = case.rng, (case.world / "data.tar.zst").read_bytes()
    if rng.random() < 0.4:
        return mutate_bytes(whole, rng)
    made = io.BytesIO()
    names = (
        "../outside",
        "/tmp/../outside",
        "a/../../outside",
        "manifest.json",
        "a",
        "a/b",
        "",
        ".",
        "C:\\x",
        "a" * 300,
    )
    kinds = (tarfile.REGTYPE,) * 4 + (
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.DIRTYPE,
        tarfile.FIFOTYPE,
        tarfile.CHRTYPE,
    )
    with tarfile.open(fileobj=made, mode="w") as tar:
        for _ in range(rng.randrange(1, 6)):
            member = tarfile.TarInfo(rng.choice((*names, "\ud800", "a\0b", "e/" * 500)))
            member.type, member.linkname = rng.choice(kinds), "../outside"
            content = (case.world / DATA / "manifest.json").read_bytes() if rng.random() < 0.5 else b"x"
            member.size = len(content) if member.isreg() else 0
            try:
                tar.addfile(member, io.BytesIO(content) if member.isreg() else None)
            except (ValueError, UnicodeError):
                continue
    plain = made.getvalue()
    if rng.random() < 0.1:
        return (case.world / "bombs" / "archive.zst").read_bytes()
    return ZstdCompressor(1).compress(mutate_bytes(plain, rng) if rng.random() < 0.3 else plain)


def imported(name: str) -> Callable[[Case], None]:
    """Return what imports a folder of another tool, one of whose files is hostile."""

    def read(case: Case) -> None:
        from featureinterp.dataset.folder import DataFolder
        from featureinterp.interop.importing import import_data

        source = copy_tree(case.world / name, case.folder / "source")
        for path in sorted(source.rglob("*")):
            if path.suffix == ".pt" and case.rng.random() < 0.6:
                path.unlink()  # most of the time is theirs
        damage(case.rng.choice(sorted(p for p in source.rglob("*") if p.is_file())), case.rng)
        made = case.folder / "made"
        try:
            import_data(source, made)
        except (*OF_FOLDERS, SubjectError, StorageError, ActivationError):
            left = [p.name for p in case.folder.iterdir() if p.name != "source"]
            wanted(not left, f"{left} stays of a failed import")
            raise
        _records(DataFolder.open(made))

    return read


def dense(case: Case) -> None:
    """Read the original's tensors."""
    from featureinterp.interop.original.tensors import read_tokens, write_sparse

    source = case.world / "original"
    tokens, acts = case.folder / "tokens.pt", case.folder / "acts.pt"
    whole = (source / "tokens.pt").read_bytes()
    tokens.write_bytes(mutate_bytes(whole, case.rng) if case.rng.random() < 0.6 else whole)
    windows = read_tokens(tokens)
    acts.write_bytes(mutate_bytes(next(iter((source / "sae_acts").glob("*.pt"))).read_bytes(), case.rng))
    write_sparse(acts, case.folder / "sparse.safetensors", windows)


def delphi_scores(case: Case) -> None:
    """Read delphi's explanations and scores."""
    from featureinterp.interop.delphi.results import latent_of, read_classification, read_explanation, read_simulations

    kinds = {
        "explanations": read_explanation,
        "scores/fuzz": read_classification,
        "scores/simulation": read_simulations,
    }
    kind = case.rng.choice(sorted(kinds))
    path = case.folder / "layers.1_latent2.txt"
    content = (case.world / "delphi" / kind / path.name).read_bytes()
    put(path, mutate_text(content, case.rng), case.rng)
    latent_of(path)
    kinds[case.rng.choice((kind, kind, kind, *kinds))](path)


def openai_files(case: Case) -> None:
    """Read NeuronRecords and scored explanations."""
    from featureinterp.interop.openai.formats import (
        explanations_of,
        neuron_record,
        read_neuron_record,
        read_simulation_results,
        records_of,
    )

    paths = sorted((case.world / "openai").rglob("*.json*"))
    path = case.folder / "1.json"
    source = case.rng.choice(paths)
    put(path, mutate_text(source.read_bytes().rstrip(), case.rng), case.rng)
    if source.suffix == ".json":
        neuron_record(records_of(read_neuron_record(path)))
    else:
        explanations_of(read_simulation_results(path))


def any_json(case: Case) -> None:
    """Read JSON of any kind as something of any kind."""
    from featureinterp.codec import decode_json
    from featureinterp.interop.openai.formats import NeuronRecord

    kinds = (dict, list, str, int, float, list[str], NeuronRecord, dict[str, int])
    text = msgspec.json.encode(case.rng.choice(("a", 1, [1], {"a": 1}))).decode()
    decode_json(mutate_text(text.encode(), case.rng), case.rng.choice(kinds), "a file")


_CORPORA = {"c.jsonl": 30, "c.txt": 10, "c.jsonl.zst": 20, "c.jsonl.gz": 10, "c.parquet": 20, "saved": 15}

READERS = (
    Reader("nouns as JSON", nouns, (DataFolderError,), 60),
    Reader("record files", record_file, (DataFolderError, InputError, ActivationError), 40),
    Reader("data folders", data_folder, (*OF_FOLDERS, ActivationError), 60),
    Reader("array files", array_file, (DataFolderError,), 40),
    *(Reader(f"corpus {name}", corpus_of(name), (CorpusError, InputError), n) for name, n in _CORPORA.items()),
    Reader("archives", archive, (SharingError, StorageError, DataFolderError), 40),
    Reader("folders of the original", imported("original"), (*OF_FOLDERS, StorageError), 10),
    Reader("folders of delphi", imported("delphi"), (*OF_FOLDERS, SubjectError, StorageError), 10),
    Reader("folders of OpenAI", imported("openai"), (*OF_FOLDERS, StorageError, ExplanationError), 10),
    Reader("dense tensors", dense, (DataFolderError,), 20),
    Reader("delphi's scores", delphi_scores, (DataFolderError,), 30),
    Reader("OpenAI's files", openai_files, (DataFolderError,), 30),
    Reader("any JSON", any_json, (DataFolderError,), 20),
)
