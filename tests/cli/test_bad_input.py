"""Bad data: everything wrong is named with path and line, exit code 3, before the first step."""

from __future__ import annotations

import os
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import faults
import pytest
import small_data
from another_python import run_python
from command_line import strict_json
from naming import naming

Spoil = Callable[[Path], object]


@pytest.fixture
def data(one_place: Path, tmp_path: Path) -> Path:
    """A copy to be spoiled."""
    shutil.copytree(one_place, tmp_path / "d")
    return Path("d")


def train(data: Path | str) -> list[str]:
    name = data if isinstance(data, str) else f"folder:{data}"
    return ["train", "posenet", "--data", name, *small_data.words(small_data.settings("posenet", out="run"))]


def line(data: Path, number: int, change: Callable[[list[str]], list[str]]) -> None:
    """Change the values of one line of poses.csv (1: the header)."""
    path = data / "poses.csv"
    lines = path.read_text().splitlines()
    lines[number - 1] = ",".join(change(lines[number - 1].split(",")))
    path.write_text("\n".join(lines) + "\n")


def value(place: int, text: str) -> Callable[[list[str]], list[str]]:
    return lambda row: [*row[:place], text, *row[place + 1 :]]


def huge_png(path: Path) -> None:
    """12000 x 12000 pixels in 17 kB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(b"\0" * (12000 * 1501), 9)
    header = struct.pack(">IIBBBBB", 12000, 12000, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


IMAGE = "yard/05.png"
IMAGES: dict[str, tuple[Spoil, str]] = {
    "zero bytes": (lambda path: path.write_bytes(b""), "empty file"),
    "truncated": (cut, "truncated|broken|incomplete|damaged"),
    "text": (lambda path: path.write_text("hello"), "not an image"),
    "html": (lambda path: path.write_text("<html><body>404</body></html>"), "not an image"),
    "huge": (huge_png, r"too large: 12000x12000 \(limit 64 Mpx\)"),
    "missing": (Path.unlink, "no such image"),
    "a pipe": (fifo, "not a regular file"),
    "postscript": (lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "not an image"),
}
LINES: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "nan position": (value(1, "nan"), "value 1 is not a finite number: .nan"),
    "nan quaternion": (value(5, "NaN"), "value 5 is not a finite number"),
    "infinite": (value(2, "inf"), "value 2 is not a finite number"),
    "overflow": (value(2, "1e400"), "value 2 is not a finite number"),
    "underscore": (value(2, "1_000"), "value 2 is not a finite number"),
    "empty": (value(3, ""), "value 3 is not a finite number"),
    "comma": (lambda row: [*row[:2], "1", *row[2:]], "expected 16 columns, got 17"),
    "too few": (lambda row: row[:-1], "expected 16 columns, got 15"),
    "zero quaternion": (lambda row: [*row[:4], "0", "0", "0", "0", *row[8:]], "zero quaternion"),
    "not unit": (value(4, "3.5"), "quaternion is not unit"),
    "outside": (value(0, "../../etc/passwd"), "outside the data set"),
    "absolute": (value(0, "/etc/passwd"), "outside the data set"),
    "not listed": (value(0, "yard/99.png"), "no such image"),
    "split": (value(9, "trian"), "did you mean train"),
    "focal": (value(12, "-80"), "focal length is not positive"),
}


def assert_found(argv: list[str], finding: str) -> None:
    """Exit 3, the finding on stdout and in the line of error, no step made, nothing saved."""
    ended = faults.assert_fails(argv, 3, finding, [Path("d")])
    assert [text for text in ended.stdout.splitlines() if re.search(finding, text)], ended
    assert not [text for text in faults.metrics(Path("run")) if "loss" in text]
    assert not Path("run/ckpt").exists()
    assert not Path("run/config.toml").exists()


@pytest.mark.parametrize("kind", IMAGES)
def test_bad_image(data: Path, kind: str) -> None:
    spoil, message = IMAGES[kind]
    spoil(data / IMAGE)
    where = r"poses\.csv:7" if kind in ("zero bytes", "missing", "a pipe") else "yard/05.png"
    finding = rf"{where}: .*({message})"
    assert_found(train(data), finding)
    assert_found(["data", "verify", f"folder:{data}"], finding)


@pytest.mark.parametrize("kind", LINES)
def test_bad_line(data: Path, kind: str) -> None:
    change, message = LINES[kind]
    line(data, 7, change)
    assert_found(train(data), rf"poses\.csv:7: .*{message}")
    assert_found(["data", "verify", f"folder:{data}"], rf"poses\.csv:7: .*{message}")


def test_everything_wrong_is_named(data: Path) -> None:
    for number, kind in ((3, "nan position"), (9, "zero quaternion"), (20, "too few"), (30, "outside")):
        line(data, number, LINES[kind][0])
    (data / "yard/11.png").unlink()
    ended = faults.assert_fails(train(data), 3, naming("5", "poses.csv:3", "posezoo data verify"), [data])
    named = ended.stdout.splitlines()
    assert sorted(int(text.split(":")[1]) for text in named) == [3, 9, 13, 20, 30]
    assert not Path("run/ckpt").exists()


def test_all_unreadable_images_are_named(data: Path) -> None:
    spoiled = {"yard/00.png": "text", "yard/09.png": "truncated", "yard/17.png": "huge", "yard/30.png": "html"}
    for name, kind in spoiled.items():
        IMAGES[kind][0](data / name)
    ended = faults.assert_fails(train(data), 3, naming("4", "yard/00.png"), [data])
    assert [text.split(":")[0] for text in ended.stdout.splitlines()] == list(spoiled)


def test_verify_names_poses_and_images_at_once(data: Path) -> None:
    line(data, 3, LINES["nan position"][0])
    (data / "yard/09.png").write_text("hello")
    ended = faults.assert_fails(["data", "verify", "folder:d"], 3, naming("2"), [data])
    assert "poses.csv:3" in ended.stdout
    assert "yard/09.png: not an image" in ended.stdout
    ended = faults.assert_fails(["data", "verify", "folder:d", "--format", "json"], 3, naming("2"), [data])
    found = strict_json(ended.stdout)["findings"]
    assert [(row["path"], row["line"]) for row in found] == [("poses.csv", 3), ("yard/09.png", 0)]


@pytest.mark.parametrize("format", [["--format", "json"], ["--format=quiet"]])
def test_problems_are_no_json(data: Path, format: list[str]) -> None:
    line(data, 3, LINES["nan position"][0])
    (data / "yard/09.png").write_text("hello")
    ended = faults.in_process(["data", "stats", "folder:d", *format])
    assert (ended.code, ended.stdout) == (3, ""), ended
    assert "poses.csv:3" in ended.stderr


def test_verify_with_one_problem_in_json(data: Path) -> None:
    line(data, 3, LINES["nan position"][0])
    ended = faults.assert_fails(["data", "verify", "folder:d", "--format", "json"], 3, naming("1"), [data])
    assert len(strict_json(ended.stdout)["findings"]) == 1


def test_long_lists_keep_the_line_short(data: Path, tmp_path: Path) -> None:
    deep = tmp_path / ("long " * 30).strip()
    shutil.copytree(data, deep)
    line(deep, 7, LINES["nan position"][0])
    ended = faults.assert_fails(train(f"folder:{deep}"), 3, r"^posezoo: error: .*\b1\b.*folder:")
    assert "poses.csv:7: value 1 is not a finite number" in ended.stdout, "named in full where the line is too short"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "poses.csv: empty file"),
        ("\n\n", "poses.csv: empty file"),
        ("image,x,y\n", r"poses.csv:1: column z, qw, qx, qy, qz is missing"),
        (None, "poses.csv: no such file"),
    ],
)
def test_no_table(data: Path, text: str | None, message: str) -> None:
    path = data / "poses.csv"
    path.unlink() if text is None else path.write_text(text)
    assert_found(train(data), message)


def test_table_without_rows(data: Path) -> None:
    path = data / "poses.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    faults.assert_fails(train(data), 3, naming("train"))


@pytest.mark.parametrize("name", ["7scenes-chess", "7scenes"])
def test_absent_data_says_what_to_fetch_and_where(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended = faults.assert_fails(train(name), 3, "7-Scenes.*7scenes/.*/seq-XX")
    monkeypatch.setenv("POSEZOO_DATA", str(tmp_path / "x"))
    faults.assert_fails(train(name), 3, naming(name, tmp_path / "x"))
    faults.assert_fails(["data", "verify", name, "--root", "y"], 3, naming("y"))
    assert not Path("run/ckpt").exists()
    assert "POSEZOO_DATA" in ended.stderr


def test_absent_folder() -> None:
    faults.assert_fails(train(Path("nothing")), 3, naming("nothing", "folder:PATH"))


@pytest.mark.parametrize("kind", ["zero bytes", "truncated", "text", "huge", "missing"])
def test_predict_names_the_image(one_place: Path, tmp_path: Path, kind: str, untrained: Path) -> None:
    picture = tmp_path / "p.png"
    shutil.copy(one_place / IMAGE, picture)
    IMAGES[kind][0](picture)
    faults.assert_fails(["predict", str(untrained), str(one_place / IMAGE), "p.png"], 3, f"p.png: .*{IMAGES[kind][1]}")


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model as it starts."""
    from posezoo.zoo.build import create_model
    from posezoo.zoo.saved import save

    folder = tmp_path_factory.mktemp("models") / "m"
    fast = {"backbone": small_data.FAST["backbone"], "resize": 64, "crop": 64, "pretrained_backbone": False}
    save(create_model("posenet", **fast), folder, "card")
    return folder


def test_damaged_weights(untrained: Path, one_place: Path, tmp_path: Path) -> None:
    shutil.copytree(untrained, tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    predict = ["predict", "m", str(one_place / IMAGE)]
    faults.assert_fails(predict, 4, naming("m/model.safetensors", "sha256"), [tmp_path / "m"])
    weights.write_bytes(data[:100])
    faults.assert_fails(predict, 4, naming("100"), [tmp_path / "m"])


def test_existing_run_and_run_in_use(data: Path) -> None:
    from posezoo.training.run import RunFolder

    with RunFolder(Path("run")) as folder:
        faults.assert_fails(train(data), 9, naming("run", os.getpid(), "out="))
        folder.write_config({"x": 1})
    faults.assert_fails(train(data), 2, naming("posezoo resume run"), [Path("run")])


CONFIGS: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    "a typing error": (
        lambda text: text.replace("clip =", "clipp ="),
        r"train\.optim\.clipp.*did you mean .train\.optim\.clip\b",
    ),
    "another type": (
        lambda text: text.replace("\nepochs = 2", '\nepochs = "many"'),
        "train.epochs='many': not a whole number from 1",
    ),
    "negative": (
        lambda text: text.replace("\nepochs = 2", "\nepochs = -2"),
        "train.epochs=-2: not a whole number from 1",
    ),
    "too large": (lambda text: text.replace("lr = 0.001", "lr = 1e999", 1), "train.optim.lr=inf: .*finite"),
    "a key twice": (lambda text: text.replace("\nepochs = 2", "\nepochs = 2\nepochs = 3"), "Cannot overwrite a value"),
    "several": (
        lambda text: text.replace("\nepochs = 2", "\nepochs = -2").replace("batch_size = 8", "batch_size = 0"),
        "train.epochs=-2: .*; train.batch_size=0: ",
    ),
    "empty": (lambda text: "", "model is missing"),
    "no data": (lambda text: text.replace("[train.data]", "[train.date]"), "data is missing"),
    "a name that is none": (lambda text: text.replace('name = "posenet"', "name = 3"), "names are text"),
    "not UTF-8": (lambda text: b"\xff\xfe" + text.encode(), "utf-8"),
    "nested without end": (lambda text: "a = " + "[" * 5000, "config.toml: "),
    "a model's setting": (lambda text: text.replace("hidden = 64", "hiden = 64"), "did you mean .hidden"),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_runs_config_that_was_changed(one_place: Path, kind: str) -> None:
    """Everything wrong with it is one line that names the file."""
    from posezoo.catalogue import resolve, settings
    from posezoo.training.config import configure
    from posezoo.training.run import RunFolder

    given = settings.nested(small_data.settings("posenet"))
    config, plan = configure(resolve.model("posenet"), resolve.data(f"folder:{one_place}"), given)
    with RunFolder(Path("run")) as folder:
        folder.write_config({"train": config.model_dump(), "model": plan.as_dict()})
    change, reason = CONFIGS[kind]
    path = Path("run/config.toml")
    before = path.read_text()
    content = change(before)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert path.read_bytes() != before.encode()
    ended = faults.assert_fails(["resume", "run"], 2, reason, [Path("run")])
    assert "run/config.toml: " in ended.stderr


def test_a_package_that_is_missing(tmp_path: Path) -> None:
    """What can work without it does, the rest says what to type."""
    code = """
import sys
sys.modules.update({name: None for name in sys.argv.pop(1).split(",")})
from posezoo.cli import main
main()
"""
    for argv in (["list"], ["plugins"], ["weights", "list"], ["data", "list"]):
        done = run_python(code, "torch,torchvision,timm,huggingface_hub.hf_api,onnx", *argv)
        assert (done.returncode, done.stderr) == (0, ""), done
    done = run_python(code, "torchvision", "info", "posenet")
    assert done.returncode == 2
    assert done.stderr.startswith("posezoo: error: ")
    assert done.stderr.count("\n") == 1
    assert "torchvision" in done.stderr
    assert done.stderr.endswith(": pip install torchvision\n")


def test_out_that_cannot_be_written(data: Path) -> None:
    Path("run").write_text("a file")
    faults.assert_fails(train(data), 6, naming("run"), [Path("run"), data])
