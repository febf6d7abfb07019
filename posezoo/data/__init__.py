"""Data sets as tables of frames, their splits, the image cache. Nothing is imported before it is used (no torch)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posezoo.data.images.cache import ImageCache
    from posezoo.data.open import Dataset, inspect_dataset, open_dataset
    from posezoo.data.table import Frames

__all__ = ["Dataset", "Frames", "ImageCache", "inspect_dataset", "open_dataset"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("posezoo.data.images.cache" if name == "ImageCache" else "posezoo.data.open"), name)
