"""A data set's pictures redrawn for another season or hour, as Extended Cambridge Landmarks (ECL) was made.

Brooks, Holynski and Efros, InstructPix2Pix: Learning to Follow Image Editing Instructions (CVPR 2023), run by
diffusers' pipeline. Model, instructions and guidance are the catalogue's (registry/appearances). What is special:
- every picture has its own seed, derived from the run's seed, the flavour and the picture's name;
- pictures are drawn in fixed batches: one that is not complete is drawn again as a whole. The last bits of a network's
  output depend on the shape of its batch, so only this makes a resumed set, or one made in parts, the same;
- beside `poses.csv` there are ECL's label files, world-to-camera: reader `ecl` reads what Cambridge's scenes give.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from posezoo.base.errors import NotFiniteError, ResourceError, UsageError, unknown_name
from posezoo.base.observe import Observer
from posezoo.base.paths import user_path
from posezoo.catalogue import entries
from posezoo.catalogue.forms import AppearanceCard
from posezoo.data.appearance.instructed import Found, Instructed, find
from posezoo.data.appearance.tree import Tree
from posezoo.data.open import open_dataset
from posezoo.nn.device import torch_device

LABELS = ("", "scene", "split", "seq", "img_path", "t1", "t2", "t3", "q1", "q2", "q3", "q4")


def redraw(
    name: str,
    out: str | Path,
    *,
    flavours: Sequence[str] = (),
    seed: int = 0,
    model: str = "",
    revision: str = "",
    batch: int = 4,
    device: str = "",
    root: str | Path | None = None,
    split: str | Path | None = None,
    subset: str = "test",
    limit: int | None = None,
    observer: Observer | None = None,
) -> dict[str, int]:
    """The number of pictures by flavour in the folder `out`; existing ones are kept.

    `flavours`: of the card registry/appearances/ecl (none named: all). `model`: a repository of the hub, with the
    commit `revision`, or a folder, instead of the card's. `device`: cpu or cuda (empty: cuda if present). `limit`:
    only the first frames. Raises UsageError, DataError, WeightsError, HubError, ResourceError, LockedError,
    NotFiniteError.
    """
    card = entries.appearance("ecl")
    flavours = flavours or tuple(card.flavours)
    for flavour in flavours:
        if flavour not in card.flavours:
            raise unknown_name("flavour", flavour, card.flavours, f"known: {', '.join(card.flavours)}")
    _require("diffusers", "transformers")
    observer = observer or Observer()
    dataset = open_dataset(name, root=root, split=split)
    place = torch_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    found = find(card, model, revision, observer.note)
    settings = card.model_dump(include={"steps", "text_guidance", "scale", "flavours"})
    settings |= {"seed": seed, "batch": batch, "scheduler": "Euler ancestral", "device": place.type}
    facts = {"maker": "posezoo data make-ecl", "model": found.facts(), "settings": settings}
    with Tree(user_path(out), dataset, subset, facts, ("diffusers", "transformers", "torch")) as tree:
        tree.begin(flavours)
        _make(found, place, card, tree, flavours, batch, limit, seed, observer)
        counts = tree.finish(list(_words(card, found.name, seed)))
        _write_labels(tree)
        return counts


def _make(
    found: Found,
    place: torch.device,
    card: AppearanceCard,
    tree: Tree,
    flavours: Sequence[str],
    batch: int,
    limit: int | None,
    seed: int,
    observer: Observer,
) -> None:
    """Draw the missing pictures; the network is loaded only if there are any."""
    groups = _groups(tree, batch, limit)
    wanted = [
        (flavour, group, ns) for flavour in flavours for group in groups if (ns := _absent(tree, group, flavour, limit))
    ]
    total, done = sum(len(ns) for _, _, ns in wanted), 0
    if not total:
        return
    observer.progress("pictures", 0, total)
    network = found.load(place)
    for flavour, group, ns in wanted:
        images = _draw(network, card, tree, flavour, group, seed)
        for n in ns:
            tree.put(n, flavour, images[n])
            done += 1
            observer.progress("pictures", done, total)


def _require(*packages: str) -> None:
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise UsageError(f"redrawing pictures needs {', '.join(missing)}", "pip install 'posezoo[ecl]'")


def _groups(tree: Tree, batch: int, limit: int | None) -> list[list[int]]:
    """Frames to draw together: consecutive, of one size, at most `batch`; only groups with a frame below `limit`."""
    groups: list[list[int]] = []
    before = None
    for n in range(len(tree.frames)):
        size = tree.size(n)
        if size != before or len(groups[-1]) == batch:
            if limit is not None and n >= limit:
                break
            groups.append([])
        groups[-1].append(n)
        before = size
    return groups


def _absent(tree: Tree, group: Sequence[int], flavour: str, limit: int | None) -> list[int]:
    return [n for n in group if (limit is None or n < limit) and not tree.has(n, flavour)]


def _draw(
    network: Instructed, card: AppearanceCard, tree: Tree, flavour: str, group: Sequence[int], seed: int
) -> dict[int, np.ndarray]:
    """Frame -> its redrawn picture (H, W, 3), of one batch of frames of one size."""
    pictures = [Image.fromarray(tree.source_picture(n)) for n in group]
    size = pictures[0].size
    small = (max(8, round(size[0] * card.scale)), max(8, round(size[1] * card.scale)))
    try:
        drawn_BHW3 = network(
            [picture.resize(small, Image.Resampling.BICUBIC) for picture in pictures],
            card.flavours[flavour],
            card.steps,
            card.text_guidance,
            [tree.seed(n, flavour, seed) for n in group],
        )
    except RuntimeError as error:
        if "out of memory" not in str(error).lower():
            raise
        raise ResourceError("out of memory", "use --batch 1 (and another --out if this one was begun)") from None
    if not np.isfinite(drawn_BHW3).all():
        raise NotFiniteError(f"the picture of {tree.name(group[0], flavour)} is not finite", "try --device cpu")
    uint8_BHW3 = (drawn_BHW3 * 255).round().astype(np.uint8)
    return {
        n: np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        for n, image in zip(group, uint8_BHW3, strict=True)
    }


def _write_labels(tree: Tree) -> None:
    """ECL's label files: one a flavour, scene and split, poses in Cambridge's convention (q world-to-camera)."""
    frames, files = tree.frames, dict[str, list[list[Any]]]()
    for flavour in tree.card["pictures"]:
        for n in range(len(frames)):
            if tree.has(n, flavour):
                scene = frames.scenes[frames.scene[n]]
                shown = re.sub(r"[^\w.-]+", "-", scene)
                rows = files.setdefault(f"abs_pose_{shown}_{frames.split[n]}_{flavour}.csv", [])
                w, x, y, z = map(float, frames.quaternion[n])
                pose = [repr(float(value)) for value in (*frames.position[n], w, -x, -y, -z)]
                image = tree.name(n, flavour).partition("/")[2]
                rows.append([len(rows), scene, frames.split[n], frames.sequence[n], image, *pose])
    for name, rows in files.items():
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([LABELS, *rows])
        tree.write_text(name, text.getvalue())


def _words(card: AppearanceCard, model: str, seed: int) -> Iterator[str]:
    yield f"Redrawn by {model}: {card.summary}; {card.steps} steps, text guidance {card.text_guidance:g}, seed {seed}."
    for name, flavour in card.flavours.items():
        yield f'{name}: "{flavour.instruction}", image guidance {flavour.image_guidance:g}.'
