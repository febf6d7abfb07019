"""What a training run tells whoever watches it. The console draws it; a script may ignore it."""

from __future__ import annotations

from typing import Any


class Observer:
    """Hears of a run and does nothing; subclasses override what they show. Called on the main process only."""

    def progress(self, what: str, done: int, total: int) -> None:
        """A preparation or evaluation is at `done` of `total`."""

    def note(self, text: str) -> None:
        """A line that a person should see."""

    def start(self, total_steps: int, done_steps: int, facts: dict[str, Any]) -> None:
        """Training is about to make its first step."""

    def step(self, line: dict[str, Any]) -> None:
        """A step was made; `line` is what metrics.jsonl got."""

    def epoch(self, line: dict[str, Any]) -> None:
        """An epoch was evaluated; `line` is what metrics.jsonl got."""

    def end(self) -> None:
        """Training is over, by completion or by an error."""
