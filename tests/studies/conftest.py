"""Small data sets and runs, see tests/small_runs.py."""

from small_runs import cache_home, no_pictures, notes, one_place, quiet_place, train, two_places

__all__ = ["cache_home", "no_pictures", "notes", "one_place", "quiet_place", "train", "two_places"]
