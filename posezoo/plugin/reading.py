"""What readers of data formats use: strict tables, names in order, sizes of pictures, rotations. No torch."""

from posezoo.base.files.pictures import image_size
from posezoo.base.files.tables import numbers, read_csv, read_lines, read_text
from posezoo.base.paths import natural
from posezoo.base.rotation import rotation_matrix

__all__ = ["image_size", "natural", "numbers", "read_csv", "read_lines", "read_text", "rotation_matrix"]
