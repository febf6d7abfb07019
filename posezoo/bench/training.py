"""How much of training is computing, and how much waiting: real batches against one that already lies on the device.

    compute alone   a run's own steps, each on the same batch of noise, made once on the device: no loader, no copies
    training        the same steps on batches from the image cache, as a run has them
    share           images/s of training, of those of compute alone
    loader wait     share of the training's time that went by until the next batch was there

Both run in alternating rounds, after one that warms up; a figure is the median of the rounds. A round ends with reading
the losses, which waits for the device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import count
from statistics import median
from typing import Any

import torch

from posezoo.base.observe import Observer
from posezoo.base.signals import StopFlag
from posezoo.catalogue import entries, resolve, settings
from posezoo.training.config import configure
from posezoo.training.phase import Given, Phase
from posezoo.training.place import learn_place
from posezoo.training.setup import Job, measured_precision, set_up

STEPS, ROUNDS = 20, 5
SHARE, WAIT = 90, 5
"""Wanted, in percent: at least, at most."""


def training(
    models: Sequence[str] = (),
    data: str = "demo-loop",
    device: str = "auto",
    observer: Observer | None = None,
    overrides: Mapping[str, Any] = {},
    steps: int = STEPS,
) -> list[dict[str, Any]]:
    """One row for each model (none: those with target ratios), trained on `data` for some steps; nothing is written.

    `overrides`: settings of the trainings, `{"batch_size": 128}`. Raises UsageError for an unknown or absent device.
    """
    watch, known = observer or Observer(), resolve.data(data)
    rows = []
    for name in models or list(entries.target_speeds()):
        given = settings.merged({"device": device, "track": None}, settings.nested(overrides))
        config, blueprint = configure(resolve.model(name), known, given)
        job = set_up(config, blueprint, known, watch)
        with StopFlag() as stop, stop.at_once("measuring"):
            if config.precision == "auto":
                job.config = config.model_copy(update={"precision": measured_precision(job)})
            rows.append({"model": name, **_measured(job, watch, steps)})
    return rows


def _measured(job: Job, watch: Observer, steps: int) -> dict[str, Any]:
    device = job.accelerator.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()  # the row before may have been a larger model
    learn_place(job, lambda done, total: watch.progress("learning the place", done, total))
    phase = Phase(job, 0)
    phase.begin()
    numbers, batches = count(1), _batches(phase)
    synthetic = _synthetic(next(batches))

    def train(next_one: Callable[[], Given]) -> tuple[float, float]:
        """(images/s, the share of the time in which the next batch was waited for)."""
        start, waited, images = time.perf_counter(), 0.0, 0
        for _ in range(steps):
            before = time.perf_counter()
            given = next_one()
            waited += time.perf_counter() - before
            phase.step(given, next(numbers), {})
            images += len(given.batch.rows)
        phase.read()
        seconds = time.perf_counter() - start
        return images / seconds, waited / seconds

    real, alone = [], []
    for number in range(1 + ROUNDS):
        watch.progress("measuring", number, 1 + ROUNDS)
        pair = train(lambda: synthetic), train(lambda: next(batches))
        if number:
            alone.append(pair[0][0])
            real.append(pair[1])
    watch.progress("measuring", 1 + ROUNDS, 1 + ROUNDS)
    batches.close()
    share = median(one[0] / pure for one, pure in zip(real, alone, strict=True))
    row: dict[str, Any] = {
        **{"device": device.type, "precision": job.config.precision, "batch": job.config.batch_size},
        "training (images/s)": round(median(one[0] for one in real), 1),
        "compute alone (images/s)": round(median(alone), 1),
        **{"share (%)": round(100 * share, 1), "wanted": f"{SHARE} and more"},
        **{"loader wait (%)": round(100 * median(one[1] for one in real), 1), "at most": WAIT},
    }
    if device.type == "cuda":
        row["GPU memory (GB)"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    return row


def _batches(phase: Phase) -> Generator[Given, None, None]:
    """Batches as large as the first, of epoch after epoch: the last of one may be smaller, and would compile anew."""
    size = 0
    for epoch in count():
        for given in phase.batches(epoch, 0):
            size = size or len(given.batch.rows)
            if len(given.batch.rows) == size:
                yield given


def _synthetic(given: Given) -> Given:
    """The same frames with pictures of noise, on the device."""
    images = torch.randint_like(given.batch.images, 0, 256)
    return given._replace(batch=given.batch._replace(images=images))
