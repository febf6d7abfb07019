"""What all tests share: a fresh plugin manager, a cache folder of their own, one thread, real data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is imported: no test touches the network

settings.register_profile("ci", derandomize=True, max_examples=200, deadline=None, database=None)
settings.register_profile("nightly", max_examples=5000, deadline=None, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


HEAVY = Path(__file__).with_name("heavy.txt")


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What heavy.txt names is marked so."""
    heavy = set(HEAVY.read_text(encoding="utf-8").splitlines())
    for item in items:
        if item.nodeid in heavy:
            item.add_marker(pytest.mark.heavy)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Every worker computes on one core: two of them share two cores."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The image cache of the whole session, away from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("POSEZOO_CACHE", str(folder))
        yield folder


@pytest.fixture
def fresh_plugins() -> Iterator[None]:
    """Plugins are discovered anew, for a test that changes them; nothing of it stays."""
    from posezoo.catalogue import plugins

    plugins.manager.cache_clear()
    yield
    plugins.manager.cache_clear()


@pytest.fixture
def real_data() -> Path:
    """The folder of real data that POSEZOO_TEST_DATA names."""
    if not os.environ.get("POSEZOO_TEST_DATA"):
        pytest.skip("POSEZOO_TEST_DATA is not set: no real data")
    return Path(os.environ["POSEZOO_TEST_DATA"])
