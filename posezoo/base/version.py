"""The version of posezoo, and the commit it was built from where that is known."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

__version__ = "0.1.0"


def source_commit() -> str:
    """The commit of this posezoo: of its checkout (`-dirty` if files have changed) or as pip installed it; else ""."""
    root = Path(__file__).parents[2]
    git = shutil.which("git")
    if git and (root / ".git").exists():
        command = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        return done.stdout.strip() if done.returncode == 0 else ""
    try:
        origin = json.loads(distribution("posezoo").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return ""
    return str(origin.get("vcs_info", {}).get("commit_id", ""))
