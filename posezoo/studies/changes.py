"""Changes of pictures that studies make: weather and camera faults by severity, each picture with a seed of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec

import numpy as np

from posezoo.base.errors import UsageError, unknown_name
from posezoo.data.appearance import weather
from posezoo.evaluation.intervals import Index
from posezoo.studies.measure import Condition

ORIGINAL = "original"


def original(index: Index) -> Condition:
    """The pictures as they are."""
    return Condition(ORIGINAL, index)


def weathers(index: Index, kinds: Sequence[str], severities: Sequence[int], seed: int = 0) -> list[Condition]:
    """A condition for each kind and severity, `fog-3`. Raises UsageError for an unknown kind, and without kornia."""
    for kind in kinds:
        if kind not in weather.KINDS:
            raise unknown_name("kind", kind, weather.KINDS, f"known: {', '.join(weather.KINDS)}")
    if not severities or not set(severities) <= set(weather.SEVERITIES):
        raise UsageError(f"severities {list(severities)}: numbers from 1 to 5", "study.severities=[1,3,5]")
    if find_spec("kornia") is None:
        raise UsageError("changing pictures' weather needs kornia", "pip install 'posezoo[weather]'")
    return [
        Condition(f"{kind}-{one}", index, partial(_changed, kind, one, seed), f"weather 1, seed {seed}")
        for kind in kinds
        for one in severities
    ]


def thinned(count: int, most: int) -> Index:
    """At most `most` of `count` frames, evenly spaced; 0: all."""
    return np.arange(count) if not most else np.arange(count)[:: max(1, -(-count // most))]


def _changed(kind: str, severity: int, seed: int, image_HWC: np.ndarray, n: int) -> np.ndarray:
    digest = hashlib.sha256(f"{seed}\0{kind}\0{severity}\0{n}".encode()).digest()
    return weather.corrupted(image_HWC, kind, severity, int.from_bytes(digest[:8], "big") >> 1)
