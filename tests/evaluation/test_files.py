"""A report's files, read back."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from posezoo.data.table import Frames
from posezoo.evaluation import report
from posezoo.evaluation.files import trajectories

MakeFrames = Callable[..., Frames]


MakeReport = Callable[..., report.Report]


def test_tum_files_are_tum(make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path) -> None:
    found = make_report(make_frames(("a b", "../c")), failures=5)
    folder = found.save(tmp_path)
    names = sorted(path.name for path in (folder / "tum").iterdir())
    assert len(names) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9][\w.-]*_(true|predicted)\.txt", name) for name in names)
    numbers = [np.loadtxt(folder / "tum" / name) for name in names]
    assert sorted(len(n) for n in numbers) == [55, 60, 60, 60]
    for lines in numbers:
        assert lines.shape[1] == 8
        assert np.isfinite(lines).all()
        assert (np.diff(lines[:, 0]) > 0).all()
    test = found.frames.of_scene("a b")
    true = np.loadtxt(folder / "tum" / next(n for n in names if n.startswith("a_b") and "true" in n))
    np.testing.assert_array_equal(true[:, 1:4], test.position)
    np.testing.assert_array_equal(true[:, [7, 4, 5, 6]], test.quaternion)


def test_groups_whose_file_names_agree_keep_their_own_files(make_frames: MakeFrames, make_report: MakeReport) -> None:
    found = make_report(make_frames(("a b", "a_b", "a?b")))
    assert len(trajectories(found)) == 6


@pytest.mark.parametrize("form", ["csv", "tum", "kitti", "labels"])
def test_the_models_poses_in_the_forms_of_other_tools(
    make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path, form: str
) -> None:
    found = make_report(make_frames(), failures=7)
    (path, *_) = found.export(form, tmp_path / form)
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == 53 + (form in ("csv", "labels"))
    x, y, z = found.methods[found.model].position[7]
    assert all(repr(float(value)) in lines[-53] for value in (x, y, z))
    assert found.export(form, tmp_path / form)[0] == path  # a report may be written again


def test_evo_measures_the_same_errors_on_the_files(
    make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path
) -> None:
    """evo's own program on the TUM files: position errors without alignment, and rotation angles, to six digits."""
    program = shutil.which("evo_ape", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if program is None:
        pytest.skip("evo is not installed: pip install evo")
    report = make_report(make_frames())
    for name, text in trajectories(report).items():
        (tmp_path / name).write_text(text)
    true, predicted = sorted(tmp_path.glob("*_true.txt"))[0], sorted(tmp_path.glob("*_predicted.txt"))[0]
    for relation, which in (("trans_part", 0), ("angle_deg", 1)):
        out = tmp_path / f"{relation}.zip"
        told = subprocess.run(
            [program, "tum", str(true), str(predicted), "-r", relation, "--save_results", str(out), "--no_warnings"],
            env={**os.environ, "HOME": str(tmp_path), "MPLBACKEND": "agg"}, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert told.returncode == 0, told.stderr
        with zipfile.ZipFile(out) as archive:
            theirs = json.loads(archive.read("stats.json"))
        ours = report.errors[report.model][which]
        for name, value in {"median": np.median(ours), "mean": np.mean(ours), "max": np.max(ours)}.items():
            assert theirs[name] == pytest.approx(value, rel=1e-6), (relation, name)
