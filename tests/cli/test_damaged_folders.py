"""What is damaged or of another latent in a data folder is named, the rest explained, and `records` makes it again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_bad_input import assert_told

HOOK, OTHER_HOOK = "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"
SAMPLES = ("--top-sample-n", 12, "--complementary-sample-n", 9, "--max-features", 12)


@pytest.fixture
def copied(data: Path, tmp_path: Path) -> Path:
    """A copy of the data folder."""
    folder = tmp_path / "data" / data.name
    shutil.copytree(data, folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def two_records(folder: Path, hook: str = HOOK) -> tuple[Path, Path]:
    """The files of two latents of a hook."""
    first, second, *_ = sorted((folder / "records" / hook).glob("*.json"), key=lambda path: int(path.stem))
    return first, second


def change(path: Path, changed: Callable[[dict], object]) -> None:
    table = json.loads(path.read_bytes())
    changed(table.get("data", table))
    path.write_text(json.dumps(table))


def other_latent(path: Path, other: Path) -> None:
    shutil.copy(other, path)


def other_layer(path: Path, other: Path) -> None:
    shutil.copy(two_records(path.parents[2], OTHER_HOOK)[0], path)


def renumbered(path: Path, other: Path) -> None:
    """Another latent's records with this one's number: only the checksum tells."""
    record = json.loads(other.read_bytes())
    record["id"]["latent_index"] = int(path.stem)
    path.write_text(json.dumps(record))


def a_bit(path: Path, other: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + bytes([whole[200] ^ 4]) + whole[201:])


def another_digit(path: Path, other: Path) -> None:
    """A file that is whole JSON, and tells another activation."""
    change(path, lambda record: record["most_act_records"][0].update(dataset_index=0))


def cut_short(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def missing(path: Path, other: Path) -> None:
    path.unlink()


DAMAGE = [other_latent, other_layer, renumbered, a_bit, another_digit, cut_short, missing]


@pytest.mark.parametrize("damage", DAMAGE)
def test_one_damaged_record_is_named_the_rest_explained_and_the_same_commands_mend_it(
    cli, tiny, data, run, copied, tmp_path, caplog, damage
):
    path, other = two_records(copied)
    damage(path, other)
    again = ("explain", copied, "--out", tmp_path / "run", "--depth", 1)
    told = cli(*again)
    assert told.code == 2 and "Traceback" not in told.err
    assert f"latent {path.stem}" in told.err or f"{path.stem}.json" in told.err
    assert "1 of 24 features are not explained" in told.err and "featureinterp records" in told.err
    rows = cli("results", tmp_path / "run", "--format", "csv").out.splitlines()
    assert len(rows) == 24  # a header and all but one
    made = cli("records", "--out", copied.parent, *tiny.options(), *SAMPLES)
    assert made.code == 0 and path.name in caplog.text, made.err
    assert contents(copied) == contents(data)
    assert cli(*again).code == 0
    whole = cli("results", run, "--format", "jsonl").out.splitlines()
    mended = cli("results", tmp_path / "run", "--format", "jsonl").out.splitlines()
    drop = ("seconds", "usage")
    assert [{k: v for k, v in json.loads(line).items() if k not in drop} for line in mended] == [
        {k: v for k, v in json.loads(line).items() if k not in drop} for line in whole
    ]


def beyond(table: dict) -> None:
    table["reports"][-1]["latent"] = 96


def negative(table: dict) -> None:
    table["reports"][0]["latent"] = -1


def twice(table: dict) -> None:
    table["reports"][1]["latent"] = table["reports"][0]["latent"]


def another_hook(table: dict) -> None:
    table["hook"] = OTHER_HOOK


@pytest.mark.parametrize(
    ("changed", "told"),
    [(beyond, "latent 96, the SAE has latents 0 to 95"), (negative, "latent -1"), (twice, "twice"),
     (another_hook, f"holds hook {OTHER_HOOK}, but its path names hook {HOOK}")],
)  # fmt: skip
def test_a_table_of_latents_is_compared_with_its_sae_and_made_again(
    cli, tiny, data, copied, tmp_path, caplog, changed, told
):
    change(copied / "records" / f"{HOOK}.latents.json", changed)
    assert_told(cli("explain", copied, "--out", tmp_path / "run"), f"{HOOK}.latents.json", told)
    made = cli("records", "--out", copied.parent, *tiny.options(), *SAMPLES)
    assert made.code == 0 and "created again" in caplog.text, made.err
    assert contents(copied) == contents(data)


def test_profiles_of_another_hook_are_refused_and_made_again(cli, tiny, data, copied, tmp_path):
    records = copied / "records"
    shutil.copy(records / f"{OTHER_HOOK}.profiles.json", records / f"{HOOK}.profiles.json")
    assert_told(cli("explain", copied, "--out", tmp_path / "run"), f"{HOOK}.profiles.json holds hook {OTHER_HOOK}")
    assert cli("records", "--out", copied.parent, *tiny.options(), *SAMPLES).code == 0
    assert contents(copied) == contents(data)


def test_a_manifest_whose_hooks_are_mixed_up_is_refused(cli, copied, tmp_path):
    change(copied / "manifest.json", lambda manifest: manifest["hooks"][HOOK].update(layer=1))
    told = cli("explain", copied, "--out", tmp_path / "run")
    assert_told(told, f"the entry of {HOOK} in", "holds layer 1, but its path names layer 0")


def test_a_damaged_file_of_holistic_activations_is_made_again(cli, tiny, rich, tmp_path):
    folder = tmp_path / rich.name
    shutil.copytree(rich, folder)
    path = folder / "holistic_acts" / f"{HOOK}.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
    sizes = ("--top-sample-n", 30, "--complementary-sample-n", 30, "--max-features", 8)
    stages = ("--write-sae-acts", "--write-holistic-acts", "--write-records")
    assert cli("records", "--out", tmp_path, *tiny.options(), *sizes, *stages).code == 0
    assert path.read_bytes() == whole


def test_folders_without_checksums_and_hooks_still_open(cli, copied, tmp_path):
    """As made by earlier versions."""
    for path in (copied / "records").glob("*.json"):
        table = json.loads(path.read_bytes())
        del table["data"]["hook"]
        for report in table["data"].get("reports", ()):
            del report["checksum"]
        path.write_text(json.dumps(table))
    first, second = two_records(copied)
    shutil.copy(second, first)
    told = cli("explain", copied, "--out", tmp_path / "run", "--depth", 1)
    assert told.code == 2 and f"holds latent {second.stem}, but its path names latent {first.stem}" in told.err
    assert len(cli("results", tmp_path / "run", "--format", "csv").out.splitlines()) == 24
