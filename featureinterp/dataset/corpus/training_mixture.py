"""Training mixture of the embedded model: docstrings of scientific packages and Python's documentation.

The packages are those installed in the environment. Which documents are held out is decided by
`featureinterp.subject.embedded.is_held_out`, equally for every mixture, so that a machine with fewer packages has
fewer held-out documents and never one from the training data.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from featureinterp.dataset.corpus.python_docs import docstrings, python_documentation

PACKAGES = (
    *("torch", "transformers", "numpy", "scipy", "pandas", "sklearn", "sympy", "statsmodels", "skimage"),
    *("networkx", "xarray", "dask", "astropy", "matplotlib", "datasets", "sae_lens", "transformer_lens"),
    "sentence_transformers",
)
"""Import names of the packages whose docstrings are read; packages that are not installed are skipped."""


def package_documents(name: str) -> Iterator[str]:
    """Yield the docstrings of an installed package; nothing if it is not installed."""
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.origin is not None:
        yield from docstrings(Path(spec.origin).parent)


def training_mixture() -> list[str]:
    """Return every distinct document of the mixture, sorted by hash to mix packages."""
    documents = set(python_documentation())
    for name in PACKAGES:
        documents.update(package_documents(name))
    return sorted(documents, key=lambda text: hashlib.sha256(text.encode()).digest())
