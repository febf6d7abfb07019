"""PoseNet: one shared hidden layer, one dropout mask, the image tapped before it."""

from __future__ import annotations

import math
from pathlib import Path

import safetensors.torch
import torch
import torchvision
from posezoo_posenet.model import PoseNet
from torch.nn import functional as F

from posezoo.zoo.blueprint import blueprint
from posezoo.zoo.build import build, create_model


def test_layers() -> None:
    torch.manual_seed(0)
    common = {"backbone": "mobilenetv3_small_050", "pretrained_backbone": False}
    model, images = create_model("posenet", hidden=32, **common), torch.randn(3, 3, 64, 64)
    assert isinstance(model, PoseNet)
    with torch.no_grad():
        pooled, maps = model.backbone(images)
        features, out = model.encode(images), model(images)
    assert maps == ()
    hidden = F.relu(F.linear(pooled, model.hidden[0].weight, model.hidden[0].bias))
    torch.testing.assert_close(features.image, pooled)
    torch.testing.assert_close(features.position, hidden)
    torch.testing.assert_close(features.orientation, hidden)
    torch.testing.assert_close(out.rotation, model.orientation_head.layers[0](hidden).detach())


def test_the_googlenet_variant_reads_the_class_logits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = torchvision.models.get_model("googlenet", weights=None, init_weights=True)  # with auxiliary classifiers
    safetensors.torch.save_file(net.state_dict(), tmp_path / "googlenet.safetensors")
    model = create_model("posenet.googlenet", pretrained_backbone=str(tmp_path / "googlenet.safetensors"))
    images = torch.randn(1, 3, 224, 224)
    net.eval().transform_input = True  # as torchvision sets it with published weights
    with torch.no_grad():
        features = model.encode(images)
        torch.testing.assert_close(features.image, net(images))
    assert (model.image_dim, features.position.shape) == (1000, (1, 1024))


def test_one_dropout_mask_for_both_heads() -> None:
    common = {"backbone": "mobilenetv3_small_050", "pretrained_backbone": False}
    model = create_model("posenet", hidden=256, dropout=0.5, **common).train()
    features = model.encode(torch.randn(4, 3, 64, 64))
    assert torch.equal(features.position, features.orientation)
    assert (features.image != 0).float().mean() > 0.5


def test_the_published_linear_layers_start_kaiming_normal() -> None:
    common = {"backbone": "mobilenetv3_small_050", "pretrained_backbone": False, "hidden": 512}
    for init, gain in (("published", 2.0), ("default", 1 / 3)):
        torch.manual_seed(0)
        model = create_model("posenet", init=init, **common)
        for layer in (model.hidden[0], model.position_head.layers[0], model.orientation_head.layers[0]):
            assert abs(layer.weight.std().item() / math.sqrt(gain / layer.in_features) - 1) < 0.1
            assert 0 < float(layer.bias.detach().abs().max()) <= 1 / math.sqrt(layer.in_features)  # torch's default


def test_published_shape() -> None:
    with torch.device("meta"):
        model = build(blueprint("posenet", {"pretrained_backbone": False}))
    assert isinstance(model, PoseNet)
    assert model.image_dim == 1280
    assert model.hidden[0].out_features == 1024
    assert (model.hidden[2].p, model.config.rotation) == (0.1, "quaternion")
