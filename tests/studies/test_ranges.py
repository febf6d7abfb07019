"""Ranges of options: what is there twice, nothing at all, and beside the range."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from posezoo.studies.ranges import AtMost, Several, Severity, Share


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Several[int], (1, 2), ()),
        (Several[int], (1,), (1, 2, 1)),
        (Several[Severity], (1, 5), (1, 6)),
        (Share, 1.0, 0.0),
        (Share, 0.05, 1.01),
        (AtMost, 0, -1),
    ],
)
def test_inside_and_outside(kind: Any, good: Any, bad: Any) -> None:
    adapter = TypeAdapter(kind)
    assert adapter.validate_python(good) == good
    with pytest.raises(ValidationError):
        adapter.validate_python(bad)
