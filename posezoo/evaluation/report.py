"""What an evaluation found: every method's poses on the same frames, summarised, tabulated, plotted and saved.

In JSON, a number that is not finite is the string "inf" (a method failed on half of the images or more); recalls are
shares in 0..1; `..._ci95` are bootstrap intervals of medians.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from posezoo.data.frames import Frames
from posezoo.errors import unknown_name
from posezoo.evaluation import baselines, metrics
from posezoo.types import CONVENTIONS, Poses

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = 1  # version of report.json
GROUPINGS = ("overall", "scene", "sequence", "condition")
FIGURES = ("trajectory", "errors")
AVERAGE = "average of scenes"
MAX_LINES = 25  # of a printed table of groups

Row = dict[str, Any]
Table = tuple[str, list[str], list[list[str]]]


@dataclass(frozen=True)
class Report:
    """The poses of one model and of the baselines on the frames of one split. `methods` has the model first."""

    model: str
    data: str
    data_digest: str
    ground_truth: str
    split: str
    selection: str
    """How the weights were chosen, e.g. "lowest validation median position"; empty: not known."""
    methods: Mapping[str, Poses]
    frames: Frames
    train: Frames | None = None
    scene_predicted: npt.NDArray[np.int64] | None = None
    """(N,) the scene the model chose, as an index into `frames.scenes`, -1 if it is none of them; None: not asked."""
    remarks: tuple[str, ...] = ()
    """What a reader must know, e.g. which baseline is left out and why."""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def errors(self) -> dict[str, tuple[metrics.FloatArray, metrics.FloatArray]]:
        """Method -> (position errors in metres, orientation errors in degrees), each (N,)."""
        true = self.frames
        return {
            name: metrics.pose_errors(poses.position, poses.quaternion, true.position, true.quaternion)
            for name, poses in self.methods.items()
        }

    @property
    def scene_accuracy(self) -> float | None:
        """The share of images whose scene the model found; None where it does not choose."""
        if self.scene_predicted is None:
            return None
        return float(np.mean(self.scene_predicted == self.frames.scene))

    def groups(self, by: str) -> dict[str, npt.NDArray[np.int64]]:
        """Group name -> rows of the frames in it. Sequences of several scenes are named scene/sequence."""
        if by not in GROUPINGS:
            raise unknown_name("grouping", by, GROUPINGS, "one of " + ", ".join(GROUPINGS))
        if by == "overall":
            return {"overall": np.arange(len(self.frames))}
        scenes = np.array(self.frames.scenes)[self.frames.scene]
        names = scenes if by == "scene" else getattr(self.frames, by)
        if by == "sequence" and len(set(scenes)) > 1:
            names = np.array([f"{scene}/{name}" for scene, name in zip(scenes, names, strict=True)])
        # scenes keep the data set's order, the others are sorted
        order = [s for s in self.frames.scenes if s in set(scenes)] if by == "scene" else sorted(set(names.tolist()))
        # one sorting for all groups: there may be a thousand
        known, group_N = np.unique(names, return_inverse=True)
        parts = np.split(np.argsort(group_N, kind="stable"), np.cumsum(np.bincount(group_N))[:-1])
        rows = dict(zip(known.tolist(), parts, strict=True))
        return {str(name): rows[name] for name in order}

    def rows(self, by: str = "overall") -> list[Row]:
        """One dict(method, group, **summary) per group and method; by scene also the unweighted average of scenes."""
        if by not in self._rows:
            self._rows[by] = self._summaries(by)
        return self._rows[by]

    @cached_property
    def _rows(self) -> dict[str, list[Row]]:
        return {}

    def _summaries(self, by: str) -> list[Row]:
        rows = [
            {"method": method, "group": group, **self._summary(method, index)}
            for group, index in self.groups(by).items()
            for method in self.methods
        ]
        if by == "scene" and len(rows) > len(self.methods):
            for method in self.methods:
                summaries = [row for row in rows if row["method"] == method]
                rows.append(metrics.average(summaries) | {"method": method, "group": AVERAGE})
        return rows

    def _summary(self, method: str, index: npt.NDArray[np.int64]) -> Row:
        position_N, orientation_N = self.errors[method]
        summary = metrics.summarise(position_N[index], orientation_N[index])
        if self.scene_predicted is not None and method == self.model:
            right_N = self.scene_predicted[index] == self.frames.scene[index]
            summary["scene_accuracy"] = float(np.mean(right_N))
        return summary

    @cached_property
    def headline(self) -> dict[str, Row]:
        """Method -> the row that ranks it: the average of scenes where there are several, else all images."""
        rows = self.rows("scene")
        last = rows[-1]["group"]
        return {row["method"]: row for row in rows if row["group"] == last}

    @property
    def notes(self) -> list[str]:
        """Lines a person must see: the remarks, failures, and every baseline that the model does not beat."""
        notes, row = list(self.remarks), self.headline[self.model]
        if row["num_failed"]:
            notes.append(f"{self.model} gave no finite pose for {row['num_failed']} of {row['num']} images")
        for name in (baselines.MEAN, baselines.RETRIEVAL):
            lost = [
                f"median {word} {_number(row[key])} {unit} against {_number(self.headline[name][key])} {unit}"
                for word, key, unit in (
                    ("position", "median_position_m", "m"),
                    ("orientation", "median_orientation_deg", "deg"),
                )
                if name in self.headline and row[key] >= self.headline[name][key]
            ]
            if lost:
                notes.append(f"{self.model} is no better than the {name}: {', '.join(lost)}")
        return notes

    def to_dict(self) -> Row:
        """The content of report.json: all methods, all groupings, settings, versions, data digest; JSON-safe."""
        content = {
            "format": FORMAT,
            "model": self.model,
            "data": self.data,
            "data_digest": self.data_digest,
            "ground_truth": self.ground_truth,
            "split": self.split,
            "selection": self.selection,
            "num_images": len(self.frames),
            "num_training_images": None if self.train is None else len(self.train),
            "scenes": list(self.groups("scene")),
            "scene_accuracy": self.scene_accuracy,
            "notes": self.notes,
            "settings": dict(self.settings),
            "versions": _versions(),
            "results": {by: self.rows(by) for by in GROUPINGS if by == "overall" or self._is_split(by)},
        }
        safe: Row = _json_safe(content)
        return safe

    def _is_split(self, by: str) -> bool:
        return len(self.groups(by)) > 1

    def table_rows(self) -> list[Table]:
        """(title, header, rows) to print: overall, then by condition, scene and sequence where there are several."""
        header = ["method", "images", "median m", "95 %", "median deg", "95 %", "mean m", "mean deg"]
        overall = [[row["method"], str(row["num"]), *_cells(row)] for row in self.rows("overall")]
        recalls = [name.replace("_", " ") for name in metrics.RECALLS]
        title = f"{self.data}, {self.split} ({self.ground_truth} ground truth)"
        tables: list[Table] = [(title, [*header, *recalls], overall)]
        for by in ("condition", "scene", "sequence"):
            # sequences say nothing new where each is a scene of its own
            told = by == "sequence" and (
                self._is_split("condition") or len(self.groups("sequence")) == len(self.groups("scene"))
            )
            if self._is_split(by) and not told:
                tables.append(self._group_table(by))
        return tables

    def _group_table(self, by: str) -> Table:
        rows = self.rows(by)
        lines: dict[str, list[str]] = {}
        for row in rows:
            errors = f"{_number(row['median_position_m'])}, {_number(row['median_orientation_deg'])}"
            lines.setdefault(row["group"], [row["group"] or "(none)", str(row["num"])]).append(errors)
        header = [by, "images", *self.methods]
        if self.scene_predicted is not None and by == "scene":
            header.append("scene found")
            for row in rows:
                if row["method"] == self.model:
                    lines[row["group"]].append(f"{100 * row['scene_accuracy']:.1f} %")
        shown = list(lines.values())
        title = f"by {by}: median m, median deg"
        if len(shown) > MAX_LINES:
            last = shown[-1:] if AVERAGE in lines else []
            title += f" (the first {MAX_LINES} of {len(shown) - len(last)}: report.json has all)"
            shown = shown[:MAX_LINES] + last
        return title, header, shown

    def plot(self, kind: str, path: str | Path | None = None) -> Figure:
        """The figure `kind` ("trajectory" or "errors"); saved too if `path` is given."""
        if kind not in FIGURES:
            raise unknown_name("figure", kind, FIGURES, "one of " + ", ".join(FIGURES))
        from posezoo.evaluation import figures  # matplotlib takes a second to import

        figure = figures.trajectory(self) if kind == "trajectory" else figures.errors(self)
        if path:
            figures.save(figure, Path(path))
        return figure

    def export(self, form: str, folder: str | Path) -> list[Path]:
        """The files of the model's poses written to `folder`, in a form of `posezoo data export`."""
        from posezoo.evaluation import files

        return files.export(self, form, Path(folder))

    def save(self, folder: str | Path) -> Path:
        """The folder, with report.json, predictions.csv, tum/ and the two figures written into it."""
        from posezoo.evaluation import files

        return files.save(self, Path(folder))


def _cells(row: Row) -> list[str]:
    cells = []
    for key in ("median_position_m", "median_orientation_deg"):
        low, high = row[f"{key}_ci95"]
        cells += [_number(row[key]), f"{_number(low)} to {_number(high)}"]
    cells += [_number(row["mean_position_m"]), _number(row["mean_orientation_deg"])]
    return [*cells, *(f"{100 * row[f'recall_{name}']:.1f} %" for name in metrics.RECALLS)]


def _number(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _json_safe(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_safe(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _versions() -> dict[str, str | int]:
    versions: dict[str, str | int] = {"conventions": CONVENTIONS, "python": platform.python_version()}
    for package in ("posezoo", "torch", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
