"""`posezoo data` and the data settings of training, from the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import faults
import pytest
import small_data
from naming import naming

from posezoo.cli import run


def words(data: str, *more: str) -> list[str]:
    given = small_data.words(small_data.settings("posenet", out="run", epochs=1))
    return ["train", "posenet", "--data", data, *given, *more]


def test_export_reads_back(one_place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "export", f"folder:{one_place}", "--to", "nerf", "--out", "n", "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer == {"files": ["n/transforms.json"], "images": str(one_place), "unit": "m"}
    assert run(["data", "verify", f"nerf:n?root={one_place}"]) == 0
    assert "24 train, 8 test frames, all good" in capsys.readouterr().out
    again = ["data", "export", f"folder:{one_place}", "--to", "nerf", "--out", "n"]
    faults.assert_fails(again, 2, naming("n/transforms.json", "--out"), [Path("n")])
    faults.assert_fails([*again[:4], "obj", *again[5:]], 2, naming("obj", "csv", "tum"))


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
    faults.assert_fails(words(f"folder:{one_place}", "data.split=random"), 2, naming("random", "sequences"))
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


def test_how_to(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["data", "how-to", "7scenes", "scenes=fire", "--root", "/data/7scenes"]) == 0
    told = capsys.readouterr().out
    for words in (
        "non-commercial",
        "microsoft.com",
        "fire.zip",
        "SCENE/seq-01/frame-000000.color.png",
        "/data/7scenes",
    ):
        assert words in told, words
    assert "chess.zip" not in told
    assert [line.split(".")[0].strip() for line in told.splitlines() if line[:3].strip(" .").isdigit()] == list(
        "123456"
    )
    assert run(["data", "how-to", "demo-loop", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"][0] == "Nothing: it comes with posezoo."
    assert run(["data", "how-to", "nerf:capture", "--format", "human"]) == 0
    assert "transforms.json" in capsys.readouterr().out
    assert run(["data", "how-to", "7scenes", "--format", "quiet"]) == 0
    assert capsys.readouterr().out == ""
    faults.assert_fails(["data", "how-to", "7scene"], 2, naming("7scenes"))
    faults.assert_fails(["data", "how-to", "7scenes", "scenes"], 2, naming("scenes"))


def test_stats(two_places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "stats", f"folder:{two_places}"]) == 0
    told = capsys.readouterr().out
    for words in ("96x72 = 64", "known for 64 of 64 frames", "nearest training frame (m)", "mean pose (deg)", "rain"):
        assert words in told, words
    assert run(["data", "stats", f"folder:{two_places}", "scenes=hall", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["splits"], {row["scene"] for row in found["scenes"]}) == ({"train": 24, "test": 8}, {"hall"})
    Path("empty").mkdir()
    faults.assert_fails(["data", "stats", "folder:empty"], 3, naming("poses.csv"))
    faults.assert_fails(["data", "stats", f"folder:{two_places}", "scenes=attic"], 3, naming("attic"))


def test_verify_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    root = small_data.seven_scenes(Path("7scenes"), {"stairs": {"train": {2: 500}}}, listed={"train": (2, 3)})
    line = (
        r"7scenes is not complete: 6 scenes missing, 5 sequences missing \(first: chess\): posezoo data how-to 7scenes"
    )
    ended = faults.assert_fails(["data", "verify", "7scenes", "--root", str(root), "--format", "json"], 3, line)
    found = json.loads(ended.stdout)
    assert found["frames"] == {"train": 500}
    places = [row["place"] for row in found["missing"]]
    assert places == [
        *("chess", "fire", "heads", "office", "pumpkin", "redkitchen"),
        *(f"stairs/seq-{n:02d}" for n in (3, 5, 6, 1, 4)),
    ]
    assert [row["path"] for row in found["findings"]] == places
    assert found["findings"][6]["message"] == (
        "the sequence is missing (500 train frames, listed in stairs/TrainSplit.txt:2)"
    )
    part = ["data", "verify", "7scenes", "scenes=stairs", "sequences=2", "--root", str(root), "--hash", "sums.txt"]
    assert run(part) == 0
    told = capsys.readouterr().out
    assert "note: a part by choice: 500 of 43000 frames" in told
    assert "note: sums.txt: sha256 of 500 images written" in told
    assert "7scenes?scenes=stairs&sequences=2: 500 train frames, all good" in told
    faults.assert_fails(["data", "verify", "7scenes", "scenes=stair"], 2, naming("stairs"))


def test_names_of_any_script_where_the_terminal_knows_ascii_only(one_place: Path) -> None:
    shutil.copytree(one_place, "d")
    table = Path("d/poses.csv").read_text().replace("yard/05.png", "yard/bücher 日本 😀.png")
    Path("d/yard/05.png").rename("d/yard/bücher 日本 😀.png")
    Path("d/poses.csv").write_text(table.replace("yard/07.png", "yard/café‮.png"), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "posezoo", "data", "verify", "folder:d"],
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 3, ended
    assert ended.stdout.decode("ascii").startswith("poses.csv:9: no such image: yard/caf")
    (line,) = ended.stderr.decode("ascii").splitlines()
    assert line.startswith("posezoo: error: 1 problem in folder:d (first: poses.csv:9: no such image")


def test_photographs_are_turned_alike_in_training_evaluation_and_prediction(
    no_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    upright, turned = small_data.turned_pair(Path("upright"), Path("turned"))
    assert run(words(f"folder:{turned}?exif=true", "augment.geometry=centre", "--format", "quiet")) == 0
    assert json.loads(Path("run/best/config.json").read_text())["config"]["decode"] == "exif 1"
    capsys.readouterr()
    for folder in (turned, upright):
        assert run(["predict", "run", str(folder / "yard/05.jpg"), "--to", "json"]) == 0
        told = capsys.readouterr()
        assert "EXIF" not in told.err
        (pose,) = json.loads(told.out)
        del pose["image"]
        first = pose if folder == turned else first
        assert pose == first, "the stored pixels of one are the turned ones of the other"
    reports = []
    for name in (f"folder:{turned}?exif=true", f"folder:{turned}"):
        assert run(["eval", "run", "--data", name, "--format", "json"]) == 0
        reports.append(json.loads(capsys.readouterr().out))
    assert not any("another way" in note for note in reports[0]["notes"])
    assert any("decoded differently than in training: as stored, not exif 1" in note for note in reports[1]["notes"])


def test_predict_tells_once_of_orientations_that_it_ignores(
    no_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    _, turned = small_data.turned_pair(Path("upright"), Path("turned"))
    assert run(words(f"folder:{turned}", "--format", "quiet")) == 0
    assert run(["predict", "run", *map(str, sorted(turned.glob("yard/0*.jpg"))), "--to", "tum"]) == 0
    told = capsys.readouterr()
    assert told.err.count("10 images have an EXIF orientation: ignored, as in training") == 1
    assert len(told.out.splitlines()) == 10


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
