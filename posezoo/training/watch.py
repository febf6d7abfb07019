"""Warnings while a run trains: it does no better than the mean pose, it diverges, it learns by heart.

Each is given once. They look at errors in metres and degrees, not at the loss, which a learned balance moves by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from posezoo.data.table import Frames
from posezoo.evaluation.baselines import mean_training_pose
from posezoo.evaluation.metrics import pose_errors

EARLY, PATIENCE = 5, 5
"""Epochs until a model should know more than the mean pose; and from the best validation error on."""
WORSE = 2.0
"""Times the smallest error in training."""


class Watch:
    """The training and validation errors of a run by epoch; what is wrong with them."""

    def __init__(self, train: Frames, epochs: int) -> None:
        mean = mean_training_pose(train, train)
        errors = pose_errors(mean.position, mean.quaternion, train.position, train.quaternion)
        self.mean_m, self.mean_deg = (float(np.mean(error)) for error in errors)
        self.early = min(EARLY, epochs)
        self.steps: list[tuple[float, float]] = []
        self.trained: list[float] = []
        self.validated: list[float] = []
        self.given: set[str] = set()

    def step(self, line: Mapping[str, Any]) -> None:
        """A line of metrics.jsonl of a training step."""
        self.steps.append((line["position_m"], line["orientation_deg"]))

    def epoch(self, line: Mapping[str, Any]) -> list[str]:
        """What to warn of, once the epoch of that line has ended."""
        if not self.steps:
            return []
        error_m, error_deg = np.mean(self.steps, axis=0).tolist()
        self.steps = []
        self.trained.append(error_m)
        found = {}
        count = len(self.trained)
        diverged = "diverges" in self.given or error_m > WORSE * min(self.trained)
        learns = error_m <= 0.95 * self.mean_m or error_deg <= 0.95 * self.mean_deg
        if not learns and not diverged and count >= self.early and self.mean_m + self.mean_deg > 0:
            found["mean"] = (
                f"after {count} epoch{'s' * (count > 1)} the model does no better than the mean pose ({error_m:.3g} m,"
                f" {error_deg:.3g} deg; {self.mean_m:.3g} m, {self.mean_deg:.3g} deg): check the poses and optim.lr"
            )
        least = min(self.trained)
        if error_m > WORSE * least and error_m > 0.5 * self.mean_m:
            found["diverges"] = (
                f"training diverges: {error_m:.3g} m in epoch {count}, {least:.3g} m before: a lower optim.lr may help"
            )
        if "median_position_m" in line:
            self.validated.append(line["median_position_m"])
            best = int(np.argmin(self.validated))
            later, falls = len(self.validated) - 1 - best, error_m < 0.8 * self.trained[best - len(self.validated)]
            if later >= PATIENCE and falls and self.validated[-1] > 1.2 * self.validated[best]:
                found["overfits"] = (
                    f"the model learns images by heart: validation was best {later} epochs ago"
                    f" ({self.validated[best]:.3g} m, now {self.validated[-1]:.3g} m): fewer epochs, more augmentation"
                )
        new = {name: text for name, text in found.items() if name not in self.given}
        self.given |= new.keys()
        return list(new.values())
