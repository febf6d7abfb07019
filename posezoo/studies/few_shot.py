"""A scene that was left out, learned from few images, and what that costs the others: HyperPose's supplement, Figure 6.

A model of several scenes is trained without one; then it is trained on with 5 to 75 % of that scene's training images
for 2 to 5 epochs, its learning rate begun anew. The subsets are nested: a smaller one is part of a larger one, for all
seeds. Random frames of a video cover a scene even at 5 %; `study.choose=contiguous` takes the first frames instead,
`random` draws anew by the seed. Beside each model stands image retrieval from the same images, and forgetting: by how
much the errors on the old scenes' test images grow, image by image. `study.train` says what learns: everything, all but
the backbone, or the heads alone with what a model has of its own for each scene, while the encoder is frozen.

Legend: N images.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from matplotlib.figure import Figure
from pydantic import AfterValidator

from posezoo.base.errors import UsageError
from posezoo.base.files.write import write_whole, writing
from posezoo.base.observe import Observer
from posezoo.catalogue import entries
from posezoo.catalogue.forms import Grid, GridRow
from posezoo.catalogue.names import with_options
from posezoo.data import splits
from posezoo.data.images.cache import ImageCache
from posezoo.evaluation import baselines
from posezoo.evaluation.compare import UNITS
from posezoo.evaluation.evaluate import embed_frames
from posezoo.evaluation.metrics import pose_errors
from posezoo.evaluation.results import Results
from posezoo.evaluation.retrieval import retrieval_features
from posezoo.nn.device import torch_device
from posezoo.nn.model import PoseModel
from posezoo.nn.ranges import Count
from posezoo.studies import changes, drawing, grid, medians
from posezoo.studies.grid import Cell
from posezoo.studies.measure import Errors, errors, open_album, opened
from posezoo.studies.medians import short, shown, spread, with_ends
from posezoo.studies.paired import interval_of, ranked, training_notes, words
from posezoo.studies.ranges import Several, Share
from posezoo.studies.study import Found
from posezoo.studies.subjects import Request, Subject, is_trained, subjects
from posezoo.training.config import OptimSettings, PhaseSettings
from posezoo.training.setup import set_trainable
from posezoo.zoo.saved import load


def _from_few(fractions: tuple[float, ...]) -> tuple[float, ...]:
    """In their order: curves run from few images to most, and the verdict tells the first and the last."""
    return tuple(sorted(fractions))


@dataclass(frozen=True)
class Options:
    """Of the study itself."""

    scene: str = ""
    """The one that is left out; empty: the last one of the data set."""
    fractions: Annotated[Several[Share], AfterValidator(_from_few)] = (0.05, 0.1, 0.25, 0.5, 0.75)
    """Of its training images."""
    epochs: Several[Count] = (2, 3, 4, 5)
    """Trainings of so many epochs each."""
    choose: Literal["nested", "contiguous", "random"] = "nested"
    """Which images; see the setting data.fraction_by."""
    train: Literal["all", "but-backbone", "heads"] = "all"
    """What learns of the new scene; heads: see the phases of training."""


Key = tuple[str, float, int]
"""Model, fraction, epochs."""


def study(request: Request, options: Options, observer: Observer) -> Found:
    """The study; the first model is what others are compared with, at the most epochs."""
    scene, old = _parts(request, options)
    if any(is_trained(model) for model in request.models):
        raise UsageError("study few-shot trains its models without a scene", "name architectures, or none")
    of_new, of_old = (_narrowed(request, names) for names in ([scene], old))
    bases = subjects(of_old)
    tuned = _tuned(of_new, options, bases)
    new, known = (open_album(one, observer) for one in (of_new, of_old))
    pictures = [[changes.original(np.arange(len(album.frames)))] for album in (new, known)]
    on_new = errors(list(tuned.values()), new, pictures[0], request.folder, observer)
    on_old = errors([*bases, *tuned.values()], known, pictures[1], request.folder, observer)
    frames = [album.results(np.arange(len(album.frames))) for album in (new, known)]
    subsets, rows = _Subsets(of_new, options, bases[0].runs[0], frames[0]), []
    for key, subject in tuned.items():
        own = [run[0] for run in on_new[subject.name]]
        lost = _plain(ranked(frames[1], _first(on_old[key[0]]), _first(on_old[subject.name])))
        row = {"model": key[0], "fraction": key[1], "epochs": key[2], **spread(frames[0], own)}
        rows.append(row | subsets.of(key[1]) | {"forgetting": lost})
    against = _against(frames[0], on_new, tuned, options)
    parts = {key[0]: _learning(load(one.runs[0]), options) for key, one in reversed(tuned.items())}
    return Found(
        verdict=_verdict(rows, against, scene),
        rows=_shown(rows),
        numbers={
            "scene": scene,
            "old_scenes": old,
            "learns": parts,
            "trainings": rows,
            "against_first": against,
        },
        figures={"few-shot.png": _figure(rows, options, scene)},
        notes=[
            medians.note(frames[0], max(len(one.runs) for one in bases)),
            *training_notes(bases),
            f"{options.choose} images of {scene}; study.train={options.train}; the learning rate begins anew",
            *(f"{name}: {_counted(own)}" for name, own in parts.items()),
        ],
    )


def _parts(request: Request, options: Options) -> tuple[str, list[str]]:
    """The scene that is left out, and the others. Raises UsageError for data of fewer than three scenes."""
    frames = opened(request).frames
    scenes = [name for number, name in enumerate(frames.scenes) if (frames.scene == number).any()]
    scene = options.scene or scenes[-1]
    old = [name for name in scenes if name != scene]
    if scene not in scenes or len(old) < 2:
        what = f"{request.data} has {', '.join(scenes)}"
        raise UsageError(f"one scene is left out and at least two remain; {what}", "--data demo-places, or 7scenes")
    return scene, old


def _narrowed(request: Request, scenes: Sequence[str]) -> Request:
    """The request for some scenes of its data alone. A split file becomes one that names no image of the others."""
    narrowed = replace(request, data=with_options(request.data, [f"scenes={','.join(scenes)}"]))
    split = request.given.get("data.split")
    if split is None or splits.method_of(str(split)) is not None:
        return narrowed
    frames = opened(request).frames
    path = request.folder / "splits" / f"{hashlib.sha256(narrowed.data.encode()).hexdigest()[:8]}.csv"
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["image", "split"])
    for n, image in enumerate(frames.images.astype(str).tolist()):
        if frames.scenes[frames.scene[n]] in scenes:
            writer.writerow([image, frames.split[n]])
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lines.getvalue())
    return replace(narrowed, given={**request.given, "data.split": str(path.absolute())})


def _tuned(request: Request, options: Options, bases: Sequence[Subject]) -> dict[Key, Subject]:
    """Model, fraction, epochs -> the trainings that go on from each base; `request`: for the new scene."""
    standard = entries.grid(request.grid)
    rows = standard.rows if not request.models else {name: GridRow(model=name) for name in request.models}
    plan: list[Cell] = []
    found: dict[Key, Subject] = {}
    frozen = {"optim.backbone_lr": 0.0} if options.train == "but-backbone" else {}
    for base in bases:
        columns = {
            f"{100 * part:g}-percent-{count}-epochs": {
                "data.fraction": part,
                "epochs": count,
                **_phases(options, count),
            }
            for part in options.fractions
            for count in options.epochs
        }
        runs: dict[str, list[str]] = {column: [] for column in columns}
        for number, run in enumerate(base.runs):
            seed = (request.seeds or standard.seeds)[number]
            # all rows, of which the base's count: a setting of a modifier is for those that have it
            whole = Grid(summary="", settings=standard.settings, rows=rows, columns=columns)
            given = {key: value for key, value in request.given.items() if key != "epochs"} | frozen
            given |= {"min_epoch_images": 0}  # an epoch is one pass, however few images there are
            given |= {"start_from": run, "data.fraction_by": options.choose, "selection": "last"}
            folder = request.out / "runs" / f"{options.choose}-{options.train}"
            cells = grid.cells_of(whole, request.grid, request.data, folder, [seed], request.root, given)
            cells = [cell for cell in cells if cell.row == base.name]
            plan += cells
            for cell in cells:
                runs[cell.column].append(str(cell.path))
        for part in options.fractions:
            for count in options.epochs:
                column = f"{100 * part:g}-percent-{count}-epochs"
                found[base.name, part, count] = Subject(f"{base.name}, {column}", tuple(runs[column]))
    request.train(plan)
    return found


def _phases(options: Options, epochs: int) -> dict[str, Any]:
    """The settings of a training in which the heads alone learn."""
    return {"phases": [{"train": "heads", "epochs": epochs}]} if options.train == "heads" else {}


def _learning(model: PoseModel, options: Options) -> dict[str, int]:
    """Part of the model -> how many of its numbers learned the new scene; `frozen` counts the others."""
    rate = 0.0 if options.train == "but-backbone" else None
    phase = PhaseSettings(train="heads" if options.train == "heads" else "all", epochs=1)
    set_trainable(model, phase, OptimSettings(backbone_lr=rate))
    found: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        part = name.partition(".")[0] if name not in model.of_scenes else name
        part = part if parameter.requires_grad else "frozen"
        found[part] = found.get(part, 0) + parameter.numel()
    return found


def _counted(parts: Mapping[str, int]) -> str:
    learning = [f"{name} ({count:,})" for name, count in parts.items() if name != "frozen"]
    return f"{', '.join(learning)} learn; {parts.get('frozen', 0):,} numbers are frozen"


def _first(trainings: Sequence[Sequence[Errors]]) -> list[Errors]:
    return [run[0] for run in trainings]


def _plain(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What of a contrast forgetting is: the median growth of errors with its interval."""
    keys = ("difference", "difference_ci95", "verdict")
    return {row["error"]: {key: row[key] for key in keys} for row in rows}


class _Subsets:
    """The training images of the new scene that a training had, and image retrieval from the same."""

    def __init__(self, request: Request, options: Options, run: str, results: Results) -> None:
        dataset, self.options, self.results = opened(request), options, results
        self.train, self.test = dataset.frames.of_split("train"), dataset.require("test")
        self.seed = request.seeds[0] if request.seeds else entries.grid(request.grid).seeds[0]
        model = load(run, torch_device("auto"))
        embed = retrieval_features(model)
        self.features = None
        if embed is not None:
            caches = [ImageCache.open(frames) for frames in (self.train, self.test)]
            rows = [np.arange(len(cache)) for cache in caches]
            self.features = [embed_frames(embed, *one, device=model.device) for one in zip(caches, rows, strict=True)]

    def of(self, fraction: float) -> dict[str, Any]:
        """How many images, and image retrieval's medians (m, deg), with intervals; None without pretrained features."""
        kept = splits.part_of(self.train, fraction, self.options.choose, self.seed)
        if self.features is None:
            return {"images": int(kept.sum()), "retrieval": None, "retrieval_ci95": None}
        train_ME, test_NE = self.features
        found = baselines.nearest_training_image(self.train.select(kept), self.test, train_ME[kept], test_NE)
        wrong = pose_errors(found.position, found.quaternion, self.test.position, self.test.quaternion)
        ends = [interval_of(self.results, one) for one in wrong]
        return {
            **{"images": int(kept.sum()), "retrieval": [one.median for one in ends]},
            "retrieval_ci95": [[one.low, one.high] for one in ends],
        }


def _against(
    frames: Any, on_new: Mapping[str, list[list[Errors]]], tuned: Mapping[Key, Subject], options: Options
) -> list[dict[str, Any]]:
    """Each other model against the first at every fraction, trained for the most epochs."""
    names, count = list(dict.fromkeys(key[0] for key in tuned)), max(options.epochs)
    rows = []
    for name in names[1:]:
        for part in options.fractions:
            pair = [_first(on_new[tuned[one, part, count].name]) for one in (names[0], name)]
            rows += [{"model": name, "fraction": part, "epochs": count, **row} for row in ranked(frames, *pair)]
    return rows


def _verdict(rows: Sequence[Mapping[str, Any]], against: Sequence[Mapping[str, Any]], scene: str) -> str:
    first = rows[0]["model"]
    own = [row for row in rows if row["model"] == first and row["epochs"] == max(one["epochs"] for one in rows)]
    few, most = own[0], own[-1]
    grown = most["forgetting"]["position_m"]
    ends = " to ".join(short(end) for end in grown["difference_ci95"])
    reached = [f"{short(row['median_position_m'])} m with {100 * row['fraction']:g} %" for row in (few, most)]
    found = f"{first} reaches in {scene} {' and '.join(reached)} of its images; the old scenes' errors grow by {ends} m"
    for name in dict.fromkeys(row["model"] for row in against):
        for part in dict.fromkeys(row["fraction"] for row in against):
            these = [row for row in against if (row["model"], row["fraction"]) == (name, part)]
            found += f". At {100 * part:g} % {words(these, name, first)}"
    return found


def _shown(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The rows to print; image retrieval from the same images has one for each share."""
    printed, retrieved = [], {}
    for row in rows:
        grown = row["forgetting"].values()
        share = f"{100 * row['fraction']:g} %"
        printed.append(
            {
                **{"model": row["model"], "images, epochs": f"{share}, {row['epochs']}", medians.MEDIAN: shown(row)},
                "old scenes grow by": "\n".join(with_ends(one["difference"], one["difference_ci95"]) for one in grown),
            }
        )
        if row["retrieval"]:
            ends = zip(row["retrieval"], row["retrieval_ci95"], UNITS.values(), strict=True)
            cell = "\n".join(f"{with_ends(value, interval)} {unit}" for value, interval, unit in ends)
            retrieved[share] = {"model": "image retrieval", "images, epochs": share, medians.MEDIAN: cell}
    return [*printed, *({**row, "old scenes grow by": ""} for row in retrieved.values())]


def _figure(rows: Sequence[Mapping[str, Any]], options: Options, scene: str) -> Figure:
    """Errors in the new scene against the share of its images, then what the old scenes lose."""
    figure, (position, orientation, lost) = drawing.panels(3, height=2.3)
    styles = drawing.styles(list(dict.fromkeys(row["model"] for row in rows)))
    for name, (colour, marker) in styles.items():
        for count in options.epochs:
            own = [row for row in rows if (row["model"], row["epochs"]) == (name, count)]
            x, most = [100 * row["fraction"] for row in own], count == max(options.epochs)
            label = f"{name}, {count} epochs" if most else None
            look: dict[str, Any] = {"color": colour, "lw": 1.8 if most else 0.7, "alpha": 1 if most else 0.6}
            look |= {"marker": marker if most else "", "ms": 4}
            for axes, key in ((position, "median_position_m"), (orientation, "median_orientation_deg")):
                if most:
                    drawing.medians(axes, own, key, x, colour, f"-{marker}", ms=4, lw=1.8, label=label)
                else:
                    axes.plot(x, [row[key] for row in own], **look)
            lost.plot(x, [row["forgetting"]["position_m"]["difference"] for row in own], **look)
    own = [row for row in rows if row["model"] == rows[0]["model"] and row["epochs"] == max(options.epochs)]
    if all(row["retrieval"] for row in own):
        for axes, which in ((position, 0), (orientation, 1)):
            x = [100 * row["fraction"] for row in own]
            axes.plot(x, [row["retrieval"][which] for row in own], ":", color="0.4", lw=1.4, label="image retrieval")
    lost.axhline(0, color="0.5", lw=0.8)
    for axes, label in (
        (position, "position (m)"),
        (orientation, "orientation (deg)"),
        (lost, "old scenes: growth (m)"),
    ):
        drawing.plain(axes, label)
    figure.suptitle(drawing.BARS, fontsize=9)
    lost.set_xlabel(f"share of the training images of {scene} (%)")
    drawing.legend(figure, position)
    return figure
