"""Small data sets and runs (tests/small_runs.py); a hub, a catalogue and a small model (tests/small_hub.py)."""

from small_hub import catalogue, hub, small_model
from small_runs import cache_home, no_pictures, notes, one_place, quiet_place, train, two_places

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
