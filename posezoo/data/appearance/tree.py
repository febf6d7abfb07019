"""The folder that a maker fills: pictures by condition, their poses, and the card of how they were made.

    OUT/<condition>/<scene>/<path of the source>_<condition>.png   as Extended Cambridge Landmarks has it
    OUT/poses.csv                                                  what `folder:OUT` reads
    OUT/card.json, OUT/README.md                                   source, licence, settings, versions, counts

A picture is written whole (posezoo.base.files.write). So a maker that was stopped or killed continues where it was, and
`card.json`, which is written first, keeps it from continuing with other settings.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from posezoo.base.errors import DataError, LockedError, UsageError
from posezoo.base.files.lock import lock
from posezoo.base.files.pictures import image_size, read_image
from posezoo.base.files.write import replacement, sweep, write_whole, writing
from posezoo.base.version import __version__
from posezoo.data.export import FORMS
from posezoo.data.open import Dataset
from posezoo.data.table import Frames

if TYPE_CHECKING:
    from filelock import BaseFileLock

CARD, LOCK = "card.json", ".lock"
HINT = "free some space or choose another --out; the same command continues"
SYNTHETIC = "synthetic appearance"
SUBSETS = ("test", "val", "train", "all")


class Tree:
    """The folder `out`, locked by this process: `with Tree(...) as tree: ...; tree.finish()`.

    Raises UsageError for a folder with other content or settings, LockedError if another process uses it.
    """

    def __init__(
        self, out: Path, dataset: Dataset, subset: str, facts: Mapping[str, Any], packages: Sequence[str]
    ) -> None:
        """`facts`: all that determines a picture, beside its source and its condition."""
        self.out, self.dataset = out, dataset
        self.frames = _subset(dataset, subset)
        self.stems = stems(self.frames)
        self._lock = _locked(out)
        source = _source(dataset, subset)
        try:
            self.card = _continued(out, {"source": source, **facts})
        except BaseException:
            self._lock.release()
            raise
        used = {"posezoo": __version__, **{package: version(package) for package in packages}}
        self.card["versions"] += [used] if used not in self.card["versions"] else []

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def begin(self, conditions: Sequence[str]) -> None:
        """Add the conditions to the card, and write it before the first picture."""
        self.card["pictures"] = dict.fromkeys(conditions, 0) | self.card["pictures"]
        self.write_text(CARD, json.dumps(self.card, indent=1) + "\n")

    def name(self, n: int, condition: str) -> str:
        """The path of frame n's picture, relative to the folder."""
        return f"{condition}/{self.stems[n]}_{condition}.png"

    def has(self, n: int, condition: str) -> bool:
        """Whether the picture exists."""
        return (self.out / self.name(n, condition)).is_file()

    def seed(self, n: int, condition: str, seed: int) -> int:
        """The picture's own seed, from the maker's, the condition and the name: no order or batch can change it."""
        digest = hashlib.sha256(f"{seed}\0{condition}\0".encode() + os.fsencode(self.stems[n])).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def source_picture(self, n: int) -> np.ndarray:
        """Frame n's own picture, uint8 RGB (H, W, 3) in its stored size, free of distortion. Raises DataError."""
        size = self.size(n)
        with _with_verify_hint():
            known = self.frames.correction(n)
            return read_image(self.frames.path(n), min(size), self.frames.decode, lambda width, height: known)

    def size(self, n: int) -> tuple[int, int]:
        """(width, height) of frame n's stored picture, turned if the data are (exif=true). Raises DataError."""
        with _with_verify_hint():
            return image_size(self.frames.path(n), self.frames.decode)

    def put(self, n: int, condition: str, image_HWC: np.ndarray) -> None:
        """Write one picture. Raises ResourceError."""
        path = self.out / self.name(n, condition)
        with writing(path, HINT):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacement(path) as temporary:
                Image.fromarray(image_HWC).save(temporary, "PNG")

    def finish(self, words: Sequence[str]) -> dict[str, int]:
        """The number of pictures by condition, with poses.csv and the card written. `words`: lines for README.md."""
        parts = [self._finished(condition) for condition in self.card["pictures"]]
        self.card["pictures"] = {c: len(part) for c, part in zip(self.card["pictures"], parts, strict=True)}
        columns: dict[str, Any] = {
            key: np.concatenate([getattr(part, key) for part in parts])
            for key, value in vars(self.frames).items()
            if isinstance(value, np.ndarray)
        }
        # the pictures made are free of distortion, and depth maps stay where the source is
        none = Frames.from_rows(self.out, ())
        columns |= {key: getattr(none, key) for key in ("lens", "lenses", "depth", "depth_camera")}
        made = dataclasses.replace(self.frames, root=self.out, **columns)
        self.write_text("poses.csv", FORMS["csv"](made, lambda done, total: None)["poses.csv"])
        self.write_text(CARD, json.dumps(self.card, indent=1) + "\n")
        self.write_text("README.md", _readme(self.card, words))
        return dict(self.card["pictures"])

    def write_text(self, name: str, text: str) -> None:
        """Write a text file of the folder; undecodable bytes of image names are preserved."""
        write_whole(self.out / name, text.encode("utf-8", "surrogateescape"), HINT)

    def _finished(self, condition: str) -> Frames:
        """The frames whose pictures of a condition exist, with these pictures."""
        which = [n for n in range(len(self.frames)) if self.has(n, condition)]
        names = np.array([os.fsencode(self.name(n, condition)) for n in which], dtype=np.bytes_)
        frames = self.frames.select(which)
        return dataclasses.replace(frames, images=names, condition=np.full(len(which), condition))


def stems(frames: Frames) -> list[str]:
    """The path of each frame's pictures without condition and suffix: SCENE/its own path; no two are the same."""
    found: dict[str, None] = {}
    for n in range(len(frames)):
        scene = re.sub(r"[^\w.-]+", "-", frames.scenes[frames.scene[n]]).strip(".-") or "scene"
        path = PurePath(frames.name(n))
        own = path.with_suffix("") if path.parts[0] == scene else scene / path.with_suffix("")
        stem, number = str(own), 2
        while stem in found:  # a.jpg beside a.png
            stem, number = f"{own}-{number}", number + 1
        found[stem] = None
    return list(found)


def _subset(dataset: Dataset, subset: str) -> Frames:
    if subset not in SUBSETS:
        raise UsageError(f"unknown subset {subset[:60]!a}", "one of " + ", ".join(SUBSETS))
    return dataset.frames if subset == "all" else dataset.require(subset)


def _source(dataset: Dataset, subset: str) -> dict[str, Any]:
    """What the card says about the source. Of a user's path only the last part, the rest being private."""
    card, place = dataset.card, dataset.name.partition(":")
    name = dataset.name if card else f"{place[0]}:{PurePath(place[2].partition('?')[0]).name}"
    return {
        "name": name,
        "subset": subset,
        "licence": card.licence if card else "unknown: own data",
        "page": card.page if card else "",
        "ground_truth": dataset.frames.ground_truth,
        **({} if dataset.unit == "m" else {"unit": dataset.unit}),
        "sha256 of names, poses and splits": dataset.digest,
    }


def _continued(out: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The folder's card if it agrees with `facts`, or a new one. Raises UsageError."""
    path = out / CARD
    facts = json.loads(json.dumps(facts))  # as they are read back
    if not path.exists():
        return {"format": 1, "appearance": SYNTHETIC, **facts, "versions": [], "pictures": {}}
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        card["versions"], card["pictures"] = list(card["versions"]), dict(card["pictures"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{path} is not a card of posezoo", "choose another --out") from None
    for key, value in facts.items():
        if card.get(key) != value:
            raise UsageError(
                f"{out} was made differently: {_difference(key, card.get(key), value)}", "choose another --out"
            )
    return card


def _difference(key: str, old: Any, new: Any) -> str:
    """`seed was 0, is 1`: the first place where two values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        place = next(k for k in {**old, **new} if old.get(k) != new.get(k))
        return _difference(place, old.get(place), new.get(place))
    return f"{key} was {str(old)[:40]}, is {str(new)[:40]}"


@contextlib.contextmanager
def _with_verify_hint() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(error.message, "posezoo data verify lists all bad pictures") from None


def _locked(out: Path) -> BaseFileLock:
    with writing(out, "choose another --out"):
        out.mkdir(parents=True, exist_ok=True)
        if not (out / CARD).exists() and any(child.name != LOCK for child in out.iterdir()):
            raise UsageError(f"{out} holds something else (no {CARD})", "choose another --out")
        locked = lock(out / LOCK)
    if locked is None:
        raise LockedError(f"another process is making {out}", "wait, or choose another --out")
    sweep(out)
    return locked


def _readme(card: Mapping[str, Any], words: Sequence[str]) -> str:
    source = card["source"]
    page, unit = f" ({source['page']})" if source["page"] else "", source.get("unit", "")
    counts = [f"| `{name}` | {count} |" for name, count in card["pictures"].items()]
    lines = [
        f"# {source['name']} under another appearance",
        "",
        f"**{SYNTHETIC.capitalize()}**: computed from the source's pictures. Poses and intrinsics are the source's.",
        "",
        f"- Source: {source['name']}{page}, {source['subset']} frames, ground truth {source['ground_truth']}.",
        *([f"- Positions are in {unit}: reports on this folder say metres and mean these."] if unit else []),
        f"- Licence of the source, which binds these pictures too: {source['licence']}.",
        *(f"- {line}" for line in words),
        "- Versions, settings and sha256 of what was used: card.json.",
        "",
        "| condition | pictures |",
        "|---|---|",
        *counts,
        "",
        "`posezoo eval MODEL --data folder:THIS_FOLDER` reports by condition.",
        "",
    ]
    return "\n".join(lines)
