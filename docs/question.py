"""docs/results/hypernetwork.md: does the hypernetwork help? From the grids `question/*` of the catalogue.

    posezoo study ablation study.grid=question/posenet --data demo-loop --out outputs/question/posenet
    python docs/make.py question outputs/question/posenet ...     keeps what it found in registry/results/question.json

A grid that was not run on some data is not on the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, get_args

from posezoo.base.files.write import write_whole
from posezoo.base.picture import Picture, Theme, grey, themed
from posezoo.base.plan import COLOURS
from posezoo.catalogue import entries
from posezoo.evaluation.compare import BETTER, SAME, WORSE

ROOT = Path(__file__).parent.parent
PAGE, STORE = ROOT / "docs" / "results" / "hypernetwork.md", ROOT / "registry" / "results" / "question.json"
IMAGES = ROOT / "docs" / "images"
ERRORS = {"position_m": ("position", "m"), "orientation_deg": ("orientation", "deg")}
BASE, SAME_SIZE = "base", "same-size"
PLAIN = (SAME_SIZE, "wider")  # forms without a hypernetwork
KEPT = (
    "name", "than", "by", "group", "num", "error", "median_first", "median", "difference", "difference_ci95", "verdict",
)  # fmt: skip
OMITTED = ("against_first", "milliseconds")
Row = Mapping[str, Any]

INTRODUCTION = """\
Written by `python docs/make.py` from `registry/results/question.json`; the commands are below each table.

HyperPose's idea is that weights computed from the image itself adapt a model to light, season and occlusion. The paper
compares infused models with their bases, which have fewer parameters, and with one training of each. Here each form
stands beside its base **and** beside a base with as many parameters, all with the same images, passes, augmentation and
three seeds. Differences are paired, image by image, with 95 % intervals by blocks of neighbouring frames. A word other
than *not distinguishable* needs more: every training of the one must differ from every training of the other in that
direction ([how to read the words](../guides/studies.md#how-to-read-the-words)).

The models are small, so that anybody can run it: EfficientNet-Lite0 at 96 pixels, three of its stages frozen, 20
passes, two to five minutes a run. On `demo-loop` that is too little for a plain regression head to come below the
nearest training image; with anchors, and in the kitchen, it does. A word holds for these settings; larger pictures and
longer trainings may say something else. Earlier trainings of full and factorised forms on `demo-loop` and in the red
kitchen, three seeds each but without the paired test, are in [all results](../results.md).
"""

OF_DATA = {
    "7scenes-redkitchen": "Sequence 1 of the red kitchen, in light that does not change: 800 frames for training, 200"
    " in two blocks of 100 for the test. `blocks.csv` lists what [`data.split=blocks`](../guides/data.md#splits)"
    " chooses.",
}

CLUSTERS = """\
## Do generated weights know more than the embedding?

No: they cannot. A generated layer is a function of the code, and the code one of what the hypernetwork reads, the
embedding or the latent, so the weights can lose what is known there but add nothing. What training asks of them is a
small pose loss, not that images of one place get like weights; a residual form that starts at zero moves its weights
only as far as the loss pays for. `posezoo study weights` measures both ways of asking on `demo-loop`. By clusters the
answer depends on the model: generated weights agreed less with six places than the embedding they were made from (0.25
and 0.53 against 0.65, adjusted mutual information), those of today's shipped model, made from the latent, agree better
(0.65 and 0.62 against 0.46). By neighbours it does not: the nearest one under other light is farther away by weights
than by embedding. They gather by place and tell places apart less well. More in
[the studies' guide](../guides/studies.md#do-weights-gather-by-place-weights). The paper's Figure 3 shows the weights
alone; without the embedding beside them, clusters by place are no evidence for the hypernetwork.
"""


def add(folders: Iterable[str]) -> None:
    """Keep the numbers of these studies; those of other grids and data stay."""
    stored = read()
    for folder in folders:
        found = json.loads((Path(folder) / "ablation" / "study.json").read_text(encoding="utf-8"))
        stored.setdefault(found["data"], {})[found["grid"]] = {
            # of a file its name: folders are this machine's
            "settings": {
                key: Path(value).name if str(value).startswith("/") else value
                for key, value in found["settings"].items()
            },
            "cells": [{key: row[key] for key in row if key not in OMITTED} for row in found["cells"]],
            "pairs": [{key: row[key] for key in KEPT} for row in found["pairs"]],
            "baselines": found["baselines"],
        }
    write_whole(STORE, json.dumps(rounded(dict(sorted(stored.items()))), indent=1) + "\n")


def rounded(value: Any) -> Any:
    """Numbers in four digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


def read() -> dict[str, dict[str, Any]]:
    """Data set -> grid -> its cells and pairs."""
    found: dict[str, dict[str, Any]] = json.loads(STORE.read_text(encoding="utf-8"))
    return found


def page_text() -> str:
    """The page."""
    stored = read()
    lines = ["# Does the hypernetwork help?", "", INTRODUCTION, *_by_form(stored), ""]
    for data, grids in stored.items():
        lines += [f"## {data}", "", *([OF_DATA[data], ""] if data in OF_DATA else []), *_told(grids), ""]
        for theme in get_args(Theme):
            words = "Paired differences in position and orientation to a base as large, with intervals"
            lines.append(f"![{words}](../images/{picture_name(data, theme)}#only-{theme})")
        lines += ["", f"*{_caption()}*", ""]
        for name in entries.grids():
            if name in grids:
                lines += [*_tables(name, data, grids[name]), ""]
    return "\n".join([*lines, CLUSTERS])


def _caption() -> str:
    return (
        "Each form's error minus that of the base as large, paired by image: the median and its interval. Left of the"
        " line the infused model is better; filled where all trainings agree."
    )


def _by_form(stored: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A table: each form against bases as large, over all grids of each data set."""
    yield from ("## By form", "", "Against a base as large, over all models and ways of training below:", "")
    columns = [(data, error) for data in stored for error in ERRORS]
    yield f"| form | {' | '.join(f'{data}, {ERRORS[error][0]}' for data, error in columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    pairs = {data: _pairs(grids, SAME_SIZE) for data, grids in stored.items()}
    for form in dict.fromkeys(row["name"].partition("-")[0] for rows in pairs.values() for row in rows):
        words = [
            [row["verdict"] for row in pairs[data] if row["error"] == error and row["name"].startswith(form)]
            for data, error in columns
        ]
        yield f"| `{form}` | {' | '.join(map(_counted, words))} |"


def _counted(verdicts: Sequence[str]) -> str:
    """`2 better, 1 not distinguishable`."""
    return ", ".join(f"{verdicts.count(word)} {word}" for word in (BETTER, WORSE, SAME) if word in verdicts) or "–"


def _told(grids: Mapping[str, Any]) -> list[str]:
    """What all pairs together say."""
    lines = []
    for than, words in ((BASE, "its base"), (SAME_SIZE, "a base as large")):
        for error, (noun, _) in ERRORS.items():
            rows = [row for row in _pairs(grids, than) if row["error"] == error]
            if not rows:
                continue
            gains = [round(float(row["median"]) / float(row["median_first"]) - 1, 2) + 0.0 for row in rows]
            told = _counted([row["verdict"] for row in rows])
            spread = f"{min(gains):+.0%} to {max(gains):+.0%}" if len(rows) > 1 else f"{gains[0]:+.0%}"
            lines.append(f"- **{noun}, against {words}**: {told}; median error {spread}.")
    return lines


def _pairs(grids: Mapping[str, Any], than: str) -> list[Row]:
    """Over all images, the infused models against bases of this kind."""
    return [
        row
        for found in grids.values()
        for row in found["pairs"]
        if row["by"] != "sequence" and row["than"].startswith(than) and not row["name"].startswith(PLAIN)
    ]


def _tables(name: str, data: str, found: Mapping[str, Any]) -> Iterator[str]:
    """Heading, errors and words of a grid, and the command."""
    summary = entries.grid(name).summary
    yield from (f"### {summary[0].upper()}{summary[1:]}", "")
    yield "| form | parameters | m | deg | against its base | against a base as large |"
    yield "|---|---|---|---|---|---|"
    for cell in found["cells"]:
        numbers = []
        for key in ("median_position_m", "median_orientation_deg"):
            low, high = cell[f"{key}_seeds"]
            numbers.append(f"{_short(cell[key])} ({_short(low)} to {_short(high)})")
        words = [_words(found["pairs"], cell["name"], than) for than in (BASE, SAME_SIZE)]
        yield f"| {cell['name']} | {cell['parameters'] / 1e6:.1f} M | {' | '.join((*numbers, *words))} |"
    for row in found["baselines"]:
        errors = " | ".join(_short(row[key]) for key in ("median_position_m", "median_orientation_deg"))
        yield f"| {row['name']} |  | {errors} |  |  |"
    given = "".join(f" {key}={value}" for key, value in found["settings"].items())
    yield from (
        "",
        f"Mean of the seeds (lowest to highest). `posezoo study ablation study.grid={name} --data {data}"
        f"{given} --out outputs/{name}`",
    )
    rows = [row for row in found["pairs"] if row["by"] == "sequence" and row["than"].startswith(SAME_SIZE)]
    if rows:
        yield from ("", "By test drive, against a base as large:", "")
        yield "| form | drive | position | orientation |"
        yield "|---|---|---|---|"
        for pair in dict.fromkeys((row["name"], row["group"]) for row in rows):
            both = [row for row in rows if (row["name"], row["group"]) == pair]
            yield f"| {' | '.join((*pair, *(_interval(row) for row in both)))} |"


def _short(error: float) -> str:
    return f"{error:.{2 if error >= 1 else 3}f}"


def _words(pairs: Sequence[Row], name: str, than: str) -> str:
    rows = [row for row in pairs if row["name"] == name and row["than"].startswith(than) and row["by"] != "sequence"]
    words = [row["verdict"] for row in rows]
    if len(set(words)) < 2:
        return ", ".join(dict.fromkeys(words))
    return ", ".join(f"{ERRORS[row['error']][0]} {row['verdict']}" for row in rows)


def _interval(row: Row) -> str:
    low, high = row["difference_ci95"]
    return f"{row['verdict']} ({low:+.2g} to {high:+.2g} {ERRORS[row['error']][1]})"


def picture_name(data: str, theme: str) -> str:
    """The file in docs/images."""
    return f"question-{data.partition(':')[0]}-{theme}.png"


def draw_all(folder: Path = IMAGES) -> list[Path]:
    """A picture of each data set, for light and for dark pages."""
    paths = []
    for data, grids in read().items():
        for theme in get_args(Theme):
            with themed(theme):
                paths.append(_picture(grids).save(folder / picture_name(data, theme), transparent=True))
    return paths


def _picture(grids: Mapping[str, Any]) -> Picture:
    """Paired differences to the base as large, with intervals."""
    groups = {
        name: list(dict.fromkeys(row["name"] for row in _pairs({name: found}, SAME_SIZE)))
        for name, found in grids.items()
    }
    order = [(name, cell) for name, cells in groups.items() for cell in cells]
    figure = Picture(figsize=(9, 0.27 * len(order) + 1.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    colours = dict(zip(groups, cycle((COLOURS[0], COLOURS[2])), strict=False))  # seen on light and on dark
    for axes, (error, (noun, unit)) in zip(panels, ERRORS.items(), strict=True):
        axes.axvline(0, color=grey(0.6), lw=1)
        for y, (name, cell) in enumerate(order):
            (row,) = (
                row
                for row in _pairs({name: grids[name]}, SAME_SIZE)
                if row["name"] == cell and row["error"] == error
            )  # fmt: skip
            colour, (low, high) = colours[name], row["difference_ci95"]
            axes.plot([low, high], [y, y], color=colour, lw=2)
            face = "none" if row["verdict"] == SAME else colour
            axes.plot([row["difference"]], [y], "o", ms=6, mec=colour, mfc=face, zorder=3)
        axes.set_xlabel(f"{noun}: better  ←  {unit}  →  worse")
        axes.grid(True, axis="x", color=grey(0.9), lw=0.6)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(order)), [f"{name.removeprefix('question/')}: {cell}" for name, cell in order])
    panels[0].set_ylim(len(order) - 0.4, -0.6)
    return figure
