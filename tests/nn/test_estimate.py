"""Familiarity against a plain loop over the training images, and the radius of each bin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from naming import naming

from posezoo.base.errors import WeightsError
from posezoo.nn.estimate import NEAREST, Calibration, ErrorEstimate
from posezoo.nn.outputs import Features, PoseOutput

FOUND = Calibration("these images", 40, 0.9)


def estimate(images: int = 50, width: int = 6, scenes: int = 1) -> ErrorEstimate:
    torch.manual_seed(0)
    positions_M3 = torch.randn(images, 3, dtype=torch.float64) * 10
    found = ErrorEstimate.of(torch.randn(images, width), positions_M3, torch.arange(images) % scenes)
    return found.with_radii(torch.tensor([0.5, 0.8]), torch.tensor([2.0, 1.0]), torch.tensor([20.0, 10.0]), FOUND)


def asked(found: ErrorEstimate, embedding_BE: torch.Tensor, position_B3: torch.Tensor, scene_B: torch.Tensor | None):
    quaternion_B4 = torch.tensor([[1.0, 0, 0, 0]]).expand(len(position_B3), 4)
    features = Features(embedding_BE, embedding_BE, embedding_BE)
    return found(features, PoseOutput(position_B3, quaternion_B4, quaternion_B4, None, scene_B))


@pytest.mark.parametrize("scenes", [1, 2])
def test_familiarity_is_the_largest_cosine_near_the_pose(scenes: int) -> None:
    found = estimate(scenes=scenes)
    torch.manual_seed(0)
    torch.randn(50, 3, dtype=torch.float64)
    known_ME = torch.randn(50, 6).numpy()
    query_BE, position_B3 = torch.randn(20, 6), torch.randn(20, 3, dtype=torch.float64) * 10
    scene_B = torch.arange(20) % 2 if scenes == 2 else None
    output = asked(found, query_BE, position_B3, scene_B)
    for n in range(20):
        own = [m for m in range(50) if scene_B is None or m % 2 == scene_B[n]]
        away = {m: float(np.linalg.norm(found.positions[m].numpy() - position_B3[n].numpy())) for m in own}
        near, q = sorted(own, key=away.__getitem__)[:NEAREST], query_BE[n].numpy()
        cosines = [known_ME[m] @ q / np.linalg.norm(known_ME[m]) / np.linalg.norm(q) for m in near]
        expected = max(0.0, *cosines)
        assert float(output.familiarity[n]) == pytest.approx(expected, abs=2e-3)  # 16 bits are stored
        bin_n = sum(expected >= edge for edge in (0.5, 0.8))
        if min(abs(expected - 0.5), abs(expected - 0.8)) > 0.01:
            assert (float(output.radius_m[n]), float(output.radius_deg[n])) == [
                (np.inf, np.inf), (2.0, 20.0), (1.0, 10.0)
            ][bin_n]  # fmt: skip


def test_what_lies_outside_the_kept_directions_is_less_familiar() -> None:
    """A cosine within the directions alone would call anything familiar."""
    embedding_ME = torch.zeros(9, 300)
    embedding_ME[:, :3] = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    found = ErrorEstimate.of(embedding_ME, torch.zeros(9, 3), torch.zeros(9))
    query_BE = embedding_ME[:1].repeat(2, 1)
    query_BE[1, 200] = 10 * float(query_BE[0].norm())
    same, other = asked(found, query_BE, torch.zeros(2, 3, dtype=torch.float64), None).familiarity.tolist()
    assert same == pytest.approx(1.0, abs=2e-3)
    assert other == pytest.approx(1 / np.sqrt(101), abs=2e-3)


def test_a_pose_that_is_no_number_or_in_no_known_scene_is_unfamiliar() -> None:
    found = estimate()
    query_BE, position_B3 = torch.ones(2, 6), torch.zeros(2, 3, dtype=torch.float64)
    position_B3[0, 1] = torch.nan
    output = asked(found, query_BE, position_B3, torch.tensor([0, 5]))
    assert output.familiarity.tolist() == [0.0, 0.0]
    assert output.radius_m.isinf().all()
    assert output.radius_deg.isinf().all()


def test_tensors_of_another_model_or_no_numbers_are_refused() -> None:
    found = estimate()
    again = ErrorEstimate.checked(found.tensors(), FOUND, 6, "file")
    assert all(torch.equal(a, b) for a, b in zip(again.tensors().values(), found.tensors().values(), strict=True))
    short = {name: value for name, value in found.tensors().items() if name != "edges"}
    wild = {**found.tensors(), "metres": torch.tensor([1.0, torch.nan])}
    for tensors, width in ((found.tensors(), 7), (short, 6), (wild, 6), ({}, 6)):
        with pytest.raises(WeightsError, match=naming("file")):
            ErrorEstimate.checked(tensors, FOUND, width, "file")


def test_it_is_no_part_of_the_weights() -> None:
    assert not estimate().state_dict()
    assert "50 training images" in estimate().disclosure


def test_radii_of_spreads_are_multiples_of_them() -> None:
    """Each pose's radius is its bin's multiple of its own spread; of a spread that is no number it is infinite."""
    found, query_BE, position_B3 = estimate(), torch.randn(20, 6), torch.zeros(20, 3, dtype=torch.float64)
    plain = asked(found, query_BE, position_B3, None)
    spread_m, spread_deg = torch.rand(20) + 0.1, 10 * torch.rand(20) + 1
    spread_m[3] = torch.nan
    told = found(
        Features(query_BE, query_BE, query_BE),
        plain._replace(familiarity=None, radius_m=None, radius_deg=None, spread_m=spread_m, spread_deg=spread_deg),
    )
    spread_m[3] = torch.inf
    assert torch.equal(told.familiarity, plain.familiarity)
    assert torch.equal(told.radius_m, plain.radius_m * spread_m)
    assert torch.equal(told.radius_deg, plain.radius_deg * spread_deg)
    assert plain.radius_m.isfinite().any() and told.radius_m.isfinite().any()
