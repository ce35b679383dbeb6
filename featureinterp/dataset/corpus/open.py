"""Opening a corpus by name or path, and reading its documents.

What can be read, and how, is in `docs/corpora.md`.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from pathlib import Path

from featureinterp.dataset.corpus.documents import PYTHON_DOCS, SUFFIXES, Corpus, CorpusSpec, Document
from featureinterp.dataset.corpus.local_files import LocalFiles
from featureinterp.dataset.corpus.python_docs import python_documentation
from featureinterp.errors import CorpusError

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class PythonDocs:
    """The documentation inside the running Python."""

    def fingerprint(self) -> str:
        """Return the Python version."""
        return f"Python {platform.python_version()}"

    def documents(self) -> Iterator[Document]:
        """Yield its documents."""
        return python_documentation()


def open_corpus(spec: CorpusSpec, made: str = "") -> Corpus:
    """Open a corpus by name or path; documents are validated when read.

    Args:
        spec: which corpus.
        made: fingerprint of an earlier opening; a dataset on the hub then stays at its revision, and the hub is not
            queried for a newer one.

    Raises:
        CorpusError: if the corpus, its split or its configuration does not exist, or the hub cannot be reached.
        InputError: for an option that does not apply to it.
    """
    if spec.name == PYTHON_DOCS:
        spec.refuse(f"{PYTHON_DOCS!r}", "split", "config", "text_column")
        return PythonDocs()
    path = Path(spec.name)
    if path.exists():
        from featureinterp.dataset.corpus.hub_datasets import SavedDataset

        return SavedDataset(spec) if SavedDataset.is_at(path) else LocalFiles.find(spec)
    if _HUB_NAME.fullmatch(spec.name) and not spec.name.endswith((*SUFFIXES, ".safetensors")):
        from featureinterp.dataset.corpus.hub_datasets import HubDataset

        return HubDataset(spec, made)
    return LocalFiles.find(spec)


def read_documents(corpus: Corpus, name: str) -> Iterator[Document]:
    """Yield the documents of a corpus in order, skipping blank ones.

    Raises:
        CorpusError: if no document has text, or one is damaged.
    """
    empty = True
    for document in corpus.documents():
        if document.strip() if isinstance(document, str) else len(document):
            empty = False
            yield document
    if empty:
        raise CorpusError(f"corpus {name!r} is empty", "it needs at least one document with text")
