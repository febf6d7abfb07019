"""What models look at: saliency of any model, and the attention of those that have some, as overlays.

Saliency of a pixel is how fast the predicted position moves with it: the length of the derivative of the position's
three numbers (in units of the model's own scale) over the pixel's colours, smoothed; AtLoc's figures show the like. A
model's own attention (`PoseModel.attention_maps`; MS-Transformer: its last decoder layer, over the heads) is a map of
its tokens. The number that is told is the spread: the share of the picture that would carry a map's entropy if it were
spread evenly there. One is a map that is the same everywhere.

Legend: B images, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2.functional import gaussian_blur

from posezoo.base.observe import Observer
from posezoo.evaluation.compare import BETTER, SAME, WORSE
from posezoo.evaluation.intervals import Floats
from posezoo.nn.device import torch_device
from posezoo.nn.model import PoseModel, evaluating
from posezoo.nn.ranges import Count
from posezoo.studies import changes, drawing
from posezoo.studies.measure import open_album
from posezoo.studies.medians import note, short, spread
from posezoo.studies.paired import ranked, training_notes
from posezoo.studies.ranges import AtMost
from posezoo.studies.study import Found
from posezoo.studies.subjects import Request, subjects
from posezoo.zoo.saved import load

SALIENCY = "saliency"
SMOOTH = 1 / 32
"""Deviation of the smoothing, as a share of the picture's side."""


Overlay = tuple[np.ndarray, np.ndarray]
"""What the network reads (H, W, 3), and a map of it (H, W)."""


@dataclass(frozen=True)
class Options:
    """Of the study itself."""

    images: AtMost = 24
    """At most so many test images, evenly spaced; 0: all."""
    shown: Count = 3
    """Images in the picture."""


def study(request: Request, options: Options, observer: Observer) -> Found:
    """The study; the first model is what others are compared with, in saliency."""
    album = open_album(request, observer)
    index = changes.thinned(len(album.frames), options.images)
    models = subjects(request)
    shares: dict[tuple[str, str], list[Floats]] = {}
    drawn: dict[tuple[str, str], list[Overlay]] = {}
    shown = index[np.linspace(0, len(index) - 1, min(options.shown, len(index))).astype(int)].tolist()
    done, total = 0, len(index) * sum(len(one.runs) for one in models)
    for subject in models:
        for number, run in enumerate(subject.runs):
            model, of_run = load(run, torch_device("auto")), dict[str, list[float]]()
            for n in index.tolist():
                image = album.cache.batch([n])[0]
                for name, map_HW in maps(model, image).items():
                    of_run.setdefault(name, []).append(spread_of(map_HW))
                    if n in shown and not number:
                        drawn.setdefault((subject.name, name), []).append((seen(model, image), map_HW))
                done += 1
                observer.progress("maps", done, total)
            for name, values in of_run.items():
                shares.setdefault((subject.name, name), []).append(np.array(values))
    frames = album.results(index)
    rows = [_row(frames, key, values) for key, values in shares.items()]
    first = models[0].name
    pairs = {name: [(one, one) for one in shares[name, SALIENCY]] for name in (one.name for one in models)}
    spread_is = {"error": "spread", "unit": "share"}  # what is compared is no position
    against = {name: ranked(frames, pairs[first], pair)[0] | spread_is for name, pair in pairs.items() if name != first}
    return Found(
        verdict=_verdict(rows, first, against),
        rows=[_shown(row) for row in rows],
        numbers={
            **{"models": {one.name: one.runs for one in models}, "num_images": len(index), "maps": rows},
            "spread_of_saliency_against_first": against,
        },
        figures={"attention.png": _figure(drawn)},
        notes=[note(frames, max(len(one.runs) for one in models)), *training_notes(models)],
    )


def maps(model: PoseModel, images_1CHW: Tensor) -> dict[str, np.ndarray]:
    """Name -> map (crop, crop) of one image, each summing to 1: its saliency, then the model's own attention."""
    prepared = model.prepare(images_1CHW.to(model.device))
    with evaluating(model):
        found = {SALIENCY: saliency(model, prepared)[0]}
        with torch.inference_mode():
            own = model.attention_maps(prepared)
    size = prepared.shape[-2:]
    for name, map_Bhw in own.items():
        found[name] = F.interpolate(map_Bhw[:, None].float(), size, mode="bilinear", align_corners=False)[0, 0]
    return {name: _normed(map_HW.detach().cpu().double().numpy()) for name, map_HW in found.items()}


def saliency(model: PoseModel, images_BCHW: Tensor) -> Tensor:
    """How fast the predicted position moves with each pixel of prepared images, smoothed, (B, H, W)."""
    images_BCHW = images_BCHW.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        position_B3 = (model(images_BCHW).position - model.position_mean_3) / model.position_std_3
        slopes = [torch.autograd.grad(one.sum(), images_BCHW, retain_graph=True)[0] for one in position_B3.T]
    square_BHW = torch.stack(slopes).square().sum(dim=(0, 2))
    side = square_BHW.shape[-1]
    sigma = SMOOTH * side
    return gaussian_blur(square_BHW[:, None].sqrt(), [2 * round(2 * sigma) + 1] * 2, [sigma] * 2)[:, 0]


def seen(model: PoseModel, images_1CHW: Tensor) -> np.ndarray:
    """What the network reads of an image, as a uint8 picture (crop, crop, 3)."""
    mean, std = (torch.tensor(value)[:, None, None] for value in (model.config.mean, model.config.std))
    picture_CHW = model.prepare(images_1CHW.to(model.device))[0].cpu() * std + mean
    return (picture_CHW.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def spread_of(map_HW: np.ndarray) -> float:
    """exp(entropy) as a share of the pixels, in 0..1."""
    positive = map_HW[map_HW > 0]
    return float(np.exp(-np.sum(positive * np.log(positive))) / map_HW.size)


def _normed(map_HW: np.ndarray) -> np.ndarray:
    total = map_HW.sum()
    return map_HW / total if total > 0 else np.full(map_HW.shape, 1 / map_HW.size)


def _row(frames: Any, key: tuple[str, str], values: Sequence[Floats]) -> dict[str, Any]:
    found = spread(frames, [(one, one) for one in values])
    share = "median_position_m"
    return {
        **{"model": key[0], "map": key[1], "spread": found[share], "spread_ci95": found[f"{share}_ci95"]},
        "spread_seeds": found[f"{share}_seeds"],
    }


def _verdict(rows: Sequence[Mapping[str, Any]], first: str, against: Mapping[str, Mapping[str, Any]]) -> str:
    own = next(row for row in rows if row["model"] == first)
    found = f"the saliency of {first} fills {100 * own['spread']:.0f} % of the picture"
    word = {BETTER: "less", WORSE: "more", SAME: "as much as far as can be told"}
    for name, row in against.items():
        low, high = row["difference_ci95"]
        found += f", that of {name} {word[row['verdict']]} ({100 * low:.1f} to {100 * high:.1f} points)"
    return found


def _shown(row: Mapping[str, Any]) -> dict[str, str]:
    low, high = row["spread_ci95"]
    return {
        "model": row["model"],
        "map": row["map"],
        "spread": short(row["spread"]),
        "95 %": f"{low:.2f} to {high:.2f}",
    }


def _figure(drawn: Mapping[tuple[str, str], Sequence[Overlay]]) -> Figure:
    """Images beside one another, below each the maps over it, brightest where they are largest."""
    first = next(iter(drawn.values()))
    columns, lines = len(first), len(drawn) + 1
    figure = Figure(figsize=(drawing.WIDTH, drawing.WIDTH / columns * lines + 0.2), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for column in range(columns):
        grid[0][column].imshow(first[column][0])
        for line, ((model, name), overlays) in enumerate(drawn.items(), 1):
            axes, (picture_HWC, map_HW) = grid[line][column], overlays[column]
            axes.imshow(picture_HWC.mean(axis=2), cmap="gray", vmin=0, vmax=255)
            axes.imshow(map_HW, cmap="inferno", alpha=0.6, vmin=0, vmax=np.percentile(map_HW, 99.5))
            if not column:
                axes.set_ylabel(f"{model}\n{name}", fontsize=8)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    return figure
