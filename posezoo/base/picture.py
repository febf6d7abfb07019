"""Figures that need no display: they show themselves in a notebook and are saved whole, as PNG, SVG or PDF.

`with themed("dark")` draws for dark pages: light ink on slate. What is drawn takes its greys from `grey`, so that they
are as faint on one page as on the other.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import matplotlib
from matplotlib.axis import Axis, Tick
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter

from posezoo.base.errors import UsageError, unknown_name
from posezoo.base.files.write import replacement, writing

DPI = 150
FORMATS = ("png", "svg", "pdf")
Theme = Literal["light", "dark"]

_DARK_PAGE, _DARK_INK = "#1e2129", "#e3e4e8"  # the site's dark page and its text
_DARK: Any = {
    **{f"{part}.facecolor": _DARK_PAGE for part in ("figure", "axes")},
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _DARK_INK),
}
# type 42: fonts that publishers accept; no date and one salt: the same figure is the same file
_SAVED: Any = {"pdf.fonttype": 42, "svg.hashsalt": "posezoo"}


class Picture(Figure):
    """A matplotlib figure that a notebook shows, whether or not it was told to with %matplotlib."""

    def _repr_png_(self) -> bytes:
        data = io.BytesIO()
        with as_written(self):
            self.savefig(data, format="png", dpi=DPI / 2, bbox_inches="tight")
        return data.getvalue()

    def save(self, path: Path, transparent: bool = False) -> Path:
        """The path, with the figure in the form of its suffix. Raises UsageError, ResourceError."""
        save(self, path, transparent)
        return path


def save(figure: Figure, path: Path, transparent: bool = False) -> None:
    """Write a figure in the form of the path's suffix. Raises UsageError, ResourceError."""
    kind = path.suffix[1:].lower()
    if kind not in figure.canvas.get_supported_filetypes():
        raise UsageError(f"{path}: unknown picture format", "end it in " + ", ".join(f".{form}" for form in FORMATS))
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with writing(path), replacement(path) as temporary, matplotlib.rc_context(_SAVED):
        options: dict[str, Any] = {"metadata": undated[kind]} if kind in undated else {}
        with as_written(figure):
            figure.savefig(temporary, format=kind, dpi=DPI, bbox_inches="tight", transparent=transparent, **options)


@contextmanager
def as_written(figure: Figure) -> Iterator[None]:
    """Texts of the figure are drawn inside as they are written: a $ in a name begins no formula, which may be wrong.

    Powers of ten at a logarithmic axis stay formulas. What the font does not have is a box, and not a warning too.
    """
    axes = [axis for one in figure.axes for axis in (one.xaxis, one.yaxis)]
    ticks = [tick for axis in axes if isinstance(axis.get_major_formatter(), LogFormatter) for tick in _ticks(axis)]
    powers = {id(label) for tick in ticks for label in (tick.label1, tick.label2)}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and id(text) not in powers:
            text.set_parse_math(False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        yield


def _ticks(axis: Axis) -> list[Tick]:
    return [*axis.get_major_ticks(), *axis.get_minor_ticks()]


@contextmanager
def themed(theme: str) -> Iterator[None]:
    """What is drawn inside is for light or dark pages. Raises UsageError."""
    if theme not in get_args(Theme):
        raise unknown_name("theme", theme, get_args(Theme), "light or dark")
    with matplotlib.rc_context(_DARK if theme == "dark" else {}):
        yield


def grey(share: float) -> tuple[float, float, float]:
    """A grey between ink (0) and page (1) of the theme."""
    ink, page = (to_rgb(matplotlib.rcParams[name]) for name in ("text.color", "figure.facecolor"))
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(ink, page, strict=True))
    return red, green, blue


def is_dark() -> bool:
    """Whether what is drawn now is for dark pages."""
    return sum(to_rgb(matplotlib.rcParams["figure.facecolor"])) < 1.5
