"""posezoo."""
