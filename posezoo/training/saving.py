"""The state of a run, saved at intervals, at the end of a phase, and when the run is asked to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from posezoo.base.errors import Interrupted, UsageError, WeightsError
from posezoo.base.version import __version__
from posezoo.catalogue import settings
from posezoo.training import checkpoint
from posezoo.training.config import TrainConfig
from posezoo.training.phase import Phase
from posezoo.training.run import CONFIG, RunFolder, as_stored, differences, read_config
from posezoo.training.setup import Job
from posezoo.zoo.blueprint import Blueprint, blueprint_from

MINUTE, SHARE = 60.0, 0.02
"""With as many seconds between checkpoints or more, saving takes at most this part of the time."""


@dataclass
class State:
    """The progress of a run: the next batch to train on, and the best epoch so far."""

    phase: int = 0
    epoch: int = 0
    """Counted over all phases."""
    batch: int = 0
    step: int = 0
    best: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    """Spent on steps and validation so far, over all resumptions."""


def configuration(config: TrainConfig, blueprint: Blueprint) -> dict[str, Any]:
    """What config.toml holds, besides the version."""
    return {"train": config.model_dump(), "model": blueprint.as_dict()}


def require_same(path: Path, then: Mapping[str, Any] | None, now: Mapping[str, Any]) -> None:
    """Raise UsageError if config.toml has been changed since the run's checkpoint was written.

    A setting that one of them lacks, because an older version of posezoo wrote it, has its default there.
    """
    found = differences(_completed(then, path), _completed(now, path)) if then else []
    if found:
        what = f"{path / CONFIG} differs from what was trained: {', '.join(found[:3])}"
        raise UsageError(what, "restore the file; for other settings start anew: posezoo train with another out=")


def require_made_so(path: Path, config: TrainConfig, blueprint: Blueprint, hint: str) -> None:
    """Raise UsageError if the run in `path` was made with other settings than these, of the model or the training."""
    then, now = (_completed(one, path) for one in (read_config(path), configuration(config, blueprint)))
    for one in (then, now) if config.precision == "auto" else ():  # what it was measured to be is stored
        (one["train"] or {}).pop("precision", None)
    found = differences(then, now)
    if found:
        raise UsageError(f"{path} was made with other settings: {', '.join(found[:3])}", hint)


def _completed(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    try:
        train = settings.validated(TrainConfig, config["train"], "train.").model_dump()
        known: dict[str, Any] = {"train": train, "model": blueprint_from(config["model"], path / CONFIG).as_dict()}
    except (UsageError, WeightsError, KeyError):  # it cannot be what was trained with: word for word
        known = {key: config.get(key) for key in ("train", "model")}
    completed: dict[str, Any] = as_stored(known)
    return completed


class Saver:
    """Saves a run's state. Only the main process writes; all of them agree when to save and when to stop."""

    def __init__(self, job: Job, folder: RunFolder, state: State) -> None:
        self.job, self.folder, self.state = job, folder, state
        self.processes, self.stop = job.processes, job.processes.stop
        self.saved_at, self.took = time.monotonic(), 0.0
        self.tell: Callable[[Phase], None] = lambda phase: None
        """Reads and writes what the device knows of the steps so far; before each save, which must be of good state."""

    def after_step(self, phase: Phase) -> None:
        """Save if enough steps or seconds have passed; save and raise Interrupted if any process was asked to stop."""
        due = self._due() if self.processes.is_main else False
        signal, wanted = self.processes.largest(self.stop.signal, int(due))
        self.stop.agree(signal)  # one that arrives meanwhile is kept for the next step
        if signal:
            raise self.stopped(phase, f"stopped by {self.stop.name} at step {self.state.step}")
        if wanted:
            self.save(phase)

    def stopped(self, phase: Phase, what: str) -> Interrupted:
        """The error that ends a run which was asked to stop; all is saved."""
        saved = f"{what}, checkpoint saved: {self.save(phase)}"
        return Interrupted(saved, f"posezoo resume {self.folder.path}", self.stop.exit_code)

    def _due(self) -> bool:
        wanted = self.job.config.checkpoint
        if wanted.every_steps and self.state.step % wanted.every_steps == 0:
            return True
        seconds = wanted.every_seconds
        if seconds >= MINUTE:  # whoever wants it more often knows why
            seconds = max(seconds, self.took / SHARE)
        return time.monotonic() - self.saved_at > seconds

    def save(self, phase: Phase) -> Path:
        """The folder of the checkpoint, written. Raises NotFiniteError if a step since the last one went wrong."""
        self.tell(phase)
        begun = time.monotonic()
        state = {
            "position": vars(self.state),
            "loss": phase.loss.state_dict(),
            "optimiser": phase.optimiser.state_dict(),
        }
        if self.job.average is not None:
            state["average"] = self.job.average.state_dict()
        facts = {
            "torch": torch.__version__,
            "num_threads": torch.get_num_threads(),
            "device": self.job.accelerator.device.type,
            "processes": self.processes.world,
            "data_digest": self.job.dataset.digest,
            "inputs_digest": self.job.inputs_digest,
            "posezoo": __version__,
            "config": as_stored(configuration(self.job.config, self.job.blueprint)),
        }
        target = self.folder.path / "ckpt" / f"step-{self.state.step:09d}"
        if self.processes.is_main:
            weights, keep = self.job.model.state_dict(), self.job.config.checkpoint.keep
            target = checkpoint.save(self.folder.path, self.state.step, weights, state, facts, keep)
        self.saved_at = time.monotonic()
        self.took = self.saved_at - begun
        return target
