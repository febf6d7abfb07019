"""Any bytes in any pose file: frames or findings, no other exception, in time that grows with their number only.

Each case puts bytes where a reader looks for poses, beside an image, and opens the data set as a command does.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from posezoo.base.errors import DataError, Finding
from posezoo.data.open import Dataset, inspect_dataset

UNIT = b"0.5 0.5 0.5 0.5"
POSE_CSV = b"0.1,0.2,0.3,0.5,0.5,0.5,0.5"
INS = b"timestamp,ins_status,northing,easting,down,roll,pitch,yaw\n"
VO = b"source_timestamp,destination_timestamp,x,y,z,roll,pitch,yaw\n"
DAY = "2014-06-26-08-53-56"
CAMERA_BIN = struct.pack("<Q", 1) + struct.pack("<iiQQ4d", 1, 1, 40, 30, 20, 20, 20, 15)
IMAGE_BIN = struct.pack("<Qi7di", 1, 1, 1, 0, 0, 0, 0, 0, 0, 1) + b"a.png\0" + struct.pack("<Q", 0)
NERF = {"frames": [{"file_path": "a.png", "transform_matrix": np.eye(4).tolist()}], "w": 40, "h": 30, "fl_x": 20.0}
MATRIX = b"1 0 0 0.5\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"


@dataclass(frozen=True)
class Case:
    """A reader, the file that is damaged with its good content, what else must be there, and an image."""

    name: str
    file: str
    good: bytes
    image: str = "a.png"
    others: tuple[tuple[str, bytes], ...] = ()


def _robotcar(file: str, good: bytes, name: str = "robotcar:{}") -> Case:
    others = {
        f"{DAY}/stereo.timestamps": b"1000000 1\n1500000 1\n",
        f"{DAY}/gps/ins.csv": INS + b"900000,INS_SOLUTION_GOOD,1,2,3,0,0,0\n1600000,INS_SOLUTION_GOOD,1,2,3,0,0,1\n",
        f"{DAY}/vo/vo.csv": VO + b"1000000,1500000,1,0,0,0,0,0.1\n",
    }
    others.pop(file)
    return Case(name, file, good, f"{DAY}/stereo/centre/1000000.png", tuple(others.items()))


CAMBRIDGE = b"Visual Landmark\nImageFile\n\ns/a.png 1 2 3 " + UNIT + b"\n"
CASES = {
    "7scenes pose": Case(
        "7scenes:{}", "seq-01/frame-000000.pose.txt", MATRIX, "seq-01/frame-000000.color.png",
        (("TrainSplit.txt", b"sequence1\n"), ("TestSplit.txt", b"")),
    ),
    "7scenes split": Case(
        "7scenes:{}", "TrainSplit.txt", b"sequence1\n", "seq-01/frame-000000.color.png",
        (("seq-01/frame-000000.pose.txt", MATRIX), ("TestSplit.txt", b"# none\n")),
    ),
    "cambridge": Case("cambridge:{}", "dataset_train.txt", CAMBRIDGE, "s/a.png", (("dataset_test.txt", CAMBRIDGE),)),
    "nvm": Case(
        "cambridge:{}", "reconstruction.nvm", b"NVM_V3\n\n1\ns/a.jpg 800 1 0 0 0 0 0 0 0 0\n\n0\n", "s/a.png",
        (("dataset_train.txt", CAMBRIDGE), ("dataset_test.txt", b"a\nb\n\n")),
    ),
    "ecl": Case(
        "ecl:{}?flavours=winter&scenes=Shop", "ecl/x_Shop_test_winter.csv",
        b",scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4\n0,Shop,test,s,Shop/s/a_winter.png," + POSE_CSV + b"\n",
        "ecl/winter/Shop/s/a_winter.png",
    ),
    "ins": _robotcar(f"{DAY}/gps/ins.csv", INS + b"900000,INS_SOLUTION_GOOD,1,2,3,0,0,0\n"),
    "vo": _robotcar(f"{DAY}/vo/vo.csv", VO + b"1000000,1500000,1,0,0,0,0,0.1\n", "robotcar:{}?poses=vo"),
    "stamps": _robotcar(f"{DAY}/stereo.timestamps", b"1000000 1\n1500000 1\n"),
    "tum": Case("folder:{}", "groundtruth.txt", b"# t\n1.5 1 2 3 " + UNIT + b"\n2.5 1 2 3 " + UNIT + b"\n", "1.5.png"),
    "tum images": Case(
        "folder:{}", "rgb.txt", b"# t f\n1.5 a.png\n",
        others=(("groundtruth.txt", b"1 1 2 3 " + UNIT + b"\n2 1 2 3 " + UNIT + b"\n"),),
    ),
    "kitti": Case("folder:{}", "poses.txt", b"1 0 0 1 0 1 0 2 0 0 1 3\n"),
    "folder": Case(
        "folder:{}", "poses.csv", b"image,x,y,z,qw,qx,qy,qz,timestamp,fx,fy,cx,cy\na.png," + POSE_CSV + b",5,9,9,4,3\n"
    ),
    "labels": Case(
        "csv:{}/labels.csv?convention=world-to-camera", "labels.csv",
        b"scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4\ns,train,1,a.png," + POSE_CSV + b"\n",
    ),
    "colmap text": Case(
        "colmap:{}", "images.txt", b"# c\n1 " + UNIT + b" 1 2 3 1 a.png\n\n",
        others=(("cameras.txt", b"1 PINHOLE 40 30 20 20 20 15\n"),),
    ),
    "colmap cameras": Case(
        "colmap:{}", "cameras.txt", b"# c\n1 PINHOLE 40 30 20 20 20 15\n",
        others=(("images.txt", b"1 " + UNIT + b" 1 2 3 1 a.png\n\n"),),
    ),
    "colmap binary": Case("colmap:{}", "images.bin", IMAGE_BIN, others=(("cameras.bin", CAMERA_BIN),)),
    "colmap binary cameras": Case("colmap:{}", "cameras.bin", CAMERA_BIN, others=(("images.bin", IMAGE_BIN),)),
    "nerf": Case("nerf:{}", "transforms.json", json.dumps(NERF).encode()),
}  # fmt: skip
TOKENS = ["nan", "inf", "-inf", "1e400", "-1.#IND", "1_0", "٣", "1,5", "#", '"', '"a b"', "", "0", "1e-400", "5e299"]
TOKENS += ["﻿", "\r", "\n", "\r\n", "\0", "\t", ",", " ", "0.5", "1", "-1", "a.png", "../a.png", "18446744073709551616"]
TOKENS += ["{", "}", "[", "]", ":", "\x1c", "\u2028", "é", "9" * 400, "INS_SOLUTION_GOOD", "sequence1", "null", "true"]


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Good bytes cut, changed, filled with tokens or doubled; or any bytes, or tokens alone."""
    soup = st.lists(st.sampled_from(TOKENS), max_size=30)
    data = bytearray(draw(st.one_of(st.just(good), st.just(good), st.binary(max_size=200))))
    for _ in range(draw(st.integers(0, 4))):
        at, length = draw(st.integers(0, len(data))), draw(st.integers(0, 12))
        new = draw(st.one_of(st.binary(max_size=8), soup.map(lambda words: " ".join(words).encode())))
        match draw(st.sampled_from(["replace", "insert", "cut", "double", "zero", "head"])):
            case "replace":
                data[at : at + length] = new
            case "insert":
                data[at:at] = new
            case "cut":
                del data[at:]
            case "double":
                data += data[at:]
            case "zero":
                data[at : at + length] = bytes(length)
            case "head":
                data[:0] = draw(st.sampled_from([b"\xef\xbb\xbf", b"\xff\xfe", b"\n", b"#"]))
    return bytes(data)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a case, with everything but the file that is damaged."""
    made: dict[str, Path] = {}

    def tree(which: str) -> Path:
        if which not in made:
            case, root = CASES[which], tmp_path_factory.mktemp("fuzz")
            (root / case.image).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30)).save(root / case.image)
            for path, content in case.others:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(content)
            (root / case.file).parent.mkdir(parents=True, exist_ok=True)
            made[which] = root
        return made[which]

    return tree


def open_dataset(root: Path, case: Case, content: bytes) -> tuple[Dataset | None, tuple[Finding, ...]]:
    """What `inspect_dataset` says; DataError is its only exception."""
    (root / case.file).write_bytes(content)
    try:
        dataset, findings = inspect_dataset(case.name.format(root))
    except DataError as error:
        return None, error.findings
    return dataset, tuple(findings)


def check(root: Path, case: Case, content: bytes) -> None:
    """Good frames or findings that name a file; every number that came through is finite."""
    dataset, findings = open_dataset(root, case, content)
    for finding in findings:
        assert finding.path and finding.message and finding.line >= 0
        assert str(finding).isprintable(), finding
    if dataset is not None:
        frames = dataset.frames
        assert np.isfinite(frames.position).all()
        np.testing.assert_allclose(np.linalg.norm(frames.quaternion, axis=1), 1, atol=1e-12)
        assert (np.isfinite(frames.intrinsics).all(1) | np.isnan(frames.intrinsics).all(1)).all()


@pytest.mark.parametrize("which", CASES)
def test_the_good_file_is_read(trees: Callable[[str], Path], which: str) -> None:
    dataset, findings = open_dataset(trees(which), CASES[which], CASES[which].good)
    assert dataset is not None
    assert not [
        finding for finding in findings if "no such" not in finding.message and "dataset_test" not in finding.path
    ]
    assert len(dataset.frames) or which in ("ins", "vo", "stamps"), findings


@pytest.mark.parametrize("which", CASES)
@settings(max_examples=200, derandomize=True, deadline=None)
@given(data=st.data())
def test_any_bytes(trees: Callable[[str], Path], which: str, data: st.DataObject) -> None:
    check(trees(which), CASES[which], data.draw(damaged(CASES[which].good)))


@pytest.mark.slow
@pytest.mark.parametrize("which", CASES)
@settings(max_examples=5000, derandomize=True, deadline=None)
@given(data=st.data())
def test_many_bytes(trees: Callable[[str], Path], which: str, data: st.DataObject) -> None:
    check(trees(which), CASES[which], data.draw(damaged(CASES[which].good)))


NO_POSE_A_LINE = ("nvm", "7scenes split", "stamps", "tum images")
LINE_FILES = [w for w, case in CASES.items() if not case.file.endswith((".bin", ".json")) and w not in NO_POSE_A_LINE]


@pytest.mark.parametrize("which", LINE_FILES)
@pytest.mark.parametrize("token", ["nan", "1e400", "1_0", "٣"])
def test_the_line_is_told(trees: Callable[[str], Path], which: str, token: str) -> None:
    """A number that is none in the last line of numbers: a finding with the file and that line."""
    case = CASES[which]
    lines = case.good.decode().rstrip("\n").split("\n")
    last = max(n for n, line in enumerate(lines) if line.strip())
    separator = "," if "," in lines[last] else " "
    words = lines[last].split(separator)
    words[-3 if which == "colmap text" else -1] = token
    lines[last] = separator.join(words)
    _, findings = open_dataset(trees(which), case, ("\n".join(lines) + "\n\n").encode())
    assert any(f.path.endswith(Path(case.file).name) and f.line == last + 1 for f in findings), findings


@pytest.mark.parametrize("which", CASES)
def test_a_line_of_ten_megabytes(trees: Callable[[str], Path], which: str) -> None:
    for filler in (b"1 " * 5_000_000, b"9" * 10_000_000):
        check(trees(which), CASES[which], CASES[which].good + filler + b"\n")
