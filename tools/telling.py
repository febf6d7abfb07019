"""Does validation tell? The rank correlation of validation and test errors over random configurations.

    python tools/telling.py --data 7scenes-redkitchen --root /data/7scenes --split /data/7scenes/redkitchen/blocks.csv

Two sets of frames are held out of each training: blocks of 10 to 25 frames, and stretches as long as the test's
(posezoo.data.splits.validation_blocks, without and with `stretch`). No epoch is chosen: the last model is evaluated on
both and on the test frames, so that only how the frames were held out differs. Spearman's rank correlation over the
configurations, for position and orientation, and the ratio of the validation's median error to the test's.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from posezoo import evaluate, load, train
from posezoo.data.open import open_dataset
from posezoo.data.splits import stretch_of_test, validation_blocks
from posezoo.evaluation.uncertainty import spearman

ERRORS = ("position_error_m", "orientation_error_deg")


def draw(rng: np.random.Generator, epochs: int) -> dict[str, Any]:
    """A configuration: what people try when they choose by validation."""
    rotation, loss = [("quaternion", "sign-free"), ("6d", "matrix"), ("quaternion", "matrix")][rng.integers(3)]
    return {
        "rotation": rotation,
        "loss": {"rotation": loss},
        "epochs": int(rng.integers(max(1, epochs // 2), epochs + 1)),
        "hidden": int(rng.choice([128, 512, 1024])),
        "dropout": float(rng.choice([0.0, 0.1, 0.5])),
        "optim": {
            "lr": float(10 ** rng.uniform(-3.7, -2.7)),
            "frozen_stages": int(rng.choice([2, 3, 4])),
            "average": float(rng.choice([0.0, 0.98])),
        },
        "augment": {
            "geometry": str(rng.choice(["rotate", "rotate", "crop"])),
            "appearance": rng.choice([None, "photo", "weather"]),
        },
    }


def held_out(name: str, root: str | None, split: str | None, folder: Path) -> tuple[Path, dict[str, set[str]]]:
    """A split file whose val frames are both sets, and the images of each set."""
    frames = open_dataset(name, root=root, split=split).frames
    train_rows = np.flatnonzero(frames.split == "train")
    own, sets = frames.select(train_rows), {}
    for word, stretch in (("short blocks", 0), ("as the test", stretch_of_test(frames))):
        rows = train_rows[validation_blocks(own, 0.08, stretch)]
        sets[word] = {frames.name(int(row)) for row in rows}
    held = set.union(*sets.values())
    path = folder / "held-out.csv"
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["image", "split"])
        for row in range(len(frames)):
            image = frames.name(row)
            lines.writerow([Path(frames.root) / image, "val" if image in held else frames.split[row]])
    return path, sets


def medians(report: Any, folder: Path, images: set[str] | None = None) -> list[float]:
    """The median errors over the images, all of them without a set."""
    report.save(folder)
    with (folder / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if images is None or row["image"] in images]
    return [float(np.median([float(row[key]) for row in rows])) for key in ERRORS]


def main() -> None:
    """Train, evaluate, print one line a configuration and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="posenet")
    parser.add_argument("--data", default="demo-loop")
    parser.add_argument("--root")
    parser.add_argument("--split")
    parser.add_argument("--configurations", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng, found = np.random.default_rng(given.seed), []
    fixed = {"backbone": "tf_efficientnet_lite0", "resize": 120, "crop": 96, "selection": "last", "precision": "fp32"}
    with tempfile.TemporaryDirectory() as place:
        split, sets = held_out(given.data, given.root, given.split, Path(place))
        print({word: len(images) for word, images in sets.items()}, flush=True)
        for number in range(given.configurations):
            chosen = draw(rng, given.epochs)
            settings = {**fixed, **chosen, "seed": number, "out": f"{place}/{number}", "data.split": str(split)}
            run = train(given.model, given.data, root=given.root, **settings)
            where = {"root": given.root, "split": str(split)}
            model = load(f"local-dir:{run.path}")
            on_val = evaluate(model, given.data, subset="val", **where)
            line = {word: medians(on_val, Path(place) / "val", images) for word, images in sets.items()}
            line["test"] = medians(run.report, Path(place) / "test")
            found.append(line)
            print(json.dumps({"number": number, **line, "configuration": chosen}), flush=True)
    print("\n| held out | rank correlation, m | deg | validation / test, m | deg |\n|---|---|---|---|---|")
    test_N2 = np.array([line["test"] for line in found])
    for word in sets:
        own_N2 = np.array([line[word] for line in found])
        ranks = [spearman(own_N2[:, axis], test_N2[:, axis]) for axis in (0, 1)]
        ratio = np.median(own_N2 / test_N2, axis=0)
        print(f"| {word} | {ranks[0]:.2f} | {ranks[1]:.2f} | {ratio[0]:.2f} | {ratio[1]:.2f} |")


if __name__ == "__main__":
    main()
