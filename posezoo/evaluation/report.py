"""The report of an evaluation, in words, tables, pictures and files.

In JSON, a number that is not finite is the string "inf" (a method failed on half of the images or more); recalls are
shares in 0..1; `..._ci95` are the intervals of posezoo.evaluation.intervals (None: none was made), `..._block` the
frames in a block.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from posezoo.base.errors import unknown_name
from posezoo.base.files.write import write_whole, writing
from posezoo.base.paths import user_path
from posezoo.base.poses import CONVENTIONS
from posezoo.base.shown import data_frame, html_lines, html_table
from posezoo.evaluation import baselines, cost, files, metrics, stored
from posezoo.evaluation.compare import number, with_interval
from posezoo.evaluation.intervals import DRAWS
from posezoo.evaluation.results import AVERAGE, GROUPINGS, MEDIANS, Row, Table, Worded
from posezoo.zoo.find import REPORT

if TYPE_CHECKING:
    import pandas

    from posezoo.base.picture import Picture

FORMAT = 1  # version of report.json
Figures = Literal["trajectory", "errors"]
FIGURES: tuple[Figures, ...] = get_args(Figures)
COSTS = ("parameters", "bytes", "latency_ms_p50", "latency_ms_p95", "file_ms_p50", "file_ms_p95")
MAX_LINES = 25  # of a printed table of groups
FEW = 8  # sequences: fewer cover the median of all possible ones in less than 93 % of cases (intervals)


@dataclass(frozen=True, repr=False)
class Report(Worded):
    """The results of one model and of the baselines on the frames of one split, to be read, drawn and saved."""

    def __repr__(self) -> str:
        row = self.headline[self.model]
        errors = f"median {number(row['median_position_m'])} {self.unit}, {number(row['median_orientation_deg'])} deg"
        return f"<Report of {self.model} on {self.data}, {len(self.frames)} {self.split} images: {errors}>"

    def _repr_html_(self) -> str:
        tables = [html_table(*table) for table in self.table_rows()]
        return "".join(tables) + html_lines(f"note: {note}" for note in self.notes)

    def to_dataframe(self, by: str = "overall") -> pandas.DataFrame:
        """A pandas table of `rows(by)`: a row for each method and group. Raises UsageError without pandas."""
        rows = [{key: value for key, value in row.items() if not isinstance(value, list)} for row in self.rows(by)]
        return data_frame({key: [row.get(key) for row in rows] for key in rows[0]})

    @property
    def notes(self) -> list[str]:
        """Lines for the reader: the remarks, failures, and every baseline that the model does not beat."""
        notes, row = list(self.remarks), self.headline[self.model]
        if row["num_failed"]:
            notes.append(f"{self.model} gave no finite pose for {row['num_failed']} of {row['num']} images")
        for name in (baselines.MEAN, baselines.RETRIEVAL):
            lost = [
                f"median {word} {number(row[key])} {unit} against {number(self.headline[name][key])} {unit}"
                for word, key, unit in (
                    ("position", "median_position_m", self.unit),
                    ("orientation", "median_orientation_deg", "deg"),
                )
                if name in self.headline and row[key] >= self.headline[name][key]
            ]
            if lost:
                notes.append(f"{self.model} is no better than the {name}: {', '.join(lost)}")
        return notes

    @property
    def intervals_note(self) -> str:
        """How the intervals of the first table were made."""
        rows = self.rows("overall")
        blocks = sorted({row[f"{key}_block"] for row in rows for key in MEDIANS})
        length = f"{blocks[0]}" if len(blocks) == 1 else f"{blocks[0]} to {blocks[-1]}"
        count = rows[0]["num_sequences"]
        scope = f"{count} sequences, resampled too" if count > 1 else "one sequence: they speak of this traversal only"
        scope += ": few, of others they say less" if 1 < count < FEW else ""
        return f"95 % intervals: blocks of {length} frames, {DRAWS} times resampled; {scope}"

    def to_dict(self) -> Row:
        """The content of report.json: all methods, all groupings, settings, versions, data digest; JSON-safe."""
        content = {
            "format": FORMAT,
            "model": self.model,
            "data": self.data,
            "data_digest": self.data_digest,
            "ground_truth": self.ground_truth,
            "unit": self.unit,
            "split": self.split,
            "selection": self.selection,
            "num_images": len(self.frames),
            "num_training_images": None if self.train is None else len(self.train),
            "scenes": list(self.groups("scene")),
            "scene_accuracy": self.scene_accuracy,
            "notes": self.notes,
            "remarks": list(self.remarks),
            "intervals": self.intervals_note,
            "uncertainty": self.uncertainty,
            "settings": {key: value for key, value in self.settings.items() if key != "versions"},
            "versions": self.settings.get("versions") or _versions(),  # those that measured, where it was read
            "results": {
                by: [row | self.carried(row["method"]) for row in self.rows(by)]
                for by in GROUPINGS
                if by == "overall" or self._is_split(by)
            },
        }
        safe: Row = json_safe(content)
        return safe

    def carried(self, method: str) -> Row:
        """What each row of a method says beside its errors: labels, training, and what an answer costs."""
        row = self.facts(method)
        price: Row = self.settings.get("cost", {}).get(method, {})
        return row | {key: price.get(key) for key in COSTS} | {"cost_remark": price.get("remark", "")}

    @property
    def cost_lines(self) -> list[str]:
        """What an answer of each method costs, where it was measured."""
        return [cost.words(method, price) for method, price in self.settings.get("cost", {}).items()]

    def _is_split(self, by: str) -> bool:
        return len(self.groups(by)) > 1

    def table_rows(self) -> list[Table]:
        """(title, header, rows) to print: overall, then by condition, scene and sequence where there are several.

        Every median has its interval; of more than fifty groups none has one.
        """
        unit = self.unit
        medians = [f"median {unit}", f"95 % {unit}", "median deg", "95 % deg"]
        header = ["method", "images", *medians, f"mean {unit}", "mean deg"]
        overall = [[row["method"], str(row["num"]), *_cells(row)] for row in self.rows("overall")]
        recalls = [name.replace("_", " ") for name in metrics.RECALLS]
        title = f"{self.data}, {self.split} ({self.ground_truth} ground truth)"
        tables: list[Table] = [(title, [*header, *recalls], overall)]
        for by in ("condition", "scene", "sequence"):
            # sequences add nothing where each is a scene of its own
            redundant = by == "sequence" and (
                self._is_split("condition") or len(self.groups("sequence")) == len(self.groups("scene"))
            )
            if self._is_split(by) and not redundant:
                tables += self._group_tables(by)
        return tables + ([] if self.uncertainty is None else _uncertainty_tables(self.uncertainty, self.unit))

    def _group_tables(self, by: str) -> list[Table]:
        """How many images each group has, then a table for each method: with their intervals they fit 80 columns."""
        of = {method: [row for row in self.rows(by) if row["method"] == method] for method in self.methods}
        chooses = self.scene_predicted is not None and by == "scene"
        counts = [
            [str(row["num"]), *([f"{100 * row['scene_accuracy']:.1f} %"] if chooses else [])] for row in of[self.model]
        ]
        tables = [_cut(f"by {by}", [by, "images", *(["scene found"] if chooses else [])], of[self.model], counts)]
        for method, rows in of.items():
            medians = [[with_interval(row, key) for key in MEDIANS] for row in rows]
            header = [by, f"median {self.unit} (95 %)", "median deg (95 %)"]
            tables.append(_cut(f"by {by}, {method}", header, rows, medians))
        return tables

    def plot(self, kind: Figures, path: str | Path | None = None, theme: str = "light") -> Picture:
        """The figure `kind`, "trajectory" or "errors", for light or dark pages; saved too if `path` is given.

        `path` ends in .png, .svg or .pdf. Raises UsageError, ResourceError.
        """
        if kind not in FIGURES:
            raise unknown_name("figure", kind, FIGURES, "one of " + ", ".join(FIGURES))
        from posezoo.base import picture  # matplotlib takes a second to import
        from posezoo.evaluation import figures

        with picture.themed(theme):
            figure = figures.trajectory(self) if kind == "trajectory" else figures.errors(self)
        if path:
            figure.save(Path(path))
        return figure

    def draw(self, folder: Path, form: str = "png") -> list[Path]:
        """Both figures, written to `folder` as png, svg or pdf. Raises UsageError, ResourceError."""
        paths = {kind: folder / f"{kind}.{form}" for kind in FIGURES}
        for kind, path in paths.items():
            self.plot(kind, path)
        return list(paths.values())

    def export(self, form: str, folder: str | Path) -> list[Path]:
        """The files of the model's poses, written to `folder` in a form of `posezoo data export`."""
        return files.export(self, form, Path(folder))

    def write_pages(self, folder: Path) -> list[Path]:
        """report.html and report.md, written to `folder`, which is made. Raises ResourceError."""
        from posezoo.evaluation import page

        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        texts = {folder / "report.html": page.html(self), folder / "report.md": page.markdown(self)}
        for path, text in texts.items():
            files.write_text(path, text)
        return list(texts)

    @classmethod
    def load(cls, folder: str | Path) -> Report:
        """The report that `save` wrote to `folder`, with every pose. Raises WeightsError."""
        return cls(**stored.load(user_path(folder)))

    def save(self, folder: str | Path) -> Path:
        """The folder, with report.json, .html and .md, poses, TUM files and figures written. Raises ResourceError."""
        folder = Path(folder)
        with writing(folder):
            (folder / "tum").mkdir(parents=True, exist_ok=True)
        measured = stored.dump(self)
        write_whole(folder / stored.FILE, measured)
        files.write_text(folder / "predictions.csv", files.predictions(self))
        trajectories = files.trajectories(self)
        for name, text in trajectories.items():
            files.write_text(folder / "tum" / name, text)
        with writing(folder):
            for path in (folder / "tum").glob("*.txt"):  # of a report that was here before
                if path.name not in trajectories:
                    path.unlink()
        self.write_pages(folder)
        self.draw(folder)
        # last: with it the report is there
        content = self.to_dict() | {stored.DIGEST: stored.digest(measured)}
        files.write_text(folder / REPORT, json.dumps(content, indent=1, allow_nan=False) + "\n")
        return folder


def _uncertainty_tables(found: Row, unit: str) -> list[Table]:
    """What the radii are worth, and what is left where the least familiar images are rejected."""

    def shown(value: float | None, percent: bool = False) -> str:
        return "-" if value is None else f"{100 * value:.1f} %" if percent else number(value)

    promised = f" of {100 * found['coverage']:.0f} %" if "coverage" in found else ""
    rows = []
    for words, key, own in (("position", "position_m", unit), ("orientation", "orientation_deg", "deg")):
        coverage = [shown(found[f"coverage_{part}{key}"], True) for part in ("", "least_familiar_")]
        radius = f"{shown(found[f'median_radius_{key}'])} {own}"
        rows.append([words, *coverage, radius, *(shown(found[f"{one}_{key}"]) for one in ("spearman", "ause"))])
    title = f"radii{promised}: {found['num_unfamiliar']} of {found['num']} images are unfamiliar"
    if "source" in found:
        title += f"; from {found['count']} images, {found['source']}"
    header = ["error", "within", "least familiar quarter", "median radius", "Spearman", "AUSE"]
    kept = zip(found["kept_position_m"], found["kept_orientation_deg"], strict=True)
    left = [
        [f"{100 * m['kept']:.0f} %", *(number(one[k]) for one in (m, d) for k in ("median", "best"))] for m, d in kept
    ]
    columns = ["kept", f"median {unit}", "best possible", "median deg", "best possible"]
    return [(title, header, rows), ("the least familiar images rejected", columns, left)]


def _cut(title: str, header: list[str], rows: list[Row], cells: list[list[str]]) -> Table:
    """A table with a line for each group; of many the first alone, and the average of scenes."""
    lines = [[row["group"] or "(none)", *found] for row, found in zip(rows, cells, strict=True)]
    if len(lines) <= MAX_LINES:
        return title, header, lines
    last = lines[-1:] if rows[-1]["group"] == AVERAGE else []
    title += f" (the first {MAX_LINES} of {len(lines) - len(last)}: report.json has all)"
    return title, header, lines[:MAX_LINES] + last


def _cells(row: Row) -> list[str]:
    cells = []
    for key in MEDIANS:
        cells += [number(row[key]), _range(row[f"{key}_ci95"])]
    cells += [number(row["mean_position_m"]), number(row["mean_orientation_deg"])]
    return [*cells, *(f"{100 * row[f'recall_{name}']:.1f} %" for name in metrics.RECALLS)]


def _range(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f"{number(ends[0])} to {number(ends[1])}"


def json_safe(value: Any) -> Any:
    """Plain data for JSON: what is not finite as text, keys and what is unknown as text."""
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
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
