"""Terminal output: the live training view, and one line for each error.

Live views are drawn only on a terminal and only by the main process; elsewhere a plain line a minute is printed.
Nothing here can end a run: a broken pipe or a full /dev stops the drawing, not the training.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from posezoo.base.errors import PosezooError, redacted
from posezoo.base.observe import Observer
from posezoo.cli.notebook import CellView
from posezoo.cli.tables import Output, escaped, words_within

PLAIN_SECONDS = 60.0


class TrainView(Observer):
    """The live view of a run: loss, errors in metres and degrees, images/s, time left."""

    def __init__(self, quiet: bool = False) -> None:
        # its own stream: a bar that is drawn while something catches sys.stderr is not what that something prints
        self.console = Output(stderr=True, file=sys.stderr, quiet=quiet or not is_main_process())
        self.cell = CellView() if self.console.is_jupyter and not self.console.quiet else None
        self.live: Progress | None = None
        self.bar: Progress | None = None
        self._what, self._plain_at = "", time.monotonic()
        self.recent: deque[dict[str, Any]] = deque(maxlen=20)
        self.epochs: deque[dict[str, Any]] = deque(maxlen=5)
        self.total, self.first, self.begun = 0, 0, 0.0
        self.facts: dict[str, Any] = {}
        self.best = math.inf

    def progress(self, what: str, done: int, total: int) -> None:
        with self._drawing():
            if self.cell:
                self.cell.work(done, total, what)
                return
            if not self._draws:
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

    @property
    def _draws(self) -> bool:
        """Whether rich can draw bars: in a terminal. FORCE_COLOR makes no terminal of a pipe."""
        return not self.cell and self.console.is_terminal and self.console.file.isatty()

    def say(self, text: str) -> None:
        """A line as it is, in a terminal broken between words."""
        with self._drawing():
            self.console.print(Text(words_within(text, self.console)), highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        with self._drawing():
            line = words_within(escaped(f"note: {text}"), self.console)
            self.console.print(Text(line), highlight=False, soft_wrap=True)

    def start(self, total_steps: int, done_steps: int, facts: dict[str, Any]) -> None:
        with self._drawing():
            self._close_bar()
            self.total, self.first, self.begun, self.facts = total_steps, done_steps, time.monotonic(), facts
            self._plain_at = self.begun
            epochs = f"{facts['epochs']} epoch{'s' * (facts['epochs'] != 1)}"
            line = (
                f"{facts['model']} on {facts['data']}: {facts['train_images']} training and"
                f" {facts['validation_images']} validation images, {epochs},"
                f" {facts['parameters'] / 1e6:.1f} M parameters, {facts['device']} {facts['precision']},"
                f" backbone {facts['backbone']}, seed {facts['seed']}"
            )
            self.console.print(Text(words_within(escaped(line), self.console)), highlight=False, soft_wrap=True)
            self.console.print(Text(f"run folder: {facts['run']}"), highlight=False, soft_wrap=True)
            self._recall(facts.get("history", []))
            if self._draws:
                columns = BarColumn(bar_width=14), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
                now = TextColumn("{task.fields[now]}")
                self.live = Progress(*columns, now, console=self.console, refresh_per_second=4, transient=True)
                self.live.add_task("step", total=total_steps, completed=done_steps, now="")
                self.live.start()

    def step(self, line: dict[str, Any]) -> None:
        with self._drawing():
            self.recent.append(line)
            if self.cell:
                self.cell.bar(line["step"], self.total, self._in_cell())
            elif self.live:
                self.live.update(self.live.task_ids[0], completed=line["step"], now=self._now())
            else:
                self._plain(self._line())

    def epoch(self, line: dict[str, Any]) -> None:
        with self._drawing():
            self.epochs.append(line)
            text = self._epoch_line(line)
            if self.cell:
                self.cell.bar(line["step"], self.total, self._in_cell(), now=True)
            else:
                self.console.print(Text(text), highlight=False, soft_wrap=True)

    def _recall(self, history: list[dict[str, Any]]) -> None:
        """The lines of the epochs before a resume, as they were shown then but for their times."""
        for line in history:
            if "loss" in line:
                self.recent.append(line)
            else:
                self.epochs.append(line)
                text = self._epoch_line(line, "before")
                if not self.cell:
                    self.console.print(Text(text), highlight=False, soft_wrap=True)

    def _epoch_line(self, line: dict[str, Any], took: str = "") -> str:
        """One line that stays: means of the last steps, validation, the best so far marked."""
        took = took or f"{duration(time.monotonic() - self.begun)}{gpu_memory()}"
        text = f"epoch {line['epoch']}/{self.facts['epochs']}"
        if self.recent:
            errors = f"{self._mean('position_m'):.3g} m {self._mean('orientation_deg'):.3g} deg"
            text += f" loss {self._mean('loss'):.3f}, {errors}"
            if "lr" in self.recent[-1]:
                text += f", lr {self.recent[-1]['lr']:.2g}"
        if "median_position_m" in line:
            text += f"; validation {line['median_position_m']:.3g} m {line['median_orientation_deg']:.3g} deg"
            if line["median_position_m"] < self.best:
                self.best = line["median_position_m"]
                text += " *best"
        return f"{text}; {took}"

    def end(self) -> None:
        with self._drawing():
            self._close_bar()
            if self.cell:
                self.cell.end()
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

    def _in_cell(self) -> str:
        """All there is to know, for a notebook: time left, errors, validation, the best so far, speed, memory."""
        done = self.recent[-1]["step"] if self.recent else self.first
        speed, left = self._speed()
        time_left = f"{duration(left)} left" if done < self.total else f"took {duration(time.monotonic() - self.begun)}"
        count = len(self.epochs) and self.epochs[-1]["epoch"]
        parts = [f"epoch {min(count + 1, self.facts['epochs'])}/{self.facts['epochs']}", time_left]
        if self.recent:
            errors = f"{self._mean('position_m'):.3g} m {self._mean('orientation_deg'):.3g} deg"
            parts += [f"loss {self._mean('loss'):.3f}, {errors}"]
        if self.epochs and "median_position_m" in self.epochs[-1]:
            last = self.epochs[-1]
            validated = f"{last['median_position_m']:.3g} m {last['median_orientation_deg']:.3g} deg"
            parts += [f"validation {validated}, best {self.best:.3g} m"]
        return "; ".join([*parts, f"{speed:.0f} images/s", gpu_memory().strip(", ") or memory()])

    def _now(self) -> str:
        """The last steps in a few words, for the line of the bar."""
        if not self.recent:
            return ""
        errors = f"{self._mean('position_m'):.3g} m {self._mean('orientation_deg'):.3g} deg"
        return f"loss {self._mean('loss'):.3f} {errors} {self._mean('images_per_s'):.0f} images/s"


@contextlib.contextmanager
def watching(quiet: bool) -> Iterator[TrainView]:
    """A view for long work on data, beginning with the poses; its bar is removed at the end, whatever happens."""
    view = TrainView(quiet)
    view.progress("reading poses", 0, 1)
    try:
        yield view
    finally:
        view.end()


def gpu_memory() -> str:
    """The most memory that this process had on the GPU, in words; empty without one. Imports no torch."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return ""
    return f", {torch.cuda.max_memory_allocated() / 1e9:.1f} GB of GPU memory"


def memory() -> str:
    """The most memory that this process had, in words."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB, on a Mac in bytes
    return f"{largest / (1e9 if sys.platform == 'darwin' else 1e9 / 1024):.1f} GB of memory"


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
