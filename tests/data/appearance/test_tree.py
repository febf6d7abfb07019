"""A tree of changed pictures: goes on where it stopped, and never leaves its folder."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import fault_points
import faults
import small_data
from naming import naming

from posezoo.cli import run


def words(data: Path | str, *more: str, out: str = "w") -> list[str]:
    return ["data", "corrupt", f"folder:{data}", "--out", out, *more]


def pictures(folder: Path) -> dict[str, str]:
    return {name: digest for name, digest in faults.digests(folder).items() if name.endswith(".png")}


def test_killed_it_goes_on_to_the_same_bytes(one_place: Path) -> None:
    given = ["--kind", "fog,rain", "--severity", "2", "--seed", "7"]
    assert run(words(one_place, *given, out="whole")) == 0
    ended = faults.own_process(words(one_place, *given), "appearance.picture:kill9:6")
    assert ended.code == -9, ended
    begun = pictures(Path("w"))
    assert 0 < len(begun) < 16
    assert not Path("w/poses.csv").exists()
    assert run(words(one_place, *given)) == 0
    assert pictures(Path("w")) == pictures(Path("whole"))
    assert begun.items() <= pictures(Path("w")).items()
    assert Path("w/poses.csv").read_bytes() == Path("whole/poses.csv").read_bytes()
    assert not list(Path("w").rglob(".tmp-*"))
    assert run(words(one_place, "--kind", "night", "--seed", "7")) == 0  # another condition beside them
    assert json.loads(Path("w/card.json").read_text())["pictures"] == {"fog-2": 8, "rain-2": 8, "night-3": 8}


def test_bad_pictures_and_a_full_disk_are_one_line(one_place: Path) -> None:
    shutil.copytree(one_place, "d")
    Path("d/yard/25.png").write_text("hello")
    faults.assert_fails(words("d", "--kind", "blur"), 3, naming("25.png", "posezoo data verify"))
    with fault_points.at("appearance.picture:full:2"):
        faults.assert_fails(words(one_place, "--kind", "blur", out="v"), 6, naming("v", "No space left"))


def test_no_scene_and_no_name_leads_out_of_the_folder() -> None:
    table = small_data.rows("yard")[24:28]
    for row, scene in zip(table, ("../../up", "/root", "a b/c", ".."), strict=True):
        row["scene"] = scene
    table[1]["image"] = "yard/24.jpg"  # the same name, but for the ending
    table[0]["image"], table[0]["scene"] = "yard/24.png", "/root"
    small_data.write(Path("d"), table)
    assert run(words("d", "--kind", "night", "--format", "quiet")) == 0
    with Path("w/poses.csv").open(encoding="utf-8", newline="") as file:
        images = [row["image"] for row in csv.DictReader(file)]
    assert images == [
        "night-3/root/yard/24_night-3.png",
        "night-3/root/yard/24-2_night-3.png",
        "night-3/a-b-c/yard/26_night-3.png",
        "night-3/scene/yard/27_night-3.png",
    ]
    assert {str(path.relative_to("w")) for path in Path("w").rglob("*.png")} == set(images)
