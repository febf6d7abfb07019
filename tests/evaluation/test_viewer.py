"""Recordings read back with rerun's own reader: cameras where the poses are, errors as the report has them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import ok
from naming import naming
from small_runs import Train

pytest.importorskip("rerun", reason="extra: viewer")

from posezoo.base.errors import UsageError
from posezoo.base.poses import Poses
from posezoo.evaluation import viewer


def columns(path: Path, entity: str, column: str) -> list[Any]:
    """The values of a column over all images, in their order."""
    from rerun.chunk import RrdReader

    found: dict[int, Any] = {}
    for chunk in RrdReader(path).stream():
        if str(chunk.entity_path) == entity and not chunk.is_static:
            rows = chunk.to_record_batch().to_pydict()
            if column in rows:
                found |= dict(zip(rows["image"], rows[column], strict=True))
    return [found[n] for n in sorted(found)]


def test_a_report_read_back(train: Train) -> None:
    run = train(epochs=1)
    ok("eval", str(run.path), "--viewer")
    path, report = run.path / "report" / viewer.NAME, run.report
    poses = report.methods[report.model]
    places = np.array(columns(path, "/world/predicted", "Transform3D:translation"))[:, 0]
    np.testing.assert_allclose(places, poses.position, rtol=1e-5, atol=1e-5)
    turns = np.array(columns(path, "/world/predicted", "Transform3D:quaternion"))[:, 0]
    np.testing.assert_allclose(turns, poses.quaternion[:, [1, 2, 3, 0]], atol=1e-6)
    true = np.array(columns(path, "/world/true", "Transform3D:translation"))[:, 0]
    np.testing.assert_allclose(true, report.frames.position, atol=1e-6)
    for which, word in enumerate(("position", "orientation")):
        seen = np.array(columns(path, f"/error/{word}", "Scalars:scalars"))[:, 0]
        np.testing.assert_allclose(seen, report.errors[report.model][which], rtol=1e-6)
    assert len(columns(path, "/world/predicted/camera/picture", "EncodedImage:blob")) == 8
    # the focal length of 80 pixels at 96 x 72, at a short edge of 72 as it is
    matrix = columns(path, "/world/true/camera", "Pinhole:image_from_camera")[0][0]
    size = columns(path, "/world/true/camera", "Pinhole:resolution")[0][0]
    assert matrix[0] / size[0] == pytest.approx(80 / 96, rel=0.02)


def test_predictions_read_back(train: Train, one_place: Path, tmp_path: Path) -> None:
    run = train(epochs=1)
    path, images = tmp_path / "new" / "walk.rrd", one_place / "yard"
    text = ok("predict", str(run.path), str(images), "--to", "csv", "--batch", "5", "--viewer", str(path))
    assert len(text.splitlines()) == 33
    places = np.array(columns(path, "/world/predicted", "Transform3D:translation"))[:, 0]
    given = np.array([line.split(",")[1:4] for line in text.splitlines()[1:]], dtype=float)
    np.testing.assert_allclose(places, given, rtol=1e-4, atol=1e-4)
    assert len(columns(path, "/world/predicted/camera/picture", "EncodedImage:blob")) == 32


def test_failed_poses_and_names_that_are_no_files(tmp_path: Path) -> None:
    poses = Poses(("a#1", "a#2"), np.array([[0.0, 0, 0], [np.nan, 0, 0]]), np.array([[1.0, 0, 0, 0]] * 2))
    (same,) = viewer.recorded([poses], tmp_path / "a.rrd")
    assert same is poses
    assert len(columns(tmp_path / "a.rrd", "/world/predicted", "Transform3D:translation")) == 1


def test_without_rerun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=naming("rerun-sdk")):
        list(viewer.recorded([], tmp_path / "a.rrd"))
    assert not list(tmp_path.iterdir())


def test_what_has_come_is_kept_when_it_is_stopped(tmp_path: Path) -> None:
    """Ctrl-C ends a camera, and nothing else does."""
    poses = Poses(("a#1",), np.zeros((1, 3)), np.array([[1.0, 0, 0, 0]]))

    def camera() -> Iterator[Poses]:
        yield poses
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(viewer.recorded(camera(), tmp_path / "stopped.rrd"))
    left = viewer.recorded(itertools.repeat(poses), tmp_path / "left.rrd")
    next(left)
    left.close()  # type: ignore[attr-defined]
    for name in ("stopped.rrd", "left.rrd"):
        assert len(columns(tmp_path / name, "/world/predicted", "Transform3D:translation")) == 1
