"""Converted models against an independent implementation on the authors' names (tests/authors_compute.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import authors
import authors_compute as compute
import pytest
import torch
from naming import naming
from small_conversions import PIXELS
from torch import Tensor
from torch.nn import functional as F

from posezoo.base.errors import UsageError
from posezoo.nn import geometry
from posezoo.nn.model import PoseModel
from posezoo.zoo.convert import mapped

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 256, 224)
NARROW = ((12, 6), (10, 8))  # generated hidden widths: the published ones make 509 MB


def converted(state: authors.State, source: str, data: str, **overrides: Any) -> PoseModel:
    model, unused = mapped(state, source, data, overrides, "theirs.pth")
    assert unused == tuple(key for key in state if "._fc." in key or ".aux" in key)
    return model


def pixels(model: PoseModel) -> tuple[Any, ...]:
    """Mean, deviation, short edge, crop."""
    return model.config.mean, model.config.std, model.config.resize, model.config.crop


def images() -> Tensor:
    """Three images of coloured squares, unlike each other."""
    squares = 2 * torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(5))
    return F.interpolate(squares, size=64, mode="nearest")


def close(ours: Tensor, theirs: Tensor) -> None:
    """Equal within 1e-4 of the size of the numbers, which differ from image to image."""
    size = theirs.abs().max().item()
    assert theirs.std(0).max() > 1e-2 * size, "all images alike: the comparison says nothing"
    torch.testing.assert_close(ours.float(), theirs, rtol=0, atol=1e-4 * size)


def single(forward: Callable[..., list[Tensor]], model: PoseModel, state: authors.State) -> None:
    with torch.no_grad():
        position, rotation = forward(state, images())
        out = model(images())
    close(out.position, position)
    close(out.rotation, rotation)


@pytest.mark.parametrize(("source", "hyper"), [("hyperpose", False), ("ms-transformer", False), ("hyperpose", True)])
def test_posenet(source: str, hyper: bool) -> None:
    torch.manual_seed(0)
    state = authors.posenet(hyper)
    assert ("backbone._conv_stem.weight" in state) is not hyper
    model = converted(state, source, "7scenes-chess")
    single(compute.posenet_forward, model, state)
    assert model.name == ("posenet+hyper" if hyper else "posenet")
    assert model.config.scenes == ("chess",)
    assert pixels(model) == IMAGENET


@pytest.mark.parametrize(("hyper", "auxiliary"), [(False, True), (True, False)])
def test_posenet_on_googlenet(hyper: bool, auxiliary: bool) -> None:
    torch.manual_seed(6)
    state = authors.posenet(hyper, "googlenet", auxiliary)
    model = converted(state, "hyperpose", "cambridge-old-hospital")
    single(compute.posenet_forward, model, state)
    assert (model.config.backbone, model.image_dim) == ("torchvision:googlenet", 1000)
    assert pixels(model) == IMAGENET


@pytest.mark.parametrize("name", ["backbone.", "_backbone."])
@pytest.mark.parametrize("hyper", [False, True])
def test_either_name_of_the_backbone(name: str, hyper: bool) -> None:
    torch.manual_seed(0)
    state = {
        key.replace("_backbone.", "backbone.").replace("backbone.", name): v
        for key, v in authors.posenet(hyper).items()
    }
    assert converted(state, "hyperpose", "7scenes-chess").name.startswith("posenet")


@pytest.mark.parametrize(
    ("source", "hyper", "rotation"),
    [
        ("atloc", False, 3),
        ("hyperatloc", False, 3),
        ("hyperatloc", True, 3),
        ("hyperatloc", True, 4),
        ("hyperpose", False, 4),
        ("hyperpose", True, 4),
        ("atloc", False, 4),
    ],
)
def test_atloc(source: str, hyper: bool, rotation: int) -> None:
    """A log-quaternion: the set's own pixels, which are asked for. A quaternion: HyperPose's, ImageNet's."""
    torch.manual_seed(1)
    state = authors.atloc(hyper, rotation)
    own = PIXELS if rotation == 3 else {}
    model = converted(state, source, "7scenes-heads", **own)
    single(compute.atloc_forward, model, state)
    assert model.name == ("atloc+hyper" if hyper else "atloc")
    assert model.config.rotation == {3: "log-quaternion", 4: "quaternion"}[rotation]
    assert pixels(model) == ((*PIXELS.values(), 256, 256) if own else IMAGENET)


@pytest.mark.parametrize("hyper", [False, True])
@pytest.mark.parametrize("names", [authors.LSTMS, ("across", "down"), ("z.0", "a.1")])
def test_atloc_lstm(names: tuple[str, str], hyper: bool) -> None:
    torch.manual_seed(7)
    state = authors.atloc(hyper, 4, names)
    model = converted(state, "hyperpose", "7scenes-heads")
    double = {key: value.double() for key, value in state.items()}  # in single the gates leave three digits
    with torch.no_grad():
        position, rotation = compute.atloc_forward(double, images().double(), names)
        out = model.double()(images().double())
    torch.testing.assert_close(out.position, position, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(out.rotation, rotation.float(), rtol=1e-6, atol=1e-6)
    assert (model.config.attention, model.image_dim) == ("lstm", 1024)  # type: ignore[attr-defined]


def test_atloc_lstm_of_atloc_itself_asks_for_pixels() -> None:
    torch.manual_seed(7)
    state = authors.atloc(lstms=authors.LSTMS)
    with pytest.raises(UsageError, match=naming("mean", "std")):
        mapped(state, "atloc", "7scenes-heads", {}, "theirs.pth")
    assert pixels(converted(state, "atloc", "7scenes-heads", **PIXELS))[2:] == (256, 256)


def test_robotcar_files_have_their_own_pixels_whatever_they_regress() -> None:
    torch.manual_seed(1)
    state, place = authors.atloc(True, 4), {"position_mean": (1.0, 2.0, 3.0), "position_std": (1.0, 2.0, 3.0)}
    with pytest.raises(UsageError, match=naming("mean", "std")):
        mapped(state, "hyperatloc", "robotcar-loop", place, "theirs.pth")
    model = converted(state, "hyperatloc", "robotcar-loop", **place, **PIXELS)
    assert pixels(model) == (*PIXELS.values(), 256, 256)


def multi(state: authors.State, *names: str) -> PoseModel:
    model = converted(state, *names)
    with torch.no_grad():
        position, rotation, logits = compute.ms_forward(state, images())
        out = model(images())
    assert out.scene_logits is not None
    torch.testing.assert_close(out.scene_logits, logits, rtol=0, atol=1e-4 * logits.abs().max().item())
    assert torch.equal(out.scene, logits.argmax(-1))
    close(out.position, position)
    close(out.rotation, rotation)
    return model


@pytest.mark.parametrize(
    ("source", "data", "layers", "shared"),
    [
        ("ms-transformer", "7scenes", (2, 1), False),
        ("ms-transformer", "cambridge", (1, 1), False),
        ("hyperpose", "cambridge", (1, 2), True),
        ("ms-transformer", "7scenes", (1, 1), True),
        pytest.param("ms-transformer", "7scenes", (6, 4), False, marks=pytest.mark.slow),
        pytest.param("ms-transformer", "cambridge", (6, 6), False, marks=pytest.mark.slow),
    ],
)
def test_ms_transformer(source: str, data: str, layers: tuple[int, int], shared: bool) -> None:
    torch.manual_seed(2)
    scenes = {"7scenes": 7, "cambridge": 4}[data]
    model: Any = multi(authors.ms_transformer(scenes, layers, shared), source, data)
    assert (len(model.position.encoder), len(model.orientation.decoder)) == layers
    assert (model.name, len(model.config.scenes)) == ("ms-transformer", scenes)


@pytest.mark.parametrize(
    ("data", "layers", "hidden"),
    [
        ("7scenes", (1, 1), NARROW),
        pytest.param("7scenes", (4, 4), ((256, 128), (512, 512)), marks=pytest.mark.slow),
        pytest.param("cambridge", (4, 4), ((256, 128), (512, 512)), marks=pytest.mark.slow),
    ],
)
def test_ms_hyperpose(data: str, layers: tuple[int, int], hidden: Any) -> None:
    torch.manual_seed(3)
    scenes = {"7scenes": 7, "cambridge": 4}[data]
    model = multi(authors.ms_transformer(scenes, layers, True, hidden), "hyperpose", data)
    assert model.name == "ms-transformer+hyper"
    assert model.config.scenes[0] == {"7scenes": "chess", "cambridge": "KingsCollege"}[data]
    if hidden != NARROW:
        generators = [p for key, p in model.named_parameters() if ".generator." in key]
        assert sum(p.numel() for p in generators) == 127_309_319


def test_cambridge_labels_are_turned_round() -> None:
    torch.manual_seed(4)
    state = authors.posenet()
    model = converted(state, "hyperpose", "cambridge-shop-facade")
    assert model.config.label_frame == "world-to-camera"
    with torch.no_grad():
        position, rotation = compute.posenet_forward(state, images())
        out = model(images())
    world_to_camera = geometry.matrix_from_quaternion(geometry.unit(rotation))
    camera_to_world = geometry.matrix_from_quaternion(out.quaternion)
    torch.testing.assert_close(camera_to_world, world_to_camera.mT, atol=1e-4, rtol=0)
    assert (out.quaternion[:, 0] >= 0).all()
    close(out.position, position)  # camera centres already


def test_robotcar_labels_are_normalised_body_poses() -> None:
    torch.manual_seed(5)
    state = authors.atloc()
    state["fc_wpqr.weight"] *= 1e-3  # a rotation of a few radians, not of thousands
    place = {"position_mean": (5735000.0, 620000.0, 110.0), "position_std": (120.0, 210.0, 3.0)}
    model = converted(state, "atloc", "robotcar-loop", **PIXELS, **place)
    with torch.no_grad():
        position, rotation = compute.atloc_forward(state, images())
        out = model(images())
    expected = position.double() * torch.tensor(place["position_std"]) + torch.tensor(
        place["position_mean"], dtype=torch.float64
    )
    expected[:, 2] *= -1  # their altitude is our down
    torch.testing.assert_close(out.position, expected, rtol=0, atol=1e-4 * position.abs().max().item() * 210)
    body_to_world = geometry.matrix_from_quaternion(geometry.to_quaternion(rotation, "log-quaternion"))
    right, down, forward = geometry.matrix_from_quaternion(out.quaternion).unbind(-1)  # the camera's axes in the world
    for axis, body in ((right, 1), (down, 2), (forward, 0)):  # of the body: x forward, y right, z down
        torch.testing.assert_close(axis, body_to_world[..., body], atol=1e-4, rtol=0)
