"""What readers of data formats import: all of it there, and no torch behind it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from posezoo.plugin import reading


def test_everything_that_it_promises_is_there() -> None:
    assert len(set(reading.__all__)) == len(reading.__all__) > 3
    assert all(callable(getattr(reading, name)) for name in reading.__all__)
    np.testing.assert_array_equal(reading.rotation_matrix(np.array([1.0, 0.0, 0.0, 0.0])), np.eye(3))


def test_it_imports_no_torch() -> None:
    code = "import sys; import posezoo.plugin.reading; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
