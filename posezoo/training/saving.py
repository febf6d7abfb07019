"""The state of a run, saved at intervals, at the end of a phase, and when the run is asked to stop."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from posezoo.base.errors import Interrupted
from posezoo.base.version import __version__
from posezoo.training import checkpoint
from posezoo.training.phase import Phase
from posezoo.training.run import RunFolder
from posezoo.training.setup import Job
from posezoo.training.signals import StopFlag


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


class Saver:
    """Saves a run's state. Only the main process writes; all of them agree when to stop."""

    def __init__(self, job: Job, folder: RunFolder, stop: StopFlag, state: State) -> None:
        self.job, self.folder, self.stop, self.state = job, folder, stop, state
        self.saved_at = time.monotonic()

    def save_if_due(self, phase: Phase) -> None:
        """Save if enough steps or seconds have passed."""
        wanted = self.job.config.checkpoint
        due = wanted.every_steps and self.state.step % wanted.every_steps == 0
        if due or time.monotonic() - self.saved_at > wanted.every_seconds:
            self.save(phase)

    def asked_to_stop(self) -> bool:
        """Whether a signal has reached any process of the run; all of them must ask at the same point."""
        accelerator = self.job.accelerator
        if accelerator.num_processes > 1:
            flag = torch.tensor([self.stop.signal], device=accelerator.device)
            self.stop.signal = int(accelerator.gather(flag).max())
        return bool(self.stop)

    def stop_if_asked(self, phase: Phase) -> None:
        """Save and raise Interrupted if a signal has reached any process of the run."""
        if self.asked_to_stop():
            what = f"stopped by {self.stop.name} at step {self.state.step}, checkpoint saved: {self.save(phase)}"
            raise Interrupted(what, f"posezoo resume {self.folder.path}", self.stop.exit_code)

    def save(self, phase: Phase) -> Path:
        """The folder of the checkpoint, written."""
        state = {
            "position": vars(self.state),
            "loss": phase.loss.state_dict(),
            "optimiser": phase.optimiser.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }
        if self.job.average is not None:
            state["average"] = self.job.average.state_dict()
        facts = {
            "torch": torch.__version__,
            "num_threads": torch.get_num_threads(),
            "device": self.job.accelerator.device.type,
            "data_digest": self.job.dataset.digest,
            "inputs_digest": self.job.inputs_digest,
            "posezoo": __version__,
        }
        target = self.folder.path / "ckpt" / f"step-{self.state.step:09d}"
        if self.job.accelerator.is_main_process:
            weights, keep = self.job.model.state_dict(), self.job.config.checkpoint.keep
            target = checkpoint.save(self.folder.path, self.state.step, weights, state, facts, keep)
        self.saved_at = time.monotonic()
        return target
