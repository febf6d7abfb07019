"""What a call leaves behind in the process is put back and named."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable

import numpy as np
import pytest
import torch
from naming import naming
from small_models import small

from posezoo.base.errors import PluginError
from posezoo.nn import promises

CHANGES: dict[str, Callable[[], object]] = {
    promises.DRAWING: lambda: torch.rand(1),
    "Python's random state": random.random,
    "numpy's random state": np.random.rand,
    "the default dtype": lambda: torch.set_default_dtype(torch.float64),
    "the grad mode": lambda: torch.set_grad_enabled(False),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "the number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "the working folder": lambda: os.chdir("/"),
    "signal handlers": lambda: signal.signal(signal.SIGUSR1, lambda *_: None),
}


def test_every_aspect_has_a_change() -> None:
    assert set(CHANGES) == set(promises._ASPECTS)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_named_and_undone(name: str) -> None:
    read, _ = promises._ASPECTS[name]
    before = read()
    with pytest.raises(PluginError, match=naming("it", name)), promises.process_unchanged("it"):
        CHANGES[name]()
    assert read() == before
    with pytest.raises(ZeroDivisionError), promises.process_unchanged("it"):  # what was raised is told, the rest undone
        CHANGES[name]()
        raise ZeroDivisionError
    assert read() == before
    with promises.process_unchanged("it", but=(name,)):
        CHANGES[name]()
    assert read() != before
    promises._ASPECTS[name][1](before)


def test_nothing_changed_says_nothing() -> None:
    with promises.process_unchanged("it"):
        pass


def test_scene_logits_come_with_a_scene() -> None:
    model = small(scenes=("a", "b"))
    features = model.encode(torch.zeros(2, 3, model.config.crop, model.config.crop))
    logits = torch.zeros(2, 2)
    promises.check_features(model, features._replace(scene_logits=logits, scene=logits.argmax(-1)), 2)
    with pytest.raises(PluginError):
        promises.check_features(model, features._replace(scene_logits=logits, scene=None), 2)


def test_what_is_of_scenes_has_a_part_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small("posenet", scenes=("a", "b"))
    promises.check_model(model)
    for name in ("query", "hidden.0.weight"):  # there is none; it has 16 rows
        monkeypatch.setattr(type(model), "of_scenes", (name,))
        with pytest.raises(PluginError, match=naming(name)):
            promises.check_model(model)


def test_a_spread_is_positive_and_one_number_an_image() -> None:
    model = small("posenet+spread")
    with torch.no_grad():
        output = model(torch.zeros(2, 3, model.config.crop, model.config.crop))
    promises.check_pose(model, output, 2)
    for wrong in (None, output.spread_m[:1], -output.spread_m):
        with pytest.raises(PluginError, match=naming("spread_m")):
            promises.check_pose(model, output._replace(spread_m=wrong), 2)
