"""Every command: help, JSON, names, predictions in every form, and whatever anybody may type.

Long because every command goes through the same few checks, side by side.
"""

from __future__ import annotations

import csv
import io
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faults
import numpy as np
import pytest
import small_data
import torch
from command_line import ok, strict_json
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from naming import naming
from small_runs import Notes
from typer.main import get_command

from posezoo import cli
from posezoo.api import train
from posezoo.base.poses import Poses, rotation_matrix
from posezoo.cli.commands import app
from posezoo.zoo.saved import load

COMMANDS = sorted({"list", "info", "doctor", "train", "resume", "eval", "predict", "export"})
BENCH_COMMANDS = [f"bench {word}" for word in ("grid", "loading", "scale", "speed", "startup")]
DATA_COMMANDS = [
    f"data {word}" for word in ("corrupt", "export", "how-to", "list", "make-ecl", "plot", "prepare", "stats", "verify")
]
PLUGIN_COMMANDS = ["plugins new", "plugins check"]
WEIGHTS_COMMANDS = [f"weights {word}" for word in ("build", "card", "convert", "list", "pull", "push", "verify")]
ALL = [*COMMANDS, *BENCH_COMMANDS, *DATA_COMMANDS, *PLUGIN_COMMANDS, *WEIGHTS_COMMANDS]
CODES = {0, 2, 3, 4, 5, 6, 7, 8, 9}


def words_of(group: Any, prefix: str = "") -> Iterator[str]:
    """The names of all commands, those of groups included."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from words_of(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, one_place: Path) -> Path:
    """A finished run."""
    out = tmp_path_factory.mktemp("runs") / "run"
    more = small_data.settings("posenet", out=str(out), epochs=1)
    return train("posenet", f"folder:{one_place}", observer=Notes(), **more).path


@pytest.fixture
def images(one_place: Path) -> list[str]:
    return [str(path) for path in sorted(one_place.rglob("*.png"))[:5]]


# Help


@pytest.mark.parametrize("command", [*ALL, "plugins"])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_an_example(command: str, flag: str) -> None:
    text = ok(*command.split(), flag)
    assert f"Example: posezoo {command}" in " ".join(text.split())


def test_every_command_is_known_here() -> None:
    assert set(words_of(get_command(app))) == {
        *COMMANDS,
        *BENCH_COMMANDS,
        *DATA_COMMANDS,
        *PLUGIN_COMMANDS,
        *WEIGHTS_COMMANDS,
    }


def test_help_of_the_whole() -> None:
    text = ok("--help")
    assert "Example: posezoo train atloc+hyper --data demo-loop" in text
    assert all(command in text for command in (*COMMANDS, "bench", "data", "plugins", "weights"))
    assert all(command.split()[1] in ok("data", "--help") for command in DATA_COMMANDS)
    assert all(command.split()[1] in ok("weights", "--help") for command in WEIGHTS_COMMANDS)


def test_version() -> None:
    from posezoo.base.version import __version__

    assert ok("--version").strip() == f"posezoo {__version__}"


def test_as_a_program(one_place: Path) -> None:
    """The same through a real process: exit code, one line, nothing of Python's."""
    command = [sys.executable, "-m", "posezoo", "train", "posnet", "--data", f"folder:{one_place}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("posezoo: error: unknown model 'posnet': did you mean \"posenet\"")
    assert ended.stderr.count("\n") == 1


# JSON


@pytest.mark.parametrize(
    "argv",
    [
        ["list"],
        ["list", "no-such-*"],
        ["info", "posenet+hyper", "hyper.rank=4", "backbone=test_efficientnet"],
        ["info", "7scenes-chess"],
        ["doctor"],
        ["data", "list"],
        ["weights", "list"],
        ["weights", "verify"],
        ["info", "atloc-hyper-demo"],
    ],
)
def test_json(argv: list[str]) -> None:
    strict_json(ok(*argv, "--format", "json"))
    assert ok(*argv, "--format", "quiet") == ""
    if "no-such-*" not in argv:
        assert ok(*argv).strip()


def test_json_of_names() -> None:
    names = [row["name"] for row in strict_json(ok("list", "--format", "json"))]
    assert {"posenet", "atloc", "ms-transformer", "posenet+hyper", "ms-transformer+hyper"} <= set(names)
    atlocs = [row["name"] for row in strict_json(ok("list", "atloc*", "--format", "json"))]
    variants = ["atloc.4d", "atloc.lstm", "atloc.plus", "atloc.wide"]
    assert atlocs == ["atloc", *variants, "atloc+hyper", "atloc+hyper.3d"]


def test_json_of_a_model() -> None:
    content = strict_json(ok("info", "posenet+hyper", "--format", "json"))
    rows = {row["part"]: row for row in content["size"]}
    assert rows["hypernetwork"]["parameters"] == rows["hypernetwork"]["published"] == 3_546_887
    assert rows["total"]["bytes (fp32)"] == 4 * rows["total"]["parameters"]
    assert all(row["FLOPs an image"] >= 0 for row in rows.values())
    kings = {"model": "posenet+hyper", "data": "cambridge-kings-college", "position (m)": 0.61, "source": "paper"}
    assert any(kings.items() <= row.items() for row in content["results"])
    shown = ok("info", "posenet+hyper")
    assert "3,546,887" in shown
    assert "HyperPose supplement, Table 1" in " ".join(shown.split())
    assert strict_json(ok("info", "atloc.plus", "--format", "json"))["settings of training"]["tuple_length"] == 3


def test_json_of_data(one_place: Path, tmp_path: Path) -> None:
    name = f"folder:{one_place}"
    plotted = strict_json(ok("data", "plot", name, "--out", str(tmp_path / "a.png"), "--format", "json"))
    assert plotted["frames"] == 32
    assert Path(plotted["picture"]).read_bytes()[:4] == b"\x89PNG"
    verified = strict_json(ok("data", "verify", name, "--format", "json"))
    assert verified["findings"] == []
    assert verified["frames"]["train"] == 24
    assert verified["frames"]["test"] == 8
    assert "24 train" in ok("data", "verify", name)


def test_json_of_runs(run: Path, images: list[str], tmp_path: Path) -> None:
    report = strict_json(ok("eval", str(run), "--out", str(tmp_path / "report"), "--format", "json"))
    assert Path(report["report"]) == tmp_path / "report"
    assert (tmp_path / "report" / "report.json").exists()
    poses = strict_json(ok("predict", str(run), *images, "--format", "json"))
    assert [pose["image"] for pose in poses] == images
    strict_json(ok("info", str(run), "--format", "json"))
    assert strict_json(ok("resume", str(run), "--format", "json"))["run"] == str(run)


def test_train_in_json(one_place: Path, no_pictures: None) -> None:
    argv = small_data.words(small_data.settings("posenet", epochs=1, out="run"))
    ended = faults.in_process(["train", "posenet", "--data", f"folder:{one_place}", *argv, "--format", "json"])
    assert ended.code == 0
    assert strict_json(ended.stdout)["run"] == "run"


def test_train_for_people(one_place: Path, no_pictures: None) -> None:
    argv = small_data.words(small_data.settings("posenet", epochs=1, out="run"))
    ended = faults.in_process(["train", "posenet", "--data", f"folder:{one_place}", *argv])
    assert ended.code == 0
    for word in ("mean training pose", "nearest pose", "report: run/report/report.json", "next: posezoo predict run"):
        assert word.lower() in " ".join(ended.stdout.lower().split()), ended.stdout
    assert "22 training and 2 validation images" in " ".join(ended.stderr.split())
    assert "\x1b" not in ended.stdout + ended.stderr


def test_chosen_on_test_frames_is_said(one_place: Path, no_pictures: None) -> None:
    argv = small_data.words(small_data.settings("posenet", epochs=1, out="run", selection="test"))
    ended = faults.in_process(["train", "posenet", "--data", f"folder:{one_place}", *argv])
    assert "test frames" in ended.stdout, ended


# Predictions


def test_predictions_in_every_form(run: Path, images: list[str], tmp_path: Path) -> None:
    truth = load(f"local-dir:{run}").predict(images)
    texts = {kind: ok("predict", str(run), *images, "--to", kind) for kind in ("csv", "tum", "json", "colmap")}
    np.testing.assert_allclose(np.linalg.norm(truth.quaternion, axis=1), 1, atol=1e-15)
    for kind, text in texts.items():
        names, position, quaternion = globals()[f"parse_{kind}"](text)
        np.testing.assert_allclose(position, truth.position, atol=1e-9, err_msg=kind)
        np.testing.assert_allclose(quaternion, truth.quaternion, atol=1e-12, err_msg=kind)
        assert names in (images, [str(n) for n in range(len(images))]), kind
        out = tmp_path / f"poses.{kind}"
        assert ok("predict", str(run), *images, "--to", kind, "--out", str(out)) == ""
        assert out.read_text() == text
    assert Path(images[0]).name in ok("predict", str(run), *images).replace("\n", "").replace(" ", "")


def parse_csv(text: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    rows = list(csv.DictReader(io.StringIO(text)))
    numbers = np.array([[float(row[key]) for key in ("x", "y", "z", "qw", "qx", "qy", "qz")] for row in rows])
    return [row["image"] for row in rows], numbers[:, :3], numbers[:, 3:]


def parse_tum(text: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    rows = [line.split() for line in text.splitlines()]
    numbers = np.array([[float(value) for value in row[1:]] for row in rows])
    return [row[0] for row in rows], numbers[:, :3], numbers[:, [6, 3, 4, 5]]


def parse_json(text: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    rows = strict_json(text)
    position, quaternion = (np.array([row[key] for row in rows]) for key in ("position", "quaternion"))
    return [row["image"] for row in rows], position, quaternion


def parse_colmap(text: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """World-to-camera, two lines an image."""
    lines = [line for line in text.split("\n")[:-1] if not line.startswith("#")]
    assert all(line == "" for line in lines[1::2])
    rows = [line.split(maxsplit=9) for line in lines[::2]]
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
    numbers = np.array([[float(value) for value in row[1:8]] for row in rows])
    to_camera = rotation_matrix(numbers[:, :4])
    position = -np.einsum("nji,nj->ni", to_camera, numbers[:, 4:])
    return [row[9] for row in rows], position, numbers[:, :4] * [1, -1, -1, -1]


def test_forms_agree_on_hard_poses() -> None:
    random = np.random.default_rng(0)
    q = random.normal(size=(50, 4))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    q[q[:, 0] < 0] *= -1
    position = random.normal(size=(50, 3)) * 10.0 ** random.integers(-9, 6, size=(50, 1))
    names = tuple(f"a b/{n}.png" for n in range(50))
    poses = Poses(names, position, q)
    for kind in ("csv", "tum", "json", "colmap"):
        _, t, r = globals()[f"parse_{kind}"](getattr(poses, f"to_{kind}")())
        tolerance = 1e-9 if kind == "colmap" else 0  # colmap stores another vector
        np.testing.assert_allclose(t, position, rtol=1e-12, atol=tolerance)
        np.testing.assert_array_equal(r, q)


# Names


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
        (["train", "atloc", "--data", "demo-loop", "epochs=three"], "not a whole number from 1: posezoo train MODEL"),
        (["train", "atloc", "--data", "demo-loop", "zzz=1"], "unknown setting 'zzz': posezoo train MODEL --data DATA"),
        (["train", "atloc", "--data", "demo-loop", "dropout=7"], "dropout=7: not a number from 0 to 1"),
        (["train", "atloc", "--data", "demo-loop", "optim.betas=[2,3]"], "from 0, below 1"),
        (["train", "atloc", "--data", "demo-loop", "hyper.rank=2"], r"\+hyper"),
        (["train", "atloc+hyper", "--data", "demo-loop", "hyper.rnk=2"], "rank"),
        (["train", "atloc"], "--data"),
        (["train", "atloc", "--dat", "demo-loop"], "--dat"),
        (["train", "local-dir:x", "--data", "demo-loop"], "posezoo list"),
        (["info", "posnet"], '"posenet"'),
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
    faults.assert_fails(["export", str(run), "--out", "m.onnx", "--to", "pt2"], 2, r"ends in \.pt2")


def test_no_such_device(run: Path, images: list[str]) -> None:
    for command in (["predict", str(run), images[0]], ["eval", str(run), "--out", "x"]):
        faults.assert_fails([*command, "--device", "gpu"], 2, naming("gpu", "cpu", "cuda"))
        if not torch.cuda.is_available():
            faults.assert_fails([*command, "--device", "cuda"], 2, naming("cuda"))


def test_no_command_is_help() -> None:
    ended = faults.in_process([])
    assert ended.code in (0, 2)
    assert "Example: posezoo train" in ended.stdout + ended.stderr
    assert "posezoo: error" not in ended.stderr or ended.code == 2


@pytest.mark.parametrize("name", [b"caf\xe9.png", "new\nline é 😀.png".encode()])
@pytest.mark.parametrize("to", ["table", "csv", "json", "colmap"])
def test_any_file_name(run: Path, images: list[str], name: bytes, to: str) -> None:
    try:
        shutil.copy(images[0], name)
    except OSError:
        pytest.skip("this file system has no such names")
    ended = faults.own_process(["predict", str(run), os.fsdecode(name), "--to", to])
    assert ended.code == 0, ended
    assert ended.stdout.strip()


@pytest.mark.parametrize(
    "command", [["eval", "nothing-here"], ["predict", "nothing-here", "a.png"], ["export", "nothing-here"]]
)
def test_no_weights(command: list[str]) -> None:
    faults.assert_fails(command, 4, naming("nothing-here"))


def test_debug_adds_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    for argv in (["info", "posnet", "--debug"], ["--debug", "info", "posnet"]):
        ended = faults.in_process(argv)
        assert ended.code == 2
        assert "Traceback" in ended.stderr
    monkeypatch.setenv("POSEZOO_DEBUG", "1")
    assert "Traceback" in faults.in_process(["info", "posnet"]).stderr


def test_a_bug_is_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from posezoo.cli import info

    monkeypatch.setattr(info, "doctor", lambda: 1 // 0)
    faults.assert_fails(["doctor"], 1, naming("ZeroDivisionError", "--debug"))


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
def test_out_of_memory(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    from posezoo.cli import info

    def fail() -> None:
        raise error

    monkeypatch.setattr(info, "doctor", fail)
    faults.assert_fails(["doctor"], 6, naming("batch_size="))


# Whatever is typed

ODD = [
    *("", " ", "-", "--", "-h", "\0", "a\0b", "../x", "/", "~", "~nobody-of-this-name", ".", "..", "%s%n", "$(id)"),
    *(
        "{0.__class__}",
        "a\nb",
        "\x1b[31m",
        "é",
        "😀",
        "\udc80",
        "x" * 10_000,
        "x/" * 3000,
        "+",
        "a+",
        "+hyper",
        "a+b=c=d",
    ),
    *(
        "posenet",
        "posenet+hyper+hyper",
        "posenet+hyper=",
        "atloc.tag@rev",
        "demo-loop",
        "7scenes",
        "local-dir:",
        "a=b=c",
    ),
    *("local-dir:~nobody-of-this-name", "hf-hub:a/b", "hf-hub:", "folder:", "folder:.", "folder:~nobody-of-this-name"),
    *("folder:\0", "csv:x?convention", "csv:/?a=b", "nerf:x", "http://x", "hyper.rank=1e999", "crop=-1", "crop=64"),
    *("--format", "json", "--format=json", "--root", "--split", "--out", "--to", "--device", "cuda", "--version"),
    *("/dev/null", "/dev/full", "/proc/self/mem", "backbone=", "backbone=../x", "=", "a.=1", ".a=1", "scenes=[]"),
    *("scenes=['a','a']", "resize=64", "mean=[1]", "nan", "-1", "--subset", "train", "loading", "*", "[", "[a", "?"),
]
SAFE = [["list"], ["info"], ["doctor"], ["data"], ["data", "list"], ["data", "plot"], ["data", "verify"]]
SAFE += [["eval"], ["predict"], ["resume"], ["bench"], ["export"], []]
SURROGATES = st.characters(codec=None, categories=None)
token = st.one_of(st.sampled_from(ODD), st.sampled_from(ODD), st.text(SURROGATES, max_size=12))


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.sampled_from(SAFE), st.lists(token, max_size=4))
@example(["info"], ["~nobody-of-this-name"])
@example(["predict"], ["~nobody-of-this-name", "a.png"])
@example(["eval"], ["~nobody-of-this-name"])
@example(["resume"], ["~nobody-of-this-name"])
@example(["data", "plot"], ["folder:~nobody-of-this-name"])
@example(["data", "verify"], ["7scenes", "--root", "~nobody-of-this-name"])
@example(["data", "verify"], ["folder:.", "--split", "\0"])
@example(["info"], ["a\0b"])
@example(["info"], ["x" * 10_000])
@example(["predict"], ["x" * 10_000, "a"])
@example(["predict"], ["\0", "a"])
@example(["resume"], ["\0"])
@example(["eval"], ["\udc80"])
@example(["list"], ["[a"])
@example(["list"], ["\udc80"])
@example(["info"], ["posenet", "backbone=\udc80"])
@example(["info"], ["posenet", "scenes=[]"])
@example(["info"], ["posenet", "mean=[1]"])
@example(["bench"], ["loading", "--data", "\0"])
def test_nothing_that_is_typed_is_a_bug(tmp_path: Path, command: list[str], given_words: list[str]) -> None:
    ended = faults.in_process([*command, *given_words])
    assert ended.code in CODES, ended
    assert "Traceback" not in ended.stdout + ended.stderr, ended
    lines = [line for line in ended.stderr.split("\n") if line.startswith("posezoo: error:")]
    assert len(lines) == (1 if ended.code else 0), ended
    assert all(len(line) <= 240 and line.isprintable() for line in lines)
    (ended.stdout + ended.stderr).encode("utf-8")
    written = [path for path in tmp_path.rglob("*") if path.suffix != ".png"]
    assert written == [], "nothing but the picture that was asked for"


@pytest.mark.parametrize("form", ["json", "human"])
def test_closed_output_is_no_error(form: str) -> None:
    """`posezoo list | head -1`."""
    ended = _with_nobody_at("stdout", "-m", "posezoo", "list", "--format", form)
    assert ended.returncode == 0, ended
    assert ended.stderr == ""


def test_closed_errors_change_no_exit_code() -> None:
    """`posezoo info atlock 2>&1 >file | head -0`."""
    assert _with_nobody_at("stderr", "-m", "posezoo", "info", "atlock").returncode == 2


@pytest.mark.parametrize("terminal", [False, True])
def test_a_view_that_nobody_sees_ends_no_run(terminal: bool) -> None:
    """It stops drawing, and leaves stdout and sys.stderr as they are."""
    code = """
import sys
from posezoo.cli.console import TrainView
own, view = sys.stderr, TrainView()
view.console._force_terminal = "TERMINAL" == sys.argv[1]
facts = dict.fromkeys(("model", "data", "precision", "device", "backbone", "run"), "x")
facts |= dict.fromkeys(("train_images", "validation_images", "epochs", "parameters", "seed"), 1)
view.note("one")
view.progress("reading", 1, 2)
view.start(2, 0, facts)
view.step({"step": 1, "epoch": 0, "loss": 1.0, "position_m": 1.0, "orientation_deg": 1.0, "images_per_s": 1.0})
view.end()
view.note("two")
print("the run went on" if sys.stderr is own and view.console.quiet else "no")
"""
    ended = _with_nobody_at("stderr", "-c", code, "TERMINAL" if terminal else "")
    assert ended.stdout == "the run went on\n", ended


def _with_nobody_at(stream: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python, with a pipe that nobody reads as its stdout or stderr."""
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writer}
    try:
        return subprocess.run([sys.executable, *arguments], **streams, text=True, check=False, timeout=300)  # type: ignore[call-overload]
    finally:
        os.close(writer)


def test_full_output_is_said() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    command = f"{sys.executable} -m posezoo list --format json > /dev/full"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 6, ended
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("posezoo: error:")


def test_exit_codes_are_those_of_the_table() -> None:
    from posezoo.base import errors

    found = {
        kind.__name__: kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.PosezooError)
    }
    assert found == {
        **{"PosezooError": 1, "UsageError": 2, "DataError": 3, "WeightsError": 4, "HubError": 5, "ResourceError": 6},
        **{"PluginError": 7, "NotFiniteError": 8, "LockedError": 9, "Interrupted": 1},
    }
    assert cli.run(["--version"]) == 0
    assert math.isfinite(errors.Interrupted("", "", 130).exit_code)
