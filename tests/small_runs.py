"""Fixtures: small data sets, and one-threaded quiet training in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import small_data
import torch

from posezoo import api
from posezoo.base.observe import Observer
from posezoo.catalogue import resolve, settings
from posezoo.evaluation.report import Report
from posezoo.training import curves, setup
from posezoo.training.config import configure
from posezoo.training.loop import Result

Train = Callable[..., Result]


class Notes(Observer):
    """Keeps what a run tells."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.counts: dict[str, list[tuple[int, int]]] = {}
        self.facts: dict[str, Any] = {}
        self.first = -1

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, what: str, done: int, total: int) -> None:
        self.counts.setdefault(what, []).append((done, total))

    def start(self, total_steps: int, done_steps: int, facts: dict[str, Any]) -> None:
        self.facts, self.first = facts, done_steps


def job(data: Path, model: str = "posenet", observer: Observer | None = None, **more: Any) -> setup.Job:
    """A run that is ready to start."""
    place = resolve.data(f"folder:{data}")
    config, plan = configure(resolve.model(model), place, settings.nested(small_data.settings(model, **more)))
    return setup.set_up(config, plan, place, observer or Notes())


@pytest.fixture(autouse=True)
def quiet_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_home: Path) -> Iterator[None]:
    """One thread, a working folder of its own, a cache that the tests share."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSEZOO_CACHE", str(cache_home))
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("POSEZOO_DATA", "POSEZOO_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image cache of these tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def one_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 training and 8 test images of one scene. Not to be changed: copy it."""
    return small_data.one_place(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="session")
def two_places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for two scenes."""
    return small_data.two_places(tmp_path_factory.mktemp("two"))


@pytest.fixture
def notes() -> Notes:
    """An observer that keeps the notes."""
    return Notes()


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without figures, which take longer than such a run."""
    monkeypatch.setattr(Report, "plot", lambda *given: None)
    monkeypatch.setattr(curves, "save", lambda *given: None)


@pytest.fixture
def train(one_place: Path, tmp_path: Path, no_pictures: None, notes: Notes) -> Train:
    """`train("posenet", epochs=1)`: a run in `run/` below the test's folder (`out=`, `data=` say otherwise)."""

    def run(model: str = "posenet", data: Path | str | None = None, **more: Any) -> Result:
        more = small_data.settings(model, **{"out": str(tmp_path / "run"), **more})
        return api.train(model, f"folder:{data or one_place}", observer=notes, **more)

    return run


def weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    """The model's tensors in a checkpoint."""
    return safetensors.torch.load_file(run / "ckpt" / f"step-{step:09d}" / "model.safetensors")


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}
