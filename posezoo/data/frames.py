"""A data set by name -> a checked table of frames.

    open_dataset("7scenes-chess")           registry card -> reader -> rows -> checks -> Dataset
    open_dataset("7scenes?scenes=chess&sequences=1,3")   a part of it, on purpose
    open_dataset("folder:my-photos")        reader and path stand in the name
    inspect_dataset(...)                    the same, but hands the findings over instead of raising them

Conventions: pose = camera-to-world, metres; quaternion (w, x, y, z), unit, w >= 0; camera axes x right, y down,
z forward; intrinsics (fx, fy, cx, cy) in pixels of the stored image with (0, 0) at the outer corner of its top-left
pixel. Legend: N frames. Long because the whole way of a name to its table stands here, in the order it is gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from posezoo import cards, names, plugins, registry
from posezoo.data import completeness, splits, unpack, validation
from posezoo.errors import DataError, Finding, PluginError, PosezooError, UsageError
from posezoo.pictures import UPRIGHT
from posezoo.spec import Decode, Frame, ReadRequest, ReadResult
from posezoo.types import Poses

Kind = Literal["demo", "indoor", "outdoor"]
INDOOR_METRES = 30.0  # own data whose training positions span less are taken for indoor


@dataclass(frozen=True)
class Frames:
    """N images with their camera-to-world poses, as columns. `images` are relative to `root`, as file-system bytes."""

    root: Path
    images: np.ndarray  # (N,) 'S': 1e5 paths in one block that data workers share, any file name
    scene: np.ndarray  # (N,) int32 index into `scenes`
    scenes: tuple[str, ...]
    split: np.ndarray  # (N,) train, val, test
    sequence: np.ndarray  # (N,)
    condition: np.ndarray  # (N,)
    timestamp: np.ndarray  # (N,) int64 microseconds, -1 unknown
    position: np.ndarray  # (N, 3) float64
    quaternion: np.ndarray  # (N, 4) float64
    intrinsics: np.ndarray  # (N, 4) float64, NaN unknown
    ground_truth: str = "original"
    decode: Decode | None = None
    """How files that are no ordinary pictures are read."""

    def __len__(self) -> int:
        return len(self.images)

    def name(self, i: int) -> str:
        """The path of image i relative to the root (undecodable bytes as surrogates, as Python's os does)."""
        return os.fsdecode(self.images[i])

    def path(self, i: int) -> Path:
        """The file of image i."""
        return self.root / self.name(i)

    def select(self, which: np.ndarray | Sequence[int] | slice) -> Frames:
        """The frames that a mask, a slice or indices pick, in that order; `scenes` stay the same."""
        index = which if isinstance(which, slice) else np.asarray(which)
        if not isinstance(index, slice) and index.dtype != bool:
            index = index.astype(np.int64)  # an empty list is float
        columns: dict[str, Any] = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return dataclasses.replace(self, **{name: column[index] for name, column in columns.items()})

    def of_split(self, split: str) -> Frames:
        """The frames of one split: train, val or test."""
        return self.select(self.split == split)

    def of_scene(self, scene: str) -> Frames:
        """The frames of one scene."""
        return self.select(self.scene == (self.scenes.index(scene) if scene in self.scenes else -1))

    def poses(self) -> Poses:
        """The poses with image names, scenes and timestamps."""
        images = tuple(map(os.fsdecode, self.images))
        scenes = tuple(self.scenes[s] for s in self.scene)
        return Poses(images, self.position, self.quaternion, scenes, tuple(self.timestamp.tolist()))

    @staticmethod
    def from_rows(
        root: Path, rows: Sequence[Frame], ground_truth: str = "original", decode: Decode | None = None
    ) -> Frames:
        """The columns of a reader's rows; scenes in alphabetical order."""
        scenes = tuple(sorted({row.scene for row in rows}))
        index = {scene: n for n, scene in enumerate(scenes)}
        unknown = (np.nan,) * 4
        return Frames(
            root=root,
            images=np.array([os.fsencode(row.image) for row in rows], dtype=np.bytes_),
            scene=np.array([index[row.scene] for row in rows], dtype=np.int32),
            scenes=scenes,
            split=np.array([row.split for row in rows], dtype=np.str_),
            sequence=np.array([row.sequence for row in rows], dtype=np.str_),
            condition=np.array([row.condition for row in rows], dtype=np.str_),
            timestamp=np.array([row.timestamp for row in rows], dtype=np.int64),
            position=np.array([row.position for row in rows], dtype=np.float64).reshape(-1, 3),
            quaternion=np.array([row.quaternion for row in rows], dtype=np.float64).reshape(-1, 4),
            intrinsics=np.array([row.intrinsics or unknown for row in rows], dtype=np.float64).reshape(-1, 4),
            ground_truth=ground_truth,
            decode=decode,
        )


@dataclass(frozen=True)
class Dataset:
    """A data set that passed its checks; `notes` are lines that a person should see."""

    name: str
    kind: Kind
    frames: Frames
    card: cards.DataCard | None = None
    notes: tuple[str, ...] = ()
    skipped: tuple[Finding, ...] = ()
    """What was left out because something is wrong with it, where that was asked for."""
    missing: tuple[completeness.Missing, ...] = ()
    """What of the complete data set, or of the part that the name asks for, is not here, by the card's counts."""

    @cached_property
    def remarks(self) -> tuple[str, ...]:
        """Lines that belong to every result on these data: test frames beside training frames, what was left out."""
        lines = splits.leaks(self.frames)
        if self.skipped:
            first = f"first: {self.skipped[0]}"
            lines.append(
                f"bad data left out as asked: {len(self.skipped)} problem{'s' * (len(self.skipped) > 1)} ({first})"
            )
        return tuple(lines)

    def require(self, split: str) -> Frames:
        """The frames of one split. Raises DataError if there are none."""
        frames = self.frames.of_split(split)
        if not len(frames):
            counts = ", ".join(f"{word} {np.sum(self.frames.split == word)}" for word in splits.WORDS)
            raise DataError(f'{split} split of "{self.name}" is empty (0 images)', f"images now: {counts}")
        return frames

    @cached_property
    def digest(self) -> str:
        """sha256 over image names, poses and splits; poses are rounded to 1e-6, to be the same on every machine."""
        pose_N7 = np.round(np.hstack([self.frames.position, self.frames.quaternion]), 6) + 0.0  # no -0.0
        digest = hashlib.sha256()
        for image, split, pose_7 in zip(self.frames.images, self.frames.split, pose_N7.astype("<f8"), strict=True):
            digest.update(bytes(image) + b"\0" + str(split).encode() + b"\0" + pose_7.tobytes())
        return digest.hexdigest()


def open_dataset(name: str, *, root: str | Path | None = None, split: str | Path | None = None) -> Dataset:
    """The data set called `name`. Raises DataError that carries everything found wrong.

    `root`: the benchmark's folder (or the folder above it) instead of POSEZOO_DATA. `split`: `blocks` or `sequences`
    instead of the data's own, or a CSV file with columns image, split; the data set is then only the images it lists.
    """
    dataset, findings = inspect_dataset(name, root=root, split=split)
    if findings:
        raise problems(name, findings)
    return dataset


def inspect_dataset(
    name: str, *, root: str | Path | None = None, split: str | Path | None = None
) -> tuple[Dataset, list[Finding]]:
    """The data set without the frames that something is wrong with, and everything that is wrong."""
    source = _source(name, names.user_path(root) if root is not None else None)
    findings: list[Finding] = []
    made = str(split) if split in splits.MADE else ""
    file = names.user_path(split) if split is not None and not made else None
    chosen = splits.read_split_file(file, source.root, findings) if file is not None else None
    if findings:  # nothing can be said about the data while it is unclear which of them are wanted
        return Dataset(name, "indoor", Frames.from_rows(source.root, []), source.card), findings
    images = frozenset(chosen.entries) if chosen is not None else None
    request = ReadRequest(
        source.location, source.scenes, images, source.options, source.sequences, images_root=source.root
    )
    with _collection_paused():
        return _inspected(name, source, request, chosen, made, findings)


def _inspected(
    name: str,
    source: _Source,
    request: ReadRequest,
    chosen: splits.SplitFile | None,
    made: str,
    findings: list[Finding],
) -> tuple[Dataset, list[Finding]]:
    result = _read(source, request)
    findings += result.findings
    findings[:0] = source.still_packed(bool(findings))
    result.frames = _asked_for(result.frames, request, findings)
    notes = list(result.notes)
    rows = validation.placed(result.frames, source.root, source.follow_symlinks, findings)
    rows = validation.normalised(rows, source.normalise, findings, notes)
    if chosen is not None:
        rows = chosen.applied(rows, {os.path.normpath(row.image) for row in result.frames}, findings)
    rows = validation.unique(rows, findings, notes)
    rows = splits.checked_words(rows, findings) if not made else rows
    decode = result.decode
    if source.exif:
        decode, rows = _turned(decode, source.reader), validation.upright(rows, source.root, notes)
    if source.card is None:  # one's own photographs
        validation.photographs(rows, source.root, source.exif, notes)
    frames = Frames.from_rows(source.root, rows, result.ground_truth, decode)
    if len(frames) and (made or not np.any(frames.split != "")):
        frames = dataclasses.replace(frames, split=splits.made(frames, made or "blocks", notes))
    kind = source.card.kind if source.card else _kind(frames)
    missing: list[completeness.Missing] = []
    if chosen is None and not made:
        counts = completeness.expected(source.counts, request)
        missing = completeness.missing(counts, frames, result.left_out, findings, bool(source.scenes))
        notes += _compared(source, frames)
    return Dataset(name, kind, frames, source.card, tuple(notes), missing=tuple(missing)), findings


def _compared(source: _Source, frames: Frames) -> list[str]:
    """Lines on how many of the card's frames are here."""
    if source.card is None or not source.counts:
        return []
    if source.partial:
        return [f"a part by choice: {len(frames)} of {sum(source.card.frames.values())} frames"]
    return [
        f"{word}: {found} frames here, {count} in the complete data set"
        for word, count in source.card.frames.items()
        if (found := int(np.sum(frames.split == word))) != count
    ]


@contextlib.contextmanager
def _collection_paused() -> Iterator[None]:
    """No garbage collection meanwhile: 1e5 rows make no garbage, but each round looks at all of them again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def problems(name: str, findings: Sequence[Finding]) -> DataError:
    """The error for data with findings: how many, and the first one in words."""
    count = f"{len(findings)} problem{'s' * (len(findings) > 1)}"
    hint = (
        "posezoo data verify lists all of them" if len(findings) > 1 else "correct it, or leave it out with --skip-bad"
    )
    return DataError(f"{count} in {name} (first: {findings[0]})", hint, findings)


@dataclass(frozen=True)
class _Source:
    """Where the data lie and how they are read. `location` is what the reader gets, `root` the images' folder."""

    reader: str
    location: Path
    root: Path
    scenes: tuple[str, ...] = ()
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    card: cards.DataCard | None = None
    normalise: bool = False
    follow_symlinks: bool = False
    sequences: tuple[str, ...] = ()
    exif: bool = False
    """Whether pictures are turned by their EXIF orientation."""
    partial: bool = False
    """Whether the name asks for some scenes or sequences only."""
    counts: completeness.Counts = dataclasses.field(default_factory=dict)
    """Those of the card, if the name reads the data as the card does."""

    def archives(self) -> tuple[list[unpack.Packed], list[str]]:
        """(the archives here of the parts asked for, the patterns of the card that fit none)."""
        return unpack.archives_of(self.card, self.location, self._wants) if self.card else ([], [])

    def still_packed(self, broken: bool) -> list[Finding]:
        """A finding for each archive with only some files in place; if the data are `broken`, for each packed one."""
        if self.card is None:
            return []
        halves = unpack.interrupted(self.card, self.location, self._wants)
        packed = [one.name for one in self.archives()[0] if not unpack.is_unpacked(one)] if broken else []
        lines = dict.fromkeys(packed, "not unpacked") | dict.fromkeys(halves, "only half unpacked")
        return [Finding(name, 0, f"{line}: posezoo data prepare does it") for name, line in lines.items()]

    def _wants(self, part: str) -> bool:
        """Whether a scene or sequence is asked for."""
        if self.scenes:
            return part in self.scenes
        return ReadRequest(self.location, sequences=self.sequences).wants_sequence(part)


def archives(name: str, root: str | Path | None = None) -> tuple[Path, list[unpack.Packed], list[str]]:
    """(folder, archives, patterns that fit no archive) of the data set called `name`, unpacked or not.

    Raises DataError if not even its folder is here.
    """
    source = _source(name, names.user_path(root) if root is not None else None, packed=True)
    return source.location, *source.archives()


def _source(name: str, root: Path | None, packed: bool = False) -> _Source:
    """Where the data lie and how they are read. `packed`: a folder with the archives is enough."""
    parsed = names.parse_data(name)
    card = registry.data_card(parsed.name) if parsed.path is None else None
    options = {**(card.options if card else {}), **parsed.options}
    normalise, follow, exif = (_flag(options, key) for key in ("normalise", "follow-symlinks", "exif"))
    asked, sequences = parsed.words("scenes"), parsed.words("sequences")
    for key in ("scenes", "sequences"):
        options.pop(key, None)
    if card is not None:
        registry.scenes_asked(parsed, card)
        card = card.model_copy(update={"scenes": asked or card.scenes})
        folder = _card_folder(parsed.name, card, root, packed)
        as_told = all(options[key] == value for key, value in card.options.items() if key in options)
        return _Source(
            card.reader, folder, folder, card.scenes, options, card, normalise, follow, sequences, exif,
            bool(asked or sequences), card.counts if as_told else {},
        )  # fmt: skip
    assert parsed.path is not None
    plugins.get("posezoo_readers", "data format", parsed.reader)  # a wrong name is told before a wrong path
    if not parsed.path.exists():
        raise DataError(f"{parsed.path}: no such file or folder", f"write {parsed.reader}:PATH with an existing path")
    own = parsed.path if parsed.path.is_dir() else parsed.path.parent
    given = options.pop("root", None)
    images = root or (names.user_path(given) if given else own)
    return _Source(parsed.reader, parsed.path, images, asked, options, None, normalise, follow, sequences, exif)


def _asked_for(rows: Sequence[Frame], request: ReadRequest, findings: list[Finding]) -> list[Frame]:
    """The rows of the scenes and sequences asked for; a word that fits none is a finding, unless there are others."""
    kept = [row for row in rows if request.wants_sequence(row.sequence)]
    if request.scenes:
        kept = [row for row in kept if row.scene in request.scenes]
    for what, words in (("scene", request.scenes), ("sequence", request.sequences)):
        alone = [dataclasses.replace(request, sequences=(word,)) for word in words]
        for word, one in zip(words, alone, strict=True):
            there = {getattr(row, what) for row in kept}
            if not findings and not any(one.wants_sequence(t) if what == "sequence" else t == word for t in there):
                findings.append(Finding(str(request.root), 0, f"no frames of {what} {word[:60]!a}"))
    return kept


def _turned(decode: Decode | None, reader: str) -> Decode:
    if decode is not None:
        raise UsageError(
            f"exif=true is for photographs: the pictures of {reader} are made of raw pixels", "leave it out"
        )
    return UPRIGHT


def _flag(options: dict[str, str], key: str) -> bool:
    value = options.pop(key, "false")
    if value not in ("true", "false"):
        raise UsageError(f"data option {key}={value[:60]!a} is neither true nor false", f"write {key}=true")
    return value == "true"


def _card_folder(name: str, card: cards.DataCard, root: Path | None, packed: bool = False) -> Path:
    """The folder of a catalogued data set. Raises DataError that says what to fetch and where to put it."""
    embedded = card.embedded_root()
    hint = "; then ".join(filter(None, (card.how_to or card.page, "set POSEZOO_DATA or give --root")))
    if embedded is not None and root is None:
        folder = embedded
    elif root is not None:
        folder = root / card.folder if embedded is None and (root / card.folder).is_dir() else root
        if len(card.scenes) == 1 and folder.name == card.scenes[0] and not (folder / card.scenes[0]).is_dir():
            folder = folder.parent  # the scene's own folder was given: image names keep the scene in front
    elif os.environ.get("POSEZOO_DATA"):
        folder = names.user_path(os.environ["POSEZOO_DATA"]) / card.folder
    else:
        raise DataError(f'no folder is known for "{name}"', hint)
    if folder.name in card.needs and not card.lies_in(folder):
        folder = folder.absolute().parent  # one of the data sets' own folder was given
    if not card.lies_in(folder) and not (packed and folder.is_dir()):
        hint = "install posezoo again" if embedded is not None and root is None else hint
        raise DataError(f'"{name}" is not here: looked in {folder}', hint)
    return folder


def _read(source: _Source, request: ReadRequest) -> ReadResult:
    """The reader's answer. Whatever a reader does wrong ends in an error that names the reader."""
    plugins.get("posezoo_readers", "data format", source.reader)
    read = plugins.load("posezoo_readers", source.reader, "read")
    whose = f"it is of plugin {plugins.manager().owners['posezoo_readers', source.reader]}"
    try:
        result = read(request)
    except PosezooError:
        raise
    except OSError as error:
        raise DataError(f"{error.filename or request.root}: {error.strerror or error}") from error
    except (Exception, SystemExit) as error:
        raise PluginError(f'reader "{source.reader}" failed: {type(error).__name__}: {error}', whose) from error
    if not isinstance(result, ReadResult):
        raise PluginError(f'reader "{source.reader}" returned {type(result).__name__}, expected ReadResult', whose)
    strange = next((row for row in result.frames if not isinstance(row, Frame)), None)
    if strange is not None:
        raise PluginError(f'reader "{source.reader}" returned a {type(strange).__name__} among its frames', whose)
    return result


def _kind(frames: Frames) -> Kind:
    """indoor if the training positions span less than 30 m along every axis."""
    position_N3 = frames.position[frames.split == "train"] if np.any(frames.split == "train") else frames.position
    return "outdoor" if len(position_N3) and np.ptp(position_N3, axis=0).max() >= INDOOR_METRES else "indoor"
