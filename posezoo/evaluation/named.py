"""Baselines by name, through the same evaluator as models: `posezoo eval baseline:retrieval --data demo-loop`.

    baseline:mean                                   the mean training pose of each image's scene
    baseline:retrieval                              the nearest training image, by frozen features
    baseline:retrieval?backbone=resnet18&top=5      of any timm backbone; the poses of the 5 nearest, weighted
    baseline:oracle                                 the nearest training pose: retrieval's bound

Weights of the `top` nearest are exp((cosine - largest) / 0.05); only those of the first one's scene count.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import numpy as np
import torch
from torch import Tensor

from posezoo.base.errors import DataError, UsageError, unknown_name
from posezoo.base.observe import Stages
from posezoo.base.poses import Poses
from posezoo.data.images.cache import ImageCache
from posezoo.data.open import Dataset
from posezoo.evaluation import baselines, cost
from posezoo.evaluation.evaluate import embed_frames
from posezoo.evaluation.report import Report
from posezoo.evaluation.retrieval import PACKAGED, RetrievalFeatures, frozen_backbone, retrieval_cost
from posezoo.nn import backbones, transforms

PREFIX = "baseline:"
KINDS = ("mean", "retrieval", "oracle")
RESIZE, CROP = 256, 224


class Named(NamedTuple):
    """A parsed name."""

    text: str
    kind: str
    backbone: str = PACKAGED
    top: int = 1


def parse(text: str) -> Named:
    """The baseline called `baseline:...`. Raises UsageError."""
    kind, _, query = text.removeprefix(PREFIX).partition("?")
    if kind not in KINDS:
        raise unknown_name("baseline", text, [PREFIX + one for one in KINDS], "one of mean, retrieval, oracle")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if other := set(options) - ({"backbone", "top"} if kind == "retrieval" else set()):
        takes = "backbone=NAME and top=K" if kind == "retrieval" else "nothing"
        raise UsageError(f"{text}: unknown option {min(other)}", f"{PREFIX}{kind} takes {takes}")
    top = options.get("top", "1")
    if not top.isascii() or not top.isdecimal() or not 1 <= int(top[:6]) <= 1000:
        raise UsageError(f"{text}: top is a number from 1 to 1000", f"{PREFIX}retrieval?top=5")
    return Named(text, kind, options.get("backbone", PACKAGED), int(top))


def evaluate(
    text: str,
    dataset: Dataset,
    *,
    split: str = "test",
    batch_size: int = 32,
    device: str | torch.device = "cpu",
    progress: Stages = lambda what, done, total: None,
) -> Report:
    """The report of a baseline on `split`, beside the other two that cost nothing. Raises UsageError, HubError."""
    named, place = parse(text), torch.device(device)
    test, train = dataset.require(split), dataset.frames.of_split("train")
    if not len(train):
        raise DataError(f'"{dataset.name}" has no training frames, which a baseline needs', "another --split")
    methods = {baselines.MEAN: baselines.mean_training_pose(train, test)}
    costs = {baselines.MEAN: cost.of_mean(len(set(train.scene.tolist()))), baselines.ORACLE: cost.OF_ORACLE}
    methods[baselines.ORACLE] = baselines.oracle_nearest_pose(train, test)
    if named.kind == "retrieval":
        poses, price = _retrieval(named, dataset, split, batch_size, place, progress)
        methods, costs = {text: poses, **methods}, {text: price, **costs}
    else:
        own = {"mean": baselines.MEAN, "oracle": baselines.ORACLE}[named.kind]
        methods, costs = {text: methods.pop(own), **methods}, {text: costs.pop(own), **costs}
    return Report(
        model=text,
        data=dataset.name,
        data_digest=dataset.digest,
        ground_truth=test.ground_truth,
        split=split,
        selection="",
        methods=methods,
        frames=test,
        train=train,
        unit=dataset.unit,
        remarks=(*dataset.notes, *dataset.remarks),
        settings={
            "trained": {"data": dataset.name, "data_digest": dataset.digest},
            "baselines_digest": dataset.digest,
            "cost": costs,
            "data_notes": list(dataset.notes),
        },
    )


def _retrieval(
    named: Named, dataset: Dataset, split: str, batch_size: int, device: torch.device, progress: Stages
) -> tuple[Poses, cost.Cost]:
    """The poses of the nearest training images, and what they cost."""
    mean, std = backbones.normalisation(named.backbone)

    def prepare(images_BCHW: Tensor) -> Tensor:
        return transforms.preprocess(images_BCHW, RESIZE, CROP, mean, std)

    features = RetrievalFeatures(frozen_backbone(named.backbone, CROP).to(device), prepare)
    reading, doing = (partial(progress, what) for what in ("reading images", "evaluating"))
    cache = ImageCache.open(dataset.frames, reading)
    train_rows, rows = (np.flatnonzero(dataset.frames.split == word) for word in ("train", split))
    train_ME, test_NE = (
        embed_frames(features, cache, which, batch_size, device, None, doing) for which in (train_rows, rows)
    )
    train, test = dataset.frames.select(train_rows), dataset.frames.select(rows)
    price = retrieval_cost(features, train, test, train_ME, named.top)
    return baselines.nearest_training_images(train, test, train_ME, test_NE, named.top), price


def is_named(model: Any) -> bool:
    """Whether it is the name of a baseline."""
    return isinstance(model, str) and model.startswith(PREFIX)
