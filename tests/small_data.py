"""Small data sets made on the spot: pictures along a path, one scene or two, and settings that train in seconds."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 96, 72
FAST = {
    "pretrained_backbone": False,
    "backbone": "test_efficientnet.r160_in1k",
    "resize": 64,
    "crop": 64,
    "min_epoch_images": 0,
    "epochs": 2,
    "batch_size": 8,
    "precision": "fp32",
    "selection": "validation",
    "optim.average": 0.0,
    "augment.motion": 0.0,
    "augment.depth": "maps",
    "augment.turn_scale": 1.0,
    "optim.frozen_stages": 0,
    "device": "cpu",
    "track": None,
    "checkpoint.every_seconds": 1e9,
}
SLIM = {
    "posenet": {"hidden": 64},
    "atloc": {"feature": 128},
    "ms-transformer": {"width": 32, "feedforward": 32, "hidden": 64, "position_layers": 1, "orientation_layers": 1},
}


PHASED = (
    "paper-indoor",
    "paper-outdoor",
    "paper-multi-indoor",
    "paper-multi-outdoor",
    "paper-ms-transformer-cambridge",
)


def settings(model: str, **more: object) -> dict[str, object]:
    """Settings under which `model` trains in a second or two: 18 training images of one scene, 3 steps an epoch."""
    hyper = {"hyper.rank": 8} if "+hyper" in model else {}
    phased = more.get("phases") or str(more.get("recipe")) in PHASED
    fast = {key: value for key, value in FAST.items() if key != "epochs" or not phased}
    return {**fast, **SLIM[re.split("[+.]", model)[0]], **hyper, **more}


def words(values: dict[str, object]) -> list[str]:
    """The settings as the command line takes them."""
    text = {True: "true", False: "false", None: "none"}
    return [f"{key}={text[v] if v is None or isinstance(v, bool) else v}" for key, v in values.items()]


def rows(scene: str, start: float = 0.0) -> list[dict[str, object]]:
    """24 training and 8 test frames of one scene: two sequences, conditions, exact intrinsics."""
    found = []
    for n in range(32):
        half = 0.5 * (start + n / 16)
        found.append(
            {
                "image": f"{scene}/{n:02d}.png",
                **dict(zip("xyz", (start + 0.1 * n, math.sin(n / 5), 0.3 * math.cos(n / 7)), strict=True)),
                **{"qw": math.cos(half), "qx": 0.0, "qy": math.sin(half), "qz": 0.0},
                **{"scene": scene, "split": "test" if n >= 24 else "train", "sequence": f"s{n // 12}"},
                "condition": "sun" if n % 2 else "rain",
                **{"fx": 80.0, "fy": 80.0, "cx": WIDTH / 2, "cy": HEIGHT / 2},
            }
        )
    return found


def write(folder: Path, table: list[dict[str, object]]) -> Path:
    """A folder with poses.csv and a coloured picture for each row."""
    for n, row in enumerate(table):
        path = folder / str(row["image"])
        path.parent.mkdir(parents=True, exist_ok=True)
        small = np.random.default_rng(n).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(path)
    with (folder / "poses.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return folder


def with_depths(folder: Path, which: slice) -> Path:
    """A small data set of which some training images have depth maps."""
    table = rows("yard")
    for row in table:
        row |= {"depth": "", "depth_scale": ""}
    for n, row in list(enumerate(table[:24]))[which]:
        row |= {"depth": f"{n}.png", "depth_scale": 100}
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.full((18, 24), 200 + n, dtype=np.uint16)).save(folder / f"{n}.png")
    return write(folder, table)


def turned_pair(upright: Path, turned: Path) -> tuple[Path, Path]:
    """The same place twice, as JPEG: pictures as they are shown, and the same stored on their side with EXIF tag 6.

    The pixels are the same to the last bit: blocks of 16 pixels of one colour each survive JPEG in both directions.
    """
    table = [{**row, "image": str(row["image"]).replace(".png", ".jpg")} for row in rows("yard")]
    for folder in (upright, turned):
        write(folder, table)
    exif = Image.Exif()
    exif[0x0112] = 6
    for n, row in enumerate(table):
        grey = np.random.default_rng(n).integers(0, 256, (4, 5), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
        shown = Image.fromarray(grey).convert("RGB")
        shown.save(upright / str(row["image"]), quality=100)
        stored = shown.transpose(Image.Transpose.ROTATE_90)
        stored.save(turned / str(row["image"]), quality=100, exif=exif)
    return upright, turned


def seven_scenes(
    root: Path, scenes: dict[str, dict[str, dict[int, int]]], listed: dict[str, tuple[int, ...]] | None = None
) -> Path:
    """7Scenes in its official layout: scene -> split -> sequence -> frames; `listed` stands in the split files too."""
    picture = Image.new("RGB", (64, 48), "grey")
    for scene, splits in scenes.items():
        for split, file in (("train", "TrainSplit.txt"), ("test", "TestSplit.txt")):
            numbers = sorted({*splits.get(split, {}), *(listed or {}).get(split, ())})
            (root / scene).mkdir(parents=True, exist_ok=True)
            (root / scene / file).write_text("".join(f"sequence{n}\n" for n in numbers))
            for n, count in splits.get(split, {}).items():
                folder = root / scene / f"seq-{n:02d}"
                folder.mkdir()
                for i in range(count):
                    picture.save(folder / f"frame-{i:06d}.color.png")
                    pose = f"1 0 0 {i / 100}\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"
                    (folder / f"frame-{i:06d}.pose.txt").write_text(pose)
    return root


def one_place(folder: Path) -> Path:
    """A data set of one scene."""
    return write(folder, rows("yard"))


def two_places(folder: Path) -> Path:
    """A data set of two scenes."""
    return write(folder, rows("yard") + rows("hall", 40.0))
