"""Every command: help, JSON, names, predictions in every form, and whatever anybody may type.

Long because every command goes through the same few checks, side by side.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faults
import pytest
from command_line import ok, strict_json
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from naming import naming
from typer.main import get_command

from posezoo import cli
from posezoo.cli.commands import app
from posezoo.studies.declared import STUDIES

COMMANDS = [
    "list",
    "info",
    "settings",
    "doctor",
    "train",
    "resume",
    "eval",
    "calibrate",
    "compare",
    "predict",
    "export",
]
COMMANDS += ["parity", "map", "serve", "report", *(f"study {name}" for name in STUDIES)]
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


def test_no_word_of_a_help_becomes_a_picture() -> None:
    """rich shows `two-points:A:X` with an emoji for `:A:`, in every text of a command or option."""
    from rich.emoji import Emoji

    def texts(command: Any) -> Iterator[str]:
        yield command.help or ""
        for one in (*command.params, *getattr(command, "commands", {}).values()):
            yield from (
                texts(one) if hasattr(one, "params") else (getattr(one, "help", None) or "", str(one.metavar or ""))
            )

    found = list(texts(get_command(app)))
    assert any("two-points" in text for text in found)
    assert Emoji.replace("two-points:A:X") != "two-points:A:X"
    assert [text for text in found if Emoji.replace(text) != text] == []


def test_help_of_the_whole() -> None:
    text = ok("--help")
    assert "Example: posezoo train atloc+hyper --data demo-loop" in text
    assert all(command.split()[0] in text for command in (*COMMANDS, "bench", "data", "plugins", "weights"))
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


# Predictions


# Names


def test_no_command_is_help() -> None:
    ended = faults.in_process([])
    assert ended.code in (0, 2)
    assert "Example: posezoo train" in ended.stdout + ended.stderr
    assert "posezoo: error" not in ended.stderr or ended.code == 2


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
SAFE += [["eval"], ["compare"], ["report"], ["predict"], ["resume"], ["bench"], ["export"], ["parity"], []]
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
    assert all(line.isprintable() for line in lines)
    (ended.stdout + ended.stderr).encode("utf-8")
    written = [path for path in tmp_path.rglob("*") if path.suffix != ".png"]
    assert written == [], "nothing but the picture that was asked for"


def test_exit_codes_are_those_of_the_table() -> None:
    from posezoo.base import errors

    found = {
        kind.__name__: kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.PosezooError)
    }
    assert found == {
        **{"PosezooError": 1, "UsageError": 2, "DataError": 3, "WeightsError": 4, "HubError": 5, "ResourceError": 6},
        **{"PluginError": 7, "NotFiniteError": 8, "LockedError": 9, "LostError": 10},
        **{"FailedElsewhere": 1, "Interrupted": 1},
    }
    assert cli.run(["--version"]) == 0
    assert math.isfinite(errors.Interrupted("", "", 130).exit_code)


@pytest.mark.parametrize(
    "said",
    ["[enforce fail at alloc_cpu.cpp:123] DefaultCPUAllocator: can't allocate memory: 8 bytes", "CUDA out of memory"],
)
def test_out_of_memory_in_torch_is_no_bug(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr("posezoo.training.train.set_up", full)
    faults.assert_fails(
        ["train", "posenet", "--data", "demo-yard", "--format", "quiet"], 6, "out of memory.*batch_size"
    )


def test_a_process_that_has_lost_another_ends_at_once() -> None:
    """What it has printed is there; torch is not taken apart, for which a restart would wait."""
    code = (
        "import atexit; from posezoo import cli; from posezoo.base.errors import LostError;"
        "atexit.register(print, 'taken apart');"
        "cli.run = lambda argv: print('said', end='') or LostError.exit_code; cli.main([])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (10, "said")
