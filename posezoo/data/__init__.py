"""Data sets as tables of frames, their splits, the image cache."""
