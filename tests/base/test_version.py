"""The version, and the commit that posezoo was built from."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

import posezoo
from posezoo.base.version import __version__, source_commit

ROOT = Path(__file__).parent.parent.parent


def test_the_version_is_that_of_the_package() -> None:
    assert version("posezoo") == __version__


@pytest.mark.skipif(
    not (ROOT / ".git").exists() or not shutil.which("git") or not Path(posezoo.__file__).is_relative_to(ROOT),
    reason="posezoo is not imported from a checkout",
)
def test_a_checkout_knows_its_commit() -> None:
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    found = source_commit()
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", found)
    assert found.removesuffix("-dirty") == head.stdout.strip()


def test_without_git_it_is_not_known_or_what_pip_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert re.fullmatch(r"|[0-9a-f]{40}", source_commit())
