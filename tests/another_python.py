"""Code run in another Python process, for what a process decides once: plugins, imports, the hub's address."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_python(code: str, *arguments: str, path: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """What `python -c code arguments` gave, with `path` importable and the variables `env` set."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("POSEZOO_PLUGIN", "POSEZOO_STRICT"))}
    own |= env
    if path is not None:
        own["PYTHONPATH"] = os.pathsep.join(filter(None, [str(path), own.get("PYTHONPATH", "")]))
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=own, capture_output=True, text=True, timeout=300, check=False)
