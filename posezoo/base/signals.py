"""Signals as a flag that is checked between steps, or that ends at once what can be repeated.

SIGINT and SIGTERM, and Slurm's warnings SIGUSR1 and SIGUSR2. A second SIGINT stops at once.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from posezoo.base.errors import FailedElsewhere, Interrupted

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name))


class _EndedAtOnce(KeyboardInterrupt):
    """Never a plain one. Python remembers that one has left code compiled from text, as C modules may run while they
    are imported, and dies of SIGINT at its end, although it was caught and another exit code was asked for.
    """


class StopFlag:
    """`with StopFlag() as stop:` ... `stop.signal` is the first signal received, or 0."""

    def __init__(self) -> None:
        self.signal = 0
        self.failure: FailedElsewhere | None = None
        """Why another process of the run has ended."""
        self._told = 0
        self._last_words = False
        self._at_once = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> StopFlag:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python forbids handlers
            for number in SIGNALS:
                self._old[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._old.items():
            ignored = self._last_words and number == signal.SIGTERM
            signal.signal(number, signal.SIG_IGN if ignored else handler)

    def __bool__(self) -> bool:
        return self.signal != 0

    @property
    def name(self) -> str:
        """SIGINT, SIGTERM, SIGUSR1 or SIGUSR2."""
        return signal.Signals(self.signal).name

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, else 143."""
        return 128 + (self.signal if self.signal == signal.SIGINT else signal.SIGTERM)

    def agree(self, number: int) -> None:
        """All processes of the run have heard of signal `number` (0: none). The first that one has heard stays."""
        self.signal = self.signal or number

    def told(self, number: int) -> None:
        """Another process has received signal `number`: as if this one had, but never as its second. Any thread."""
        if not self.signal and not self._told and self._old:
            self._told = number
            _interrupt_main_thread()

    def failed(self, failure: FailedElsewhere) -> None:
        """Another process has failed: ends what is done at once. Any thread."""
        self.failure = failure
        if self._old:
            _interrupt_main_thread()

    def speaks_last(self) -> None:
        """This process has yet to say why the run of several has ended: from now on SIGTERM does not silence it.

        torchrun sends one as soon as another process has ended; one that then stays is killed half a minute later.
        """
        self._last_words = True

    @contextlib.contextmanager
    def at_once(self, doing: str, hint: str = "") -> Iterator[None]:
        """Around what can be repeated or left out: a signal ends it at once. Raises Interrupted, FailedElsewhere."""
        outer, self._at_once = self._at_once, True
        try:
            if self.signal or self.failure:
                raise _EndedAtOnce
            yield
        except KeyboardInterrupt:
            self._at_once = outer
            if self.failure:
                raise self.failure from None
            if not self.signal:
                raise  # not one of the signals kept here
            raise Interrupted(f"stopped by {self.name} while {doing}", hint, self.exit_code) from None
        finally:
            self._at_once = outer

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self.failure is not None:
            number = 0  # whatever else comes, this process is about to end
        elif self._told and not self.signal:
            number = self._told
        if number and self.signal == signal.SIGINT and number == signal.SIGINT:
            raise _EndedAtOnce
        self.signal = self.signal or number
        if self._at_once:
            self._at_once = False  # once: what cleans up after it is not interrupted again
            raise _EndedAtOnce


def _interrupt_main_thread() -> None:
    main = threading.main_thread().ident
    if main is not None:
        signal.pthread_kill(main, signal.SIGTERM)
