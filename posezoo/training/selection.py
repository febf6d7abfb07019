"""The choice of the best epoch: errors on the validation frames after each epoch, and the best model saved."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

from posezoo.base.version import __version__
from posezoo.evaluation.baselines import mean_training_pose
from posezoo.evaluation.evaluate import predict_frames
from posezoo.evaluation.metrics import pose_errors, summarise
from posezoo.training.facts import facts
from posezoo.training.run import RunFolder
from posezoo.training.saving import State
from posezoo.training.setup import Job
from posezoo.zoo import card
from posezoo.zoo.saved import save

MEDIANS = ("median_position_m", "median_orientation_deg")


class Selection:
    """Validates the model of a run and keeps the best one in its folder."""

    def __init__(self, job: Job, folder: RunFolder) -> None:
        self.job, self.folder = job, folder
        self.frames = job.dataset.frames.select(job.validation_rows)

    def validate(self, state: State) -> dict[str, Any]:
        """The line of an epoch: its errors on the validation frames, and its score (lower is better)."""
        job = self.job
        if not len(self.frames):
            return {"score": -float(state.epoch)}
        poses, _ = predict_frames(
            job.model, job.cache, job.validation_rows, self.frames, job.config.batch_size, job.accelerator.device
        )
        summary = self._summary(poses)
        # both medians as fractions of the mean pose's, added: neither metres nor degrees dominate
        score = float(sum(summary[key] / max(self._baseline[key], 1e-6) for key in MEDIANS))
        errors = {key: value for key, value in summary.items() if key != "recalls"}
        return {"split": job.config.selection, **errors, "score": score}

    def keep_if_best(self, state: State, score: float, last: bool) -> None:
        """Save the model if no epoch was better; the last one in any case if none was chosen."""
        better = math.isfinite(score) and (not state.best or score < state.best["score"])
        if better or (last and not state.best):
            state.best = {"epoch": state.epoch, "step": state.step, "score": score}
            if self.job.accelerator.is_main_process:
                known = facts(self.job, state.best)
                about = {"name": str(self.job.blueprint.name), "posezoo": __version__, **known}
                save(self.job.model, self.folder.path / "best", card.text(about, None), **known)

    @cached_property
    def _baseline(self) -> dict[str, Any]:
        """The errors of the mean pose of the training frames."""
        return self._summary(mean_training_pose(self.job.dataset.frames.select(self.job.train_rows), self.frames))

    def _summary(self, poses: Any) -> dict[str, Any]:
        true = self.frames.position, self.frames.quaternion
        return summarise(*pose_errors(poses.position, poses.quaternion, *true), intervals=False)
