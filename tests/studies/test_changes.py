"""Weather of a study: the same picture each time, another for each frame, the severities asked for."""

from __future__ import annotations

import numpy as np
import pytest
from naming import naming

from posezoo.base.errors import UsageError
from posezoo.studies import changes

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_frames_have_seeds_of_their_own() -> None:
    pytest.importorskip("kornia", reason="extra: weather")
    (night,) = changes.weathers(np.arange(3), ["night"], [3])
    assert night.name == "night-3" and night.change is not None
    first, again, other = (night.change(PICTURE, n) for n in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.mean() < PICTURE.mean() / 1.5


def test_what_does_not_exist_is_named() -> None:
    with pytest.raises(UsageError, match=naming("fog")):
        changes.weathers(np.arange(1), ["fogg"], [3])
    with pytest.raises(UsageError, match="6"):
        changes.weathers(np.arange(1), ["fog"], [6])


def test_thinned_evenly() -> None:
    assert changes.thinned(10, 0).tolist() == list(range(10))
    assert changes.thinned(10, 4).tolist() == [0, 3, 6, 9]
    assert len(changes.thinned(240, 60)) == 60
