"""Every registered architecture with every infusion: what a model of the zoo promises, in one parametrised file."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from another_python import run_python
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from posezoo.base.errors import UsageError
from posezoo.catalogue import plugins, settings
from posezoo.nn.backbones import Backbone
from posezoo.nn.geometry import NUMBERS
from posezoo.nn.model import PoseModel
from posezoo.nn.outputs import PoseOutput
from posezoo.testing import ModelConformance
from posezoo.zoo.build import create_model
from posezoo.zoo.saved import save

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
INFUSIONS = ("", "+hyper=residual", "+hyper=single", "+hyper=two")
NAMES = [name + infusion for name in sorted(plugins.models()) for infusion in INFUSIONS]
every_model = pytest.mark.parametrize("name", NAMES)
every_architecture = pytest.mark.parametrize("name", sorted(plugins.models()))


def build(name: str, seed: int = 0, **overrides: Any) -> PoseModel:
    """A small model, randomly started, in eval mode; infused ones with live generators."""
    torch.manual_seed(seed)
    small = settings.merged(SMALL, {"hyper": HYPER}, OF_MODEL.get(name.partition("+")[0], {}), overrides)
    return create_model(name, **{key: value for key, value in small.items() if key != "hyper" or "+hyper" in name})


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


def conformance(name: str) -> type[ModelConformance]:
    """The suite that third parties use too, with full generators; ranks have a test of their own below."""
    small = settings.merged({"hyper": {"rank": None}}, OF_MODEL.get(name, {}))
    # tracing takes seconds: one infusion here, the others in the slow test
    own = {"model": name, "settings": small, "traced": ("+hyper=residual",), "__module__": __name__}
    return type(f"TestConformance_{name.replace('-', '_')}", (ModelConformance,), own)


SUITES = {name: conformance(name) for name in sorted(plugins.models())}
globals().update({suite.__name__: suite for suite in SUITES.values()})  # where pytest finds them


@pytest.mark.slow
@every_architecture
@pytest.mark.parametrize("infusion", ["", "+hyper=single", "+hyper=two"])
def test_tracing_with_every_infusion(name: str, infusion: str) -> None:
    suite = SUITES[name]()
    suite.test_compile(infusion)
    suite.test_export(infusion)


@pytest.fixture(scope="module")
def models() -> Iterator[dict[str, PoseModel]]:
    """Every model once; tests do not change them."""
    yield {name: build(name) for name in NAMES}


@every_model
@pytest.mark.parametrize("rotation", NUMBERS)
def test_every_rotation_representation(name: str, rotation: str) -> None:
    out = build(name, rotation=rotation)(images(2))
    assert out.rotation.shape == (2, NUMBERS[rotation])
    torch.testing.assert_close(out.quaternion.norm(dim=-1), torch.ones(2), atol=1e-5, rtol=0)


@every_architecture
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv3_small_050", "tf_efficientnet_lite0"])
def test_other_backbones(name: str, backbone: str) -> None:
    model = build(f"{name}+hyper", backbone=backbone)
    assert model.config.mean is not None
    with torch.no_grad():
        assert torch.isfinite(model(images(2, 64)).position).all()


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


@pytest.mark.slow
def test_building_draws_from_no_other_generator() -> None:
    """In a process without type checks: beartype draws from Python's generator."""
    code = """
import random, sys
import numpy as np, torch
import posezoo.zoo.build
state, numpy_state = random.getstate(), np.random.get_state()[1].tolist()
for name in sys.argv[1:]:
    hyper = {"hyper": {"rank": 4}} if "+hyper" in name else {}
    posezoo.zoo.build.create_model(name, backbone="mobilenetv3_small_050", pretrained_backbone=False, **hyper)
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
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_train_mode_runs_and_varies_only_where_there_is_dropout(name: str, dropout: float) -> None:
    model = build(name, dropout=dropout).train()
    one, other = (model(images(4), torch.arange(4) % len(SCENES)) for _ in range(2))
    assert torch.isfinite(one.position).all()
    assert torch.isfinite(one.rotation).all()
    assert torch.equal(one.position, other.position) == torch.equal(one.rotation, other.rotation) == (not dropout)


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
    with pytest.raises(UsageError):
        save(fast, Path("nowhere"), "card")


@pytest.mark.parametrize(  # with a residual hypernetwork the suites above do it
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n != "ms-transformer" else []) for n in NAMES]
)
def test_compiles_without_graph_breaks(models: dict[str, PoseModel], name: str) -> None:
    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(models[name], backend="eager", fullgraph=True)
        close(compiled(images(2)), models[name](images(2)))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_compiles_to_machine_code() -> None:
    torch.compiler.reset()
    model = build("ms-transformer+hyper", backbone="test_efficientnet.r160_in1k")
    with torch.no_grad():
        close(torch.compile(model, fullgraph=True)(images(2)), model(images(2)))


class _Operations(TorchDispatchMode):
    """Counts the operations that are run."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


@every_model
@pytest.mark.parametrize("training", [False, True])
def test_no_loop_over_the_batch(name: str, training: bool) -> None:
    """As many operations for nine images as for three, and for as many scenes."""
    counts = []
    for batch, scenes in ((3, SCENES[:2]), (9, SCENES[:2]), (9, SCENES)):
        model, scene_B = build(name, scenes=scenes).train(training), torch.arange(batch) % 2
        with torch.set_grad_enabled(training), _Operations() as operations:
            out = model(images(batch, 64), scene_B if training else None)
            if training:
                (out.position.sum() + out.rotation.sum()).backward()
        counts.append(operations.count)
    assert counts == counts[:1] * 3


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
