"""The run folder: one process at a time, its configuration, and metrics that a kill cannot damage.

`outputs/<model>/<data>/<UTC time>/` with config.toml, metrics.jsonl, ckpt/, phases/, best/, report/ and
run.lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
import tomllib
import traceback
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import tomli_w

from posezoo.base.errors import (
    Finding,
    LockedError,
    PluginError,
    PosezooError,
    UsageError,
    redacted,
)
from posezoo.base.files.lock import lock
from posezoo.base.files.write import write_whole, writing
from posezoo.base.paths import user_path
from posezoo.base.poses import printable
from posezoo.catalogue import settings

if TYPE_CHECKING:
    from filelock import BaseFileLock

CONFIG, METRICS, LOCK, SKIPPED = "config.toml", "metrics.jsonl", "run.lock", "skipped.txt"
AGAIN = "free space, then posezoo resume"


class RunFolder:
    """A run folder locked by this process; `with RunFolder(path)` frees it at the end, and so does any kill."""

    def __init__(self, path: Path, locked: bool = True, patience: float = 0.0) -> None:
        """`locked`: False for the other processes of a run, which write nothing. `patience`: seconds to wait for it."""
        self.path = path
        self._metrics: IO[str] | None = None
        self._lock: BaseFileLock | None = None
        self._made: list[Path] = []
        if locked:
            with writing(f"the run folder {path}", "choose another with out="):
                self._acquire_lock(patience)

    def _acquire_lock(self, patience: float) -> None:
        self._made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        file, until = self.path / LOCK, time.monotonic() + patience
        self._lock = lock(file)
        while self._lock is None and time.monotonic() < until:
            time.sleep(0.2)
            self._lock = lock(file)
        if self._lock is None:
            holder = file.read_text(encoding="utf-8").strip() or "another process"
            raise LockedError(f"{self.path} is used by {holder}", "wait, or choose another folder with out=")
        # not renamed into place: the file itself is locked
        file.write_text(f"pid {os.getpid()} on host {socket.gethostname()} since {utc_now()}", encoding="utf-8")

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        begun = (self.path / CONFIG).exists()
        foreign = isinstance(error, Exception) and not isinstance(error, PosezooError)
        if foreign or (begun and isinstance(error, PluginError)):
            # a bug, ours or a plugin's: its traceback must outlive the terminal
            with contextlib.suppress(OSError):
                crash = self.path / f"crash-{utc_now().replace(':', '')}.txt"
                crash.write_text(redacted("".join(traceback.format_exception(error))), encoding="utf-8")
        if self._metrics:
            self._metrics.close()
        if self._lock:
            if not begun:  # leave no empty folder behind
                with contextlib.suppress(OSError):
                    (self.path / LOCK).unlink()
                    for folder in self._made or [self.path]:
                        folder.rmdir()
            self._lock.release()

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.toml; None is written as "none", because TOML has no null."""
        write_whole(self.path / CONFIG, tomli_w.dumps(settings.to_toml(config)), AGAIN)

    def write_skipped(self, skipped: Sequence[Finding]) -> None:
        """Write skipped.txt, a line for each bad frame that was left out; no file if there is none."""
        if skipped:
            lines = "".join(f"{finding}\n" for finding in skipped)
            write_whole(self.path / SKIPPED, printable(lines), AGAIN)

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Add one line to metrics.jsonl, with its sum. Raises ResourceError if it cannot be written."""
        with writing(self.path / METRICS, AGAIN):
            if self._metrics is None:
                self._metrics = (self.path / METRICS).open("a", encoding="utf-8")
            text = json.dumps(line)
            self._metrics.write(f'{text[:-1]}, "crc": "{_sum(text)}"}}\n')
            self._metrics.flush()

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl so far, those that are none left out."""
        path = self.path / METRICS
        texts = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        return [line for line in map(_metrics_line, texts) if line is not None]

    def rewind_metrics(self, step: int, epoch: int) -> list[str]:
        """Drop what comes after `step` and `epoch`, and a line that a kill cut short: they are about to be recomputed.

        An epoch's evaluation has the step of its last batch; `epoch` shows whether it was done. Returns what is wrong
        with the lines that stay: one that is no line of a run is dropped, a step that is missing is told.
        """
        path = self.path / METRICS
        if not path.exists() or self._lock is None:
            return []
        kept, problems, last = [], [], 0
        texts = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for number, text in enumerate(texts, 1):
            line = _metrics_line(text)
            if line is None:
                if number < len(texts):
                    problems.append(f"{METRICS}: line {number} is damaged and was dropped")
                continue
            if line["step"] > step or line.get("epoch", 0) > epoch:
                continue
            kept.append(text + "\n")
            if "loss" in line:
                problems += [f"{METRICS}: step {line['step']} follows step {last}"] if line["step"] != last + 1 else []
                last = line["step"]
        write_whole(path, "".join(kept), AGAIN)
        return problems


def _metrics_line(text: str) -> dict[str, Any] | None:
    """A line of metrics.jsonl without its sum; None if it is none, or if the sum is that of another."""
    try:
        line = json.loads(text)
        good = isinstance(line, dict) and type(line["step"]) is int and type(line.get("epoch", 0)) is int
    except (ValueError, KeyError, RecursionError):
        return None
    if not good:
        return None
    found = line.pop("crc", None)
    return line if found in (None, _sum(json.dumps(line))) else None


def _sum(text: str) -> str:
    """CRC-32 in hexadecimal digits."""
    return f"{zlib.crc32(text.encode()):08x}"


def new_run_path(out: str | None, model: str, data: str, base: Path = Path("outputs")) -> Path:
    """The folder of a new run. An `out` that already holds a run is refused: nothing is ever overwritten."""
    if out is not None:
        path = user_path(out)
        if (path / CONFIG).exists():
            raise UsageError(f"{path} already holds a run", f"posezoo resume {path}, or choose another out=")
        return path
    # data names such as "folder:photos" and model names such as "atloc+hyper" become one path component each
    parts = [re.sub(r"[^A-Za-z0-9_+=.-]+", "-", part) for part in (model, data)]
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    path = base / parts[0] / parts[1] / stamp
    number = 2
    while path.exists():  # two runs in one second
        path = path.with_name(f"{stamp}-{number}")
        number += 1
    return path


def newest_run(base: Path = Path("outputs")) -> Path:
    """The run below `base` that was started last. Raises UsageError if there is none."""
    runs = [path.parent for path in base.glob(f"*/*/*/{CONFIG}")]
    if not runs:
        raise UsageError(f"no run below {base}", "give a run folder: posezoo resume RUN")
    return max(runs, key=lambda run: (run.name, run.stat().st_mtime))


def read_config(path: Path) -> dict[str, Any]:
    """The run's config.toml. Raises UsageError if `path` holds no run, or the file is not a run's."""
    try:
        config: dict[str, Any] = settings.from_toml(tomllib.loads((path / CONFIG).read_text(encoding="utf-8")))
        model, data = config["model"], config["train"]["data"]
        if not (isinstance(model["name"], str) and isinstance(data["name"], str)):
            raise TypeError("names are text")
        if not (isinstance(model["config"], dict) and isinstance(model["modifiers"], dict)):
            raise TypeError("model.config and model.modifiers are tables")
        return config
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{path} holds no run (no {CONFIG})", "give a run folder: outputs/MODEL/DATA/TIME") from None
    except KeyError as error:
        raise UsageError(f"{path / CONFIG}: {error.args[0]} is missing", "restore it, or train again") from None
    except (OSError, ValueError, TypeError, RecursionError) as error:  # not TOML, not UTF-8, not a run's
        raise UsageError(f"{path / CONFIG}: {error}", "restore it, or train again") from None


FREE = (
    *(f"train.{key}" for key in ("track", "read_every", "device", "workers", "checkpoint", "out", "data.root")),
    "model.config.pretrained_backbone",
)
"""What may be changed between two parts of a run, as it changes no result (a device is told of)."""


def differences(then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What two configurations differ in, as `train.optim.lr 0.0005 -> 0.001`; not what is `FREE`."""
    found = []
    for key in dict.fromkeys([*then, *now]):
        name, old, new = f"{prefix}{key}", then.get(key), now.get(key)
        if name in FREE:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{name}.")
        elif old != new:
            found.append(f"{name} {old} -> {new}")
    return found


def as_stored(value: Any) -> Any:
    """As it comes back from a file: tuples are lists."""
    return json.loads(json.dumps(value))


def utc_now() -> str:
    """Now, as UTC ISO time with Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
