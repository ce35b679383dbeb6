"""Headers of GGUF files: the package's own error for any bytes, and never more work than the file has bytes."""

import struct
from functools import cache
from pathlib import Path

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.errors import SubjectError
from featureinterp.pretrained.gguf_header import GgufHeader, read_gguf_header
from tests.models.tiny_gguf import tiny_llama, write_gguf

HUGE = (2**31, 2**40, 2**63, 2**64 - 1)


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "valid.gguf", tiny_llama(), "Q8_0").read_bytes()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("headers") / "model.gguf"


def read(place: Path, content: bytes) -> GgufHeader | None:
    """Return the header, or None if it is refused in one line."""
    place.write_bytes(content)
    try:
        return read_gguf_header(place)
    except SubjectError as error:
        assert str(place) in error.problem
        assert "\n" not in str(error)
        return None


@cache
def start_of_tensors(content: bytes) -> int:
    return content.index(b"token_embd.weight")


def test_a_header_is_what_the_gguf_package_reads(place: Path, valid: bytes) -> None:
    header = read(place, valid)
    reader = gguf.GGUFReader(place)
    assert [(each.name, each.n_elements, each.n_bytes) for each in header.tensors] == [
        (each.name, each.n_elements, each.n_bytes) for each in reader.tensors
    ]
    scalars = {key: field.contents() for key, field in reader.fields.items() if field.types[0] != 9}
    assert dict(header.metadata) == {key: value for key, value in scalars.items() if not key.startswith("GGUF.")}
    assert header.architecture == "llama"


@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused(place: Path, content: bytes) -> None:
    assert read(place, content) is None
    assert read(place, b"GGUF" + struct.pack("<I", 3) + content) is None


@given(
    position=st.integers(4, 8000), value=st.sampled_from(HUGE) | st.integers(0, 2**64 - 1), width=st.sampled_from("BIQ")
)
def test_any_number_of_a_header_may_be_false(place: Path, valid: bytes, position: int, value: int, width: str) -> None:
    number = struct.pack(f"<{width}", value % 2 ** (8 * struct.calcsize(width)))
    position %= start_of_tensors(valid) + 1500
    header = read(place, valid[:position] + number + valid[position + len(number) :])
    assert header is None or sum(each.n_bytes for each in header.tensors) < len(valid)


@given(share=st.floats(0, 0.9999))
def test_a_truncated_file_is_refused(place: Path, valid: bytes, share: float) -> None:
    assert read(place, valid[: int(share * len(valid))]) is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not a GGUF file"),
        (b"PK\3\4 a wheel", "is not a GGUF file"),
        (b"GGUF" + struct.pack(">IQQ", 3, 1, 1), "is big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 1, 1, 1), "has version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "names no architecture"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**63), "is truncated or damaged: its header asks for byte 32"),
    ],
)
def test_refusals_say_what_is_wrong(place: Path, content: bytes, told: str) -> None:
    place.write_bytes(content)
    with pytest.raises(SubjectError, match=told):
        read_gguf_header(place)


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.gguf"):
        with pytest.raises(SubjectError, match="cannot be read"):
            read_gguf_header(path)
