"""The package is typed for those who use it: their scripts and plugins pass strict type checkers, mistakes are found.

The checkers run in another folder, so that they read the package as it is installed, its `py.typed` included.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import posezoo

SOURCES = Path(__file__).parent / "typed"
# mypy reads all of torch, which takes most of a minute the first time
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def written(tmp_path: Path) -> list[Path]:
    """The scripts to check, away from the checkout."""
    names = ["script.py", "mistakes.py"]
    if find_spec("posezoo.plugin"):
        names.append("plugin.py")
    return [Path(shutil.copy(SOURCES / name, tmp_path)) for name in names]


def wrong(files: list[Path]) -> set[tuple[str, int]]:
    """(file, line) of what the scripts themselves mark as wrong."""
    lines = ((path, n, line) for path in files for n, line in enumerate(path.read_text().splitlines(), 1))
    return {(path.name, n) for path, n, line in lines if "# wrong:" in line}


def run(command: list[str], folder: Path) -> str:
    """What a checker printed; it ends with 1 for what it found, and with 2 or more if it could not check."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow  # .ci/run has it, against the installed wheel
def test_mypy_strict(written: list[Path], request: pytest.FixtureRequest) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    assert request.config.cache is not None
    cache = request.config.cache.mkdir("mypy-of-scripts")
    options = ["--strict", "--config-file=", f"--cache-dir={cache}", "--no-error-summary", "--hide-error-context"]
    names = [path.name for path in written]
    out = run([sys.executable, "-m", "mypy", *options, *names], written[0].parent)
    found = re.findall(r"^(.+?):(\d+): error: ", out, re.MULTILINE)
    assert {(name, int(line)) for name, line in found} == wrong(written), out


def test_pyright_strict(written: list[Path]) -> None:
    pytest.importorskip("basedpyright", reason="basedpyright is not installed")
    folder = written[0].parent
    # numpy and torch are not wholly typed: what is unknown through them is no error of the script's
    settings = {"typeCheckingMode": "strict", "reportUnknownMemberType": False, "reportUnknownVariableType": False}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", f"--pythonpath={sys.executable}"]
    report = json.loads(run([*command, *(path.name for path in written)], folder))
    errors = [each for each in report["generalDiagnostics"] if each["severity"] == "error"]
    found = {(Path(each["file"]).name, each["range"]["start"]["line"] + 1) for each in errors}
    assert found == wrong(written), errors
    assert report["summary"]["filesAnalyzed"] == len(written)


def test_what_checkers_see_is_what_is_there() -> None:
    assert set(posezoo.__all__) == {"__version__", *posezoo._HOME}
    assert all(hasattr(posezoo, name) for name in posezoo.__all__)
