"""Exports read back: every form that can hold the data gives the same frames again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from own_folder import picture
from scipy.spatial.transform import Rotation

from posezoo.data.exporters import FORMS, export
from posezoo.data.frames import Frames, open_dataset
from posezoo.errors import DataError, UsageError
from posezoo.spec import Frame

SOURCE = {
    "csv": "folder:{out}?root={root}",
    "tum": "folder:{out}?root={root}",
    "kitti": "folder:{out}?root={root}",
    "colmap": "colmap:{out}?root={root}",
    "nerf": "nerf:{out}?root={root}",
    "labels": "csv:{out}/labels.csv?convention=camera-to-world&root={root}",
}


def town(root: Path, sequences: tuple[str, ...] = ("s1",), intrinsics: bool = True) -> Frames:
    """Six frames a sequence, far from the origin, with every column filled."""
    rows = []
    for number, sequence in enumerate(sequences):
        turns = Rotation.random(6, random_state=number).as_quat()
        for n in range(6):
            name = f"{sequence}/{n:02d} é.png"
            picture(root / name)
            x, y, z, w = turns[n] * (1 if turns[n][3] >= 0 else -1)
            rows.append(
                Frame(
                    name,
                    (5.7e6 + n / 3, 6.2e5 - n / 7, -0.1 * n),
                    (float(w), float(x), float(y), float(z)),
                    "town",
                    "test" if n > 3 else "train",
                    sequence,
                    1_403_772_000_123_457 + n * 62_500,
                    "sunny",
                    (30.5, 30.25, 20.0, 15.0) if intrinsics else None,
                )
            )
    return Frames.from_rows(root, rows)


@pytest.mark.parametrize("form", FORMS)
def test_round_trip(tmp_path: Path, form: str) -> None:
    frames = town(tmp_path / "data")
    assert export(frames, form, tmp_path / "out")
    name = SOURCE[form].format(out=tmp_path / "out", root=tmp_path / "data")
    found = open_dataset(name).frames
    assert found.images.tolist() == frames.images.tolist()
    exact = form in ("csv", "tum", "labels")
    np.testing.assert_allclose(found.position, frames.position, rtol=0, atol=0 if exact else 1e-8)
    np.testing.assert_allclose(found.quaternion, frames.quaternion, rtol=0, atol=1e-12)
    if form in ("csv", "colmap", "nerf"):
        np.testing.assert_array_equal(found.intrinsics, frames.intrinsics)
    if form in ("csv", "nerf", "labels"):
        assert found.split.tolist() == frames.split.tolist()
    if form in ("csv", "tum"):
        assert found.timestamp.tolist() == frames.timestamp.tolist()
    if form in ("csv", "labels"):
        assert (found.scenes, found.sequence.tolist()) == (frames.scenes, frames.sequence.tolist())
    if form == "csv":
        assert open_dataset(name).digest == open_dataset(name).digest
        assert found.condition.tolist() == frames.condition.tolist()


@pytest.mark.parametrize("first", ["csv", "colmap", "nerf"])
@pytest.mark.parametrize("second", ["csv", "tum", "kitti", "colmap", "nerf", "labels"])
def test_every_pair(tmp_path: Path, first: str, second: str) -> None:
    frames = town(tmp_path / "data")
    export(frames, first, tmp_path / "1")
    middle = open_dataset(SOURCE[first].format(out=tmp_path / "1", root=tmp_path / "data")).frames
    export(middle, second, tmp_path / "2")
    parts = sorted({path.parent for path in (tmp_path / "2").rglob("*.*")})
    found = open_dataset(SOURCE[second].format(out=parts[0], root=tmp_path / "data")).frames
    assert found.images.tolist() == frames.images.tolist()
    np.testing.assert_allclose(found.position, frames.position, rtol=0, atol=2e-8)
    np.testing.assert_allclose(found.quaternion, frames.quaternion, rtol=0, atol=1e-12)


def test_several_sequences_get_a_folder_each(tmp_path: Path) -> None:
    frames = town(tmp_path / "data", ("s1", "s 2"))
    paths = export(frames, "tum", tmp_path / "out")
    assert {str(path.relative_to(tmp_path / "out")) for path in paths} == {
        f"{folder}/{name}" for folder in ("town-s1", "town-s-2") for name in ("groundtruth.txt", "rgb.txt")
    }
    found = open_dataset(f"folder:{tmp_path}/out/town-s-2?root={tmp_path / 'data'}").frames
    assert [found.name(n).partition("/")[0] for n in range(6)] == ["s 2"] * 6


def test_nothing_is_replaced_and_nothing_made_up(tmp_path: Path) -> None:
    frames = town(tmp_path / "data", intrinsics=False)
    export(frames, "csv", tmp_path / "out")
    with pytest.raises(UsageError, match=r"poses\.csv is there already: choose another --out"):
        export(frames, "csv", tmp_path / "out")
    with pytest.raises(DataError, match="6 of 6 frames have no intrinsics"):
        export(frames, "colmap", tmp_path / "out")
    with pytest.raises(UsageError, match="unknown form 'obj'"):
        export(frames, "obj", tmp_path / "out")
