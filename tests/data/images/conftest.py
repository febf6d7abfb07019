"""Six frames with a picture each."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictured_frames import make_frames

from posezoo.data.table import Frames


@pytest.fixture
def frames(tmp_path: Path) -> Frames:
    """Six pictures of one size."""
    return make_frames(tmp_path / "data", [(64, 48)] * 6)
