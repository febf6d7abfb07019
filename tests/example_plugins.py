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
def installed(*others: Path) -> Iterator[None]:
    """Inside, the examples and other plugins' folders are there; afterwards nothing is left in this process."""
    places = [*sorted(EXAMPLES.glob("posezoo-*")), *others]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POSEZOO_PLUGIN_PATH", os.pathsep.join(map(str, places)))
        patch.setattr(sys, "path", [*sys.path])
        plugins.manager.cache_clear()
        yield
    plugins.manager.cache_clear()
    packages = {place.name.replace("-", "_") for place in places}
    for module in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[module]  # else they still look installed


@pytest.fixture
def examples() -> Iterator[None]:
    """The example plugins, for one test."""
    with installed():
        yield
