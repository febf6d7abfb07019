"""A trained model as a folder: save and load. The folder's files: posezoo.zoo.find."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from posezoo.base.errors import PosezooError, UsageError, WeightsError
from posezoo.base.files import tensors
from posezoo.base.files.write import replacement, write_whole, writing
from posezoo.base.observe import Note, silent
from posezoo.base.paths import user_path
from posezoo.base.poses import CONVENTIONS
from posezoo.base.version import __version__
from posezoo.nn.device import torch_device
from posezoo.nn.estimate import Calibration, ErrorEstimate
from posezoo.nn.model import PoseModel
from posezoo.nn.place import disclosures
from posezoo.zoo.blueprint import Blueprint, blueprint_from
from posezoo.zoo.build import build
from posezoo.zoo.find import CARD, CONFIG, WEIGHTS, Trained, find, full_name, read_config, sum_of


def save(model: PoseModel, folder: Path, card: str, dtype: str = "float32", **facts: Any) -> None:
    """Write the model as a folder that `load("local-dir:...")` reads; `facts` (data, seed, ...) go into config.json.

    `dtype` "float16" stores floating tensors in half the bytes; a loaded model still computes in float32.
    Only the name of a backbone's file is stored, not its path: folders are private, and its weights are in the model.
    Written beside and renamed, so that a folder of this name is always whole. Raises ResourceError.
    """
    if model.optimized:
        raise UsageError("an optimized model cannot be saved", "save the model it was made from, or posezoo.export it")
    content = tensors.dump(model.state_dict(), dtype)
    plan: Blueprint = model.blueprint
    if isinstance(given := plan.config.pretrained_backbone, str):
        plan = plan.with_place(pretrained_backbone=Path(given).name)
    config = {
        "format": 1,
        "posezoo": __version__,
        "conventions": CONVENTIONS,
        **plan.as_dict(),
        "weights": {
            "file": WEIGHTS,
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "dtype": dtype,
        },
        **({"disclosures": lines} if (lines := disclosures(model)) else {}),
        **facts,
    }
    files = {WEIGHTS: content, CARD: card.encode()}
    if model.estimate is not None:
        config["estimate"], file = _described(model.estimate)
        files[config["estimate"]["file"]] = file
    files[CONFIG] = _dumped(config)
    folder = Path(folder)
    with writing(f"the model to {folder}", "free space or --out"), replacement(folder, folder=True) as temporary:
        for name, data in files.items():
            (temporary / name).write_bytes(data)


def write_card(folder: Path, card: str) -> None:
    """Replace the model card of a saved model."""
    write_whole(folder / CARD, card)


def save_estimate(folder: Path, estimate: ErrorEstimate) -> None:
    """Put an error estimate into the folder of a saved model; its weights stay as they are. Raises ResourceError.

    At any moment the folder is whole: config.json, replaced last, names the file.
    """
    config = read_config(folder)
    config["estimate"], content = _described(estimate)
    lines = [line for line in config.get("disclosures", []) if "(error estimate)" not in line]
    config["disclosures"] = [*lines, estimate.disclosure]
    own = folder / config["estimate"]["file"]
    write_whole(own, content)
    write_whole(folder / CONFIG, _dumped(config))
    with writing(folder):
        for other in set(folder.glob("estimate-*.safetensors")) - {own}:
            other.unlink()


def _described(estimate: ErrorEstimate) -> tuple[dict[str, Any], bytes]:
    """(what config.json says of the estimate, the content of its file)."""
    content = tensors.dump({name: value.cpu() for name, value in estimate.tensors().items()})
    digest = hashlib.sha256(content).hexdigest()
    about = {"file": f"estimate-{digest[:8]}.safetensors", "size": len(content), "sha256": digest}
    return {**about, **asdict(estimate.calibration)}, content


def _dumped(config: dict[str, Any]) -> bytes:
    return (json.dumps({**config, "sum": sum_of(config)}, indent=1) + "\n").encode()


def load(name: str | Path, device: str | torch.device = "cpu", note: Note = silent) -> PoseModel:
    """A trained model in eval mode: an alias of the catalogue, a folder or `hf-hub:OWNER/REPO[@REV]`.

    A folder is `local-dir:PATH`, a Path, or a string that is one and no alias; a run folder means its best model. The
    weights' sha256 is checked, then they are loaded strictly; `.origin` says exactly where they came from. `note` is
    called with lines for the user. Raises WeightsError, HubError, and UsageError for no such name or device.
    """
    place = torch_device(device)  # reported before anything is fetched
    is_folder = isinstance(name, Path) or os.path.isdir(user_path(name))  # noqa: PTH112 (Path's raises if it is long)
    return load_found(find(full_name(name) if is_folder else str(name), note), place)


def load_found(found: Trained, device: str | torch.device = "cpu") -> PoseModel:
    """The model that `find` found; see `load`."""
    place = torch_device(device)
    plan = blueprint_from(found.config, Path(found.origin) / CONFIG)
    content = found.read()
    state = tensors.tensors(content, f"{found.origin}: {WEIGHTS}")
    _refuse_larger_than_file(plan, found.origin, len(content))
    model = build(plan)
    if misfits := _misfits(model, state):
        raise WeightsError(
            f"{found.origin}: weights do not fit {found.config['name']}: {misfits}", "train, fetch or convert it again"
        )
    model.load_state_dict(state, strict=True)
    statistics = ("running_mean", "running_var")
    masks = {name for name, _ in model.named_buffers() if not name.endswith(statistics)}  # of attention: 0 and -inf
    if not all((~value.isnan() if key in masks else value.isfinite()).all() for key, value in state.items()):
        raise WeightsError(f"{found.origin}: weights are not finite", "train or fetch it again")
    if (more := found.read_estimate()) is not None:
        about, file = found.config["estimate"], f"{found.origin}: {found.config['estimate']['file']}"
        calibration = Calibration(about["source"], about["count"], about["coverage"])
        model.estimate = ErrorEstimate.checked(tensors.tensors(more, file), calibration, model.image_dim, file)
    model.origin = found.origin
    return model.to(place)


def _refuse_larger_than_file(plan: Blueprint, origin: str, size: int) -> None:
    """Raise WeightsError if the config describes a model that its weights file cannot hold, before memory is taken."""
    try:
        with torch.device("meta"):
            state = build(plan).state_dict()
    except PosezooError:
        raise
    except Exception:  # a plugin's model that cannot be built without memory: it is then built with it
        return
    least = sum(2 * value.numel() for value in state.values() if value.is_floating_point())  # as float16
    if least > size:
        what = f"its config describes weights of {least / 1e6:.0f} MB or more, and its file has {size / 1e6:.0f} MB"
        raise WeightsError(f"{origin} is damaged: {what}", "train or fetch it again")


def _misfits(model: PoseModel, state: Mapping[str, torch.Tensor]) -> str:
    """How many tensors are missing, extra or of another shape or kind, and the first of each; empty if none is."""
    own = model.state_dict()
    other = [
        key
        for key, value in state.items()
        if key in own and (own[key].shape != value.shape or own[key].is_floating_point() != value.is_floating_point())
    ]
    kinds = {
        "missing": [key for key in own if key not in state],
        "extra": [key for key in state if key not in own],
        "of another shape": other,
    }
    return "; ".join(f"{len(keys)} {kind} ({', '.join(keys[:3])})" for kind, keys in kinds.items() if keys)
