"""Reading exported files: damaged, foreign and hostile ones end in one line; nothing of them runs."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from naming import naming

import posezoo
from posezoo.base.errors import UsageError, WeightsError
from posezoo.zoo import exported


def refused(path: Path, message: str, **more: Any) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        posezoo.load(path, **more)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_damaged_files(files: dict[str, Path], kind: str, tmp_path: Path) -> None:
    content = files[kind].read_bytes()
    path = tmp_path / f"b.{kind}"
    refused(path, re.escape(str(path)))
    for damaged in (b"", b"\0" * 100, b"not a model", content[:1000], content[: len(content) // 2], content[:-40]):
        path.write_bytes(damaged)
        refused(path, "damaged|not written by posezoo", trust=True)
    path.unlink()
    path.mkdir()
    refused(path, re.escape(str(path)))


def test_a_damaged_middle_of_a_pt2(files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "b.pt2"
    with zipfile.ZipFile(files["pt2"]) as old, zipfile.ZipFile(path, "w") as new:
        for item in old.infolist():
            data = old.read(item)
            new.writestr(item.filename, b"{}" if item.filename.endswith("models/model.json") else data)
    refused(path, "damaged", trust=True)


def test_a_description_that_does_not_unpack(files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "b.pt2"
    with zipfile.ZipFile(files["pt2"]) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            new.writestr(item.filename, old.read(item))
    with zipfile.ZipFile(path) as archive:
        (inside,) = (item for item in archive.infolist() if "/extra/" in item.filename)
        start = inside.header_offset + 30 + len(inside.filename)
    content = bytearray(path.read_bytes())
    content[start : start + 20] = b"\xff" * 20
    path.write_bytes(content)
    refused(path, "damaged")


def test_foreign_files(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Identity", ["images"], ["position"])
    shapes = [value("images", 1, ["b", 3])], [value("position", 1, ["b", 3])]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", *shapes), ir_version=8), tmp_path / "f.onnx")
    refused(tmp_path / "f.onnx", "was not written by posezoo")
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "f.pt2")
    refused(tmp_path / "f.pt2", "was not written by posezoo", trust=True)


DESCRIPTIONS = {
    "no json": "{",
    "no table": "[]",
    "no config": '{"format": 1, "conventions": 1, "name": "x"}',
    "newer": '{"format": 2, "conventions": 1, "name": "x", "config": {}, "posezoo": "9"}',
    "no mean": '{"format": 1, "conventions": 1, "name": "x", "config": {}}',
    "unknown key": '{"format": 1, "conventions": 1, "name": "x", "config": {"speed": 3}}',
    "crop": '{"format": 1, "conventions": 1, "name": "x", "config": {"crop": 9, "mean": [0,0,0], "std": [1,1,1]}}',
}


@pytest.mark.parametrize("what", DESCRIPTIONS)
def test_damaged_descriptions(files: dict[str, Path], tmp_path: Path, what: str) -> None:
    model = onnx.load(files["onnx"])
    (entry,) = (entry for entry in model.metadata_props if entry.key == "posezoo")
    entry.value = DESCRIPTIONS[what]
    onnx.save(model, tmp_path / "b.onnx")
    refused(tmp_path / "b.onnx", "newer posezoo" if what == "newer" else "its description is damaged")


class Evil:
    """Unpickling it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


def test_a_pt2_from_outside_runs_nothing_unless_trusted(files: dict[str, Path], tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "evil.pt2"
    buffer = io.BytesIO()
    torch.save((Evil(marker),), buffer)
    with zipfile.ZipFile(files["pt2"]) as old, zipfile.ZipFile(path, "w") as new:
        for item in old.infolist():
            evil = item.filename.endswith("sample_inputs/model.pt")
            new.writestr(item.filename, buffer.getvalue() if evil else old.read(item))
    assert not marker.exists()
    with pytest.raises(UsageError, match=naming("--trust")):
        posezoo.load(path)
    assert not marker.exists()
    with pytest.raises(UsageError, match=naming("--trust")):
        posezoo.load(files["pt2"])


def test_an_onnx_file_cannot_name_other_files(files: dict[str, Path], tmp_path: Path) -> None:
    """Weights kept in files beside it would let it read any file."""
    model = onnx.load(files["onnx"])
    onnx.save(model, tmp_path / "b.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    assert (tmp_path / "weights").exists()
    refused(tmp_path / "b.onnx", "damaged|refers to other files")


def test_without_onnxruntime_one_line_says_what_to_install(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=naming("onnxruntime", "pip install 'posezoo[export]'")):
        posezoo.load(files["onnx"])


def test_a_file_needs_no_plugin(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, fresh_plugins: None) -> None:
    monkeypatch.setenv("POSEZOO_PLUGINS", "")
    assert json.loads(exported.description("x", posezoo.load(files["onnx"]).config))["config"]["crop"] == 64


def test_one_changed_bit_in_the_numbers_of_an_onnx_file(files: dict[str, Path], tmp_path: Path) -> None:
    """onnxruntime reads it without a word."""
    content = bytearray(files["onnx"].read_bytes())
    content[len(content) // 2] ^= 1
    path = tmp_path / "b.onnx"
    path.write_bytes(content)
    refused(path, "sha256 differs|damaged")


def test_an_onnx_file_that_reads_other_files(files: dict[str, Path], tmp_path: Path) -> None:
    file = onnx.load(files["onnx"])
    path = tmp_path / "b.onnx"
    onnx.save(file, path, save_as_external_data=True, location="secret.bin", size_threshold=0)
    refused(path, "refers to other files")
