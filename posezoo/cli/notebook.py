"""The live view in a notebook: one output of the cell, drawn again in place.

It needs IPython alone, which is there wherever a notebook is. rich and tqdm draw their bars with ipywidgets, which many
kernels lack, and which leaves nothing behind in a stored notebook.
"""

from __future__ import annotations

import time
from typing import Any

from posezoo.base.shown import html

SECONDS = 0.25
"""Between two drawings."""


class CellView:
    """A bar with a line of text, and below it what else is being done. It stays as it was last drawn."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._drawn_at = -SECONDS
        self._bar: tuple[int, int, str] | None = None
        self._work: tuple[int, int, str] | None = None

    def bar(self, done: int, total: int, text: str, now: bool = False) -> None:
        """The training's bar at `done` of `total` steps; `now`: drawn even if it was a moment ago."""
        self._bar = done, total, text
        self._draw(now)

    def work(self, done: int, total: int, what: str) -> None:
        """Other work, `done` of `total`: its line goes when it is done."""
        self._work = None if done >= total else (done, total, what)
        self._draw(now=done >= total)

    def end(self) -> None:
        """The last state, whatever the time."""
        self._work = None
        if self._handle is not None:
            self._draw(now=True)

    def _draw(self, now: bool) -> None:
        if not now and time.monotonic() - self._drawn_at < SECONDS:
            return
        from IPython.display import display

        self._drawn_at = time.monotonic()
        lines = [line for line in (self._bar, self._work) if line is not None]
        content = {"text/html": html("bars", bars=lines), "text/plain": "\n".join(map(_plain, lines))}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


def _plain(line: tuple[int, int, str]) -> str:
    done, total, text = line
    return f"{done}/{total} {text}".rstrip()
