"""What tests of converting share: settings that only the user knows, and conversions that are refused."""

from __future__ import annotations

from typing import Any

import authors
import pytest

from posezoo.base.errors import WeightsError
from posezoo.zoo.convert import mapped

PIXELS = {"mean": (0.4, 0.4, 0.4), "std": (0.2, 0.2, 0.2)}
State = authors.State


def refused(state: State, source: str, data: str, words: str, **overrides: Any) -> WeightsError:
    """The one-line error of mapping the authors' tensors, which names `words`."""
    with pytest.raises(WeightsError, match=words) as error:
        mapped(state, source, data, overrides, "theirs.pth")
    assert "\n" not in str(error.value)
    return error.value
