"""The commands that train, evaluate, predict and export."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import faults
import numpy as np
import pytest
import small_data
import torch
from command_line import ok, strict_json
from naming import naming
from pose_files import PARSERS
from small_runs import Notes

from posezoo.api import train
from posezoo.zoo.saved import load


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, one_place: Path) -> Path:
    """A finished run."""
    out = tmp_path_factory.mktemp("runs") / "run"
    more = small_data.settings("posenet", out=str(out), epochs=1)
    return train("posenet", f"folder:{one_place}", observer=Notes(), **more).path


@pytest.fixture
def images(one_place: Path) -> list[str]:
    return [str(path) for path in sorted(one_place.rglob("*.png"))[:5]]


def test_json_of_runs(run: Path, images: list[str], tmp_path: Path) -> None:
    report = strict_json(ok("eval", str(run), "--out", str(tmp_path / "report"), "--format", "json"))
    assert Path(report["report"]) == tmp_path / "report"
    assert (tmp_path / "report" / "report.json").exists()
    poses = strict_json(ok("predict", str(run), *images, "--format", "json"))
    assert [pose["image"] for pose in poses] == images
    strict_json(ok("info", str(run), "--format", "json"))
    assert strict_json(ok("resume", str(run), "--format", "json"))["run"] == str(run)


@pytest.mark.parametrize(
    "twice", [["--out", "a", "out=b"], ["--from", "a", "start_from=a"], ["--skip-bad", "data.skip_bad=true"]]
)
def test_a_setting_given_as_option_and_word_is_refused(twice: list[str], one_place: Path) -> None:
    key = twice[-1].partition("=")[0]
    faults.assert_fails(["train", "posenet", "--data", f"folder:{one_place}", *twice], 2, key)
    assert not Path("a").exists()
    assert not Path("b").exists()


def test_train_in_json(one_place: Path, no_pictures: None) -> None:
    argv = small_data.words(small_data.settings("posenet", epochs=1, out="run"))
    ended = faults.in_process(["train", "posenet", "--data", f"folder:{one_place}", *argv, "--format", "json"])
    assert ended.code == 0
    assert strict_json(ended.stdout)["run"] == "run"


def test_chosen_on_test_frames_is_said(one_place: Path, no_pictures: None) -> None:
    argv = small_data.words(small_data.settings("posenet", epochs=1, out="run", selection="test"))
    ended = faults.in_process(["train", "posenet", "--data", f"folder:{one_place}", *argv])
    assert "test frames" in ended.stdout, ended


def test_predictions_in_every_form(run: Path, images: list[str], tmp_path: Path) -> None:
    truth = load(f"local-dir:{run}").predict(images)
    texts = {kind: ok("predict", str(run), *images, "--to", kind) for kind in ("csv", "tum", "json", "colmap")}
    np.testing.assert_allclose(np.linalg.norm(truth.quaternion, axis=1), 1, atol=1e-15)
    for kind, text in texts.items():
        names, position, quaternion = PARSERS[kind](text)
        np.testing.assert_allclose(position, truth.position, atol=1e-9, err_msg=kind)
        np.testing.assert_allclose(quaternion, truth.quaternion, atol=1e-12, err_msg=kind)
        assert names in (images, [str(n) for n in range(len(images))]), kind
        out = tmp_path / f"poses.{kind}"
        assert ok("predict", str(run), *images, "--to", kind, "--out", str(out)) == ""
        assert out.read_text() == text
    assert Path(images[0]).name in ok("predict", str(run), *images).replace("\n", "").replace(" ", "")


@pytest.mark.parametrize(
    ("argv", "pattern"),
    [
        (["train", "posnet", "--data", "demo-loop"], '"posenet"'),
        (["train", "atlock", "--data", "demo-loop"], '"atloc"'),
        (["train", "atloc+hypr", "--data", "demo-loop"], '"hyper"'),
        (["train", "atloc+hyper=tow", "--data", "demo-loop"], "two"),
        (["train", "atloc", "--data", "demo-lop"], '"demo-loop"'),
        (["train", "atloc", "--data", "foldr:x"], '"folder"'),
        (["train", "atloc", "--data", "demo-loop", "optim.lrr=1"], "optim.lr"),
        (["train", "atloc", "--data", "demo-loop", "epoch=1"], '"epochs"'),
        (["train", "atloc", "--data", "demo-loop", "epochs"], "key=value"),
        (["train", "atloc", "--data", "demo-loop", "epochs=-1"], "epochs=-1"),
        (
            ["train", "atloc", "--data", "demo-loop", "epochs=three"],
            "not a whole number from 1: posezoo settings MODEL",
        ),
        (["train", "atloc", "--data", "demo-loop", "zzz=1"], "unknown setting 'zzz': posezoo settings MODEL"),
        (["train", "atloc", "--data", "demo-loop", "dropout=7"], "dropout=7: not a number from 0 to 1"),
        (["train", "atloc", "--data", "demo-loop", "optim.betas=[2,3]"], "from 0, below 1"),
        (["train", "atloc", "--data", "demo-loop", "hyper.rank=2"], r"\+hyper"),
        (["train", "atloc+hyper", "--data", "demo-loop", "hyper.rnk=2"], '"hyper.rank"'),
        (["train", "atloc", "--data", "demo-loop", "seed=1", "seed=2"], "seed is given twice"),
        (["train", "atloc", "--data", "./my-photos"], "folder:./my-photos$"),
        (["train", "atloc", "--data", "poses/my.csv"], "csv:poses/my.csv$"),
        (["data", "verify", "../transforms.json"], "nerf:../transforms.json$"),
        (["list", "--sort", "speed"], "one of name, params"),
        (["list", "--data", "7scene-ches"], '"7scenes-chess"'),
        (["train", "atloc"], "--data"),
        (["train", "atloc", "--dat", "demo-loop"], r"--dat .*--data.*: posezoo train --help"),
        (["train", "atloc", "--data", "demo-loop", "--epochs", "3"], "epochs=3$"),
        (["train", "atloc", "--data", "demo-loop", "--batch-size=8"], "batch_size=8$"),
        (["train", "atloc", "--data", "demo-loop", "--epochs", "--format", "json"], "epochs=VALUE$"),
        (["train", "atloc", "--data", "demo-loop", "--epochs"], "epochs=VALUE$"),
        (["info", "atloc", "--dropout", "0.2"], "dropout=0.2$"),
        (["data", "list", "--epochs", "3"], "posezoo data list --help"),
        (["data", "stats", "demo-loop", "--skip-bad"], "posezoo data stats --help"),  # of another command: no setting
        (["bench", "grid", "study", "--data", "demo-loop", "--dry-run"], "posezoo bench grid --help"),
        (["train", "local-dir:x", "--data", "demo-loop"], "posezoo list"),
        (["info", "posnet"], '"posenet"'),
        (["info", "AtLoc+Hyper"], r"\"atloc\+hyper\""),
        (["info", "folder:photos"], "posezoo data stats"),
        (["info", "demo-lop"], '"demo-loop"'),
        (["info", "atloc.lsmt"], '"atloc.lstm"'),
        (["info", "ms-transformer+hyper.7scene"], r'"ms-transformer\+hyper.7scenes"'),
        (["train", "atloc.lstn", "--data", "demo-loop"], '"atloc.lstm"'),
        (["info", "atloc.lstm", "feature=100"], "multiple of 32"),
        (["info", "posenet", "backbone=torchvision:googlenot"], '"torchvision:googlenet"'),
        (["info", "posenet+hyper", "hyper.generator=lstm"], "not one of mlp, transformer"),
        (["info", "posenet", "backbone=resnet180"], '"resnet18'),
        (["info", "posenet", "backbone=resnet18.tv_in1"], '"resnet18.tv_in1k"'),
        (["data", "plot", "7scenes-ches"], '"7scenes-chess"'),
        (["data", "verify", "demo-plces"], '"demo-places"'),
        (["resume", "nothing-here"], "nothing-here"),
        (["lst"], "lst"),
        (["list", "--format", "xml"], "xml"),
        (["eval", "--nonsense"], "--nonsense"),
    ],
)
def test_wrong_names_come_with_near_ones(argv: list[str], pattern: str, tmp_path: Path) -> None:
    faults.assert_fails(argv, 2, pattern)
    assert list(tmp_path.iterdir()) == [], "nothing was written"


def test_export_and_predict(run: Path, images: list[str], tmp_path: Path) -> None:
    told = strict_json(ok("export", str(run), "--to", "pt2", "--out", "m.pt2", "--check", "--format", "json"))
    assert (told["file"], told["bytes"]) == ("m.pt2", Path("m.pt2").stat().st_size)
    assert told["largest difference of positions (m)"] < 1e-4
    expected = strict_json(ok("predict", str(run), *images, "--to", "json"))
    got = strict_json(ok("predict", "m.pt2", *images, "--to", "json", "--trust"))
    for one, other in zip(expected, got, strict=True):
        assert (one["image"], one["scene"]) == (other["image"], other["scene"])
        np.testing.assert_allclose(one["position"], other["position"], rtol=0, atol=1e-4)
        np.testing.assert_allclose(one["quaternion"], other["quaternion"], rtol=0, atol=1e-4)
    faults.assert_fails(["predict", "m.pt2", images[0]], 2, naming("--trust"))
    for name in ("bad.onnx", "bad.pt2"):
        Path(name).write_bytes(b"bad")
        faults.assert_fails(["predict", name, images[0], "--trust"], 4, naming(name))
    faults.assert_fails(["export", str(run), "--out", "m.onnx", "--to", "pt2"], 2, r"\.pt2")


@pytest.mark.parametrize("name", [b"caf\xe9.png", "new\nline é 😀.png".encode()])
@pytest.mark.parametrize("to", ["table", "csv", "json", "colmap"])
def test_any_file_name(run: Path, images: list[str], name: bytes, to: str) -> None:
    try:
        shutil.copy(images[0], name)
    except OSError:
        pytest.skip("this file system has no such names")
    ended = faults.own_process(["predict", str(run), os.fsdecode(name), "--to", to])
    if to == "colmap" and b"\n" in name:  # two lines of images.txt: COLMAP would read other poses
        assert ended.code == 3 and "--to csv" in ended.stderr
        return
    assert ended.code == 0, ended
    assert ended.stdout.strip()


@pytest.mark.parametrize(
    "command", [["eval", "nothing-here"], ["predict", "nothing-here", "a.png"], ["export", "nothing-here"]]
)
def test_no_weights(command: list[str]) -> None:
    faults.assert_fails(command, 4, naming("nothing-here"))


def test_no_such_device(run: Path, images: list[str]) -> None:
    for command in (["predict", str(run), images[0]], ["eval", str(run), "--out", "x"]):
        faults.assert_fails([*command, "--device", "gpu"], 2, naming("gpu", "cpu", "cuda"))
        if not torch.cuda.is_available():
            faults.assert_fails([*command, "--device", "cuda"], 2, naming("cuda"))
