"""posezoo predict: sources, forms, and lines as they come."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from pathlib import Path

import demo_video
import faults
import numpy as np
import pytest
from naming import naming
from own_folder import picture
from PIL import Image
from small_models import with_estimate

from posezoo.zoo.build import create_model
from posezoo.zoo.export import export
from posezoo.zoo.load import load
from posezoo.zoo.saved import save

FORMS = ("table", "json", "nerf", "tum", "csv")


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


def test_radii_in_every_form_and_unfamiliar_images(tmp_path: Path) -> None:
    small = {"backbone": "test_efficientnet.r160_in1k", "pretrained_backbone": False}
    model = with_estimate(create_model("posenet", **small, hidden=8, resize=64, crop=64))
    save(model, tmp_path / "m", "a card")
    picture(tmp_path / "a.png", seed=1)
    words = ["predict", str(tmp_path / "m"), str(tmp_path / "a.png")]
    for more in (["--follow"], ["--to", "csv"]):
        (row,) = csv.DictReader(io.StringIO(faults.in_process([*words, *more]).stdout))
        assert (row["radius_m"], row["radius_deg"]) == ("1.5", "20")
        assert 0 <= float(row["familiarity"]) <= 1
    (pose,) = json.loads(faults.in_process([*words, "--format", "json"]).stdout)
    assert (pose["radius_m"], pose["radius_deg"]) == (1.5, 20.0)
    assert "1.50, 20.0" in faults.in_process(words).stdout
    assert "unfamiliar" not in faults.in_process(words).stderr
    model.estimate.edges[:] = 2.0  # nothing is as familiar
    save(model, tmp_path / "m", "a card")
    ended = faults.in_process([*words, "--format", "json"])
    assert json.loads(ended.stdout)[0]["radius_m"] is None
    assert len([line for line in ended.stderr.splitlines() if "1 of 1 images are unfamiliar" in line]) == 1


def test_what_cannot_be_read_is_named(model: str, tmp_path: Path) -> None:
    faults.assert_fails(["predict", model, str(tmp_path / "none.jpg")], 3, naming("none.jpg"))
    (tmp_path / "a.mp4").write_bytes(b"no video")
    faults.assert_fails(["predict", model, str(tmp_path / "a.mp4")], 3, naming("a.mp4"))


def test_a_page_of_where_the_camera_is(model: str, tmp_path: Path) -> None:
    picture(tmp_path / "p/a.png")
    out = tmp_path / "where.html"
    assert faults.in_process(["predict", model, str(tmp_path / "p"), "--to", "html", "--out", str(out)]).code == 0
    assert "1 pose" in out.read_text()
    faults.assert_fails(["predict", model, str(tmp_path / "p"), "--to", "html"], 2, naming("--out"))


def test_the_mean_over_rolled_copies(model: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.png", seed=1)
    words = ["predict", model, str(tmp_path / "a.png"), "--format", "json"]
    (plain,), (mean,) = (json.loads(faults.in_process([*words, *more]).stdout) for more in ([], ["--tta"]))
    assert plain["position"] != mean["position"]
    expected = load(f"local-dir:{model}").predict(tmp_path / "a.png", tta=True)
    assert mean["position"] == pytest.approx(expected.position[0].tolist(), abs=1e-6)


def test_turned_copies_of_pictures_of_several_shapes(model: str, tmp_path: Path) -> None:
    """Where training turned cameras: each picture whatever shape it has, alone or in a batch."""
    net = load(f"local-dir:{model}")
    net.config = dataclasses.replace(net.config, focal=1.2, turns_deg=(10.0, 6.0, 8.0))
    files = [tmp_path / f"{n}.png" for n in range(3)]
    for n, (file, size) in enumerate(zip(files, [(90, 64), (64, 90), (90, 64)], strict=True)):
        picture(file, *size, seed=n)
    together = net.predict(files, tta=True)
    for n, file in enumerate(files):
        np.testing.assert_allclose(net.predict(file, tta=True).position[0], together.position[n], atol=1e-6)
    rolled = load(f"local-dir:{model}").predict(files, tta=True)
    assert (abs(rolled.position - together.position) > 1e-6).any()


def test_an_exported_file_has_no_rolled_copies(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", seed=1)
    small = {"backbone": "test_efficientnet.r160_in1k", "pretrained_backbone": False}
    export(create_model("posenet", **small, hidden=8, resize=64, crop=64), "pt2", tmp_path / "m.pt2")
    ended = faults.in_process(["predict", str(tmp_path / "m.pt2"), str(tmp_path / "a.png"), "--tta", "--trust"])
    assert (ended.code, len(ended.stderr.splitlines())) == (2, 1)


@pytest.mark.parametrize("to", ["csv", "tum", "json", "nerf"])
def test_a_command_that_fails_leaves_the_file(model: str, tmp_path: Path, to: str) -> None:
    kept, new = tmp_path / "keep.txt", tmp_path / "new.txt"
    kept.write_text("mine")
    for out in (kept, new):
        words = ["predict", model, str(tmp_path / "none.jpg"), "--to", to, "--out", str(out)]
        faults.assert_fails(words, 3, naming("none.jpg"))
    assert kept.read_text() == "mine" and not new.exists()


def test_what_came_before_a_picture_that_cannot_be_read_is_kept(model: str, tmp_path: Path) -> None:
    picture(tmp_path / "p/0.png")
    picture(tmp_path / "p/1.png")
    (tmp_path / "p/2.png").write_text("no picture")
    out = tmp_path / "poses.csv"
    faults.assert_fails(["predict", model, str(tmp_path / "p"), "--out", str(out)], 3, naming("2.png"))
    assert [Path(row["image"]).name for row in csv.DictReader(io.StringIO(out.read_text()))] == ["0.png", "1.png"]


def test_a_picture_that_cannot_be_read_loses_no_form_its_answers(model: str, tmp_path: Path) -> None:
    for n in range(3):
        picture(tmp_path / f"p/{n}.png")
    (tmp_path / "p/3.png").write_text("no picture")
    words = ["predict", model, str(tmp_path / "p")]
    told = {to: faults.assert_fails([*words, "--to", to], 3, naming("3.png")).stdout for to in FORMS}
    assert all(name in told["table"] for name in ("0.png", "1.png", "2.png"))
    assert len(json.loads(told["json"])) == len(json.loads(told["nerf"])["frames"]) == 3
    assert len(told["tum"].splitlines()) == len(told["csv"].splitlines()) - 1 == 3
    page = tmp_path / "where.html"
    faults.assert_fails([*words, "--to", "html", "--out", str(page)], 3, naming("3.png"))
    assert "3 poses" in page.read_text() and 'http-equiv="refresh"' not in page.read_text()


def test_json_a_line_a_picture_and_forms_by_the_file(model: str, tmp_path: Path) -> None:
    picture(tmp_path / "p/0.png")
    picture(tmp_path / "p/1.png")
    words = ["predict", model, str(tmp_path / "p")]
    whole = json.loads(faults.in_process([*words, "--to", "json"]).stdout)
    for more in (["--to", "json"], ["--format", "json"]):
        lines = faults.in_process([*words, "--follow", *more]).stdout.splitlines()
        assert [json.loads(line)["image"] for line in lines] == [pose["image"] for pose in whole]
    assert faults.in_process([*words, "--out", str(tmp_path / "a.json")]).code == 0
    assert json.loads((tmp_path / "a.json").read_text()) == whole
    assert faults.in_process([*words, "--out", str(tmp_path / "a.tum")]).code == 0
    assert all(len(line.split()) == 8 for line in (tmp_path / "a.tum").read_text().splitlines())
    faults.assert_fails([*words, "--to", "tum", "--format", "json"], 2, naming("--to", "--format"))
    assert faults.in_process([*words, "--follow", "--out", str(tmp_path / "b.json")]).code == 0
    found = [json.loads(line) for line in (tmp_path / "b.json").read_text().splitlines()]
    for one, same in zip(found, whole, strict=True):  # one picture at a time: products are summed in another order
        assert one == same | {key: pytest.approx(same[key], abs=1e-6) for key in ("position", "quaternion")}


@pytest.mark.parametrize(
    ("out", "more"),
    [
        ("a.tum", "--to=kitti"),
        ("a.csv", "--format=json"),
        ("a.jsonl", "--to=nerf"),
        ("a.PNG", "--to=csv"),
        ("a.mp4", ""),
    ],
)
def test_a_file_is_not_called_what_it_is_not(model: str, tmp_path: Path, out: str, more: str) -> None:
    picture(tmp_path / "p/0.png")
    words = ["predict", model, str(tmp_path / "p"), "--out", str(tmp_path / out), *([more] if more else [])]
    faults.assert_fails(words, 2, naming(out))
    assert not (tmp_path / out).exists()


@pytest.mark.timeout(60)
def test_pipes_and_empty_names_are_no_pictures(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "p/0.png")
    os.mkfifo(tmp_path / "p/1.png")
    faults.assert_fails(["predict", model, str(tmp_path / "p")], 3, naming("1.png"))
    monkeypatch.chdir(tmp_path)  # full of pictures that nobody has named
    faults.assert_fails(["predict", model, ""], 2, "an empty name")


def test_a_recording_takes_no_other_file(model: str, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="the extra viewer")
    picture(tmp_path / "mine.png")
    before = (tmp_path / "mine.png").read_bytes()
    faults.assert_fails(["predict", model, "--viewer", str(tmp_path / "mine.png"), str(tmp_path)], 2, naming(".rrd"))
    assert (tmp_path / "mine.png").read_bytes() == before


def test_options_of_videos_and_photographs(model: str, tmp_path: Path) -> None:
    """As predict in Python has them."""
    pytest.importorskip("av", reason="the extra map")
    demo_video.video(tmp_path / "a.mp4", 5)
    words = ["predict", model, "--to", "csv"]
    told = faults.in_process([*words, str(tmp_path / "a.mp4"), "--every", "2"]).stdout
    assert [row["image"][-6:] for row in csv.DictReader(io.StringIO(told))] == ["000000", "000002", "000004"]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.effect_noise((64, 48), 60).convert("RGB").save(tmp_path / "a.jpg", exif=exif, quality=100)
    plain, off, on = (
        faults.in_process([*words, str(tmp_path / "a.jpg"), *more]).stdout for more in ([], ["--no-exif"], ["--exif"])
    )
    assert plain == off != on
