"""Terminal output: the live training view, and one line for each error.

Live views are drawn only on a terminal and only by the main process; elsewhere a plain line a minute is printed.
Nothing here can end a run: a broken pipe or a full /dev stops the drawing, not the training.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from posezoo.base.errors import PosezooError, redacted
from posezoo.base.observe import Observer
from posezoo.cli.tables import Output, escaped

PLAIN_SECONDS = 60.0


class TrainView(Observer):
    """The live view of a run: loss, errors in metres and degrees, images/s, time left."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Output(stderr=True, quiet=quiet or not is_main_process())
        self.live: Live | None = None
        self.bar: Progress | None = None
        self._what, self._plain_at = "", time.monotonic()
        self.recent: deque[dict[str, Any]] = deque(maxlen=20)
        self.epochs: deque[dict[str, Any]] = deque(maxlen=5)
        self.total, self.first, self.begun = 0, 0, 0.0
        self.facts: dict[str, Any] = {}

    def progress(self, what: str, done: int, total: int) -> None:
        with self._drawing():
            if not self.console.is_terminal:
                self._plain(f"{what}: {done} of {total}")
                return
            if self.bar is None or self._what != what:
                self._close_bar()
                label = TextColumn("{task.description}")
                columns = label, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
                self.bar = Progress(*columns, console=self.console, transient=True)
                self.bar.add_task(what)
                self.bar.start()
                self._what = what
            self.bar.update(self.bar.task_ids[0], completed=done, total=total)
            if done >= total:
                self._close_bar()

    def note(self, text: str) -> None:
        with self._drawing():
            self.console.print(Text(f"note: {text}"), highlight=False, soft_wrap=True)

    def start(self, total_steps: int, done_steps: int, facts: dict[str, Any]) -> None:
        with self._drawing():
            self._close_bar()
            self.total, self.first, self.begun, self.facts = total_steps, done_steps, time.monotonic(), facts
            self._plain_at = self.begun
            line = (
                f"{facts['model']} on {facts['data']}: {facts['train_images']} training and"
                f" {facts['validation_images']} validation images, {facts['epochs']} epochs,"
                f" {facts['parameters'] / 1e6:.1f} M parameters, {facts['device']} {facts['precision']},"
                f" backbone {facts['backbone']}, seed {facts['seed']}"
            )
            self.console.print(Text(line), highlight=False, soft_wrap=True)
            self.console.print(Text(f"run folder: {facts['run']}"), highlight=False, soft_wrap=True)
            if self.console.is_terminal:
                self.live = Live(self._view(), console=self.console, refresh_per_second=4, transient=True)
                self.live.start()

    def step(self, line: dict[str, Any]) -> None:
        with self._drawing():
            self.recent.append(line)
            if self.live:
                self.live.update(self._view())
            else:
                self._plain(self._line())

    def epoch(self, line: dict[str, Any]) -> None:
        with self._drawing():
            self.epochs.append(line)
            if self.live:
                self.live.update(self._view())

    def end(self) -> None:
        with self._drawing():
            self._close_bar()
            if self.live:
                self.live.stop()
                self.live = None

    @contextlib.contextmanager
    def _drawing(self) -> Iterator[None]:
        """If writing fails, drawing stops; the run continues."""
        try:
            yield
        except OSError:
            self.console.quiet = True

    def _plain(self, text: str) -> None:
        now = time.monotonic()
        if now - self._plain_at >= PLAIN_SECONDS:
            self._plain_at = now
            self.console.print(Text(text), highlight=False, soft_wrap=True)

    def _close_bar(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _mean(self, key: str) -> float:
        return sum(line[key] for line in self.recent) / max(1, len(self.recent))

    def _speed(self) -> tuple[float, float]:
        """Recent images a second, and seconds left."""
        done = self.recent[-1]["step"] if self.recent else self.first
        per_step = (time.monotonic() - self.begun) / max(1, done - self.first)
        return self._mean("images_per_s"), per_step * (self.total - done)

    def _line(self) -> str:
        speed, left = self._speed()
        last = self.recent[-1]
        text = (
            f"step {last['step']}/{self.total} epoch {last['epoch'] + 1}/{self.facts['epochs']}"
            f" loss {self._mean('loss'):.3f}"
            f" position {self._mean('position_m'):.3g} m orientation {self._mean('orientation_deg'):.3g} deg"
            f" {speed:.0f} images/s, {duration(left)} left"
        )
        if self.epochs and "median_position_m" in self.epochs[-1]:
            best = self.epochs[-1]
            text += f"; validation {best['median_position_m']:.3g} m {best['median_orientation_deg']:.3g} deg"
        return text

    def _view(self) -> Group:
        bar = Progress(TextColumn("step"), BarColumn(bar_width=40), MofNCompleteColumn())
        done = self.recent[-1]["step"] if self.recent else self.first
        bar.add_task("step", completed=done, total=self.total)
        now = Table.grid(padding=(0, 2))
        if self.recent:
            speed, left = self._speed()
            now.add_row("loss", f"{self._mean('loss'):.4f}", "position", f"{self._mean('position_m'):.3g} m")
            now.add_row("images/s", f"{speed:.0f}", "orientation", f"{self._mean('orientation_deg'):.3g} deg")
            now.add_row(
                "epoch", f"{self.recent[-1]['epoch'] + 1} of {self.facts['epochs']}", "time left", duration(left)
            )
        table = Table(
            "epoch", "median position (m)", "median orientation (deg)", title="validation", title_justify="left"
        )
        for line in self.epochs:
            if "median_position_m" in line:
                table.add_row(
                    str(line["epoch"]), f"{line['median_position_m']:.3f}", f"{line['median_orientation_deg']:.2f}"
                )
        return Group(bar, now, table) if table.row_count else Group(bar, now)


@contextlib.contextmanager
def watching(quiet: bool) -> Iterator[TrainView]:
    """A view for long work on data, beginning with the poses; its bar is removed at the end, whatever happens."""
    view = TrainView(quiet)
    view.progress("reading poses", 0, 1)
    try:
        yield view
    finally:
        view.end()


def is_main_process() -> bool:
    """Whether this is the only process, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def duration(seconds: float) -> str:
    """Seconds as 12 s, 3 min 20 s or 2 h 05 min."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def error_line(error: PosezooError) -> str:
    """`posezoo: error: what: hint` on one line, in full, control characters escaped."""
    return escaped(redacted(f"posezoo: error: {error}"))
