"""The plugins of docs/examples, found as if they were installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from posezoo.catalogue import plugins

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"


@contextmanager
def installed() -> Iterator[None]:
    """Inside, the examples are there; afterwards nothing of them is left in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POSEZOO_PLUGIN_PATH", os.pathsep.join(map(str, sorted(EXAMPLES.glob("posezoo-*")))))
        patch.setattr(sys, "path", [*sys.path])
        plugins.manager.cache_clear()
        yield
    plugins.manager.cache_clear()
    packages = {place.name.replace("-", "_") for place in EXAMPLES.glob("posezoo-*")}
    for module in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[module]  # else they still look installed


@pytest.fixture
def examples() -> Iterator[None]:
    """The example plugins, for one test."""
    with installed():
        yield
