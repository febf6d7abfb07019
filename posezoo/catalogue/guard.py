"""A plugin that was found, and guards around calls into plugins: what they raise names the plugin."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from posezoo.base.errors import PluginError, PosezooError
from posezoo.base.spec import load_object

OURS = "posezoo"  # the distribution whose plugins are never shadowed
SLOW_S = 2.0  # slower imports are reported


@dataclass(frozen=True)
class Plugin:
    """A plugin that was found: its entry point, its distribution, and why it is off (empty: it is on)."""

    name: str
    module: str
    distribution: str
    version: str
    error: str = ""
    brings: tuple[tuple[str, str], ...] = ()
    """(hook, name) of everything it offers; of a plugin that is off, as far as it got."""
    seconds: float = 0.0
    """What importing it took."""

    @property
    def remark(self) -> str:
        """Why the plugin is off, or that it imports slowly; empty if all is well."""
        if self.error:
            return f"off: {short(self.error)}"
        return f"on; it takes {self.seconds:.1f} s to import" if self.seconds >= SLOW_S else ""

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"


@dataclass(frozen=True)
class Offer:
    """Something that a plugin offers: its spec and the plugin."""

    spec: Any
    """ModelSpec, ModifierSpec, ReaderSpec or CatalogueSpec."""
    owner: Plugin

    def load(self, field: str, parent: type = object) -> Any:
        """The object that a string of the spec names, e.g. the class behind `build`.

        Raises PluginError if it does not exist or is not a subclass of `parent`.
        """
        with guarded(self.owner, f"{field} of {self.spec.name}"):
            found = load_object(getattr(self.spec, field))
        if parent is not object and not (isinstance(found, type) and issubclass(found, parent)):
            raise PluginError(
                f"plugin {self.owner}: {field} of {self.spec.name} is not a subclass of {parent.__name__}",
                "see the docs, Write a plugin",
            )
        return found


@contextlib.contextmanager
def guarded(owners: Plugin | Sequence[Plugin], what: str) -> Iterator[None]:
    """Around a call into plugins: what they raise becomes a PluginError that names them and `what` was being done.

    posezoo's own errors and those of disk and memory pass, and so does whatever posezoo's own plugins raise: that is
    our bug.
    """
    foreign = [p for p in ([owners] if isinstance(owners, Plugin) else owners) if p.distribution != OURS]
    try:
        yield
    except (PosezooError, OSError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if not foreign or strict() or "out of memory" in str(error).lower():
            raise
        said = short(f"{type(error).__name__}: {error}".rstrip(": "))
        who = ", ".join(map(str, foreign))
        raise PluginError(f"plugin {who}: {what}: {said}", "--debug shows where") from error


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Around an import that may hang: PluginError when the time is up.

    A timer's signal interrupts it, which only the main thread receives; in others nothing can end an import.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGALRM) is None:
        yield
        return

    def stop(*_: Any) -> None:
        raise PluginError(f"importing it takes longer than {seconds:g} s")

    begun, handler = time.monotonic(), signal.signal(signal.SIGALRM, stop)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:  # a timer that was already running goes on
            signal.setitimer(signal.ITIMER_REAL, max(1e-3, left - (time.monotonic() - begun)), interval)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Without the plugin's prints and warnings, which would spoil `--format json` and one-line errors."""
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def short(text: str, limit: int = 110) -> str:
    """The text on one line of at most `limit` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def strict() -> bool:
    """Whether plugins' errors are raised unchanged, with their traceback."""
    return os.environ.get("POSEZOO_STRICT_PLUGINS") == "1"
