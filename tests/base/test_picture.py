"""Figures that show and save themselves."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import matplotlib.image
import pytest
from matplotlib.colors import to_rgb

from posezoo.base.errors import UsageError
from posezoo.base.picture import DPI, FORMATS, Picture, grey, is_dark, themed


def drawn() -> Picture:
    """A line on axes."""
    figure = Picture(figsize=(2, 2))
    figure.add_subplot().plot([0, 1], [0, 1], color=grey(0.2))
    return figure


def test_a_notebook_shows_it_without_being_told() -> None:
    formatters = pytest.importorskip("IPython.core.formatters", reason="IPython is not installed")
    data, _ = formatters.DisplayFormatter().format(drawn())
    assert data["image/png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_figure_is_the_same_file(tmp_path: Path, form: str) -> None:
    first, second = (drawn().save(tmp_path / f"{name}.{form}").read_bytes() for name in "ab")
    assert first == second and len(first) > 500


def test_pdf_has_the_fonts_that_publishers_accept(tmp_path: Path) -> None:
    assert b"/Type3" not in drawn().save(tmp_path / "a.pdf").read_bytes()


@pytest.mark.parametrize("name", ["$5_{a$", "a $x_ $ b", "\u3042\u5149"])
def test_names_are_drawn_as_they_are_written(tmp_path: Path, name: str) -> None:
    """A $ begins no formula, in titles, legends and at ticks; a letter that the font does not have warns nobody."""
    figure = drawn()
    (axes,) = figure.axes
    axes.set(title=name, xlabel=name, yscale="log", ylim=(0.1, 100))
    axes.set_xticks([0, 1], [name, "b"])
    axes.plot([0, 1], [1, 2], label=name)
    axes.legend()
    figure.suptitle(name)
    figure.save(tmp_path / "a.png")
    svg = figure.save(tmp_path / "a.svg").read_text()
    assert svg.count(f"<!-- {name} -->") == 5
    assert "mathdefault{10^{1}}" in svg, "powers of ten stay powers"
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_figures_without_such_names_are_as_they_were(tmp_path: Path) -> None:
    plain, figure = (drawn() for _ in range(2))
    for one in (plain, figure):
        one.axes[0].set(title="a title", xlabel="x", xscale="log", yscale="log", ylim=(0.1, 100), xlim=(0.1, 2))
    figure.save(tmp_path / "a.png")
    plain.savefig(tmp_path / "b.png", dpi=DPI, bbox_inches="tight")
    found, expected = (matplotlib.image.imread(tmp_path / name) for name in ("a.png", "b.png"))
    assert (found == expected).all()


def test_themes(tmp_path: Path) -> None:
    pages = {}
    for theme in ("light", "dark"):
        with themed(theme):
            assert is_dark() is (theme == "dark")
            assert grey(1) == to_rgb(matplotlib.rcParams["figure.facecolor"]), "the page itself"
            assert (sum(grey(0)) > 2.4) is (theme == "dark")
            pages[theme] = drawn().save(tmp_path / f"{theme}.png")
    light, dark = (matplotlib.image.imread(path)[..., :3] for path in pages.values())
    assert light[0, 0].mean() == 1.0 and dark[0, 0].mean() < 0.2
    clear = matplotlib.image.imread(drawn().save(tmp_path / "clear.png", transparent=True))
    assert clear[0, 0, 3] == 0
    assert matplotlib.rcParams["text.color"] == "black"
    with pytest.raises(UsageError, match="sepia"), themed("sepia"):
        pass
