"""Fixtures: a hub on this machine with an empty cache, a catalogue of its own, a small model in a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from loopback_hub import TOKEN, LoopbackHub, running

from posezoo.base.spec import CatalogueSpec
from posezoo.catalogue import entries, plugins
from posezoo.catalogue.forms import Published
from posezoo.zoo.build import create_model
from posezoo.zoo.saved import save

SMALL = {"backbone": "test_efficientnet.r160_in1k", "pretrained_backbone": False, "hidden": 8, "resize": 64, "crop": 64}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackHub]:
    """A hub; a token; an empty cache; short patience."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setenv("POSEZOO_HUB_TIMEOUT", "5")
    monkeypatch.setenv("POSEZOO_HUB_NAMESPACE", "tester")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a catalogue that a plugin brings."""
    folder = tmp_path / "catalogue"
    folder.mkdir()
    monkeypatch.setattr(plugins, "catalogues", lambda: {"mine": CatalogueSpec("mine", folder)})
    return folder


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model with random weights. Not to be changed: copy it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("small") / "model"
    save(create_model("posenet", **SMALL), folder, "# by hand\n", training={"data": "demo-loop"})
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a model folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pinned(folder: Path, repository: str, revision: str) -> Published:
    """The entry of a model folder."""
    weights = json.loads((folder / "config.json").read_text())["weights"]
    return Published(
        repository=repository,
        revision=revision,
        file="model.safetensors",
        size=weights["size"],
        sha256=weights["sha256"],
        config_sha256=hashlib.sha256((folder / "config.json").read_bytes()).hexdigest(),
        licence="Apache-2.0",
        provenance="made by a test from nothing",
    )


def add_alias(catalogue: Path, alias: str, entry: Published | None = None, **more: str) -> None:
    """An alias in the catalogue, published if there is an entry."""
    lines = {"model": "posenet", "data": "demo-loop", "licence": "Apache-2.0", **more}
    (catalogue / "weights").mkdir(exist_ok=True)
    text = f"[{alias}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
    (catalogue / "weights" / f"{alias}.toml").write_text(text)
    if entry:
        entries.write_published(alias, entry, catalogue)
