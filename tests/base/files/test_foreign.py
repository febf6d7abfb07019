"""Files that may hold weights: plain ones are read, whole objects on demand and without their code, the rest told."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from naming import naming
from torch import nn

from posezoo.base.errors import WeightsError
from posezoo.base.files import foreign

Options = namedtuple("Options", "width depth")


class Theirs(nn.Module):
    """What a project pickles: parts, a buffer that is not saved, functions and records as attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.gain = nn.Parameter(torch.randn(3))
        self.tied = self.net[0]
        self.activation, self.options = nn.functional.silu, Options(4, 2)
        self.act = self.swish
        self.register_buffer("scratch", torch.ones(2), persistent=False)

    def swish(self, x: torch.Tensor) -> torch.Tensor:
        """A method that is an attribute too."""
        return x * torch.sigmoid(x)


class Holder(nn.Module):
    """One tensor."""

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)


class Hostile:
    """A pickle that runs a command when it is read by pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def state() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.randn(3, 2), "b": torch.ones(2), "steps": torch.tensor(4)}


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "wrap",
    [
        dict,
        OrderedDict,
        lambda s: {"model_state_dict": s, "criterion_state_dict": {"sax": torch.ones(1)}, "epoch": 3},
        lambda s: {"epoch": 3, "state_dict": s, "best": 0.1},
        lambda s: {"model": {"state_dict": s, "args": None}},
        lambda s: {f"module.{key}": value for key, value in s.items()},
        lambda s: {"model_state_dict": {f"module.atlocplus.{key}": value for key, value in s.items()}},
    ],
)
def test_plain_state_dicts(tmp_path: Path, wrap: Callable[[Any], Any], legacy: bool) -> None:
    expected, path = state(), tmp_path / "x.pth"
    torch.save(wrap(expected), path, _use_new_zipfile_serialization=not legacy)
    found, digest = foreign.read(path)
    assert_equal(found, expected)
    assert digest == subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]


def test_safetensors(tmp_path: Path) -> None:
    expected = state()
    safetensors.torch.save_file(expected, tmp_path / "x.safetensors")
    assert_equal(foreign.read(tmp_path / "x.safetensors")[0], expected)


def test_whole_objects_only_on_demand(tmp_path: Path) -> None:
    model, path = Theirs(), tmp_path / "x.pth"
    torch.save(nn.DataParallel(model), path)
    with pytest.raises(WeightsError, match=naming("--i-trust-this")):
        foreign.read(path)
    assert_equal(foreign.read(path, trust=True)[0], model.state_dict())


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrap", [lambda m: m, nn.DataParallel, lambda m: {"epoch": 1, "model": m}])
def test_tensors_of_whole_objects(tmp_path: Path, wrap: Callable[[Any], Any], legacy: bool) -> None:
    model, path = Theirs(), tmp_path / "x.pth"
    torch.save(wrap(model), path, _use_new_zipfile_serialization=not legacy)
    assert_equal(foreign.read(path, trust=True)[0], model.state_dict())


def test_nothing_of_a_file_is_run_even_on_demand(tmp_path: Path) -> None:
    path, trace, expected = tmp_path / "x.pth", tmp_path / "ran", state()
    torch.save({"state_dict": expected, "extra": Hostile(trace)}, path)
    with pytest.raises(WeightsError, match=naming("--i-trust-this")):
        foreign.read(path)
    assert_equal(foreign.read(path, trust=True)[0], expected)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the file does what it says, with a reader that lets it
    assert trace.exists()


def test_a_file_that_claims_more_than_it_has_is_told(tmp_path: Path) -> None:
    """A tensor of 10^18 numbers made of one."""
    path, wide = tmp_path / "x.pth", torch.ones(1).expand(10**9, 10**9)
    torch.save(Holder(wide), path)
    with pytest.raises(WeightsError):
        foreign.read(path, trust=True)


def test_the_process_for_whole_objects_has_no_secrets_no_network_and_no_files(tmp_path: Path) -> None:
    code = """
import socket, sys
from posezoo.base.files import foreign
server = socket.create_server(("127.0.0.1", 0))
foreign._restrict()
try:
    socket.create_connection(server.getsockname(), timeout=5)
    print("network")
except OSError:
    pass
try:
    with open(sys.argv[1], "w") as file:
        file.write("x")
    print("file")
except OSError:
    pass
"""
    command = [sys.executable, "-c", code, str(tmp_path / "x")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    allowed = {"network"} if not sys.platform.startswith("linux") else set()  # a container may forbid namespaces
    assert set(done.stdout.split()) <= allowed | ({"network"} if not _namespaces() else set())
    kept = {"PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR"}
    assert set(foreign.KEPT_VARIABLES) == kept


def _namespaces() -> bool:
    return subprocess.run(["unshare", "-U", "-n", "true"], capture_output=True, check=False).returncode == 0


def whole_zip(path: Path) -> None:
    torch.save(state(), path)


def cut_zip(path: Path) -> None:
    torch.save({"a": torch.randn(500)}, path)
    path.write_bytes(path.read_bytes()[:1500])


def cut_legacy(path: Path) -> None:
    torch.save({"a": torch.randn(500)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:900])


def cut_safetensors(path: Path) -> None:
    path.write_bytes(safetensors.torch.save({"a": torch.randn(500)})[:900])


def twice_in_the_header(path: Path) -> None:
    entry = '"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'
    header = f"{{{entry}, {entry}}}".encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)


def name_in_no_encoding(path: Path) -> None:
    whole_zip(path)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\1\2")
    content[at + 9] |= 8  # the name is UTF-8
    content[at + 46] = 0xFF
    path.write_bytes(content)


def compressed(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"0" * 100_000)


def other_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: None, "No such file"),
        (Path.mkdir, "not a file"),
        (os.mkfifo, "not a file"),
        (Path.touch, "is empty"),
        (lambda path: path.write_text("\n<!DOCTYPE html><html></html>"), "is a web page"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "neither a torch"),
        (lambda path: path.write_bytes(b"\xff" * 4000), "neither a torch"),
        (lambda path: path.write_bytes((1 << 40).to_bytes(8, "little") + b"{}"), "neither a torch"),
        (lambda path: path.write_bytes(b"\x80\x04garbage"), "torch did not write"),
        (cut_zip, "cut off: the archive has no end"),
        (cut_legacy, "damaged or cut off"),
        (cut_safetensors, r"x\.pth is damaged: "),
        (twice_in_the_header, "'a' appears twice"),
        (compressed, "compressed archive"),
        (name_in_no_encoding, "damaged or cut off"),
        (other_zip, "damaged or cut off"),
        (lambda path: torch.save({"epoch": 3, "lr": 0.1}, path), "epoch, lr"),
        (lambda path: torch.save([1, 2], path), "holds a list"),
        (lambda path: torch.save({}, path), "no tensors"),
    ],
)
def test_everything_else_is_told_in_one_line(
    tmp_path: Path, spoil: Callable[[Path], object], words: str, trust: bool
) -> None:
    spoil(tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=words) as error:
        foreign.read(tmp_path / "x.pth", trust)
    assert "\n" not in str(error.value)
    assert error.value.hint


def test_a_reader_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(Theirs(), tmp_path / "x.pth")
    monkeypatch.setattr(foreign, "TIMEOUT_S", 0.05)
    with pytest.raises(WeightsError):
        foreign.read(tmp_path / "x.pth", trust=True)
