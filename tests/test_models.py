"""Every registered architecture with every infusion: what a model of the zoo promises, in one parametrised file."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from another_python import run_python
from torch import Tensor

from posezoo import plugins, settings, zoo
from posezoo.backbones import Backbone
from posezoo.errors import UsageError
from posezoo.geometry import NUMBERS
from posezoo.model import PoseModel
from posezoo.types import Features, PoseOutput

SCENES = ("attic", "barn", "cellar")
SMALL: dict[str, Any] = {
    "backbone": "mobilenetv3_small_050",
    "pretrained_backbone": False,
    "resize": 96,
    "crop": 96,
    "scenes": SCENES,
    "position_mean": (10.0, -3.0, 1.0),
    "position_std": (2.0, 3.0, 0.5),
}
OF_MODEL: dict[str, dict[str, Any]] = {  # the published widths are tested in test_hyperhead.py
    "atloc": {"feature": 64},
    "ms-transformer": {
        **{"width": 32, "feedforward": 32, "position_layers": 1, "orientation_layers": 1, "hidden": 16},
        "hyper": {"hidden_position": (6, 5), "hidden_orientation": (7,)},
    },
}
HYPER = {"code_position": 8, "code_orientation": 12, "rank": None, "init": "paper"}
# a DETR decoder starts from zeros, which the first layer norm leaves zero whatever its weight
DEAD = ("position.decoder.0.norm1.weight", "orientation.decoder.0.norm1.weight")
INFUSIONS = ("", "+hyper=residual", "+hyper=single", "+hyper=two")
NAMES = [name + infusion for name in sorted(plugins.models()) for infusion in INFUSIONS]
every_model = pytest.mark.parametrize("name", NAMES)
every_architecture = pytest.mark.parametrize("name", sorted(plugins.models()))


def build(name: str, seed: int = 0, **overrides: Any) -> PoseModel:
    """A small model, randomly started, in eval mode; infused ones with live generators."""
    torch.manual_seed(seed)
    small = settings.merged(SMALL, {"hyper": HYPER}, OF_MODEL.get(name.partition("+")[0], {}), overrides)
    return zoo.create_model(name, **small)


def images(batch: int, side: int = 96, seed: int = 1) -> Tensor:
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))


def close(a: PoseOutput, b: PoseOutput) -> None:
    """Equal within 1e-5 of the size of the numbers."""
    for one, other in zip(a, b, strict=True):
        if one is None:
            assert other is None
        else:
            size = max(1.0, float(one.double().abs().max()))
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * size)


@pytest.fixture(scope="module")
def models() -> Iterator[dict[str, PoseModel]]:
    """Every model once; tests do not change them."""
    yield {name: build(name) for name in NAMES}


@every_model
def test_shapes_and_conventions(models: dict[str, PoseModel], name: str) -> None:
    model = models[name]
    assert not model.training
    assert model.name == name
    with torch.no_grad():
        features, out = model.encode(images(4)), model(images(4))
    assert isinstance(features, Features)
    assert features.position.shape == (4, model.position_head.in_dim)
    assert features.orientation.shape == (4, model.orientation_head.in_dim)
    assert features.image.shape == (4, model.image_dim)
    assert out.position.shape == (4, 3)
    assert out.position.dtype == torch.float64  # UTM coordinates have steps of 0.5 m in float32
    assert out.rotation.shape == (4, NUMBERS[model.config.rotation])
    assert out.quaternion.shape == (4, 4)
    torch.testing.assert_close(out.quaternion.norm(dim=-1), torch.ones(4))
    assert (out.quaternion[:, 0] >= 0).all()
    if out.scene_logits is not None:
        assert out.scene_logits.shape == (4, len(SCENES))
        assert torch.equal(out.scene, out.scene_logits.argmax(-1))


@every_model
@pytest.mark.parametrize("rotation", NUMBERS)
def test_every_rotation_representation(name: str, rotation: str) -> None:
    out = build(name, rotation=rotation)(images(2))
    assert out.rotation.shape == (2, NUMBERS[rotation])
    torch.testing.assert_close(out.quaternion.norm(dim=-1), torch.ones(2), atol=1e-5, rtol=0)


@every_model
def test_position_is_mean_plus_std_times_the_heads_numbers(models: dict[str, PoseModel], name: str) -> None:
    model = models[name]
    with torch.no_grad():
        features = model.encode(images(3))
        raw = model.position_head(features.position, features.image, features.scene).double()
        expected = raw * torch.tensor([2.0, 3.0, 0.5]) + torch.tensor([10.0, -3.0, 1.0])
        torch.testing.assert_close(model(images(3)).position, expected)


@every_model
def test_gradients_reach_every_parameter(name: str) -> None:
    model = build(name)
    with (
        torch.no_grad()
    ):  # what starts at exactly zero (biases, a decoder's first input) would hide what lies behind it
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    scene = torch.arange(6) % len(SCENES)
    out, features = model(images(6), scene), model.encode(images(6), scene)
    parts = [out.position, out.rotation, features.image]  # plain multi-scene heads read no image embedding
    parts += [] if out.scene_logits is None else [out.scene_logits]
    sum((part * torch.randn_like(part)).sum() for part in parts).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert (parameter.grad.abs().max() > 0) == (key not in DEAD), key


@every_model
def test_the_pose_alone_reaches_both_heads(name: str) -> None:
    model = build(name)
    out = model(images(6), torch.arange(6) % len(SCENES))
    (out.position.sum() + (out.quaternion * torch.randn(6, 4)).sum()).backward()
    for head in (model.position_head, model.orientation_head):
        for key, parameter in head.named_parameters():
            assert parameter.grad is not None, key
            assert parameter.grad.abs().max() > 0, key


@every_model
def test_eval_is_deterministic_and_keeps_no_state(models: dict[str, PoseModel], name: str) -> None:
    model = models[name]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        first = model(images(3))
        model(images(2, seed=9))
        second = model(images(3))
    for one, other in zip(first, second, strict=True):
        assert one is other is None or torch.equal(one, other)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@every_model
def test_batch_size_and_order_do_not_matter(models: dict[str, PoseModel], name: str) -> None:
    model, batch, order = models[name], images(5), torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        whole = model(batch)
        singles = [model(image[None]) for image in batch]
        joined = PoseOutput(*(None if part[0] is None else torch.cat(part) for part in zip(*singles, strict=True)))
        close(whole, joined)
        turned = model(batch[order])
    close(PoseOutput(*(None if part is None else part[order] for part in whole)), turned)


@every_model
@pytest.mark.parametrize("side", [128, 64])
def test_other_resolutions(models: dict[str, PoseModel], name: str, side: int) -> None:
    with torch.no_grad():
        out = models[name](images(2, side))
    assert torch.isfinite(out.position).all()
    assert torch.isfinite(out.quaternion).all()


@every_architecture
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv3_small_050", "tf_efficientnet_lite0"])
def test_other_backbones(name: str, backbone: str) -> None:
    model = build(f"{name}+hyper", backbone=backbone)
    assert model.config.mean is not None
    with torch.no_grad():
        assert torch.isfinite(model(images(2, 64)).position).all()


@every_model
def test_save_load_save(models: dict[str, PoseModel], name: str, tmp_path: Path) -> None:
    model = models[name]
    zoo.save(model, tmp_path / "a", "card", data="none")
    again = zoo.load(f"local-dir:{tmp_path / 'a'}")
    assert again.config == model.config
    with torch.no_grad():
        for one, other in zip(model(images(3)), again(images(3)), strict=True):
            assert one is other is None or torch.equal(one, other)
    zoo.save(again, tmp_path / "b", "card", data="none")
    for file in (zoo.WEIGHTS, zoo.CONFIG):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@every_model
def test_the_backbone_runs_once_an_image(models: dict[str, PoseModel], name: str) -> None:
    calls: list[int] = []
    backbones = [module for module in models[name].modules() if isinstance(module, Backbone)]
    nets = [backbone.net.get_submodule("conv_stem") for backbone in backbones]
    with ExitStack() as hooks, torch.no_grad():
        for net in nets:
            hooks.callback(net.register_forward_hook(lambda *_: calls.append(1)).remove)
        models[name](images(2))
    assert len(calls) == 1


@every_model
def test_building_leaves_the_process_as_it_was(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    threads, dtype, grad = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    following = []
    for seed in (1, 2, 1):
        build(name, seed)
        following.append(float(torch.rand(())))
    # weights are drawn from torch's generator, which a constructor must not seed
    assert following[0] == following[2] != following[1]
    assert (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()) == (threads, dtype, grad)
    assert not torch.are_deterministic_algorithms_enabled()
    assert capfd.readouterr() == ("", "")


def test_building_draws_from_no_other_generator() -> None:
    """In a process without type checks: beartype draws from Python's generator."""
    code = """
import random, sys
import numpy as np, torch
import posezoo.zoo
state, numpy_state = random.getstate(), np.random.get_state()[1].tolist()
for name in sys.argv[1:]:
    posezoo.zoo.create_model(name, backbone="mobilenetv3_small_050", pretrained_backbone=False, hyper={"rank": 4})
    assert random.getstate() == state, name
    assert np.random.get_state()[1].tolist() == numpy_state, name
"""
    done = run_python(code, *NAMES)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@every_model
def test_config_and_model_pickle(models: dict[str, PoseModel], name: str) -> None:
    model = models[name]
    assert pickle.loads(pickle.dumps(model.config)) == model.config  # noqa: S301
    again = pickle.loads(pickle.dumps(model))  # noqa: S301
    with torch.no_grad():
        assert torch.equal(again(images(2)).position, model(images(2)).position)


@every_model
def test_train_mode_runs_and_varies_only_where_there_is_dropout(name: str) -> None:
    model = build(name).train()
    out = model(images(4), torch.arange(4) % len(SCENES))
    assert torch.isfinite(out.position).all()
    assert torch.isfinite(out.rotation).all()


@every_architecture
def test_zero_start_is_bit_equal_to_the_base(name: str) -> None:
    base = build(name)
    own = asdict(base.config)  # a published combination may change its base: rotation, shared heads
    with torch.no_grad():
        expected = base(images(3))
        for infusion in ("residual", "single", "two"):
            if infusion == "two" and base.position_head.num_layers < 2:
                continue  # a one-layer head is given a hidden layer first: another base
            for rank in (None, 4):
                model = build(f"{name}+hyper={infusion}", hyper={"init": "zero", "rank": rank}, **own)
                heads = re.compile(r"^(position|orientation)_head\.")
                state = {heads.sub(r"\1_head.base.", key): value for key, value in base.state_dict().items()}
                assert state.keys() <= model.state_dict().keys()
                model.load_state_dict(model.state_dict() | state)
                got = model(images(3))
                assert torch.equal(got.position, expected.position)
                assert torch.equal(got.rotation, expected.rotation)


@every_architecture
def test_a_rank_works_with_every_infusion(name: str) -> None:
    for infusion in ("residual", "single", "two"):
        model = build(f"{name}+hyper={infusion}", hyper={"rank": 4})
        out = model(images(6), torch.arange(6) % len(SCENES))
        (out.position.sum() + out.rotation.sum()).backward()
        for head in (model.position_head, model.orientation_head):
            for key, parameter in head.named_parameters():
                assert parameter.grad is not None, key
                assert parameter.grad.abs().max() > 0, key


def move_norms(model: PoseModel) -> None:
    """Give batch norms statistics of their own, so that folding one wrongly shows."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)


@every_model
def test_optimize_keeps_the_poses(name: str) -> None:
    model = build(name)
    move_norms(model)
    model.train()
    fast = model.optimize()
    assert model.training
    assert not fast.training
    model.eval()
    with torch.no_grad():
        close(fast(images(3)), model(images(3)))
        moved = fast.optimize(bf16=True)(images(3))
    assert moved.position.dtype == torch.float64
    assert torch.isfinite(moved.quaternion).all()
    with pytest.raises(UsageError, match="cannot be saved"):
        zoo.save(fast, Path("nowhere"), "card")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n.endswith(("single", "two")) else []) for n in NAMES]
)
def test_compiles_without_graph_breaks(models: dict[str, PoseModel], name: str) -> None:
    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(models[name], backend="eager", fullgraph=True)
        close(compiled(images(2)), models[name](images(2)))


@pytest.mark.slow
def test_compiles_to_machine_code() -> None:
    torch.compiler.reset()
    model = build("ms-transformer+hyper")
    with torch.no_grad():
        close(torch.compile(model, fullgraph=True)(images(2)), model(images(2)))


@every_model
def test_an_embedding_that_nobody_reads_is_not_computed(models: dict[str, PoseModel], name: str) -> None:
    model = models[name]
    with torch.no_grad():
        full, lean = model.encode(images(2)), model.features_for_heads(images(2))
    assert full.image.shape == (2, model.image_dim)
    assert lean.image.shape in ((2, model.image_dim), (2, 0))
    assert model.reads_image == ("+hyper" in name)
    if model.reads_image:
        assert torch.equal(lean.image, full.image)
    torch.testing.assert_close(lean.position, full.position)
    torch.testing.assert_close(lean.orientation, full.orientation)
