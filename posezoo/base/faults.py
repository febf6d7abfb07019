"""Deterministic faults for tests: `POSEZOO_FAULT=point:action[:n]` acts at the n-th pass of a point.

Active only with `POSEZOO_TESTING=1`. Points: `step`, `checkpoint.weights`, `checkpoint.state`, `checkpoint.manifest`,
`checkpoint.rename`, `best`, `appearance.picture`, `unpack.file`, `unpack.merge`, `unpack.rename`, `unpack.note`,
`cache.image`, `cache.rename`, and of a build `build.trained`, `build.stored`, `build.evaluated`, `build.pushed`.
Actions: `kill9` (the process dies as by the kernel), `sigterm` and `sigint` (a signal to itself),
`group-sigterm` and `group-sigint` (to its process group, data workers included), `sigint-twice`, `nan` (the caller
makes the loss not a number), `full` (the disk is full).
"""

from __future__ import annotations

import errno
import os
import signal

_passes: dict[str, int] = {}  # of each point in this process; only tests ever fill it


def point(name: str) -> str:
    """Do what POSEZOO_FAULT says for this point; returns the action if the caller has to do it itself, else ''."""
    if os.environ.get("POSEZOO_TESTING") != "1" or not os.environ.get("POSEZOO_FAULT"):
        return ""
    where, action, *count = os.environ["POSEZOO_FAULT"].split(":")
    if where != name:
        return ""
    _passes[name] = _passes.get(name, 0) + 1
    if _passes[name] != int(count[0] if count else 1):
        return ""
    match action:
        case "kill9":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sigterm" | "sigint":
            os.kill(os.getpid(), signal.SIGTERM if action == "sigterm" else signal.SIGINT)
        case "group-sigterm" | "group-sigint":
            os.killpg(os.getpgrp(), signal.SIGTERM if action == "group-sigterm" else signal.SIGINT)
        case "sigint-twice":
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        case "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return action
