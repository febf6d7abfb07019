"""What a catalogued data set lacks: its frames compared with the card's counts, by scene, split and sequence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from posezoo.base.errors import Finding
from posezoo.base.spec import ReadRequest

if TYPE_CHECKING:
    from posezoo.data.table import Frames

Counts = Mapping[str, Mapping[str, int | Mapping[str, int]]]
Key = tuple[str, str, str]
"""(scene, split, sequence); the sequence is empty where only a scene's frames are counted."""


@dataclass(frozen=True)
class Missing:
    """A scene or sequence of which too few frames are here, or too many."""

    place: str
    """`chess`, `chess/seq-02`, or a sequence alone where the data set has no scenes."""
    kind: str
    """scene or sequence."""
    split: str
    frames: int
    """How many are here."""
    expected: int
    """How many the complete data set has."""
    said: tuple[Finding, ...] = ()
    """The reader's findings that this one repeats."""

    @property
    def finding(self) -> Finding:
        """The same in words."""
        unit = " ".join(filter(None, (self.split, "frames")))
        if not self.frames:
            listed = [f", listed in {finding.path}:{finding.line}" for finding in self.said if finding.line]
            return Finding(self.place, 0, f"the {self.kind} is missing ({self.expected} {unit}{''.join(listed[:1])})")
        return Finding(self.place, 0, f"{self.frames} {unit} found, {self.expected} in the complete data set")


def expected(counts: Counts, request: ReadRequest) -> dict[Key, int]:
    """The counts of the requested part of a data set; a part that is not counted is left out."""
    found: dict[Key, int] = {}
    for scene, splits in counts.items():
        if request.scenes and scene not in request.scenes:
            continue
        for split, count in splits.items():
            if isinstance(count, int):
                found |= {} if request.sequences else {(scene, split, ""): count}
            else:
                found |= {(scene, split, s): n for s, n in count.items() if request.wants_sequence(s)}
    return found


def missing(
    counts: Mapping[Key, int], frames: Frames, left_out: Mapping[Key, int], findings: Sequence[Finding], named: bool
) -> list[Missing]:
    """What is missing, in the order of the counts. `named`: findings name the scene beside the sequence.

    Frames that the format's rules leave out count as present, and so does what findings name one by one. A scene or
    sequence that is wholly absent is listed once, whatever the reader found about it.
    """
    here = _here(counts, frames, left_out)
    found = []
    for scene in dict.fromkeys(scene for scene, _, _ in counts):
        keys = [key for key in counts if key[0] == scene]
        total = sum(counts[key] for key in keys)
        if named and not any(here[key] for key in keys):
            about = _about(findings, scene)
            found.append(Missing(scene, "scene", "", 0, total, tuple(about) if len(about) == 1 else ()))
            continue
        for key in keys:
            if here[key] == counts[key]:
                continue
            words = [word for word in ((scene if named else ""), key[2]) if word]
            about = _about(findings, *words)
            if counts[key] - len(about) <= here[key] < counts[key]:
                continue
            said = tuple(about) if len(about) == 1 and not here[key] else ()
            kind = "sequence" if key[2] else "scene"
            found.append(Missing("/".join(words) or scene, kind, key[1], here[key], counts[key], said))
    return found


def summary(found: Sequence[Missing]) -> str:
    """`6 scenes and 11 sequences are missing, 1 sequence is short`."""
    kinds = Counter((one.kind, "missing" if not one.frames else "incomplete") for one in found)
    parts = [f"{count} {kind}{'s' * (count > 1)} {what}" for (kind, what), count in kinds.items()]
    return ", ".join(parts)


def _here(counts: Mapping[Key, int], frames: Frames, left_out: Mapping[Key, int]) -> Counter[Key]:
    here: Counter[Key] = Counter()
    columns = (frames.scene.tolist(), frames.split.tolist(), frames.sequence.tolist())
    rows = Counter((frames.scenes[scene], split, sequence) for scene, split, sequence in zip(*columns, strict=True))
    for key, count in (rows + Counter(left_out)).items():
        here[key if key in counts else (*key[:2], "")] += count
    return here


def _about(findings: Sequence[Finding], *words: str) -> list[Finding]:
    """The findings that contain all the words, as whole words."""
    patterns = [re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])") for word in words]
    return [finding for finding in findings if all(pattern.search(str(finding)) for pattern in patterns)]
