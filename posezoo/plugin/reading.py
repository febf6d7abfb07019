"""What readers of data formats use: strict tables, sizes of pictures, rotations. Imports numpy, but no torch."""

from posezoo.base.files.pictures import image_size
from posezoo.base.files.tables import numbers, read_csv, read_lines, read_text
from posezoo.base.poses import rotation_matrix

__all__ = ["image_size", "numbers", "read_csv", "read_lines", "read_text", "rotation_matrix"]
