"""Blocks for validation, to the frame; tuples: members of one run, in time order, the ends repeated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_data
from hypothesis import given
from hypothesis import strategies as st

from posezoo.base.spec import Frame
from posezoo.data.images.cache import ImageCache
from posezoo.data.loader import BatchOrder, FrameBatches, epoch_loader
from posezoo.data.open import open_dataset
from posezoo.data.splits import frame_tuples, validation_blocks
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
        data = FrameBatches(own, cache, tuples, 3, 1)
        return [batch.rows.tolist() for batch in epoch_loader(data, BatchOrder(len(tuples), 8, 3, 1), workers)]

    found = batches(0)
    assert found == batches(2)
    assert [len(batch) for batch in found] == [24, 24, 24]
    of_three = [tuple(batch[n : n + 3]) for batch in found for n in range(0, 24, 3)]
    assert sorted(of_three) == sorted(map(tuple, tuples.tolist()))
    # the order of tuples is that of single frames: a function of (seed, epoch, index)
    single = [place for batch in BatchOrder(len(rows), 8, 3, 1) for place in batch]
    assert [middle for _, middle, _ in of_three] == rows[single].tolist()


# Blocks for validation, by hand: a block of L frames about m begins at floor(m) - floor(L / 2), inside its run


@pytest.mark.parametrize(
    ("lengths", "fraction", "blocks"),
    [
        ((40,), 0.25, [range(15, 25)]),  # 10 frames wanted, one block about 20
        ((100,), 0.2, [range(20, 30), range(70, 80)]),  # two of 10 about 25 and 75
        # 44 wanted, four of 11 about 13.75, 41.25, 68.75 and 96.25
        ((110,), 0.4, [range(8, 19), range(36, 47), range(63, 74), range(91, 102)]),
        ((20, 20), 0.25, [range(20, 30)]),  # the middle, 20, is the second run's first frame: not before its beginning
        ((12, 28), 0.25, [range(15, 25)]),  # the second run's ninth
        ((24, 16), 0.25, [range(14, 24)]),  # the first run's 21st: the block ends with the run
        ((9,), 0.5, [range(2, 6)]),  # 4.5 wanted, rounded to the even 4, about 4.5
        ((4,), 0.25, [range(2, 3)]),
        ((2,), 0.08, [range(1, 2)]),
        ((1,), 0.5, []),  # the only frame trains
        ((40,), 0.0, []),
    ],
)
def test_validation_blocks_by_hand(lengths: tuple[int, ...], fraction: float, blocks: list[range]) -> None:
    own = frames([sequence for sequence, length in enumerate(lengths) for _ in range(length)])
    found = np.flatnonzero(validation_blocks(own, fraction)).tolist()
    assert found == [n for block in blocks for n in block]


def test_validation_blocks_follow_time() -> None:
    """Rows in the opposite order of time: the block about the 20th moment is that of the rows 24 down to 15."""
    own = frames([0] * 40, [100 - n for n in range(40)])
    assert np.flatnonzero(validation_blocks(own, 0.25)).tolist() == list(range(15, 25))
    odd = frames([0] * 41, [100 - n for n in range(41)])  # about 20.5: moments 15 to 24, rows 40 - 24 to 40 - 15
    assert np.flatnonzero(validation_blocks(odd, 0.25)).tolist() == list(range(16, 26))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.floats(0.01, 0.9))
def test_validation_never_takes_all(lengths: list[int], fraction: float) -> None:
    own = frames([sequence for sequence, length in enumerate(lengths) for _ in range(length)])
    held_N = validation_blocks(own, fraction)
    if sum(lengths) > 1:
        assert 0 < held_N.sum() < len(own)
