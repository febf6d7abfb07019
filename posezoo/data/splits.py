"""Which frames train, validate and test: split files, default blocks, and blocks held out for model selection.

Neighbouring video frames are almost the same picture, so a split of random single frames leaks. Every split made here
takes whole blocks of consecutive frames.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from posezoo.base.errors import DataError, Finding, UsageError, near, unknown_name
from posezoo.base.files.tables import read_csv
from posezoo.base.paths import natural, printable_path, user_path
from posezoo.base.spec import Frame
from posezoo.data import nearness

if TYPE_CHECKING:
    from posezoo.data.table import Frames

WORDS = ("train", "val", "test")
EVERY = 5  # every fifth block or sequence is test
LONGEST_BLOCK = 100


class Method(NamedTuple):
    """How posezoo splits: `blocks`, `blocks:40` (frames), `blocks:2.5m` (of the path), `sequences`, `test` (all)."""

    kind: str
    length: float = 0
    """Of a block, in frames, or in metres of the path; 0: chosen by the number of frames."""
    metres: bool = False


SPLITS = ("blocks", "sequences", "test")
BLOCKS = Method("blocks")
ALL_TEST = Method("test")
"""Every frame is test: a new recording of a place that a model knows."""


def method_of(text: str) -> Method | None:
    """The method that the text names; None for anything else, which is the path of a split file. Raises UsageError."""
    kind, colon, length = text.partition(":")
    if text in SPLITS:
        return Method(kind)
    if re.fullmatch(r"[A-Za-z]+", text) and not user_path(text).exists():
        raise unknown_name("split", text, SPLITS, "blocks, sequences, test, or a CSV file with columns image, split")
    if kind not in SPLITS or not colon or "/" in text:
        return None
    if kind != "blocks":
        raise UsageError(f"split {text[:60]!a}: {kind} has no length", f"{kind}, or blocks:40")
    if re.fullmatch(r"[1-9]\d{0,8}", length, re.ASCII):
        return Method(kind, int(length))
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?m", length, re.ASCII) and float(length[:-1]) > 0:
        return Method(kind, float(length[:-1]), True)
    raise UsageError(f"split {text[:60]!a} names no length", "blocks:40 is 40 frames, blocks:2.5m is 2.5 m of the path")


@dataclass(frozen=True)
class SplitFile:
    """A split file as read: image path relative to the data root -> (split, line)."""

    name: str
    entries: dict[str, tuple[str, int]]

    def applied(self, rows: Sequence[Frame], given: Container[str], findings: list[Finding]) -> list[Frame]:
        """The listed rows with the file's splits. A listed image that is not among the `given` is a finding."""
        for image, (_, line) in self.entries.items():
            if image not in given:
                findings.append(Finding(self.name, line, f"no usable pose for {printable_path(image)}"))
        listed = (row for row in rows if row.image in self.entries)
        return [dataclasses.replace(row, split=self.entries[row.image][0]) for row in listed]


def read_split_file(path: Path, root: Path, findings: list[Finding]) -> SplitFile:
    """The split file at `path`: CSV with columns image, split; images relative to its own folder, else to `root`."""
    name = str(path)
    entries: dict[str, tuple[str, int]] = {}
    before = len(findings)
    for line, row in read_csv(path, name, ("image", "split"), findings):
        image = _relative(row["image"], path, root)
        if image is None:
            findings.append(Finding(name, line, f"no such image: {printable_path(row['image'][:200])}"))
        elif row["split"] not in WORDS:
            findings.append(Finding(name, line, _bad_word(row["split"])))
        elif image in entries:
            findings.append(
                Finding(name, line, f"{printable_path(image)} is already listed on line {entries[image][1]}")
            )
        else:
            entries[image] = (row["split"], line)
    if not entries and len(findings) == before:
        findings.append(Finding(name, 0, "lists no image"))
    return SplitFile(name, entries)


def _relative(image: str, path: Path, root: Path) -> str | None:
    """The image's path relative to `root`; None if it is neither beside the split file nor in the root."""
    if not image or "\0" in image:
        return None
    top = os.path.realpath(root)
    for base in (os.path.realpath(path.parent), top):
        place = os.path.normpath(Path(base, image))
        if place.startswith(top + os.sep) and os.path.lexists(place):
            return os.path.relpath(place, top)
    return None


def checked_words(rows: Sequence[Frame], findings: list[Finding]) -> list[Frame]:
    """The rows whose split is train, val or test; all of them if none has a split."""
    if not any(row.split for row in rows):
        return list(rows)
    findings += [Finding(*row.source, _bad_word(row.split)) for row in rows if row.split not in WORDS]
    return [row for row in rows if row.split in WORDS]


def _bad_word(word: str) -> str:
    if not word:
        return "no split, though other rows have one"
    meant = near(word, WORDS, 1) or ["val"] * word.lower().startswith("val")
    return f"split {word[:60]!a} is not one of {', '.join(WORDS)}" + (f" (did you mean {meant[0]}?)" if meant else "")


def runs(frames: Frames) -> list[np.ndarray]:
    """The frame indices of each (scene, sequence), sequences in natural order, frames as they were taken.

    That is by time where all times are known, else by name. Where names tell nothing (following them, the path is twice
    as long as row by row) it is the order of the rows.
    """
    groups: dict[tuple[int, str], list[int]] = {}
    for n, key in enumerate(zip(frames.scene.tolist(), frames.sequence.tolist(), strict=True)):
        groups.setdefault(key, []).append(n)
    ordered = sorted(groups, key=lambda key: (key[0], natural(key[1])))
    return [_as_taken(frames, np.array(groups[key])) for key in ordered]


def _as_taken(frames: Frames, index: np.ndarray) -> np.ndarray:
    """Frames of one sequence in the order in which they were taken."""
    stamp = frames.timestamp[index]
    if np.all(stamp >= 0):
        return index[np.argsort(stamp, kind="stable")]
    named = np.array(sorted(index.tolist(), key=lambda n: natural(frames.name(n))))
    if np.array_equal(named, index):
        return index
    by_name, by_row = (np.linalg.norm(np.diff(frames.position[i], axis=0), axis=1).sum() for i in (named, index))
    return index if by_name > 2 * by_row else named


def _runs_of_scenes(frames: Frames) -> list[list[np.ndarray]]:
    """The runs of each scene: one pass over the frames, however many scenes there are."""
    scenes: list[list[np.ndarray]] = [[] for _ in frames.scenes]
    for index in runs(frames):
        scenes[frames.scene[index[0]]].append(index)
    return scenes


def split_by(method: Method, frames: Frames, notes: list[str], unit: str = "m") -> np.ndarray:
    """The split of each frame by the method, whatever the data's own split."""
    if method.kind == "test":
        notes.append(f"all {len(frames)} frames are test")
        return np.full(len(frames), "test", dtype="<U5")
    return every_fifth_sequence(frames, notes) if method.kind == "sequences" else blocks(frames, notes, method, unit)


def every_fifth_sequence(frames: Frames, notes: list[str]) -> np.ndarray:
    """The split of each frame: every fifth sequence of a scene, and at least its last one, is test."""
    split = np.full(len(frames), "train", dtype="<U5")
    count = total = 0
    for scene, parts in enumerate(_runs_of_scenes(frames)):
        if len(parts) < 2:
            raise DataError(
                f'scene "{frames.scenes[scene]}" has {len(parts)} sequence: it cannot be split by sequences',
                "split=blocks takes blocks of consecutive frames",
            )
        chosen = parts[EVERY - 1 :: EVERY] or parts[-1:]
        for index in chosen:
            split[index] = "test"
        count, total = count + len(chosen), total + len(parts)
    notes.append(f"split by sequences: {count} of {total} are test ({int(np.sum(split == 'test'))} frames)")
    return split


def part_of(frames: Frames, fraction: float, method: str, seed: int) -> np.ndarray:
    """Which frames (N,) bool make up `fraction` of each scene, at least two of it.

    `nested`: drawn, the same for every seed, and a smaller fraction is part of a larger one; `random`: drawn by the
    seed; `contiguous`: the scene's first.
    """
    kept = np.zeros(len(frames), dtype=bool)
    for scene in np.unique(frames.scene):
        index = np.flatnonzero(frames.scene == scene)
        count = min(len(index), max(2, round(fraction * len(index))))
        if method == "contiguous":
            kept[index[:count]] = True
        else:
            drawn = np.random.Generator(np.random.Philox(key=seed if method == "random" else 0))
            kept[drawn.permutation(index)[:count]] = True
    return kept


def frame_tuples(frames: Frames, length: int, gap: int) -> np.ndarray:
    """The tuple (N, length) around each frame: frames of its own run, `gap` apart, in time order.

    At the ends of a run the first or last frame is repeated; their difference is then zero.
    """
    offset_T = (np.arange(length) - length // 2) * gap
    tuple_NT = np.empty((len(frames), length), dtype=np.int64)
    for index in runs(frames):
        place_NT = np.arange(len(index))[:, None] + offset_T
        tuple_NT[index] = index[place_NT.clip(0, len(index) - 1)]
    return tuple_NT


def blocks(frames: Frames, notes: list[str], method: Method = BLOCKS, unit: str = "m") -> np.ndarray:
    """The split of each frame: every fifth block of consecutive frames of a scene is test.

    Without a length of its own, blocks have a fifth of the scene's frames, at most 100. A note says how long they are
    and how far test frames are from training frames.
    """
    split = np.full(len(frames), "train", dtype="<U5")
    lengths = set()
    for parts in _runs_of_scenes(frames):
        default = int(np.clip(sum(map(len, parts)) // EVERY, 1, LONGEST_BLOCK))
        pieces = _cut(frames, parts, method if method.length else Method("blocks", default))
        lengths |= {max(map(len, pieces))}
        for block in pieces[EVERY - 1 :: EVERY] or pieces[1:][-1:]:
            split[block] = "test"
    span = "-".join(str(length) for length in sorted({min(lengths), max(lengths)})) if lengths else "0"
    tested = int(np.sum(split == "test"))
    span = f"{method.length:g} {unit}" if method.metres else f"{span} consecutive frames"
    text = f"split in blocks: every fifth block of {span} is test ({tested} of {len(frames)})"
    gap = nearness.gap(frames, split == "test", split == "train")
    if gap is not None:
        text += f"; half of the test frames are {gap:.3g} {unit} or more from the nearest training frame"
    notes.append(text)
    return split


def _cut(frames: Frames, parts: Sequence[np.ndarray], method: Method) -> list[np.ndarray]:
    """The blocks of a scene's sequences. A block ends with its sequence: short sequences are then whole blocks."""
    found = []
    for index in parts:
        if method.metres:
            steps = np.linalg.norm(np.diff(frames.position[index], axis=0), axis=1)
            number = np.floor(np.concatenate([[0.0], np.cumsum(steps)]) / method.length)
            found += np.split(index, np.flatnonzero(np.diff(number)) + 1)
        else:
            length = int(method.length)
            found += [index[start : start + length] for start in range(0, len(index), length)]
    return found


def stretch_of_test(frames: Frames) -> int:
    """The median length of the test frames' stretches: frames of one sequence in a row; 0 without test frames."""
    lengths: list[int] = []
    for index in runs(frames):
        test = np.concatenate([[False], frames.split[index] == "test", [False]])
        begins, ends = (np.flatnonzero(test[1:-1] & ~edge) for edge in (test[:-2], test[2:]))
        lengths += (ends - begins + 1).tolist()
    return int(np.median(lengths)) if lengths else 0


def validation_blocks(frames: Frames, fraction: float, stretch: int = 0) -> np.ndarray:
    """The mask (N,) of training frames to hold out: whole blocks of consecutive frames, evenly spread, ~`fraction`.

    Blocks are as long as `stretch`, the test's: frames between close training frames are easier than the test and tell
    nothing about it. That is at most a quarter of a scene's frames, and may be more of them than `fraction`. Without
    `stretch` blocks are 10 to 25 frames long. Each scene with at least two frames gives at least one block, and never
    all its frames. Blocks of several drives along one route lie on different stretches of it, so that each place is
    trained from another drive, as the test's is. The choice depends on nothing but the frames and the stretch.
    """
    held_N = np.zeros(len(frames), dtype=bool)
    if not 0 < fraction < 1:
        return held_N
    for parts in _runs_of_scenes(frames):
        total = sum(map(len, parts))
        if total < 2:
            continue
        wanted = max(1.0, fraction * total)
        length = min(stretch, total // 4) or int(min(np.clip(round(wanted / 4), 10, 25), round(wanted), total - 1))
        count = min(max(1, round(wanted / length)), (total - 1) // length)
        ends = np.cumsum([len(index) for index in parts])
        for middle in (np.arange(count) + 0.5) * total / count:
            part = int(np.searchsorted(ends, middle, side="right"))  # the sequence that the block falls into
            index = parts[part]
            start = int(middle - (ends[part] - len(index))) - length // 2
            start = max(0, min(start, len(index) - length))
            if len(parts) > 1:
                start = _where_others_train(frames, parts, part, start, length, held_N)
            held_N[index[start : start + length]] = True
    return held_N


def _where_others_train(
    frames: Frames, parts: Sequence[np.ndarray], part: int, start: int, length: int, held_N: np.ndarray
) -> int:
    """The beginning of a block, moved from `start` as little as needed off what is held out of the other sequences."""
    index = parts[part]
    others = np.concatenate([rows for n, rows in enumerate(parts) if n != part])
    held = others[held_N[others]]
    last = max(0, len(index) - length)
    best, least = start, 2.0
    for begin in sorted({start, last, *range(0, last, max(1, length // 4))}, key=lambda begin: abs(begin - start)):
        block = index[begin : begin + length]
        if held_N[block].any():
            continue
        own = np.setdiff1d(index, block)
        train = np.concatenate([own[~held_N[own]], others[~held_N[others]]])
        share = nearness.unseen(frames, block, held, train)
        if share < least:
            best, least = begin, share
        if not share:
            break
    return best
