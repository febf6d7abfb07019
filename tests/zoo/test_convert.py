"""Converting as a whole: the folder it writes, settings only the user knows, and everything that does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import authors
import faults
import pytest
import torch
from naming import naming
from small_conversions import PIXELS, State, refused

import posezoo
from posezoo.base.errors import UsageError, WeightsError
from posezoo.catalogue import entries, settings
from posezoo.nn.model import ModelConfig
from posezoo.zoo.blueprint import PLACE_FIELDS
from posezoo.zoo.convert import convert, mapped


def test_the_folder(tmp_path: Path, posenet: State) -> None:
    torch.save({"model_state_dict": {f"module.{k}": v for k, v in posenet.items()}}, tmp_path / "kings.pth")
    seen: list[tuple[str, int, int]] = []
    made = convert(
        tmp_path / "kings.pth",
        *("hyperpose", "cambridge-kings-college", tmp_path / "out"),
        progress=lambda *step: seen.append(step),
    )
    assert seen[0] == ("reading", 0, 3)
    assert seen[-1] == ("writing", 3, 3)
    model = posezoo.load(f"local-dir:{made.path}")
    expected, _ = mapped(posenet, "hyperpose", "cambridge-kings-college", {}, "")
    assert model.config == expected.config
    assert all(torch.equal(value, expected.state_dict()[key]) for key, value in model.state_dict().items())
    digest = faults.sha256(tmp_path / "kings.pth")
    facts = json.loads((made.path / "config.json").read_text())["training"]
    assert facts["converted"] == {
        **{"from": "hyperpose", "file": "kings.pth", "sha256": digest, "label_frame": "world-to-camera"}
    }
    assert (facts["data"], facts["redistributable"]) == ("cambridge-kings-college", False)
    text = (made.path / "README.md").read_text()
    for words in ("`kings.pth`", digest, "world-to-camera", "weights of the authors: no licence stated"):
        assert words in text
    assert "must not be redistributed" in text
    assert "license: other" in text
    assert not model.training


def test_other_labels(posenet: State, multi: State) -> None:
    refused(multi, "ms-transformer", "7scenes", r"\b4\b.*7scenes.*\b7\b")
    refused(posenet, "hyperpose", "cambridge", r"\b1\b.*cambridge.*\b4\b")
    with pytest.raises(UsageError, match=naming("cambrige", "cambridge")):
        mapped(posenet, "hyperpose", "cambrige", {}, "")


def test_what_the_file_cannot_tell_is_asked_for() -> None:
    torch.manual_seed(3)
    state = authors.atloc()
    with pytest.raises(UsageError, match=naming("mean", "std", "position_mean", "position_std", "robotcar-full")):
        mapped(state, "atloc", "robotcar-full", {}, "theirs.pth")
    with pytest.raises(UsageError, match=naming("std", "7scenes-fire")):
        mapped(state, "atloc", "7scenes-fire", {"mean": (0.5, 0.5, 0.5)}, "theirs.pth")
    with pytest.raises(UsageError, match=naming("croop")):
        mapped(state, "atloc", "7scenes-fire", {**PIXELS, "croop": 3}, "theirs.pth")


def test_names_and_folders_are_checked_before_the_file_is_read(tmp_path: Path) -> None:
    absent, out = tmp_path / "absent.pth", tmp_path / "out"
    with pytest.raises(UsageError, match=naming("hyperpos", "hyperpose")):
        convert(absent, "hyperpos", "7scenes", out)
    with pytest.raises(UsageError, match=naming("8scenes")):
        convert(absent, "hyperpose", "8scenes", out)
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match=naming(out)):
        convert(absent, "hyperpose", "7scenes", out)
    assert (out / "mine.txt").read_text() == "keep"
    with pytest.raises(WeightsError, match=naming(absent)):
        convert(absent, "hyperpose", "7scenes", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_whole_object_with_bound_methods(tmp_path: Path, posenet: State, legacy: bool) -> None:
    model, file = authors.whole(posenet), tmp_path / "whole.pth"
    torch.save(model, file, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match=naming("--i-trust-this")):
        convert(file, "hyperpose", "7scenes-fire", tmp_path / "refused")
    made = convert(file, "hyperpose", "7scenes-fire", tmp_path / "out", trust=True)
    expected, _ = mapped(posenet, "hyperpose", "7scenes-fire", {}, "")
    found = posezoo.load(f"local-dir:{made.path}").state_dict()
    assert all(torch.equal(value, found[key]) for key, value in expected.state_dict().items())


@pytest.mark.parametrize("damage", [lambda s: s.pop("fc1.bias"), lambda s: s.update({"x": torch.ones(1)})])
def test_nothing_is_written_in_part(tmp_path: Path, posenet: State, damage: Callable[[State], object]) -> None:
    state = dict(posenet)
    damage(state)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(WeightsError):
        convert(tmp_path / "x.pth", "hyperpose", "7scenes-fire", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]


def test_label_cards_agree_with_data_cards() -> None:
    known = entries.data_cards()
    for name, card in entries.label_cards().items():
        assert list(card.scenes) == sorted(card.scenes)
        assert set(card.asks) <= {*PLACE_FIELDS, "mean", "std"}
        assert not set(card.scenes) & set(card.also), name
        settings.validated(ModelConfig, card.settings)
        if name in known and known[name].scenes:
            assert set(card.scenes) == set(known[name].scenes), name
