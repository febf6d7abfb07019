"""Bad data left out on request: what stays, what is recorded, and that nothing is left out unasked."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_data
from naming import naming
from own_folder import MakeFolder, pose_row

from posezoo.base.errors import DataError
from posezoo.data.open import open_dataset


@pytest.fixture
def spoiled(make_folder: MakeFolder) -> Path:
    """Ten frames: one pose is NaN, one image missing, one empty, one no image."""
    rows = [pose_row(f"{n}.png", n, split="test" if n >= 8 else "train") for n in range(10)]
    rows[1]["x"] = "nan"
    folder = make_folder(rows)
    (folder / "3.png").unlink()
    (folder / "4.png").write_bytes(b"")
    (folder / "5.png").write_text("hello")
    return folder


def test_what_is_wrong_is_left_out_and_named(spoiled: Path) -> None:
    dataset = open_dataset(f"folder:{spoiled}", skip_bad=True)
    assert [dataset.frames.name(n)[0] for n in range(len(dataset.frames))] == list("026789")
    lines = [str(finding) for finding in dataset.skipped]
    assert [line.partition(": ")[0] for line in lines] == ["poses.csv:3", "poses.csv:5", "poses.csv:6", "5.png"]
    assert dataset.remarks[-1].startswith("bad data left out as asked: 4 problems (first: poses.csv:3: value 1 is not")


def test_lost_tracking_is_left_out_only_on_request(tmp_path: Path) -> None:
    root = small_data.seven_scenes(tmp_path, {"attic": {"train": {1: 3}, "test": {2: 2}}})
    lost = root / "attic/seq-01/frame-000001.pose.txt"
    lost.write_text(lost.read_text().replace("0.01", "nan"))
    with pytest.raises(DataError, match=naming("frame-000001.pose.txt:1")):
        open_dataset(f"7scenes:{root}")
    dataset = open_dataset(f"7scenes:{root}", skip_bad=True)
    assert (len(dataset.frames), len(dataset.skipped)) == (4, 1)


def test_nothing_is_left_out_unasked(spoiled: Path) -> None:
    with pytest.raises(DataError, match=naming("3")):
        open_dataset(f"folder:{spoiled}")


def test_good_data_are_the_same_with_and_without(make_folder: MakeFolder) -> None:
    folder = make_folder()
    dataset = open_dataset(f"folder:{folder}", skip_bad=True)
    assert (dataset.skipped, dataset.remarks) == ((), open_dataset(f"folder:{folder}").remarks)
    assert dataset.digest == open_dataset(f"folder:{folder}").digest


def test_nothing_left_is_an_error(make_folder: MakeFolder) -> None:
    folder = make_folder([pose_row("a.png"), pose_row("b.png", 1)])
    for name in ("a.png", "b.png"):
        (folder / name).write_text("hello")
    with pytest.raises(DataError, match=naming("2", "a.png")):
        open_dataset(f"folder:{folder}", skip_bad=True)
    (folder / "poses.csv").unlink()
    with pytest.raises(DataError, match=naming("poses.csv")):
        open_dataset(f"folder:{folder}", skip_bad=True)
