"""Where one model is better than another: the paired difference of position errors along the path, as map and numbers.

The figure is that of HyperPose's supplement (Figure 4), for any two models of one data set: each image at its true
position, coloured by the other model's error minus the first one's, each the mean over its trainings. The numbers say
what the eye may not: the median difference with its interval and the share of images improved, overall, by condition,
scene and sequence, and by quarter of difficulty, which the position errors of one more model tell; and whether it is
better where the path turns (Spearman's correlation with the turn over 5 m of path).

Legend: N images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from posezoo.base.errors import UsageError
from posezoo.base.observe import Observer
from posezoo.base.rotation import axes_from_above
from posezoo.data.splits import runs
from posezoo.data.table import Frames
from posezoo.evaluation import figures
from posezoo.evaluation.compare import UNITS, ranking
from posezoo.evaluation.metrics import angle_deg
from posezoo.evaluation.results import AVERAGE, GROUPINGS, Results
from posezoo.evaluation.uncertainty import spearman
from posezoo.studies import changes
from posezoo.studies.measure import Errors, errors, open_album
from posezoo.studies.medians import MEDIAN, interval_of, note, short
from posezoo.studies.paired import contrast, mean_errors, training_notes, words
from posezoo.studies.study import Found
from posezoo.studies.subjects import Request, Subject, is_trained, subjects

TURN_METRES = 5.0
QUARTERS = ("easiest quarter", "second quarter", "third quarter", "hardest quarter")
JUDGE = "study.difficulty"


@dataclass(frozen=True)
class Options:
    """Of the study itself."""

    difficulty: str = ""
    """One more trained model: its errors part the images in quarters of difficulty."""


def study(request: Request, options: Options, observer: Observer) -> Found:
    """The study; the first model is what others are compared with.

    Difficulty is told by another model, or another training of the first: the errors of the two that are compared would
    tell which images the first was unlucky with, not which are hard.
    """
    if options.difficulty and not is_trained(options.difficulty):
        raise UsageError(
            f"{JUDGE}={options.difficulty} is no trained model", "a run folder or an alias, see posezoo weights list"
        )
    album = open_album(request, observer)
    models = subjects(request, least=2)
    judges = [Subject(JUDGE, (options.difficulty,))] if options.difficulty else []
    everything = [changes.original(np.arange(len(album.frames)))]
    measured = errors([*models, *judges], album, everything, request.folder, observer)
    found = {name: [run[0] for run in each] for name, each in measured.items()}
    frames, hard = album.results(everything[0].index), found.pop(JUDGE, [None])[0]
    (first, before), *others = found.items()
    rows = {name: differences(frames, before, after, None if hard is None else hard[0]) for name, after in others}
    maps = {name: gained(before, after) for name, after in others}
    turned = {name: _spearman(one_N, turning(frames.frames)) for name, one_N in maps.items()}
    return Found(
        verdict=". ".join(words(_ranking(frames, rows[name]), name, first) for name in rows),
        rows=_shown(first, rows),
        numbers={
            "models": {one.name: one.runs for one in models},
            "share_improved": {name: float(np.mean(one_N < 0)) for name, one_N in maps.items()},
            "spearman_with_turning": turned,
            "differences": {name: list(of_name) for name, of_name in rows.items()},
        },
        figures={
            f"error-map{f'-{n}' if n > 1 else ''}.png": picture(frames, maps[name], (first, name))
            for n, name in enumerate(maps, 1)
        },
        notes=[
            note(frames, max(len(one.runs) for one in models)),
            *training_notes(models),
            *(
                f"{name}: its gain goes with the turns of the path by {-rho:.2f} (rank correlation)"
                for name, rho in turned.items()
                if rho is not None
            ),
        ],
    )


def differences(
    frames: Results, first: Sequence[Errors], other: Sequence[Errors], hard_N: np.ndarray | None = None
) -> list[dict[str, Any]]:
    """The rows of `contrast` of all images, then of each grouping, with both medians' intervals and the share improved.

    `hard_N`: position errors that part the images in quarters.
    """
    groupings = [by for by in GROUPINGS if by == "overall" or len(frames.groups(by)) > 1]
    rows = [row for by in groupings for row in _of_groups(frames, by, first, other)]
    if hard_N is None:
        return rows
    parted = dataclasses.replace(frames, frames=dataclasses.replace(frames.frames, condition=quarters(hard_N)))
    of_quarters = _of_groups(parted, "condition", first, other)
    of_quarters.sort(key=lambda row: QUARTERS.index(row["group"]))
    return [*rows, *({**row, "by": "quarter"} for row in of_quarters)]


def _of_groups(frames: Results, by: str, first: Sequence[Errors], other: Sequence[Errors]) -> list[dict[str, Any]]:
    both, groups, found = (mean_errors(first), mean_errors(other)), frames.groups(by), []
    for row in contrast(frames, by, first, other):
        which = [f"{error}_{unit}" for error, unit in UNITS.items()].index(row["error"])
        parts = list(groups.values()) if row["group"] == AVERAGE else [groups[row["group"]]]
        before, after = (_ends(frames, one[which], parts) for one in both)
        better_N = both[1][which] < both[0][which]
        share = float(np.mean([better_N[index].mean() for index in parts]))
        found.append({**row, "median_first_ci95": before, "median_ci95": after, "share_improved": share})
    return found


def _ends(frames: Results, error_N: np.ndarray, parts: Sequence[np.ndarray]) -> list[float]:
    found = interval_of(frames, [error_N], parts)
    return [max(0.0, found.low), found.high]


def gained(first: Sequence[Errors], other: Sequence[Errors]) -> np.ndarray:
    """By how much the other model's position error of each image (N,) is larger."""
    before_N, after_N = mean_errors(first)[0], mean_errors(other)[0]
    with np.errstate(invalid="ignore"):
        return np.where(before_N == after_N, 0.0, after_N - before_N)


def quarters(error_N: np.ndarray) -> np.ndarray:
    """The name (N,) of the quarter of difficulty that each image is in."""
    place_N = np.empty(len(error_N), dtype=np.int64)
    place_N[np.argsort(error_N, kind="stable")] = np.arange(len(error_N))
    return np.array(QUARTERS)[4 * place_N // len(error_N)]


def _ranking(frames: Results, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [row for row in rows if (row["by"], row["group"]) == ranking(frames)]


def _shown(first: str, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, str]]:
    """The rows to print: the first model, then the others, of each group and error; intervals below their numbers.

    Sequences only where there are no conditions.
    """
    printed = []
    for same in zip(*rows.values(), strict=True):
        conditions = any(row["by"] == "condition" for row in next(iter(rows.values())))
        if conditions and same[0]["by"] == "sequence":
            continue
        unit, images = same[0]["error"].rpartition("_")[2], f"{same[0]['group'] or '(none)'}, {same[0]['num']}"
        plain = _below(same[0]["median_first"], same[0]["median_first_ci95"], f" {unit}")
        printed.append({"images": images, "model": first, MEDIAN: plain, "minus the first": "", "better": ""})
        for name, row in zip(rows, same, strict=True):
            printed.append(
                {
                    **{"images": images, "model": name, MEDIAN: _below(row["median"], row["median_ci95"], f" {unit}")},
                    "minus the first": _below(row["difference"], row["difference_ci95"]),
                    "better": f"{100 * row['share_improved']:.0f} %",
                }
            )
    return printed


def _below(value: float | str, ends: Sequence[float | str], unit: str = "") -> str:
    return f"{short(value)}{unit}\n{short(ends[0])} to {short(ends[1])}"


def turning(frames: Frames) -> np.ndarray:
    """Degrees (N,) by which the camera turns over the next 5 m of its path; NaN at the end of a sequence."""
    turn_N = np.full(len(frames), np.nan)
    for index in runs(frames):
        position_N3 = frames.position[index]
        path_N = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(position_N3, axis=0), axis=1))])
        ahead = np.searchsorted(path_N, path_N + TURN_METRES)
        inside = ahead < len(index)
        here, there = index[inside], index[ahead[inside]]
        turn_N[here] = angle_deg(frames.quaternion[here], frames.quaternion[there])
    return turn_N


def picture(report: Results, difference_N: np.ndarray, names: tuple[str, str]) -> Figure:
    """The map; a panel for each scene. Colours are symmetric and end at the 95th percentile."""
    frames = report.frames
    finite_N = difference_N[np.isfinite(difference_N)]
    limit = max(float(np.percentile(np.abs(finite_N), 95)) if len(finite_N) else 1.0, 1e-6)
    groups = report.groups("scene")
    scenes = list(groups.items())[: figures.MAX_PANELS]
    columns = min(len(scenes), 3)
    figure = Figure(figsize=(5.0 * columns + 1.5, 4.5 * -(-len(scenes) // columns) + 0.5), layout="compressed")
    for place, (name, index) in enumerate(scenes, 1):
        axes = figure.add_subplot(-(-len(scenes) // columns), columns, place)
        pair = list(axes_from_above(frames.position[index], frames.quaternion[index]))
        order = index[np.argsort(np.abs(difference_N[index]))]  # the largest on top
        shown_N = np.clip(difference_N[order], -limit, limit)
        x_N, y_N = frames.position[order][:, pair].T
        dots = axes.scatter(x_N, y_N, c=shown_N, cmap="RdBu_r", vmin=-limit, vmax=limit, s=16, ec="0.5", lw=0.3)
        axes.set(aspect="equal", xlabel=f"{'xyz'[pair[0]]} ({report.unit})", ylabel=f"{'xyz'[pair[1]]} ({report.unit})")
        axes.set_title(name, fontsize=10)
    bar = figure.colorbar(dots, ax=figure.axes, extend="both", shrink=0.85)
    bar.set_label(f"position error: B minus A ({report.unit}); blue: B is better")
    left_out = f"\n{len(scenes)} of {len(groups)} scenes shown" if len(scenes) < len(groups) else ""
    figure.suptitle(f"A: {names[0]}\nB: {names[1]}{left_out}", fontsize=10)
    return figure


def _spearman(a_N: np.ndarray, b_N: np.ndarray) -> float | None:
    """The rank correlation where both are known; None where one does not vary."""
    known_N = ~np.isnan(a_N) & ~np.isnan(b_N)
    return spearman(a_N[known_N], b_N[known_N]) if known_N.sum() >= 3 else None
