"""The choice of the best epoch: errors on the validation frames after each epoch, and the best model saved.

Of each phase but the last the best weights are also kept in `phases/NUMBER.safetensors`, from which the next phase
starts. A file of its own for each: `best/` may already hold a later phase's when an earlier one is resumed.
"""

from __future__ import annotations

import math
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

from posezoo.base.errors import WeightsError
from posezoo.base.files.write import write_whole, writing
from posezoo.base.version import __version__
from posezoo.evaluation.baselines import mean_training_pose
from posezoo.evaluation.evaluate import predict_frames
from posezoo.evaluation.metrics import pose_errors, summarise
from posezoo.nn.place import disclosures
from posezoo.training.facts import facts
from posezoo.training.run import AGAIN, RunFolder
from posezoo.training.saving import State
from posezoo.training.setup import Job
from posezoo.zoo import card
from posezoo.zoo.find import CARD
from posezoo.zoo.saved import save

MEDIANS = ("median_position_m", "median_orientation_deg")


class Selection:
    """Validates the model of a run and keeps the best one in its folder."""

    def __init__(self, job: Job, folder: RunFolder) -> None:
        self.job, self.folder = job, folder
        self.frames = job.dataset.frames.select(job.validation_rows)

    def validate(self, epoch: int) -> dict[str, Any]:
        """The line of an epoch that has ended: its errors on the validation frames, and its score (lower is better)."""
        job = self.job
        if not len(self.frames):
            return {"score": -float(epoch)}
        job.processes.copy_buffers(job.judged)
        poses, _ = predict_frames(
            job.judged, job.cache, job.validation_rows, self.frames, job.config.batch_size, job.accelerator.device,
            share=job.processes,
        )  # fmt: skip
        summary = self._summary(poses)
        # both medians as fractions of the mean pose's, added: neither metres nor degrees dominate
        score = float(sum(summary[key] / max(self._baseline[key], 1e-6) for key in MEDIANS))
        if job.config.selection == "last":
            score = -float(epoch)  # the data's own validation frames are watched, and choose nothing
        errors = {key: value for key, value in summary.items() if key != "recalls"}
        return {"split": job.config.selection, **errors, "score": score}

    def keep_if_best(self, state: State, score: float, last: bool) -> None:
        """Save the model if no epoch was better; the last one in any case if none was chosen."""
        better = math.isfinite(score) and (not state.best or score < state.best["score"])
        if better or (last and not state.best):
            state.best = {"epoch": state.epoch, "step": state.step, "score": score}
            if self.job.processes.is_main:
                known = facts(self.job, state.best)
                about = {"name": str(self.job.blueprint.name), "posezoo": __version__, **known}
                about["disclosures"] = disclosures(self.job.judged)
                best = self.folder.path / "best"
                own = (best / CARD).read_text(encoding="utf-8") if card.is_handwritten(best / CARD) else None
                save(self.job.judged, best, own or card.text(about, None), **known)
                if state.phase < len(self.job.config.plan) - 1:
                    self._keep_for_next(self._best_of(state.phase))

    def take_best(self, state: State) -> None:
        """At the end of a phase: give the model the weights of the best epoch so far. Raises WeightsError."""
        if not state.best:
            return  # no epoch had a finite score: it goes on with what it has
        ends = accumulate(phase.epochs for phase in self.job.config.plan)
        path = self._best_of(next(number for number, end in enumerate(ends) if state.best["epoch"] <= end))
        try:
            content = self.job.processes.told_bytes(path.read_bytes)
            weights = safetensors.torch.load(content)
        except (OSError, SafetensorError) as error:
            why = "damaged" if isinstance(error, SafetensorError) else "missing"
            raise WeightsError(f"{path}, from which the next phase starts, is {why}", "start a new run") from error
        self.job.model.load_state_dict(weights)

    def _keep_for_next(self, path: Path) -> None:
        with writing(path, AGAIN):
            path.parent.mkdir(exist_ok=True)
        tensors = {key: value.contiguous() for key, value in self.job.judged.state_dict().items()}
        write_whole(path, safetensors.torch.save(tensors), AGAIN)

    def _best_of(self, phase: int) -> Path:
        return self.folder.path / "phases" / f"{phase}.safetensors"

    @cached_property
    def _baseline(self) -> dict[str, Any]:
        """The errors of the mean pose of the training frames."""
        return self._summary(mean_training_pose(self.job.dataset.frames.select(self.job.train_rows), self.frames))

    def _summary(self, poses: Any) -> dict[str, Any]:
        true = self.frames.position, self.frames.quaternion
        return summarise(*pose_errors(poses.position, poses.quaternion, *true))
