"""Measurements that compare two things interleaved in one run."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from posezoo import transforms
from posezoo.data.cache import ImageCache
from posezoo.data.frames import open_dataset
from posezoo.memory import raise_malloc_thresholds

BATCH, ROUNDS, IMAGES = 64, 5, 256
MEAN_STD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def loading(data: str, root: str | Path | None = None, split: str | Path | None = None) -> dict[str, Any]:
    """Images/s of decoding originals and of the warm cache: short edge 256, centre 224, normalise for both.

    Both run in this process, in alternating rounds over the same images; medians of the rounds.
    """
    raise_malloc_thresholds()  # as training does
    dataset = open_dataset(data, root=root, split=split)
    frames = dataset.frames.select(
        np.linspace(0, len(dataset.frames) - 1, min(IMAGES, len(dataset.frames))).astype(int)
    )
    cache = ImageCache.open(frames)
    batches = [np.arange(i, min(i + BATCH, len(frames))) for i in range(0, len(frames), BATCH)]

    def decode(rows: np.ndarray) -> torch.Tensor:
        images = [
            torch.from_numpy(transforms.read_image(frames.path(int(i)), decode=frames.decode).copy()) for i in rows
        ]
        return transforms.prepare(torch.stack(images).permute(0, 3, 1, 2), 256, 224, *MEAN_STD)

    def cached(rows: np.ndarray) -> torch.Tensor:
        return transforms.prepare(cache.batch(rows)[0], 256, 224, *MEAN_STD)

    assert all(torch.equal(decode(rows), cached(rows)) for rows in batches[:1]), "the cache must not change a pixel"
    speeds: dict[str, list[float]] = {"decoding": [], "cache": []}
    for _ in range(ROUNDS):
        for name, load in (("decoding", decode), ("cache", cached)):
            speeds[name].append(len(frames) / _seconds(load, batches))
    ratio = median(c / d for c, d in zip(speeds["cache"], speeds["decoding"], strict=True))
    return {
        "data": data,
        "images": len(frames),
        "rounds": ROUNDS,
        "decoding (images/s)": round(median(speeds["decoding"])),
        "warm cache (images/s)": round(median(speeds["cache"])),
        "ratio": round(ratio, 1),
        "threads": torch.get_num_threads(),
    }


def startup() -> dict[str, Any]:
    """Seconds that `posezoo --help` and `posezoo list` take, and whether they import torch; medians."""
    commands = {"--help": ["--help"], "list": ["list"]}
    code = "import sys; from posezoo.cli import run; run({!r}); sys.stderr.write('torch' * ('torch' in sys.modules))"
    times: dict[str, list[float]] = {name: [] for name in commands}
    result: dict[str, Any] = {"rounds": ROUNDS}
    for _ in range(ROUNDS):
        for name, arguments in commands.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "posezoo", *arguments], check=True, capture_output=True)
            times[name].append(time.perf_counter() - start)
    for name, arguments in commands.items():
        answer = subprocess.run(
            [sys.executable, "-c", code.format(arguments)], capture_output=True, text=True, check=True
        )
        result[f"posezoo {name} (s)"] = round(median(times[name]), 3)
        result[f"posezoo {name} imports torch"] = answer.stderr == "torch"
    return result


def _seconds(load: Callable[[np.ndarray], torch.Tensor], batches: list[np.ndarray]) -> float:
    start = time.perf_counter()
    for rows in batches:
        load(rows)
    return time.perf_counter() - start
