"""Check a whole data set without training: what is missing, every pose, every split, every image."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from posezoo.base import paths
from posezoo.base.errors import DataError, Finding
from posezoo.base.files.tables import read_text
from posezoo.base.files.write import write_whole
from posezoo.base.observe import Progress, parallel
from posezoo.base.paths import printable_path
from posezoo.base.poses import printable
from posezoo.catalogue import names
from posezoo.data import completeness
from posezoo.data.images.build import unreadable_images
from posezoo.data.images.depths import unreadable_depths
from posezoo.data.open import inspect_dataset, problems
from posezoo.data.splits import WORDS
from posezoo.data.table import Frames


@dataclass(frozen=True)
class Verified:
    """What was found: `counts` of good frames by split, what is `missing` by the card's counts, all `findings`."""

    name: str
    counts: dict[str, int]
    missing: tuple[completeness.Missing, ...]
    findings: tuple[Finding, ...]
    """What is missing first, then everything wrong with what is here."""
    notes: tuple[str, ...]
    left_out: int = 0
    """Listed frames that were left out; notes say why."""

    @property
    def share(self) -> str:
        """How many of the listed frames are left out, in words; empty if none are."""
        total = sum(self.counts.values()) + self.left_out
        return f"{self.left_out} of {total} listed frames are left out" if self.left_out else ""

    @property
    def verdict(self) -> str:
        """The last line where nothing is wrong."""
        counts = ", ".join(f"{count} {split}" for split, count in self.counts.items())
        return f"{self.name}: {counts} frames, {f'these are good: {self.share}' if self.left_out else 'all good'}"

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "name": self.name,
            "frames": self.counts,
            "missing": [
                {"place": m.place, "kind": m.kind, "split": m.split, "frames": m.frames, "expected": m.expected}
                for m in self.missing
            ],
            "findings": [{"path": f.path, "line": f.line, "message": f.message} for f in self.findings],
            "notes": list(self.notes),
            "left_out": self.left_out,
        }

    @cached_property
    def error(self) -> DataError | None:
        """The error that carries the findings; None if all is good."""
        found = sum(self.counts.values())
        if not self.missing and self.findings:
            error = problems(self.name, self.findings)
            hint = "correct them" + ("; train and eval leave them out with --skip-bad" if found else "")
            return DataError(error.message, hint, self.findings)
        if not self.missing and not found:
            return DataError(f"{self.name} has no frames", self.share or "check its path and options")
        if not self.missing:
            hint = "the notes say why; fetch the missing files, or list only what is here"
            return DataError(f"{self.name}: {self.share}", hint) if self.left_out > found else None
        what = f"{self.name} is not complete: {completeness.summary(self.missing)} (first: {self.missing[0].place})"
        wrong = self.findings[len(self.missing) :]
        if wrong:
            what += f"; {len(wrong)} problem{'s' * (len(wrong) > 1)} (first: {wrong[0]})"
        card = names.parse_data(self.name).name
        return DataError(
            what, f"posezoo data how-to {card}, or choose what is here: scenes=, sequences=", self.findings
        )


def verify_dataset(
    name: str,
    *,
    root: str | Path | None = None,
    split: str | Path | None = None,
    manifest: str | Path | None = None,
    progress: Progress | None = None,
) -> Verified:
    """Everything that is missing from the data set or wrong with it; every image is decoded.

    `manifest`: a file of the images' sha256 as `sha256sum` writes it, to compare with; written if it does not exist.
    Raises DataError if the data are not here, UsageError for an unknown name, ResourceError.
    """
    dataset, findings = inspect_dataset(name, root=root, split=split)
    said = {finding for one in dataset.missing for finding in one.said}
    unreadable = unreadable_images(dataset.frames, progress)
    wrong_depths = unreadable_depths(dataset.frames, progress)
    bad = {finding.path for finding in unreadable}
    good_N = np.array(
        [printable_path(dataset.frames.name(n)) not in bad for n in range(len(dataset.frames))], dtype=bool
    )
    found = {word: int(np.sum(good_N & (dataset.frames.split == word))) for word in WORDS}
    wrong = [finding for finding in findings if finding not in said] + unreadable + wrong_depths
    notes = list(dataset.notes)
    if manifest is not None:
        wrong += _compared(dataset.frames.select(good_N), paths.user_path(manifest), notes)
    return Verified(
        name,
        {word: count for word, count in found.items() if count},
        dataset.missing,
        (*(one.finding for one in dataset.missing), *wrong),
        tuple(notes),
        dataset.left_out,
    )


def _compared(frames: Frames, manifest: Path, notes: list[str]) -> list[Finding]:
    """What differs from the manifest; if there is none, it is written."""
    sums = dict(_sums(frames))
    if not manifest.exists():
        lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
        write_whole(manifest, lines, "choose another --hash FILE")
        notes.append(f"{manifest}: sha256 of {len(sums)} images written")
        return []
    findings: list[Finding] = []
    known: set[str] = set()
    same = 0
    for line, raw in enumerate((read_text(manifest, str(manifest), findings) or "").splitlines(), 1):
        match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](.+)", raw)
        if not match:
            findings.append(Finding(str(manifest), line, f"not a line of sha256sum: {raw[:60]!a}"))
            continue
        digest, name = match[1].lower(), os.path.normpath(match[2])
        known.add(name)
        if name not in sums:
            findings.append(Finding(name, 0, f"is in {manifest}:{line} and not among the good images of the data"))
        elif sums[name] != digest:
            findings.append(Finding(name, 0, f"the image differs from its sha256 in {manifest}:{line}"))
        else:
            same += 1
    findings += [Finding(name, 0, f"is not in {manifest}") for name in sums if name not in known]
    notes.append(f"{same} of {len(sums)} images as in {manifest}")
    return findings


def _sums(frames: Frames) -> Iterator[tuple[str, str]]:
    def one(i: int) -> str:
        with frames.path(i).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    digests = parallel(one, range(len(frames)))
    return ((printable(printable_path(frames.name(i))), digest) for i, digest in enumerate(digests))
