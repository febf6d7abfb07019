"""Depths from neighbours: of which images, from how far, and what is left unknown."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import seen_room
import torch

from posezoo.data.images import neighbours
from posezoo.data.images.cache import ImageCache
from posezoo.data.images.depths import COLUMNS, ROWS, DepthMaps
from posezoo.data.images.neighbours import APART, NEIGHBOURS, Neighbours
from posezoo.data.open import open_dataset
from posezoo.data.table import Frames
from posezoo.nn import geometry
from posezoo.nn.views import moved_cameras

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Frames, np.ndarray, ImageCache]:
    """The frames of a walk through a room, the training rows, their images."""
    frames = open_dataset(f"folder:{seen_room.write(tmp_path_factory.mktemp('room') / 'data', 12)}").frames
    return frames, np.flatnonzero(frames.split == "train"), ImageCache.open(frames)


def unknown(*given: torch.Tensor) -> torch.Tensor:
    """In place of comparing, where what comes out does not matter."""
    return torch.full_like(given[0], torch.nan)


def truth(frames: Frames, rows: np.ndarray) -> torch.Tensor:
    """(M, ROWS, COLUMNS) inverse depths at the middles of the cells."""
    found = []
    for row in rows:
        axes_33 = geometry.matrix_from_quaternion(torch.from_numpy(frames.quaternion[row])).float()
        _, depth_HW = seen_room.room(torch.from_numpy(frames.position[row]).float(), axes_33, 160, 120, paper=True)
        grid = [((torch.arange(n) + 0.5) * side / n).long() for n, side in ((ROWS, 120), (COLUMNS, 160))]
        found.append(1 / depth_HW[grid[0][:, None], grid[1]])
    return torch.stack(found)


def test_depths_of_a_walk_through_a_room(seen: tuple[Frames, np.ndarray, ImageCache]) -> None:
    frames, rows, cache = seen
    counted: list[tuple[int, int]] = []
    maps = DepthMaps.sweep(frames, rows, cache, CPU, lambda *done: counted.append(done))
    assert counted == [(n + 1, len(rows)) for n in range(len(rows))]
    known = rows[maps.share[rows] > 0]
    assert len(known) >= 0.8 * len(rows)
    found, expected = maps.batch(known), truth(frames, known)
    off = ((found - expected).abs() / expected)[found.isfinite()]
    assert off.median() < 0.05
    assert not maps.batch(np.flatnonzero(frames.split == "test")).isfinite().any(), "images to test on are not read"


def test_a_second_start_compares_nothing(
    seen: tuple[Frames, np.ndarray, ImageCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, rows, cache = seen
    monkeypatch.setattr(neighbours, "swept_depths", unknown)
    first = DepthMaps.sweep(frames, rows, cache, CPU)
    with monkeypatch.context() as patched:
        patched.setattr(neighbours, "swept_depths", lambda *given: pytest.fail("compared"))
        assert DepthMaps.sweep(frames, rows, cache, CPU).key == first.key
    moved = dataclasses.replace(frames, position=frames.position + np.arange(len(frames))[:, None] * 1e-3)
    others = [DepthMaps.sweep(table, some, cache, CPU) for table, some in ((moved, rows), (frames, rows[1:]))]
    assert len({maps.key for maps in (first, *others)}) == 3


def test_neighbours_look_the_same_way_from_about_the_baseline(seen: tuple[Frames, np.ndarray, ImageCache]) -> None:
    frames, rows, cache = seen
    walked = Neighbours(frames.select(rows), rows, cache, CPU)
    near = walked.of(6, 0.4)
    assert 2 <= len(near) <= NEIGHBOURS
    assert 6 not in near
    position_S3 = frames.position[rows][[6, *near]]
    apart_SS = np.linalg.norm(position_S3[:, None] - position_S3, axis=-1)
    assert apart_SS[np.triu_indices(len(position_S3), 1)].min() > APART * 0.4
    assert 0.2 < np.median(apart_SS[0, 1:]) < 0.9
    turned = dataclasses.replace(frames.select(rows), quaternion=frames.quaternion[rows].copy())
    back = geometry.quaternion_from_matrix(seen_room.turn(180, 0, 0).double())
    turned.quaternion[near[0]] = geometry.compose(torch.from_numpy(turned.quaternion[near[0]]), back).numpy()
    assert near[0] not in Neighbours(turned, rows, cache, CPU).of(6, 0.4)
    assert walked.of(6, 1e4) == []


def test_only_images_of_the_same_scene_and_condition_are_compared(
    seen: tuple[Frames, np.ndarray, ImageCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, rows, cache = seen
    condition = np.array(["sun", "rain"] * len(frames))[: len(frames)]
    mixed = dataclasses.replace(frames, condition=condition, scenes=("a", "b"), scene=(np.arange(len(frames)) > 5) * 1)
    groups: list[list[int]] = []
    made = Neighbours.__init__

    def noted(self: Neighbours, chosen: Frames, own: np.ndarray, *more: object) -> None:
        groups.append(own.tolist())
        made(self, chosen, own, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Neighbours, "__init__", noted)
    monkeypatch.setattr(neighbours, "swept_depths", unknown)
    DepthMaps.sweep(mixed, rows, cache, CPU)
    expected = [
        (mixed.scene[rows] == scene) & (condition[rows] == name) for scene in (0, 1) for name in ("rain", "sun")
    ]
    assert groups == [rows[which].tolist() for which in expected]


def test_one_image_a_camera_that_only_turned_and_unknown_intrinsics(
    seen: tuple[Frames, np.ndarray, ImageCache],
) -> None:
    frames, rows, cache = seen
    assert DepthMaps.sweep(frames, rows[:1], cache, CPU).share.max() == 0
    still = dataclasses.replace(frames, position=np.zeros_like(frames.position))
    assert DepthMaps.sweep(still, rows, cache, CPU).share.max() == 0
    some = dataclasses.replace(frames, intrinsics=frames.intrinsics.copy())
    some.intrinsics[rows[3:]] = np.nan
    assert set(np.flatnonzero(DepthMaps.sweep(some, rows, cache, CPU).share)) <= set(rows[:3].tolist())


def test_photographs_of_a_kitchen_from_other_cameras(real_data: Path) -> None:
    """Drawn with the depths found, a photograph looks like the one taken there; turned only, it does not."""
    frames = open_dataset("7scenes?scenes=redkitchen&sequences=1", root=real_data / "7scenes").frames
    frames = frames.select(np.arange(300, 380, 4))
    rows, cache = np.arange(len(frames)), ImageCache.open(frames)
    maps = DepthMaps.sweep(frames, rows, cache, CPU)
    assert (maps.share > 0).mean() > 0.8
    axes_N33, position_N3 = _axes(frames), torch.from_numpy(frames.position)
    errors = []
    for i, j in ((2, 8), (8, 2), (11, 5), (15, 18)):
        turn_33 = axes_N33[i].T @ axes_N33[j]
        move_3 = axes_N33[i].T @ (position_N3[j] - position_N3[i])
        image_BCHW, camera_B4 = cache.batch([i])
        focal_B2, centre_B2 = torch.from_numpy(camera_B4).float().split(2, -1)
        there = cache.batch([j])[0][:, :, 16:-16, 58:-59] / 255
        given = focal_B2, centre_B2, turn_33.float()[None], move_3.float()[None], 224
        inverse_Bhw = maps.batch(np.array([i]))
        moved, turned = (moved_cameras(image_BCHW / 255, one, *given) for one in (inverse_Bhw, inverse_Bhw * torch.nan))
        errors.append([(picture - there).abs().mean().item() for picture in (moved, turned)])
    found, without = np.mean(errors, axis=0)
    assert found < 0.6 * without


def _axes(frames: Frames) -> torch.Tensor:
    return geometry.matrix_from_quaternion(torch.from_numpy(frames.quaternion))
