"""Networks of torchvision as backbones, class logits as the embedding, and what acts in training alone."""

from __future__ import annotations

import random
import sys
from types import SimpleNamespace

import pytest
import timm
import torch
import torchvision
from naming import naming
from timm.layers import DropPath

from posezoo.base.errors import UsageError, WeightsError
from posezoo.nn import backbones
from posezoo.nn.backbones import Backbone
from posezoo.zoo import pretrained
from posezoo.zoo.build import create_model


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


@pytest.mark.parametrize("name", ["test_efficientnet.r160_in1k", "resnet18.tv_in1k"])
def test_left_out_blocks_and_momentum_act_in_training_alone(name: str) -> None:
    torch.manual_seed(0)
    plain = Backbone(name).eval()
    torch.manual_seed(0)
    changed = Backbone(name)
    drawn = torch.get_rng_state()
    changed.regularise(drop_path=0.5, batch_norm_momentum=0.01)
    assert torch.equal(drawn, torch.get_rng_state())
    assert list(plain.state_dict()) == list(changed.state_dict())
    images = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(plain(images)[0], changed.eval()(images)[0])
        changed.train()
        changed(images)
    rates = [module.drop_prob for module in changed.modules() if isinstance(module, DropPath)]
    assert rates == sorted(rates), "deeper blocks more often"
    assert rates[-1] == pytest.approx(0.5, abs=0.15)
    # the running mean starts at 0 and moves a hundredth of the way to the first batch's
    first = next(module for module in changed.net.modules() if isinstance(module, torch.nn.BatchNorm2d))
    with torch.no_grad():
        batch_mean = changed.net.get_submodule("conv_stem" if "efficientnet" in name else "conv1")(images).mean(
            (0, 2, 3)
        )
    torch.testing.assert_close(first.running_mean, 0.01 * batch_mean)
    assert {m.momentum for m in changed.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.01}


@pytest.mark.parametrize("name", ["torchvision:resnet18", "densenet121"])
def test_a_backbone_without_blocks_to_leave_out(name: str) -> None:
    with pytest.raises(UsageError, match=name) as error:
        Backbone(name).regularise(drop_path=0.2, batch_norm_momentum=None)
    assert error.value.hint == "drop_path=0"
    assert "\n" not in str(error.value)


def test_every_model_obeys_them() -> None:
    """Whatever its plugin hands to its backbone."""
    common = {"backbone": "test_efficientnet.r160_in1k", "pretrained_backbone": False, "drop_path": 0.2}
    model = create_model("posenet", **common, batch_norm_momentum=0.02)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {0.02}
    assert any(isinstance(module, DropPath) for module in model.modules())
    model = create_model("posenet", **{**common, "drop_path": 0.0})
    assert not any(isinstance(module, DropPath) for module in model.modules())


# First stages


STAGES = {
    "resnet18.tv_in1k": [["conv1", "bn1"], ["layer1"], ["layer2"], ["layer3"], ["layer4"]],
    "tf_efficientnet_b0.in1k": [
        ["conv_stem", "bn1", "blocks.0"], ["blocks.1"], ["blocks.2"], ["blocks.3", "blocks.4"], ["blocks.5", "blocks.6"]
    ],
    "convnext_atto": [["stem", "stages.0"], ["stages.1"], ["stages.2"], ["stages.3"]],
}  # fmt: skip


@pytest.mark.parametrize("name", STAGES)
def test_first_stages_by_hand(name: str) -> None:
    """Of the layers of the first stages every parameter and statistic, and of no other layer."""
    with torch.device("meta"):
        backbone = Backbone(name)
    state = backbone.net.state_dict()
    assert backbone.early(0) == []
    for stages in range(1, len(STAGES[name]) + 1):
        prefixes = tuple(f"{layer}." for stage in STAGES[name][:stages] for layer in stage)
        expected = {key for key in state if key.startswith(prefixes)}
        tensors = {id(t) for m in backbone.early(stages) for t in m.state_dict(keep_vars=True).values()}
        assert {key for key, t in backbone.net.state_dict(keep_vars=True).items() if id(t) in tensors} == expected
    with pytest.raises(UsageError, match=naming(name, len(STAGES[name]))) as error:
        backbone.early(len(STAGES[name]) + 1)
    assert f"optim.frozen_stages={len(STAGES[name])}" in error.value.hint


def test_a_block_belongs_to_them_once_all_its_layers_do() -> None:
    """ConvNeXt's blocks hold a parameter beside their layers."""
    with torch.device("meta"):
        backbone = Backbone("convnext_atto")
    gamma = backbone.net.get_submodule("stages.0.blocks.0").gamma
    assert any(gamma is p for m in backbone.early(1) for p in m.parameters())
    later = backbone.net.get_submodule("stages.1.blocks.0").gamma
    assert not any(later is p for m in backbone.early(1) for p in m.parameters())


def test_a_network_that_does_not_say_where_its_stages_end() -> None:
    with pytest.raises(UsageError, match=naming("torchvision:resnet18", 0)):
        Backbone("torchvision:resnet18").early(1)


FAMILIES = ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "convnext_atto"]


@pytest.mark.parametrize("name", ["tresnet_m", "hrnet_w18_small"])
def test_a_network_that_names_no_layer_of_its_stages(name: str) -> None:
    with torch.device("meta"), pytest.raises(UsageError, match=naming(name, "stages")) as error:
        Backbone(name).early(1)
    assert error.value.hint == "optim.frozen_stages=0"


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("model", ["posenet", "ms-transformer"])
def test_any_family_of_timm(model: str, name: str) -> None:
    """Its embedding, and its tokens as a map, at a size that is not its own."""
    small = {"position_layers": 1, "orientation_layers": 1} if model == "ms-transformer" else {}
    built = create_model(model, backbone=name, pretrained_backbone=False, crop=96, resize=112, scenes=("a",), **small)
    output = built.train()(torch.randn(2, 3, 96, 96))
    output.position.sum().backward()
    assert output.position.shape == (2, 3)
    (backbone,) = (module for module in built.modules() if isinstance(module, Backbone))
    assert all(torch.isfinite(p.grad).all() for p in backbone.parameters() if p.grad is not None)
    assert sum(p.grad is not None for p in backbone.parameters()) > 10


def _random_families() -> list[str]:
    """30 families of timm, one network of each, the first with a short name; the same each time."""
    families = random.Random(0).sample(sorted(timm.list_modules()), 45)
    names = [min(found, key=len) for family in families if (found := timm.list_models(module=family))]
    return names[:30]


@pytest.mark.slow
@pytest.mark.parametrize("name", _random_families())
def test_random_families_of_timm(name: str) -> None:
    """Each gives an embedding as wide as it says at a size that is proposed, or says why it gives none."""
    own = timm.get_pretrained_cfg(name).input_size[-1]
    for crop in (own, 224):
        with torch.device("meta"), torch.no_grad():
            backbone = Backbone(name, size=crop).eval()
            try:
                backbones.check_size(backbone, crop)
            except UsageError as error:
                assert name in error.message and "crop=" in error.hint + error.message
                continue
            assert backbone(torch.zeros(2, 3, crop, crop))[0].shape == (2, backbone.width)


def test_a_size_that_a_network_cannot_take_is_refused_with_those_it_can() -> None:
    with pytest.raises(UsageError, match=naming("efficientformer_l1", "crop=128")) as error:
        create_model("posenet", backbone="efficientformer_l1", pretrained_backbone=False, crop=128, resize=160)
    assert error.value.hint == "crop=224"
    with pytest.raises(UsageError, match="crop=100") as error:
        create_model("posenet", backbone="gcvit_xxtiny", pretrained_backbone=False, crop=100, resize=128)
    assert "crop=96" in error.value.hint
    with pytest.raises(UsageError, match="crop=250") as error:
        create_model("posenet", backbone="gcvit_xxtiny", pretrained_backbone=False, crop=250, resize=256)
    proposed = {int(words.removeprefix("crop=")) for words in error.value.hint.split(" or ")}
    nearest = sorted(backbones.SIZES, key=lambda size: abs(size - 250))[: backbones.TRIED]
    # which of them the network takes depends on timm's release; its own size is among them
    assert {224, 256, 288} <= proposed <= set(nearest), "the nearest"


def test_sizes_that_are_proposed_are_whole_patches() -> None:
    """Of 16 pixels, as most transformers have."""
    assert [size % 16 for size in backbones.SIZES] == [0] * len(backbones.SIZES)


def test_a_plugin_that_does_not_say_the_size_gets_the_networks_own() -> None:
    backbones.check_size(Backbone("vit_tiny_patch16_224"), 224)
    backbones.check_size(Backbone("resnet18"), 100)
    with pytest.raises(UsageError, match="224 pixels, crop=128") as error:
        backbones.check_size(Backbone("vit_tiny_patch16_224"), 128)
    assert "size=config.crop" in error.value.hint


def test_weights_that_fit_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Backbone("vit_tiny_patch16_224", size=64)
    module = sys.modules[type(net.net).__module__]
    monkeypatch.setattr(module, "checkpoint_filter_fn", lambda state, net: pytest.fail("nothing is to be stretched"))
    state = {key: torch.full_like(value, 3) for key, value in net.net.state_dict().items()}
    backbones.load_pretrained(net, state, by_order=False, source="a test")
    assert all((value == 3).all() for value in net.net.state_dict().values())


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_weights_of_another_size_are_stretched(name: str) -> None:
    torch.manual_seed(0)
    large, small = Backbone(name, size=224).eval(), Backbone(name, size=128).eval()
    state = large.net.state_dict()
    backbones.load_pretrained(small, state, by_order=False, source="a test")
    same = [key for key, value in small.net.state_dict().items() if value.shape == state[key].shape]
    assert len(same) > 100
    assert all(torch.equal(small.net.state_dict()[key], state[key]) for key in same if "attn_mask" not in key)
    with torch.no_grad():
        assert torch.isfinite(small(torch.randn(1, 3, 128, 128))[0]).all()
