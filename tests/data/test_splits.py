"""Blocks for validation, to the frame; tuples: members of one run, in time order, the ends repeated.

Long: every division is checked to the frame, of videos and of photographs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_data
from hypothesis import given, settings
from hypothesis import strategies as st
from naming import naming
from own_folder import MakeFolder, pose_row, write_csv

from posezoo.base.errors import DataError, UsageError
from posezoo.base.spec import Frame
from posezoo.data.images.cache import ImageCache
from posezoo.data.loader import BatchOrder, FrameBatches, epoch_loader
from posezoo.data.open import open_dataset
from posezoo.data.splits import (
    blocks,
    every_fifth_sequence,
    frame_tuples,
    part_of,
    runs,
    stretch_of_test,
    validation_blocks,
)
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


def with_splits(words: str, sequences: str = "") -> Frames:
    """Frames of one letter each: t train, T test."""
    rows = [
        Frame(
            f"{n}.png", (float(n), 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), split="test" if word == "T" else "train",
            sequence=sequences[n] if sequences else "",
        )
        for n, word in enumerate(words)
    ]  # fmt: skip
    return Frames.from_rows(Path(), rows)


@pytest.mark.parametrize(
    ("words", "sequences", "stretch"),
    [
        ("ttttt", "", 0),
        ("tTTTt", "", 3),
        ("TTtTTTTtTTT", "", 3),  # 2, 4 and 3
        ("TTTT", "aabb", 2),  # a stretch ends with its sequence
        ("TtTtTt", "ababab", 3),  # sequence a in a row, though b lies between
    ],
)
def test_stretch_of_test_by_hand(words: str, sequences: str, stretch: int) -> None:
    assert stretch_of_test(with_splits(words, sequences)) == stretch


@pytest.mark.parametrize(
    ("length", "fraction", "stretch", "blocks"),
    [
        (800, 0.08, 100, [range(350, 450)]),  # more than the fraction, and as long as the test's
        (800, 0.25, 100, [range(150, 250), range(550, 650)]),
        (200, 0.08, 100, [range(75, 125)]),  # at most a quarter
        (3, 0.5, 100, [range(0, 2)]),  # a quarter of three frames is none: as without a stretch
    ],
)
def test_validation_is_as_long_as_the_test(length: int, fraction: float, stretch: int, blocks: list[range]) -> None:
    found = np.flatnonzero(validation_blocks(frames([0] * length), fraction, stretch)).tolist()
    assert found == [n for block in blocks for n in block]


def drives(count: int, length: int, apart: float = 0.5, loop: bool = True) -> Frames:
    """Drives along one route of a metre a frame, beside each other."""
    rows = []
    for drive in range(count):
        for n in range(length):
            angle, radius = 2 * np.pi * n / length, length / (2 * np.pi) + apart * drive
            at = (radius * np.cos(angle), radius * np.sin(angle), 0.0) if loop else (float(n), apart * drive, 0.0)
            rows.append(Frame(f"{drive}/{n:04d}.png", at, (1.0, 0.0, 0.0, 0.0), "s", "train", str(drive)))
    return Frames.from_rows(Path(), rows)


@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize(("count", "length", "fraction"), [(2, 200, 0.3), (3, 200, 0.3), (4, 120, 0.25)])
def test_each_place_of_validation_is_trained_from_another_drive(
    count: int, length: int, fraction: float, loop: bool
) -> None:
    """Evenly spread over equal drives, blocks fall on the same stretch of all: nobody would train that place."""
    own = drives(count, length, loop=loop)
    held = validation_blocks(own, fraction, length // 3)
    assert held.sum() >= 2 * (length // 3) - 1
    assert len(set(own.sequence[held])) > 1
    gaps = np.linalg.norm(own.position[held][:, None] - own.position[~held][None], axis=-1).min(axis=1)
    assert gaps.max() <= 0.5 * (count - 1) + 1e-6


def test_drives_elsewhere_keep_their_blocks_in_the_middle() -> None:
    own = drives(2, 200, apart=1000.0, loop=False)
    assert np.flatnonzero(validation_blocks(own, 0.3, 60)).tolist() == [*range(70, 130), *range(270, 330)]


def test_where_every_place_is_asked_for_some_training_is_left() -> None:
    """Eight of ten frames of two short drives: blocks cannot avoid each other, and are as many all the same."""
    held = np.flatnonzero(validation_blocks(drives(2, 5, loop=False), 0.8, 5)).tolist()
    assert held == [0, 1, 2, 3, 6, 7, 8, 9]


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


def frames_of(sequences: dict[str, int], scene: str = "s") -> Frames:
    """Frames 1 cm apart in sequences of the given lengths."""
    rows = [
        Frame(f"{name}/{n:05d}.png", (n / 100, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), scene, "train", name)
        for name, count in sequences.items()
        for n in range(count)
    ]
    return Frames.from_rows(Path(), rows)


def findings_of(name: str, **options: Any) -> list[str]:
    with pytest.raises(DataError) as caught:
        open_dataset(name, **options)
    assert "\n" not in str(caught.value)
    return [str(finding) for finding in caught.value.findings]


def test_split_file_beside_the_images_or_in_the_root(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder()
    picks = [("00.png", "train"), ("01.png", "val"), ("09.png", "test")]
    beside = write_csv(folder / "a/pick.csv", [{"image": image, "split": split} for image, split in picks])
    root = [{"image": f"a/{image}", "split": split} for image, split in picks]
    away = write_csv(tmp_path / "pick.csv", root)
    for path in (beside, away):
        frames = open_dataset(f"folder:{folder}", split=path).frames
        assert [frames.name(i) for i in range(3)] == ["a/00.png", "a/01.png", "a/09.png"]
        assert frames.split.tolist() == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "pick.csv: empty file"),
        ("image,split\n", "pick.csv: lists no image"),
        ("image\na/00.png\n", "pick.csv:1: column split is missing"),
        ("image,split\na/00.png,train\na/77.png,test\n", "pick.csv:3: no such image: a/77.png"),
        ("image,split\na/00.png,training\n", "pick.csv:2: split 'training'"),
        ("image,split\na/00.png,validation\n", "(did you mean val?)"),
        ("image,split\na/00.png\n", "pick.csv:2: expected 2 columns, got 1"),
        ("image,split\na/00.png,train\n./a/00.png,test\n", "pick.csv:3: a/00.png is already listed on line 2"),
        ("image,split\n../pick.csv,train\n", "pick.csv:2: no such image: ../pick.csv"),
        ("image,split\n/etc/hosts,train\n", "no such image: /etc/hosts"),
        ("image,split\nposes.csv,train\n", "pick.csv:2: no usable pose for poses.csv"),
    ],
)
def test_bad_split_files(make_folder: MakeFolder, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "pick.csv").write_text(text)
    assert any(words in finding for finding in findings_of(f"folder:{make_folder()}", split=tmp_path / "pick.csv"))


def test_missing_split_file(make_folder: MakeFolder, tmp_path: Path) -> None:
    assert "no such file" in findings_of(f"folder:{make_folder()}", split=tmp_path / "none.csv")[0]


def test_default_blocks_are_whole_blocks(make_folder: MakeFolder) -> None:
    dataset = open_dataset(f"folder:{make_folder([pose_row(f'{n:03d}.png', n) for n in range(50)])}")
    assert np.flatnonzero(dataset.frames.split == "test").tolist() == [*range(40, 50)]
    assert any("every fifth block of 10 consecutive frames is test (10 of 50)" in note for note in dataset.notes)
    assert any("half of the test frames are 5.5 m or more from" in note for note in dataset.notes)  # 1 to 10


def test_blocks_are_as_long_as_asked(make_folder: MakeFolder) -> None:
    folder = make_folder([pose_row(f"{n}.png", n / 4) for n in range(50)])
    tests = [*range(20, 25), *range(45, 50)]
    frames = open_dataset(f"folder:{folder}", split="blocks:5").frames
    assert np.flatnonzero(frames.split == "test").tolist() == tests
    metres = open_dataset(f"folder:{folder}", split="blocks:1.25m").frames  # five frames, a quarter of a metre apart
    assert np.flatnonzero(metres.split == "test").tolist() == tests
    with pytest.raises(UsageError, match=naming("sequences:3")):
        open_dataset(f"folder:{folder}", split="sequences:3")
    for wrong in ("blocks:", "blocks:0", "blocks:0m", "blocks:2km", "blocks:-3"):
        with pytest.raises(UsageError, match=naming("blocks:40", "blocks:2.5m")):
            open_dataset(f"folder:{folder}", split=wrong)


def test_blocks_follow_the_names_whatever_the_order_of_the_rows(make_folder: MakeFolder) -> None:
    """As in a transforms.json that no program sorted; 9.png comes before 10.png."""
    shuffled = np.random.default_rng(0).permutation(50).tolist()
    dataset = open_dataset(f"folder:{make_folder([pose_row(f'{n}.png', n) for n in shuffled])}", split="blocks:5")
    tests = dataset.frames.of_split("test")
    assert sorted(tests.position[:, 0].tolist()) == [*range(20, 25), *range(45, 50)]
    assert dataset.remarks == ("3 of 10 test frames are next to a training frame of their own sequence",)


def test_names_that_tell_nothing_leave_the_rows_in_order() -> None:
    names = np.random.default_rng(0).permutation(30).tolist()
    rows = [Frame(f"{name}.png", (n, 0, 0), (1, 0, 0, 0)) for n, name in enumerate(names)]
    assert runs(Frames.from_rows(Path(), rows))[0].tolist() == list(range(30))


def test_sequences_are_in_natural_order() -> None:
    found = runs(frames_of({"seq10": 1, "seq9": 1, "seq2": 1}))
    assert [index.tolist() for index in found] == [[2], [1], [0]]


def test_default_blocks_of_short_sequences_are_the_sequences() -> None:
    split = blocks(frames_of({f"{n:02d}": 4 for n in range(20)}), [])
    assert np.flatnonzero(split == "test").tolist() == [4 * s + n for s in (4, 9, 14, 19) for n in range(4)]


def test_runs_follow_the_timestamps_where_known() -> None:
    rows = [Frame(f"{n}.png", (0, 0, 0), (1, 0, 0, 0), timestamp=t) for n, t in enumerate([30, 10, 20])]
    assert [run.tolist() for run in runs(Frames.from_rows(Path(), rows))] == [[1, 2, 0]]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=8), st.floats(0.02, 0.4))
def test_validation_blocks(lengths: list[int], fraction: float) -> None:
    frames = frames_of({f"{n}": length for n, length in enumerate(lengths)})
    held = validation_blocks(frames, fraction)
    assert np.array_equal(held, validation_blocks(frames, fraction))
    total = len(frames)
    if total < 2:
        assert not held.any()
        return
    assert 0 < held.sum() < total
    assert held.sum() <= max(1, fraction * total) + 25
    if total >= 100 and min(lengths) >= 50:
        assert held.sum() >= 0.5 * fraction * total
        ends = np.flatnonzero(np.diff(held.astype(int), prepend=0, append=0))
        # a run of held frames is a block, or blocks that touch where sequences meet
        assert np.diff(ends)[::2].min() >= min(10, int(fraction * total))


def test_validation_blocks_of_real_sizes() -> None:
    held = validation_blocks(frames_of({"a": 1000}), 0.1)
    assert held.sum() == 100
    assert np.sum(np.diff(held.astype(int)) == 1) == 4
    assert not validation_blocks(frames_of({"a": 1000}), 0).any()


def test_splits_made_whatever_the_data_say(make_folder: MakeFolder) -> None:
    rows = [pose_row(f"{s}-{n}.png", n, split="train", sequence=f"s{s}") for s in range(6) for n in range(10)]
    folder = make_folder(rows)
    frames = open_dataset(f"folder:{folder}", split="sequences").frames
    assert set(frames.sequence[frames.split == "test"]) == {"s4"}
    assert open_dataset(f"folder:{folder}", split="sequences").remarks == ()
    blocks = open_dataset(f"folder:{folder}", split="blocks")
    assert int(np.sum(blocks.frames.split == "test")) == 10
    one = make_folder([pose_row(f"{n}.png", n) for n in range(5)])
    with pytest.raises(DataError, match=naming("1", "split=blocks")):
        open_dataset(f"folder:{one}", split="sequences")


def test_test_frames_beside_training_frames_are_told(make_folder: MakeFolder) -> None:
    words = ["train", "test", "train", "train", "train", "test", "test"]
    rows = [pose_row(f"{n}.png", n, split=word, sequence="a") for n, word in enumerate(words)]
    rows += [pose_row("b.png", 9, split="test", sequence="b")]
    dataset = open_dataset(f"folder:{make_folder(rows)}")
    assert dataset.remarks == ("2 of 4 test frames are next to a training frame of their own sequence",)


def test_of_two_sequences_the_second_is_test_and_one_cannot_be_split() -> None:
    notes: list[str] = []
    assert every_fifth_sequence(frames([0, 0, 1]), notes).tolist() == ["train", "train", "test"]
    assert "1 of 2" in notes[0]
    with pytest.raises(DataError):
        every_fifth_sequence(frames([0, 0]), notes)


@pytest.mark.parametrize("method", ["nested", "contiguous", "random"])
def test_a_part_of_the_frames(method: str) -> None:
    table = frames_of({"s1": 30, "s2": 10})
    parts = {share: part_of(table, share, method, 3) for share in (0.01, 0.25, 0.5, 1.0)}
    assert [int(part.sum()) for part in parts.values()] == [2, 10, 20, 40]
    assert np.array_equal(part_of(table, 0.25, method, 4), parts[0.25]) == (method != "random")
    if method != "random":
        assert not (parts[0.25] & ~parts[0.5]).any(), "a smaller one is part of a larger one"
    assert parts[0.25][:10].all() == (method == "contiguous")
