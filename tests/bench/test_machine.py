"""The measurements run and say what they measured; how long things take is no test, how much memory is."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from small_data import one_place

from posezoo.base.observe import Observer
from posezoo.bench import machine


def check(rows: list[dict[str, object]], size: int) -> None:
    """Each form was opened whole by a process that holds no more than 500 MB: it has no torch."""
    assert {row["form"] for row in rows} == {"csv", "labels", "tum"}
    assert all(row["opened"] == row["frames"] == size for row in rows)
    assert all(10 < float(str(row["peak MB"])) < 500 for row in rows), rows


def test_scale_opens_what_it_wrote() -> None:
    check(machine.scale(Observer(), (1100,)), 1100)


@pytest.mark.slow
def test_a_table_of_a_hundred_thousand_frames() -> None:
    rows = machine.scale(Observer(), (100_000,))
    print(*rows, sep="\n")
    check(rows, 100_000)
    assert all(float(str(row["CPU s"])) < 20 for row in rows), "2 s are usual"


def test_a_note_hides_no_import_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for stderr, imports in (
        ("", False),
        ("note: a plugin is slow\n", False),
        ("torch", True),
        ("note: x\ntorch", True),
    ):
        done = subprocess.CompletedProcess([], 0, "", stderr)
        monkeypatch.setattr(machine.subprocess, "run", lambda *_, done=done, **__: done)
        assert machine.startup()["posezoo list imports torch"] is imports, stderr


def test_loading_and_building(tmp_path_factory: pytest.TempPathFactory) -> None:
    told = machine.loading(f"folder:{one_place(tmp_path_factory.mktemp('place'))}")
    assert told["images"] == 32
    assert all(told[f"{what} (images/s)"] > 0 for what in ("decoding", "warm cache", "building the cache"))
    assert told["building to decoding"] > 0


def test_loading_of_photographs_both_ways_up_by_a_real_lens(tmp_path: Path) -> None:
    place = one_place(tmp_path)
    with (place / "poses.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[::2]:
        with Image.open(place / row["image"]) as image:
            image.rotate(90, expand=True).save(place / row["image"])
    for row in rows:
        with Image.open(place / row["image"]) as image:
            width, height = image.size
        camera = (50.0, 50.0, width / 2, height / 2)
        row |= dict(zip(("fx", "fy", "cx", "cy"), map(str, camera), strict=True))
        row["lens"] = "RADIAL -0.2 0.05"
    with (place / "poses.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert machine.loading(f"folder:{place}")["images"] == 32
