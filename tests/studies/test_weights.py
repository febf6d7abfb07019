"""Clusters of representations: planted places are found, noise has none, and the neighbour under other light."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import small_models
import torch
from naming import naming
from small_studies import study

pytest.importorskip("sklearn", reason="extra: analysis")

from posezoo.base.errors import DataError, UsageError, WeightsError
from posezoo.base.observe import Observer
from posezoo.nn.model import PoseModel
from posezoo.studies import weights
from posezoo.studies.measure import Album, open_album
from posezoo.studies.study import run
from posezoo.studies.subjects import Request, Subject

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


def test_true_positions_are_the_ceiling(one_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Along a street of one height but for noise: standardised, the noise would count as much as the street."""
    album = open_album(Request((), f"folder:{one_place}", tmp_path), Observer())
    position = np.random.default_rng(0).normal(size=(8, 3)) * [30, 1, 0.02]
    album = dataclasses.replace(album, frames=dataclasses.replace(album.frames, position=position))
    monkeypatch.setattr(weights, "open_album", lambda *_: album)
    monkeypatch.setattr(weights, "subjects", lambda _: [Subject("hyper", ("run",))])
    monkeypatch.setattr(weights, "load", lambda *_: small_models.small().eval())
    monkeypatch.setattr(weights, "training_notes", lambda _: [])
    found = weights.study(Request(("posenet",), "", tmp_path), weights.Options((3,)), Observer())
    rows = {row["representation"]: row for row in found.numbers["representations"]}
    true = rows.pop("true position")
    assert true["ami_place_3"] >= max(row["ami_place_3"] for row in rows.values())
    least = [
        np.linalg.norm(position - one, axis=1)[album.frames.condition != condition].min()
        for one, condition in zip(position, album.frames.condition, strict=True)
    ]
    assert true["neighbour_m"] == pytest.approx(np.median(least))


def test_several_scenes_are_refused(two_places: Path, tmp_path: Path) -> None:
    """Metres between the places of two coordinate systems mean nothing."""
    with pytest.raises(UsageError, match=naming("scenes=hall")):
        run("weights", ["posenet-anchors-demo"], data=f"folder:{two_places}", out=tmp_path)


def test_too_few_images_are_refused_before_anything_is_trained(one_place: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="8 test images"):
        run("weights", ["posenet"], data=f"folder:{one_place}", out=tmp_path, given={"study.places": [8, 9]})
    assert not list(tmp_path.iterdir())
    album = open_album(Request((), f"folder:{one_place}", tmp_path), Observer())
    for count in (1, 2):
        few = dataclasses.replace(album, frames=album.frames.select(np.arange(count)))
        with pytest.raises(DataError, match=f"{count} test image"):
            weights._Labels(few, weights.Options((2,)))


def test_numbers_of_places_that_are_too_large_are_left_out_with_a_note(one_place: Path, tmp_path: Path) -> None:
    album = open_album(Request((), f"folder:{one_place}", tmp_path), Observer())
    labels = weights._Labels(album, weights.Options((3, 8, 12, 7)))
    assert list(labels.places) == [3, 7]
    assert labels.notes == ["study.places=8,12 left out: there are 8 test images"]


def test_an_image_without_a_finite_answer_is_left_out_with_a_note(
    one_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One failed image is no constant column: the other images are scored as if it were not there."""
    whole, scored = weights.representations, []

    def failing(model: PoseModel, album: Album) -> dict[str, np.ndarray]:
        found = whole(model, album)
        found["predicted position"][2] = np.nan
        return found

    def scores(value: np.ndarray, labels: weights._Labels, known: np.ndarray, metres: bool) -> dict[str, object]:
        scored.append(known.tolist())
        return plain(value, labels, known, metres)

    plain = weights._scores
    monkeypatch.setattr(weights, "representations", failing)
    monkeypatch.setattr(weights, "_scores", scores)
    more = {"study.places": [2, 3], "study.perplexity": 2}
    found = study("weights", "posenet+hyper", data=one_place, out=tmp_path, **{"hyper.rank": 4}, **more)
    assert scored == [[n != 2 for n in range(8)]] * 6
    assert any("no finite answer for 1 of 8 test images" in note for note in found["notes"])
    rows = {row["representation"]: row for row in found["representations"]}
    assert rows["predicted position"]["ami_place_2"] > 0 or rows["predicted position"]["neighbour_m"] > 0
    assert "neighbours under other light" in found["verdict"] and "nan" not in found["verdict"]
    assert "nan" not in str(found["representations"])


def test_a_model_that_fails_everywhere_is_named(one_place: Path, tmp_path: Path) -> None:
    album = open_album(Request((), f"folder:{one_place}", tmp_path), Observer())
    labels = weights._Labels(album, weights.Options((2, 3)))
    with pytest.raises(WeightsError, match="finite answer for 5 of 8"):
        weights._left_out("posenet", "run", np.arange(8) < 3, labels)
    with pytest.raises(WeightsError, match="finite answer for 4 of 8"):  # one condition alone is left
        weights._left_out("posenet", "run", labels.condition_N == 0, labels)
