"""A data set by name -> a checked table of frames.

    open_dataset("7scenes-chess")           registry card -> reader -> rows -> checks -> Dataset
    open_dataset("7scenes?scenes=chess&sequences=1,3")   a part of it, on purpose
    open_dataset("folder:my-photos")        reader and path are in the name
    inspect_dataset(...)                    the same, but returns the findings instead of raising them

Conventions: pose = camera-to-world, metres; quaternion (w, x, y, z), unit, w >= 0; camera axes x right, y down,
z forward; intrinsics (fx, fy, cx, cy) in pixels of the stored image with (0, 0) at the outer corner of its top-left
pixel. Legend: N frames.
"""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from posezoo.base import paths
from posezoo.base.errors import DataError, Finding, PluginError, PosezooError, UsageError
from posezoo.base.files.pictures import UPRIGHT
from posezoo.base.observe import Progress
from posezoo.base.paths import printable_path
from posezoo.base.shown import html_facts
from posezoo.base.spec import Decode, Frame, ReadRequest, ReadResult
from posezoo.catalogue import forms, resolve
from posezoo.catalogue.resolve import KnownData
from posezoo.data import completeness, nearness, splits, validation
from posezoo.data.source import Source, find_source
from posezoo.data.table import Frames

Kind = Literal["demo", "indoor", "outdoor"]
INDOOR_METRES = 30.0  # own data whose training positions span less count as indoor


@dataclass(frozen=True, repr=False)
class Dataset:
    """A data set that passed its checks; `notes` are lines for the user."""

    name: str
    kind: Kind
    frames: Frames
    card: forms.DataCard | None = None
    notes: tuple[str, ...] = ()
    skipped: tuple[Finding, ...] = ()
    """What was left out as bad, with `skip_bad`."""
    missing: tuple[completeness.Missing, ...] = ()
    """What the data set, or the part that the name asks for, lacks by the card's counts."""
    left_out: int = 0
    """How many listed frames the reader left out; notes say why."""
    unit: str = "m"
    """Of positions: m, or `scene units` where the data have no metre."""

    def __repr__(self) -> str:
        return f"<Dataset {self.name}: {', '.join(f'{count} {word}' for word, count in self._counts().items())} frames>"

    def _repr_html_(self) -> str:
        scenes = ", ".join(self.frames.scenes)
        return html_facts(
            self.name, {"kind": self.kind, **self._counts(), "scenes": scenes, "notes": "; ".join(self.notes)}
        )

    def _counts(self) -> dict[str, int]:
        return {word: count for word in splits.WORDS if (count := int((self.frames.split == word).sum()))}

    @cached_property
    def remarks(self) -> tuple[str, ...]:
        """Lines that belong to every result on these data: test frames beside training frames, what was left out."""
        lines = nearness.leaks(self.frames, splits.runs(self.frames))
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
            raise DataError(
                f'{split} split of "{self.name}" is empty (0 images)',
                f"images now: {counts}; data.split=blocks:40 (eval: --split) divides them anew",
            )
        return frames

    @cached_property
    def digest(self) -> str:
        """sha256 over image names, poses and splits; poses are rounded to 1e-6, to be the same on every machine."""
        pose_N7 = np.round(np.hstack([self.frames.position, self.frames.quaternion]), 6) + 0.0  # no -0.0
        digest = hashlib.sha256()
        for image, split, pose_7 in zip(self.frames.images, self.frames.split, pose_N7.astype("<f8"), strict=True):
            digest.update(bytes(image) + b"\0" + str(split).encode() + b"\0" + pose_7.tobytes())
        return digest.hexdigest()


def open_dataset(
    data: str | KnownData,
    *,
    root: str | Path | None = None,
    split: str | Path | None = None,
    skip_bad: bool = False,
    unsplit: splits.Method = splits.BLOCKS,
    progress: Progress | None = None,
) -> Dataset:
    """The data set, checked. Raises DataError that carries everything found wrong.

    `root`: the benchmark's folder (or the folder above it) instead of POSEZOO_DATA. `split`: `blocks`, `blocks:40`
    (frames), `blocks:2.5m`, `sequences` or `test` (all frames) instead of the data's own, or a CSV file with columns
    image, split; the data set is then only the images it lists. `unsplit`: how data without a split are split.
    `skip_bad`: what is wrong is left out and listed in `skipped`; every image is decoded once for it, into the image
    cache. If nothing is left, it still raises DataError.
    """
    dataset, findings = inspect_dataset(data, root=root, split=split, unsplit=unsplit)
    if findings and not skip_bad:
        raise problems(dataset.name, findings)
    if skip_bad:
        return _without_bad(dataset, findings, progress)
    return dataset


def _without_bad(dataset: Dataset, findings: list[Finding], progress: Progress | None) -> Dataset:
    """The data set without the images that cannot be read."""
    while len(dataset.frames):
        unreadable = _unreadable(dataset, progress)
        if not unreadable:
            return dataclasses.replace(dataset, skipped=tuple(findings))
        findings = [*findings, *unreadable]
        bad = {finding.path for finding in unreadable}
        good_N = np.array(
            [printable_path(dataset.frames.name(n)) not in bad for n in range(len(dataset.frames))], dtype=bool
        )
        dataset = dataclasses.replace(dataset, frames=dataset.frames.select(good_N))
    if findings:
        raise problems(dataset.name, findings)
    raise DataError(f"{dataset.name} has no frames", "posezoo data verify shows why")


def _unreadable(dataset: Dataset, progress: Progress | None) -> tuple[Finding, ...]:
    from posezoo.data.images.cache import ImageCache  # torch: seconds and half a gigabyte that a table does not need

    try:
        ImageCache.open(dataset.frames, progress)
    except DataError as error:
        return error.findings
    return ()


def inspect_dataset(
    data: str | KnownData,
    *,
    root: str | Path | None = None,
    split: str | Path | None = None,
    unsplit: splits.Method = splits.BLOCKS,
) -> tuple[Dataset, list[Finding]]:
    """The data set without its bad frames, and everything that is wrong."""
    known = resolve.data(data) if isinstance(data, str) else data
    source = find_source(known, paths.user_path(root) if root is not None else None)
    findings: list[Finding] = []
    method = splits.method_of(str(split)) if split is not None else None
    file = paths.user_path(split) if split is not None and method is None else None
    chosen = splits.read_split_file(file, source.root, findings) if file is not None else None
    if findings:  # the data cannot be checked while it is unclear which of them are wanted
        return Dataset(known.text, "indoor", Frames.from_rows(source.root, []), source.card), findings
    images = frozenset(chosen.entries) if chosen is not None else None
    scene = source.scenes[0] if source.card is not None and len(source.scenes) == 1 else ""
    request = ReadRequest(
        source.location, source.scenes, images, source.options, source.sequences, images_root=source.root, scene=scene
    )
    was_on = gc.isenabled()
    gc.disable()  # 1e5 rows make no garbage, but each collection scans all of them again
    try:
        return _inspected(known.text, source, request, chosen, method, unsplit, findings)
    finally:
        if was_on:
            gc.enable()


def _inspected(
    name: str,
    source: Source,
    request: ReadRequest,
    chosen: splits.SplitFile | None,
    method: splits.Method | None,
    unsplit: splits.Method,
    findings: list[Finding],
) -> tuple[Dataset, list[Finding]]:
    result = read(source, request)
    findings += result.findings
    findings[:0] = source.still_packed(bool(findings))
    result.frames = _requested(result.frames, request, findings)
    notes = list(result.notes)
    rows = validation.inside_root(result.frames, source.root, source.follow_symlinks, findings)
    rows = validation.normalised(rows, source.normalise, findings, notes)
    if chosen is not None:
        rows = chosen.applied(rows, {os.path.normpath(row.image) for row in result.frames}, findings)
    rows = validation.unique(rows, findings, notes)
    rows = validation.scaled_to_stored(rows, source.root, findings, notes)
    rows = validation.with_known_lenses(rows, source.exif, findings, notes)
    rows = validation.with_known_depths(rows, source.root, source.follow_symlinks, source.exif, findings, notes)
    rows = splits.checked_words(rows, findings) if method is None else rows
    decode = result.decode
    if source.exif:
        decode = _turned_upright(decode, source.reader.spec.name)
        rows = validation.with_turned_intrinsics(rows, source.root, notes)
    if source.card is None:  # the user's own photographs
        validation.note_photographs(rows, source.root, source.exif, notes)
        validation.note_unknown_intrinsics(rows, notes)
    frames = Frames.from_rows(source.root, rows, result.ground_truth, decode)
    if len(frames) and (method or not np.any(frames.split != "")):
        split = splits.split_by(method or unsplit, frames, notes, result.unit)
        frames = dataclasses.replace(frames, split=split)
    kind = source.card.kind if source.card else _kind(frames)
    missing: list[completeness.Missing] = []
    if chosen is None and method is None:
        counts = completeness.expected(source.counts, request)
        missing = completeness.missing(counts, frames, result.left_out, findings, bool(source.scenes))
        notes += _compared(source, frames)
    dataset = Dataset(name, kind, frames, source.card, tuple(notes), (), tuple(missing))
    return dataclasses.replace(dataset, left_out=sum(result.left_out.values()), unit=result.unit), findings


def _compared(source: Source, frames: Frames) -> list[str]:
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


def problems(name: str, findings: Sequence[Finding]) -> DataError:
    """The error for data with findings: how many, and the first one in words."""
    count = f"{len(findings)} problem{'s' * (len(findings) > 1)}"
    hint = "posezoo data verify lists all of them"
    if len(findings) == 1:  # what is wrong with a whole file cannot be left out
        hint = "correct it" + ("; train and eval leave it out with --skip-bad" if findings[0].line else "")
    return DataError(f"{count} in {name} (first: {findings[0]})", hint, findings)


def _requested(rows: Sequence[Frame], request: ReadRequest, findings: list[Finding]) -> list[Frame]:
    """The rows of the requested scenes and sequences; a word that matches none is a finding.

    A sequence only if there are no others, which may tell why; a scene unless they name it.
    """
    kept = [row for row in rows if request.wants_sequence(row.sequence)]
    if request.scenes:
        kept = [row for row in kept if row.scene in request.scenes]
    told = {part for finding in findings for part in finding.path.split("/")} if rows else set(request.scenes)
    for what, words in (("scene", request.scenes), ("sequence", request.sequences)):
        alone = [dataclasses.replace(request, sequences=(word,)) for word in words]
        for word, one in zip(words, alone, strict=True):
            there = {getattr(row, what) for row in kept}
            new = not findings or (what == "scene" and word not in told)
            if new and not any(one.wants_sequence(t) if what == "sequence" else t == word for t in there):
                findings.append(Finding(str(request.root), 0, f"no frames of {what} {word[:60]!a}"))
    return kept


def _turned_upright(decode: Decode | None, reader: str) -> Decode:
    if decode is not None:
        raise UsageError(f"exif=true is for photographs: the pictures of {reader} come from raw pixels", "leave it out")
    return UPRIGHT


def read(source: Source, request: ReadRequest) -> ReadResult:
    """The reader's answer, with fields of the types that it declares.

    Raises PluginError that names the reader for whatever it does wrong, DataError for what the system refuses.
    """
    name, whose = source.reader.spec.name, f"it belongs to plugin {source.reader.owner}"
    read = source.reader.load("read")
    try:
        result = read(request)
    except PosezooError:
        raise
    except OSError as error:
        raise DataError(f"{error.filename or request.root}: {error.strerror or error}") from error
    except (Exception, SystemExit) as error:
        raise PluginError(f'reader "{name}" failed: {type(error).__name__}: {error}', whose) from error
    if not isinstance(result, ReadResult):
        raise PluginError(f'reader "{name}" returned {type(result).__name__}, expected ReadResult', whose)
    wrong = validation.misfit([result])
    lists = {"frames": Frame, "findings": Finding, "notes": str, "left_out": tuple}
    for what, kind in lists.items() if not wrong else ():
        odd = next((type(one).__name__ for one in getattr(result, what) if not isinstance(one, kind)), "")
        wrong = wrong or (f"a {odd} among its {what}" if odd else "")
    if not wrong:
        lenses, depths = ([v for row in result.frames if (v := getattr(row, key))] for key in ("lens", "depth"))
        wrong = validation.misfit(result.frames) or validation.misfit(lenses) or validation.misfit(depths)
    if wrong:
        raise PluginError(f'reader "{name}" returned {wrong}', f"see posezoo.plugin.Frame and ReadResult; {whose}")
    return result


def _kind(frames: Frames) -> Kind:
    """indoor if the training positions span less than 30 m along every axis."""
    position_N3 = frames.position[frames.split == "train"] if np.any(frames.split == "train") else frames.position
    return "outdoor" if len(position_N3) and np.ptp(position_N3, axis=0).max() >= INDOOR_METRES else "indoor"
