"""`+spread`: its loss by hand, what it leaves alone, and radii that are multiples of it, from training to files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import faults
import numpy as np
import pytest
import small_data
import torch
from naming import naming
from posezoo_spread.modifier import laplace
from small_models import small, with_estimate
from small_runs import Train, cache_home, job, no_pictures, notes, one_place, quiet_place, train, two_places
from test_models import OF_MODEL, images
from test_models import build as build_model

import posezoo
from posezoo.base.errors import UsageError
from posezoo.nn import geometry
from posezoo.nn.model import PoseModel
from posezoo.nn.outputs import Features
from posezoo.nn.place import Target, extra_losses
from posezoo.testing import ModelConformance
from posezoo.training.phase import Phase
from posezoo.zoo import exported
from posezoo.zoo.export import export
from posezoo.zoo.find import CONFIG
from posezoo.zoo.saved import load, save

__all__ = ["cache_home", "no_pictures", "notes", "one_place", "quiet_place", "train", "two_places"]

ALL = (
    *("posenet+spread", "atloc+spread+hyper", "ms-transformer+hyper=two+spread"),
    *("posenet+spread+anchors+hyper", "ms-transformer+anchors+spread"),
)
BACKBONE = {"backbone": "test_efficientnet.r160_in1k", "resize": 64, "crop": 64}
ANCHORS = {"count": 8, "key_dim": 8}


def build_small(name: str, **more: Any) -> PoseModel:
    own = {"spread": {"hidden": 8}, "anchors": ANCHORS}
    return build_model(name, **BACKBONE, **{key: value for key, value in own.items() if f"+{key}" in name}, **more)


class TestConformance(ModelConformance):
    model = "posenet+spread"
    settings = {"hidden": 16, "spread": {"hidden": 8}}
    infusions = ("", "+hyper=single")
    traced = ("",)


class TestConformanceOfScenes(ModelConformance):
    model = "ms-transformer+anchors+spread"
    settings = {**OF_MODEL["ms-transformer"], "scenes": ("attic", "barn", "cellar"), "anchors": ANCHORS}
    infusions = ("",)
    traced = ()


@pytest.mark.slow
class TestConformanceOfScenesWithHyper(TestConformanceOfScenes):
    infusions = traced = ("+hyper=two",)


# The loss


def test_the_loss_by_hand() -> None:
    """Errors of 5 m and 1 m, of 90 and 0 degrees, at spreads of 2 m, 1 m, 45 and 10 degrees."""
    model = small("posenet+spread")
    output = model(images(2))._replace(
        position=torch.tensor([[3.0, 4, 0], [0, 1, 0]], dtype=torch.float64),
        quaternion=torch.tensor([[math.sqrt(0.5), math.sqrt(0.5), 0, 0], [1, 0, 0, 0]]),
        spread_m=torch.tensor([2.0, 1.0]),
        spread_deg=torch.tensor([45.0, 10.0]),
    )
    identity_B4 = torch.tensor([[1.0, 0, 0, 0]] * 2, dtype=torch.float64)
    found = extra_losses(
        model, model.encode(images(2)), output, Target(torch.zeros(2, 3, dtype=torch.float64), identity_B4, None)
    )
    assert {name: pytest.approx(float(value), abs=1e-5) for name, value in found.items()} == {
        "spread_position": ((math.log(2) + 5 / 2) + (math.log(1) + 1)) / 2,
        "spread_orientation": ((math.log(45) + 90 / 45) + math.log(10)) / 2,
    }


def test_the_best_spread_is_the_mean_error() -> None:
    error_N = torch.from_numpy(np.random.default_rng(0).exponential(0.3, 1000))
    spreads = torch.linspace(0.1, 1.0, 181, dtype=torch.float64)
    losses = [float(laplace(error_N, spread.expand(1000))) for spread in spreads]
    assert float(spreads[int(np.argmin(losses))]) == pytest.approx(float(error_N.mean()), abs=0.005)


def test_spreads_stay_within_their_bounds() -> None:
    """Whatever the features: from the floor to four times the place's spread, and to half a turn."""
    model = small("posenet+spread", position_std=(3.0, 0.1, 4.0), spread={"floor_m": 0.05, "floor_deg": 0.5})
    for size in (-1e6, 1e6):
        with torch.no_grad():
            model.spread.layers[2].bias.fill_(size)
            output = model(images(2))
        assert output.spread_m.tolist() == pytest.approx([0.05 if size < 0 else 4 * math.hypot(3, 0.1, 4)] * 2)
        assert output.spread_deg.tolist() == pytest.approx([0.5 if size < 0 else 180.0] * 2)


def test_spreads_of_a_place_whose_size_is_not_known() -> None:
    """Positions learned in metres, as the paper's recipes do: 10 km."""
    model = small("posenet+spread", position_std=(1.0, 1.0, 1.0))
    with torch.no_grad():
        model.spread.layers[2].bias.fill_(1e6)
        assert model(images(2)).spread_m.tolist() == pytest.approx([10_000.0] * 2)


def test_it_is_added_once() -> None:
    with pytest.raises(UsageError, match=naming("spread")):
        small("posenet+spread+spread")


# What it leaves alone


@pytest.mark.parametrize("name", ALL)
def test_the_pose_learns_as_without_it(name: str) -> None:
    """Poses and gradients of all other parameters are bit-equal; its own loss reaches its own parameters alone."""
    plain, told = (build_small(one, seed=0) for one in (name.replace("+spread", ""), name))
    told.load_state_dict(plain.state_dict(), strict=False)
    scenes_B = torch.arange(4) % 2 if len(plain.config.scenes) > 1 else None
    given, found = images(4, 64), []
    true_B3 = torch.zeros(4, 3, dtype=torch.float64)
    true_B4 = geometry.unit(torch.ones(4, 4, dtype=torch.float64))
    for model in (plain, told):
        model.train()
        torch.manual_seed(1)  # dropout
        features = model.features_for_heads(given, scenes_B)
        output = model.pose_of(features)
        terms = extra_losses(model, features, output, Target(true_B3, true_B4, scenes_B))
        loss = (output.position - true_B3).norm() + output.rotation.square().sum() + sum(terms.values())
        loss.backward()
        gradients = {key: p.grad for key, p in model.named_parameters() if not key.startswith("spread.")}
        found.append((output, gradients))
    (one, before), (other, after) = found
    assert torch.equal(one.position, other.position) and torch.equal(one.quaternion, other.quaternion)
    assert (one.spread_m, one.spread_deg) == (None, None)
    assert before.keys() == after.keys()
    for key, gradient in before.items():
        assert (gradient is None) == (after[key] is None), key
        assert gradient is None or torch.equal(gradient, after[key]), key
    assert all(p.grad.abs().max() > 0 for p in told.spread.parameters())


def test_steps_of_training_change_the_pose_as_without_it(one_place: Path) -> None:
    """Its own large gradient shortens none of theirs: the weights after three steps are bit-equal."""
    ready = [job(one_place, name, **{"optim.clip": 0.05}) for name in ("posenet", "posenet+spread")]
    ready[1].model.load_state_dict(ready[0].model.state_dict(), strict=False)
    start = {key: value.clone() for key, value in ready[1].model.state_dict().items()}
    for one in ready:
        phase = Phase(one, 0)
        phase.begin()
        for number, batch in enumerate(phase.batches(0, 0), 1):
            phase.step(batch, number, {})
        assert number == 3
        assert all(math.isfinite(line["loss"]) for line in phase.read())
    trained = ready[1].model.state_dict()
    for key, value in ready[0].model.state_dict().items():
        assert torch.equal(value, trained[key]), key
    assert all(not torch.equal(start[key], trained[key]) for key in trained if key.startswith("spread."))


# From training to a radius


def learned(model: PoseModel, features: Features, error_m: torch.Tensor, error_deg: torch.Tensor) -> None:
    """Fit its network to these errors."""
    optimiser = torch.optim.Adam(model.spread.parameters(), lr=3e-2)
    for _ in range(60):
        spread_m, spread_deg = model.spread(features)
        optimiser.zero_grad()
        (laplace(error_m, spread_m) + laplace(error_deg, spread_deg)).backward()
        optimiser.step()


def test_it_learns_a_known_law() -> None:
    """Errors whose mean is 0.1 to 1 m by the first number of the latent, and 2 deg everywhere: it tells both."""
    model = small("posenet+spread", spread={"hidden": 8})
    random = torch.Generator().manual_seed(0)

    def drawn(count: int) -> tuple[Features, torch.Tensor]:
        """Features, and the mean error that they stand for."""
        latent_NW = torch.randn(count, 16, generator=random)
        mean_N = torch.exp(-1.15 + 0.7 * latent_NW[:, 0].clamp(-1.6, 1.6))
        other_NW = torch.randn(count, 16, generator=random)
        return Features(latent_NW, other_NW, torch.zeros(count, model.image_dim)), mean_N

    features, mean_N = drawn(8000)
    one_N, other_N = -torch.log1p(-torch.rand(2, 8000, generator=random))  # of mean 1
    learned(model, features, mean_N * one_N, 2 * other_N)
    fresh, truth_N = drawn(1000)
    with torch.no_grad():
        spread_m, spread_deg = model.spread(fresh)
    assert float(torch.corrcoef(torch.stack([spread_m.log(), truth_N.log()]))[0, 1]) > 0.85
    assert float(spread_m.log().std() / truth_N.log().std()) == pytest.approx(1, abs=0.2)
    assert float(spread_deg.median()) == pytest.approx(2.0, rel=0.1)


TINY: dict[str, Any] = {"data.calibration": 0.5, "selection": "last", "epochs": 2}


@pytest.mark.parametrize("name", ["posenet+spread", pytest.param("atloc+anchors+spread+hyper", marks=pytest.mark.slow)])
def test_a_run_calibrates_and_predicts_radii(name: str, train: Train, one_place: Path) -> None:
    run = train(name, **TINY).path
    lines = faults.metrics(run)
    for part in ("spread_position_loss", "spread_orientation_loss"):
        assert all(math.isfinite(line[part]) for line in lines if "step" in line and "loss" in line)
    model = posezoo.load(run, device="cpu")
    poses = model.predict(sorted((one_place / "yard").glob("*.png"))[:6], note=lambda text: None)
    assert poses.radius_m is not None and poses.radius_deg is not None
    prepared = [model.prepare(torch.from_numpy(posezoo_picture(path))) for path in poses.images]
    with torch.no_grad():
        output = model(torch.cat(prepared))
    known = np.isfinite(poses.radius_m)
    assert known.any()
    times = poses.radius_m[known] / output.spread_m.double().numpy()[known]
    np.testing.assert_allclose(times, float(model.estimate.metres[0]), rtol=1e-4)
    words = posezoo.calibrate(run).rows()["radius there"]
    assert "spreads (m)" in words and "spreads (deg)" in words


def posezoo_picture(path: str) -> np.ndarray:
    """(1, 3, H, W) uint8."""
    from posezoo.base.files import pictures

    return pictures.read_image(Path(path)).copy().transpose(2, 0, 1)[None]


def test_several_scenes_train_with_it(train: Train, two_places: Path) -> None:
    run = train("ms-transformer+spread", data=two_places, epochs=1).path
    output = load(f"local-dir:{run}")(images(2, small_data.FAST["crop"]))
    assert output.spread_m.shape == output.spread_deg.shape == (2,)


@pytest.mark.parametrize("name", ["posenet+spread", "ms-transformer+anchors+spread+hyper"])
def test_saved_and_loaded_with_its_estimate(name: str, tmp_path: Path) -> None:
    model = with_estimate(build_small(name))
    save(model, tmp_path / "a", "card")
    again = load(f"local-dir:{tmp_path / 'a'}")
    with torch.no_grad():
        one, other = model(images(3, 64)), again(images(3, 64))
    for a, b in zip(one, other, strict=True):
        assert a is b or torch.equal(a, b)
    torch.testing.assert_close(one.radius_m, 1.5 * one.spread_m)
    torch.testing.assert_close(one.radius_deg, 20 * one.spread_deg)
    assert "spread" in (tmp_path / "a" / CONFIG).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("posenet+spread", "onnx"),
        pytest.param("ms-transformer+spread", "pt2", marks=pytest.mark.slow),
        pytest.param("ms-transformer+anchors+spread+hyper", "onnx", marks=pytest.mark.slow),
        pytest.param("atloc+spread+hyper=two", "pt2", marks=pytest.mark.slow),
    ],
)
def test_exported_files_tell_the_same_radii(name: str, to: str, tmp_path: Path) -> None:
    model = with_estimate(build_small(name))
    again = exported.load(export(model, to, tmp_path / f"a.{to}", check=True).path, trust=True)
    for batch in (1, 4):
        with torch.no_grad():
            expected, got = model(images(batch, 64)), again(images(batch, 64))
        for part in ("position", "quaternion", "familiarity"):
            torch.testing.assert_close(getattr(got, part), getattr(expected, part), rtol=0, atol=1e-4)
        for part in ("radius_m", "radius_deg"):  # they follow each image
            torch.testing.assert_close(getattr(got, part), getattr(expected, part), rtol=1e-4, atol=1e-4)
        assert batch == 1 or float(expected.radius_m.std()) > 0
