"""The options of a data name (`?key=value`), checked by the reader they are for."""

from __future__ import annotations

import math
import re

from posezoo.plugin import ReadRequest, UsageError

COMMON = ("scenes", "sequences", "normalise", "follow-symlinks", "exif")


def only(request: ReadRequest, reader: str, known: tuple[str, ...]) -> None:
    """Raise UsageError for an option that the reader does not have."""
    for key in request.options:
        if key not in known:
            raise UsageError(
                f"{reader} has no data option {key[:60]!a}", f"it has {', '.join((*known, *COMMON, 'root'))}"
            )


def choice(request: ReadRequest, key: str, choices: tuple[str, ...]) -> str:
    """The option's value, the first of `choices` where it is not given. Raises UsageError for any other."""
    value = request.options.get(key, choices[0])
    if value not in choices:
        raise UsageError(f"unknown data option {key}={value[:60]!a}", " or ".join(f"{key}={c}" for c in choices))
    return value


def positive(request: ReadRequest, key: str, default: float) -> float:
    """The option's value as a number above zero, `inf` included. Raises UsageError for any other."""
    text = request.options.get(key)
    if text is None:
        return default
    value = float(text) if re.fullmatch(r"\d+\.?\d*(e-?\d+)?|\.\d+|inf", text, re.ASCII) else math.nan
    if not value > 0:
        raise UsageError(f"data option {key}={text[:60]!a} is not a positive number", f"for example {key}=1.5")
    return value
