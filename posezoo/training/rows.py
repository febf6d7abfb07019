"""Which frames a run trains on and which it only watches, and which scenes its model has."""

from __future__ import annotations

import dataclasses

import numpy as np

from posezoo.base.errors import DataError
from posezoo.data.open import Dataset
from posezoo.data.splits import part_of, stretch_of_test, validation_blocks
from posezoo.nn.model import ModelConfig
from posezoo.training.config import DataSettings, TrainConfig
from posezoo.zoo.blueprint import Blueprint


def rows_of(dataset: Dataset, config: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation rows: the data set's own validation split, or blocks out of the training frames."""
    frames = dataset.frames
    train = np.flatnonzero(frames.split == "train")
    dataset.require("train")
    if config.overfit:
        few = train[np.linspace(0, len(train) - 1, min(config.overfit, len(train))).round().astype(np.int64)]
        return few, few
    train, validation = _apart(dataset, train, config)
    kept = part_of(frames.select(train), config.data.fraction, config.data.fraction_by, config.seed)
    return (train if config.data.fraction == 1 else train[kept]), validation


def as_trained(dataset: Dataset, part: DataSettings, seed: int) -> Dataset:
    """The data with the part of the training frames that `data.fraction` leaves, for baselines of as many images.

    Those that a run keeps for validation count in, as they do without a fraction.
    """
    if part.fraction == 1:
        return dataset
    frames = dataset.frames
    train, split = np.flatnonzero(frames.split == "train"), frames.split.copy()
    split[train[~part_of(frames.select(train), part.fraction, part.fraction_by, seed)]] = ""
    return dataclasses.replace(dataset, frames=dataclasses.replace(frames, split=split))


def _apart(dataset: Dataset, train: np.ndarray, config: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """Training rows, and those that are only watched."""
    frames = dataset.frames
    if config.selection == "test":
        return train, np.flatnonzero(frames.split == "test")
    own = np.flatnonzero(frames.split == "val")
    fraction = config.data.calibration if config.selection == "last" else config.data.validation
    if len(own) or (config.selection == "last" and not fraction):
        return train, own
    held_out = validation_blocks(frames.select(train), fraction, stretch_of_test(frames))
    if np.sum(~held_out) < 2:
        raise DataError(f'"{dataset.name}" has {len(train)} training images: too few', "at least 2 besides validation")
    return train[~held_out], train[held_out]


def extends(blueprint: Blueprint) -> bool:
    """Whether the model has scenes before it sees the data: those of the model that it starts from."""
    return blueprint.config.scenes != ModelConfig().scenes


def with_scenes_of(blueprint: Blueprint, dataset: Dataset) -> Dataset:
    """The data with the blueprint's scenes first, so that they keep their numbers in the model."""
    if not extends(blueprint):
        return dataset
    frames, first = dataset.frames, blueprint.config.scenes
    names = (*first, *(name for name in frames.scenes if name not in first))
    number_S = np.array([names.index(name) for name in frames.scenes], dtype=frames.scene.dtype)
    return dataclasses.replace(dataset, frames=dataclasses.replace(frames, scenes=names, scene=number_S[frames.scene]))
