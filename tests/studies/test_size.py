"""Accuracy against parameters, and the size of each generated layer."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_models
from small_studies import study

from posezoo.studies import size

pytestmark = pytest.mark.usefixtures("no_pictures")


def test_a_full_generator_has_the_numbers_of_the_formula() -> None:
    rows = size.generated(
        small_models.small("posenet+hyper", hyper={"code_position": 4, "code_orientation": 6, "rank": None})
    )
    assert [(row["branch"], row["code"], row["inputs"], row["outputs"]) for row in rows] == [
        ("position", 4, 4, 3),
        ("orientation", 6, 6, 4),
    ]
    assert [row["numbers"] for row in rows] == [row["full"] for row in rows] == [5 * 5 * 3, 7 * 7 * 4]
    assert rows[0]["mib"] == 4 * 75 / 2**20
    (first, _) = size.generated(small_models.small("posenet+hyper", hyper={"code_position": 4, "rank": 2}))
    assert first["numbers"] == 2 * (5 + 3 + 5) and first["full"] == 75
    assert size.generated(small_models.small("posenet")) == []


def test_the_study_on_small_models(one_place: Path, tmp_path: Path) -> None:
    found = study("size", "posenet", "posenet+hyper", data=one_place, out=tmp_path, **{"hyper.rank": 2})
    assert [cell["name"] for cell in found["cells"]] == ["posenet", "posenet+hyper"]
    assert found["cells"][0]["parameters"] < found["cells"][1]["parameters"]
    assert {layer["name"] for layer in found["generated_layers"]} == {"posenet+hyper"}
    assert "smallest" in found["verdict"]
