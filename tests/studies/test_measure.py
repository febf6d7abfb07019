"""Errors under conditions: as an evaluation has them, kept in the study's folder, and measured again when they must."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_runs import Train

from posezoo.base.observe import Observer
from posezoo.studies.measure import Condition, errors, open_album
from posezoo.studies.subjects import Request, Subject


def test_unchanged_pictures_have_the_report_s_errors(train: Train, one_place: Path, tmp_path: Path) -> None:
    run = train(epochs=1)
    album = open_album(Request((), f"folder:{one_place}", tmp_path), Observer())
    index, subject = np.arange(8), Subject("a", (str(run.path),))
    seen: list[int] = []

    def black(image_HWC: np.ndarray, n: int) -> np.ndarray:
        seen.append(n)
        return np.zeros_like(image_HWC)

    conditions = [Condition("original", index), Condition("black", index[2:], black, "black")]
    (found,) = errors([subject], album, conditions, tmp_path / "study", Observer())["a"]
    for which in (0, 1):
        np.testing.assert_allclose(found[0][which], run.report.errors[run.report.model][which], rtol=1e-6)
    assert seen == list(range(2, 8))
    assert len(np.unique(np.round(found[1][0] - found[0][0][2:], 9))) > 1
    again = errors([subject], album, conditions, tmp_path / "study", Observer())["a"][0]
    assert len(seen) == 6, "read, not measured again"
    assert all(
        np.array_equal(a, b) for one, two in zip(found, again, strict=True) for a, b in zip(one, two, strict=True)
    )
    (kept,) = (tmp_path / "study" / "measured").iterdir()
    kept.write_bytes(kept.read_bytes()[:-100])
    errors([subject], album, conditions, tmp_path / "study", Observer())
    assert len(seen) == 12, "damaged: measured again"
    errors(
        [subject], album, [conditions[0], Condition("black", index[2:], black, "other")], tmp_path / "study", Observer()
    )
    assert len(seen) == 18, "another change"


def test_what_was_measured_before_a_stop_is_kept(train: Train, one_place: Path, tmp_path: Path) -> None:
    runs = [str(train(epochs=1, seed=seed, out=f"run{seed}").path) for seed in (0, 1)]
    album = open_album(Request((), f"folder:{one_place}", tmp_path), Observer())
    seen: list[int] = []

    def look(image_HWC: np.ndarray, n: int) -> np.ndarray:
        seen.append(n)
        return image_HWC

    class Stops(Observer):
        def progress(self, what: str, done: int, total: int) -> None:
            if done == 2:
                raise KeyboardInterrupt

    given = [Subject("a", tuple(runs))], album, [Condition("seen", np.arange(8), look, "seen")], tmp_path / "study"
    with pytest.raises(KeyboardInterrupt):
        errors(*given, Stops())
    assert len(seen) == 16
    assert len(errors(*given, Observer())["a"]) == 2
    assert len(seen) == 24, "the first run's is read"


def test_the_same_weights_with_another_crop_are_measured_anew(train: Train, one_place: Path, tmp_path: Path) -> None:
    path = train(epochs=1, out="run").path / "best" / "config.json"
    album = open_album(Request((), f"folder:{one_place}", tmp_path), Observer())
    config, found = json.loads(path.read_text()), []
    del config["sum"]  # written by hand, as by an older posezoo
    for crop in (64, 48):
        config["config"]["crop"] = crop
        path.write_text(json.dumps(config))
        subject = Subject("a", (str(path.parent),))
        (one,) = errors([subject], album, [Condition("none", np.arange(8))], tmp_path / "study", Observer())["a"]
        found.append(one[0][0])
    assert not np.array_equal(*found)
