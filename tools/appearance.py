"""What `augment.appearance` does to images of demo-loop, as a picture; and what it costs beside a training step.

    python tools/appearance.py picture docs/images/appearance.jpg
    python tools/appearance.py seconds --size 128 --model posenet backbone=tf_efficientnet_lite0

`seconds`: processor time of one thread, batches of 32, in alternating rounds of one process; medians of the rounds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import posezoo
from posezoo.base.memory import raise_malloc_thresholds
from posezoo.catalogue.settings import parse
from posezoo.data.images.cache import ImageCache
from posezoo.data.loader import uniforms
from posezoo.data.open import open_dataset
from posezoo.nn import transforms
from posezoo.training.appearance import FEW, KINDS, WEATHER, Draws, with_appearance

SIZE, GAP, TITLE = 112, 4, 18
PLACES = (0, 140, 260)  # of the training frames
COLUMNS = 6


def picture(path: Path) -> None:
    """Write the sheet: the images as they are, after each operation alone, and samples of both kinds."""
    images_B3HW = originals()
    bands = [[("original", images_B3HW)]]
    bands[0] += [(operation.__name__, alone(images_B3HW, number)) for number, operation in enumerate(WEATHER)]
    bands += [[(kind, sample(images_B3HW, kind, number)) for number in range(COLUMNS)] for kind in KINDS]
    columns = [column for band in bands for column in band]
    rows = -(-len(columns) // COLUMNS)
    high = TITLE + len(PLACES) * (SIZE + GAP)
    sheet = Image.new("RGB", (COLUMNS * (SIZE + GAP) - GAP, rows * high - GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, (title, shown_B3HW) in enumerate(columns):
        left, top = number % COLUMNS * (SIZE + GAP), number // COLUMNS * high
        pen.text((left + SIZE / 2, top + TITLE / 2), title, "black", font, anchor="mm")
        for row, image in enumerate(shown_B3HW.mul(255).round().byte().movedim(1, -1).numpy()):
            sheet.paste(Image.fromarray(image), (left, top + TITLE + row * (SIZE + GAP)))
    sheet.save(path, quality=80, optimize=True)
    print(f"{path}: {sheet.width}x{sheet.height}, {path.stat().st_size / 1000:.0f} kB")


def originals() -> Tensor:
    """The images, in [0, 1]."""
    frames = open_dataset("demo-loop").frames
    rows = np.flatnonzero(frames.split == "train")[list(PLACES)]
    images, _ = ImageCache.open(frames).batch(rows)
    return transforms.preprocess(images, SIZE, SIZE, (0, 0, 0), (1, 1, 1)).contiguous()


def alone(images_B3HW: Tensor, number: int) -> Tensor:
    """One operation of strength 1 on each of the images."""
    random = np.random.default_rng(16 + number)  # among the repaints are snow, leaves and asphalt
    few_BN = torch.from_numpy(random.random((len(images_B3HW), FEW), np.float32))
    key_B1 = torch.from_numpy(random.integers(0, 2**24, (len(images_B3HW), 1), np.int32))
    return WEATHER[number](images_B3HW, Draws(few_BN, key_B1), 1.0).clamp(0, 1)


def sample(images_B3HW: Tensor, kind: str, epoch: int) -> Tensor:
    """What a training with seed 0 sees."""
    return with_appearance(images_B3HW, seeds(len(images_B3HW), epoch), kind, 1.0)


def seeds(count: int, epoch: int) -> Tensor:
    """The numbers of `count` samples that choose their appearance."""
    return torch.from_numpy(np.stack([uniforms(0, epoch, place) for place in range(count)])[:, 8:10])


def seconds(size: int, name: str, settings: list[str], rounds: int = 9, batch: int = 32) -> None:
    """Print the milliseconds of a step and of both kinds, and their ratios."""
    raise_malloc_thresholds()
    torch.set_num_threads(1)
    model = posezoo.create_model(name, pretrained_backbone=False, crop=size, resize=size, **parse(settings))
    model.train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    images_B3HW = torch.rand(batch, 3, size, size)

    def step() -> None:
        output = model(images_B3HW.contiguous(memory_format=torch.channels_last))
        (output.position.sum() + output.rotation.sum()).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    taken: dict[str, list[float]] = {name: [], **{kind: [] for kind in KINDS}}
    for epoch in range(rounds):
        uniforms_B2 = seeds(batch, epoch)
        for what, times in taken.items():
            start = time.process_time()
            if what == name:
                step()
            else:
                with_appearance(images_B3HW, uniforms_B2, what, 1.0)
            times.append(time.process_time() - start)
    whole = median(taken[name][1:])  # the first warms up
    for what, times in taken.items():
        print(f"{what} at {size} px: {1000 * median(times[1:]):.0f} ms, {median(times[1:]) / whole:.3f} of a step")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("picture").add_argument("path", type=Path)
    timing = commands.add_parser("seconds")
    timing.add_argument("--size", type=int, default=128)
    timing.add_argument("--model", default="posenet")
    timing.add_argument("settings", nargs="*")
    given = parser.parse_args()
    if given.command == "picture":
        picture(given.path)
    else:
        seconds(given.size, given.model, given.settings)


if __name__ == "__main__":
    main()
