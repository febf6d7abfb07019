"""`posezoo data` and the data settings of training, from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import faults
import pytest
import small_data

from posezoo.cli import run


def words(data: str, *more: str) -> list[str]:
    given = small_data.words(small_data.settings("posenet", out="run", epochs=1))
    return ["train", "posenet", "--data", data, *given, *more]


def test_export_reads_back(one_place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "export", f"folder:{one_place}", "--to", "nerf", "--out", "n", "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer == {"files": ["n/transforms.json"], "images": str(one_place)}
    assert run(["data", "verify", f"nerf:n?root={one_place}"]) == 0
    assert "24 train, 8 test frames, all good" in capsys.readouterr().out
    again = ["data", "export", f"folder:{one_place}", "--to", "nerf", "--out", "n"]
    faults.assert_fails(again, 2, "n/transforms.json is there already: choose another --out", [Path("n")])
    faults.assert_fails([*again[:4], "obj", *again[5:]], 2, "'obj' is not one of 'csv', 'tum'")


def test_skip_bad_trains_on_the_rest(one_place: Path, no_pictures: None, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(one_place, "d")
    Path("d/yard/05.png").write_text("hello")
    assert run(words("folder:d", "--skip-bad", "--format", "json")) == 0
    told = capsys.readouterr()
    assert "note: bad data left out as asked: 1 problem (first: yard/05.png: not an image" in told.err
    assert any("bad data left out" in note for note in json.loads(told.out)["notes"])
    assert Path("run/skipped.txt").read_text().startswith("yard/05.png: not an image")
    assert run(["eval", "run", "--format", "quiet"]) == 0


def test_leaks_are_told_on_stderr_and_in_the_report(
    one_place: Path, no_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    faults.assert_fails(words(f"folder:{one_place}", "data.split=random"), 3, "random: no such file")
    assert run(words(f"folder:{one_place}", "data.split=blocks", "--format", "json")) == 0
    told = capsys.readouterr()
    line = "test frames are next to a training frame of their own sequence"
    assert line in told.err
    assert any(line in note for note in json.loads(told.out)["notes"])


def test_a_part_of_a_card_has_a_run_folder_of_its_own(no_pictures: None) -> None:
    given = [word for word in words("demo-loop?sequences=train-1,test-sunny") if not word.startswith("out=")]
    assert run([*given, "--format", "quiet"]) == 0
    (folder,) = Path("outputs/posenet").iterdir()
    assert folder.name.startswith("demo-loop-sequences")
    (made,) = folder.iterdir()
    report = json.loads((made / "report/report.json").read_text())
    assert (report["data"], report["num_images"]) == ("demo-loop?sequences=train-1,test-sunny", 60)
    assert run(["eval", str(made), "--format", "quiet"]) == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("robotcar-lop", "did you mean .robotcar-loop"),
        ("cambridge-shop-facade?scenes=Shop", "did you mean .ShopFacade"),
        ("demo-loop?sequence=1", "folder has no data option 'sequence': it has"),
        ("robotcar-loop?max-gap", "data option .max-gap. has no value"),
    ],
)
def test_wrong_names(name: str, words: str, tmp_path: Path) -> None:
    faults.assert_fails(["data", "verify", name, "--root", "."], 2, words)
