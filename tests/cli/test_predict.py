"""posezoo predict: sources, forms, and lines as they come."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import faults
import pytest
from naming import naming
from own_folder import picture

from posezoo.zoo.build import create_model
from posezoo.zoo.saved import save


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    small = {"backbone": "test_efficientnet.r160_in1k", "pretrained_backbone": False}
    folder = tmp_path_factory.mktemp("model") / "m"
    save(create_model("posenet", **small, hidden=8, resize=64, crop=64), folder, "a card")
    return str(folder)


def test_a_folder_to_a_file_and_a_line_a_picture(model: str, tmp_path: Path) -> None:
    for n in (1305031102.5, 1305031103.25, 1305031110.0):
        picture(tmp_path / f"p/{n:.6f}.png")
    out = tmp_path / "poses.txt"
    assert faults.in_process(["predict", model, str(tmp_path / "p"), "--to", "tum", "--out", str(out)]).code == 0
    assert [line.split()[0] for line in out.read_text().splitlines()] == [
        "1305031102.500000", "1305031103.250000", "1305031110.000000",
    ]  # fmt: skip
    ended = faults.in_process(["predict", model, f"{tmp_path}/p/*.png", "--follow"])
    assert ended.code == 0
    rows = list(csv.DictReader(io.StringIO(ended.stdout)))
    assert len(rows) == 3 and {"image", "x", "qw"} <= rows[0].keys()


def test_what_cannot_be_read_is_named(model: str, tmp_path: Path) -> None:
    faults.assert_fails(["predict", model, str(tmp_path / "none.jpg")], 3, naming("none.jpg"))
    (tmp_path / "a.mp4").write_bytes(b"no video")
    faults.assert_fails(["predict", model, str(tmp_path / "a.mp4")], 3, naming("a.mp4"))
