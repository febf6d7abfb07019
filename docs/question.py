"""docs/results/hypernetwork.md: does the hypernetwork help? From the grids `question/*` of the catalogue.

    posezoo study ablation study.grid=question/posenet --data demo-loop --out outputs/question/posenet
    python docs/make.py question outputs/question/posenet ...     keeps what it found in registry/results/question.json

A grid that was not run on some data is not on the page. Its last section: docs/clusters.py. Its pictures:
docs/question_pictures.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, get_args

import clusters

from posezoo.base.files.write import write_whole
from posezoo.base.picture import Theme
from posezoo.catalogue import entries
from posezoo.evaluation.compare import BETTER, SAME, WORSE

ROOT = Path(__file__).parent.parent
PAGE, IMAGES = ROOT / "docs" / "results" / "hypernetwork.md", ROOT / "docs" / "images"
STORE = ROOT / "registry" / "results" / "question.json"
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

LIGHT = {
    "7scenes-redkitchen": "in the light of training",
    "demo-loop": "trained on overcast days, tested in four weathers",
}
SEEN = {"demo-loop": "test-overcast"}
"""The drives in the light of training, of data with drives in other light too."""

READING = """\
What the numbers allow to say about *why*. A hypernetwork is meant to adapt weights to light, season and occlusion; its
gain should then be larger where light is new, and absent where it is not. A generated layer does something else too:
its weights and its input are both functions of the image, so it multiplies features with features, and a base as large
has more of the same sums instead. That needs no other light. Which of both it is, the drives tell.
"""

TWO_FULL = ("posenet+hyper=two", "atloc+hyper=two", "ms-transformer+hyper=two", "ms-transformer+hyper=residual")
"""Forms whose full generators nobody trains in minutes."""


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
    write_whole(STORE, json.dumps(clusters.rounded(dict(sorted(stored.items()))), indent=1) + "\n")


def read() -> dict[str, dict[str, Any]]:
    """Data set -> grid -> its cells and pairs."""
    found: dict[str, dict[str, Any]] = json.loads(STORE.read_text(encoding="utf-8"))
    return found


def page_text() -> str:
    """The page."""
    stored = read()
    lines = ["# Does the hypernetwork help?", "", INTRODUCTION, *_answer(stored), *_by_form(stored)]
    lines += [*_left_out(), *_not_run(stored), ""]
    for data, grids in stored.items():
        lines += [f"## {data}", "", *([OF_DATA[data], ""] if data in OF_DATA else []), *_told(grids), ""]
        for than, words in (("", "a base as large"), ("base-", "its base")):
            lines += [
                *_shown(f"{data}-{than}"[:-1], f"Paired differences in both errors to {words}, with intervals"),
                "",
            ]
            lines += [
                f"*Each form's error minus that of {words}, paired by image: the median and its interval. {LEFT}*",
                "",
            ]
        for name in entries.grids():
            if name in grids:
                lines += [*_tables(name, data, grids[name]), ""]
    return "\n".join([*lines, *clusters.section()]).rstrip("\n") + "\n"


LEFT = "Left of the line the infused model is better; filled where all trainings agree."


def _shown(name: str, words: str) -> list[str]:
    """A picture, for light and for dark pages."""
    return [f"![{words}](../images/{picture_name(name, theme)}#only-{theme})" for theme in get_args(Theme)]


def picture_name(name: str, theme: str) -> str:
    """The file in docs/images."""
    return f"question-{name.replace(':', '-')}-{theme}.png"


def forms(rows: Sequence[Row]) -> list[str]:
    """`residual`, `single`, `two`: as the names of the rows begin."""
    return list(dict.fromkeys(row["name"].partition("-")[0] for row in rows))


def gain(row: Row) -> float:
    """How much larger the infused model's median error is, as a share."""
    return float(row["median"]) / float(row["median_first"]) - 1


def drives(grids: Mapping[str, Any]) -> list[Row]:
    """By test drive, the infused models against bases as large."""
    return pairs_of(grids, SAME_SIZE, drives=True)


def _answer(stored: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """In words, from the numbers: on which data, where, and what that says about why."""
    yield from ("## The answer", "")
    for data, grids in stored.items():
        rows = pairs_of(grids, SAME_SIZE)
        told = [_count_of(form, rows, pairs_of(grids, BASE)) for form in forms(rows)]
        if all(row["verdict"] == SAME for row in rows):
            told = [f"no form is better or worse than a base as large, in any of {len(rows) // 2} comparisons"]
        yield f"- **{data}**, {LIGHT.get(data, 'as split')}:"
        yield from (f"    - {one}." for one in told)
        anchored = {row["verdict"] for row in rows if row in grids.get("question/anchors", {}).get("pairs", ())}
        if anchored:
            told = ", ".join(sorted(anchored))
            yield f"    - With anchors, which bring the base below the nearest training image: {told}."
    yield from ("", READING)
    for data, seen in SEEN.items():
        if data in stored:
            yield from _where(data, drives(stored[data]), seen)


def _count_of(form: str, large: Sequence[Row], small: Sequence[Row]) -> str:
    """`two` is better than a base as large in position in 6 of 6 …, and than its own base in position in 3 of 6 …"""
    told = []
    for words, rows in (("a base as large", large), ("its own, smaller base", small)):
        counts = []
        for error, (noun, _) in ERRORS.items():
            own = [row["verdict"] for row in rows if row["error"] == error and row["name"].startswith(form)]
            worse = f" (worse in {own.count(WORSE)})" if WORSE in own else ""
            counts.append(f"in {noun} in {own.count(BETTER)} of {len(own)}{worse}")
        told.append(f"than {words} {' and '.join(counts)}")
    return f"`{form}` is better {', and '.join(told)}"


def _where(data: str, rows: Sequence[Row], seen: str) -> Iterator[str]:
    """The gain in the light of training beside that in other light, by form; a table, a picture, and one sentence."""
    yield f"On `{data}`, {LIGHT[data]}: the median error against a base as large, in the median over the comparisons"
    yield "(lowest to highest), and how many say better."
    yield ""
    names = list(dict.fromkeys(row["group"] for row in sorted(rows, key=lambda row: row["group"] != seen)))
    yield f"| form | error | {' | '.join(names)} |"
    yield f"|---|---|{'---|' * len(names)}"
    for form in forms(rows):
        for error, (noun, _) in ERRORS.items():
            yield f"| `{form}` | {noun} | {' | '.join(_gains(rows, form, error, name) for name in names)} |"
    yield from ("", *_shown(f"{data}-drives", "Change of the median error by form and test drive"), "")
    yield "*Each comparison with a base as large, by drive: the change of the median error. Filled where every training"
    yield "says better, or worse.*"
    yield ""
    best = max(forms(rows), key=lambda form: sum(r["verdict"] == BETTER for r in rows if r["name"].startswith(form)))
    for error, (noun, _) in ERRORS.items():
        own = [row for row in rows if row["name"].startswith(best) and row["error"] == error]
        known, new = (median(gain(row) for row in own if (row["group"] == seen) == same) for same in (True, False))
        told = (
            f"In {noun}, `{best}` changes the error by {known:+.0%} in the light of training and by {new:+.0%} in other"
        )
        if known <= 0.75 * new:
            yield f"{told}: as much where light is not new. That is no adaptation to light."
        else:
            yield f"{told}: more where light is new, as adaptation to light would."
    yield ""


def _gains(rows: Sequence[Row], form: str, error: str, drive: str) -> str:
    own = [row for row in rows if row["name"].startswith(form) and (row["error"], row["group"]) == (error, drive)]
    shares = [gain(row) for row in own]
    better = sum(row["verdict"] == BETTER for row in own)
    return f"{median(shares):+.0%} ({min(shares):+.0%} to {max(shares):+.0%}), {better} of {len(own)}"


def _left_out() -> Iterator[str]:
    """What was not trained, with its size."""
    import torch

    from posezoo.zoo.build import create_model

    yield from ("", "Not trained are these, because of what they weigh:", "")
    yield from ("| full generator | parameters |", "|---|---|")
    for name in TWO_FULL:
        grid = entries.grid(f"question/{name.partition('+')[0]}")
        given = {key: value for key, value in grid.settings.items() if key in OF_MODELS}
        with torch.device("meta"):
            model = create_model(name, pretrained_backbone=False, **given, **{"hyper.rank": None})
        yield f"| `{name}` | {sum(parameter.numel() for parameter in model.parameters()) / 1e6:.0f} M |"


def _not_run(stored: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The grids that are to come, by data set."""
    for data, grids in stored.items():
        coming = [f"`{name}`" for name in entries.grids() if name.startswith("question/") and name not in grids]
        if coming:
            yield from ("", f"Not run yet on `{data}`: {', '.join(coming)}.")


OF_MODELS = (
    "backbone", "resize", "crop", "image_embedding", "position_layers", "orientation_layers", "orientation_stride",
    "dropout", "shared_heads",
)  # fmt: skip


def _by_form(stored: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A table: each form against bases as large, over all grids of each data set."""
    yield from ("## By form", "", "Against a base as large, over all models and ways of training below:", "")
    columns = [(data, error) for data in stored for error in ERRORS]
    yield f"| form | {' | '.join(f'{data}, {ERRORS[error][0]}' for data, error in columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    pairs = {data: pairs_of(grids, SAME_SIZE) for data, grids in stored.items()}
    for form in forms([row for rows in pairs.values() for row in rows]):
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
            rows = [row for row in pairs_of(grids, than) if row["error"] == error]
            if not rows:
                continue
            gains = [round(gain(row), 2) + 0.0 for row in rows]
            told = _counted([row["verdict"] for row in rows])
            spread = f"{min(gains):+.0%} to {max(gains):+.0%}" if len(rows) > 1 else f"{gains[0]:+.0%}"
            lines.append(f"- **{noun}, against {words}**: {told}; median error {spread}.")
    return lines


def pairs_of(grids: Mapping[str, Any], than: str, drives: bool = False) -> list[Row]:
    """Over all images, or by drive, the infused models against bases of this kind."""
    return [
        row
        for found in grids.values()
        for row in found["pairs"]
        if (row["by"] == "sequence") == drives and row["than"].startswith(than) and not row["name"].startswith(PLAIN)
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
    """The words and the paired differences with their intervals, of both errors."""
    rows = [row for row in pairs if row["name"] == name and row["than"].startswith(than) and row["by"] != "sequence"]
    return "; ".join(f"{ERRORS[row['error']][0]} {_interval(row)}" for row in rows)


def _interval(row: Row) -> str:
    low, high = row["difference_ci95"]
    return f"{row['verdict']} ({low:+.2g} to {high:+.2g} {ERRORS[row['error']][1]})"
