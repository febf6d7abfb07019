"""What TAB offers, asked by a real bash with the script that posezoo prints, and by a real terminal."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from posezoo.cli import complete

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
BREAKS = "=:"  # bash makes words of their own of these


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program called posezoo, and the script of its completion, to be read by bash."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "posezoo"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m posezoo "$@"\n')
    program.chmod(0o755)
    told = subprocess.run(
        [program], env={**os.environ, "_POSEZOO_COMPLETE": "source_bash"}, capture_output=True, text=True, check=True
    )
    (folder / "script.bash").write_text(f"PATH={folder}:$PATH\n{told.stdout}")
    return folder / "script.bash"


def offered(script: Path, line: str, folder: Path | None = None) -> list[str]:
    """What bash offers at the end of the line, its words split as readline splits them."""
    words: list[str] = []
    for word in line.split(" "):
        for character in BREAKS:
            word = word.replace(character, f" {character} ")
        words += word.split() or [""]
    quoted = " ".join(f"'{word}'" for word in words)
    asked = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _posezoo_completion posezoo"
    command = f'source {script}; {asked}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    told = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=True, timeout=120)
    assert told.stderr == ""
    return told.stdout.split()


@pytest.mark.parametrize(
    ("line", "some", "none"),
    [
        ("posezoo tr", {"train"}, {"list"}),
        ("posezoo train atl", {"atloc", "atloc+hyper", "atloc.lstm", "atloc+hyper=two"}, {"posenet"}),
        ("posezoo train atloc --data demo-l", {"demo-loop"}, {"demo-yard"}),
        ("posezoo train atloc --data fol", {"folder:"}, {"demo-loop"}),
        (
            "posezoo train atloc+hyper --data demo-loop hyper.ra",
            {"hyper.rank=", "hyper.rank=none"},
            {"hyper.init=zero"},
        ),
        ("posezoo train atloc --data demo-loop optim.sch", {"optim.schedule=cosine", "optim.schedule=step"}, {"seed="}),
        (
            "posezoo train atloc --data demo-loop optim.schedule=",
            {"cosine", "step", "constant"},
            {"optim.schedule=step"},
        ),
        ("posezoo train atloc --data demo-loop optim.schedule=co", {"cosine", "constant"}, {"step"}),
        ("posezoo train atloc --data demo-loop recipe=paper-r", {"paper-robotcar"}, {"quick"}),
        ("posezoo info 7scenes-ch", {"7scenes-chess"}, {"7scenes-fire"}),
        ("posezoo list --sort M", {"MB"}, {"ms"}),
    ],
)
def test_bash(script: Path, line: str, some: set[str], none: set[str]) -> None:
    found = set(offered(script, line))
    assert found >= some
    assert not found & none


def test_runs_and_trained_models(script: Path, tmp_path: Path) -> None:
    for time_ in ("20261122T101500Z", "20261123T101500Z"):
        run = tmp_path / "outputs" / "atloc+hyper" / "demo-loop" / time_
        run.mkdir(parents=True)
        (run / "config.toml").touch()
    run_names = [f"outputs/atloc+hyper/demo-loop/{time_}" for time_ in ("20261122T101500Z", "20261123T101500Z")]
    assert offered(script, "posezoo resume out", tmp_path) == run_names
    assert offered(script, "posezoo eval posenet-anchors-d", tmp_path) == ["posenet-anchors-demo"]
    assert set(offered(script, "posezoo predict ", tmp_path)) >= {"atloc-anchors-hyper-demo", *run_names}


def shell_script(shell: str, script: Path) -> Path:
    """The script of the completion in another shell, with our program in its path."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here: apt install {shell}")
    environment = {**os.environ, "_POSEZOO_COMPLETE": f"source_{shell}"}
    command = [sys.executable, "-m", "posezoo"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    path = script.with_name(f"script.{shell}")
    path.write_text(told.stdout)
    return path


@pytest.mark.parametrize(
    ("line", "some", "none"),
    [
        ("posezoo tr", "train", "list"),
        ("posezoo train atl", "atloc+hyper", "posenet"),
        ("posezoo train atloc --data demo-l", "demo-loop", "demo-yard"),
        ("posezoo train atloc --data demo-loop optim.schedule=co", "optim.schedule=cosine", "optim.schedule=step"),
    ],
)
def test_fish(script: Path, line: str, some: str, none: str) -> None:
    """A real fish, asked what it would offer."""
    command = f"set -x PATH {script.parent} $PATH; source {shell_script('fish', script)}; complete -C '{line}'"
    told = subprocess.run(["fish", "-c", command], capture_output=True, text=True, check=True, timeout=120)
    offered = {row.split("\t")[0] for row in told.stdout.splitlines()}
    assert some in offered and none not in offered, told


def test_no_torch_is_imported() -> None:
    code = "import sys; from posezoo.cli import run; run([]); sys.exit('torch' in sys.modules)"
    words = {"_POSEZOO_COMPLETE": "complete_bash", "COMP_WORDS": "posezoo\ntrain\natloc\nopt", "COMP_CWORD": "3"}
    told = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **words}, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told
    assert "optim.name=adamw" in told.stdout.split()


def test_an_unreadable_catalogue_offers_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_plugins: None
) -> None:
    from posezoo.catalogue import files

    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "x.toml").write_text("no toml")
    monkeypatch.setattr(files, "own_folder", lambda: tmp_path)
    assert complete.data(None, "demo") == []  # type: ignore[arg-type]


BASH = ["bash", "--norc", "--noprofile", "-i"]
ZSH = ["zsh", "-f", "-i"]


@pytest.mark.parametrize("argv", [BASH, ZSH], ids=["bash", "zsh"])
def test_typed_in_a_terminal(script: Path, tmp_path: Path, argv: list[str]) -> None:
    """The TAB key itself: the one name that fits is written out."""
    start = f"source {script}"
    if argv == ZSH:
        start = (
            f"PATH={script.parent}:$PATH; autoload -Uz compinit; compinit -u -D; source {shell_script('zsh', script)}"
        )
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.environ.update(PS1="$ ", TERM="dumb" if argv == BASH else "xterm", HOME=str(tmp_path))
        os.execvp(argv[0], argv)
    os.write(terminal, f"{start}; echo re''ady\n".encode())
    waited_for(terminal, b"ready")
    os.write(terminal, b"posezoo data how-to cambridge-kin\t")
    seen = waited_for(terminal, b"cambridge-kings-college")
    os.write(terminal, b"\x03\x04")
    os.close(terminal)
    os.waitpid(pid, 0)
    assert b"cambridge-kings-college" in seen


def waited_for(terminal: int, word: bytes) -> bytes:
    """What the terminal shows until the word is there, or for a minute."""
    seen, deadline = b"", time.monotonic() + 60
    while word not in seen and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 4096)
    return seen
