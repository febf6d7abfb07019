"""Every error posezoo raises on purpose, and the exit code each one ends the command with.

    PosezooError            1   (never raised itself: its subclasses are)
    ├── UsageError          2   unknown name, bad key, bad value
    ├── DataError           3   data absent, unreadable or contradictory; carries `findings`
    ├── WeightsError        4   weights or checkpoint damaged, missing or of another model
    ├── HubError            5   the hub or the network did not answer
    ├── ResourceError       6   disk, permission, memory
    ├── PluginError         7   a plugin is broken or breaks the contract
    ├── NotFiniteError      8   loss or gradient became NaN or infinite
    ├── LockedError         9   another process uses the run folder
    ├── LostError          10   another process of the run was killed or cannot be reached
    ├── FailedElsewhere  theirs another process of the run failed, and says why
    └── Interrupted  130, 143   stopped by SIGINT; by SIGTERM, SIGUSR1 or SIGUSR2; after a saved checkpoint

`message` says what and where, `hint` what to type next; the command line prints both on one line.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class PosezooError(Exception):
    """An error with one line for the user: what and where (`message`), what to do next (`hint`)."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class UsageError(PosezooError):
    """A name, key or value the user gave cannot be used."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with a data set: the file, the line in it (0: the whole file) and what is wrong."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {self.message}"


class DataError(PosezooError):
    """Data are absent, unreadable or contradictory; `findings` lists every problem."""

    exit_code = 3

    def __init__(self, message: str, hint: str = "", findings: Sequence[Finding] = ()) -> None:
        super().__init__(message, hint)
        self.findings = tuple(findings)


class WeightsError(PosezooError):
    """Weights or a checkpoint are damaged, missing, or belong to another model; `findings` names every tensor."""

    exit_code = 4

    def __init__(self, message: str, hint: str = "", findings: Sequence[str] = ()) -> None:
        super().__init__(message, hint)
        self.findings = tuple(findings)


class HubError(PosezooError):
    """The hub or the network did not deliver what was requested."""

    exit_code = 5


class ResourceError(PosezooError):
    """The disk is full, a folder cannot be written, or memory ran out."""

    exit_code = 6


class PluginError(PosezooError):
    """A plugin cannot be loaded or breaks the contract."""

    exit_code = 7


class NotFiniteError(PosezooError):
    """A loss or gradient became NaN or infinite: `what` it is, and the `images` of the batch."""

    exit_code = 8

    def __init__(self, message: str, hint: str = "", what: str = "", images: Sequence[str] = ()) -> None:
        super().__init__(message, hint)
        self.what, self.images = what, tuple(images)


class LockedError(PosezooError):
    """Another process uses the run folder."""

    exit_code = 9


class LostError(PosezooError):
    """Another process of the same run was killed, or cannot be reached."""

    exit_code = 10


class FailedElsewhere(PosezooError):
    """Another process of the same run failed: it prints the error, this one ends with its exit code.

    `rank` is the number of the one that failed; 0, the main process, unless another said so itself.
    """

    def __init__(self, message: str, exit_code: int, rank: int = 0) -> None:
        super().__init__(message)
        self.exit_code, self.rank = exit_code, rank


class Interrupted(PosezooError):
    """The run was stopped by a signal; a checkpoint was saved first."""

    def __init__(self, message: str, hint: str, exit_code: int) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code


def exit_code_of(error: BaseException) -> int:
    """The code that the command line ends with for this error."""
    if isinstance(error, PosezooError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return 130
    return 6 if isinstance(error, OSError) or out_of_memory(error) else 1


def out_of_memory(error: BaseException) -> bool:
    """Whether memory has run out: Python's, the GPU's, or that of torch's allocator on a CPU."""
    said = str(error).lower()
    full = "out of memory" in said or "can't allocate memory" in said or "not enough memory" in said
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and full)


def redacted(text: str) -> str:
    """The text without secrets: hub tokens, whatever HF_TOKEN holds, and who logs in at an address."""
    token = os.environ.get("HF_TOKEN", "")
    text = text.replace(token, "***") if len(token) > 3 else text
    text = re.sub(r"(?<=://)[^/?#\s]*@", "***@", text)
    return re.sub(r"\bhf_[A-Za-z0-9]{4,}|(?<=[Bb]earer )[\w.~+/=-]+", "***", text)


def near(word: str, choices: Iterable[str], count: int = 3) -> list[str]:
    """The `choices` that `word` may be a misspelling of, nearest first."""
    choices = list(choices)
    found = difflib.get_close_matches(word.lower(), choices, n=count, cutoff=0.5)
    return found or [choice for choice in choices if word and (word in choice or choice in word)][:count]


def unknown_name(kind: str, name: str, choices: Iterable[str], hint: str = "") -> UsageError:
    """The error for an unknown name: it suggests similar ones, else says where they are listed."""
    shown = name if len(name) <= 60 else name[:57] + "..."
    suggestions = near(shown, choices)
    if suggestions:
        hint = "did you mean " + " or ".join(f'"{s}"' for s in suggestions) + "?"
    return UsageError(f"unknown {kind} {shown!r}", hint)
