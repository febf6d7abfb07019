"""Published numbers beside a model's own: of the same model, settings, data and ground truth, each with its source."""

from __future__ import annotations

import dataclasses

import pytest

from posezoo.catalogue import entries
from posezoo.data.open import open_dataset
from posezoo.evaluation.published import published


def lines(model: str, data: str, ground_truth: str = "original", missing: int = 0) -> list[str]:
    """As if all test frames of the data but `missing` were here."""
    dataset = open_dataset("demo-loop")
    frames = dataclasses.replace(dataset.require("test"), ground_truth=ground_truth)
    card = entries.data_card(data).model_copy(update={"counts": {"scene": {"test": len(frames) + missing}}})
    return published(model, dataclasses.replace(dataset, name=data, card=card), frames, "test")


def test_a_number_has_its_source() -> None:
    assert lines("posenet", "cambridge-shop-facade") == [
        "published for posenet on cambridge-shop-facade: median 0.74 m, 4.79 deg (HyperPose supplement, Table 1)"
    ]


def test_numbers_that_contradict_each_other_are_both_there() -> None:
    for name in ("ms-transformer", "ms-transformer.7scenes"):
        first, second, *others = lines(name, "7scenes")
        assert first == f"published for {name} on 7scenes: median 0.18 m, 7.28 deg (readme of PAE)"
        assert "9.51 deg (later papers; contradicts the readme of PAE)" in second
        assert all("chess" in line for line in others)


def test_a_row_of_ablations_that_changes_nothing_is_the_model() -> None:
    """Said by three names and twice by all settings; other widths, forms and representations are other models."""
    assert lines("ms-transformer+hyper", "cambridge") == [
        "published for ms-transformer+hyper on cambridge: median 1.33 m, 2.41 deg "
        "(HyperPose supplement, Tables 3, 4 and 7; after phase 1)",
        "published for ms-transformer+hyper on cambridge: median 1.34 m, 2.52 deg "
        "(HyperPose supplement, Table 5; after phase 1)",
    ]
    assert "1.29 m" in lines("ms-transformer+hyper=two", "cambridge")[0]


def test_scenes_and_sequences_are_named() -> None:
    (line,) = lines("posenet+hyper", "ecl-winter")
    assert "KingsCollege median 0.67 m, 2.03 deg; OldHospital median 1.39 m, 3.15 deg; " in line
    loop = lines("atloc", "robotcar-loop")[0]
    assert "2014-06-23-15-41-25 mean 8.61 m, 4.58 deg; 2014-06-23-15-41-25 median 5.68 m" in loop


@pytest.mark.parametrize(
    "other",
    [
        {"ground_truth": "sfm"},
        {"missing": 1},
        {"model": "atloc+anchors"},
        {"model": "no model at all"},
        {"model": "TinyModel"},
        {"data": "demo-loop"},
    ],
    ids=str,
)
def test_other_models_data_and_labels_have_none(other: dict[str, object]) -> None:
    assert lines(**({"model": "posenet", "data": "cambridge-shop-facade"} | other)) == []  # type: ignore[arg-type]
