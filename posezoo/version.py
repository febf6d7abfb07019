"""The version of posezoo."""

__version__ = "0.1.0"
