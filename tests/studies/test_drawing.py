"""Styles and panels of figures."""

from __future__ import annotations

from posezoo.studies import drawing


def test_neighbours_look_different() -> None:
    styles = drawing.styles([str(n) for n in range(9)])
    assert len(styles) == 9
    assert len(set(list(styles.values())[:7])) == 7


def test_panels_share_one_figure() -> None:
    figure, axes = drawing.panels(2)
    axes[0].plot([0, 1], [0, 1], label="a")
    drawing.legend(figure, axes[0])
    drawing.plain(axes[1], "m")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a"]
    assert axes[1].get_ylabel() == "m"
