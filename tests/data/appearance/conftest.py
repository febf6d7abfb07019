"""Small data sets and runs (tests/small_runs.py), a hub (tests/small_hub.py), a Cambridge tree and a tiny model."""

from __future__ import annotations

from pathlib import Path

import benchmark_trees
import pytest
import tiny_instructed
from small_hub import hub
from small_runs import cache_home, no_pictures, notes, one_place, quiet_place, train, two_places

__all__ = ["cache_home", "hub", "no_pictures", "notes", "one_place", "quiet_place", "train", "two_places"]


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cambridge/ and ecl/ with a tenth of three demo places. Not to be changed: copy it."""
    return benchmark_trees.cambridge(tmp_path_factory.mktemp("tree"), every=10, size=(96, 54))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny InstructPix2Pix model. Not to be changed: copy it."""
    for package in ("diffusers", "transformers"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'posezoo[ecl]'")
    return tiny_instructed.save(tmp_path_factory.mktemp("tiny"))
