"""posezoo map: what it prints, and what it refuses in one line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import demo_video
import faults
import pytest
import small_data
from naming import naming

from posezoo.base.errors import DataError

pytest.importorskip("pycolmap", reason="the extra map")
pytest.importorskip("av", reason="the extra map")


def test_a_video_becomes_a_place_a_data_set_and_a_model(tmp_path: Path) -> None:
    demo_video.video(tmp_path / "walk.mp4", 8)
    ended = faults.in_process(["map", str(tmp_path / "walk.mp4"), "--out", str(tmp_path / "p"), "--format", "json"])
    assert ended.code == 0, ended
    assert json.loads(ended.stdout)["registered"] >= 6
    data = f"colmap:{tmp_path / 'p'}"
    checked = faults.in_process(["data", "verify", data])
    assert checked.code == 0, checked
    few = {"anchors.count": 3, "anchors.key_dim": 8, "batch_size": 2, "epochs": 1, "out": str(tmp_path / "run")}
    words = small_data.words({**small_data.settings("posenet+anchors"), **few, "selection": "last"})
    trained = faults.in_process(["train", "posenet+anchors", "--data", data, *words, "--format", "json"])
    assert trained.code == 0, trained
    assert json.loads(trained.stdout)["unit"] == "scene units"
    photo = next((tmp_path / "p/images/walk").iterdir())
    assert faults.in_process(["predict", str(tmp_path / "run"), str(photo)]).code == 0


def test_the_options_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def map_place(sources: list[Path], out: Path, **more: Any) -> None:
        asked.append({key: value for key, value in more.items() if key != "progress"})
        raise DataError("seen")

    monkeypatch.setattr("posezoo.place.build.map_place", map_place)
    more = ["--conditions", "sun, rain", "--frames", "9", "--scale-from", "gps", "--gravity-from", "g.csv"]
    faults.assert_fails(["map", "a.mp4", "b.mp4", "--out", "p", *more], 3, "seen")
    assert asked == [{"conditions": ["sun", "rain"], "limit": 9, "scale_from": "gps", "gravity_from": "g.csv"}]


def test_refusals(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "p")]
    faults.assert_fails(["map", str(tmp_path / "none.mp4"), *out], 3, naming("none.mp4"))
    (tmp_path / "a.mp4").write_bytes(b"no video")
    faults.assert_fails(["map", str(tmp_path / "a.mp4"), *out], 3, naming("a.mp4"))


def test_a_signal_ends_each_stage_in_one_line_and_the_command_continues(tmp_path: Path) -> None:
    """pycolmap takes SIGTERM for itself, and aborts if the process ends while it computes."""
    demo_video.video(tmp_path / "walk.mp4", 12)
    command = ["map", str(tmp_path / "walk.mp4"), "--out", str(tmp_path / "p")]
    stages = (("images/walk", signal.SIGTERM), ("work/database.db", signal.SIGINT), ("work/models", signal.SIGTERM))
    for stage, number in stages:
        with subprocess.Popen([sys.executable, "-m", "posezoo", *command], stderr=subprocess.PIPE) as process:
            while not (tmp_path / "p" / stage).exists() and process.poll() is None:
                time.sleep(0.01)
            begun = time.monotonic()
            process.send_signal(number)
            lines = process.communicate(timeout=60)[1].decode().splitlines()
        assert (process.returncode, len(lines)) == (130 if number == signal.SIGINT else 143, 1), (stage, lines)
        assert number.name in lines[0] and time.monotonic() - begun < 30
        assert not (tmp_path / "p/place.json").exists()
    assert faults.in_process(command).code == 0
    assert json.loads((tmp_path / "p/place.json").read_text())["report"]["registered"] >= 10
