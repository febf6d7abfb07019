"""What another appearance of the same views costs each model: Table 1 of HyperPose's supplement, paired.

For each condition of the test images: the medians, and the drop: an image's error under the condition minus its error
in the original, which has the same pose, so that nothing but the appearance differs. The drops of two models are again
compared image by image. Data with several looks of each view (`ecl`, or a folder of `posezoo data corrupt` or
`data make-ecl`) are used as they are: partners are found by name, under the condition `original`. Other data get four
kinds of weather, painted on their own pictures.

Legend: N images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from posezoo.base.errors import DataError
from posezoo.base.observe import Observer
from posezoo.data.appearance.weather import KINDS
from posezoo.data.table import Frames
from posezoo.evaluation.compare import SAME, UNITS
from posezoo.evaluation.metrics import pose_errors
from posezoo.evaluation.results import Results
from posezoo.studies import changes, drawing, medians
from posezoo.studies.changes import ORIGINAL
from posezoo.studies.measure import Album, Condition, Errors, errors, open_album
from posezoo.studies.medians import short, spread
from posezoo.studies.paired import interval_of, mean_errors, ranked, training_notes
from posezoo.studies.ranges import AtMost, Severity
from posezoo.studies.study import Found
from posezoo.studies.subjects import Request, subjects

PAINTED = tuple(kind for kind in KINDS if kind in ("fog", "snow", "night", "rain"))
SAME_METRES, SAME_DEGREES = 1e-3, 0.1


@dataclass(frozen=True)
class Options:
    """Of the study itself."""

    images: AtMost = 0
    """At most so many test images, evenly spaced; 0: all."""
    severity: Severity = 3
    """Of the painted weather, where the data have no looks of their own."""


def study(request: Request, options: Options, observer: Observer) -> Found:
    """The study; the first model is what others are compared with."""
    album = open_album(request, observer)
    conditions = looks(album, options)
    models = subjects(request, least=2)
    found = errors(models, album, conditions, request.folder, observer)
    frames = album.results(conditions[0].index)
    table = [row for n, condition in enumerate(conditions[1:], 1) for row in _rows(frames, condition, n, found)]
    plain = {name: spread(frames, [run[0] for run in runs]) for name, runs in found.items()}
    painted = conditions[1].change is not None
    notes = [medians.note(frames, max(len(one.runs) for one in models)), *training_notes(models)]
    if painted:
        notes.append(
            f"{request.data} has no looks of the same views: weather of severity {options.severity} is painted on them"
        )
    return Found(
        verdict=_verdict(table, list(found)),
        rows=_shown(table),
        numbers={"models": {one.name: one.runs for one in models}, "original": plain, "conditions": table},
        figures={"appearance.png": _figure(table, list(found))},
        notes=notes,
    )


def looks(album: Album, options: Options) -> list[Condition]:
    """The original first, then each other look of the same views, image by image. Raises DataError."""
    frames = album.frames
    if ORIGINAL not in set(frames.condition.tolist()):
        index = changes.thinned(len(frames), options.images)
        return [changes.original(index), *changes.weathers(index, PAINTED, [options.severity])]
    by_look = partners(frames)
    common = [key for key in by_look[ORIGINAL] if all(key in views for views in by_look.values())]
    if not common or len(by_look) < 2:
        what = "no test image has a partner of the same name under every condition"
        raise DataError(f"{album.dataset.name}: {what}", "posezoo data corrupt makes such data")
    kept = [common[n] for n in changes.thinned(len(common), options.images)]
    order = [ORIGINAL, *sorted(look for look in by_look if look != ORIGINAL)]
    found = [Condition(look, np.array([by_look[look][key] for key in kept])) for look in order]
    for condition in found[1:]:
        _check_same_poses(frames, found[0], condition)
    return found


def partners(frames: Frames) -> dict[str, dict[tuple[str, ...], int]]:
    """Condition -> (scene, folders, name) of an image, all without the condition -> the image. Raises DataError.

    Of the folders as many, from the last on, as tell the images of a condition apart: looks lie in trees of their own.
    """
    paths = [PurePosixPath(frames.name(n)).with_suffix("").parts for n in range(len(frames))]
    for depth in range(1, max(map(len, paths)) + 1):
        found: dict[str, dict[tuple[str, ...], int]] = {}
        for n, (*folders, name) in enumerate(paths):
            condition = str(frames.condition[n])
            kept = [folder for folder in folders if folder != condition][-depth:]
            key = frames.scenes[frames.scene[n]], *kept, name.removesuffix(f"_{condition}")
            found.setdefault(condition, {})[key] = n
        if sum(map(len, found.values())) == len(frames):
            return found
    raise DataError("two test images have one name but for their condition", "rename one of them")


def _check_same_poses(frames: Frames, first: Condition, other: Condition) -> None:
    here, there = (frames.select(one.index) for one in (first, other))
    apart = pose_errors(here.position, here.quaternion, there.position, there.quaternion)
    if (wrong := int(np.sum((apart[0] > SAME_METRES) | (apart[1] > SAME_DEGREES)))) > 0:
        what = f"{wrong} images of {other.name} have another pose than their partners of the same name"
        raise DataError(what, "the study compares looks of the same views")


def _rows(
    frames: Results, condition: Condition, n: int, found: Mapping[str, list[list[Errors]]]
) -> list[dict[str, Any]]:
    """A row for each model and error under one condition."""
    rows = []
    drops = {name: [_drop(run[n], run[0]) for run in runs] for name, runs in found.items()}
    first = next(iter(found))
    for name, runs in found.items():
        plain, against = spread(frames, [run[n] for run in runs]), {}
        if name != first:
            against = {row["error"]: row for row in ranked(frames, drops[first], drops[name])}
        for which, (error, unit) in enumerate(UNITS.items()):
            drop, base = (interval_of(frames, mean_errors(drops[one])[which]) for one in (name, first))
            key = f"{error}_{unit}"
            rows.append(
                {
                    **{"condition": condition.name, "model": name, "error": key},
                    **{"median": plain[f"median_{key}"], "median_seeds": plain[f"median_{key}_seeds"]},
                    "median_ci95": plain[f"median_{key}_ci95"],
                    **{"drop": drop.median, "drop_ci95": [drop.low, drop.high], "block": drop.block},
                    "drop_verdict": "costs" if drop.low > 0 else "gains" if drop.high < 0 else SAME,
                    "drop_ratio": drop.median / base.median if base.low > 0 and name != first else None,
                    "against_first": against.get(key),
                }
            )
    return rows


def _drop(under: Errors, original: Errors) -> Errors:
    with np.errstate(invalid="ignore"):
        first, second = (np.where(a == b, 0.0, a - b) for a, b in zip(under, original, strict=True))
    return first, second


def _verdict(table: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """How the drops of each other model compare with the first one's, by condition."""
    parts = []
    for name in names[1:]:
        of_name = [row["against_first"] for row in table if row["model"] == name]
        lines = []
        for error in UNITS:
            words = [row["verdict"] for row in of_name if row["error"].startswith(error)]
            counts = [f"{word} in {words.count(word)}" for word in dict.fromkeys(words)]
            lines.append(f"in {error} {', '.join(counts)} of {len(words)} conditions")
        parts.append(f"{name}'s drop against {names[0]}'s: {'; '.join(lines)}")
    return ". ".join(parts)


def _shown(table: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The rows to print: intervals lie below their numbers."""
    return [
        {
            **{"condition": row["condition"], "model": row["model"]},
            **{medians.MEDIAN: _below(row, "median"), "drop (95 %)": _below(row, "drop")},
            "against the first": row["against_first"]["verdict"] if row["against_first"] else "",
        }
        for row in table
    ]


def _below(row: Mapping[str, Any], key: str) -> str:
    low, high = row[f"{key}_ci95"]
    return f"{short(row[key])} {row['error'].rpartition('_')[2]}\n{short(low)} to {short(high)}"


def _figure(table: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Figure:
    """The drop of each model under each condition, with its interval."""
    figure, axes = drawing.panels(2)
    styles = drawing.styles(names)
    conditions = list(dict.fromkeys(row["condition"] for row in table))
    for axis, (error, unit) in zip(axes, UNITS.items(), strict=True):
        for number, name in enumerate(names):
            rows = [row for row in table if row["model"] == name and row["error"].startswith(error)]
            x = np.arange(len(conditions)) + 0.18 * (number - (len(names) - 1) / 2)
            y = np.array([row["drop"] for row in rows])
            ends = np.array([row["drop_ci95"] for row in rows]).T
            colour, marker = styles[name]
            bars = np.abs(ends - y)
            axis.errorbar(x, y, yerr=bars, fmt=marker, color=colour, ms=5, lw=1.4, capsize=2, label=name)
        axis.axhline(0, color="0.4", lw=0.8)
        axis.set_xticks(np.arange(len(conditions)), conditions)
        drawing.plain(axis, f"drop in {error} ({unit})")
    figure.suptitle("What another look of the same view costs", fontsize=11)
    drawing.legend(figure, axes[0])
    return figure
