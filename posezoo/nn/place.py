"""The two doors through which a model, a head or a modifier brings something to training.

    learn_place(place)                        once, before step 1: buffers made from the training poses and images
    extra_losses(features, output, target)    named scalars that are added to the loss of each step

Any module of a model may have either; training finds it wherever it is. One that keeps something of the training data
says so in an attribute `disclosure`, a line that config.json and the model card repeat. What `learn_place` makes must
be buffers (or parameters) whose shapes follow from the configuration, so that they are saved and loaded with the
model. The labels reach `extra_losses` only: `forward` never sees one.

Legend: B batch, N views, E embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from posezoo.base.errors import PluginError
from posezoo.nn.outputs import Features, PoseOutput

OWN_LOSSES = ("position", "rotation")
"""Names that stand in metrics.jsonl without anybody's losses."""
AFTER = "name it after the modifier"


@dataclass(frozen=True)
class Place:
    """What is known of the place before step 1: its training images, and N views of it in all.

    They are the images, and, where training moves cameras (augment.motion), after them some from beside each. World
    axes and units are those of the data.
    """

    position: np.ndarray
    """(N, 3) float64, camera centres, metres."""
    quaternion: np.ndarray
    """(N, 4) float64, camera-to-world, (w, x, y, z), unit, w >= 0."""
    scene: np.ndarray
    """(N,) int64, index into the model's scenes."""
    intrinsics: np.ndarray
    """(N, 4) float64 fx, fy, cx, cy in pixels of the image as it is stored; NaN where unknown."""
    embed: Callable[[Sequence[int]], Tensor]
    """The image embeddings (n, E) float32 of these views, numbered 0..N-1, as the model computes them at the start: in
    eval mode, images not augmented."""


class Target(NamedTuple):
    """The truth of a batch, for `extra_losses`."""

    position: Tensor  # (B, 3) float64 camera centre, metres
    quaternion: Tensor  # (B, 4) float64 camera-to-world, unit, w >= 0: of the augmented image
    scene: Tensor | None  # (B,) index into the model's scenes; None where the model has one


def learners(model: nn.Module) -> list[nn.Module]:
    """The modules of `model` that learn something of the place."""
    return list(_bringing(model, "learn_place"))


def learn_place(model: nn.Module, place: Place) -> None:
    """Show the place to every module that learns something of it. Raises PluginError if a tensor's shape changes."""
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    for module in learners(model):
        module.learn_place(place)  # type: ignore[operator]
    found = {name: value.shape for name, value in model.state_dict().items()}
    moved = sorted(name for name in shapes.keys() | found.keys() if shapes.get(name) != found.get(name))
    if moved:
        # the model could be trained and saved, but never loaded
        raise PluginError(f"learn_place changed the shape of {', '.join(moved[:3])}", "give it in the configuration")


def brings_losses(model: nn.Module) -> bool:
    """Whether a module of `model` has losses of its own."""
    return any(True for _ in _bringing(model, "extra_losses"))


def losses_read_image(model: nn.Module) -> bool:
    """Whether a loss that `model` brings may read the image embedding: unless its module's `reads_image` is False."""
    return any(getattr(module, "reads_image", True) for module in _bringing(model, "extra_losses"))


def extra_losses(model: nn.Module, features: Features, output: PoseOutput, target: Target) -> dict[str, Tensor]:
    """The losses that the modules of `model` bring, by name.

    Raises PluginError for one that is no scalar tensor or whose name another one has, or a loss of training itself.
    """
    terms: dict[str, Tensor] = {}
    for module in _bringing(model, "extra_losses"):
        brought: Mapping[str, Tensor] = module.extra_losses(features, output, target)
        for name, value in brought.items():
            if not isinstance(value, Tensor) or value.dim() or not value.is_floating_point():
                raise PluginError(f"extra_losses of {type(module).__name__}: {name} is not a scalar tensor")
            if name in OWN_LOSSES:
                raise PluginError(f"extra_losses of {type(module).__name__}: {name} is training's own loss", AFTER)
            if name in terms:
                raise PluginError(f"two modules bring a loss named {name}", AFTER)
            terms[name] = value
    return terms


def disclosures(model: nn.Module) -> list[str]:
    """What the modules of `model` say about the training data in its weights: a line each."""
    lines = (getattr(module, "disclosure", None) for module in model.modules())
    return list(dict.fromkeys(line for line in lines if isinstance(line, str) and line))


def _bringing(model: nn.Module, door: str) -> Iterator[Any]:
    return (module for module in model.modules() if callable(getattr(module, door, None)))
