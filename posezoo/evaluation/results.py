"""What an evaluation measured: every method's poses on the same frames, their errors, and summaries by group."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from posezoo.base.errors import unknown_name
from posezoo.base.poses import Poses
from posezoo.data.splits import runs
from posezoo.data.table import Frames
from posezoo.evaluation import intervals, metrics, uncertainty
from posezoo.evaluation.intervals import Index, Interval

GROUPINGS = ("overall", "scene", "sequence", "condition")
AVERAGE = "average of scenes"
MEDIANS = ("median_position_m", "median_orientation_deg")
MOST_INTERVALS = 50
"""Groups of a grouping: with more of them none has an interval, which would take a minute for a thousand scenes."""

Row = dict[str, Any]
Table = tuple[str, list[str], list[list[str]]]
"""Title, header, rows."""


@dataclass(frozen=True)
class Results:
    """The poses of one model and of the baselines on the frames of one split. `methods` has the model first."""

    model: str
    data: str
    data_digest: str
    ground_truth: str
    split: str
    selection: str
    """How the weights were chosen, e.g. "lowest validation median position"; empty: unknown."""
    methods: Mapping[str, Poses]
    frames: Frames
    train: Frames | None = None
    scene_predicted: npt.NDArray[np.int64] | None = None
    """(N,) the scene the model chose, as an index into `frames.scenes`, -1 if it is none of them; None: no choice."""
    remarks: tuple[str, ...] = ()
    """What the reader must know, e.g. which baseline is left out and why."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    unit: str = "m"
    """Of positions and their errors, whatever the keys are called: m, or `scene units` where the data have no metre."""

    @property
    def units(self) -> dict[str, str]:
        """What each error is in, to be shown."""
        return {"position": self.unit, "orientation": "deg"}

    @cached_property
    def errors(self) -> dict[str, tuple[metrics.FloatArray, metrics.FloatArray]]:
        """Method -> (position errors in metres, orientation errors in degrees), each (N,)."""
        true = self.frames
        return {
            name: metrics.pose_errors(poses.position, poses.quaternion, true.position, true.quaternion)
            for name, poses in self.methods.items()
        }

    @cached_property
    def uncertainty(self) -> dict[str, Any] | None:
        """What the model's radii are worth (posezoo.evaluation.uncertainty), and where they come from; None without."""
        found = uncertainty.summary(self.methods[self.model], self.errors[self.model])
        return None if found is None else {**self.settings.get("calibration", {}), **found}

    def facts(self, method: str) -> Row:
        """The labels that a method was measured by; its training data, seed, and how its weights were chosen."""
        if method != self.model:
            digest = self.settings.get("baselines_digest")
            return {"ground_truth": self.ground_truth, "trained_on": digest, "seed": None, "selection": ""}
        trained: Row = self.settings.get("trained", {})
        known = {"trained_on": trained.get("data_digest"), "seed": trained.get("seed")}
        return {"ground_truth": self.ground_truth, **known, "selection": self.selection}

    @property
    def scene_accuracy(self) -> float | None:
        """The share of images whose scene the model found; None where it does not choose."""
        if self.scene_predicted is None:
            return None
        return float(np.mean(self.scene_predicted == self.frames.scene))

    def groups(self, by: str) -> dict[str, Index]:
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
        groups = self.groups(by)
        known = len(groups) <= MOST_INTERVALS
        rows = [
            {"method": method, "group": group, **self._summary(method, index, known)}
            for group, index in groups.items()
            for method in self.methods
        ]
        if by == "scene" and len(groups) > 1:
            for method in self.methods:
                summaries = [_plain(row) for row in rows if row["method"] == method]
                average = metrics.average(summaries) | {"method": method, "group": AVERAGE}
                for key, error_N in zip(MEDIANS, self.errors[method], strict=True):
                    parts = [(error_N[index], self.sequences(index)) for index in groups.values()]
                    average |= _spread(key, intervals.average_interval(parts) if known else None)
                rows.append(average)
        return rows

    def _summary(self, method: str, index: Index, with_intervals: bool) -> Row:
        errors = [error_N[index] for error_N in self.errors[method]]
        summary = metrics.summarise(*errors)
        sequences = self.sequences(index)
        for key, error_N in zip(MEDIANS, errors, strict=True):
            summary |= _spread(key, intervals.median_interval(error_N, sequences) if with_intervals else None)
        summary["num_sequences"] = len(sequences)
        if self.scene_predicted is not None and method == self.model:
            right_N = self.scene_predicted[index] == self.frames.scene[index]
            summary["scene_accuracy"] = float(np.mean(right_N))
        return summary

    def sequences(self, index: Index) -> list[Index]:
        """The places, among the frames `index`, of each sequence's frames in the order of time."""
        run_n, place_n = self._order[0][index], self._order[1][index]
        order_n = np.lexsort((place_n, run_n))
        return np.split(order_n, np.flatnonzero(np.diff(run_n[order_n])) + 1)

    @cached_property
    def _order(self) -> tuple[Index, Index]:
        """Of each frame the number of its sequence, and its place in it."""
        run_N, place_N = (np.zeros(len(self.frames), dtype=np.int64) for _ in range(2))
        for number, index in enumerate(runs(self.frames)):
            run_N[index], place_N[index] = number, np.arange(len(index))
        return run_N, place_N

    @cached_property
    def headline(self) -> dict[str, Row]:
        """Method -> the row that ranks it: the average of scenes where there are several, else all images."""
        rows = self.rows("scene")
        last = rows[-1]["group"]
        return {row["method"]: row for row in rows if row["group"] == last}


class Worded(Results, ABC):
    """Results that are told in words and tables: what a page is made of."""

    @property
    @abstractmethod
    def notes(self) -> list[str]:
        """Lines for the reader."""

    @property
    @abstractmethod
    def intervals_note(self) -> str:
        """How the intervals of the first table were made."""

    @property
    @abstractmethod
    def cost_lines(self) -> list[str]:
        """What an answer of each method costs, where it was measured."""

    @abstractmethod
    def table_rows(self) -> list[Table]:
        """The tables to print."""

    @abstractmethod
    def to_dict(self) -> Row:
        """Everything as plain data."""


def _spread(key: str, found: Interval | None) -> Row:
    """The entries of a row beside its median `key`: the interval, and the frames in a block that it was made with."""
    if found is None:
        return {f"{key}_ci95": None, f"{key}_block": None}
    return {f"{key}_ci95": (found.low, found.high), f"{key}_block": found.block}


def _plain(row: Row) -> Row:
    """What of a row can be averaged or added."""
    return {key: value for key, value in row.items() if not key.endswith(("_ci95", "_block"))}
