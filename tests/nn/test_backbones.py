"""Networks of torchvision as backbones, and class logits as the embedding."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torchvision

from posezoo.base.errors import UsageError, WeightsError
from posezoo.nn import backbones
from posezoo.nn.backbones import Backbone
from posezoo.zoo import pretrained


@pytest.mark.parametrize("name", ["torchvision:googlenet", "torchvision:resnet18", "torchvision:mobilenet_v3_small"])
def test_a_network_of_torchvision(name: str) -> None:
    images = torch.randn(2, 3, 64, 64)
    for logits in (False, True):
        backbone = Backbone(name, logits=logits).eval()
        embedding, maps = backbone(images)
        assert maps == ()
        assert embedding.shape == (2, backbone.width)
        assert (backbone.width == 1000) == logits
    assert backbones.normalisation(name) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_its_embedding_is_what_the_classifier_reads() -> None:
    torch.manual_seed(0)
    whole, pooled = Backbone("torchvision:resnet18", logits=True).eval(), Backbone("torchvision:resnet18").eval()
    state = whole.net.state_dict()
    backbones.load_pretrained(pooled, state, by_order=False, source="a test")  # the classifier is left out
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(whole(images)[0], pooled(images)[0] @ state["fc.weight"].T + state["fc.bias"])


def test_class_logits_of_a_network_of_timm() -> None:
    torch.manual_seed(0)
    backbone = Backbone("mobilenetv3_small_050", logits=True).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images)[0], backbone.net(images))
    assert backbone.width == 1000


def test_all_classifiers_of_torchvision_are_known() -> None:
    assert {"googlenet", "resnet34"} <= set(torchvision.models.list_models(module=torchvision.models))
    with pytest.raises(UsageError, match="torchvision:googlenet"):
        Backbone("torchvision:googlenett")
    with pytest.raises(UsageError, match="torchvision:googlenet"):
        backbones.normalisation("torchvision:googlenett")


def test_its_weights_are_asked_for_as_a_file() -> None:
    with pytest.raises(WeightsError, match="pickle") as error:
        pretrained.find_backbone("torchvision:googlenet")
    assert "pretrained_backbone=FILE" in error.value.hint


def test_a_network_without_intermediate_features_gives_no_taps() -> None:
    for net in (SimpleNamespace(), SimpleNamespace(feature_info=[{"reduction": 8, "num_chs": 4}])):
        with pytest.raises(UsageError) as error:
            backbones._choose_taps(net, "some-net", (8,))
        assert "some-net" in error.value.message
