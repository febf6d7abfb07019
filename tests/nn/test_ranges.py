"""Ranges of settings: the ends belong to them or not, and what is no number is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from posezoo.nn import ranges

INSIDE = {
    "Count": (1, 1_048_576),
    "Probability": (0, 0.5, 1),
    "Side": (32, 4096),
    "Level": (0, 1),
    "Metres": (-1e12, 0, 1e12),
    "Positive": (1e-9, 1e9),
    "Degrees": (0, 0.5, 180),
    "Spread": (1e-9, 1),
}
OUTSIDE = {
    "Count": (0, -1, 1_048_577, 1.5),
    "Probability": (-1e-9, 1.01, float("nan")),
    "Side": (31, 4097),
    "Level": (-0.1, 1.1, float("nan")),
    "Metres": (-1.1e12, 1.1e12, float("inf"), float("nan")),
    "Positive": (0, -1, float("inf"), float("nan")),
    "Degrees": (-0.1, 180.1, float("nan")),
    "Spread": (0, 1.1, float("nan")),
}


@pytest.mark.parametrize("name", INSIDE)
def test_the_ends_of_a_range(name: str) -> None:
    kind: TypeAdapter[Any] = TypeAdapter(getattr(ranges, name))
    for value in INSIDE[name]:
        assert kind.validate_python(value) == value
    for value in OUTSIDE[name]:
        with pytest.raises(ValidationError):
            kind.validate_python(value)
