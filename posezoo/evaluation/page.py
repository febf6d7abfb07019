"""The report that people open: one HTML file with its pictures, style and script in it, which asks nothing of anybody.

Also the report as Markdown, as a LaTeX table and as CSV. The pages are the templates beside this module.

Legend: N test images, M training images.
"""

from __future__ import annotations

import base64
import io
import json
import shlex
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from posezoo.base.errors import PosezooError
from posezoo.base.files.pictures import read_image
from posezoo.base.observe import parallel
from posezoo.base.paths import without_folders
from posezoo.base.poses import Poses, table
from posezoo.base.rotation import axes_from_above
from posezoo.data.table import Frames
from posezoo.evaluation import baselines
from posezoo.evaluation.compare import UNITS, ends, number, ranking_differences, with_interval
from posezoo.evaluation.results import MEDIANS, Worded

MOST_IMAGES = 1000
"""Images in the plan view, evenly chosen; those of most and least error are always among them.

Each has its picture and that of its nearest training image: a photograph takes 1.8 KB, all together less than 4 MB."""
EXTREMES = 6
THUMB_EDGE, QUALITY = 96, 40
_COLOURS = ("--model", "--mean", "--near", "--oracle")


def html(report: Worded) -> str:
    """The report as one self-contained page."""
    shown = _Shown(report)
    style, script = (Markup(read_template(name)) for name in ("report.css", "report.js"))
    # no "</script>" and no comment can begin inside of the data
    data = Markup(json.dumps(shown.data(), allow_nan=False, ensure_ascii=True).replace("<", "\\u003c"))
    names = [{"name": name, "colour": _COLOURS[n % 4]} for n, name in enumerate(report.methods)]
    more = {"style": style, "script": script, "data": data, "methods": names, "unit": report.unit}
    return template("report.html.j2").render(
        _words(report), **more, scenes=shown.scenes, axis=shown.axis, left_out=shown.left_out,
        gone=shown.gone, extremes=shown.extremes(),
    )  # fmt: skip


def markdown(report: Worded) -> str:
    """The report's words and tables as Markdown."""
    return template("report.md.j2").render(_words(report))


def latex(report: Worded) -> str:
    """Median position and orientation of every method by scene or condition, for booktabs; `%` lines say what it is."""
    by = "scene" if len(report.groups("scene")) > 1 else "condition"
    kinds = [by] if len(report.groups(by)) > 1 else []
    kinds += ["overall"] if not kinds or by == "condition" else []
    # every method has its rows in one order, whatever the groups are called: a condition may be called overall
    rows = [row for kind in kinds for row in report.rows(kind)]
    own = {method: [row for row in rows if row["method"] == method] for method in report.methods}
    groups = [row["group"] for row in own[report.model]]
    what = f"{without_folders(report.data)}, {report.split}, {report.ground_truth} ground truth"
    lines = [
        _one_line(f"% {what}: median {report.unit}, median deg (95 % intervals)"),
        rf"\begin{{tabular}}{{l{'c' * len(groups)}}}",
        r"\toprule",
        " & ".join(["method", *map(_tex, groups)]) + r" \\",
        r"\midrule",
    ]
    for method in report.methods:
        cells = [", ".join(with_interval(row, key) for key in MEDIANS) for row in own[method]]
        lines.append(" & ".join([_tex(method), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def csv(report: Worded) -> str:
    """Every row of every grouping as CSV; intervals in two columns."""
    rows = []
    for by, found in report.to_dict()["results"].items():
        for row in found:
            flat = {"by": by}
            for key, value in row.items():
                if key.endswith("_ci95"):
                    flat |= dict(zip((f"{key}_low", f"{key}_high"), value or ("", ""), strict=True))
                else:
                    flat[key] = "" if value is None else value
            rows.append(flat)
    columns = dict.fromkeys(key for row in rows for key in row)
    return table({key: [row.get(key, "") for row in rows] for key in columns})


def verdict(report: Worded) -> list[str]:
    """The report in some sentences: how good, and what of the baselines it beats, by paired differences."""
    row = report.headline[report.model]
    typical = f"{number(row[MEDIANS[0]])} {report.unit} and {number(row[MEDIANS[1]])} degrees"
    averaged = ", averages over the scenes" if len(report.groups("scene")) > 1 else ""
    sentences = [f"The median errors are {typical}{averaged}."]
    for name in (baselines.MEAN, baselines.RETRIEVAL):
        if name in report.methods and name != report.model:
            found = ranking_differences(report, name, report.model)
            parts = [f"{o.verdict} in {o.error} ({ends(o.difference)} {report.units[o.error]})" for o in found]
            sentences.append(f"Compared with the {name} it is {' and '.join(parts)}.")
    if report.uncertainty is not None:
        worth = report.uncertainty
        parts = [
            f"{100 * inside:.0f} % of the {what}"
            for what, key in (("positions", "position_m"), ("orientations", "orientation_deg"))
            if (inside := worth[f"coverage_{key}"]) is not None
        ]
        held = f"for {' and '.join(parts)}" if parts else "for none"
        unfamiliar = f"{worth['num_unfamiliar']} of {worth['num']} are unfamiliar"
        sentences.append(f"Its radii hold {held} of the familiar images; {unfamiliar}.")
    if row["num_failed"]:
        sentences.append(f"It gave no finite pose for {row['num_failed']} of {row['num']} images.")
    return sentences


def provenance(report: Worded) -> dict[str, Any]:
    """Where the numbers come from."""
    settings, versions = report.settings, report.to_dict()["versions"]
    trained = settings.get("trained", {})
    weights = str(settings.get("weights", ""))
    command = ["posezoo", "eval", without_folders(weights) or report.model, "--data", without_folders(report.data)]
    command += ["--subset", report.split] if report.split != "test" else []
    command += ["--skip-bad"] if settings.get("skipped") else []
    command += ["--tta"] if settings.get("tta") else []
    known = {
        "command": shlex.join(command),
        "model": report.model,
        "weights": without_folders(weights),
        "sha256 of the weights": trained.get("weights_sha256"),
        "weights chosen by": report.selection,
        "trained on": trained.get("data") and without_folders(str(trained["data"])),
        "digest of the training data": trained.get("data_digest"),
        "recipe": trained.get("recipe"),
        "seed": trained.get("seed"),
        "commit": trained.get("commit"),
        "evaluated on": f"{without_folders(report.data)}, {report.split}: {len(report.frames)} images",
        "digest of the data": report.data_digest,
        "ground truth": report.ground_truth,
        "versions": ", ".join(f"{name} {value}" for name, value in versions.items()),
    }
    return {name: value for name, value in known.items() if value not in (None, "")}


class _Shown:
    """What the plan view and the thumbnails show."""

    def __init__(self, report: Worded) -> None:
        self.report, frames = report, report.frames
        self.metres_N, self.degrees_N = report.errors[report.model]
        order_N = np.argsort(self.metres_N, kind="stable")
        self.best_n, self.worst_n = order_N[:EXTREMES], order_N[::-1][:EXTREMES]
        even_n = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), MOST_IMAGES)).astype(np.int64))
        self.rows_n = np.unique(np.concatenate([even_n, self.best_n, self.worst_n]))
        thinned = f"{len(self.rows_n)} of {len(frames)} images shown, evenly chosen, the best and the worst among them."
        self.left_out = "" if len(self.rows_n) == len(frames) else thinned
        parts = [frames.select(frames.scene == scene) for scene in range(len(frames.scenes))]
        self.pairs = [list(axes_from_above(one.position, one.quaternion)) if len(one) else [0, 1] for one in parts]
        self.scenes = {number: frames.scenes[number] for number, one in enumerate(parts) if len(one)}
        hidden = ["xyz"[({0, 1, 2} - set(p)).pop()] for p, one in zip(self.pairs, parts, strict=True) if len(one)]
        self.axis = " or ".join(dict.fromkeys(hidden))
        self.near_N = self._nearest()
        wanted = {str(frames.path(n)): frames for n in self.rows_n.tolist()}
        if report.train is not None:
            near_n = self.near_N[self.rows_n]
            wanted |= {str(report.train.path(n)): report.train for n in near_n[near_n >= 0].tolist()}
        found = parallel(lambda one: _thumbnail(one[0], one[1]), wanted.items())
        sources = {path: source for path, source in zip(wanted, found, strict=True) if source}
        self.thumbs, self.number_of = list(sources.values()), {path: n for n, path in enumerate(sources)}
        self.gone = len(wanted) - len(self.thumbs)

    def data(self) -> dict[str, Any]:
        """What the script reads."""
        report, train = self.report, self.report.train
        finite_N = self.metres_N[np.isfinite(self.metres_N)]
        low, high = np.percentile(finite_N, [5, 95]) if len(finite_N) else (0.1, 1.0)
        images = [self._image(int(n)) for n in self.rows_n]
        curves = {
            error: [_curve(report.errors[method][which]) for method in report.methods]
            for which, error in enumerate(UNITS)
        }
        seen = []
        if train is not None:  # other scenes have coordinates of their own
            known = np.array([name in self.scenes.values() for name in train.scenes])
            seen = np.flatnonzero(known[train.scene]).tolist()
        return {
            "unit": report.unit,
            "heat": [max(float(low), 1e-4), max(float(high), 2e-4, 1.5 * float(low))],
            "images": images,
            "train": [self._place(train, n) for n in seen[:: max(1, len(seen) // 4000)]] if train is not None else [],
            "curves": curves,
            "thumbs": self.thumbs,
        }

    def extremes(self) -> list[dict[str, Any]]:
        """The worst and the best images."""
        groups = []
        for title, rows in (("Worst images", self.worst_n), ("Best images", self.best_n)):
            images = []
            for n in rows.tolist():
                thumb = self._thumb(self.report.frames, n)
                words = f"{number(self.metres_N[n])} {self.report.unit}, {number(self.degrees_N[n])} deg"
                source = None if thumb is None else Markup(self.thumbs[thumb])
                index = int(np.searchsorted(self.rows_n, n))
                images.append({"index": index, "source": source, "words": words, "name": _name(self.report.frames, n)})
            groups.append({"title": title, "images": images})
        return groups

    def _image(self, n: int) -> dict[str, Any]:
        report, train, nearest = self.report, self.report.train, int(self.near_N[n])
        predicted_3 = report.methods[report.model].position[n]
        near = None
        if train is not None and nearest >= 0:
            away = float(np.linalg.norm(train.position[nearest] - report.frames.position[n]))
            near = {"name": _name(train, nearest), "metres": _finite(away), "thumb": self._thumb(train, nearest)}
        return {
            **self._place(report.frames, n),
            "name": _name(report.frames, n),
            "predicted": predicted_3[self.pairs[report.frames.scene[n]]].tolist()
            if np.isfinite(predicted_3).all()
            else None,
            "metres": _finite(self.metres_N[n]),
            "degrees": _finite(self.degrees_N[n]),
            "thumb": self._thumb(report.frames, n),
            "near": near,
        }

    def _place(self, frames: Frames, n: int) -> dict[str, Any]:
        scene = self.report.frames.scenes.index(frames.scenes[frames.scene[n]])
        return {"at": [round(float(x), 3) for x in frames.position[n][self.pairs[scene]]], "scene": scene}

    def _nearest(self) -> np.ndarray:
        """The row of each test image's nearest training image (by features, else by position), -1 for none.

        It is known by its pose alone. Where several training images have that pose (other looks of one view, scenes
        that start at the origin) nobody knows which of them it is, and none is better than a wrong one.
        """
        report, train = self.report, self.report.train
        if train is None:
            return np.full(len(report.frames), -1)
        retrieved = report.methods.get(baselines.RETRIEVAL)
        poses = retrieved or report.methods.get(baselines.ORACLE)
        poses = poses or baselines.oracle_nearest_pose(train, report.frames)

        def keys(frames: Frames, known: Poses | Frames) -> list[tuple[str, bytes]]:
            # retrieval searches all scenes, the oracle that of the test image
            scenes = ("" if retrieved else frames.scenes[scene] for scene in frames.scene)
            numbers_N7 = np.hstack([known.position, known.quaternion])
            return [(scene, pose_7.tobytes()) for scene, pose_7 in zip(scenes, numbers_N7, strict=True)]

        rows: dict[tuple[str, bytes], int] = {}
        for n, key in enumerate(keys(train, train)):
            rows[key] = -1 if key in rows else n
        return np.array([rows.get(key, -1) for key in keys(report.frames, poses)])

    def _thumb(self, frames: Frames, n: int) -> int | None:
        """The number of the image's thumbnail; None if its file is not here any more."""
        return self.number_of.get(str(frames.path(n)))


def _thumbnail(path: str, frames: Frames) -> str:
    """The picture, small, as text for a page; empty if it cannot be read."""
    try:
        pixels = read_image(path, THUMB_EDGE, frames.decode)
    except PosezooError:
        return ""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "WEBP", quality=QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


def _words(report: Worded) -> dict[str, Any]:
    """What both forms of the report say."""
    return {
        "title": f"{report.model} on {without_folders(report.data)}",
        "verdict": verdict(report),
        "tables": [
            {"title": without_folders(title), "header": header, "rows": rows}
            for title, header, rows in report.table_rows()
        ],
        "intervals": report.intervals_note,
        "costs": report.cost_lines,
        "notes": [without_folders(note) for note in report.notes],
        "provenance": provenance(report),
    }


def template(name: str) -> jinja2.Template:
    """The page's template; what it is given is escaped in HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(read_template), autoescape=name.endswith(".html.j2"), trim_blocks=False
    )
    environment.filters["plain"] = _plain
    return environment.get_template(name)


def read_template(name: str) -> str:
    """The text of a file beside this module."""
    return (files("posezoo.evaluation") / "templates" / name).read_text(encoding="utf-8")


def _curve(error_N: np.ndarray, points: int = 200) -> list[float | None]:
    """The sorted errors at evenly spaced shares of the images."""
    place = np.linspace(0, len(error_N) - 1, min(points, max(2, len(error_N)))).round().astype(np.int64)
    return [_finite(value) for value in np.sort(error_N)[place]]


def _finite(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None


def _name(frames: Frames, n: int) -> str:
    return frames.name(n).encode("utf-8", "backslashreplace").decode()


def _one_line(text: str) -> str:
    """The text without what would begin a new line, or do something else than be read."""
    return "".join(c if c.isprintable() else " " for c in text)


def _plain(text: object) -> str:
    """The text for Markdown: one line, without markup of HTML, pictures, or the end of a cell."""
    line = _one_line(str(text))
    for mark, instead in (("&", "&amp;"), ("<", "&lt;"), ("![", "!\\["), ("|", "\\|")):
        line = line.replace(mark, instead)
    return line


_TEX = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}


def _tex(text: str) -> str:
    return "".join(_TEX.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in _one_line(text) or "(none)")
