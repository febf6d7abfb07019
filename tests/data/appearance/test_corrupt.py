"""`posezoo data corrupt`: what it writes is a data set, evaluated by condition; killed, it goes on bit by bit."""

from __future__ import annotations

import json
from pathlib import Path

import faults
import numpy as np
import pytest
from naming import naming
from PIL import Image
from small_runs import Train

from posezoo.cli import run
from posezoo.data.appearance import corrupt
from posezoo.data.open import open_dataset

pytest.importorskip("kornia", reason="kornia is not installed: pip install 'posezoo[weather]'")


def words(data: Path | str, *more: str, out: str = "w") -> list[str]:
    return ["data", "corrupt", f"folder:{data}", "--out", out, *more]


def pictures(folder: Path) -> dict[str, str]:
    return {name: digest for name, digest in faults.digests(folder).items() if name.endswith(".png")}


def test_the_poses_stay_and_the_condition_says_what_it_is(one_place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words(one_place, "--kind", "original,fog,night", "--severity", "1,4..5", "--format", "json")) == 0
    counts = dict.fromkeys(("original", "fog-1", "fog-4", "fog-5", "night-1", "night-4", "night-5"), 8)
    assert json.loads(capsys.readouterr().out) == {"folder": "w", "pictures": counts}
    source = open_dataset(f"folder:{one_place}").frames.of_split("test")
    made = open_dataset("folder:w").frames
    assert set(made.condition) == set(counts)
    for condition in counts:
        part = made.select(made.condition == condition)
        for column in ("position", "quaternion", "intrinsics", "sequence", "split", "timestamp"):
            np.testing.assert_array_equal(getattr(part, column), getattr(source, column))
        assert part.name(0) == f"{condition}/yard/24_{condition}.png"
        with Image.open(part.path(0)) as image, Image.open(source.path(0)) as was:
            assert image.size == was.size
            assert (np.asarray(image) == np.asarray(was)).all() == (condition == "original")
    card = json.loads(Path("w/card.json").read_text())
    assert (card["appearance"], card["settings"], card["pictures"]) == ("synthetic appearance", {"seed": 0}, counts)
    assert str(one_place) not in Path("w/card.json").read_text() + Path("w/README.md").read_text()


def test_evaluation_reports_by_condition(
    one_place: Path, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(epochs=1)
    assert run(words(one_place, "--kind", "blur,occlusion", "--severity", "5", "--limit", "3")) == 0
    assert "w: 3 blur-5, 3 occlusion-5" in capsys.readouterr().out
    assert run(["eval", str(tmp_path / "run"), "--data", "folder:w", "--format", "json", "--out", "r"]) == 0
    rows = json.loads(capsys.readouterr().out)["results"]["condition"]
    of_model = [(row["group"], row["num"]) for row in rows if row["method"] == "posenet"]
    assert of_model == [("blur-5", 3), ("occlusion-5", 3)]


def test_wrong_input(one_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults.assert_fails(words(one_place, "--kind", "foggy"), 2, naming("foggy", "fog"))
    faults.assert_fails(words(one_place, "--severity", "6"), 2, naming("severity", "6"))
    faults.assert_fails(words(one_place, "--kind", ","), 2, "^posezoo: error: ")
    faults.assert_fails(words("nowhere"), 3, naming("nowhere"))
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    faults.assert_fails(words(one_place, out="full"), 2, naming("full", "--out"), [Path("full")])
    given = words(one_place, "--kind", "blur", "--limit", "1", "--format", "quiet")
    assert run(given) == 0
    faults.assert_fails([*given, "--seed", "1"], 2, naming("w", "seed", "0", "1"), [Path("w")])
    with corrupt.Tree(Path("w"), open_dataset(f"folder:{one_place}"), "test", _facts(), ()):
        faults.assert_fails(given, 9, naming("w"))
    Path("w/card.json").write_text("[]")
    faults.assert_fails(given, 2, naming("card.json"))
    monkeypatch.setattr(corrupt, "find_spec", lambda name: None)
    faults.assert_fails(given, 2, naming("kornia", "pip install 'posezoo[weather]'"))


def _facts() -> dict[str, object]:
    return {"maker": "posezoo data corrupt", "settings": {"seed": 0}}
