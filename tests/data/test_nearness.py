"""Test frames beside training frames are found by their poses; the gap is a distance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from posezoo.base.spec import Frame
from posezoo.data.nearness import gap, leaks, unseen
from posezoo.data.splits import runs
from posezoo.data.table import Frames


def along(words: str, turned: float = 0.0, far: float = 0.0) -> Frames:
    """A frame a metre for each letter (t train, T test); test frames look `turned` degrees aside."""
    half = np.radians(turned) / 2
    rows = [
        Frame(
            f"{n}.png", (n + far, 0, 0), (np.cos(half), 0, np.sin(half), 0) if word == "T" else (1, 0, 0, 0),
            split="test" if word == "T" else "train",
        )
        for n, word in enumerate(words)
    ]  # fmt: skip
    return Frames.from_rows(Path(), rows)


@pytest.mark.parametrize(
    ("frames", "lines"),
    [
        (along("ttTTTtt"), ["2 of 3 test frames are next to a training frame of their own sequence"]),
        (along("ttTTTtt", far=5.7e6), ["2 of 3 test frames are next to a training frame of their own sequence"]),
        (along("ttTTTtt", turned=4), ["2 of 3 test frames are next to a training frame of their own sequence"]),
        (along("ttTTTtt", turned=40), []),  # another view from the same place
        (along("TTT"), []),
        (along("ttt"), []),
    ],
)
def test_neighbours_by_hand(frames: Frames, lines: list[str]) -> None:
    assert leaks(frames, runs(frames)) == lines


def test_the_order_of_the_frames_does_not_matter() -> None:
    """Alternate frames test and train: half of a sorted table, all of it by poses."""
    frames = along("tT" * 20)
    order = np.random.default_rng(1).permutation(40)
    shuffled = frames.select(order)
    assert leaks(shuffled, runs(shuffled)) == leaks(frames, runs(frames)) != []
    assert leaks(frames, runs(frames))[0].startswith("20 of 20")


def test_another_pass_of_the_same_place_is_no_leak_between_sequences() -> None:
    rows = [
        Frame(f"{s}{n}.png", (n, 0, 0), (1, 0, 0, 0), split=s, sequence=s) for s in ("train", "test") for n in (1, 2)
    ]
    frames = Frames.from_rows(Path(), rows)
    assert leaks(frames, runs(frames)) == []


def test_gap_by_hand() -> None:
    frames = along("ttTTTtt")
    test, train = (frames.split == word for word in ("test", "train"))
    assert gap(frames, test, train) == pytest.approx(1)  # 1, 2 and 1 m
    assert gap(frames, test, np.zeros_like(train)) is None
    two = Frames.from_rows(
        Path(), [Frame("a", (0, 0, 0), (1, 0, 0, 0), "a", "test"), Frame("b", (0, 0, 0), (1, 0, 0, 0), "b", "train")]
    )
    assert gap(two, two.split == "test", two.split == "train") is None  # two scenes are two worlds


def test_what_nobody_shows() -> None:
    """Of frames at 3 to 6 m, those nearer to 6.4, which is held out, than to 0 or 9, which train."""
    rows = [Frame(f"{n}.png", (at, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)) for n, at in enumerate([0, 3, 4, 5, 6, 6.4, 9])]
    frames = Frames.from_rows(Path(), rows)
    block, held, train = np.arange(1, 5), np.array([5]), np.array([0, 6])
    assert unseen(frames, block, held, train) == 0.75  # 3 is 3 from 0 and 3.4 from 6.4
    assert unseen(frames, block, held[:0], train) == 0
    assert unseen(frames, block, held, train[:0]) == 1
