"""Start a run, or continue one.

    train(model, data)         names and settings to a finished run
    start(config, blueprint)   a new run
    resume(run)                continue one: the same losses to the last digit as if it had never stopped

The state of a run is (phase, epoch, batch, step); order and augmentation follow from (seed, epoch, index), dropout from
torch's random state, which checkpoints hold. The steps themselves: posezoo.training.loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from posezoo.base.errors import (
    DataError,
    UsageError,
    WeightsError,
)
from posezoo.base.observe import Observer
from posezoo.base.paths import user_path
from posezoo.base.version import __version__
from posezoo.catalogue import resolve, settings
from posezoo.catalogue.resolve import KnownData, KnownModel
from posezoo.training import checkpoint
from posezoo.training.config import TrainConfig, configure
from posezoo.training.loop import Loop, Result
from posezoo.training.run import CONFIG, RunFolder, new_run_path, read_config
from posezoo.training.setup import (
    is_main,
    measured_precision,
    set_up,
    shared_path,
)
from posezoo.training.signals import StopFlag
from posezoo.zoo.blueprint import Blueprint, blueprint_from


def train(
    model: KnownModel,
    data: KnownData,
    overrides: Mapping[str, Any] = {},
    *,
    root: str | Path | None = None,
    observer: Observer | None = None,
) -> Result:
    """Train the model on the data by its recipe, changed by `overrides` (nested settings). Raises as `start`."""
    config, blueprint = configure(model, data, overrides, root)
    return start(config, blueprint, data, observer)


def start(config: TrainConfig, blueprint: Blueprint, data: KnownData, observer: Observer | None = None) -> Result:
    """Train from the start in a new run folder. Raises PosezooError; a signal saves, then raises Interrupted."""
    observer, data = observer or Observer(), data.absolute()
    path = shared_path(new_run_path(config.out, str(blueprint.name), config.data.name), config)
    with RunFolder(path, locked=is_main(config)) as folder, StopFlag() as stop:
        job = set_up(config, blueprint, data, observer)
        if config.precision == "auto":
            precision = measured_precision(job)
            job.config = config.model_copy(update={"precision": precision})
            observer.note(f"precision {precision}, measured on this machine ({job.accelerator.device.type})")
        if job.accelerator.is_main_process:
            folder.write_config(
                {"posezoo": __version__, "train": job.config.model_dump(), "model": blueprint.as_dict()}
            )
            folder.write_skipped(job.dataset.skipped)
        return Loop(job, folder, stop, observer).run(None)


def resume(run: str | Path, observer: Observer | None = None) -> Result:
    """Continue a run from its newest complete checkpoint; a finished run is only evaluated again.

    Raises UsageError if `run` is not a run, WeightsError if it has no usable checkpoint, LockedError if it is in use.
    """
    observer = observer or Observer()
    path = user_path(run)
    stored = read_config(path)
    try:
        config = settings.validated(TrainConfig, stored["train"], "train.")
    except UsageError as error:
        raise UsageError(f"{path / CONFIG}: {error.message}", "correct the file, or train again") from None
    try:
        plan = blueprint_from(stored["model"], path / CONFIG)
    except WeightsError as error:  # right for a model folder; here it is the run's configuration
        raise UsageError(error.message, error.hint) from None
    data = resolve.data(config.data.name)
    with RunFolder(path, locked=is_main(config)) as folder, StopFlag() as stop:
        if not checkpoint.any_saved(path):  # killed before the first one: the seed repeats the same start
            observer.note("no checkpoint saved yet: starting again from step 0")
            folder.rewind_metrics(0, 0)
            return Loop(set_up(config, plan, data, observer), folder, stop, observer).run(None)
        found, warnings = checkpoint.latest(path)
        for warning in warnings:
            observer.note(warning)
        if found.manifest["num_threads"] != torch.get_num_threads():
            torch.set_num_threads(found.manifest["num_threads"])  # another order of sums would change the last digits
        job = set_up(config, plan, data, observer)
        for what, then, now in (
            ("torch", found.manifest["torch"], torch.__version__),
            ("data", found.manifest["data_digest"], job.dataset.digest),
            ("data", found.manifest.get("inputs_digest", job.inputs_digest), job.inputs_digest),
            ("device", found.manifest["device"], job.accelerator.device.type),
        ):
            if then != now and what == "data":
                raise DataError(f"the data set has changed since the run began: {config.data.name}", "start a new run")
            if then != now:
                observer.note(f"continuation is not bit-identical: {what} {then} -> {now}")
        observer.note(f"resumed from step {found.manifest['step']}")
        return Loop(job, folder, stop, observer).run(found)
