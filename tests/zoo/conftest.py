"""Small data sets and runs (tests/small_runs.py); a hub, a catalogue and a small model (tests/small_hub.py)."""

from pathlib import Path

import authors
import pytest
import torch
from small_hub import catalogue, hub, small_model
from small_runs import cache_home, no_pictures, notes, one_place, quiet_place, train, two_places
from test_models import build

from posezoo.zoo.export import export

__all__ = [
    "cache_home",
    "catalogue",
    "hub",
    "no_pictures",
    "notes",
    "one_place",
    "quiet_place",
    "small_model",
    "train",
    "two_places",
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A good file of each kind. Not to be changed: copy it."""
    model = build("posenet", backbone="test_efficientnet.r160_in1k", hidden=8, resize=64, crop=64)
    folder = tmp_path_factory.mktemp("exported")
    return {to: export(model, to, folder / f"a.{to}").path for to in ("onnx", "pt2")}


@pytest.fixture(scope="module")
def posenet() -> authors.State:
    """The tensors of the authors' PoseNet with its hypernetwork's names, random."""
    torch.manual_seed(0)
    return authors.posenet()


@pytest.fixture(scope="module")
def multi() -> authors.State:
    """Those of MS-Transformer with four scenes and one layer each."""
    torch.manual_seed(1)
    return authors.ms_transformer(4, (1, 1))
