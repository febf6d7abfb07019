"""What `python docs/make.py` writes is what is there: the code and the catalogue have not moved on."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from posezoo.api import list_models
from posezoo.catalogue import entries

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def make() -> ModuleType:
    """docs/make.py as a module."""
    spec = importlib.util.spec_from_file_location("make", ROOT / "docs" / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_keys_are_current(make: ModuleType) -> None:
    assert make.KEYS.read_text(encoding="utf-8") == make.keys_text()


def test_sizes_are_current(make: ModuleType) -> None:
    """Of two models; the slow test below looks at all."""
    cards = entries.size_cards()
    assert set(cards) == set(list_models())
    for name in ("posenet+hyper", "atloc.4d"):
        assert cards[name].parameters == make.parameters(name)


@pytest.mark.slow
def test_all_sizes_are_current(make: ModuleType) -> None:
    speeds = {name: card.ms for name, card in entries.size_cards().items()}
    assert make.SIZES.read_text(encoding="utf-8") == make.sizes_text(list_models(), speeds)


def test_the_gallery_is_current(make: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSEZOO_DATA", raising=False)
    assert make.GALLERY.read_text(encoding="utf-8") == make.gallery_text()
