"""Tuples of frames: members of one run, in time order, the ends repeated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import small_data
from hypothesis import given
from hypothesis import strategies as st

from posezoo.base.spec import Frame
from posezoo.data.images.cache import ImageCache
from posezoo.data.loader import BatchOrder, FrameBatches, epoch_loader
from posezoo.data.open import open_dataset
from posezoo.data.splits import frame_tuples
from posezoo.data.table import Frames


def frames(sequences: list[int], stamps: list[int] | None = None) -> Frames:
    """One frame for each entry of `sequences`, in that order."""
    rows = [
        Frame(
            f"{n}.png",
            (float(n), 0.0, 0.0),
            (1.0, 0.0, 0.0, 0.0),
            sequence=str(s),
            timestamp=stamps[n] if stamps else -1,
        )
        for n, s in enumerate(sequences)
    ]
    return Frames.from_rows(Path(), rows)


def test_three_frames_two_apart() -> None:
    found = frame_tuples(frames([0] * 7), 3, 2)
    assert found.tolist() == [[0, 0, 2], [0, 1, 3], [0, 2, 4], [1, 3, 5], [2, 4, 6], [3, 5, 6], [4, 6, 6]]


def test_tuples_never_leave_their_sequence_and_follow_time() -> None:
    assert frame_tuples(frames([0, 1, 0, 1, 0]), 3, 1).tolist() == [
        [0, 0, 2],
        [1, 1, 3],
        [0, 2, 4],
        [1, 3, 3],
        [2, 4, 4],
    ]
    assert frame_tuples(frames([0, 0, 0], [30, 10, 20]), 2, 1).tolist() == [[2, 0], [1, 1], [1, 2]]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 12))
def test_every_tuple_has_its_frame_in_the_middle(sequences: list[int], length: int, gap: int) -> None:
    found = frame_tuples(frames(sequences), length, gap)
    assert found.shape == (len(sequences), length)
    assert found[:, length // 2].tolist() == list(range(len(sequences)))
    assert (np.diff(found, axis=1) >= 0).all()
    for n, row in enumerate(found):
        assert {sequences[member] for member in row} == {sequences[n]}


def test_batches_hold_whole_tuples(tmp_path: Path) -> None:
    own = open_dataset(f"folder:{small_data.one_place(tmp_path / 'one')}").frames
    rows = np.flatnonzero(own.split == "train")
    tuples = rows[frame_tuples(own.select(rows), 3, 4)]
    cache = ImageCache.open(own)

    def batches(workers: int) -> list[list[int]]:
        data = FrameBatches(own, cache, tuples, np.array([0]), 3, 1)
        return [batch.rows.tolist() for batch in epoch_loader(data, BatchOrder(len(tuples), 8, 3, 1), workers)]

    found = batches(0)
    assert found == batches(2)
    assert [len(batch) for batch in found] == [24, 24, 24]
    of_three = [tuple(batch[n : n + 3]) for batch in found for n in range(0, 24, 3)]
    assert sorted(of_three) == sorted(map(tuple, tuples.tolist()))
    # the order of tuples is that of single frames: a function of (seed, epoch, index)
    single = [place for batch in BatchOrder(len(rows), 8, 3, 1) for place in batch]
    assert [middle for _, middle, _ in of_three] == rows[single].tolist()
