"""The pose loss: its formulas by hand, and finite values and gradients where they are hard."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from posezoo.nn import geometry
from posezoo.nn.losses import ROTATION_LOSSES, PoseLoss, norm, rotation_loss
from posezoo.nn.outputs import PoseOutput

F64 = torch.float64
REPRESENTATIONS = tuple(geometry.NUMBERS)
TURN_180 = [[0.0, 1, 0, 0], [0.0, 0, 1, 0], [0.0, 0, 0, 1], [0.0, 0.6, 0, 0.8]]
TURNS = [[1.0, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], [1e-9, 1.0, 0, 0], [math.cos(1e-9), math.sin(1e-9), 0, 0], *TURN_180]


def numbers(q_B4: Tensor, representation: str) -> Tensor:
    """Head numbers that stand for these rotations."""
    match representation:
        case "log-quaternion":
            return geometry.log_quaternion(q_B4)
        case "6d":
            return geometry.matrix_from_quaternion(q_B4)[..., :2].mT.flatten(-2)
        case "9d":
            return geometry.matrix_from_quaternion(q_B4).flatten(-2)
    return q_B4


def random_quaternions(count: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return geometry.canonical(geometry.unit(torch.randn(count, 4, generator=generator, dtype=dtype)))


def output(position_B3: Tensor, rotation_BR: Tensor, logits_BS: Tensor | None = None) -> PoseOutput:
    return PoseOutput(position_B3, rotation_BR, torch.zeros(len(rotation_BR), 4), logits_BS, None)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("representation", REPRESENTATIONS)
@pytest.mark.parametrize("kind", ROTATION_LOSSES)
def test_value_and_gradient_are_finite_everywhere(kind: str, representation: str, dtype: torch.dtype) -> None:
    target_B4 = geometry.canonical(torch.tensor(TURNS, dtype=dtype))
    turned_B4 = geometry.compose(target_B4, torch.tensor(TURN_180[0], dtype=dtype).expand_as(target_B4))
    cases = [numbers(target_B4, representation), numbers(turned_B4, representation)]
    cases += [torch.zeros_like(cases[0]), -cases[0], cases[0] * 1e-12, cases[0] * 1e4]
    for rotation_BR in cases:
        rotation_BR = rotation_BR.clone().requires_grad_()
        loss_B = rotation_loss(rotation_BR, target_B4, representation, kind)
        assert loss_B.shape == (len(TURNS),)
        assert torch.isfinite(loss_B).all()
        loss_B.sum().backward()
        assert torch.isfinite(rotation_BR.grad).all(), (kind, representation, rotation_BR)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
@pytest.mark.parametrize("kind", ROTATION_LOSSES)
def test_a_perfect_rotation_costs_nothing(kind: str, representation: str) -> None:
    q_B4 = random_quaternions(50)
    loss_B = rotation_loss(numbers(q_B4, representation), q_B4, representation, kind)
    # 9d: the fixed diagonal of the SVD (geometry.matrix_from_9d)
    assert loss_B.max() < (1e-4 if representation == "9d" else 1e-9)


@given(st.integers(0, 2**31), st.sampled_from(["sign-free", "matrix", "log"]))
def test_signs_do_not_matter(seed: int, kind: str) -> None:
    own_B4, target_B4 = random_quaternions(8, seed), random_quaternions(8, seed + 1)
    loss_B = rotation_loss(own_B4, target_B4, "quaternion", kind)
    torch.testing.assert_close(rotation_loss(-own_B4, target_B4, "quaternion", kind), loss_B)
    torch.testing.assert_close(rotation_loss(own_B4, -target_B4, "quaternion", kind), loss_B)
    torch.testing.assert_close(rotation_loss(target_B4, own_B4, "quaternion", kind), loss_B)


@given(st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_length_of_a_quaternion_does_not_matter(seed: int, length: float) -> None:
    own_B4, target_B4 = random_quaternions(8, seed), random_quaternions(8, seed + 1)
    for kind in ROTATION_LOSSES:
        expected_B = rotation_loss(own_B4, target_B4, "quaternion", kind)
        torch.testing.assert_close(rotation_loss(own_B4 * length, target_B4, "quaternion", kind), expected_B)


def test_formulas() -> None:
    own_B4, target_B4 = random_quaternions(20, 1) * 3, random_quaternions(20, 2)
    unit_B4 = own_B4 / own_B4.norm(dim=-1, keepdim=True)
    plain_B = (unit_B4 - target_B4).norm(dim=-1)
    torch.testing.assert_close(rotation_loss(own_B4, target_B4, "quaternion", "quaternion"), plain_B)
    free_B = torch.minimum(plain_B, (unit_B4 + target_B4).norm(dim=-1))
    torch.testing.assert_close(rotation_loss(own_B4, target_B4, "quaternion", "sign-free"), free_B)
    # chordal distance: ||R - R'||_F = 2 sqrt(2) sin(angle / 2)
    angle_B = torch.deg2rad(geometry.angle_deg(unit_B4, target_B4))
    expected_B = 2 * math.sqrt(2) * torch.sin(angle_B / 2)
    torch.testing.assert_close(rotation_loss(own_B4, target_B4, "quaternion", "matrix"), expected_B)
    difference_B3 = geometry.log_quaternion(unit_B4) - geometry.log_quaternion(target_B4)
    torch.testing.assert_close(rotation_loss(own_B4, target_B4, "quaternion", "log"), difference_B3.abs().sum(-1))


def test_the_published_quaternion_loss_depends_on_the_sign() -> None:
    q_B4 = random_quaternions(5)
    torch.testing.assert_close(rotation_loss(-q_B4, q_B4, "quaternion", "quaternion"), torch.full((5,), 2.0, dtype=F64))


def test_learned_balance() -> None:
    position_B3, rotation_B4 = torch.randn(4, 3).double(), torch.randn(4, 4)
    loss = PoseLoss(start=(-3.0, -6.5))
    terms = loss(output(position_B3, rotation_B4), torch.zeros(4, 3).double(), random_quaternions(4))
    l_x, l_q = position_B3.norm(dim=-1).mean().float(), terms.rotation
    torch.testing.assert_close(terms.position, l_x)
    torch.testing.assert_close(terms.total, l_x * math.exp(3.0) - 3.0 + l_q * math.exp(6.5) - 6.5)
    terms.total.backward()
    # d/ds [L exp(-s) + s] = 1 - L exp(-s)
    expected_2 = torch.stack([1 - l_x * math.exp(3.0), 1 - l_q * math.exp(6.5)]).detach()
    torch.testing.assert_close(loss.balance.grad, expected_2)


def test_fixed_balance() -> None:
    loss = PoseLoss(weights=(1.0, 0.0))
    rotation_B4 = torch.randn(4, 4).requires_grad_()
    terms = loss(output(torch.ones(4, 3).double(), rotation_B4), torch.zeros(4, 3).double(), random_quaternions(4))
    torch.testing.assert_close(terms.total, torch.tensor(math.sqrt(3)))
    assert terms.rotation > 0
    assert not loss.balance.requires_grad
    both = PoseLoss(weights=(2.0, 5.0))(output(torch.ones(4, 3), rotation_B4), torch.zeros(4, 3), random_quaternions(4))
    torch.testing.assert_close(both.total, 2 * both.position + 5 * both.rotation)


def test_position_terms() -> None:
    out = output(torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]]).double(), torch.randn(2, 4))
    target = (torch.zeros(2, 3).double(), random_quaternions(2))
    assert float(PoseLoss(weights=(1.0, 0.0))(*(out, *target)).position) == 2.5
    assert float(PoseLoss(weights=(1.0, 0.0), position="l1")(*(out, *target)).position) == 3.5
    assert float(PoseLoss(weights=(1.0, 0.0), unit_m=10.0)(*(out, *target)).position) == 0.25


def test_published_l1_terms_are_means_over_the_components() -> None:
    """A third of the sums; positions may count axis by axis."""
    out, true_B3, true_B4 = tuples(4, 3)
    kinds = ({"position": "l1", "rotation": "log"}, {"position": "l1-mean", "rotation": "log-mean"})
    sums, means = (
        PoseLoss("log-quaternion", start=(0.0, -3.0), tuple_length=3, **kind)(out, true_B3, true_B4) for kind in kinds
    )
    for key in ("position", "rotation", "relative_position", "relative_rotation"):
        torch.testing.assert_close(getattr(means, key), getattr(sums, key) / 3)
    error_B3 = (out.position - true_B3).abs()
    axes = PoseLoss("log-quaternion", "log", "l1-mean", unit_m=(2.0, 4.0, 8.0))
    expected = (error_B3[:, 0] / 2 + error_B3[:, 1] / 4 + error_B3[:, 2] / 8).mean() / 3
    torch.testing.assert_close(axes(out, true_B3, true_B4).position, expected.float())
    assert set(axes.state_dict()) == {"balance"}, "what a checkpoint holds"


def test_centimetres_survive_utm_coordinates() -> None:
    utm_B3 = torch.tensor([[620_000.0, 5_735_000.0, 110.0]], dtype=F64)
    terms = PoseLoss()(output(utm_B3 + torch.tensor([0.0, 0.01, 0.0]), torch.ones(1, 4)), utm_B3, random_quaternions(1))
    assert float(terms.position) == pytest.approx(0.01, rel=1e-6)


def test_perfect_poses_give_finite_gradients() -> None:
    q_B4 = random_quaternions(4, dtype=torch.float32)
    position_B3, rotation_B4 = torch.zeros(4, 3).requires_grad_(), q_B4.clone().requires_grad_()
    terms = PoseLoss()(output(position_B3, rotation_B4), torch.zeros(4, 3), q_B4)
    terms.total.backward()
    assert terms.position.item() == 0
    assert torch.isfinite(position_B3.grad).all()
    assert torch.isfinite(rotation_B4.grad).all()


def test_scene_term_is_the_negative_log_likelihood() -> None:
    logits_BS, scene_B = torch.randn(5, 7), torch.tensor([0, 6, 3, 3, 1])
    target = (torch.zeros(5, 3), random_quaternions(5, dtype=torch.float32))
    out = output(torch.zeros(5, 3), target[1].clone(), logits_BS)
    terms = PoseLoss(weights=(1.0, 1.0))(*(out, *target, scene_B))
    expected = -torch.log_softmax(logits_BS, -1)[torch.arange(5), scene_B].mean()
    torch.testing.assert_close(terms.scene, expected)
    torch.testing.assert_close(terms.total, terms.position + terms.rotation + expected)
    assert float(PoseLoss()(*(out, *target)).scene) == 0  # no scene known: no scene term


HARD = {
    "quaternion": [[0.0, 0, 0, 0], [1e-30, 0, 0, 0], [0, 0, 0, -1]],
    "log-quaternion": [[0.0, 0, 0], [1e-30, 0, 0], [math.pi / 2, 0, 0], [math.pi, 0, 0]],
    # collinear, opposite, one zero, both zero
    "6d": [[1.0, 2, 3, 2, 4, 6], [0, 1, 0, 0, -1, 0], [0, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]],
    # rank 1, rank 2, a reflection, zero
    "9d": [
        [1.0, 0, 0, 0, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 1, 0, 0, 0, 0],
        [1, 0, 0, 0, 1, 0, 0, 0, -1],
        [0.0] * 9,
        [1.0] * 9,
    ],
}


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("representation", REPRESENTATIONS)
@pytest.mark.parametrize("kind", ROTATION_LOSSES)
def test_degenerate_numbers_give_finite_values_and_gradients(
    kind: str, representation: str, dtype: torch.dtype
) -> None:
    target_B4 = geometry.canonical(torch.tensor(TURNS, dtype=dtype))
    for numbers_R in HARD[representation]:
        rotation_BR = torch.tensor([numbers_R] * len(TURNS), dtype=dtype, requires_grad=True)
        loss_B = rotation_loss(rotation_BR, target_B4, representation, kind)
        loss_B.sum().backward()
        assert torch.isfinite(loss_B).all(), numbers_R
        assert torch.isfinite(rotation_BR.grad).all(), numbers_R


# tuples of frames (AtLoc+)


def tuples(count: int, length: int) -> tuple[PoseOutput, Tensor, Tensor]:
    """Random predictions and truth of `count` tuples."""
    torch.manual_seed(0)
    number = count * length
    return (
        output(torch.randn(number, 3).double(), torch.randn(number, 3)),
        torch.randn(number, 3),
        random_quaternions(number),
    )


@pytest.mark.parametrize("length", [2, 3])
@pytest.mark.parametrize("position", ["l1", "l2"])
def test_relative_terms_compare_consecutive_poses_of_a_tuple(position: str, length: int) -> None:
    out, true_B3, true_B4 = tuples(4, length)
    loss = PoseLoss("log-quaternion", "log", position, (0.0, -3.0), tuple_length=length)
    terms = loss(out, true_B3, true_B4)
    log_B3 = geometry.log_quaternion(true_B4)
    l_x, l_q, d_x, d_q = [], [], [], []
    size = (lambda v: v.abs().sum()) if position == "l1" else (lambda v: v.norm())
    for first in range(0, 4 * length, length):
        for n in range(first, first + length):
            l_x.append(size(out.position[n] - true_B3[n]))
            l_q.append((out.rotation[n] - log_B3[n]).abs().sum())
            if n > first:  # never across two tuples
                moved = (out.position[n] - out.position[n - 1]) - (true_B3[n] - true_B3[n - 1])
                turned = (out.rotation[n] - out.rotation[n - 1]) - (log_B3[n] - log_B3[n - 1])
                d_x.append(size(moved))
                d_q.append(turned.abs().sum())
    means = [torch.stack(values).mean().float() for values in (l_x, l_q, d_x, d_q)]
    for got, expected in zip(
        (terms.position, terms.rotation, terms.relative_position, terms.relative_rotation), means, strict=True
    ):
        torch.testing.assert_close(got, expected)
    torch.testing.assert_close(
        terms.total, means[0] + math.exp(3) * means[1] - 3 + means[2] + math.exp(3) * means[3] - 3
    )
    # weights of their own: four numbers that learn
    terms.total.backward()
    assert loss.balance.tolist() == [0.0, -3.0, 0.0, -3.0]
    expected_4 = torch.stack([1 - means[0], 1 - math.exp(3) * means[1], 1 - means[2], 1 - math.exp(3) * means[3]])
    torch.testing.assert_close(loss.balance.grad, expected_4)


def test_single_frames_have_no_relative_terms() -> None:
    out, true_B3, true_B4 = tuples(3, 2)
    terms = PoseLoss("log-quaternion")(out, true_B3, true_B4)
    assert terms.relative_position == terms.relative_rotation == 0
    assert len(PoseLoss().balance) == 2


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_relative_terms_are_finite_for_every_representation(representation: str) -> None:
    q_B4 = geometry.canonical(torch.tensor(TURNS[:6]))
    rotation_BR = numbers(q_B4, representation).clone().requires_grad_()
    position_B3 = torch.zeros(6, 3, requires_grad=True)
    loss = PoseLoss(representation, tuple_length=3)
    loss(output(position_B3, rotation_BR), torch.zeros(6, 3), q_B4).total.backward()
    assert torch.isfinite(rotation_BR.grad).all()
    assert torch.isfinite(position_B3.grad).all()


def test_gradient_of_the_norm_at_zero_is_zero() -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    norm(x).sum().backward()
    assert (x.grad == 0).all()


@pytest.mark.parametrize("frame", ["world-to-camera", "body-to-world"])
@pytest.mark.parametrize("kind", ROTATION_LOSSES)
def test_a_model_of_other_labels_is_taught_those(frame: geometry.LabelFrame, kind: str) -> None:
    q_B4, t_B3 = random_quaternions(6), torch.zeros(6, 3, dtype=F64)
    head = geometry.to_label_frame(q_B4, frame).float()
    right = PoseLoss(rotation=kind, weights=(1.0, 1.0), label_frame=frame)(output(t_B3, head), t_B3, q_B4)
    wrong = PoseLoss(rotation=kind, weights=(1.0, 1.0))(output(t_B3, head), t_B3, q_B4)
    assert right.rotation < 1e-5
    assert wrong.rotation > 0.1


def test_the_balance_starts_even_unless_it_is_told() -> None:
    assert PoseLoss().balance.tolist() == [0, 0]
    assert PoseLoss(tuple_length=3).balance.tolist() == [0, 0, 0, 0]
    assert PoseLoss(start=(-3.0, -6.5)).balance.tolist() == [-3.0, -6.5]
