"""A data set's pictures in worse weather or from a worse camera, so that anyone can measure robustness."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from posezoo.base.errors import UsageError, unknown_name
from posezoo.base.observe import Observer, parallel
from posezoo.base.paths import user_path
from posezoo.data.appearance import weather
from posezoo.data.appearance.tree import Tree
from posezoo.data.open import open_dataset

ORIGINAL = "original"  # a kind without severity: the unchanged picture, for comparison in the same table


def corrupt(
    name: str,
    out: str | Path,
    *,
    kinds: Sequence[str] = tuple(weather.KINDS),
    severities: Sequence[int] = (3,),
    seed: int = 0,
    root: str | Path | None = None,
    split: str | Path | None = None,
    subset: str = "test",
    limit: int | None = None,
    observer: Observer | None = None,
) -> dict[str, int]:
    """The number of pictures by condition (`fog-3`, ...) in the folder `out`; existing ones are kept.

    Each frame of the `subset` (test, val, train, all) once for each kind and severity, in its stored size;
    `limit`: only the first frames. Raises UsageError, DataError, ResourceError, LockedError.
    """
    conditions = _conditions(kinds, severities)
    if find_spec("kornia") is None:
        raise UsageError("corrupting pictures needs kornia", "pip install 'posezoo[weather]'")
    dataset = open_dataset(name, root=root, split=split)
    facts = {"maker": "posezoo data corrupt", "settings": {"seed": seed}}
    with Tree(user_path(out), dataset, subset, facts, ("kornia", "torch")) as tree:
        tree.begin(list(conditions))

        def make(wanted: tuple[int, str]) -> None:
            n, condition = wanted
            kind, severity = conditions[condition]
            image_HWC = tree.source_picture(n)
            if kind != ORIGINAL:
                image_HWC = weather.corrupted(image_HWC, kind, severity, tree.seed(n, condition, seed))
            tree.put(n, condition, image_HWC)

        wanted = [(n, c) for c in conditions for n in range(len(tree.frames))[:limit] if not tree.has(n, c)]
        for done, _ in enumerate(parallel(make, wanted), 1):
            if observer:
                observer.progress("pictures", done, len(wanted))
        return tree.finish(list(_words(seed)))


def parse_severities(text: str) -> list[int]:
    """`3`, `1,3,5` or `1..5` as numbers. Raises UsageError."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"([1-5])(?:\.\.([1-5]))?", part.strip(), re.ASCII)
        if match is None:
            raise UsageError(f"severity {text[:40]!a} is not 1 to 5", "for example --severity 3, 1,3,5 or 1..5")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return found


def _conditions(kinds: Sequence[str], severities: Sequence[int]) -> dict[str, tuple[str, int]]:
    """Condition -> (kind, severity), in the order given."""
    known = (*weather.KINDS, ORIGINAL)
    for kind in kinds:
        if kind not in known:
            raise unknown_name("kind", kind, known, f"known: {', '.join(known)}")
    if not kinds or not severities or not set(severities) <= set(weather.SEVERITIES):
        raise UsageError("no pictures to make", "name kinds, and severities from 1 to 5")
    return {
        kind if kind == ORIGINAL else f"{kind}-{severity}": (kind, severity)
        for kind in kinds
        for severity in severities
    }


def _words(seed: int) -> Iterator[str]:
    yield f"Made by posezoo data corrupt, seed {seed}, with kornia's operators; no generative model."
    yield "The number behind a kind is its severity, 1 to 5; `original` is the source's picture, unchanged."
