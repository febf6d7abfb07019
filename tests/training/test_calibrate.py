"""posezoo.calibrate: a run or a model folder, from frames held apart or from a new recording."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import small_data
from naming import naming
from small_runs import Train

import posezoo
from posezoo.base.errors import DataError, UsageError, WeightsError
from posezoo.training.calibrate import write_estimate
from posezoo.zoo.find import CONFIG, read_config
from posezoo.zoo.saved import CARD


@pytest.fixture
def new_walk(tmp_path: Path) -> Path:
    return small_data.write(tmp_path / "new", [{**row, "z": float(row["z"]) + 0.05} for row in small_data.rows("yard")])


def test_from_a_new_recording(train: Train, new_walk: Path) -> None:
    run = train(epochs=1, selection="last").path
    weights = read_config(run / "best")["weights"]
    found = posezoo.calibrate(run, f"folder:{new_walk}")
    assert found.folder == run / "best"
    assert (found.estimate.calibration.count, len(found.estimate.positions)) == (32, 24)
    config = read_config(run / "best")
    assert config["weights"] == weights
    assert config["estimate"]["source"] == "folder:new"  # no path of this machine
    assert any("error estimate" in line for line in config["disclosures"])
    assert "| radii | hold for 90 % of 32 images: folder:new |" in (run / "best" / CARD).read_text(encoding="utf-8")
    first = posezoo.load(run, device="cpu").predict(new_walk / "yard", note=lambda text: None)
    assert first.radius_m is not None
    # of 32 images one is left out as unfamiliar, and of the others 29 of 31 or more are covered
    assert first.unfamiliar == 1
    # again, by its model folder alone, which then holds one estimate
    moved = Path(shutil.copytree(run / "best", run.parent / "moved"))
    with pytest.raises(WeightsError, match=naming("moved")):
        posezoo.calibrate(f"local-dir:{moved}", f"folder:{new_walk}")
    posezoo.calibrate(run, f"folder:{new_walk}")
    assert len(list((run / "best").glob("estimate-*"))) == 1
    assert read_config(run / "best") == config


def test_the_card_says_the_radii_where_its_report_is_gone(train: Train, new_walk: Path, tmp_path: Path) -> None:
    run = train(epochs=1, selection="last").path
    alone, own = (Path(shutil.copytree(run / "best", tmp_path / name)) for name in ("alone", "own"))
    (own / CARD).write_text("my words\n", encoding="utf-8")
    estimate = posezoo.calibrate(run, f"folder:{new_walk}").estimate
    old = (alone / CARD).read_text(encoding="utf-8")
    for folder in (alone, own):
        write_estimate(folder, estimate)
    new = (alone / CARD).read_text(encoding="utf-8")
    assert [line for line in old.splitlines() if line not in new.splitlines()] == []
    added = [line for line in new.splitlines() if line not in old.splitlines()]
    assert added[0] == "| radii | hold for 90 % of 32 images: folder:new |"
    assert [line.partition(" | ")[0] for line in added[1:]] == ["| training data in it"]
    assert (own / CARD).read_text(encoding="utf-8") == "my words\n"


def test_from_what_the_run_held_apart(train: Train) -> None:
    run = train(epochs=1, selection="last", **{"data.calibration": 0.5}).path
    own = (run / "best" / CONFIG).read_bytes()
    found = posezoo.calibrate(run)
    assert (run / "best" / CONFIG).read_bytes() == own
    assert len(found.estimate.positions) == 12
    assert found.rows()["coverage"] == 0.9


def test_never_from_test_frames(train: Train, one_place: Path, tmp_path: Path) -> None:
    run = train(epochs=1, selection="last").path
    for data in (None, f"folder:{one_place}"):
        with pytest.raises(DataError, match=naming("--data", "data.calibration")):
            posezoo.calibrate(run, data)
    copy = shutil.copytree(one_place, tmp_path / "copy")
    with pytest.raises(UsageError, match=naming("--data")):
        posezoo.calibrate(run, f"folder:{copy}")
    rows = small_data.rows("yard")
    part = small_data.write(tmp_path / "part", [{**row, "split": "test"} for row in rows[20:28]])
    with pytest.raises(UsageError, match="8 of these 8"):  # four of training, four of the test
        posezoo.calibrate(run, f"folder:{part}")
    with pytest.raises(UsageError, match=naming("local-dir")):
        posezoo.calibrate("posenet-anchors-demo", f"folder:{copy}")  # pinned, byte for byte


def test_a_scene_by_another_name(train: Train, tmp_path: Path) -> None:
    run = train(epochs=1, selection="last").path
    walk = small_data.write(tmp_path / "hall", small_data.rows("hall", 0.5))
    assert posezoo.calibrate(run, f"folder:{walk}", scene="yard").estimate.calibration.count == 32
    assert np.isfinite(posezoo.calibrate(run, f"folder:{walk}").estimate.metres.numpy()).all()
