"""What long-running work reports to whoever watches it. The console draws it; a script may ignore it."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Progress = Callable[[int, int], None]
"""Called with how many are done, of how many."""
Stages = Callable[[str, int, int], None]
"""Called with what is being done, then as `Progress`."""
Note = Callable[[str], object]
"""Called with a line for the user."""
_T = TypeVar("_T")
_R = TypeVar("_R")


def silent(text: str) -> None:
    """A note that goes nowhere."""


def parallel(function: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
    """The function's results in order, computed by a thread per core with few results waiting: memory stays flat."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    items = iter(items)
    with ThreadPoolExecutor(cores, "posezoo-images") as pool:
        try:
            waiting: deque[Future[_R]] = deque(pool.submit(function, x) for x in itertools.islice(items, 4 * cores))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(function, x) for x in itertools.islice(items, 1))
                yield result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class Observer:
    """Receives the events of a run and ignores them; subclasses override what they show. Main process only."""

    def progress(self, what: str, done: int, total: int) -> None:
        """A preparation or evaluation is at `done` of `total`."""

    def note(self, text: str) -> None:
        """A line for the user."""

    def start(self, total_steps: int, done_steps: int, facts: dict[str, Any]) -> None:
        """Training is about to make its first step.

        After a resume `facts["history"]` has the lines of metrics.jsonl of what was done before.
        """

    def step(self, line: dict[str, Any]) -> None:
        """A step was made; `line` is what metrics.jsonl got."""

    def epoch(self, line: dict[str, Any]) -> None:
        """An epoch was evaluated; `line` is what metrics.jsonl got."""

    def end(self) -> None:
        """Training is over, by completion or by an error."""
