"""Measurements of this machine, each a comparison."""
