"""The contract of every model, checked on a given model: by a dry run before training, and by posezoo.testing.models.

The checks raise PluginError with one line that says what is wrong; the caller adds which plugin's model it is.

Legend: B batch, C channels, H height, W width, R rotation numbers, S scenes.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from posezoo.base.errors import PluginError
from posezoo.nn.geometry import NUMBERS
from posezoo.nn.heads import Head
from posezoo.nn.hyperhead import HyperHead
from posezoo.nn.model import PoseModel
from posezoo.nn.outputs import Features, PoseOutput
from posezoo.nn.place import Target, extra_losses

DRAWING = "torch's random state"  # the only state a constructor may change: it draws weights


def require(holds: object, message: str) -> None:
    """Raise PluginError with `message` unless `holds`."""
    if not holds:
        raise PluginError(message)


def check_model(model: PoseModel) -> None:
    """Parameters that can be trained and are finite, heads that can be infused, the width of the image embedding."""
    parameters = dict(model.named_parameters())
    require(parameters, "the model has no parameters")
    for name, parameter in parameters.items():
        require(parameter.is_leaf, f"parameter {name} is not a leaf tensor: an optimiser cannot change it")
        require(torch.isfinite(parameter).all(), f"parameter {name} is not finite")
    for name in ("position_head", "orientation_head"):
        head = getattr(model, name, None)
        require(isinstance(head, (Head, HyperHead)), f"{name} is {type(head).__name__}, expected posezoo.nn.heads.Head")
    for name in model.of_scenes:
        whole = name in parameters and len(parameters[name]) == len(model.config.scenes)
        require(whole, f"of_scenes: {name} is no parameter with a part for each of {len(model.config.scenes)} scenes")
    require(isinstance(getattr(model, "image_dim", None), int), "image_dim, the width of Features.image, is not set")


def check_features(model: PoseModel, features: Any, batch: int) -> None:
    """What `encode` returned: Features whose widths are those that heads and hypernetworks read."""
    require(isinstance(features, Features), f"encode returned {type(features).__name__}, expected Features")
    widths = {"position": model.position_head.in_dim, "orientation": model.orientation_head.in_dim}
    for name, width in (widths | {"image": model.image_dim}).items():
        _check(f"encode: Features.{name}", getattr(features, name), (batch, width))
    if features.scene_logits is not None:
        _check("encode: Features.scene_logits", features.scene_logits, (batch, len(model.config.scenes)))
        require(features.scene is not None, "encode returned scene_logits and no scene")


def check_pose(model: PoseModel, output: Any, batch: int) -> None:
    """What `forward` returned: positions (B, 3) float64, rotation numbers (B, R), unit quaternions with w >= 0."""
    require(isinstance(output, PoseOutput), f"forward returned {type(output).__name__}, expected PoseOutput")
    _check("forward: position", output.position, (batch, 3), torch.float64)
    _check("forward: rotation", output.rotation, (batch, NUMBERS[model.config.rotation]))
    _check("forward: quaternion", output.quaternion, (batch, 4))
    norm_B = output.quaternion.detach().norm(dim=-1)
    require(torch.allclose(norm_B, torch.ones_like(norm_B), atol=1e-4), "forward: quaternions are not unit")
    require((output.quaternion[:, 0] >= 0).all(), "forward: quaternions have w < 0")
    for name in ("spread_m", "spread_deg") if model.spread is not None else ():
        _check(f"forward: {name}", getattr(output, name), (batch,))
        require((getattr(output, name) > 0).all(), f"forward: {name} is not positive")


def _check(what: str, value: Any, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> None:
    require(isinstance(value, Tensor), f"{what} is {type(value).__name__}, expected a tensor")
    require(tuple(value.shape) == shape, f"{what} has shape {tuple(value.shape)}, expected {shape}")
    require(dtype in (None, value.dtype), f"{what} is {value.dtype}, expected {dtype}")
    require(value.is_floating_point(), f"{what} is {value.dtype}, expected floating point")
    require(torch.isfinite(value).all(), f"{what} is not finite")


def check_losses(model: PoseModel, features: Features, output: PoseOutput, target: Target) -> dict[str, Tensor]:
    """The losses that the model brings: finite scalars by name."""
    terms = extra_losses(model, features, output, target)
    for name, value in terms.items():
        require(isinstance(name, str) and name, f"extra_losses: {name!r} is no name")
        require(torch.isfinite(value), f"extra_losses: {name} is not finite")
    return terms


def dry_run(model: PoseModel) -> PoseOutput:
    """What the model answers for two random images; in eval mode, and nothing is changed.

    Raises PluginError if these are no poses, or the losses that the model brings no losses.
    """
    check_model(model)
    side = model.config.crop
    images_BCHW = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0)).to(model.device)
    before = state_versions(model)
    with torch.no_grad(), process_unchanged("forward in eval mode"):
        features = model.encode(images_BCHW)
        check_features(model, features, 2)
        output: PoseOutput = model(images_BCHW)
        check_pose(model, output, 2)
        scene_B = torch.zeros(2, dtype=torch.long, device=model.device) if len(model.config.scenes) > 1 else None
        check_losses(model, features, output, Target(output.position, output.quaternion.double(), scene_B))
    after = state_versions(model)
    moved = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    require(not moved, f"forward in eval mode changed {', '.join(sorted(moved)[:3])}")
    return output


def state_versions(model: PoseModel) -> dict[str, tuple[int, int]]:
    """Identity and version of each parameter and buffer: they differ once it is replaced or changed in place."""
    return {name: (id(tensor), tensor._version) for name, tensor in model.state_dict(keep_vars=True).items()}


@contextlib.contextmanager
def process_unchanged(what: str, but: tuple[str, ...] = ()) -> Iterator[None]:
    """Around a call that must not change the process: what it changed is restored and named in a PluginError."""
    before = {name: read() for name, (read, _) in _ASPECTS.items()}
    try:
        yield
    finally:
        changed = [name for name, (read, _) in _ASPECTS.items() if name not in but and read() != before[name]]
        for name in changed:
            _ASPECTS[name][1](before[name])
    require(not changed, f"{what} changed {', '.join(changed)} of the process")


def _numpy_state() -> tuple[Any, ...]:
    return tuple(part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state())


def _signals() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def _restore_signals(handlers: dict[int, Any]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread can have changed them
    for number, handler in handlers.items():
        if handler is not None and signal.getsignal(number) != handler:
            signal.signal(number, handler)


_ASPECTS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    DRAWING: (
        lambda: torch.get_rng_state().numpy().tobytes(),
        lambda state: torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8)),
    ),
    "Python's random state": (random.getstate, random.setstate),
    "numpy's random state": (_numpy_state, np.random.set_state),
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "deterministic algorithms": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "the working folder": (os.getcwd, os.chdir),
    "signal handlers": (_signals, _restore_signals),
}
"""Name -> (read, write) of state that the whole process shares."""
