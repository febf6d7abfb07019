"""Start a run, or continue one.

    train(model, data)         names and settings to a finished run
    start(config, blueprint)   a new run
    resume(run)                continue one: the same losses to the last digit as if it had never stopped

The state of a run is (phase, epoch, batch, step); order and augmentation follow from (seed, epoch, index), dropout
from (seed, step, process). The steps themselves: posezoo.training.loop.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import torch

from posezoo.base.errors import DataError, PosezooError, UsageError, WeightsError
from posezoo.base.observe import Observer
from posezoo.base.paths import user_path
from posezoo.base.signals import StopFlag
from posezoo.base.version import __version__
from posezoo.catalogue import resolve, settings
from posezoo.catalogue.resolve import KnownData, KnownModel
from posezoo.training import checkpoint
from posezoo.training.config import TrainConfig, configure
from posezoo.training.loop import Loop, Result
from posezoo.training.phase import Phase
from posezoo.training.place import learn_place
from posezoo.training.processes import Processes, joined, restarts
from posezoo.training.run import CONFIG, RunFolder, new_run_path, newest_run, read_config
from posezoo.training.saving import configuration, require_same
from posezoo.training.setup import measured_precision, set_up
from posezoo.zoo.blueprint import Blueprint, blueprint_from
from posezoo.zoo.find import find, full_name

LOCK_PATIENCE = 30.0
"""Seconds that a run started again waits for data workers of the killed one to free its folder."""


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


def tried(
    model: KnownModel,
    data: KnownData,
    overrides: Mapping[str, Any] = {},
    *,
    root: str | Path | None = None,
    observer: Observer | None = None,
) -> dict[str, Any]:
    """What `train` would do with the same arguments, tried for two steps: see `dry_run`."""
    config, blueprint = configure(model, data, overrides, root)
    return dry_run(config, blueprint, data, observer or Observer())


def start(config: TrainConfig, blueprint: Blueprint, data: KnownData, observer: Observer | None = None) -> Result:
    """Train from the start in a new run folder. Raises PosezooError; a signal saves, then raises Interrupted.

    In a process that torchrun has started again after another was lost: the run continues from its newest checkpoint.
    """
    observer, data = observer or Observer(), data.absolute()
    blueprint = _extended(config, blueprint)
    with StopFlag() as stop, joined(stop, config.device) as processes:
        place, begun = processes.told(lambda: _place_of(config, str(blueprint.name), processes))
        path = Path(place)
        if begun:
            observer.note(f"started again by torchrun ({restarts()}): the run goes on")
            return _resumed(path, processes, observer)
        with RunFolder(path, locked=processes.is_main) as folder:
            job = set_up(config, blueprint, data, observer, processes)
            if config.precision == "auto":
                with stop.at_once("measuring the precision, before step 1"):
                    precision = processes.told(lambda: measured_precision(job))
                job.config = config.model_copy(update={"precision": precision})
                observer.note(f"precision {precision}, measured on this machine ({job.accelerator.device.type})")
            if processes.is_main:
                folder.write_config({"posezoo": __version__, **configuration(job.config, job.blueprint)})
                folder.write_skipped(job.dataset.skipped)
            return Loop(job, folder, observer).run(None)


def resume(run: str | Path | None = None, observer: Observer | None = None) -> Result:
    """Continue a run (None: the newest) from its newest complete checkpoint; a finished one is only evaluated again.

    Raises UsageError if `run` is not a run, WeightsError if it has no usable checkpoint, LockedError if it is in use.
    """
    observer = observer or Observer()
    path = newest_run() if run is None else user_path(run)
    if run is None:
        observer.note(f"the newest run: {path}")
    with StopFlag() as stop, joined(stop, _device_of(path)) as processes:
        return _resumed(path, processes, observer)


def _resumed(path: Path, processes: Processes, observer: Observer) -> Result:
    stored = processes.told(lambda: read_config(path))
    try:
        config = settings.validated(TrainConfig, stored["train"], "train.")
    except UsageError as error:
        raise UsageError(f"{path / CONFIG}: {error.message}", "correct the file, or train again") from None
    try:
        plan = blueprint_from(stored["model"], path / CONFIG)
    except WeightsError as error:  # right for a model folder; here it is the run's configuration
        raise UsageError(error.message, error.hint) from None
    data = resolve.data(config.data.name)
    with RunFolder(path, locked=processes.is_main, patience=LOCK_PATIENCE if processes.restarted else 0) as folder:
        with processes.stop.at_once("reading the checkpoint"):
            found = checkpoint.shared(processes, path, observer.note)
        if found is None:  # killed before the first one: the seed repeats the same start
            observer.note("no checkpoint saved yet: starting again from step 0")
            folder.rewind_metrics(0, 0)
            return Loop(set_up(config, plan, data, observer, processes), folder, observer).run(None)
        require_same(path, found.manifest.get("config"), stored)
        if found.manifest["num_threads"] != torch.get_num_threads():
            torch.set_num_threads(found.manifest["num_threads"])  # another order of sums would change the last digits
        job = set_up(config, plan, data, observer, processes)
        for what, then, now in (
            ("torch", found.manifest["torch"], torch.__version__),
            ("data", found.manifest["data_digest"], job.dataset.digest),
            ("data", found.manifest.get("inputs_digest", job.inputs_digest), job.inputs_digest),
            ("device", found.manifest["device"], job.accelerator.device.type),
            ("processes", found.manifest.get("processes", processes.world), processes.world),
        ):
            if then != now and what == "data":
                raise DataError(f"the data set has changed since the run began: {config.data.name}", "start a new run")
            if then != now:
                observer.note(f"continuation is not bit-identical: {what} {then} -> {now}")
        observer.note(f"resumed from step {found.manifest['step']}")
        return Loop(job, folder, observer).run(found)


def dry_run(config: TrainConfig, blueprint: Blueprint, data: KnownData, observer: Observer) -> dict[str, Any]:
    """What a run would be: data, model, steps; speed and memory from two steps. Writes nothing but the image cache."""
    data = data.absolute()
    with StopFlag() as stop, joined(stop, config.device) as processes:
        job = set_up(config, _extended(config, blueprint), data, observer, processes)
        cuda = job.accelerator.device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats()  # this process may have trained another model before
        with stop.at_once("trying two steps"):
            learn_place(job, lambda done, total: observer.progress("learning the place", done, total))
            phase = Phase(job, 0)
            phase.begin()
            lines, seconds = [], 0.0
            for number, given in zip((1, 2), cycle(phase.batches(0, 0)), strict=False):
                start = time.perf_counter()
                phase.step(given, number, {"step": number})
                lines += phase.read()
                seconds = time.perf_counter() - start  # of the second: the first warms up
        epochs, steps = sum(part.epochs for part in config.plan), job.steps_per_epoch
        peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        counts = [len(job.train_rows), len(job.validation_rows), int((job.dataset.frames.split == "test").sum())]
        return {
            "model": str(blueprint.name),
            "data": job.dataset.name,
            "recipe": config.recipe,
            "parameters": sum(p.numel() for p in job.model.parameters()),
            **dict(zip(("training images", "validation images", "test images"), counts, strict=True)),
            "epochs": epochs,
            "steps": epochs * steps,
            "loss of two steps": [round(line["loss"], 4) for line in lines],
            "seconds a step": float(f"{seconds:.3g}"),
            "minutes of training": float(f"{seconds * epochs * steps / 60:.3g}"),
            "peak memory (GB)": float(f"{peak / 1e9:.3g}"),
            "device": job.accelerator.device.type,
            "processes": processes.world,
        }


def _extended(config: TrainConfig, blueprint: Blueprint) -> Blueprint:
    """With what the answers of a model of several scenes, that it starts from, depend on: they stay as they were."""
    if config.start_from is None:
        return blueprint
    known = find(full_name(config.start_from)).config["config"]
    if len(known["scenes"]) < 2:
        return blueprint
    keys = ("scenes", "position_mean", "position_std", "label_frame", "mean", "std")
    place = {key: tuple(value) if isinstance(value := known[key], list) else value for key in keys}
    return blueprint.with_place(**place)


def _place_of(config: TrainConfig, model: str, processes: Processes) -> tuple[str, bool]:
    """The run's folder, and whether it holds this run already, begun before torchrun started it again."""
    if processes.restarted:
        before = config.out or processes.remembered("run")
        if before and (user_path(before) / CONFIG).exists():
            return str(user_path(before)), True
    path = new_run_path(config.out, model, config.data.name)
    processes.remember("run", str(path))
    return str(path), False


def _device_of(path: Path) -> str:
    """The configured device of a run, if this process can see it; whatever is wrong is told later."""
    try:
        return str(read_config(path)["train"].get("device", "auto"))
    except PosezooError:
        return "auto"
