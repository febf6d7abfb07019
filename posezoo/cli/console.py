"""Terminal output: the live training view, tables, and one line for each error.

Live views are drawn only on a terminal and only by the main process; elsewhere a plain line a minute is printed.
Nothing here can end a run: a broken pipe or a full /dev stops the drawing, not the training.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from posezoo.base.errors import PosezooError, redacted
from posezoo.base.observe import Observer
from posezoo.catalogue.settings import setting_text

PLAIN_SECONDS = 60.0
LONGEST_NAME = 24  # characters of a value that stay on one line: tf_efficientnet_b0.in1k


class _Console(Console):
    """rich's console, but a closed pipe is an ordinary error: rich would end the process and close stdout."""

    def on_broken_pipe(self) -> None:
        raise  # the BrokenPipeError that is being handled


class TrainView(Observer):
    """The live view of a run: loss, errors in metres and degrees, images/s, time left."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = _Console(stderr=True, quiet=quiet or not is_main_process())
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


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """One table on stdout, numbers right-aligned. Where words or numbers would break, each row is a block instead."""
    console = _Console()
    if not console.is_terminal:
        console.width = max(console.width, 200)  # a file has no edge to wrap at
    numeric = [bool(rows) and all(_numeric(row[place]) for row in rows) for place in range(len(header))]
    if len(header) > 2 and _least_width(header, rows, numeric) > console.width:
        table = Table(title=title or None, title_justify="left", show_header=False)
        table.add_column("what", no_wrap=True)
        table.add_column("value", overflow="fold")
        for row in rows:
            for name, cell in zip(header, row, strict=True):
                if cell:
                    table.add_row(Text(name), Text(cell))
            table.add_section()
    else:
        table = Table(title=title or None, title_justify="left")
        for name, right in zip(header, numeric, strict=True):
            table.add_column(name, justify="right" if right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _least_width(header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> int:
    """Characters that a table needs so that no number and no word of usual length breaks."""
    width = 3 * len(header) + 1  # frame and padding
    for place, name in enumerate(header):
        cells = [row[place] for row in rows]
        words = name.split() + (cells if numeric[place] else [word for cell in cells for word in cell.split()])
        width += max((min(len(word), LONGEST_NAME) for word in words), default=0)
    return width


def print_keys(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Settings on stdout, a table for each group. Keys stay whole in 80 columns, so all words share one column."""
    console = _Console()
    if not console.is_terminal:
        console.width = max(console.width, 200)  # a file has no edge to wrap at
    console.print(Text(title), soft_wrap=True)
    for group in dict.fromkeys(row["group"] for row in rows):
        own = [row for row in rows if row["group"] == group]
        values = [setting_text(row["value"]) for row in own]
        table = Table(title=Text(group), title_justify="left")
        table.add_column("key", no_wrap=True)
        longest = max(len(value) for value in values)
        table.add_column("value", overflow="fold", min_width=min(longest, LONGEST_NAME))
        table.add_column("what it is (type; default)", overflow="fold")
        for row, value in zip(own, values, strict=True):
            words = f"{row['what']} ({row['type']}; {setting_text(row['default'])})".lstrip()
            table.add_row(Text(row["key"]), Text(value), Text(words))
        console.print(table)


def print_how_to(found: Mapping[str, Any]) -> None:
    """The answer of `posezoo.data.how_to` on stdout: facts, the layout, numbered steps."""
    unknown = "unknown: see the page" if found["page"] else ""
    gigabytes = {key: f"{found[key]:g} GB" if found[key] else "" for key in ("download_gb", "disk_gb", "cache_gb")}
    facts = {
        "what": found["summary"],
        "licence": found["licence"],
        "page": found["page"],
        "frames": ", ".join(f"{count:,} {split}" for split, count in found["frames"].items()),
        "archives": "\n".join(_archive(archive) for archive in found["archives"]),
        "download": gigabytes["download_gb"] or unknown,
        "unpacked": f"images of at most {gigabytes['disk_gb']}" if gigabytes["disk_gb"] else unknown,
        "image cache": f"about {gigabytes['cache_gb']} more" if gigabytes["cache_gb"] else "",
        "folder": f"{found['folder']} ({'here' if found['here'] else 'not here yet'})",
        "layout": found["layout"],
    }
    console = _Console()
    table = Table("", "", title=found["name"], title_justify="left", show_header=False)
    for key, value in facts.items():
        if value:
            table.add_row(key, Text(value))
    if not console.is_terminal:
        console.width = max(console.width, 200)  # a file has no edge to wrap at
    console.print(table)
    for number, step in enumerate(found["steps"], 1):
        console.print(Text(f"{number:2}. {step}"), soft_wrap=True)


def _archive(archive: Mapping[str, Any]) -> str:
    size = f" ({archive['size_gb']:g} GB)" if archive["size_gb"] else ""
    place = "" if archive["to"] == "." else f", unpacked to {archive['to']}"
    return f"{archive['file']}{size}{place}"


def error_line(error: PosezooError) -> str:
    """`posezoo: error: what: hint` on one line, in full, control characters escaped."""
    return escaped(redacted(f"posezoo: error: {error}"))


def escaped(text: str) -> str:
    """`text` with control characters and undecodable bytes as escapes: it may come from an untrusted file."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _numeric(cell: str) -> bool:
    return cell in ("", "-", "—") or cell[:1] in "0123456789-" or cell == "inf"
