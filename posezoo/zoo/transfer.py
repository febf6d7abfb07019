"""A model that starts from another's weights: for another place, or for more scenes.

Every tensor of the same name and shape is taken; those of a head below a modifier, from the head as it was before.
Tensors that have a part for each scene (banks of heads, queries, the choice of the scene) are taken scene by scene, by
the scenes' names: old scenes keep their numbers, new ones start as the model was built.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from posezoo.base.errors import UsageError
from posezoo.nn.model import PoseModel

LEAST = 0.1
"""The part of its numbers that a model must take at least: some small tensors fit by chance."""


def transfer(model: PoseModel, source: PoseModel) -> list[str]:
    """The names of the model's tensors that `source` has nothing for. Raises UsageError if it has hardly any.

    What was learned of a place (`learn_place`) is learned anew afterwards.
    """
    own, theirs = model.state_dict(), source.state_dict()
    left = []
    with torch.no_grad():
        for name, value in own.items():
            other = next((theirs[one] for one in _without_modifiers(name) if one in theirs), None)
            if other is None or other.is_floating_point() != value.is_floating_point():
                left.append(name)
            elif _by_scene(value, other, model.config.scenes, source.config.scenes):
                _copy_scenes(value, other, model.config.scenes, source.config.scenes)
            elif other.shape == value.shape:
                value.copy_(other)
            else:
                left.append(name)
    taken = sum(own[name].numel() for name in own if name not in left)
    if taken < LEAST * sum(value.numel() for value in own.values()):
        raise UsageError(f"{source.name} has no weights for {model.name}", "start from one of the same architecture")
    return left


def _without_modifiers(name: str) -> Iterator[str]:
    """The name, then as of the head below each modifier: `position_head.base.layers.0.bias` in the plain model."""
    yield name
    while ".base." in name:
        name = name.replace(".base.", ".", 1)
        yield name


def _by_scene(value: Tensor, other: Tensor, new: Sequence[str], old: Sequence[str]) -> bool:
    """Whether a tensor has a part for each scene in its first dimension: it grows as the scenes do."""
    if len(new) == len(old) and tuple(new) == tuple(old):
        return False
    if value.dim() == 0 or value.shape[1:] != other.shape[1:] or max(len(new), len(old)) < 2:
        return False
    each, rest = divmod(len(value), len(new))
    return not rest and len(other) == each * len(old) and (value.shape != other.shape or each == 1)


def _copy_scenes(value: Tensor, other: Tensor, new: Sequence[str], old: Sequence[str]) -> None:
    mine, theirs = value.view(len(new), -1), other.reshape(len(old), -1)
    for place, scene in enumerate(new):
        if scene in old:
            mine[place] = theirs[list(old).index(scene)]
