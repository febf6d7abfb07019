"""Clusters of representations: planted places are found, noise has none, and the neighbour under other light."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_models
import torch
from naming import naming
from small_studies import study

pytest.importorskip("sklearn", reason="extra: analysis")

from posezoo.base.errors import UsageError
from posezoo.base.observe import Observer
from posezoo.studies import weights
from posezoo.studies.measure import open_album
from posezoo.studies.study import run
from posezoo.studies.subjects import Request

pytestmark = pytest.mark.usefixtures("no_pictures")


def test_neighbours_under_another_condition_by_hand() -> None:
    value = np.array([[0.0], [1.0], [5.0], [1.2]])
    metres, nearest = weights.neighbours(
        value, np.array([0, 0, 1, 1]), np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [7.0, 0, 0]])
    )
    assert nearest.tolist() == [3, 3, 1, 1]
    assert metres.tolist() == [7.0, 6.0, 1.0, 6.0]


def test_columns_that_do_not_vary_are_left_out() -> None:
    value = np.random.default_rng(0).standard_normal((20, 3)) * [1, 1e6, 0] + [0, 0, 7]
    assert weights.reduced(value).shape == (20, 2)
    np.testing.assert_allclose(weights.reduced(value).std(axis=0) ** 2 @ [1, 1], 2.0)
    assert weights.reduced(np.ones((20, 3))).tolist() == [[0.0]] * 20


def test_representations_are_those_of_the_heads(one_place: Path, tmp_path: Path) -> None:
    model = small_models.small().eval()
    album = open_album(Request((), f"folder:{one_place}", tmp_path), Observer())
    found = weights.representations(model, album)
    head = model.position_head
    with torch.inference_mode():
        features = model.encode(model.prepare(album.cache.batch([3])[0]))
        (expected,) = head.generated_weights(features.position, features.image)
    np.testing.assert_allclose(found["position weights"][3], expected.flatten(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["embedding"][3], features.image[0], rtol=1e-4, atol=1e-6)
    assert found["orientation weights"].shape == (8, (model.orientation_head.widths[0] + 1) * 4)


@pytest.mark.slow
def test_the_study_on_small_models(one_place: Path, tmp_path: Path) -> None:
    more = {"hyper.rank": 4, "study.places": [2, 3]}
    found = study("weights", "posenet+hyper", "posenet", data=one_place, out=tmp_path, **more)
    rows = {(row["model"], row["representation"]): row for row in found["representations"]}
    assert len(rows) == 6 + 4
    true, chance = (rows["posenet", name] for name in ("true position", "random"))
    assert chance["ami_place_2"] < true["ami_place_2"]
    assert true["neighbour_m"] < chance["neighbour_m"]
    assert found["conditions"] == ["rain", "sun"]
    assert found["figures"] == ["weights.png"] and "position weights of posenet+hyper" in found["verdict"]


def test_several_scenes_are_refused(two_places: Path, tmp_path: Path) -> None:
    """Metres between the places of two coordinate systems mean nothing."""
    with pytest.raises(UsageError, match=naming("scenes=hall")):
        run("weights", ["posenet-anchors-demo"], data=f"folder:{two_places}", out=tmp_path)
