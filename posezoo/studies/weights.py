"""Do generated weights gather by place? HyperPose's supplement, Figure 3, with everything that could be meant by it.

Representations of each test image: the embedding and, of an infused model, the generated weights of the position and of
the orientation branch; as controls the predicted position, the true one (the ceiling) and random numbers (the floor).
Each is standardised and reduced to 50 principal components, but for the positions, which stay in metres: standardised,
two centimetres of height would count as much as a street. They are clustered by K-means, also after t-SNE as the paper
does. The adjusted mutual information (AMI, 0 by chance) of these clusters with places, which are K-means clusters of
the true positions on the ground, says how far they gather by place; that with conditions how far by appearance. The
claim itself, that a place under other light is near, needs no clusters: the nearest neighbour among the images of
another condition, and how far from it the camera really was. Images of which a training gives something that is not
finite are left out of its rows, and a note counts them.

Legend: N images, M of them that are known, D numbers of a representation, K places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Any

import numpy as np
import torch
from matplotlib.figure import Figure
from pydantic import Field

from posezoo.base.errors import DataError, UsageError, WeightsError
from posezoo.base.observe import Observer
from posezoo.base.rotation import axes_from_above
from posezoo.catalogue.names import with_options
from posezoo.evaluation.evaluate import embed_frames
from posezoo.evaluation.intervals import Floats, Interval
from posezoo.nn.device import torch_device
from posezoo.nn.hyperhead import HyperHead
from posezoo.nn.model import PoseModel, evaluating
from posezoo.studies import drawing
from posezoo.studies.measure import Album, open_album
from posezoo.studies.medians import short
from posezoo.studies.paired import interval_of, training_notes
from posezoo.studies.ranges import Several
from posezoo.studies.study import Found
from posezoo.studies.subjects import Request, Subject, subjects
from posezoo.zoo.saved import load

COMPONENTS, STARTS = 50, 3
EMBEDDING, POSITION, ORIENTATION = "embedding", "position weights", "orientation weights"
Places = Annotated[int, Field(ge=2)]
CONTROLS = ("predicted position", "true position", "random")
IN_METRES = CONTROLS[:2]


@dataclass(frozen=True)
class Options:
    """Of the study itself."""

    places: Several[Places] = (6, 4, 12)
    """Numbers of places, K; the first is drawn."""
    perplexity: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 30.0
    """Of t-SNE, at most a third of the images."""


def study(request: Request, options: Options, observer: Observer) -> Found:
    """The study; each training by itself, then the mean over trainings."""
    if find_spec("sklearn") is None:
        raise UsageError("clustering needs scikit-learn", "pip install 'posezoo[analysis]'")
    album = open_album(request, observer)
    if len(scenes := np.unique(album.frames.scene)) > 1:
        one = with_options(request.data, [f"scenes={album.frames.scenes[scenes[0]]}"])
        raise UsageError("scenes have coordinates of their own: places are found in one", f"--data '{one}'")
    labels = _Labels(album, options)
    models = subjects(request)
    rows, drawn = [], None
    total = sum(len(model.runs) for model in models)
    for number, (model, run) in enumerate(_runs(models)):
        found = representations(load(run, torch_device("auto")), album)
        known_N = np.all([np.isfinite(value_ND).all(axis=1) for value_ND in found.values()], axis=0)
        if not known_N.all():
            labels.notes.append(_left_out(model.name, run, known_N, labels))
        rows += [
            {
                **{"model": model.name, "run": run, "representation": name},
                **_scores(value_ND, labels, known_N, name in IN_METRES),
            }
            for name, value_ND in found.items()
        ]
        if drawn is None and POSITION in found:
            drawn = model.name, found
        observer.progress("representations", number + 1, total)
    table = _averaged(rows)
    figure = {} if drawn is None else {"weights.png": _figure(*drawn, labels, table)}
    return Found(
        verdict=_verdict(table, labels, album),
        rows=[_shown(row, options) for row in table],
        numbers={
            "models": {one.name: one.runs for one in models},
            **{"num_images": len(album.frames), "conditions": labels.conditions},
            "representations": [{k: v for k, v in row.items() if not k.startswith("_")} for row in table],
        },
        figures=figure,
        notes=[*training_notes(models), *labels.notes],
    )


def representations(model: PoseModel, album: Album) -> dict[str, Floats]:
    """Name -> (N, D) of every test image."""
    heads = {POSITION: model.position_head, ORIENTATION: model.orientation_head}
    infused = {name: head for name, head in heads.items() if isinstance(head, HyperHead)}

    def together(images_BCHW: torch.Tensor) -> torch.Tensor:
        features = model.encode(model.prepare(images_BCHW))
        parts = [features.image, model.pose_of(features).position.float()]
        for name, head in infused.items():
            latent_BD = features.position if name == POSITION else features.orientation
            parts += [layer.flatten(1) for layer in head.generated_weights(latent_BD, features.image)]
        sizes.append([part.shape[1] for part in parts])
        return torch.cat(parts, dim=1)

    sizes: list[list[int]] = []
    with evaluating(model):
        all_ND = embed_frames(together, album.cache, np.arange(len(album.frames)), 8, model.device)
    embedding, position, *layers = np.split(all_ND.astype(np.float64), np.cumsum(sizes[0])[:-1], axis=1)
    found = {EMBEDDING: embedding}
    each = len(layers) // max(1, len(infused))
    for number, name in enumerate(infused):
        found[name] = np.concatenate(layers[number * each : (number + 1) * each], axis=1)
    true = album.frames.position
    drawn = np.random.default_rng(0).standard_normal((len(true), COMPONENTS))
    return found | dict(zip(CONTROLS, (position, true, drawn), strict=True))


class _Labels:
    """Places by the true positions, and conditions, of the test images. Raises DataError where they are too few."""

    def __init__(self, album: Album, options: Options) -> None:
        frames, count = album.frames, len(album.frames)
        if count <= max(2, min(options.places)):
            what = f"{album.dataset.name}: {count} test image{'s' * (count > 1)}, too few to find places among"
            raise DataError(what, f"study.places={count - 1}, or other data" if count > 2 else "other data")
        self.album, self.options = album, options
        ground = list(axes_from_above(frames.position, frames.quaternion))
        self.places = {k: _clusters(frames.position[:, ground], k)[0] for k in options.places if k < count}
        self.conditions = sorted(set(frames.condition.tolist()))
        self.condition_N = np.searchsorted(self.conditions, frames.condition)
        alone = f"{album.dataset.name} has one condition: no neighbour under other light"
        self.notes = [alone] if len(self.conditions) == 1 else []
        if large := [k for k in options.places if k >= count]:
            self.notes.append(f"study.places={','.join(map(str, large))} left out: there are {count} test images")


def _left_out(model: str, run: str, known_N: np.ndarray, labels: _Labels) -> str:
    """The note on images of which a training gave something that is not finite. Raises WeightsError if few are left."""
    what = f"{model} ({run}) gave no finite answer for {int(np.sum(~known_N))} of {len(known_N)} test images"
    few = known_N.sum() <= max(2, *labels.places)
    if few or len(np.unique(labels.condition_N[known_N])) < len(labels.conditions):
        raise WeightsError(f"{what}: the others are too few", "the study without it")
    return f"{what}: they are left out of its rows"


def reduced(value_ND: Floats) -> Floats:
    """Columns standardised (constant ones left out), then the leading principal components."""
    from sklearn.decomposition import PCA

    deviation_D = value_ND.std(axis=0)
    kept = deviation_D > 1e-12 * max(1.0, float(deviation_D.max(initial=0.0)))
    if not kept.any():
        return np.zeros((len(value_ND), 1))
    standard_ND = (value_ND[:, kept] - value_ND[:, kept].mean(axis=0)) / deviation_D[kept]
    return PCA(min(COMPONENTS, *standard_ND.shape), random_state=0).fit_transform(standard_ND)


def _clusters(value_ND: Floats, k: int) -> list[np.ndarray]:
    from sklearn.cluster import KMeans

    return [KMeans(k, n_init=4, random_state=seed).fit_predict(value_ND) for seed in range(STARTS)]


def embedded(value_ND: Floats, perplexity: float) -> Floats:
    """t-SNE, (N, 2)."""
    from sklearn.manifold import TSNE

    fitting = min(perplexity, max(1.0, (len(value_ND) - 1) / 3))
    init: Any = "pca" if value_ND.shape[1] > 1 else "random"
    return TSNE(perplexity=fitting, init=init, random_state=0).fit_transform(value_ND.astype(np.float32))


def _scores(value_ND: Floats, labels: _Labels, known_N: np.ndarray, in_metres: bool) -> dict[str, Any]:
    """AMI with places and conditions, and the nearest neighbour under another condition, of the M images `known_N`."""
    from sklearn.metrics import adjusted_mutual_info_score as ami

    def of_all(value_M: Floats) -> Floats:
        all_N = np.full((len(known_N), *value_M.shape[1:]), np.nan)
        all_N[known_N] = value_M
        return all_N

    small_MD = value_ND[known_N] if in_metres else reduced(value_ND[known_N])
    flat_M2 = embedded(small_MD, labels.options.perplexity)
    row: dict[str, Any] = {"numbers": value_ND.shape[1]}
    places = {k: place_N[known_N] for k, place_N in labels.places.items()}
    for k, place_M in places.items():
        for word, space in (("", small_MD), ("_tsne", flat_M2)):
            row[f"ami_place_{k}{word}"] = float(np.mean([ami(place_M, one) for one in _clusters(space, k)]))
    if len(labels.conditions) > 1:
        count, condition_M = len(labels.conditions), labels.condition_N[known_N]
        row["ami_condition"] = float(np.mean([ami(condition_M, one) for one in _clusters(small_MD, count)]))
        metres_M, nearest_M = neighbours(small_MD, condition_M, labels.album.frames.position[known_N])
        place_M = next(iter(places.values()))
        row |= {"neighbour_m": float(np.median(metres_M)), "_metres": of_all(metres_M)}
        row["neighbour_same_place"] = float(np.mean(place_M == place_M[nearest_M]))
    return row | {"_flat": of_all(flat_M2)}


def neighbours(value_ND: Floats, condition_N: np.ndarray, position_N3: Floats) -> tuple[Floats, np.ndarray]:
    """How far each image's camera is from that of its nearest neighbour under another condition, and which that is."""
    squares_N = (value_ND**2).sum(1)
    distance_NN = squares_N[:, None] + squares_N - 2 * value_ND @ value_ND.T
    distance_NN[condition_N[:, None] == condition_N] = np.inf
    nearest_N = distance_NN.argmin(axis=1)
    return np.linalg.norm(position_N3 - position_N3[nearest_N], axis=1), nearest_N


def _runs(models: Sequence[Subject]) -> Iterator[tuple[Subject, str]]:
    for model in models:
        for run in model.runs:
            yield model, run


def _averaged(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a model and representation as one: means over the trainings, with their range."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["representation"]), []).append(row)
    table = []
    for (model, name), members in groups.items():
        found: dict[str, Any] = {"model": model, "representation": name, "trainings": len(members)}
        for key, value in members[0].items():
            if isinstance(value, float):
                values = [member[key] for member in members]
                found |= {key: float(np.mean(values)), f"{key}_seeds": [min(values), max(values)]}
        metres = [member["_metres"] for member in members if "_metres" in member]
        table.append({**found, "numbers": members[0]["numbers"], "_flat": members[0]["_flat"], "_metres": metres})
    return table


def _nearer(table: Sequence[Mapping[str, Any]], model: str, name: str, album: Album) -> Interval | None:
    """How much farther the neighbours by weights are than those by the embedding, image by image."""
    by_name = {row["representation"]: row["_metres"] for row in table if row["model"] == model}
    if not by_name.get(name):
        return None
    apart_N = np.mean(by_name[name], axis=0) - np.mean(by_name[EMBEDDING], axis=0)
    known_n = np.flatnonzero(np.isfinite(apart_N))  # images that were left out of any training
    return interval_of(album.results(known_n), apart_N[known_n]) if len(known_n) else None


def _verdict(table: Sequence[Mapping[str, Any]], labels: _Labels, album: Album) -> str:
    key, parts = f"ami_place_{next(iter(labels.places))}", []
    for row in table:
        if row["representation"] not in (POSITION, ORIENTATION):
            continue
        base = next(r for r in table if (r["model"], r["representation"]) == (row["model"], EMBEDDING))
        part = f"{row['representation']} of {row['model']} have an AMI with place of {row[key]:.2f}"
        part += f", its embedding {base[key]:.2f}"
        spread = _nearer(table, row["model"], row["representation"], album)
        if spread is not None:
            word = "farther" if spread.low > 0 else "nearer" if spread.high < 0 else "not distinguishable"
            ends = f"{short(spread.low)} to {short(spread.high)} m"
            part += f"; neighbours under other light are {word} ({ends})"
        parts.append(part)
    best = max((r for r in table if r["representation"] == EMBEDDING), key=lambda r: r[key])
    return (
        ". ".join(parts)
        or f"no model is infused; the embedding of {best['model']} has an AMI with place of {best[key]:.2f}"
    )


def _shown(row: Mapping[str, Any], options: Options) -> dict[str, str]:
    keys = {f"place {k}": f"ami_place_{k}" for k in options.places}
    shown = {"model": row["model"], "of": row["representation"]}
    shown |= {f"AMI {word}": f"{row[key]:.2f}" for word, key in keys.items() if key in row}
    if "neighbour_m" in row:
        shown["AMI condition"] = f"{row['ami_condition']:.2f}"
        shown["neighbour"] = f"{row['neighbour_m']:.1f} m, {100 * row['neighbour_same_place']:.0f} %"
    return shown


def _figure(model: str, found: Mapping[str, Floats], labels: _Labels, table: Sequence[Mapping[str, Any]]) -> Figure:
    """t-SNE of the embedding and of the generated weights: colour is the place, marker the condition."""
    names = [name for name in (EMBEDDING, POSITION, ORIENTATION) if name in found]
    k, place_N = next(iter(labels.places.items()))
    figure, panels = drawing.panels(len(names), height=2.7)
    rows = {row["representation"]: row for row in table if row["model"] == model}
    for axes, name in zip(panels, names, strict=True):
        flat_N2 = rows[name]["_flat"]
        for number, condition in enumerate(labels.conditions):
            own = labels.condition_N == number
            marker = drawing.MARKERS[number % len(drawing.MARKERS)]
            colours = [drawing.COLOURS[place % len(drawing.COLOURS)] for place in place_N[own]]
            x_n, y_n = flat_N2[own].T
            axes.scatter(x_n, y_n, c=colours, marker=marker, s=16, lw=0, label=condition or "images")
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"{name}: AMI with place {rows[name][f'ami_place_{k}']:.2f}", fontsize=10)
    figure.suptitle(f"{model}: colour is one of {k} places", fontsize=10)
    drawing.legend(figure, panels[0])
    return figure
