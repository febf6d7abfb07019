"""Small data sets and runs, see tests/small_runs.py, and the example plugins."""

from example_plugins import examples
from small_runs import cache_home, no_pictures, notes, one_place, quiet_place, train, two_places

__all__ = ["cache_home", "examples", "no_pictures", "notes", "one_place", "quiet_place", "train", "two_places"]
