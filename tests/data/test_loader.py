"""Order and random numbers of a sample depend on (seed, epoch, index) alone."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import small_data
import torch
from hypothesis import given
from hypothesis import strategies as st

from posezoo.data.images.cache import ImageCache
from posezoo.data.loader import (
    NUM_UNIFORMS,
    Batch,
    BatchOrder,
    FrameBatches,
    WorkerLost,
    epoch_batches,
    epoch_loader,
    equalised,
    uniforms,
)
from posezoo.data.open import open_dataset
from posezoo.data.table import Frames


@pytest.fixture
def frames(tmp_path: Path) -> Frames:
    """24 training and 8 test frames of each of two scenes."""
    return open_dataset(f"folder:{small_data.two_places(tmp_path / 'two')}").frames


def batches(frames: Frames, batch_size: int = 8, workers: int = 0, epoch: int = 0, seed: int = 3) -> list[Batch]:
    """All training batches of one epoch."""
    rows = np.flatnonzero(frames.split == "train")
    data = FrameBatches(frames, ImageCache.open(frames), rows, seed, epoch)
    return list(epoch_loader(data, BatchOrder(len(rows), batch_size, seed, epoch), workers))


def by_row(found: list[Batch]) -> dict[int, tuple[torch.Tensor, ...]]:
    """What each row got: its tensors without the row itself."""
    return {
        int(row): tuple(tensor[n] for tensor in (batch.images, batch.position, batch.quaternion, batch.uniforms))
        for batch in found
        for n, row in enumerate(batch.rows)
    }


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x, y) for m, n in zip(a, b, strict=True) for x, y in zip(m, n, strict=True)
    )


def test_workers_change_nothing(frames: Frames) -> None:
    assert same(batches(frames), batches(frames, workers=2))


def test_another_batch_size_gives_every_row_the_same(frames: Frames) -> None:
    a, b = by_row(batches(frames, 8)), by_row(batches(frames, 5))
    assert a.keys() == b.keys()
    assert all(torch.equal(x, y) for row in a for x, y in zip(a[row], b[row], strict=True))


def test_epochs_and_seeds_differ(frames: Frames) -> None:
    first = [batch.rows.tolist() for batch in batches(frames)]
    assert first != [batch.rows.tolist() for batch in batches(frames, epoch=1)]
    assert first != [batch.rows.tolist() for batch in batches(frames, seed=4)]
    one, other = by_row(batches(frames)), by_row(batches(frames, epoch=1))
    assert all(not torch.equal(one[row][-1], other[row][-1]) for row in one)


def test_every_training_row_once_with_its_own_data(frames: Frames) -> None:
    found = batches(frames)
    rows = torch.cat([batch.rows for batch in found])
    assert sorted(rows.tolist()) == np.flatnonzero(frames.split == "train").tolist()
    cache = ImageCache.open(frames)
    for batch in found:
        index = batch.rows.numpy()
        np.testing.assert_array_equal(batch.position, frames.position[index])
        np.testing.assert_array_equal(batch.quaternion, frames.quaternion[index])
        np.testing.assert_array_equal(batch.scene, frames.scene[index])
        assert torch.equal(batch.images, cache.batch(index)[0])
        assert batch.images.dtype == torch.uint8
        # 96x72 stored, short edge 256: focal lengths grow with the picture
        np.testing.assert_allclose(batch.intrinsics[:, 1], 80 * 256 / 72, rtol=1e-6)
        np.testing.assert_allclose(batch.intrinsics[:, 3], 128, rtol=1e-6)


def test_loader_leaves_the_random_state_alone(frames: Frames) -> None:
    """Else a resumed run would drop out other units than one that never stopped."""
    before = torch.get_rng_state()
    batches(frames)
    batches(frames, workers=2)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("after", [1, 2, 5])
def test_a_worker_that_is_killed_is_named(frames: Frames, after: int) -> None:
    """Whatever breaks first: the signal of its end, or the connection over which its tensors come."""
    rows = np.flatnonzero(frames.split == "train")
    data = FrameBatches(frames, ImageCache.open(frames), rows, 3, 0)
    before = multiprocessing.active_children()
    reader = epoch_batches(data, BatchOrder(len(rows), 4, 3, 0), workers=2)
    for _ in range(after):
        next(reader)
    killed = next(child for child in multiprocessing.active_children() if child not in before)
    os.kill(killed.pid or 0, signal.SIGKILL)
    with pytest.raises(WorkerLost, match=rf"{killed.pid}\b.*SIGKILL"):
        list(reader)
    assert getattr(signal.getsignal(signal.SIGCHLD), "__module__", "") != "posezoo.data.loader"


def test_a_worker_that_dies_while_garbage_is_collected_is_named(frames: Frames) -> None:
    """What is raised out of a signal handler is lost there: the reader would wait until its timeout of two minutes."""

    class Slow(FrameBatches):
        def __getitem__(self, places: list[int]) -> Batch:
            time.sleep(1.0)
            return super().__getitem__(places)

    before = multiprocessing.active_children()
    loader = epoch_batches(Slow(frames, None, np.arange(8), 3, 0), BatchOrder(8, 4, 3, 0), workers=1)
    next(loader)
    worker = next(child for child in multiprocessing.active_children() if child not in before)

    killed: list[int | None] = []

    def collected(phase: str, info: dict[str, int]) -> None:
        if not killed and any(frame.name == "_try_get_data" for frame in traceback.extract_stack()):
            killed.append(worker.pid)
            os.kill(worker.pid or 0, signal.SIGKILL)
            time.sleep(0.2)  # its signal comes to this process here

    was = gc.get_threshold()
    gc.callbacks.append(collected)
    gc.set_threshold(1)
    try:
        with pytest.raises(WorkerLost, match=rf"{worker.pid}\b.*SIGKILL"):
            list(loader)
    finally:
        gc.set_threshold(*was)
        gc.callbacks.remove(collected)


def test_what_a_worker_raises_is_no_lost_worker(frames: Frames) -> None:
    class Hurt(FrameBatches):
        def __getitem__(self, places: list[int]) -> Batch:
            raise RuntimeError("raised on purpose")

    with pytest.raises(RuntimeError, match="raised on purpose"):
        list(epoch_batches(Hurt(frames, None, np.arange(8), 3, 0), BatchOrder(8, 4, 3, 0), workers=1))


def test_random_numbers_do_not_depend_on_the_global_state() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    one = uniforms(7, 2, 11)
    torch.manual_seed(2)
    np.random.seed(2)
    np.testing.assert_array_equal(one, uniforms(7, 2, 11))
    assert one.shape == (NUM_UNIFORMS,)
    assert one.dtype == np.float32


@given(st.integers(0, 2**32 - 1), st.integers(0, 1000), st.integers(0, 10**6), st.integers(1, NUM_UNIFORMS))
def test_how_many_are_drawn_does_not_change_the_first(seed: int, epoch: int, index: int, count: int) -> None:
    """So that what is added to the augmentation leaves a training without it as it was."""
    key = np.array([seed << 32 | epoch, index], dtype=np.uint64)
    fewer = np.random.Generator(np.random.Philox(key=key)).random(count, dtype=np.float32)
    np.testing.assert_array_equal(uniforms(seed, epoch, index)[:count], fewer)


def test_uniforms_are_uniform() -> None:
    drawn = np.stack([uniforms(0, epoch, index) for epoch in range(20) for index in range(200)])
    assert drawn.min() >= 0
    assert drawn.max() < 1
    np.testing.assert_allclose(drawn.mean(0), 0.5, atol=0.02)
    np.testing.assert_allclose(np.corrcoef(drawn.T), np.eye(NUM_UNIFORMS), atol=0.06)
    neighbours = np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]
    assert abs(neighbours) < 0.06


@given(st.integers(2, 70), st.integers(1, 20), st.integers(0, 2**32 - 1), st.integers(0, 1000), st.integers(0, 30))
def test_a_later_start_is_the_tail(size: int, batch_size: int, seed: int, epoch: int, start: int) -> None:
    whole = list(BatchOrder(size, batch_size, seed, epoch))
    assert list(BatchOrder(size, batch_size, seed, epoch, start)) == whole[start:]
    assert len(BatchOrder(size, batch_size, seed, epoch, start)) == max(0, len(whole) - start)


@given(st.integers(2, 70), st.integers(2, 20), st.integers(1, 4))
def test_batches_hold_every_index_at_most_once_and_no_lonely_image(size: int, batch_size: int, world: int) -> None:
    whole = list(BatchOrder(size, batch_size, 0, 0, world=1))
    indices = [index for batch in whole for index in batch]
    assert len(set(indices)) == len(indices)
    assert size - len(indices) <= 1, "at most one image waits for the next epoch"
    assert all(len(batch) >= 2 for batch in whole)
    ranks = [list(BatchOrder(size, batch_size, 0, 0, rank=rank, world=world)) for rank in range(world)]
    assert len({len(rank) for rank in ranks}) == 1, "every process makes the same number of steps"
    for batches_of_all in zip(*ranks, strict=True):
        together = sorted(index for batch in batches_of_all for index in batch)
        assert any(together == sorted(batch) for batch in whole)


# Scenes of different sizes

SCENES = np.array([0] * 7 + [1] * 3 + [0] * 4 + [4] * 5)  # eleven, three and five frames


@given(st.integers(0, 2**32 - 1), st.integers(0, 1000), st.integers(0, 4), st.integers(1, 3))
def test_every_scene_has_as_many_samples_as_the_largest(seed: int, epoch: int, start: int, world: int) -> None:
    size = len(SCENES)
    order = BatchOrder(size, 4, seed, epoch, scene_N=SCENES)
    samples = np.array([sample for batch in order for sample in batch])
    assert len(samples) >= 3 * 11 - 1, "a lonely last one waits"
    whole = equalised(SCENES, np.random.default_rng(seed))
    assert [int((SCENES[whole % size] == scene).sum()) for scene in (0, 1, 4)] == [11, 11, 11]
    assert len(set(whole)) == len(whole) == 33, "repeats are told apart"
    times = np.bincount(whole % size)
    assert set(times[SCENES == 0]) == {1}
    assert sorted(times[SCENES == 1]) == [3, 4, 4]
    assert sorted(times[SCENES == 4]) == [2, 2, 2, 2, 3]
    assert set(samples) <= {index + size * repeat for index in range(size) for repeat in range(5)}
    # a pure function of (seed, epoch): the tail for a resume, shares of it for several processes
    assert list(BatchOrder(size, 4, seed, epoch, start, scene_N=SCENES)) == list(order)[start:]
    shares = [list(BatchOrder(size, 4, seed, epoch, rank=rank, world=world, scene_N=SCENES)) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    for batches_of_all, batch in zip(zip(*shares, strict=True), order, strict=False):
        assert sorted(sample for share in batches_of_all for sample in share) == sorted(batch)


def test_which_frames_come_once_more_is_drawn_anew_each_epoch() -> None:
    def extra(epoch: int, seed: int = 0) -> set[int]:
        order = BatchOrder(len(SCENES), 33, seed, epoch, scene_N=SCENES)
        return {sample % len(SCENES) for batch in order for sample in batch if sample >= 2 * len(SCENES)}

    assert len({frozenset(extra(epoch)) for epoch in range(10)}) > 2
    assert {frozenset(extra(0, seed)) for seed in range(10)} != {frozenset(extra(0))}


@given(st.integers(1, 40), st.integers(0, 100), st.integers(0, 1000), st.booleans())
def test_an_epoch_passes_over_few_frames_again(size: int, least: int, epoch: int, scenes: bool) -> None:
    scene_N = np.arange(size) % 3 // 2 if scenes else None
    once = [sample for batch in BatchOrder(size, 10_000, 5, epoch, scene_N=scene_N) for sample in batch]
    samples = [sample for batch in BatchOrder(size, 10_000, 5, epoch, scene_N=scene_N, least=least) for sample in batch]
    passes = max(1, -(-least // len(once)))
    assert len(samples) == passes * len(once) >= least
    assert len(set(samples)) == len(samples), "repeats are told apart"
    assert samples[: len(once)] == once, "the first pass is that of a plain epoch"
    for start in range(0, len(samples), len(once)):
        found = np.array(samples[start : start + len(once)]) % size
        assert np.bincount(found).tolist() == np.bincount(np.array(once) % size).tolist(), "all before any again"
    orders = [tuple(np.array(samples[n : n + len(once)]) % size) for n in range(0, len(samples), len(once))]
    assert passes == 1 or size < 10 or len(set(orders)) > 1, "each pass in an order of its own"


def test_a_repeated_frame_is_varied_otherwise(frames: Frames) -> None:
    rows = np.flatnonzero(frames.split == "train")
    data = FrameBatches(frames, ImageCache.open(frames), rows, 3, 0)
    once, again = data[[5, 2]], data[[5 + len(rows), 2]]
    for name in ("images", "position", "quaternion", "scene", "rows"):
        assert torch.equal(getattr(once, name), getattr(again, name)), name
    assert not torch.equal(once.uniforms[0], again.uniforms[0])
    assert torch.equal(once.uniforms[1], again.uniforms[1])
    tuples = FrameBatches(frames, None, np.stack([rows[:6], rows[1:7]], axis=1), 3, 0)
    plain, repeated = tuples[[4]], tuples[[4 + 6]]
    assert plain.rows.tolist() == repeated.rows.tolist() == rows[4:6].tolist()
    assert not torch.isclose(plain.uniforms, repeated.uniforms).all(dim=1).any()
