"""Open a data set for training or evaluation; where it is asked for, without what is wrong with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from posezoo.data.cache import ImageCache
from posezoo.data.cache_build import Progress
from posezoo.data.frames import Dataset, inspect_dataset, open_dataset, problems
from posezoo.data.validation import shown
from posezoo.errors import DataError, Finding


def opened(
    name: str,
    *,
    root: str | Path | None = None,
    split: str | Path | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """The data set; with `skip_bad` what is wrong is left out and stands in `skipped`, else it raises DataError.

    With `skip_bad` every image is decoded once, into the image cache. Raises DataError all the same if nothing is left.
    """
    if not skip_bad:
        return open_dataset(name, root=root, split=split)
    dataset, findings = inspect_dataset(name, root=root, split=split)
    while len(dataset.frames):
        unreadable = _unreadable(dataset, progress)
        if not unreadable:
            return dataclasses.replace(dataset, skipped=tuple(findings))
        findings = [*findings, *unreadable]
        bad = {finding.path for finding in unreadable}
        good_N = np.array([shown(dataset.frames.name(n)) not in bad for n in range(len(dataset.frames))], dtype=bool)
        dataset = dataclasses.replace(dataset, frames=dataset.frames.select(good_N))
    raise problems(name, findings) if findings else DataError(f"{name} has no frames", "posezoo data verify shows why")


def _unreadable(dataset: Dataset, progress: Progress | None) -> tuple[Finding, ...]:
    try:
        ImageCache.open(dataset.frames, progress)
    except DataError as error:
        return error.findings
    return ()
