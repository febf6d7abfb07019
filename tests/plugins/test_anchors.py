"""`+anchors`: where anchors lie, base poses, losses and the blend, each by numpy; with every architecture and infusion.

Long: every formula of the plugin's two modules, and what must hold whatever model it completes.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from naming import naming
from posezoo_anchors.anchors import NEIGHBOURHOOD, Anchors, AnchorsConfig, spread_out
from posezoo_anchors.modifier import FLOOR, TURN, AnchoredOrientation, AnchoredPosition
from scipy.spatial.transform import Rotation
from torch import Tensor

from posezoo.base.errors import UsageError
from posezoo.catalogue import settings
from posezoo.nn import geometry, place
from posezoo.nn.model import PoseModel
from posezoo.nn.outputs import Features
from posezoo.nn.place import Place, Target
from posezoo.testing import ModelConformance
from posezoo.zoo.build import create_model
from posezoo.zoo.find import read_config
from posezoo.zoo.saved import load, save

MEAN, STD = (10.0, -3.0, 1.0), (2.0, 3.0, 0.5)
SMALL: dict[str, Any] = {
    "backbone": "test_efficientnet.r160_in1k",
    "pretrained_backbone": False,
    "resize": 64,
    "crop": 64,
    "position_mean": MEAN,
    "position_std": STD,
    "anchors": {"count": 8, "images": 1, "key_dim": 16},
}
SLIM: dict[str, dict[str, Any]] = {
    "posenet": {"hidden": 16},
    "atloc": {"feature": 64},
    "ms-transformer": {
        **{"width": 32, "feedforward": 32, "hidden": 16, "position_layers": 1, "orientation_layers": 1},
        "scenes": ("attic", "barn"),
    },
}
HYPER = {"code_position": 8, "code_orientation": 12, "rank": 4}
ARCHITECTURES = tuple(SLIM)


def build(name: str = "posenet+anchors", seed: int = 0, **more: Any) -> PoseModel:
    """A small model with live residuals, in eval mode."""
    torch.manual_seed(seed)
    values = settings.merged(SMALL, SLIM[name.partition("+")[0]], {"hyper": HYPER}, more)
    absent = {key for key in ("hyper", "anchors") if f"+{key}" not in name}
    model = create_model(name, **{key: value for key, value in values.items() if key not in absent})
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if ".residual." in key:
                parameter.normal_(0, 0.3)
    return model


def images(batch: int, seed: int = 1) -> Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def quaternions(count: int, seed: int = 0) -> np.ndarray:
    """(N, 4) float64, w >= 0."""
    q_N4 = np.roll(Rotation.random(count, random_state=seed).as_quat(), 1, axis=-1)
    return np.where(q_N4[:, :1] < 0, -q_N4, q_N4)


def known(position: np.ndarray, quaternion: np.ndarray, embedding: Tensor, scene: np.ndarray | None = None) -> Place:
    scene = np.zeros(len(position), dtype=np.int64) if scene is None else scene
    return Place(position, quaternion, scene, np.full((len(position), 4), np.nan), lambda rows: embedding[list(rows)])


def random_place(model: PoseModel, count: int = 12, seed: int = 3) -> tuple[Place, Tensor]:
    """A place around the model's mean position, and its images."""
    pictures = images(count, seed)
    with torch.no_grad():
        embedding = model.encode(pictures).image
    position = np.array(MEAN) + np.random.default_rng(seed).normal(size=(count, 3)) * STD
    return known(position, quaternions(count, seed), embedding, np.arange(count) % len(model.config.scenes)), pictures


def loose(config: AnchorsConfig, scenes: int = 1, width: int = 6) -> Anchors:
    torch.manual_seed(0)
    return Anchors(config, width, scenes, MEAN, STD)


class TestConformance(ModelConformance):
    model = "posenet+anchors"
    settings = {"hidden": 16, "anchors": {"count": 20, "key_dim": 8}}
    infusions = ("", "+hyper=single")
    traced = ("",)


class TestConformanceOfScenes(ModelConformance):
    model = "ms-transformer+anchors"
    settings = {**SLIM["ms-transformer"], "scenes": ("attic", "barn", "cellar"), "anchors": {"count": 20, "key_dim": 8}}
    infusions = ("+hyper=two",)
    traced = ()


@pytest.mark.slow
def test_tracing_with_scenes() -> None:
    TestConformanceOfScenes().test_compile("+hyper=two")
    TestConformanceOfScenes().test_export("+hyper=two")


# Where anchors lie


def test_farthest_points_of_a_line_by_hand() -> None:
    """0..10: the middle, the ends, then what is farthest from those three."""
    points = np.arange(11.0)[:, None]
    rows, spacing = spread_out(points, 5)
    assert rows.tolist() == [5, 0, 10, 2, 7]
    assert spacing == 2.0, "nearest neighbours: 5-7 2, 0-2 2, 10-7 3, 2-0 2, 7-5 2"
    assert spread_out(points, 1)[0].tolist() == [5]
    assert sorted(spread_out(points, 99)[0]) == list(range(11))
    assert spread_out(points, 99)[1] == 1.0
    assert spread_out(points, 99, nearest=1.5)[0].tolist() == [5, 0, 10, 2, 7]  # none within 1.5 of another


def test_repeated_points_are_one() -> None:
    rows, spacing = spread_out(np.array([[0.0], [4], [0], [4], [4], [0]]), 5)
    assert sorted(rows.tolist()) == [0, 1]
    assert spacing == 4.0
    rows, spacing = spread_out(np.zeros((3, 2)), 5)
    assert rows.tolist() == [0]
    assert spacing == 0.0


def test_anchors_lie_where_they_must() -> None:
    """On a line looking one way, with a turned camera at its middle: a x the difference of directions counts too."""
    position = np.array(MEAN) + np.linspace(-5, 5, 11)[:, None] * [1.0, 0, 0]
    ahead = np.tile([1.0, 0, 0, 0], (11, 1))
    anchors = loose(AnchorsConfig(count=5, images=1))
    anchors.learn_place(known(position, ahead, torch.randn(11, 6)))
    assert anchors.scene.tolist() == [0] * 5
    np.testing.assert_allclose(anchors.offset.numpy()[:, 0], [0, -5, 5, -3, 2])
    assert float(anchors.scale) == pytest.approx(0.7 * 2)
    assert float(anchors.direction_m) == pytest.approx(math.sqrt(10.0)), "the spread of 0..10"
    about = position.copy()
    about[6], turned = about[5], ahead.copy()
    turned[6] = [0, 0, 1, 0]  # it looks back: 2 a away from one that stands at the same place
    anchors.learn_place(known(about, turned, torch.randn(11, 6)))
    chosen = anchors.quaternion[anchors.scene >= 0].numpy()
    assert np.abs(chosen @ turned[6]).max() == pytest.approx(1), "an anchor of its own"


def test_fewer_images_than_anchors() -> None:
    anchors = loose(AnchorsConfig(count=8, images=3))
    anchors.learn_place(known(np.random.default_rng(0).normal(size=(9, 3)), quaternions(9), torch.randn(9, 6)))
    assert anchors.scene.tolist() == [0] * 3 + [-1] * 5
    with torch.no_grad():
        weight = anchors.logits(torch.randn(4, 6), None).softmax(-1)
    assert weight[:, 3:].max() == 0
    assert anchors(torch.randn(4, 6), None).offset.isfinite().all()


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_images(count: int) -> None:
    """Every answer is finite, and so is every gradient; of one image it is its pose."""
    anchors, embedding = loose(AnchorsConfig(count=8)), torch.randn(count, 6)
    position, quaternion = np.array(MEAN) + np.arange(count)[:, None], quaternions(count)
    anchors.learn_place(known(position, quaternion, embedding))
    assert int((anchors.scene >= 0).sum()) == count
    assert all(value.isfinite().all() for value in anchors.state_dict().values())
    assert (anchors.keys.norm(dim=-1) > 0.1).all(), "every key has a direction"
    base = anchors(embedding, None)
    if count == 1:
        np.testing.assert_allclose(base.offset.detach().numpy() + MEAN, position, atol=1e-9)
    features = Features(embedding, embedding, embedding)
    target = Target(torch.from_numpy(position), torch.from_numpy(quaternion), None)
    anchors.extra_losses(features, None, target)["anchors"].backward()
    assert all(p.grad is None or p.grad.abs().max() < 1e3 for p in anchors.parameters())


def test_images_that_look_alike_keep_keys_with_a_direction() -> None:
    anchors = loose(AnchorsConfig(count=4, images=1))
    anchors.learn_place(known(np.random.default_rng(0).normal(size=(4, 3)), quaternions(4), torch.full((4, 6), 3.7)))
    assert (anchors.keys.norm(dim=-1) > 0.1).all()


def test_utm_coordinates_keep_their_millimetres(tmp_path: Path) -> None:
    """Also in half precision."""
    mean = (5_735_800.0, 620_000.0, 30.0)
    model = build(position_mean=mean)
    position = np.array(mean) + np.random.default_rng(0).uniform(-2000, 2000, (8, 3))
    place.learn_place(model, known(position, quaternions(8), torch.randn(8, model.image_dim)))
    save(model, tmp_path / "half", "card", dtype="float16")
    for one in (model, load(f"local-dir:{tmp_path / 'half'}")):
        found = one.anchors.offset.numpy() + mean
        distance = np.linalg.norm(found[:, None] - position[None], axis=-1).min(1)
        assert distance.max() < 1e-3


def test_a_scale_of_ones_own() -> None:
    anchors = loose(AnchorsConfig(count=4, scale=0.25), scenes=2)
    scene = np.arange(12) % 2
    anchors.learn_place(
        known(np.random.default_rng(0).normal(size=(12, 3)), quaternions(12), torch.randn(12, 6), scene)
    )
    assert anchors.scale.tolist() == [0.25, 0.25]


def test_the_head_is_believed_by_the_size_of_the_place() -> None:
    """c = 2 sigma x sigma / (the spread / 20): far beyond sigma in a room, well within it along a street."""
    sigmas, trusts = [], []
    for length_m in (4.0, 400.0):
        position = np.array(MEAN) + np.linspace(0, length_m, 401)[:, None] * [1.0, 0, 0]
        anchors = loose(AnchorsConfig(count=401))
        anchors.learn_place(known(position, np.tile([1.0, 0, 0, 0], (401, 1)), torch.randn(401, 6)))
        sigmas.append(float(anchors.scale))
        trusts.append(float(anchors.trust))
        assert trusts[-1] == pytest.approx(40 * sigmas[-1] ** 2 / position.std(axis=0)[0])
    assert trusts[0] > 5 * sigmas[0]
    assert trusts[1] < sigmas[1] / 2
    given = loose(AnchorsConfig(count=4, trust=0.7), scenes=2)
    assert given.trust.tolist() == pytest.approx([0.7, 0.7])


def test_each_scene_has_its_own(tmp_path: Path) -> None:
    """Of two scenes in one coordinate frame, one of them twice as large; and a third without images."""
    random, scene = np.random.default_rng(0), np.repeat([0, 2], 12)
    position = random.normal(size=(24, 3)) * np.where(scene == 0, 1.0, 2.0)[:, None]
    anchors = loose(AnchorsConfig(count=4), scenes=3)
    anchors.learn_place(known(position, quaternions(24), torch.randn(24, 6), scene))
    assert anchors.scene.tolist() == [0] * 4 + [-1] * 4 + [2] * 4
    for number in (0, 2):
        own = position[scene == number]
        offset = anchors.offset[anchors.scene == number].numpy() + MEAN
        assert np.linalg.norm(offset[:, None] - own[None], axis=-1).min(1).max() < 1e-9
    assert anchors.scale[2] > 1.3 * anchors.scale[0]


def tilted(deg: float) -> np.ndarray:
    """Cameras of every heading that roll and nod by +-`deg` in turn."""
    turns = [(heading, *tilt) for heading in range(0, 360, 30) for tilt in ((deg, 0), (-deg, 0), (0, deg), (0, -deg))]
    q_N4 = np.roll(Rotation.from_euler("YXZ", turns, degrees=True).as_quat(), 1, axis=-1)
    return np.where(q_N4[:, :1] < 0, -q_N4, q_N4)


@pytest.mark.parametrize(
    ("tilt_deg", "own", "turn_deg"),
    [(0.0, None, 1.0), (2.0, None, math.sqrt(2) ** 3), (30.0, None, 90.0), (30.0, 3.0, 3.0)],
)
def test_the_belief_in_the_orientation_head_follows_the_tilts(
    tilt_deg: float, own: float | None, turn_deg: float
) -> None:
    """A car's camera, something between, a hand's, and a value of one's own."""
    anchors, q_N4 = loose(AnchorsConfig(count=4, turn_deg=own)), tilted(tilt_deg)
    anchors.learn_place(known(np.random.default_rng(0).normal(size=(len(q_N4), 3)), q_N4, torch.randn(len(q_N4), 6)))
    assert math.degrees(anchors.turn.item()) == pytest.approx(turn_deg, rel=0.01)


# Base poses


def base_by_numpy(anchors: Anchors, logit_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the anchors within 4 sigma of the strongest."""
    offset, quaternion = anchors.offset.numpy(), anchors.quaternion.double().numpy()
    view = Rotation.from_quat(np.roll(quaternion, -1, axis=-1)).as_matrix()[:, :, 2]
    best = logit_K.argmax()
    scene = int(anchors.scene[best])
    a, sigma = float(anchors.direction_m[scene]), float(anchors.scale[scene])
    v = np.concatenate([offset, a * view], axis=1)
    counts = (np.linalg.norm(v - v[best], axis=1) < NEIGHBOURHOOD * sigma) & (anchors.scene.numpy() == scene)
    weight = np.exp(logit_K - logit_K[best]) * counts
    weight /= weight.sum()
    mean = (weight * np.where(quaternion @ quaternion[best] < 0, -1, 1)) @ quaternion
    return weight @ offset, mean / np.linalg.norm(mean)


@pytest.mark.parametrize("sigma", [None, 0.3, 2.0, 100.0])
def test_the_base_pose_by_numpy(sigma: float | None) -> None:
    anchors = loose(AnchorsConfig(count=10, images=1, scale=sigma, key_dim=5))
    position = np.array(MEAN) + np.random.default_rng(0).normal(size=(14, 3)) * 2
    anchors.learn_place(known(position, quaternions(14), torch.randn(14, 6)))
    image_BE = torch.randn(7, 6)
    with torch.no_grad():
        logit_BK, base = anchors.logits(image_BE, None), anchors(image_BE, None)
    key = (image_BE @ anchors.project.weight.T + anchors.project.bias).detach().double().numpy()
    key /= np.linalg.norm(key, axis=1, keepdims=True)
    keys = anchors.keys.detach().double().numpy()
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    np.testing.assert_allclose(logit_BK, 20 * key @ keys.T, rtol=1e-4, atol=1e-4)
    for n in range(7):
        offset, quaternion = base_by_numpy(anchors, logit_BK[n].double().numpy())
        np.testing.assert_allclose(base.offset[n], offset, atol=1e-5)
        assert abs(abs(quaternion @ base.quaternion[n].numpy()) - 1) < 1e-9
        assert float(base.scale[n]) == float(anchors.scale)


def test_an_image_of_an_anchor_is_at_its_pose() -> None:
    """Embeddings that differ, poses that are far apart: the anchor's own pose; near ones share a little."""
    torch.manual_seed(0)
    embedding = torch.randn(9, 32)
    position = np.array(MEAN) + 10 * np.array([[i, j, 0.0] for i in range(3) for j in range(3)])
    anchors = loose(AnchorsConfig(count=9, images=1, key_dim=32, scale=2.0), width=32)
    anchors.learn_place(known(position, quaternions(9), embedding))
    with torch.no_grad():
        base = anchors(embedding, None)
    np.testing.assert_allclose(base.offset.numpy() + MEAN, position, atol=1e-6)
    assert np.abs(np.abs((base.quaternion.numpy() * quaternions(9)).sum(-1)) - 1).max() < 1e-6
    anchors.scale.fill_(20.0)  # all are near now
    with torch.no_grad():
        away = np.linalg.norm(anchors(embedding, None).offset.numpy() + MEAN - position, axis=-1)
    assert 0 < away.max() < 0.5


def test_an_anchor_of_another_scene_never_counts() -> None:
    """Whatever the images and the model: both scenes lie in one frame, each with anchors at the other's."""
    anchors = loose(AnchorsConfig(count=6, images=1, scale=100.0), scenes=2)
    position = np.array(MEAN) + np.random.default_rng(0).normal(size=(12, 3))
    scene = np.arange(12) % 2
    position[scene == 1] += [0.0, 0.0, 50.0]
    anchors.learn_place(known(position, quaternions(12), torch.randn(12, 6), scene))
    image_BE, scene_B = 3 * torch.randn(40, 6), torch.arange(40) % 2
    with torch.no_grad():
        height_B = anchors(image_BE, scene_B).offset[:, 2] + MEAN[2]
        assert ((height_B > 25) == (scene_B == 1)).all()
        # a model that knows no scene: those of the strongest anchor's
        best_B = anchors.logits(image_BE, None).argmax(-1)
        height_B = anchors(image_BE, None).offset[:, 2] + MEAN[2]
        assert ((height_B > 25) == (anchors.scene[best_B] == 1)).all()
        assert (height_B - 50 * (anchors.scene[best_B] == 1)).abs().max() < 10, "no mean of both"
    features = Features(image_BE, image_BE, image_BE, None, scene_B)
    target = Target(torch.from_numpy(position[:2].repeat(20, 0)), torch.from_numpy(quaternions(40)), scene_B)
    anchors.extra_losses(features, None, target)["anchors"].backward()
    moved = anchors.keys.grad.abs().sum(1) > 0
    assert moved.any()
    anchors.keys.grad = None
    only = Features(*(x[:1] for x in (image_BE, image_BE, image_BE)), None, scene_B[:1])
    anchors.extra_losses(only, None, Target(*(x[:1] for x in target)))["anchors"].backward()
    assert anchors.keys.grad[anchors.scene == 1].abs().max() == 0


# Losses


@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_the_cross_entropy_by_numpy(scale: float) -> None:
    """With scenes, unused anchors, and true poses hundreds of sigmas from every anchor."""
    anchors = loose(AnchorsConfig(count=4, images=2, scale=scale, weight=0.3), scenes=2)
    position, scene = np.array(MEAN) + 5 * np.random.default_rng(0).normal(size=(12, 3)), np.array([0] * 8 + [1] * 4)
    anchors.learn_place(known(position, quaternions(12), torch.randn(12, 6), scene))
    assert anchors.scene.tolist() == [0] * 4 + [1] * 2 + [-1] * 2
    image_BE, scene_B = torch.randn(5, 6), torch.tensor([0, 1, 1, 0, 1])
    true, turned = np.array(MEAN) + 5 * np.random.default_rng(1).normal(size=(5, 3)), quaternions(5, seed=1)
    target = Target(torch.from_numpy(true), torch.from_numpy(turned), scene_B)
    with torch.no_grad():
        loss = anchors.extra_losses(Features(image_BE, image_BE, image_BE, None, scene_B), None, target)
        logit_BK = anchors.logits(image_BE, None).double().numpy()
    assert set(loss) == {"anchors"}
    view = Rotation.from_quat(np.roll(anchors.quaternion.numpy(), -1, axis=-1)).as_matrix()[:, :, 2]
    expected = []
    for n in range(5):
        own = anchors.scene.numpy() == int(scene_B[n])
        a = float(anchors.direction_m[scene_B[n]])
        looks = Rotation.from_quat(np.roll(turned[n], -1)).as_matrix()[:, 2]
        square = np.square(true[n] - MEAN - anchors.offset.numpy()).sum(1) + a**2 * np.square(looks - view).sum(1)
        wanted = np.exp(-(square[own] - square[own].min()) / (2 * scale**2))
        wanted /= wanted.sum()
        logit = logit_BK[n][own]
        expected.append(-(wanted * (logit - np.log(np.exp(logit).sum()))).sum())
    assert float(loss["anchors"]) == pytest.approx(0.3 * np.mean(expected), rel=1e-4)


def both_answers(model: PoseModel, features: Features) -> tuple[np.ndarray, ...]:
    """(head's position, anchors' position, head's rotation, anchors' rotation) by numpy and scipy, from the numbers."""
    given = features.image, features.scene
    position, orientation = model.position_head, model.orientation_head
    with torch.no_grad():
        t = position.numbers(features.position, *given).double().numpy()
        r = orientation.numbers(features.orientation, *given).double().numpy()
        base = model.anchors(*given)
    offset, scale = base.offset.numpy(), base.scale.double().numpy()
    turn = Rotation.from_quat(np.roll(base.quaternion.numpy(), -1, axis=-1))
    own = geometry.to_quaternion(torch.from_numpy(r[:, :-3]), model.config.rotation).numpy()
    residual = Rotation.from_rotvec(TURN * r[:, -3:])
    return (
        t[:, :3] * STD,
        offset + scale * turn.apply(t[:, 3:]),
        Rotation.from_quat(np.roll(own, -1, axis=-1)),
        turn * residual,
    )


@pytest.mark.parametrize(
    "name", ["posenet+anchors", "atloc+anchors", "ms-transformer+anchors", "posenet+anchors+hyper"]
)
def test_both_answers_have_losses(name: str) -> None:
    """log of the mean distance in sigmas, and of the mean Frobenius distance, of each answer alone."""
    model = build(name)
    learned, pictures = random_place(model)
    place.learn_place(model, learned)
    scene_B = torch.from_numpy(learned.scene) if len(model.config.scenes) > 1 else None
    with torch.no_grad():
        features = model.encode(pictures, scene_B)
        target = Target(torch.from_numpy(learned.position + 1), torch.from_numpy(quaternions(12, seed=9)), scene_B)
        losses = place.extra_losses(model, features, model.pose_of(features), target)
    assert set(losses) == {"anchors", "answers_position", "answers_orientation"}
    p, a, own, turned = both_answers(model, features)
    true, sigma = learned.position + 1 - MEAN, model.anchors.scale.double().mean().item()
    metres = [np.linalg.norm(answer - true, axis=1).mean() / sigma for answer in (p, a)]
    expected = sum(np.log(error + FLOOR) for error in metres)
    assert float(losses["answers_position"]) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    matrices = Rotation.from_quat(np.roll(target.quaternion.numpy(), -1, axis=-1)).as_matrix()
    chords = [np.linalg.norm(answer.as_matrix() - matrices, axis=(1, 2)).mean() for answer in (own, turned)]
    expected = sum(np.log(error + FLOOR) for error in chords)
    assert float(losses["answers_orientation"]) == pytest.approx(expected, rel=1e-4, abs=1e-4)


# The answer


@pytest.mark.parametrize("rotation", ["quaternion", "log-quaternion", "6d", "9d"])
def test_the_answer_by_numpy(rotation: str) -> None:
    """a + (p - a) / (1 + (d / c)^4) for positions; the same on the shorter arc of quaternions."""
    model = build(rotation=rotation, anchors={"trust": 0.8, "turn_deg": 15.0})
    learned, pictures = random_place(model)
    place.learn_place(model, learned)
    with torch.no_grad():
        features, output = model.encode(pictures), model(pictures)
    p, a, own, turned = both_answers(model, features)
    c, d = 0.8, np.linalg.norm(p - a, axis=1, keepdims=True)
    answer = a + (p - a) / (1 + (d / c) ** 4)
    np.testing.assert_allclose(output.position.numpy(), answer + MEAN, atol=1e-5)
    q, b = own.as_quat(), turned.as_quat()
    q = q * np.where((q * b).sum(1, keepdims=True) < 0, -1, 1)
    c, d = math.radians(15) / 2, np.linalg.norm(q - b, axis=1, keepdims=True)
    mean = Rotation.from_quat(b + (q - b) / (1 + (d / c) ** 4))
    found = Rotation.from_quat(np.roll(output.quaternion.double().numpy(), -1, axis=-1))
    assert np.degrees((found * mean.inv()).magnitude()).max() < 0.01


@pytest.mark.parametrize(("apart_m", "own_share"), [(1e-4, 1.0), (100.0, 0.0), (0.5, 0.5)])
def test_who_is_believed(apart_m: float, own_share: float) -> None:
    """The head where both agree, the anchors where they are far apart, both alike at trust."""
    config = AnchorsConfig(count=1, scale=1.0, trust=0.5)
    anchors = loose(config)
    position_head = AnchoredPosition(build("posenet").position_head, anchors, STD)
    anchors.learn_place(known(np.array([MEAN]), quaternions(1), torch.ones(1, 6)))
    numbers = torch.zeros(1, 6)
    numbers[0, 0] = apart_m / STD[0]  # the anchors say 0
    answer = position_head.finish(numbers, torch.zeros(1, 16), torch.ones(1, 6), None).detach()
    assert float(answer[0, 0]) * STD[0] == pytest.approx(own_share * apart_m, abs=3e-3)


@pytest.mark.parametrize(("apart_deg", "own_share"), [(0.01, 1.0), (170.0, 0.0), (4.0, 0.5)])
def test_who_is_believed_in_orientation(apart_deg: float, own_share: float) -> None:
    anchors = loose(AnchorsConfig(count=1, turn_deg=4.0))
    head = AnchoredOrientation(build("posenet").orientation_head, anchors, "quaternion", "camera-to-world")
    anchors.learn_place(known(np.array([MEAN]), np.array([[1.0, 0, 0, 0]]), torch.ones(1, 6)))
    half = math.radians(apart_deg) / 2
    numbers = torch.tensor([[-math.cos(half), 0, -math.sin(half), 0, 0, 0, 0]])  # of the other sign
    answer = head.finish(numbers, torch.zeros(1, 16), torch.ones(1, 6), None).detach()
    turned_deg = 2 * math.degrees(math.atan2(float(answer[0, 2]), float(answer[0, 0])))
    assert turned_deg == pytest.approx(own_share * apart_deg, abs=0.2)


@pytest.mark.parametrize("label_frame", ["camera-to-world", "world-to-camera", "body-to-world"])
def test_label_frames(label_frame: str) -> None:
    """The head's own numbers mean what the model's labels mean; where the anchors decide, the answer is their pose."""
    model = build(label_frame=label_frame, anchors={"turn_deg": 1e-3, "trust": 1e-6})
    learned, pictures = random_place(model, 4)
    place.learn_place(model, learned)
    for head in (model.position_head, model.orientation_head):
        for parameter in head.residual.parameters():
            torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        output = model(pictures)
        base = model.anchors(model.encode(pictures).image, None)
    assert geometry.angle_deg(output.quaternion.double(), base.quaternion).max() < 0.01
    np.testing.assert_allclose(output.position.numpy(), base.offset.numpy() + MEAN, atol=1e-4)


def test_a_moved_world_moves_the_answers() -> None:
    """Turn and shift the world: anchors' poses and their losses go along. (The head's own numbers would be learned.)"""
    position = np.array(MEAN) + np.random.default_rng(0).normal(size=(12, 3)) * 3
    q, embedding, image_BE = quaternions(12), torch.randn(12, 6), torch.randn(5, 6)
    turn, shift = Rotation.from_euler("xyz", [0.3, -1.1, 2.0]), np.array([100.0, -20.0, 7.0])
    moved_q = np.roll((turn * Rotation.from_quat(np.roll(q, -1, axis=-1))).as_quat(), 1, axis=-1)
    here, there = loose(AnchorsConfig(count=6, images=1)), loose(AnchorsConfig(count=6, images=1))
    moved_mean = turn.apply(MEAN) + shift
    there.mean_3 = moved_mean
    here.learn_place(known(position, q, embedding))
    there.learn_place(known(turn.apply(position) + shift, moved_q, embedding))
    with torch.no_grad():
        one, other = here(image_BE, None), there(image_BE, None)
    np.testing.assert_allclose(other.offset.numpy(), turn.apply(one.offset.numpy()), atol=1e-5)
    rotated = turn * Rotation.from_quat(np.roll(one.quaternion.numpy(), -1, axis=-1))
    found = Rotation.from_quat(np.roll(other.quaternion.numpy(), -1, axis=-1))
    assert (rotated * found.inv()).magnitude().max() < 1e-5
    features = Features(image_BE, image_BE, image_BE)
    losses = []
    for anchors, p, r in ((here, position, q), (there, turn.apply(position) + shift, moved_q)):
        target = Target(torch.from_numpy(p[:5]), torch.from_numpy(r[:5]), None)
        losses.append(anchors.extra_losses(features, None, target)["anchors"].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# With every architecture and infusion


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("infusion", ["residual", "single", "two"])
def test_a_hypernetwork_generates_the_residual(name: str, infusion: str) -> None:
    """Its zero start is bit-equal to the base with anchors; then the numbers of the residuals are generated too."""
    model = build(f"{name}+anchors+hyper={infusion}")
    learned, pictures = random_place(model)
    place.learn_place(model, learned)
    plain = copy.deepcopy(model)
    for head in ("position_head", "orientation_head"):
        setattr(plain, head, getattr(plain, head).base)
    with torch.no_grad():
        for one, other in zip(model(pictures), plain(pictures), strict=True):
            assert one is other or torch.equal(one, other)
    features = model.encode(pictures)
    for head, latent in ((model.position_head, features.position), (model.orientation_head, features.orientation)):
        numbers = head.numbers(latent, features.image, features.scene)
        numbers[:, -3:].square().sum().backward(retain_graph=True)
        generated = [value.grad for key, value in head.named_parameters() if key.startswith("generated")]
        assert any(gradient is not None and gradient.abs().max() > 0 for gradient in generated)


def test_anchors_come_before_a_hypernetwork() -> None:
    with pytest.raises(UsageError, match=naming("+anchors", "+hyper")) as error:
        build("posenet+hyper+anchors")
    assert "+anchors+hyper" in error.value.hint


@pytest.mark.parametrize("name", [*(f"{a}+anchors" for a in ARCHITECTURES), "ms-transformer+anchors+hyper"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_saved_and_loaded(name: str, dtype: str, tmp_path: Path) -> None:
    """The same poses; in half precision within a centimetre, and the keys take half the bytes."""
    model = build(name)
    learned, pictures = random_place(model)
    place.learn_place(model, learned)
    save(model, tmp_path / "m", "card", dtype=dtype)
    again = load(f"local-dir:{tmp_path / 'm'}")
    with torch.no_grad():
        one, other = model(pictures), again(pictures)
    if dtype == "float32":
        assert torch.equal(one.position, other.position)
        assert torch.equal(one.quaternion, other.quaternion)
    else:
        assert 0 < (one.position - other.position).norm(dim=-1).max() < 0.01
        assert geometry.angle_deg(one.quaternion, other.quaternion).max() < 0.5
    assert torch.equal(again.anchors.offset, model.anchors.offset)
    config = read_config(tmp_path / "m")
    assert config["modifiers"]["anchors"]["count"] == 8
    assert config["disclosures"] == [Anchors.disclosure]


def test_the_whole_answers_in_bfloat16_too() -> None:
    """A kilometre from the mean: base poses are not rounded to the 4 m that bfloat16 has there."""
    model = build(position_std=(500.0, 500.0, 1.0))
    position = np.array(MEAN) + np.array([[1000.0, 7.3, 0], [-1000, 3.1, 0], [0, 900.7, 0]])
    learned = known(position, quaternions(3), torch.eye(3, model.image_dim))
    place.learn_place(model, learned)
    embedding = torch.eye(3, model.image_dim)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        base = model.anchors(embedding, None)
    assert np.linalg.norm(base.offset.numpy() + MEAN - position, axis=1).max() < 1e-6
