"""InstructPix2Pix from a folder or from one commit of a repository of the hub: safetensors only, sha256 recorded.

    unet/, vae/      config.json, diffusion_pytorch_model[.fp16].safetensors     diffusers' layout;
    text_encoder/    config.json, model[.fp16].safetensors                       nothing else is read: no pickle,
    tokenizer/       vocab.json, merges.txt                                      no code, no safety checker
    scheduler/       scheduler_config.json

The half-precision files are preferred: on a GPU the pipeline computes in fp16 anyway, as ECL's authors did; on a CPU
they are read into fp32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from posezoo.base import paths
from posezoo.base.errors import HubError, UsageError, WeightsError
from posezoo.base.files import hub, tensors
from posezoo.base.observe import Note, silent
from posezoo.catalogue import names
from posezoo.catalogue.forms import AppearanceCard, Flavour

WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
NEEDED = (*(f"{part}/config.json" for part in WEIGHTS), "scheduler/scheduler_config.json")
TOKENIZER = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
# what may hold each part's weights, the preferred one first
WEIGHTS_FILES = [[f"{part}/{stem}{kind}.safetensors" for kind in (".fp16", "")] for part, stem in WEIGHTS.items()]


@dataclass(frozen=True)
class Found:
    """Where a model is, and the sha256 of each file that is used."""

    name: str
    revision: str
    licence: str
    folder: Path
    files: dict[str, str]

    def facts(self) -> dict[str, Any]:
        """What the card of the pictures says about it."""
        return {"name": self.name, "revision": self.revision, "licence": self.licence, "sha256": self.files}

    def load(self, device: torch.device) -> Instructed:
        """The model, ready to draw. Raises WeightsError."""
        try:
            return Instructed(self.folder, self.files, device)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            if "out of memory" in str(error).lower():
                raise
            reason = " ".join(str(error).split())[:120]
            raise WeightsError(f"{self.name} is not an InstructPix2Pix model: {reason}", "check --model") from error


class Instructed:
    """diffusers' pipeline of an InstructPix2Pix model with the Euler ancestral sampler."""

    def __init__(self, folder: Path, files: dict[str, str], device: torch.device) -> None:
        from diffusers import (
            AutoencoderKL,
            EulerAncestralDiscreteScheduler,
            StableDiffusionInstructPix2PixPipeline,
            UNet2DConditionModel,
        )
        from transformers import CLIPTextModel, CLIPTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # while weights load: the console has its own bar
        dtype = torch.float16 if device.type == "cuda" else torch.float32

        def part(kind: Any, name: str, word: str) -> Any:
            variant = "fp16" if f"{name}/{WEIGHTS[name]}.fp16.safetensors" in files else None
            given: dict[str, Any] = {"use_safetensors": True, "variant": variant, "local_files_only": True, word: dtype}
            return kind.from_pretrained(str(folder / name), **given)

        pipeline: Any = StableDiffusionInstructPix2PixPipeline(
            vae=part(AutoencoderKL, "vae", "torch_dtype"),
            text_encoder=part(CLIPTextModel, "text_encoder", "dtype"),
            tokenizer=CLIPTokenizer.from_pretrained(str(folder / "tokenizer"), local_files_only=True),
            unet=part(UNet2DConditionModel, "unet", "torch_dtype"),
            scheduler=EulerAncestralDiscreteScheduler.from_pretrained(str(folder / "scheduler")),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        self._pipeline = pipeline.to(device)
        self._pipeline.set_progress_bar_config(disable=True)

    def __call__(
        self, images: list[Image.Image], flavour: Flavour, steps: int, text_guidance: float, seeds: Sequence[int]
    ) -> np.ndarray:
        """The images, all of one size, redrawn: (B, H, W, 3) in 0..1, sides cut to multiples of the VAE's stride."""
        return self._pipeline(
            prompt=[flavour.instruction] * len(images),
            image=images,
            num_inference_steps=steps,
            guidance_scale=text_guidance,
            image_guidance_scale=flavour.image_guidance,
            # on the CPU, so that every device gets the same noise
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            output_type="np",
        ).images


def find(card: AppearanceCard, model: str, revision: str, note: Note = silent) -> Found:
    """The model that `model` names, a folder or OWNER/REPO with a commit; if empty, the card's.

    Raises UsageError, HubError, WeightsError.
    """
    folder = paths.user_path(model) if model else None
    if folder is not None and folder.is_dir():
        if revision:
            raise UsageError(f"{model} is a folder: it has no revision", "leave out --revision")
        return Found(folder.name, "", "unknown: a folder", folder, _in_folder(folder))
    repository = model or card.repository
    names.check_repository(repository)
    revision = revision or (card.revision if repository == card.repository else "")
    if not paths.COMMIT.fullmatch(revision):
        raise UsageError(
            f"{repository} needs the commit to use, not {revision[:60]!a}", "--revision and its 40 hexadecimal digits"
        )
    licence = card.licence if repository == card.repository else f"see the card of {repository}"
    try:
        files, folder = _on_hub(repository, revision, note)
    except HubError as error:
        raise HubError(error.message, "run it once while online, or --model FOLDER with a copy") from error
    return Found(repository, revision, licence, folder, files)


def _in_folder(folder: Path) -> dict[str, str]:
    """File -> sha256 of the files used from a folder."""
    used = _used(lambda name: (folder / name).is_file(), str(folder))
    return {name: _digest((folder / name).read_bytes(), f"{folder}/{name}") for name in used}


def _on_hub(repository: str, revision: str, note: Note) -> tuple[dict[str, str], Path]:
    """(file -> sha256, folder) of the files used from one commit: fetched, and each compared with the hub's digest."""
    if hub.offline() and not hub.cached(repository, NEEDED[0], revision):
        raise HubError(f"offline, and {repository} is not in the hub's cache")
    used = _used(lambda name: hub.size_of(repository, name, revision) is not None, repository)
    digests = {}
    for name in used:
        here = hub.cached(repository, name, revision)  # a damaged copy would have a wrong size
        size = None if here else hub.size_of(repository, name, revision)
        content = hub.read(repository, name, revision, size, "", note=note)
        digests[name] = _digest(content, f"{repository}: {name}")
    path = hub.cached(repository, NEEDED[0], revision)
    assert path is not None, "read has put it there"
    return digests, path.parent.parent


def _digest(content: bytes, what: str) -> str:
    """The sha256 of a file; the header of weights is checked before anything parses it. Raises WeightsError."""
    if what.endswith(".safetensors"):
        tensors.check_header(content, what)
    return hashlib.sha256(content).hexdigest()


def _used(there: Callable[[str], bool], where: str) -> list[str]:
    """The names of the model's files, of those that are `there`. Raises WeightsError if one is missing."""
    found = []
    for choices in [[name] for name in NEEDED] + WEIGHTS_FILES:
        name = next(filter(there, choices), None)
        if name is None:
            what = "diffusers' layout with safetensors is needed"
            raise WeightsError(f"{where} has no {' or '.join(choices)}", what)
        found.append(name)
    return found + [f"tokenizer/{word}" for word in TOKENIZER if there(f"tokenizer/{word}")]
