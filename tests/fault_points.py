"""Kill, signal or starve posezoo at a chosen moment. posezoo knows nothing of it: what it calls anyway is wrapped.

    with fault_points.at("checkpoint.rename:kill9:2"):
        cli.run(argv)

A fault is `moment:action[:n]`: the action at the n-th pass of the moment in this process, by default at the first.
Moments: `FILES` and `CALLS` below. Actions: `kill9` (the process dies as by the kernel), `sigterm`, `sigint`, `sigusr1`
and `sigusr2` (a signal to itself), `group-sigterm` and `group-sigint` (to its process group, data workers included),
`sigint-twice`, `raise` (an exception), `full` (the disk is full), `workers` (its data workers die), `wait` (for a
minute, or a signal), and at a step `nan` (the loss is not a number).
"""

from __future__ import annotations

import builtins
import errno
import functools
import importlib
import io
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

CHECKPOINT = r"/ckpt/[^/]*step-\d+[^/]*"  # also while it has another name
FILES = {  # what happens to the files whose whole path fits
    "checkpoint.weights": ("closed", CHECKPOINT + r"/model\.safetensors$"),
    "checkpoint.state": ("closed", CHECKPOINT + r"/state\.pt$"),
    "checkpoint.manifest": ("closed", CHECKPOINT + r"/manifest\.json$"),
    "checkpoint.rename": ("before renaming to", r"/ckpt/step-\d+$"),
    "appearance.picture": ("before renaming to", r"\.png$"),
    "unpack.file": ("closed", r"/unpacking-[^/]*/"),
    "unpack.merge": ("before touching", r"\.renaming$"),
    "unpack.rename": ("renamed from", r"/unpacking-[^/]*/"),
    "unpack.note": ("before opening", r"/\.posezoo/(?!lock$)[^/]*$"),
    "cache.image": ("written", r"/images/[^/]*/pixels\.u8$"),
    "cache.rename": ("before renaming to", r"/images/[0-9a-f]{64}$"),
}
CALLS = {  # when one of the functions has returned; if a pattern is given, for the folders (second argument) that fit
    "built": ("posezoo.training.setup:checked_model", ""),
    "step": ("posezoo.nn.losses:PoseLoss.forward", ""),
    "embed": ("posezoo.nn.transforms:preprocess", ""),  # a batch of evaluation, or of what the place is learned from
    "baselines": ("posezoo.evaluation.baselines:mean_training_pose", ""),  # before epoch 1 is told, and in the report
    "report": ("posezoo.evaluation.report:Report.to_dict", ""),
    "best": ("posezoo.zoo.saved:save", r"/best$"),
    "build.trained": ("posezoo.training.train:train posezoo.training.train:resume", ""),
    "build.stored": ("posezoo.zoo.saved:save", r"/model$"),
    "build.evaluated": ("posezoo.evaluation.report:Report.save", r"(?<!/run)/report$"),
    "build.pushed": ("posezoo.publish.push:push", ""),
}
USERS = ("posezoo.training.train", "posezoo.publish.build")  # they import these functions by name


@contextmanager
def at(fault: str) -> Iterator[None]:
    """`fault` happens in the block; nothing does if it is empty."""
    moment, action, number = [*fault.split(":"), "1"][:3] if fault else ["", "", "1"]
    passes = _Passes(action, int(number))
    with ExitStack() as patches:
        if moment in FILES:
            _watch_files(patches, *FILES[moment], passes)
        elif moment in CALLS:
            functions, pattern = CALLS[moment]
            for function in functions.split():
                _watch_calls(patches, function, pattern, passes)
        else:
            assert not fault, f"no such moment: {fault}"
        yield


class _Passes:
    """Counts the passes of a moment and acts at one of them."""

    def __init__(self, action: str, number: int) -> None:
        self.action, self.left = action, number

    def __call__(self) -> bool:
        """Act if it is the time; whether it was."""
        self.left -= 1
        if self.left:
            return False
        match self.action:
            case "kill9":
                os.kill(os.getpid(), signal.SIGKILL)
            case "sigterm" | "sigint":
                os.kill(os.getpid(), signal.SIGTERM if self.action == "sigterm" else signal.SIGINT)
            case "sigusr1" | "sigusr2":
                os.kill(os.getpid(), getattr(signal, self.action.upper()))
            case "raise":
                raise RuntimeError("raised on purpose")
            case "group-sigterm" | "group-sigint":
                os.killpg(os.getpgrp(), signal.SIGTERM if self.action == "group-sigterm" else signal.SIGINT)
            case "sigint-twice":
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
            case "workers":
                for process in multiprocessing.active_children():
                    process.kill()
            case "wait":
                time.sleep(60)
            case "full":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return True


def _watch_files(patches: ExitStack, when: str, pattern: str, passes: _Passes) -> None:
    def fits(path: Any) -> bool:
        return not isinstance(path, int) and bool(re.search(pattern, str(Path(os.fsdecode(path)).absolute())))

    def put(place: Any, name: str, wrap: Callable[[Any], Any]) -> None:
        patches.enter_context(mock.patch.object(place, name, wrap(getattr(place, name))))

    def opener(open_file: Any) -> Any:
        def opening(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
            if not set(mode) & set("wxa+") or not fits(file):
                return open_file(file, mode, *rest, **more)
            if when == "before opening":
                passes()
            return _watched(open_file(file, mode, *rest, **more), when, passes)

        return opening

    def mover(rename: Any) -> Any:
        def moving(source: Any, target: Any, **more: Any) -> None:
            if when == "before renaming to" and fits(target):
                passes()
            rename(source, target, **more)
            if when == "renamed from" and fits(source):
                passes()

        return moving

    def toucher(touch: Any) -> Any:
        def touching(path: Path, *rest: Any, **more: Any) -> None:
            if when == "before touching" and fits(path):
                passes()
            touch(path, *rest, **more)

        return touching

    for place in (builtins, io):
        put(place, "open", opener)
    for name in ("rename", "replace"):
        put(os, name, mover)
    put(Path, "touch", toucher)


def _watched(file: Any, when: str, passes: _Passes) -> Any:
    """The file, which passes the moment after each write, or when it is closed."""
    write, close = file.write, file.close

    def writing(data: Any) -> int:
        count = write(data)
        passes()
        return count

    def closing() -> None:
        was_open = not file.closed
        close()
        if was_open:
            passes()

    if when == "written":
        file.write = writing
    elif when == "closed":
        file.close = closing
    return file


def _watch_calls(patches: ExitStack, function: str, pattern: str, passes: _Passes) -> None:
    for user in USERS:
        importlib.import_module(user)
    module, _, path = function.partition(":")
    *owners, name = path.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    original = getattr(owner, name)

    @functools.wraps(original)
    def called(*given: Any, **more: Any) -> Any:
        result = original(*given, **more)
        if not pattern or re.search(pattern, str(Path(given[1]).absolute())):
            now = passes()
            if now and passes.action == "nan":
                result = result._replace(total=result.total * float("nan"))
        return result

    places = [module for key, module in sys.modules.items() if key.startswith("posezoo")]
    for place in (owner, *places):
        for key in [key for key, value in vars(place).items() if value is original]:
            patches.enter_context(mock.patch.object(place, key, called))
