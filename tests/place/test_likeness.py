"""Photographs that look alike are found, in whatever order the folder has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import posezoo_demo
import pytest
from PIL import Image

from posezoo.evaluation.retrieval import PACKAGED
from posezoo.place import likeness, structure
from posezoo.zoo import pretrained

LOOP = Path(posezoo_demo.__file__).parent / "loop" / "images"


@pytest.fixture
def shuffled(tmp_path: Path) -> tuple[Path, list[str]]:
    """Sixteen pictures of each of two streets of the demo, a few metres apart, named in an order that says nothing."""
    drive = sorted((LOOP / "train-1").glob("*.jpg"))
    for number, name in zip(np.random.default_rng(0).permutation(32), range(32), strict=True):
        place, n = divmod(int(number), 16)
        with Image.open(drive[30 * place + n]) as picture:
            picture.save(tmp_path / f"{name:02d}-{place}.png")
    return tmp_path, sorted(path.name for path in tmp_path.iterdir())


def test_pictures_of_one_street_are_paired(shuffled: tuple[Path, list[str]]) -> None:
    folder, names = shuffled
    said: list[tuple[int, int]] = []
    found = likeness.alike(folder, names, lambda what, done, total: said.append((done, total)), count=4)
    assert found is not None and said[-1] == (32, 32)
    assert all(names.index(a) < names.index(b) for a, b in found), "each pair once, in one order"
    assert {name for pair in found for name in pair} == set(names)
    same = sum(a[-5] == b[-5] for a, b in found) / len(found)
    assert same > 0.85, "half by chance"


def test_without_the_backbone_neighbours_are_tried(
    shuffled: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, names = shuffled
    asked: list[str] = []
    monkeypatch.setattr(pretrained, "is_packaged", lambda name: bool(asked.append(name)))
    assert likeness.alike(folder, names, lambda *given: None) is None and asked == [PACKAGED]


def test_alike_pairs_take_the_place_of_far_neighbours() -> None:
    names = [f"a/{n}.jpg" for n in range(500)]
    pairs = set(structure.pairs(names, frozenset(), [("a/0.jpg", "a/77.jpg")]))
    assert ("a/0.jpg", "a/77.jpg") in pairs and ("a/0.jpg", "a/78.jpg") not in pairs
    assert ("a/0.jpg", "a/10.jpg") in pairs
    assert len(pairs) < len(structure.pairs(names, frozenset())) / 4
