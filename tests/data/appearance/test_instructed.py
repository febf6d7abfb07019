"""Models that are told what to do with a picture: by commit, without pickles, offline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import faults
import pytest
import torch
from loopback_hub import LoopbackHub
from naming import naming

from posezoo.cli import run

SHOP = "cambridge-shop-facade"


def words(tree: Path, model: Path | str, *more: str, out: str = "new/ecl") -> list[str]:
    return ["data", "make-ecl", SHOP, "--root", str(tree), "--model", str(model), "--out", out, *more]


def test_from_the_hub_by_commit_and_then_offline(
    tree: Path, tiny: Path, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {str(path.relative_to(tiny)): path.read_bytes() for path in tiny.rglob("*") if path.is_file()}
    commit = hub.publish("tester/tiny", files)
    given = words(tree, "tester/tiny", "--flavours", "winter", "--limit", "1", "--format", "quiet")
    faults.assert_fails(given, 2, naming("tester/tiny", "--revision"))
    faults.assert_fails([*given, "--revision", "main"], 2, naming("main", "--revision", "40"))
    assert run([*given, "--revision", commit]) == 0
    card = json.loads(Path("new/ecl/card.json").read_text())
    assert (card["model"]["name"], card["model"]["revision"]) == ("tester/tiny", commit)
    assert card["model"]["sha256"] == {name: faults.sha256(tiny / name) for name in card["model"]["sha256"]}
    monkeypatch.setenv("POSEZOO_OFFLINE", "1")
    asked = len(hub.asked)
    assert run([*given[:-6], "--out", "again", *given[-4:], "--revision", commit]) == 0
    assert len(hub.asked) == asked
    default = ["data", "make-ecl", SHOP, "--root", str(tree), "--out", "default"]
    faults.assert_fails(default, 5, naming("offline", "timbrooks/instruct-pix2pix"))
    monkeypatch.delenv("POSEZOO_OFFLINE")
    hub.mode = "503"
    faults.assert_fails(default, 5, naming("timbrooks/instruct-pix2pix"))


def test_pickles_and_strange_models_are_refused(tree: Path, tiny: Path) -> None:
    shutil.copytree(tiny, "m")
    weights = Path("m/vae/diffusion_pytorch_model.safetensors")
    weights.rename(weights.with_suffix(".bin"))
    faults.assert_fails(words(tree, "m"), 4, naming("m", "vae/diffusion_pytorch_model.fp16.safetensors"))
    weights.write_bytes(b"hello")
    faults.assert_fails(words(tree, "m"), 4, r"m/vae/\S*safetensors\b.*\b5 bytes")
    torch.save({"a": torch.ones(1)}, weights)
    faults.assert_fails(words(tree, "m"), 4, r"m/vae/\S*safetensors\b.*\bpickle\b")
    shutil.copy(tiny / "text_encoder/model.safetensors", weights)
    faults.assert_fails(words(tree, "m"), 4, naming("m", "InstructPix2Pix"))
    faults.assert_fails(words(tree, "m", "--revision", "0" * 40), 2, naming("m", "revision"))
    faults.assert_fails(words(tree, "no such/thing/here"), 2, naming("no such/thing/here"))
