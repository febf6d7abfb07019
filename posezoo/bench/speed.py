"""Our models against the published code's cost: inference, training steps and peak memory, measured side by side.

Every model is built with random weights and 224-pixel input. `as published` is the reference of its plugin
(`ModelSpec.as_published`; else the model itself), in the default layout, with unfused Adam. `ours` is what
`posezoo.create_model` and training give: channels last, fused Adam, raised malloc thresholds (all three in training
only); `optimized` is `model.optimize()`. In the step of phase 2 only the position head learns, and ours has the
features of its images kept (posezoo.training.frozen).

All run in alternating rounds; a figure is the median of the rounds, a ratio the median of the rounds' ratios. Each has
a process of its own, so that its peak memory and its malloc settings are its own.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, Literal

import torch

from posezoo.base.errors import ResourceError
from posezoo.base.memory import raise_malloc_thresholds
from posezoo.base.observe import Observer
from posezoo.base.spec import load_object
from posezoo.catalogue import entries, settings
from posezoo.nn import geometry
from posezoo.nn.hyperhead import HyperConfig
from posezoo.nn.losses import PoseLoss
from posezoo.nn.model import PoseModel
from posezoo.nn.outputs import PoseOutput
from posezoo.training.config import OptimSettings, PhaseSettings
from posezoo.training.setup import set_trainable, trainable
from posezoo.zoo.blueprint import Blueprint, blueprint
from posezoo.zoo.build import build

BATCH, ROUNDS = 8, 4
RANK = 256
COMMON: dict[str, Any] = {"pretrained_backbone": False, "crop": 224, "scenes": tuple("1234567")}
PUBLISHED = "as published"
Make = Callable[[str, str, dict[str, Any]], Callable[[], object]]  # variant, model, settings -> a step to be timed
Learns = Literal["all", "position", "orientation"]
Figures = dict[str, list[float]]  # of each variant, one a round


def speed(
    models: Sequence[str] = (), observer: Observer | None = None, **overrides: Any
) -> list[dict[str, str | float]]:
    """One row for each model, measurement and variant, with its ratio to the published code and the target ratio.

    `models` empty: those with target ratios. `overrides` are settings of the models.
    """
    names = list(models) or list(entries.target_speeds())
    for name in names:
        blueprint(name, COMMON, overrides)  # a wrong name shows before the first minute
    progress = (observer or Observer()).progress
    rows: list[dict[str, str | float]] = []
    for done, name in enumerate(names):
        progress(f"measuring {name}", 3 * done, 3 * len(names))
        for batch in (1, BATCH):
            rows += _rows(name, f"inference B={batch}", "ms/image", _inference(name, overrides, batch), 1000 / batch)
        progress(f"measuring {name}", 3 * done + 1, 3 * len(names))
        seconds, peaks = _training(name, overrides, "all")
        rows += _rows(name, f"training step B={BATCH}", "ms", seconds, 1000)
        rows += _rows(name, "training peak memory", "MB", peaks, 1e-6, less=True)
        progress(f"measuring {name}", 3 * done + 2, 3 * len(names))
        rows += _rows(name, f"phase 2 step B={BATCH}", "ms", _training(name, overrides, "position")[0], 1000)
    progress("measured", 3 * len(names), 3 * len(names))
    return rows


def _rows(
    name: str, what: str, unit: str, values: Figures, scale: float, less: bool = False
) -> Iterator[dict[str, str | float]]:
    wanted = entries.target_speeds().get(name, {})
    published = values[PUBLISHED]
    for variant, own in values.items():
        if variant != PUBLISHED:
            ratio = median(o / p if less else p / o for o, p in zip(own, published, strict=True))
            yield {
                "model": name,
                "what": what,
                "variant": variant,
                "figure": round(median(own) * scale, 1),
                PUBLISHED: round(median(published) * scale, 1),
                "unit": unit,
                "ratio": round(ratio, 2),
                "wanted": wanted.get(f"{what}, {variant}", ""),
            }


def _inference(name: str, overrides: dict[str, Any], batch: int) -> Figures:
    """Seconds a batch takes, a figure a round."""
    return _measured(partial(inference_step, batch), name, dict.fromkeys((PUBLISHED, "ours", "optimized"), overrides))[
        0
    ]


def _training(name: str, overrides: dict[str, Any], learns: Learns) -> tuple[Figures, Figures]:
    """Seconds a training step takes, a figure a round, and the peak memory of each process in bytes."""
    variants = {PUBLISHED: overrides, "ours": overrides}
    if any(isinstance(config, HyperConfig) for _, config in blueprint(name, COMMON, overrides).modifiers):
        variants[f"rank={RANK}"] = settings.merged(overrides, {"hyper": {"rank": RANK}})
    return _measured(partial(training_step, learns), name, variants)


def _measured(make: Make, name: str, variants: dict[str, dict[str, Any]]) -> tuple[Figures, Figures]:
    """Seconds of a step of each variant, a figure a round, and peak memory."""
    with ExitStack() as stack:
        workers = {key: stack.enter_context(_worker(make, key, name, more)) for key, more in variants.items()}
        seconds: Figures = {variant: [] for variant in workers}
        for round_number in range(ROUNDS + 1):  # the first warms up
            for variant, worker in workers.items():
                worker.send("step")
                took = worker.recv()
                if round_number:
                    seconds[variant].append(took)
        peaks: Figures = {}
        for variant, worker in workers.items():
            worker.send("peak")
            peaks[variant] = [worker.recv()]
    return seconds, peaks


@contextmanager
def _worker(make: Make, variant: str, name: str, overrides: dict[str, Any]) -> Iterator[Connection]:
    """A process that runs one variant, a step for each message."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_run_steps, args=(there, make, variant, name, overrides), daemon=True)
    process.start()
    there.close()  # otherwise the end of the process would go unnoticed here
    try:
        yield here
    except (EOFError, ConnectionError):
        raise ResourceError(f"{name}, {variant}: the measured process died", "more memory, or fewer models") from None
    finally:
        here.close()
        process.join(30)
        process.kill()


def _run_steps(connection: Connection, make: Make, variant: str, name: str, overrides: dict[str, Any]) -> None:
    """What a worker runs until its connection is closed."""
    step = make(variant, name, overrides)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            if connection.recv() == "step":
                start = time.perf_counter()
                step()
                connection.send(time.perf_counter() - start)
            else:
                # in kilobytes, except on macOS
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                connection.send(float(peak * (1 if sys.platform == "darwin" else 1024)))


def inference_step(batch: int, variant: str, name: str, overrides: dict[str, Any]) -> Callable[[], object]:
    """A function that computes the poses of `batch` random images."""
    model = build(blueprint(name, COMMON, overrides))
    kinds = {PUBLISHED: as_published, "ours": lambda model: model, "optimized": PoseModel.optimize}
    images_BCHW = torch.randn(batch, 3, model.config.crop, model.config.crop)
    return torch.inference_mode()(partial(kinds[variant](model), images_BCHW))


def training_step(learns: Learns, variant: str, name: str, overrides: dict[str, Any]) -> Callable[[], None]:
    """A function that trains one step on random images: forward, loss, backward, optimiser."""
    ours = variant != PUBLISHED
    model = build(blueprint(name, COMMON, overrides))
    crop, scenes = model.config.crop, len(model.config.scenes)
    images_BCHW = torch.randn(BATCH, 3, crop, crop)
    if ours:
        raise_malloc_thresholds()
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
    whole = model if ours else as_published(model)
    set_trainable(whole, PhaseSettings(train=learns, epochs=1), OptimSettings())
    loss = PoseLoss(model.config.rotation, "quaternion", "l2", (0.0, 0.0), None, 1.0)
    parameters = [*trainable(whole), *loss.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=1e-4, fused=ours)
    scene_B = torch.arange(BATCH) % scenes
    forward: Callable[[], PoseOutput] = partial(whole, images_BCHW, scene_B)
    if ours and learns != "all":
        with torch.no_grad():
            forward = partial(model.pose_of, model.features_for_heads(images_BCHW, scene_B))
    position_B3, quaternion_B4 = torch.randn(BATCH, 3).double(), geometry.unit(torch.randn(BATCH, 4)).double()

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        output = forward()
        loss(output, position_B3, quaternion_B4, scene_B if output.scene_logits is not None else None).total.backward()
        optimiser.step()

    return step


def as_published(model: PoseModel) -> PoseModel:
    """The plugin's reference for the published code's cost; the model itself where it has none."""
    plan: Blueprint = model.blueprint
    slow = plan.known.architecture.spec.as_published
    return load_object(slow)(model) if slow else model
