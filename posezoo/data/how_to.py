"""How to get a data set: licence, official page, archives, disk, where to put them, step by step. Reads no data."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from posezoo.base import paths
from posezoo.base.spec import ReadRequest
from posezoo.catalogue import entries, resolve
from posezoo.catalogue.forms import Archive, DataCard
from posezoo.catalogue.resolve import KnownData
from posezoo.data import completeness

CACHE_MB = 0.3  # of an image in the image cache: short edge 256, three bytes a pixel


def how_to(name: str, *, root: str | Path | None = None) -> dict[str, Any]:
    """What to do for a data set of the catalogue, or for own data (`folder:PATH`), as plain data; `steps` in order.

    Keys: name, summary, reader, licence, page, folder, here, frames, archives, download_gb, disk_gb, cache_gb, layout,
    steps. `disk_gb` is an upper bound: pixels without compression. What is unknown is None or empty. Raises
    UsageError for an unknown name.
    """
    known = resolve.data(name)
    parsed, card, layout = known.name, known.card, known.reader.spec.layout
    if card is None:
        return _own(known)
    folder = _folder(card, root)
    asked = ReadRequest(Path(), entries.requested_scenes(parsed, card), sequences=parsed.words("sequences"))
    archives = _wanted(card, asked)
    frames: dict[str, int] = {}
    for (_, split, _), count in completeness.expected(card.counts, asked).items():
        frames[split] = frames.get(split, 0) + count
    sizes = [archive.size_gb for archive in archives]
    return {
        "name": name,
        "summary": card.summary,
        "reader": card.reader,
        "licence": card.licence,
        "page": card.page,
        "folder": folder,
        "here": card.package != "" or card.is_complete_in(Path(folder)),
        "frames": frames,
        "archives": [archive.model_dump() for archive in archives],
        "download_gb": sum(size for size in sizes if size) if sizes and all(sizes) else None,
        "disk_gb": round(sum(frames.values()) * card.frame_mb / 1000, 1) if card.frame_mb else None,
        "cache_gb": round(sum(frames.values()) * CACHE_MB / 1000, 1) or None,
        "layout": layout,
        "steps": _packaged(name) if card.package else _steps(name, card, archives, folder, root is not None),
    }


def _own(known: KnownData) -> dict[str, Any]:
    parsed, spec, place = known.name, known.reader.spec, shlex.quote(known.text)
    steps = [
        f"Put the files into {parsed.path} as the layout shows.",
        f"Check them: posezoo data verify {place}",
        f"Look at them: posezoo data stats {place}; posezoo data plot {place}",
        f"Train: posezoo train posenet+hyper --data {place}",
    ]
    return {
        "name": known.text,
        "summary": spec.summary,
        "reader": parsed.reader,
        "licence": "",
        "page": "",
        "folder": str(parsed.path),
        "here": parsed.path is not None and parsed.path.exists(),
        "frames": {},
        "archives": [],
        **dict.fromkeys(("download_gb", "disk_gb", "cache_gb")),
        "layout": spec.layout,
        "steps": steps,
    }


def _wanted(card: DataCard, asked: ReadRequest) -> list[Archive]:
    """The archives of the requested scenes and sequences."""
    parts = {word for scene, _, sequence in completeness.expected(card.counts, asked) for word in (scene, sequence)}
    return [archive for archive in card.archives if archive.part in parts | {""}]


def _folder(card: DataCard, root: str | Path | None) -> str:
    if card.package:
        return str(card.embedded_root())
    if root is not None:
        return str(paths.user_path(root))
    return str(paths.user_path(os.environ.get("POSEZOO_DATA") or "$POSEZOO_DATA") / card.folder)


def _packaged(name: str) -> list[str]:
    return ["Nothing: it comes with posezoo.", f"Train: posezoo train posenet+hyper --data {shlex.quote(name)}"]


def _steps(name: str, card: DataCard, archives: list[Archive], folder: str, given: bool) -> list[str]:
    quoted = shlex.quote(name)
    where = f" --root {shlex.quote(folder)}" if given else ""
    files = ", ".join(archive.file for archive in archives)
    steps = [f"Read the licence ({card.licence}) at {card.page}."] if card.page else []
    if folder.startswith("$"):
        steps.append("Choose a folder for all benchmarks: export POSEZOO_DATA=/data")
    steps += [f"{step[:1].upper()}{step[1:]}." for step in card.steps]
    if archives:
        steps.append(f"Fetch into {folder}: {files}")
        steps.append(f"Unpack them: posezoo data prepare {quoted}{where} (by hand: to what the layout shows)")
    steps.append(f"Check it: posezoo data verify {quoted}{where}")
    return [*steps, f"Train: posezoo train posenet+hyper --data {quoted}{where}"]
