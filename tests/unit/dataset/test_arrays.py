import errno

import numpy as np
import pytest
from safetensors.numpy import load_file

from featureinterp.dataset.activations.arrays import ArrayFile, ArraySpec, array_writer, write_arrays
from featureinterp.errors import DataFolderError, StorageError

ARRAYS = {
    "small": np.arange(3, dtype=np.int16),
    "long": np.arange(5, dtype=np.int64),
    "table": np.arange(8, dtype=np.float32).reshape(4, 2),
    "none": np.empty(0, dtype=np.int32),
}


def test_files_open_with_safetensors(tmp_path):
    write_arrays(tmp_path / "a.safetensors", ARRAYS, {"key": "value"})
    for name, array in load_file(tmp_path / "a.safetensors").items():
        np.testing.assert_array_equal(array, ARRAYS[name])
        assert array.dtype == ARRAYS[name].dtype


def test_rows_and_mappings_read_back(tmp_path):
    write_arrays(tmp_path / "a", ARRAYS, {"key": "value"})
    file = ArrayFile.open(tmp_path / "a")
    assert file.metadata["key"] == "value" and file.is_intact()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(file.mapped(name), array)
    np.testing.assert_array_equal(file.rows("table", 1, 3), [[2, 3], [4, 5]])


def test_pieces_can_be_written_in_any_order(tmp_path):
    with array_writer(tmp_path / "a", {"x": ArraySpec((4, 2), np.float32)}, {}) as writer:
        writer.write("x", 2, np.ones((2, 2)))
        writer.write("x", 0, np.full((1, 2), 5))
    np.testing.assert_array_equal(ArrayFile.open(tmp_path / "a").mapped("x"), [[5, 5], [0, 0], [1, 1], [1, 1]])


def test_a_full_disk_leaves_the_old_file(tmp_path):
    write_arrays(tmp_path / "a", ARRAYS, {})
    before = (tmp_path / "a").read_bytes()
    with pytest.raises(StorageError), array_writer(tmp_path / "a", {"x": ArraySpec((4,), np.int32)}, {}):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (tmp_path / "a").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("damage", [b"", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0[]"], ids=["empty", "bytes", "list"])
def test_damaged_files_are_told(tmp_path, damage):
    (tmp_path / "a").write_bytes(damage)
    with pytest.raises(DataFolderError, match="cannot be read as arrays"):
        ArrayFile.open(tmp_path / "a")


def test_a_file_cut_short_is_told(tmp_path):
    write_arrays(tmp_path / "a", ARRAYS, {})
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-4])
    with pytest.raises(DataFolderError, match="cut short"):
        ArrayFile.open(tmp_path / "a")
