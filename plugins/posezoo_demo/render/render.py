"""Renders the embedded demo data: ``python plugins/posezoo_demo/render/render.py --out plugins/posezoo_demo``.

Writes ``loop/`` and ``places/`` below the output folder, each with ``poses.csv``, ``images/`` and, of the training
pictures, ``depth/``.  Everything follows
from fixed seeds, so a second run gives the same poses and pictures.  ``--check`` proves the written poses and
intrinsics against rendered pixels (see ``check.py``) and exits with 1 where they disagree.
"""

from __future__ import annotations

import argparse
import csv
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from appearance import LOOKS, Renderer
from check import run_checks
from depth import PER_METRE, Planes
from gbuffer import GBuffer
from paths import COLUMNS, Sequence, drive, pose_fields, wander
from PIL import Image
from town import Town, build_town

WIDTH, HEIGHT, FOV = 341, 256, 70.0
OVERSAMPLE = 2
QUALITY = 76
FOCAL = WIDTH / 2 / float(np.tan(np.radians(FOV) / 2))

# Sequence, split, condition, look, frames, lane (metres right of the centre line), start (metres), seed.
TRAVERSALS = [
    ("train-1", "train", "overcast", "overcast", 200, 0.7, 0.0, 101),
    ("train-2", "train", "overcast", "overcast-bright", 200, -0.1, 0.9, 102),
    ("test-overcast", "test", "overcast", "overcast-dull", 60, -1.0, 2.3, 103),
    ("test-sunny", "test", "sunny", "sunny", 60, 1.6, 3.1, 104),
    ("test-evening", "test", "evening", "evening", 60, -1.3, 1.2, 105),
    ("test-winter", "test", "winter", "winter", 60, 1.8, 4.4, 106),
]
# Drives that no model is trained or tested on: radii of the shipped models are calibrated on them.
CALIBRATION = [
    ("calibration-overcast", "val", "overcast", "overcast-dull", 60, 1.3, 0.7, 107),
    ("calibration-sunny", "val", "sunny", "sunny", 60, -1.1, 2.0, 108),
    ("calibration-evening", "val", "evening", "evening", 60, 1.7, 4.0, 109),
    ("calibration-winter", "val", "winter", "winter", 60, -1.4, 3.3, 110),
]
DRIVES = {"loop": TRAVERSALS, "calibration": CALIBRATION}
PLACES = ("market-square", "church-square", "yard")
PLACE_FRAMES = {"train": 100, "test": 30}
RUNS = {**{data: len(drives) for data, drives in DRIVES.items()}, "places": len(PLACES) * len(PLACE_FRAMES)}
SPEED = 8.0  # metres per second along the street, for the time stamps


def plan(town: Town, data: str) -> list[Sequence]:
    """All sequences of one data set (``loop``, ``calibration`` or ``places``)."""
    if data in DRIVES:
        return [
            Sequence(name, "loop", split, condition, look, seed, drive(town.street, count, lane, start, seed),
                     int(town.street.length / count / SPEED * 1e6))
            for name, split, condition, look, count, lane, start, seed in DRIVES[data]
        ]  # fmt: skip
    runs = []
    for number, place in enumerate(PLACES):
        for split, count in PLACE_FRAMES.items():
            seed = 200 + 10 * number + (split == "test")
            views = wander(town.volumes[place], count, split == "test", seed)
            runs.append(
                Sequence(
                    f"{place}-{split}",
                    place,
                    split,
                    "overcast",
                    "overcast-court" if place == "yard" else "overcast-square",
                    seed,
                    views,
                    250_000,
                )
            )
    return runs


def write_sequence(renderer: Renderer, planes: Planes, run: Sequence, folder: Path) -> list[list[str]]:
    """Render one sequence's pictures, and depth maps to train with; returns its rows of ``poses.csv``."""
    look = LOOKS[run.look]
    renderer.gbuffer.show_leaves(not look.snow)
    images = folder / "images" / run.name
    images.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, view in enumerate(run.views):
        frame = renderer.gbuffer.frame(view, look.lamps)
        picture = Image.fromarray(renderer.render(frame, look))
        path = images / f"{number:04d}.jpg"
        picture.save(path, quality=QUALITY, subsampling="4:2:0", optimize=True, progressive=True)
        depth = folder / "depth" / run.name / f"{number:04d}.png"
        if run.split == "train":
            depth.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(planes.depth(frame, renderer.gbuffer.focal)).save(depth, optimize=True)
        known = [depth.relative_to(folder).as_posix(), str(PER_METRE)] if run.split == "train" else ["", ""]
        rows.append(
            [path.relative_to(folder).as_posix(), *pose_fields(frame.position, frame.rotation), run.scene, run.split,
             run.name, str(number * run.step_us), run.condition,
             *(repr(v) for v in (FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2)), *known]
        )  # fmt: skip
    return rows


@cache
def make_renderer() -> tuple[Town, Renderer]:
    """The town and its renderer, built once per process."""
    town = build_town()
    gbuffer = GBuffer(town.scene, (WIDTH * OVERSAMPLE, HEIGHT * OVERSAMPLE), FOV)
    return town, Renderer(town.scene, town.street, gbuffer)


def render_run(data: str, number: int, out: Path) -> list[list[str]]:
    """Render one sequence of a data set in a worker process; returns its rows."""
    town, renderer = make_renderer()
    return write_sequence(renderer, Planes(town.scene.polygons), plan(town, data)[number], out / data)


def write_poses(folder: Path, rows: list[list[str]]) -> None:
    """Write ``poses.csv`` and report the data set's size."""
    with (folder / "poses.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    print(f"{folder.name}: {len(rows)} frames, {size / 1e6:.2f} MB", flush=True)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1], help="folder to write to")
    parser.add_argument("--data", nargs="*", default=["loop", "places"], choices=list(RUNS))
    parser.add_argument("--check", action="store_true", help="prove the written poses instead of rendering")
    args = parser.parse_args()
    if args.check:
        town, renderer = make_renderer()
        runs = {data: plan(town, data) for data in args.data}
        return 0 if run_checks(renderer, runs, args.out, (WIDTH, HEIGHT, FOV), OVERSAMPLE) else 1
    # Panda3D keeps one engine per process; each worker builds the town once and takes sequence after sequence.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = {data: [pool.submit(render_run, data, i, args.out) for i in range(RUNS[data])] for data in args.data}
        for data, parts in jobs.items():
            write_poses(args.out / data, [row for part in parts for row in part.result()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
