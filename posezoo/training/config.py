"""The configuration of a training run: a recipe, changed by `key=value` settings, all keys checked.

The same keys work in recipes (registry/recipes), on the command line and in Python. Keys that are not fields here go
to the architecture (`backbone=...`) or to a modifier (`hyper.rank=256`).

Long: two thirds are fields and what each means, which the keys' help is made of.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from posezoo.base.errors import UsageError
from posezoo.base.paths import user_path
from posezoo.catalogue import entries, plugins, settings
from posezoo.catalogue.resolve import KnownData, KnownModel
from posezoo.data.splits import method_of
from posezoo.nn.model import ModelConfig
from posezoo.zoo.blueprint import PLACE_FIELDS, Blueprint, with_settings

Weight = Annotated[float, Field(ge=0)]
Decay = Annotated[float, Field(ge=0, lt=1)]
LogVariance = Annotated[float, Field(ge=-50, le=50)]
"""Its exp is within the range of float32."""


ARGUMENTS = ("model", "data.name", "out")
"""Keys of a run that are not settings of another one."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)


class DataSettings(_Section):
    """Which data, and how they are split."""

    name: str
    """The data set, --data on the command line."""
    root: str | None = None
    """The benchmark's folder; --root on the command line."""
    split: str | None = None
    """`blocks` (`blocks:40` frames, `blocks:2.5m`), `sequences`, or a CSV file with columns image, split; then only the
    images it lists are needed."""
    skip_bad: bool = False
    """Skip bad frames and list them in skipped.txt, instead of an error."""
    fraction: float = Field(1.0, gt=0, le=1)
    """Fraction of each scene's training frames that is trained on: how many images are enough?"""
    fraction_by: Literal["nested", "contiguous", "random"] = "nested"
    """Which: drawn so that a smaller fraction is part of a larger one; the first ones; drawn by the seed."""
    validation: float = Field(0.08, ge=0, lt=0.9)
    """Fraction of the training frames, in blocks of consecutive frames, kept for choosing the best epoch."""
    calibration: float = Field(0.0, ge=0, lt=0.9)
    """The same for radii (`radius_m`) where the last epoch is kept; frames that choose the epoch give radii too."""


class OptimSettings(_Section):
    """Adam(W) and its schedule."""

    name: Literal["adamw", "adam"] = "adamw"
    """The optimiser."""
    lr: float = Field(5e-4, gt=0)
    """Learning rate."""
    backbone_lr: float | None = Field(None, ge=0)
    """Rate of the pretrained backbone; none: lr; 0: frozen, its batch norms and dropout too."""
    frozen_stages: int = Field(0, ge=0)
    """First stages of the backbone that stay as pretrained, batch norms too; a stage ends where the network says so."""
    average: float = Field(0.0, ge=0, lt=1)
    """Decay per step of the weights' running average, which is then what is validated and saved; 0: none."""
    weight_decay: float = Field(0.01, ge=0)
    """With adamw not on biases and norms."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay per step of the running means of the gradient and of its square."""
    eps: float = Field(1e-8, gt=0)
    """Added to the root of that mean square."""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """How the rates change over each phase."""
    warmup_epochs: float = Field(1.0, ge=0)
    """Epochs in which the rates rise linearly, at most half the phase."""
    step_epochs: PositiveInt = 20
    """Epochs between two steps of schedule=step."""
    gamma: float = Field(0.75, gt=0, le=1)
    """Factor of each of these steps."""
    clip: float = Field(5.0, gt=0, allow_inf_nan=True)
    """Largest gradient norm; inf does not clip."""

    @property
    def backbone_learns(self) -> bool:
        """Whether the backbone is trained, in the phases that train everything."""
        return self.backbone_lr != 0

    def factor(self, step: int, epochs: int, per_epoch: int) -> float:
        """What the rates are multiplied by at `step` of a phase of `epochs` with `per_epoch` steps each."""
        total = epochs * per_epoch
        warmup = min(self.warmup_epochs * per_epoch, total / 2)
        factor = min(1.0, (step + 1) / warmup) if warmup else 1.0
        if self.schedule == "cosine":
            return factor * 0.5 * (1 + math.cos(math.pi * max(0.0, step - warmup) / max(1.0, total - warmup)))
        if self.schedule == "step":
            return factor * float(self.gamma ** (step // (self.step_epochs * per_epoch)))
        return factor


class LossSettings(_Section):
    """See posezoo.nn.losses.PoseLoss."""

    rotation: Literal["sign-free", "quaternion", "matrix", "log", "log-mean"] = "sign-free"
    """What is compared of two rotations."""
    position: Literal["l2", "l1", "l1-mean"] = "l2"
    """Norm of the position error; l1-mean: the mean over the three components (as published for AtLoc), not the sum."""
    start: tuple[LogVariance, LogVariance] = (0.0, 0.0)
    """s_x and s_q of the learned balance at the start."""
    balance_lr: float | None = Field(1e-2, ge=0)
    """Rate of s_x and s_q; none: lr, as published; 0: they stay at their start."""
    balance_decay: bool = False
    """Whether the optimiser's weight decay acts on s_x and s_q too, as published."""
    unit: Literal["spread", "metre", "deviation"] = "spread"
    """What counts as one in the position term: the spread of the training positions, a metre, or their deviation on
    each axis."""


class AugmentSettings(_Section):
    """How training images are varied. Angles are drawn uniformly from +- the value, in degrees."""

    geometry: Literal["rotate", "crop", "centre"] = "rotate"
    """Pose-true rotation, random crop (as published) or centre crop."""
    yaw: float | None = Field(None, ge=0, le=60)
    """Degrees, drawn from +- this; none: 4 for a car to 10 for a hand, by the tilts of the training cameras."""
    pitch: float | None = Field(None, ge=0, le=60)
    """Degrees, likewise; none: 2 to 6."""
    roll: float | None = Field(None, ge=0, le=180)
    """Degrees, likewise; none: 2 to 8."""
    turn_scale: float = Field(1.0, ge=0, le=3)
    """Factor of those of the three that follow from the training cameras."""
    motion: Annotated[float, Field(ge=0, le=100)] | Literal["auto"] = 0.0
    """Metres to the right and forward, drawn from +- this, where depths are known; 0: cameras only turn; auto: a
    quarter of the spread of the training positions, at most 1.5, or 0 without depths."""
    depth: Literal["maps", "sweep"] = "maps"
    """Where depths come from: maps that come with the data; sweep: where no image has one, from the training images and
    their poses (some tenths of a second an image and core, once)."""
    lift: float | None = Field(None, ge=0, le=100)
    """Metres up and down, likewise; none: as motion, at most three deviations of the training cameras' heights."""
    fov_deg: float | None = Field(None, gt=0, lt=180)
    """Horizontal field of view, in degrees, of images without intrinsics."""
    brightness: float = Field(0.5, ge=0)
    """Factor drawn from 1 +- this."""
    contrast: float = Field(0.5, ge=0)
    """Factor likewise."""
    saturation: float = Field(0.5, ge=0)
    """Factor likewise."""
    hue: float = Field(0.05, ge=0, le=0.5)
    """Fraction of the colour circle, drawn from +- this."""
    appearance: Literal["photo", "weather"] | None = None
    """Another light or camera (photo), or also another weather and season; none: as they are."""
    appearance_strength: float = Field(1.0, ge=0, le=2)
    """How strong each of these operations is; 0: as with none."""


class PhaseSettings(_Section):
    """One phase of training: which part learns, for how long, with which balance."""

    train: Literal["all", "heads", "position", "orientation"] = "all"
    """What learns, while all else is frozen: everything; both heads, with the spread and what the encoder has of its
    own for each scene; or one head."""
    epochs: PositiveInt
    weights: tuple[Weight, Weight] | None = None
    """Fixed (w_x, w_q); none: learned."""
    step_epochs: PositiveInt | None = None
    """Epochs between two steps of schedule=step; none: optim.step_epochs."""
    gamma: float | None = Field(None, gt=0, le=1)
    """Factor of each of these steps; none: optim.gamma."""
    augment: bool = True
    """False: centre crop, no colour jitter. A phase that trains heads alone then caches its features."""

    def schedule(self, optim: OptimSettings) -> OptimSettings:
        """The optimiser's settings in this phase."""
        own = {"step_epochs": self.step_epochs, "gamma": self.gamma}
        return optim.model_copy(update={key: value for key, value in own.items() if value is not None})


class CheckpointSettings(_Section):
    """When to save, beside the end of a phase, the end of training and a signal."""

    every_steps: int = Field(0, ge=0)
    """Steps between two checkpoints; 0: by time only."""
    every_seconds: float = Field(60.0, gt=0, allow_inf_nan=True)
    """Seconds between two checkpoints, from 60 on more where saving takes over 2 % of them; inf: never by time."""
    keep: PositiveInt = 2
    """How many of the newest checkpoints are kept."""


class TrainConfig(_Section):
    """Everything about a run but the model's own settings."""

    model: str
    """The architecture, with modifiers and variant."""
    data: DataSettings
    recipe: str
    """Source of the settings that are not given; by default chosen by the kind of data."""
    start_from: str | None = None
    """A run, model folder, alias or hf-hub: name whose weights the model starts from; --from on the command line."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of everything random."""
    epochs: PositiveInt = 30
    """Passes over the training frames. With phases it is their sum, and another number is an error."""
    min_epoch_images: int = Field(0, ge=0)
    """Fewest images (or tuples) of an epoch: it passes over a smaller set several times, varied otherwise each time."""
    phases: tuple[PhaseSettings, ...] = ()
    """Phases of training; empty: one of `epochs` in which everything learns."""
    batch_size: PositiveInt = 32
    """Images (or tuples) a step, over all processes."""
    tuple_length: PositiveInt = 1
    """Frames per sample; above 1 the loss has relative terms too, and a batch has batch_size tuples."""
    tuple_gap: PositiveInt = 10
    """Distance in frames between the members of a tuple."""
    limit_train: float = Field(1.0, gt=0, le=1)
    """Fraction of an epoch's batches that is trained on, others in each epoch: for a quick look."""
    overfit: int = Field(0, ge=0)
    """Train on this many images, as they are, and validate on the same: a model that works learns them by heart."""
    equalise_scenes: bool = False
    """An epoch has as many samples of every scene as the largest has; frames of the others come more than once."""
    accumulate: PositiveInt = 1
    """Parts in which a batch is computed, one after another: less memory, the same gradient but for batch norms and the
    losses of +anchors, which look at a part as a whole."""
    compile: bool = False
    """The network through torch.compile: minutes at the start, faster steps."""
    read_every: int = Field(0, ge=0)
    """Steps after which losses are read from the device, and a failed one is named; 0: 1 on a CPU, 10 on a GPU."""
    sync_batch_norm: bool = True
    """Batch norms see the batch of all processes; false: each process its own part."""
    workers: int = Field(0, ge=0)
    """Processes that read ahead; results do not depend on it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU if torch sees one."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: measured on this machine before the first step, then written into the run's config."""
    selection: Literal["validation", "test", "last"] = "validation"
    """What chooses the best epoch. `test` is what published code does; every table then says so."""
    normalise_position: bool = True
    """Give the model the mean and spread of the training positions."""
    normalise_pixels: Literal["backbone", "data"] = "backbone"
    """Whose pixel mean and deviation the model gets: the backbone's own, or that of the training images."""
    track: Literal["auto", "tensorboard", "trackio", "wandb", "mlflow"] | None = "auto"
    """Where metrics also go; auto: to TensorBoard, in the run folder, if it is installed; none: nowhere."""
    optim: OptimSettings = OptimSettings()
    loss: LossSettings = LossSettings()
    augment: AugmentSettings = AugmentSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    out: str | None = None
    """The run folder; none: outputs/MODEL/DATA/TIME."""

    @property
    def plan(self) -> tuple[PhaseSettings, ...]:
        """The phases, at least one."""
        return self.phases or (PhaseSettings(train="all", epochs=self.epochs),)


def configure(
    model: KnownModel, data: KnownData, overrides: Mapping[str, Any] = {}, root: str | Path | None = None
) -> tuple[TrainConfig, Blueprint]:
    """The run's configuration and the model's blueprint: recipe, variant, then `overrides`.

    Raises UsageError with near names for unknown recipes and keys, and for `epochs` that phases do not have.
    """
    _refuse_reserved(overrides)
    modifiers = {offer.spec.name: offer.load("config") for offer in model.modifiers}
    train, rest = _routed(overrides, modifiers, model.architecture.load("config", ModelConfig))
    # the extent of own data is known only after reading them; indoor settings suit both
    recipe_name = train.get("recipe") or entries.default_recipe(data.card.kind if data.card else "indoor")
    recipe = entries.recipe(recipe_name)
    only = recipe.for_model(model.name.arch, modifiers)
    of_model = [own.get("train", {}) for own in only]
    train = settings.merged(recipe.train, *of_model, *(card.train for card in model.variant), train)
    if isinstance(file := rest.get("pretrained_backbone"), str):
        rest["pretrained_backbone"] = str(user_path(file).absolute())  # as with the paths of data
    given = {"name": data.absolute().text} | ({"root": str(root)} if root else {})
    train = settings.merged(train, {"model": str(model.name), "recipe": recipe_name, "data": given})
    config = _with_absolute_paths(settings.validated(TrainConfig, train))
    if config.phases:
        total = sum(phase.epochs for phase in config.phases)
        if "epochs" in overrides and config.epochs != total:
            raise _unheard_epochs(config)
        config = config.model_copy(update={"epochs": total})
    layers = [recipe.model, recipe.modifiers, *(own.get(part, {}) for own in only for part in ("model", "modifiers"))]
    return config, with_settings(model, rest, recipe=layers)


def settings_of(path: str | Path) -> dict[str, Any]:
    """The settings in a file, nested: a run's config.toml, what --print-config --format json prints, or KEY = VALUE.

    The model and the data set are not settings: a run's are left out. Raises UsageError.
    """
    path = user_path(path)
    try:
        text = path.read_text(encoding="utf-8")
        rows = json.loads(text) if path.suffix == ".json" else None
        if rows is not None:
            named = {row["key"]: row["value"] for row in rows}
            return settings.nested({key: value for key, value in named.items() if key not in ARGUMENTS})
        table = settings.from_toml(tomllib.loads(text))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or ascii(error)[:80]
        why = "not text" if isinstance(error, UnicodeError) else why
        raise UsageError(f"{path}: {why}", "a run's config.toml, a .json of --print-config, or KEY = VALUE") from None
    if isinstance(table.get("train"), dict) and isinstance(table.get("model"), dict):
        model = table["model"]
        train = {key: value for key, value in table["train"].items() if key not in ("model", "out")}
        train["data"] = {key: value for key, value in train.get("data", {}).items() if key != "name"}
        own = {key: value for key, value in model.get("config", {}).items() if key not in PLACE_FIELDS}
        table = {**own, **model.get("modifiers", {}), **train}
    return settings.nested(table)


def _refuse_reserved(overrides: Mapping[str, Any]) -> None:
    """Raise UsageError for what is given in another way than as a setting."""
    data = overrides.get("data", {})
    if "model" in overrides:
        raise UsageError("model= is not a setting", "the model's name is the first word: posezoo train NAME --data ...")
    if not isinstance(data, Mapping) or "name" in data:
        raise UsageError("data= is not a setting", "the data set is --data NAME; data.KEY=VALUE how to read it")


def _unheard_epochs(config: TrainConfig) -> UsageError:
    """The error for a number of epochs that would change nothing."""
    counts, n = ", ".join(str(phase.epochs) for phase in config.phases), config.epochs
    hint = f"phases=[] epochs={n} is one phase; or phases='[{{train=\"all\", epochs={n}}}, ...]'"
    return UsageError(f"epochs={n}, but phases of {counts} epochs", f"{hint}, which --print-config shows in full")


def _with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """So that a run can be resumed and evaluated from any folder."""
    start = config.start_from
    if start is not None and user_path(start.removeprefix("local-dir:")).is_dir():
        start = f"local-dir:{user_path(start.removeprefix('local-dir:')).absolute()}"
        config = config.model_copy(update={"start_from": start})
    paths = {key: getattr(config.data, key) for key in ("root", "split")}
    methods = [config.data.split] if config.data.split and method_of(config.data.split) else []
    paths = {key: path for key, path in paths.items() if path is not None and (key == "root" or path not in methods)}
    absolute = {key: str(Path(path).expanduser().absolute()) for key, path in paths.items()}
    return config.model_copy(update={"data": config.data.model_copy(update=absolute)})


def _routed(
    overrides: Mapping[str, Any], modifiers: Mapping[str, type], architecture: type
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Overrides for the run, and for the model and its modifiers. Raises UsageError for keys of neither."""
    own_fields = [name for name in settings.field_names(architecture) if name not in PLACE_FIELDS]
    train: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in overrides.items():
        if key in TrainConfig.model_fields and key != "model":
            train[key] = value
        elif key in own_fields or key in plugins.modifiers():
            rest[key] = value
        else:
            known = settings.field_names(TrainConfig) + own_fields
            for name, config in modifiers.items():
                known += settings.field_names(config, f"{name}.")
            raise settings.unknown_key(key, known)
    return train, rest
