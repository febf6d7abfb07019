"""The checkpoint store: a kill at any moment leaves a complete checkpoint, and the newest complete one is found.

`RUN/ckpt/step-000001234/` holds `model.safetensors`, `state.pt` and `manifest.json` with size and sha256 of each file.
It is written whole: beside its place, every file and the folder synced, then renamed (posezoo.base.files.write). There
is no pointer file: the newest is found by scanning, and its hashes are checked before it is used. An old checkpoint is
deleted only after the new one has been read back.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from posezoo.base.errors import ResourceError, WeightsError
from posezoo.base.files.write import is_full, replacement, sweep
from posezoo.base.observe import Note
from posezoo.training.processes import Processes

SCHEMA = 1
WEIGHTS, STATE, MANIFEST = "model.safetensors", "state.pt", "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint read back: the model's tensors, the rest of the state, and its manifest."""

    path: Path
    weights: dict[str, Tensor]
    state: dict[str, Any]
    manifest: dict[str, Any]


def save(
    run: Path, step: int, weights: Mapping[str, Tensor], state: Mapping[str, Any], facts: Mapping[str, Any], keep: int
) -> Path:
    """Write a checkpoint for `step` and delete all but the newest `keep`. Raises ResourceError; old ones stay then.

    `state` may hold tensors and plain Python values only: it is read back with weights_only=True.
    """
    store = run / "ckpt"
    if not run.is_dir():
        raise ResourceError(f"the run folder {run} has vanished", "its checkpoints are gone; train again")
    target = store / f"step-{step:09d}"
    if target.exists():
        if not _check(target):
            return target  # saved at this step already; a good checkpoint is never rewritten
        shutil.rmtree(target)  # a damaged one that was skipped, and its step has come again
    content: dict[str, bytes] = {}
    try:
        with replacement(target, folder=True) as temporary:
            buffer = io.BytesIO()
            torch.save(dict(state), buffer)
            content[WEIGHTS] = safetensors.torch.save({k: v.contiguous() for k, v in weights.items()})
            content[STATE] = buffer.getvalue()
            for name, data in content.items():
                (temporary / name).write_bytes(data)
            files = {n: {"size": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in content.items()}
            manifest = {"schema": SCHEMA, "step": step, **facts, "files": files}
            manifest["sum"] = _sum(manifest)
            (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise _resource_error(error, store, sum(map(len, content.values()))) from error
    problem = _check(target)
    if problem:
        raise ResourceError(f"checkpoint {target} did not read back ({problem})", "check the disk")
    # a newer one was skipped as damaged: it must not count among those to keep
    older = [path for path in _scan(store) if path.name < target.name]
    for old in older[: max(0, len(older) - (keep - 1))]:
        shutil.rmtree(old)
    return target


def latest(run: Path) -> tuple[Checkpoint, list[str]]:
    """The newest complete checkpoint, and a warning for each newer one that was skipped.

    Leftovers of killed saves are removed. Raises WeightsError if there is no usable checkpoint.
    """
    store = run / "ckpt"
    swept = [path.name for path in sweep(run) if path.parent == store]  # other files cut short are written again
    warnings = [f"ignored incomplete checkpoint {name} (removed)" for name in swept]
    problems: list[str] = []
    for path in reversed(_scan(store)):
        problem = _check(path)
        if not problem:
            try:
                weights = safetensors.torch.load_file(path / WEIGHTS)
                state = torch.load(path / STATE, map_location="cpu", weights_only=True)
            except (SafetensorError, pickle.UnpicklingError, RuntimeError) as error:
                problem = ascii(error)[:80]  # intact, but not written by this version
            else:
                manifest = _manifest(path)
                assert isinstance(manifest, dict), "checked"
                warnings += [f"skipped a damaged checkpoint: {p}" for p in problems]
                return Checkpoint(path, weights, state, manifest), warnings
        problems.append(f"{path.name} ({problem})")
    shown = ", ".join(problems[:3]) or "none was saved"
    raise WeightsError(f"no usable checkpoint in {run}: {shown}", "start over with posezoo train")


def shared(processes: Processes, run: Path, note: Note) -> Checkpoint | None:
    """The newest complete checkpoint, in all processes; None if none was saved. The main process alone reads it."""
    found: Checkpoint | None = None

    def manifest() -> dict[str, Any] | None:
        nonlocal found
        if not any_saved(run):
            _refuse_finished(run)
            sweep(run)  # what a killed first save has left
        else:
            found, warnings = latest(run)
            for warning in warnings:
                note(warning)
        return found.manifest if found else None

    def state() -> bytes:
        buffer = io.BytesIO()
        if found:
            torch.save(found.state, buffer)
        return buffer.getvalue()

    facts = processes.told(manifest)
    if processes.world == 1 or facts is None:
        return found
    weights, rest = (
        processes.told_bytes(lambda: safetensors.torch.save(found.weights if found else {})),
        processes.told_bytes(state),
    )
    read = torch.load(io.BytesIO(rest), map_location="cpu", weights_only=True)
    return Checkpoint(run / "ckpt" / f"step-{facts['step']:09d}", safetensors.torch.load(weights), read, facts)


def any_saved(run: Path) -> bool:
    """Whether the run has a checkpoint folder, damaged or not."""
    return bool(_scan(run / "ckpt"))


def stored_config(run: Path) -> dict[str, Any] | None:
    """The configuration that the newest intact manifest holds; None without one. No weights are read."""
    for path in reversed(_scan(run / "ckpt")):
        found = _manifest(path)
        if isinstance(found, dict):
            config: dict[str, Any] | None = found.get("config")
            return config
    return None


def _refuse_finished(run: Path) -> None:
    """A run that has ended and whose checkpoints were deleted is not begun again: its metrics would be lost."""
    if (run / "report" / "report.json").exists():
        what = f"{run} has ended, and its checkpoints were deleted"
        raise WeightsError(what, f"posezoo eval {run}; to train anew, posezoo train with another out=")


def _scan(store: Path) -> list[Path]:
    """The checkpoint folders in order of their steps."""
    return sorted(path for path in store.glob("step-*") if path.is_dir())


def _check(path: Path) -> str:
    """What is wrong with a checkpoint; empty if nothing is."""
    manifest = _manifest(path)
    if isinstance(manifest, str):
        return manifest
    try:
        for name in (WEIGHTS, STATE):
            data, entry = (path / name).read_bytes(), manifest["files"][name]
            if len(data) != entry["size"]:
                return f"{name} truncated"
            if hashlib.sha256(data).hexdigest() != entry["sha256"]:
                return f"{name}: sha256 differs"
    except FileNotFoundError as error:
        return f"no {Path(str(error.filename)).name}"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _manifest(path: Path) -> dict[str, Any] | str:
    """A checkpoint's manifest, or what is wrong with it."""
    try:
        found = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if found["schema"] > SCHEMA:
            return "written by a newer posezoo"
        kinds = {"step": int, "torch": str, "num_threads": int, "device": str, "data_digest": str, "files": dict}
        good = all(type(found[key]) is kind for key, kind in kinds.items()) and found["step"] == int(path.name[5:])
        for entry in (found["files"][name] for name in (WEIGHTS, STATE)):
            good = good and type(entry["size"]) is int and type(entry["sha256"]) is str
        if good and found.get("sum", (own := _sum(found))) == own:
            manifest: dict[str, Any] = found
            return manifest
    except FileNotFoundError as error:
        return f"no {Path(str(error.filename)).name}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return "manifest damaged"


def _sum(manifest: Mapping[str, Any]) -> str:
    """sha256 over all else that the manifest says."""
    rest = {key: value for key, value in manifest.items() if key != "sum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _resource_error(error: OSError, store: Path, need: int) -> ResourceError:
    if is_full(error):
        free = shutil.disk_usage(store.parent).free
        size = f"need {need / 1e6:.0f} MB, {free / 1e6:.0f} MB free"
        return ResourceError(
            f"disk full while saving a checkpoint ({size}): {store}", "free space, then posezoo resume"
        )
    return ResourceError(
        f"cannot save a checkpoint: {store}: {error.strerror}", "check the folder, then posezoo resume"
    )
