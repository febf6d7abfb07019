"""Data sets by name: checks, splits, digests, and the real 7Scenes frames.

Long because it mirrors the one table that every reader fills.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from naming import naming
from own_folder import MakeFolder, picture, pose_row, write_csv

from posezoo.base.errors import DataError, PluginError
from posezoo.base.spec import DepthMap, Frame, Lens, ReadResult
from posezoo.data.open import Dataset, inspect_dataset, open_dataset


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys; from posezoo.data.open import open_dataset; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_own_folder(make_folder: MakeFolder) -> None:
    folder = make_folder()
    dataset = open_dataset(f"folder:{folder}")
    frames = dataset.frames
    assert (len(frames), frames.scenes, dataset.kind) == (10, ("photos",), "indoor")
    assert frames.images.dtype.kind == "S"
    assert frames.path(3) == folder / "a/03.png"
    assert np.isnan(frames.intrinsics).all()
    assert [len(dataset.require(split)) for split in ("train", "test")] == [8, 2]
    assert frames.poses().images[9] == "a/09.png"
    assert pickle.loads(pickle.dumps(frames)).name(2) == "a/02.png"  # noqa: S301


def test_in_a_notebook(make_folder: MakeFolder) -> None:
    dataset = dataclasses.replace(open_dataset(f"folder:{make_folder()}"), name="<b>", notes=("a < b", "c"))
    shown = dataset._repr_html_()
    assert "<b>&lt;b&gt;</b>" in shown
    for name, value in {
        "kind": dataset.kind,
        "scenes": ", ".join(dataset.frames.scenes),
        "notes": "a &lt; b; c",
    }.items():
        assert f"<td>{name}</td><td>{value}</td>" in shown
    assert f"<td>train</td><td>{len(dataset.require('train'))}</td>" in shown


def test_empty_split_is_an_error_only_when_asked_for(make_folder: MakeFolder) -> None:
    dataset = open_dataset(f"folder:{make_folder([pose_row('a.png', split='train')])}")
    with pytest.raises(DataError, match=naming("test", "0")):
        dataset.require("test")


def test_wide_data_are_outdoor(make_folder: MakeFolder) -> None:
    assert open_dataset(f"folder:{make_folder([pose_row(f'{n}.png', 10 * n) for n in range(12)])}").kind == "outdoor"


def test_all_problems_come_at_once(make_folder: MakeFolder) -> None:
    rows = [pose_row("a.png", qw=0), pose_row("b.png"), pose_row("c.png", x="nan"), pose_row("d.png")]
    folder = make_folder(rows)
    (folder / "d.png").unlink()
    with pytest.raises(DataError, match=naming("3", "poses.csv:4")) as e:
        open_dataset(f"folder:{folder}")
    assert len(e.value.findings) == 3
    assert e.value.exit_code == 3
    dataset, findings = inspect_dataset(f"folder:{folder}")
    assert (len(dataset.frames), len(findings)) == (1, 3)


@pytest.mark.parametrize("name", [b"caf\xe9.png", "日本 😀.png".encode(), b"new\nline.png"[:3] + b" x.png", b"a,b.png"])
def test_any_file_name(tmp_path: Path, name: bytes) -> None:
    text = os.fsdecode(name)
    write_csv(tmp_path / "photos/poses.csv", [pose_row(text)])
    picture(tmp_path / "photos/ok.png")
    (tmp_path / "photos/ok.png").rename(tmp_path / "photos" / text)
    dataset = open_dataset(f"folder:{tmp_path / 'photos'}")
    assert dataset.frames.name(0) == text
    assert dataset.frames.path(0).exists()
    assert len(dataset.digest) == 64


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (None, PluginError, "NoneType"),
        (ReadResult(["a.png"]), PluginError, r"\bstr\b"),  # type: ignore[list-item]
        (ReadResult([Frame("a/00.png", (0, 0), (1, 0, 0, 0))]), PluginError, r"\b3 \+ 4\b"),  # type: ignore
        (ZeroDivisionError("division by zero"), PluginError, "folder.*ZeroDivisionError"),
        (PermissionError(13, "Permission denied", "x.csv"), DataError, "x.csv: Permission denied"),
    ],
)
def test_reader_that_breaks_the_contract(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, answer: Any, error: type[Exception], words: str
) -> None:
    def read(_: object) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("posezoo_benchmarks.own_data.read_folder", read)
    with pytest.raises(error, match=words):
        open_dataset(f"folder:{make_folder()}")


ROW = Frame("a/00.png", (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), intrinsics=(50.0, 50.0, 8.0, 8.0))


@pytest.mark.parametrize(
    "slip",
    [
        {"split": None}, {"split": 1}, {"sequence": 7}, {"condition": None}, {"scene": None}, {"timestamp": "y"},
        {"timestamp": 1.5}, {"timestamp": 2**70}, {"timestamp": None}, {"image": Path("a/00.png")},
        {"image": b"a/00.png"}, {"source": None}, {"source": ("p",)}, {"intrinsics": (1.0, 2.0, 3.0)},
        {"camera_size": (1,)}, {"camera_size": ("a", "b")}, {"lens": "OPENCV"}, {"lens": Lens(3, ())},  # type: ignore
        {"depth": "a.png"}, {"depth": DepthMap(Path("a.png"))}, {"position": np.zeros(3)},  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_a_field_of_another_class_is_its_readers_fault(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, slip: dict[str, Any]
) -> None:
    good = [dataclasses.replace(ROW, image=f"a/0{n}.png") for n in range(4)]
    answer = ReadResult([*good, dataclasses.replace(ROW, **slip)])
    monkeypatch.setattr("posezoo_benchmarks.own_data.read_folder", lambda request: answer)
    with pytest.raises(PluginError, match=r'reader "folder" returned a \w+ whose (kind|path|' + next(iter(slip)) + ")"):
        open_dataset(f"folder:{make_folder()}")


@pytest.mark.parametrize(
    "slip", [{"frames": None}, {"findings": ["x"]}, {"notes": [1]}, {"left_out": None}, {"left_out": {"a": 1}},
             {"unit": None}, {"decode": "gbrg"}]
)  # fmt: skip
def test_an_answer_of_other_classes_is_its_readers_fault(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, slip: dict[str, Any]
) -> None:
    answer = dataclasses.replace(ReadResult([ROW]), **slip)
    monkeypatch.setattr("posezoo_benchmarks.own_data.read_folder", lambda request: answer)
    with pytest.raises(PluginError, match=f'reader "folder" .*{next(iter(slip))}'):
        open_dataset(f"folder:{make_folder()}")


def test_a_lens_of_a_list_is_one_and_its_numbers_are_finite(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    lens = Lens("OPENCV", [0.1, 0, 0, 0])  # type: ignore[arg-type]
    answer = ReadResult([dataclasses.replace(ROW, lens=lens)])
    monkeypatch.setattr("posezoo_benchmarks.own_data.read_folder", lambda request: answer)
    frames = open_dataset(f"folder:{make_folder()}", split="test").frames
    assert frames.lens_of(0) == Lens("OPENCV", (0.1, 0.0, 0.0, 0.0))
    answer.frames = [dataclasses.replace(ROW, lens=Lens("OPENCV", (np.nan, 0, 0, 0)))]
    with pytest.raises(DataError, match="not finite"):
        open_dataset(f"folder:{make_folder()}")


def test_digest_sees_poses_splits_and_names(make_folder: MakeFolder) -> None:
    def digest(*rows: dict[str, object]) -> str:
        return open_dataset(f"folder:{make_folder(rows)}").digest

    a, b = pose_row("a.png", split="train"), pose_row("b.png", split="test")
    first = digest(a, b)
    assert first == digest({**a, "qw": -1}, b)
    others = {digest({**a, "x": 0.001}, b), digest({**a, "split": "val"}, b), digest({**a, "image": "c.png"}, b)}
    assert len(others | {first}) == 4


# splits ------------------------------------------------------------------------------------------------------------


# real data ---------------------------------------------------------------------------------------------------------


def test_red_kitchen_blocks(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = real_data / "7scenes/redkitchen/blocks.csv"
    dataset = open_dataset("7scenes-redkitchen", root=real_data / "7scenes", split=split)
    assert [len(dataset.require(word)) for word in ("train", "test")] == [800, 200]
    assert dataset.kind == "indoor"
    assert dataset.frames.intrinsics[0].tolist() == [525, 525, 320, 240]
    assert dataset.frames.name(0) == "redkitchen/seq-01/frame-000000.color.jpg"
    monkeypatch.chdir(real_data / "7scenes/redkitchen")
    for root in (Path(), real_data / "7scenes/redkitchen", real_data):
        assert open_dataset("7scenes-redkitchen", root=root, split=split).digest == dataset.digest
    by_path = open_dataset(f"7scenes:{real_data / '7scenes'}", split=split)
    assert by_path.digest == dataset.digest
    step = np.linalg.norm(np.diff(dataset.frames.position, axis=0), axis=1)
    assert np.median(step) < 0.05  # metres between neighbours at 30 frames a second


def test_red_kitchen_without_its_other_sequences(real_data: Path) -> None:
    dataset, findings = inspect_dataset("7scenes-redkitchen", root=real_data / "7scenes")
    assert len(findings) == 11  # the split files name 12 of the 14 sequences
    assert str(findings[0]) == "redkitchen/TrainSplit.txt:2: sequence2: no folder redkitchen/seq-02"
    assert len(dataset.frames) == 1000
    assert any("train: 1000 frames here, 7000 in the complete data set" in note for note in dataset.notes)


def test_stairs_sample(real_data: Path) -> None:
    dataset: Dataset = open_dataset("7scenes-stairs", root=real_data / "7scenes-sample")
    frames = dataset.frames
    assert (len(frames.of_split("train")), len(frames.of_split("test"))) == (6, 6)
    assert set(frames.of_split("test").sequence) == {"seq-01", "seq-04"}
    assert frames.timestamp[:3].tolist() == [0, 33333, 66667]


# parts of a data set, on purpose -----------------------------------------------------------------------------------


def test_the_red_kitchens_first_sequence_in_blocks(real_data: Path) -> None:
    name = "7scenes-redkitchen?sequences=1"
    whole = open_dataset(name, root=real_data / "7scenes", split="blocks")
    by_file = open_dataset(
        "7scenes-redkitchen", root=real_data / "7scenes", split=real_data / "7scenes/redkitchen/blocks.csv"
    )
    assert whole.digest == by_file.digest
    with pytest.raises(DataError, match=naming("11")):
        open_dataset("7scenes-redkitchen", root=real_data / "7scenes")
