"""Models and readers that break the contract, see tests/broken_suites.py."""

from broken_suites import zoo_of_models

__all__ = ["zoo_of_models"]
