"""From a configuration to everything a run needs: frames, image cache, model, loss, optimiser, precision.

All problems with the data are found here, before step 1.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from posezoo.base.errors import PluginError, UsageError
from posezoo.base.memory import raise_malloc_thresholds
from posezoo.base.observe import Observer
from posezoo.catalogue import guard
from posezoo.catalogue.resolve import KnownData
from posezoo.data.images.cache import ImageCache
from posezoo.data.images.depths import DepthMaps
from posezoo.data.images.pixels import pixel_statistics
from posezoo.data.loader import Batch, BatchOrder, FrameBatches
from posezoo.data.open import Dataset, open_dataset
from posezoo.data.splits import frame_tuples
from posezoo.nn import promises
from posezoo.nn.backbones import Backbone
from posezoo.nn.device import require_compiler, torch_device
from posezoo.nn.losses import PoseLoss
from posezoo.nn.model import PoseModel
from posezoo.training.augment import UNVARIED, VARIED, augmented, focal_length, suited
from posezoo.training.average import model_of
from posezoo.training.cameras import training_lenses
from posezoo.training.config import AugmentSettings, OptimSettings, PhaseSettings, TrainConfig
from posezoo.training.processes import Processes, alone
from posezoo.training.rows import extends, rows_of, with_scenes_of
from posezoo.zoo import pretrained
from posezoo.zoo.blueprint import Blueprint
from posezoo.zoo.build import build, load_backbones


@dataclass
class Job:
    """A run that is ready to start. `train_rows` and `validation_rows` index `dataset.frames`."""

    config: TrainConfig
    blueprint: Blueprint
    data: KnownData
    dataset: Dataset
    cache: ImageCache
    train_rows: np.ndarray
    validation_rows: np.ndarray
    model: PoseModel
    augmentation: AugmentSettings
    accelerator: Accelerator
    unit_m: float | tuple[float, float, float]
    backbone_files: list[pretrained.WeightsFile]
    processes: Processes = field(default_factory=alone)
    """All that train together."""
    depths: DepthMaps | None = None
    """Of the training images, where cameras move."""
    average: AveragedModel | None = None
    """Of the model's weights over the steps, if the configuration asks for it."""

    @property
    def judged(self) -> PoseModel:
        """What is validated and saved: the average of the model, or the model itself."""
        return self.model if self.average is None else model_of(self.average)

    @property
    def inputs_digest(self) -> str:
        """sha256 over pixels, intrinsics and depths of the frames; names, poses, splits are in `dataset.digest`."""
        pixels, intrinsics_N4 = self.cache.folder.name, self.dataset.frames.intrinsics.astype("<f8")
        depths = self.depths.key if self.depths else ""
        return hashlib.sha256((pixels + depths).encode() + intrinsics_N4.tobytes()).hexdigest()

    @cached_property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch, the same in every epoch and process."""
        return len(self.order(epoch=0))

    def order(self, epoch: int, start: int = 0, rank: int = 0) -> BatchOrder:
        """The batches of an epoch for process `rank`, from batch `start` on."""
        scene_N = self.dataset.frames.scene[self.train_rows] if self.config.equalise_scenes else None
        config, size, world = self.config, len(self.train_rows), self.processes.world
        share, least = config.limit_train, 0 if config.overfit else config.min_epoch_images
        return BatchOrder(size, config.batch_size, config.seed, epoch, start, rank, world, scene_N, share, least)

    def batches(self, epoch: int, images: bool = True) -> FrameBatches:
        """The training frames, or tuples of them, as batches of one epoch, with or without the images."""
        rows = self.train_rows
        if self.config.tuple_length > 1:
            frames = self.dataset.frames.select(rows)
            rows = rows[frame_tuples(frames, self.config.tuple_length, self.config.tuple_gap)]
        cache = self.cache if images else None
        return FrameBatches(self.dataset.frames, cache, rows, self.config.seed, epoch, self.depths)


def set_up(
    config: TrainConfig, blueprint: Blueprint, data: KnownData, observer: Observer, processes: Processes | None = None
) -> Job:
    """A job: data opened, model built, device chosen. Raises DataError with all findings, Interrupted for a signal."""
    raise_malloc_thresholds()
    processes = processes or alone()
    with processes.stop.at_once("preparing the run, before step 1"):
        return _set_up(config, blueprint, data, observer, processes)


def _set_up(
    config: TrainConfig, blueprint: Blueprint, data: KnownData, observer: Observer, processes: Processes
) -> Job:
    where = config.data
    reading = partial(observer.progress, "reading images")
    dataset = open_dataset(data, root=where.root, split=where.split, skip_bad=where.skip_bad, progress=reading)
    dataset = with_scenes_of(blueprint, dataset)
    for note in (*dataset.notes, *dataset.remarks):
        observer.note(note)
    train_rows, validation_rows = rows_of(dataset, config)
    dataset.require("test")
    varied = UNVARIED if config.overfit else suited(config.augment, dataset.frames.select(train_rows), observer)
    with processes.first_of_machine("image cache"):
        cache = ImageCache.open(dataset.frames, reading)
    accelerator = _accelerator(config)
    torch.manual_seed(config.seed)
    cameras = _cameras(varied if any(phase.augment for phase in config.plan) else UNVARIED, cache, train_rows)
    plan = _for_place(blueprint, dataset, train_rows, config).with_place(**cameras)
    if len(dataset.frames.lens):
        sizes = cache.stored_sizes(train_rows)
        plan = plan.with_place(lenses=training_lenses(dataset.frames.select(train_rows), sizes, observer.note))
    if config.normalise_pixels == "data" and None in (plan.config.mean, plan.config.std):
        mean, std = pixel_statistics(cache, train_rows, partial(observer.progress, "pixel statistics"))
        plan = plan.with_place(mean=plan.config.mean or mean, std=plan.config.std or std)
    model = checked_model(plan, observer.note)
    set_trainable(model, config.plan[0], config.optim)  # raises what would end the run once its folder is made
    backbone_files = load_backbones(model)
    # channels last: 1.6 times the images/s of the default layout in convolutions on a CPU, and tensor cores need it
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if processes.world > 1 and config.sync_batch_norm:
        observer.note(f"{processes.world} processes: batch norms see the whole batch (sync_batch_norm)")
    depths = None
    if varied.motion:
        with processes.first_of_machine("depths"):
            depths = DepthMaps.find(dataset.frames, train_rows, cache, accelerator.device, observer)
    unit_m = _unit_m(dataset.frames.position[train_rows], config)
    job = Job(
        config, blueprint, data, dataset, cache, train_rows, validation_rows, model.to(accelerator.device),
        varied, accelerator, unit_m, backbone_files, processes, depths,
    )  # fmt: skip
    if processes.world > 1 and config.compile and config.sync_batch_norm:
        raise UsageError("compile=true with several processes", "sync_batch_norm=false, or compile=false")
    if processes.world > 1 and (size := job.order(epoch=0).sizes[0]) < (least := 2 * processes.world):
        what = f"{processes.world} processes share batches of {size}: too few images for each"
        raise UsageError(what, f"batch_size={least} or more, or fewer processes")
    return job


def checked_model(plan: Blueprint, note: Callable[[str], None]) -> PoseModel:
    """The model, after a dry run with two images: a plugin that breaks the contract is named before step 1.

    Raises PluginError. The process is unchanged but for torch's random state, from which the weights are drawn.
    """
    whose = plan.known.owners
    try:
        with promises.process_unchanged("building", but=(promises.DRAWING,)):
            model = build(plan)
        with guard.guarded(whose, "forward of two images"):
            answer = promises.dry_run(model)
    except PluginError as error:
        if error.hint:  # it names the plugin already
            raise
        raise PluginError(f"plugin {', '.join(map(str, whose))}: {error.message}", "see posezoo plugins") from error
    if len(plan.config.scenes) > 1 and answer.scene is None:
        note(f"{plan.name} takes {len(plan.config.scenes)} scenes for one coordinate frame: NAME?scenes=SCENE is one")
    return model


def make_loss(job: Job, phase: PhaseSettings) -> PoseLoss:
    """The loss of one phase."""
    settings, model = job.config.loss, job.model.config
    chosen = settings.rotation, settings.position, settings.start, phase.weights
    loss = PoseLoss(model.rotation, *chosen, job.unit_m, model.label_frame, job.config.tuple_length)
    return loss.to(job.accelerator.device)


def set_trainable(model: PoseModel, phase: PhaseSettings, optim: OptimSettings) -> None:
    """Freeze what the phase does not train: parameters, and by evaluation mode dropout and batch-norm statistics."""
    if phase.train == "all":
        model.requires_grad_(True).train()
    else:
        model.requires_grad_(False).eval()
        heads = {"position": model.position_head, "orientation": model.orientation_head}
        for part in (*heads.values(), model.spread) if phase.train == "heads" else (heads[phase.train],):
            if part is not None:
                part.requires_grad_(True).train()
        for name in model.of_scenes if phase.train == "heads" else ():
            model.get_parameter(name).requires_grad_(True)
    for backbone in model.modules():
        if isinstance(backbone, Backbone):
            for module in backbone.early(optim.frozen_stages) if optim.backbone_learns else [backbone]:
                module.requires_grad_(False).eval()
            # a transformer's tokens and position tables come before its first stage
            for parameter in backbone.net.parameters(recurse=False) if optim.frozen_stages else ():
                parameter.requires_grad_(False)


def make_optimiser(job: Job, loss: PoseLoss) -> torch.optim.Optimizer:
    """Adam or AdamW over what is trainable; the loss's balance and the backbone may have their own rates."""
    settings = job.config.optim
    backbone = {id(p) for m in job.model.modules() if isinstance(m, Backbone) for p in m.parameters()}
    lr = {"backbone": settings.backbone_lr, "rest": settings.lr}
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {(part, shrunk): [] for part in lr for shrunk in (True, False)}
    for name, parameter in job.model.named_parameters():
        if parameter.requires_grad:
            part = "backbone" if id(parameter) in backbone and settings.backbone_lr is not None else "rest"
            # AdamW: biases (banks of them have two dimensions) and norms do not decay; Adam, as published, decays all
            shrunk = (parameter.dim() > 1 and not name.endswith("bias")) or settings.name == "adam"
            groups[part, shrunk].append(parameter)
    rows: list[dict[str, Any]] = [
        {"params": params, "lr": lr[part], "weight_decay": settings.weight_decay if shrunk else 0.0}
        for (part, shrunk), params in groups.items()
        if params
    ]
    rate = settings.lr if job.config.loss.balance_lr is None else job.config.loss.balance_lr
    if loss.balance.requires_grad and rate > 0:
        decay = settings.weight_decay if job.config.loss.balance_decay else 0.0
        rows.append({"params": [loss.balance], "lr": rate, "weight_decay": decay})
    for row in rows:
        row["base_lr"] = row["lr"]
    kind_of = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    return kind_of(rows, lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=True)


def augmented_batch(job: Job, batch: Batch, varied: AugmentSettings) -> Batch:
    """The batch, on the device, as the network sees it: its images are the network's input, its poses theirs."""
    if job.cache.one_shape:
        batch = augmented(batch, job.model.config, varied)
        return batch._replace(images=batch.images.contiguous(memory_format=torch.channels_last))
    # shape by shape: a picture is resized and cropped as in evaluation, whatever shares its batch
    shape_B2, device = job.cache.shapes(batch.rows.numpy()), batch.images.device
    parts, places = [], []
    for height, width in np.unique(shape_B2, axis=0).tolist():
        rows = torch.from_numpy(np.flatnonzero((shape_B2 == (height, width)).all(axis=1)))
        there = rows.to(device, non_blocking=True)
        part = Batch(*(tensor[there if tensor.device == device else rows] for tensor in batch))
        part = part._replace(images=part.images[..., :height, :width])
        parts.append(augmented(part, job.model.config, varied))
        places.append(rows)
    order_B = torch.cat(places).argsort().to(device, non_blocking=True)
    seen = {name: torch.cat([getattr(part, name) for part in parts])[order_B] for name in VARIED}
    seen["images"] = seen["images"].contiguous(memory_format=torch.channels_last)
    return batch._replace(**seen)


def measured_precision(job: Job) -> str:
    """bf16 if a training step is at least a tenth faster with it on this machine, else fp32. Leaves no trace."""
    device = job.accelerator.device
    state = torch.get_rng_state()
    crop = job.model.config.crop
    images_BCHW = torch.zeros(min(8, job.config.batch_size), 3, crop, crop, device=device)
    images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
    modes = {name: module.training for name, module in job.model.named_modules()}
    job.model.eval()  # batch-norm statistics must not move
    for number in range(4):  # interleaved; the first round warms up
        fp32, bf16 = (_step_seconds(job, images_BCHW, low) for low in (False, True))
        # in every round: other work on the machine slows one of a pair by chance, rarely the same one each time
        gains = fp32 > 1.1 * bf16
        if not gains and (number or bf16 > 4 * fp32):  # without hardware support bf16 takes minutes: once is enough
            break
    job.model.zero_grad(set_to_none=True)
    for name, module in job.model.named_modules():
        module.training = modes[name]
    torch.set_rng_state(state)
    return "bf16" if gains else "fp32"


def _step_seconds(job: Job, images_BCHW: Tensor, low: bool) -> float:
    """The duration of a forward and backward pass, in bf16 or in fp32."""
    device, start = job.accelerator.device, time.perf_counter()
    with torch.autocast(device.type, torch.bfloat16, enabled=low):
        output = job.model(images_BCHW)
    (output.position.sum() + output.rotation.sum()).backward()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _for_place(blueprint: Blueprint, dataset: Dataset, rows: np.ndarray, config: TrainConfig) -> Blueprint:
    position_N3 = dataset.frames.position[rows]
    decode = dataset.frames.decode
    fields: dict[str, Any] = {"scenes": dataset.frames.scenes, "decode": decode.key if decode else ""}
    if config.normalise_position and not extends(blueprint):  # else what its scenes have learned would be elsewhere
        mean_3 = position_N3.mean(axis=0)
        fields |= {"position_mean": tuple(mean_3.tolist()), "position_std": _deviation_m(position_N3, config)}
    return blueprint.with_place(**fields)


def _cameras(varied: AugmentSettings, cache: ImageCache, rows: np.ndarray) -> dict[str, Any]:
    """The training cameras' focal length and how far they turn, where they do: what tta needs to turn others."""
    if varied.geometry != "rotate":
        return {}
    focal_N = cache.focal_lengths(rows)
    if varied.fov_deg is not None:
        shape_N2 = cache.shapes(rows)
        assumed_N = shape_N2[:, 1] / shape_N2.min(axis=1) * focal_length(varied.fov_deg)
        focal_N = np.where(np.isnan(focal_N), assumed_N, focal_N)
    turns = tuple(float(getattr(varied, name) or 0) for name in ("yaw", "pitch", "roll"))
    return {"focal": float(np.nanmedian(focal_N)), "turns_deg": turns} if any(turns) else {}


def _deviation_m(position_N3: np.ndarray, config: TrainConfig) -> tuple[float, float, float]:
    """The scale (m) of each axis: the deviation of the training positions."""
    std_3 = position_N3.std(axis=0)
    # an axis without motion must not make the scale zero. As published every other axis counts in full, however flat
    flattest = 0.0 if config.loss.unit == "deviation" else 0.01 * float(std_3.max())
    x, y, z = np.maximum(std_3, max(1e-3, flattest)).tolist()
    return x, y, z


def _unit_m(position_N3: np.ndarray, config: TrainConfig) -> float | tuple[float, float, float]:
    """What counts as one in the position term, for all axes or for each."""
    match config.loss.unit:
        case "metre":
            return 1.0
        case "deviation":
            return _deviation_m(position_N3, config)
    return max(1e-3, float(np.sqrt(position_N3.var(axis=0).sum())))  # their root mean square distance from the mean


def _accelerator(config: TrainConfig) -> Accelerator:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device=cuda, but torch sees no GPU", "device=auto, or install a torch build for your GPU")
    # precision is set by us (autocast in the step), because `auto` is measured only once the model is built
    # a multi-scene model leaves the backbone's last layers without gradient where no hypernetwork reads them
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    device = torch_device(config.device)  # accelerate alone would take Apple's GPU, which has no float64
    if config.compile:
        require_compiler(device)
    return Accelerator(cpu=device.type == "cpu", mixed_precision="no", kwargs_handlers=[unused])


def trainable(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters that learn in the current phase."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)
