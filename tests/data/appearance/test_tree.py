"""A tree of changed pictures: goes on where it stopped, and never leaves its folder."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import fault_points
import faults
import numpy as np
import small_data
from naming import naming

from posezoo.base.files.pictures import read_image
from posezoo.cli import run
from posezoo.data.open import open_dataset


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


def test_pictures_made_are_free_of_distortion_and_name_no_depth_maps(tmp_path: Path) -> None:
    data = small_data.with_depths(tmp_path / "data", slice(0, 3))
    with (data / "poses.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lenses = ["OPENCV -0.3 0.1 0 0", ""]
    small_data.write(data, [{**row, "lens": lenses[n % 2]} for n, row in enumerate(rows)])
    source = open_dataset(f"folder:{data}").frames
    ended = faults.in_process(words(data, "--kind", "original", "--subset", "all"))
    assert ended.code == 0, ended
    made = open_dataset("folder:w").frames
    assert len(made) and not len(made.lens) and not len(made.depth)
    ours = {name: n for n, name in enumerate(map(source.name, range(len(source))))}
    bent = 0
    for n in range(len(made)):
        folder, _, rest = made.name(n).partition("/")
        if folder != "original":
            continue
        of = ours[rest.replace("_original.png", ".png")]
        known = source.correction(of)
        expected = read_image(source.path(of), 72, lens_of=lambda *_, known=known: known)
        np.testing.assert_array_equal(read_image(made.path(n), 72), expected)
        bent += known is not None and (read_image(source.path(of), 72) != expected).any()
    assert bent


def test_positions_without_a_metre_are_told(one_place: Path) -> None:
    assert run(["data", "export", f"folder:{one_place}", "--to", "nerf", "--out", "n"]) == 0
    assert run(["data", "corrupt", f"nerf:n?root={one_place}", "--out", "w", "--kind", "fog"]) == 0
    assert json.loads(Path("w/card.json").read_text())["source"]["unit"] == "scene units"
    assert "Positions are in scene units" in Path("w/README.md").read_text()


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
