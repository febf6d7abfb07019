"""Which photographs look alike: by the features of the packaged backbone, as the retrieval baseline compares images.

Photographs in a folder follow each other in any order, so that neighbours in the list are no good pairs to match.

Legend: N images, E numbers of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from posezoo.base.files.pictures import read_image
from posezoo.base.observe import Stages
from posezoo.evaluation.retrieval import PACKAGED, frozen_backbone
from posezoo.nn.backbones import normalisation
from posezoo.nn.transforms import preprocess
from posezoo.zoo import pretrained

ALIKE = 20  # images that each is matched with
SIDE = 160  # pixels: enough to tell views apart
CHUNK = 16  # images between two reports of progress


def alike(images: Path, names: Sequence[str], progress: Stages, count: int = ALIKE) -> list[tuple[str, str]] | None:
    """Pairs of each image with the `count` that look most like it, in the order of `names`; None without the backbone.

    Raises DataError for a picture that cannot be read.
    """
    if not pretrained.is_packaged(PACKAGED):
        return None
    embedding_NE = _embeddings(images, names, progress)
    found: set[tuple[int, int]] = set()
    for first in range(len(names)):
        like_N = embedding_NE @ embedding_NE[first]
        like_N[first] = -np.inf
        found.update((min(first, n), max(first, n)) for n in np.argsort(-like_N)[:count].tolist())
    return [(names[first], names[other]) for first, other in sorted(found)]


def _embeddings(images: Path, names: Sequence[str], progress: Stages) -> np.ndarray:
    """Of the centre of each picture, of length 1, less their mean: (N, E) float32."""
    backbone, (mean, std) = frozen_backbone(PACKAGED, SIDE), normalisation(PACKAGED)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(names), CHUNK):
            part = names[start : start + CHUNK]
            pictures = [torch.from_numpy(read_image(images / name, SIDE).copy()).permute(2, 0, 1) for name in part]
            given = torch.cat([preprocess(one[None], SIDE, SIDE, mean, std) for one in pictures])
            parts.append(backbone(given)[0])
            progress("comparing pictures", start + len(part), len(names))
        all_NE = torch.cat(parts)
        return F.normalize(all_NE - all_NE.mean(0), dim=-1).numpy()
