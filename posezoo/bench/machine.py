"""Measurements of this machine: two things interleaved in one run, or one thing at growing sizes."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from posezoo.base.files import pictures
from posezoo.base.files.write import writing
from posezoo.base.memory import raise_malloc_thresholds
from posezoo.base.observe import Observer
from posezoo.base.spec import Frame
from posezoo.data.export import data_name, export
from posezoo.data.images.build import build_cache, unreadable_images
from posezoo.data.images.cache import ImageCache, cache_folder
from posezoo.data.open import open_dataset
from posezoo.data.table import Frames
from posezoo.nn import transforms

BATCH, ROUNDS, IMAGES = 64, 5, 256
SIZES = (1_000, 10_000, 100_000)
# run by another Python. ru_maxrss would include this process's own peak, from before the exec
OPEN = """
import json, pathlib, re, resource, sys, time
from posezoo.data.open import open_dataset
start = time.perf_counter(), time.process_time()
dataset = open_dataset({name!r})
seconds = {{"s": round(time.perf_counter() - start[0], 3), "CPU s": round(time.process_time() - start[1], 3)}}
status = pathlib.Path("/proc/self/status")
if status.exists():
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) / 2**10
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
print(json.dumps({{"opened": len(dataset.frames), **seconds, "peak MB": round(peak)}}))
"""
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
    shape_N2 = cache.shapes(np.arange(len(frames)))
    of_shape = [np.flatnonzero((shape_N2 == shape).all(axis=1)) for shape in np.unique(shape_N2, axis=0)]
    batches = [rows[i : i + BATCH] for rows in of_shape for i in range(0, len(rows), BATCH)]

    def decode(rows: np.ndarray) -> torch.Tensor:
        images = [torch.from_numpy(_decoded(frames, int(i)).copy()) for i in rows]
        return transforms.preprocess(torch.stack(images).permute(0, 3, 1, 2), 256, 224, *MEAN_STD)

    def cached(rows: np.ndarray) -> torch.Tensor:
        return transforms.preprocess(cache.batch(rows)[0], 256, 224, *MEAN_STD)

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
        **_building(frames),
        "threads": torch.get_num_threads(),
    }


def _building(frames: Frames) -> dict[str, Any]:
    """Images/s of decoding on all cores alone, and of building the image cache, in alternating rounds."""
    digests = [b"0" * 64] * len(frames)  # hashing belongs to neither
    speeds: dict[str, list[float]] = {"decoding": [], "building": []}
    with tempfile.TemporaryDirectory(dir=_ensured(cache_folder())) as folder:
        for number in range(ROUNDS):
            start = time.perf_counter()
            assert not unreadable_images(frames)
            middle = time.perf_counter()
            build_cache(frames, digests, Path(folder), str(number), None)
            speeds["decoding"].append(len(frames) / (middle - start))
            speeds["building"].append(len(frames) / (time.perf_counter() - middle))
            shutil.rmtree(Path(folder, str(number)))
    return {
        "decoding on all cores (images/s)": round(median(speeds["decoding"])),
        "building the cache (images/s)": round(median(speeds["building"])),
        "building to decoding": round(median(np.divide(speeds["building"], speeds["decoding"]).tolist()), 2),
    }


def scale(observer: Observer, sizes: Sequence[int] = SIZES) -> list[dict[str, Any]]:
    """Opening data sets of growing size: seconds and peak memory of a separate process, and microseconds a frame.

    The images are links to one picture of 4x3 pixels: what is measured is the table, and a stat of each file.
    """
    rows = []
    with tempfile.TemporaryDirectory(dir=_ensured(cache_folder())) as place:
        for done, size in enumerate(sizes):
            observer.progress("scale", done, len(sizes))
            root = Path(place, str(size))
            frames = _many_frames(root, size)
            for form in ("csv", "labels", "tum"):
                export(frames, form, root / form)
                name = data_name(form, root / form, root)
                code = OPEN.format(name=name)
                ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
                rows.append({"form": form, "frames": size, **json.loads(ended.stdout)})
            shutil.rmtree(root)
        observer.progress("scale", len(sizes), len(sizes))
    for row in rows:
        row["µs a frame"] = round(1e6 * row["CPU s"] / row["frames"], 1)
    return sorted(rows, key=lambda row: row["form"])


def _many_frames(root: Path, size: int) -> Frames:
    """Frames of one scene in sequences of a thousand, on a curve, each with an image file."""
    rows = []
    for n in range(size):
        folder = root / f"seq-{n // 1000:03d}"
        if n % 1000 == 0:  # a file has at most 65,000 names on some systems
            folder.mkdir(parents=True)
            Image.new("RGB", (4, 3)).save(folder / "000.png")
        else:
            os.link(folder / "000.png", folder / f"{n % 1000:03d}.png")
        half, split = n / 1000, "test" if n // 1000 % 5 == 4 else "train"
        turn = (abs(math.cos(half)), 0.0, math.copysign(math.sin(half), math.sin(half) * math.cos(half)), 0.0)
        position = (n / 10, math.sin(n / 50), 0.0)
        image = f"seq-{n // 1000:03d}/{n % 1000:03d}.png"
        rows.append(Frame(image, position, turn, "road", split, "drive", n * 33_333))
    return Frames.from_rows(root, rows)


def _ensured(folder: Path) -> Path:
    """The folder, created if missing. Raises ResourceError."""
    with writing(folder, "set POSEZOO_CACHE to another folder"):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def startup() -> dict[str, Any]:
    """The seconds that `posezoo --help` and `posezoo list` take, and whether they import torch; medians."""
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
        result[f"posezoo {name} imports torch"] = answer.stderr.endswith("torch")  # after any notes
    return result


def _decoded(frames: Frames, i: int) -> np.ndarray:
    """Image i as the cache has it, from its file."""
    return pictures.read_image(frames.path(i), decode=frames.decode, lens_of=lambda width, height: frames.correction(i))


def _seconds(load: Callable[[np.ndarray], torch.Tensor], batches: list[np.ndarray]) -> float:
    start = time.perf_counter()
    for rows in batches:
        load(rows)
    return time.perf_counter() - start
