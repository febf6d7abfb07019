"""A report read back: the same numbers to the last bit, and damage named."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from posezoo.base.errors import WeightsError
from posezoo.base.files import pictures
from posezoo.base.spec import Lens
from posezoo.data.table import Frames
from posezoo.evaluation import stored
from posezoo.evaluation.report import Report

MakeFrames = Callable[..., Frames]
MakeReport = Callable[..., Report]


@pytest.fixture
def saved(make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Report, "plot", lambda *given: None)
    frames = make_frames(("chess", "fire"), ("sun", "rain"))
    scene_N = frames.of_split("test").scene.astype(np.int64)
    return make_report(frames, failures=3, scene_predicted=scene_N).save(tmp_path)


def without_digest(saved: Path) -> None:
    """As older versions wrote it: what is in the other file is then looked at itself."""
    written = json.loads((saved / "report.json").read_text())
    del written[stored.DIGEST]
    (saved / "report.json").write_text(json.dumps(written))


def test_a_report_read_back_says_the_same(saved: Path) -> None:
    found = Report.load(saved)
    written = json.loads((saved / "report.json").read_text())
    assert found.to_dict() == {key: value for key, value in written.items() if key != stored.DIGEST}
    assert found.train is not None
    assert (len(found.train), found.train.scenes) == (240, ("chess", "fire"))
    again = found.save(saved / "again")
    assert (again / "predictions.csv").read_text() == (saved / "predictions.csv").read_text()
    assert Report.load(again).errors[found.model][0].tobytes() == found.errors[found.model][0].tobytes()


def test_versions_are_those_that_measured(saved: Path) -> None:
    written = json.loads((saved / "report.json").read_text())
    written["versions"]["torch"] = "1.0"
    (saved / "report.json").write_text(json.dumps(written))
    assert Report.load(saved).to_dict()["versions"] == written["versions"]


def test_a_process_that_was_killed_while_it_wrote_leaves_no_mixture(
    saved: Path, make_frames: MakeFrames, make_report: MakeReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Report, "draw", killed)
    other = make_report(make_frames(num=20))
    with pytest.raises(KeyboardInterrupt):
        other.save(saved)
    with pytest.raises(WeightsError):
        Report.load(saved)
    monkeypatch.setattr(Report, "draw", lambda *given: None)
    assert len(Report.load(other.save(saved)).frames) == len(other.frames)
    groups = other.groups("sequence")
    assert len(list((saved / "tum").iterdir())) == 2 * len(groups), "those of the report before are gone"


def test_lenses_and_turned_photographs_are_kept(
    make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Report, "plot", lambda *given: None)
    frames = make_frames()
    lens_N = np.arange(len(frames), dtype=np.int32) % 2
    kept = (None, Lens("RADIAL", (0.1, -0.02)))
    frames = dataclasses.replace(frames, lens=lens_N, lenses=kept, decode=pictures.UPRIGHT)
    saved = make_report(frames).save(tmp_path)
    found = Report.load(saved)
    true = frames.of_split("test")
    assert [found.frames.lens_of(i) for i in range(4)] == [true.lens_of(i) for i in range(4)] == [*kept, *kept]
    assert found.frames.decode == found.train.decode == pictures.UPRIGHT  # type: ignore[union-attr]
    without_digest(saved)
    with np.load(saved / stored.FILE) as arrays:
        content = dict(arrays)
    for name, value in (
        ("test/lens", np.full(len(true), 7)),
        ("test/lens", lens_N[:3]),
        ("test/lenses", np.array('["RADIAL"]')),
        ("test/lenses", np.array('[null, ["RADIAL", [1]]]')),
    ):
        np.savez(saved / stored.FILE, **{**content, name: value})
        with pytest.raises(WeightsError, match="damaged"):
            Report.load(saved)
    without = {
        name: value for name, value in content.items() if name.split("/")[-1] not in ("lens", "lenses", "upright")
    }
    np.savez(saved / stored.FILE, **without)
    assert Report.load(saved).frames.lens_of(1) is None


@pytest.mark.parametrize("damage", ["cut", "text", "missing", "pickle", "json", "stream"])
def test_a_damaged_report_is_named(saved: Path, damage: str) -> None:
    path = saved / stored.FILE
    without_digest(saved)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-400])
    elif damage == "stream":  # the first array's own bytes, not the archive's
        content = bytearray(path.read_bytes())
        content[60:200] = b"\xff" * 140
        path.write_bytes(content)
    elif damage == "text":
        path.write_text("no archive")
    elif damage == "missing":
        path.unlink()
    elif damage == "pickle":
        np.savez(path, **{"test/images": np.array([{"a": 1}], dtype=object)})
    else:
        (saved / "report.json").write_text("{}")
    with pytest.raises(WeightsError, match="report"):
        Report.load(saved)


def test_columns_that_do_not_fit_are_damage(saved: Path) -> None:
    path = saved / stored.FILE
    without_digest(saved)
    with np.load(path) as arrays:
        content = dict(arrays)
    for name, value in (("method0/position", np.zeros((2, 3))), ("test/scene", np.full(240, 7))):
        np.savez(path, **{**content, name: value})
        with pytest.raises(WeightsError, match="damaged"):
            Report.load(saved)
