"""Check a whole data set without training: every pose, every split, every image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from posezoo.data.cache_build import Progress, unreadable_images
from posezoo.data.frames import inspect_dataset
from posezoo.data.splits import WORDS
from posezoo.errors import Finding


def verify(
    name: str, *, root: str | Path | None = None, split: str | Path | None = None, progress: Progress | None = None
) -> tuple[dict[str, int], list[Finding]]:
    """The number of good frames of each split, and everything wrong with the data set; every image is decoded.

    Raises DataError if the data are not here, UsageError for a name that nobody knows.
    """
    dataset, findings = inspect_dataset(name, root=root, split=split)
    unreadable = unreadable_images(dataset.frames, progress)
    bad = {finding.path for finding in unreadable}
    good_N = np.array([dataset.frames.name(n) not in bad for n in range(len(dataset.frames))], dtype=bool)
    counts = {word: int(np.sum(good_N & (dataset.frames.split == word))) for word in WORDS}
    return {word: count for word, count in counts.items() if count}, [*findings, *unreadable]
