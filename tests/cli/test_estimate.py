"""`featureinterp estimate` takes the options of `records` and writes nothing."""

from __future__ import annotations

from pathlib import Path

from featureinterp.cli.commands.estimate import size


def test_an_estimate_prints_costs_and_writes_nothing(cli, tiny, tmp_path: Path):
    out = tmp_path / "data"
    told = cli("estimate", "--out", out, *tiny.options(), "--max-features", 5, "--write-holistic-acts")
    assert told.code == 0, told.err
    lines = {line.split("  ")[0].strip(): line.split() for line in told.out.splitlines()}
    assert "400" in lines["activations"] and f"{400 * 12:,}" in lines["activations"]
    assert f"{400 * 12:,}" in lines["holistic activations"]
    assert "400 sequences, 10 latents; on cpu" in told.out and "memory: about" in told.out
    assert not out.exists()


def test_mistakes_are_those_of_records(cli, tiny):
    told = cli("estimate", *tiny.options(), "--latents", "3,x")
    assert told.code == 2 and "latents '3,x' cannot be read" in told.err
    assert cli("estimate", "--no-such-option").code == 2


def test_bytes_are_said_in_their_largest_unit():
    assert [size(n) for n in (0, 999, 1000, 2.5e6, 3e9, 4.2e12)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "2.5 MB",
        "3.0 GB",
        "4.2 TB",
    ]
