"""Run a model and the baselines over the same frames: the evaluator behind `posezoo eval`, training and benchmarks.

Legend: B batch, N images, C channels, H height, W width, E embedding width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from posezoo.base.errors import Interrupted, UsageError, WeightsError
from posezoo.base.observe import Progress, Stages
from posezoo.base.poses import ESTIMATES, Poses
from posezoo.catalogue import entries
from posezoo.data.images.cache import ImageCache
from posezoo.data.open import Dataset
from posezoo.data.table import Frames
from posezoo.evaluation import baselines, cost
from posezoo.evaluation.published import published
from posezoo.evaluation.report import Report
from posezoo.evaluation.retrieval import baseline_costs
from posezoo.nn import geometry
from posezoo.nn.model import PoseModel, evaluating
from posezoo.nn.tta import averaged, described

Embed = Callable[[Tensor], Tensor]
"""uint8 images (B, 3, H, W) -> features (B, E)."""


class Pictures(Protocol):
    """Where images come from: an image cache, or one whose pictures are changed on the way."""

    def batch(self, indices: Sequence[int] | np.ndarray, /) -> tuple[Tensor, np.ndarray]:
        """Images (B, 3, H, W) uint8 and their intrinsics."""


class Share(Protocol):
    """Processes that evaluate together: each its own rows, then all have all of them."""

    @property
    def rank(self) -> int:
        """This one's number."""

    @property
    def world(self) -> int:
        """How many there are."""

    def summed(self, array: np.ndarray, /) -> np.ndarray:
        """The sum of all processes' arrays, in all of them."""

    def largest(self, *numbers: int) -> list[int]:
        """The largest of each number in any process."""


# Long: a third are its arguments and what they mean
def evaluate(
    model: PoseModel,
    dataset: Dataset,
    *,
    split: str = "test",
    cache: ImageCache | None = None,
    embed: Embed | None = None,
    training: Dataset | None = None,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    selection: str = "",
    trained: Mapping[str, Any] | None = None,
    should_stop: Callable[[], bool] | None = None,
    progress: Stages = lambda what, done, total: None,
    share: Share | None = None,
    tta: bool = False,
) -> Report:
    """The report of `model` on `split` of `dataset`, with the baselines from the training frames.

    The model is never given the scene of an image. `cache` holds the images of `dataset.frames`; without it one is
    opened. Without `embed` image retrieval is left out. With `device` the model is moved there. `training`: the data
    whose training frames the baselines are made of, where they are not all of `dataset`'s own; a new recording of a
    place has none. `selection`: how its weights were chosen; `trained`: what its config.json says of the training.
    With `share` several processes, all of which call this, do a part each. `tta`: with turned copies (`nn.tta`)."""
    test, train = dataset.require(split), (training or dataset).frames.of_split("train")
    check_scenes(model, test)
    if device is not None:
        model.to(device)
    place, name = _device_of(model), model.name or type(model).__name__
    reading, doing = (partial(progress, what) for what in ("reading images", "evaluating"))
    run = _Run(batch_size, place, should_stop, doing, share)
    rows, train_rows = (np.flatnonzero(dataset.frames.split == word) for word in (split, "train"))
    if cache is None and embed is None:  # only these images are needed
        cache, rows = ImageCache.open(test, reading), np.arange(len(test))
    elif cache is None:
        cache = ImageCache.open(dataset.frames, reading)  # the one that training built
    predicted, scene_N = predict_frames(model, cache, rows, test, **run._asdict(), tta=tta)
    seen = (*dataset.notes, *dataset.remarks, *_other_pixels(model, test), *((described(model.config),) if tta else ()))
    features = None
    if embed is not None and len(train):
        known = cache
        if training is not None and training.frames.images is dataset.frames.images:  # some of the same frames
            train_rows = np.flatnonzero(training.frames.split == "train")
        elif training is not None:
            known, train_rows = ImageCache.open(train, reading), np.arange(len(train))
        features = [embed_frames(embed, *which, **run._asdict()) for which in ((known, train_rows), (cache, rows))]
    others, remarks = _baselines(train, test, features)
    costs = _costs(model, dataset.frames, place, tta) | baseline_costs(others, train, test, embed, features)
    return Report(
        model=name,
        data=dataset.name,
        data_digest=dataset.digest,
        ground_truth=test.ground_truth,
        split=split,
        selection=selection,
        methods={name: predicted, **others},
        frames=test,
        train=train if len(train) else None,
        scene_predicted=None if scene_N is None else _renumbered(scene_N, model.config.scenes, test.scenes),
        unit=dataset.unit,
        remarks=(*seen, *remarks, *published(name, dataset, test, split)),
        settings=_settings(model, dataset, run, trained or {}, tta)
        | {"cost": costs, "baselines_digest": (training or dataset).digest if others else None},
    )


class _Run(NamedTuple):
    """How the networks are run."""

    batch_size: int
    device: torch.device
    should_stop: Callable[[], bool] | None
    progress: Progress | None
    share: Share | None


def _settings(model: PoseModel, dataset: Dataset, run: _Run, trained: Mapping[str, Any], tta: bool) -> dict[str, Any]:
    known = getattr(model, "estimate", None)
    return {
        "trained": _facts(trained),
        "weights": getattr(model, "origin", ""),  # a folder, or repository and commit: a branch moves on
        "batch_size": run.batch_size,
        **({"calibration": dataclasses.asdict(known.calibration)} if known else {}),
        **({"tta": True} if tta else {}),
        "device": run.device.type,
        "data_notes": list(dataset.notes),
        "skipped": [str(finding) for finding in dataset.skipped],
    }


def _facts(training: Mapping[str, Any]) -> dict[str, Any]:
    """What of a model's config.json belongs beside its errors."""
    kept = ("data", "data_digest", "seed", "recipe", "commit", "weights_sha256")
    return {key: training[key] for key in kept if key in training}


def _costs(model: nn.Module, frames: Frames, device: torch.device, tta: bool) -> dict[str, cost.Cost]:
    """What an answer of the model costs, on its first image; nothing for what is no PoseModel."""
    if not isinstance(model, PoseModel):
        return {}
    # turned copies are made of the picture itself
    prepare = torch.clone if tta else model.prepare
    answer = (lambda x: averaged(model, [x], model.config).position) if tta else (lambda x: model(x).position)
    price = cost.cost_of(model, prepare, frames.path(0), answer=answer, device=device, decode=frames.decode)
    return {model.name or type(model).__name__: price}


def _baselines(
    train: Frames, test: Frames, features: Sequence[npt.NDArray[np.float32]] | None
) -> tuple[dict[str, Poses], list[str]]:
    """(method -> poses of the test frames, remarks on what is left out); `features` of train and test frames."""
    if not len(train):
        return {}, ["no baselines: the train split is empty"]
    methods, remarks = {baselines.MEAN: baselines.mean_training_pose(train, test)}, []
    if features is None:
        remarks.append(f"{baselines.RETRIEVAL} left out: the backbone has no pretrained weights")
    else:
        methods[baselines.RETRIEVAL] = baselines.nearest_training_image(train, test, *features)
    methods[baselines.ORACLE] = baselines.oracle_nearest_pose(train, test)
    return methods, remarks


def _other_pixels(model: PoseModel, frames: Frames) -> list[str]:
    """A line if the pictures are decoded differently than in training."""
    here, trained = frames.decode.key if frames.decode else "", model.config.decode
    raw = frames.decode is not None and not frames.decode.turns
    if here == trained or (raw and not trained):  # pictures all the same, where turned ones are others
        return []
    return [f"pictures are decoded differently than in training: {here or 'as stored'}, not {trained or 'as stored'}"]


def predict_frames(
    model: PoseModel,
    cache: Pictures,
    indices: Sequence[int] | np.ndarray,
    frames: Frames,
    batch_size: int = 32,
    device: str | torch.device = "cpu",
    should_stop: Callable[[], bool] | None = None,
    progress: Progress | None = None,
    share: Share | None = None,
    tta: bool = False,
) -> tuple[Poses, npt.NDArray[np.int64] | None]:
    """(poses, scenes chosen) of `frames`, whose images are the cache's images `indices`.

    Scenes are indices into `model.config.scenes`, None for a model that does not choose. The result depends neither
    on the order nor on the batch size nor on a `share`. Raises Interrupted as soon as `should_stop()` is true.
    """
    indices_N = np.asarray(indices, dtype=np.int64)
    assert len(indices_N) == len(frames), "one image a frame"
    position_N3, quaternion_N4 = np.zeros((len(indices_N), 3)), np.zeros((len(indices_N), 4))
    scene_N, estimate_N3 = np.zeros(len(indices_N), dtype=np.int64), np.zeros((len(indices_N), len(ESTIMATES)))
    chooses = estimates = False
    own_M = _own_rows(len(indices_N), batch_size, share)
    with evaluating(model), torch.inference_mode():
        for own, images_BCHW in _batches(cache, indices_N[own_M], batch_size, device, should_stop, progress):
            rows = own_M[own]
            output = averaged(model, [images_BCHW], model.config) if tta else model(model.prepare(images_BCHW))
            position_N3[rows] = output.position.cpu().double().numpy()
            quaternion_N4[rows] = geometry.unit(output.quaternion.cpu().double()).numpy()
            # with one scene there is nothing to choose
            if output.scene is not None and len(model.config.scenes) > 1:
                scene_N[rows], chooses = output.scene.cpu().numpy(), True
            if output.radius_m is not None:
                known = [getattr(output, name).cpu().double() for name in ESTIMATES]
                estimate_N3[rows], estimates = torch.stack(known, dim=-1).numpy(), True
    if share is not None:
        arrays = position_N3, quaternion_N4, scene_N, estimate_N3
        position_N3, quaternion_N4, scene_N, estimate_N3 = map(share.summed, arrays)
        chooses, estimates = map(bool, share.largest(int(chooses), int(estimates)))
    true = frames.poses()
    names = tuple(model.config.scenes[n] for n in scene_N) if chooses else true.scenes
    more = dict(zip(ESTIMATES, estimate_N3.T, strict=True)) if estimates else {}
    poses = Poses(true.images, position_N3, quaternion_N4, names, true.timestamps, **more)
    return poses, scene_N if chooses else None


def embed_frames(
    embed: Embed,
    cache: Pictures,
    indices: Sequence[int] | np.ndarray,
    batch_size: int = 32,
    device: str | torch.device = "cpu",
    should_stop: Callable[[], bool] | None = None,
    progress: Progress | None = None,
    share: Share | None = None,
) -> npt.NDArray[np.float32]:
    """Features (N, E) of the cache's images `indices`, in that order. Raises Interrupted like `predict_frames`."""
    indices_N = np.asarray(indices, dtype=np.int64)
    own_M = _own_rows(len(indices_N), batch_size, share)
    features_NE = np.zeros((len(indices_N), 0), dtype=np.float32)
    with torch.inference_mode():
        for own, images_BCHW in _batches(cache, indices_N[own_M], batch_size, device, should_stop, progress):
            features_BE = embed(images_BCHW).float().cpu().numpy()
            if not features_NE.shape[1]:
                features_NE = np.zeros((len(indices_N), features_BE.shape[1]), dtype=np.float32)
            features_NE[own_M[own]] = features_BE
    if share is not None:
        width = share.largest(features_NE.shape[1])[0]
        features_NE = share.summed(features_NE if features_NE.shape[1] else np.zeros((len(indices_N), width), "f4"))
    return features_NE


def _own_rows(count: int, batch_size: int, share: Share | None) -> npt.NDArray[np.int64]:
    """The rows that this process computes: every so many batches whole, because rounding differs between batches."""
    row_N = np.arange(count)
    return row_N if share is None else row_N[row_N // batch_size % share.world == share.rank]


def as_known_scenes(dataset: Dataset, known: tuple[str, ...], scene: str | None) -> Dataset:
    """The data with their scene under the name that the model has for it: `scene`, or the model's only one.

    Data of several scenes, and of one that the model knows, stay as they are; so does a scene that the catalogue has
    beside the model's, which is another place. Raises UsageError for a `scene` that the model does not know, or that is
    given for data of several.
    """
    frames = dataset.frames
    here = [frames.scenes[number] for number in np.unique(frames.scene)]
    if scene is not None and (len(here) != 1 or scene not in known):
        what = "the model does not know it" if scene not in known else f"the data have {', '.join(here)}"
        raise UsageError(f"scene {scene[:60]!a}: {what}", f"the model knows {', '.join(known)}")
    alone = len(here) == len(known) == 1 and here != list(known) != ["scene"] and dataset.card is None
    apart = alone and any({*here, *known} <= set(card.scenes) for card in entries.data_cards().values())
    if scene is None and (not alone or apart):
        return dataset
    name = scene or known[0]
    if here == [name]:
        return dataset
    frames = dataclasses.replace(frames, scenes=(name,), scene=np.zeros_like(frames.scene))
    note = f'scene "{here[0]}" is taken for the model\'s "{name}"'
    return dataclasses.replace(dataset, frames=frames, notes=(*dataset.notes, note))


def check_scenes(model: PoseModel, frames: Frames) -> None:
    """Raise WeightsError if `frames` include a scene that the model does not know.

    A model whose only scene is called "scene" (data without scene names) may be tried on any.
    """
    known = tuple(model.config.scenes)
    for number in () if known == ("scene",) else np.unique(frames.scene):
        if frames.scenes[number] not in known:
            has = f'{model.name} has no scene "{frames.scenes[number]}" (has: {", ".join(known)})'
            hint = "evaluate it on data of its own scenes; a new recording of one: posezoo eval --scene NAME"
            raise WeightsError(has, hint)


def _batches(
    cache: Pictures,
    indices_N: npt.NDArray[np.int64],
    batch_size: int,
    device: str | torch.device,
    should_stop: Callable[[], bool] | None,
    progress: Progress | None,
) -> Iterator[tuple[npt.NDArray[np.int64], Tensor]]:
    """Yield (rows of `indices_N`, uint8 images on `device`); images of one shape at a time.

    In a batch of several shapes the cache pads the smaller ones, and a pose would then depend on its neighbours. A
    thread reads the next batch meanwhile; it ends with the last, or as soon as the caller gives up."""

    @torch.inference_mode()  # of a thread: pictures may be changed by a network
    def read(start: int) -> list[tuple[npt.NDArray[np.int64], Tensor]]:
        rows = np.arange(start, min(start + batch_size, len(indices_N)))
        images = [cache.batch(indices_N[row : row + 1])[0] for row in rows]
        shapes = dict.fromkeys(image.shape for image in images)
        of_shapes = ([n for n, image in enumerate(images) if image.shape == shape] for shape in shapes)
        return [(rows[of_shape], torch.cat([images[n] for n in of_shape])) for of_shape in of_shapes]

    with ThreadPoolExecutor(1, "posezoo-images") as reader:
        coming = reader.submit(read, 0)
        for start in range(0, len(indices_N), batch_size):
            if should_stop is not None and should_stop():
                raise Interrupted(f"evaluation stopped at image {start} of {len(indices_N)}", "", exit_code=130)
            batch, coming = coming.result(), reader.submit(read, start + batch_size)
            yield from ((rows, images_BCHW.to(device)) for rows, images_BCHW in batch)
            if progress is not None:
                progress(min(start + batch_size, len(indices_N)), len(indices_N))


def _device_of(model: nn.Module) -> torch.device:
    tensor = next(model.parameters(), next(model.buffers(), None))
    return torch.device("cpu") if tensor is None else tensor.device


def _renumbered(scene_N: npt.NDArray[np.int64], of: Sequence[str], into: Sequence[str]) -> npt.NDArray[np.int64]:
    """Indices into the names `of` as indices into the names `into`; -1 for a name that is not among them."""
    table = np.array([into.index(name) if name in into else -1 for name in of], dtype=np.int64)
    return table[scene_N]
