"""Test-time augmentation that is true to the pose: the mean over rolled cameras, each answer rolled back.

What `posezoo predict --tta` does on demand, as a part of the model: saved, loaded and exported with it. Training is not
changed.
"""

from dataclasses import dataclass

from posezoo.nn.model import PoseModel
from posezoo.nn.rolls import average_rolls


@dataclass(frozen=True)
class TtaConfig:
    """The settings of `+tta`; each field is a key on the command line."""

    angles: tuple[float, ...] = (-4.0, 4.0)
    """Degrees, in addition to the image as it is."""


def apply(model: PoseModel, config: TtaConfig) -> None:
    """Let the model answer with the mean pose when it is in eval mode, by a forward hook."""
    average_rolls(model, config.angles)
