"""What other people's checkpoints do not contain: the scenes' names, and numbers that their authors keep in files.

The labels' card knows what to ask for; the user gives it as settings, which are checked here: a variance where a
deviation belongs would make a model that answers, wrongly, and says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from posezoo.base.errors import UsageError, WeightsError, unknown_name
from posezoo.base.spec import Conversion
from posezoo.catalogue import entries
from posezoo.catalogue.forms import LabelCard

PIXEL_STD = (0.12, 0.42)
"""What deviations of pixels in [0, 1] are, averaged over the channels. Photographs have 0.2 to 0.3, so their variances
are below and the roots of their deviations above; 0.5 is that of black and white alone."""
LARGEST_STD_M = 3000.0
"""Of positions: the places of published models are at most a town, but the variance of a street exceeds it."""


def scenes_of(data: str, conversion: Conversion, overrides: Mapping[str, Any], file: str) -> tuple[str, ...]:
    """The scene names of a checkpoint in the order of their index: those of the labels `data`, or the user's `scenes=`.

    Published code numbers scenes in alphabetical order, however they are given. Raises WeightsError if the file has
    another number of scenes, UsageError for a name that the labels do not have.
    """
    labels = entries.label_card(data)
    scenes = tuple(sorted(_words(overrides["scenes"], data, labels))) if "scenes" in overrides else labels.scenes
    if len(scenes) != conversion.scenes:
        given = "scenes= names" if "scenes" in overrides else f"{data} has"
        counts = f"{file} is a model of {_counted(conversion.scenes)}, {given} {_counted(len(scenes))}"
        raise WeightsError(counts, _hint(conversion.scenes, labels))
    return scenes


def place_of(data: str, conversion: Conversion, overrides: Mapping[str, Any], file: str) -> dict[str, Any]:
    """The settings that tie a converted model to its place, made of what the user gave.

    Raises UsageError for what is missing, and for a deviation that is a variance or the root of a deviation.
    """
    labels = entries.label_card(data)
    asked = [key for key in dict.fromkeys((*conversion.asks, *labels.asks)) if key not in overrides]
    if asked:
        raise UsageError(
            f"{file} does not contain {', '.join(asked)} of {data}",
            f"give them, e.g. {asked[0]}=[0.1,0.2,0.3]; its authors keep them in files beside the data",
        )
    place: dict[str, Any] = {}
    for key in ("mean", "std", "position_mean", "position_std"):
        if overrides.get(key) is not None:
            place[key] = _three(key, overrides[key])
    if "std" in place:
        _check_pixels(place["std"])
    if "position_std" in place:
        _check_positions(place["position_std"])
    for key in ("position_mean", "position_std"):
        if key in place:
            place[key] = [sign * value for sign, value in zip(labels.position_signs, place[key], strict=True)]
    return place


def _words(given: Any, data: str, labels: LabelCard) -> list[str]:
    """The scenes given: a list, or text such as `A,B`."""
    words = given.strip("[]").split(",") if isinstance(given, str) else given
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        raise UsageError(f"scenes={ascii(given)[:60]} are not names of scenes", "scenes=NAME,NAME,…")
    known, found = (*labels.scenes, *labels.also), [word.strip() for word in words]
    for word in found:
        if word not in known:
            raise unknown_name("scene", word, known, f"{data} has {', '.join(known)}")
    return found


def _hint(count: int, labels: LabelCard) -> str:
    """What to type for a model of so many scenes."""
    fitting = [key for key, card in entries.label_cards().items() if len(card.scenes) == count]
    known = sorted((*labels.scenes, *labels.also[: max(0, count - len(labels.scenes))]))
    ways = [f"give --data {', '.join(fitting[:3])}{', …' if len(fitting) > 3 else ''}"] if fitting else []
    if len(known) == count:
        ways.append(f"give scenes={','.join(known)}, if those are the model's")
    elif len(known) > count:
        ways.append(f"give scenes= with {count} of {','.join(known)}")
    return ", or ".join(ways) or f"{','.join(known)} are known"


def _three(key: str, given: Any) -> list[float]:
    if isinstance(given, (list, tuple)) and len(given) == 3 and all(type(part) in (int, float) for part in given):
        return [float(part) for part in given]
    raise UsageError(f"{key}={ascii(given)[:60]} are not three numbers", f"{key}=[0.1,0.2,0.3]")


def _check_pixels(std: Sequence[float]) -> None:
    """Raise UsageError if these are the variances of pixels, or the square roots of their deviations."""
    low, high = PIXEL_STD
    typical = sum(std) / 3
    if min(std) <= 0 or low <= typical <= high:
        return
    for what, turn in (("variances", math.sqrt), ("square roots of deviations", lambda value: value * value)):
        likely = [turn(value) for value in std]
        if low <= sum(likely) / 3 <= high:
            what = f"std={_text(std)} of pixels in [0, 1] looks like {what}, not deviations"
            raise UsageError(what, f"the deviations are std={_text(likely)}")
    hint = "pixels are in [0, 1]: divide by 255 what is in 0 to 255"
    raise UsageError(f"std={_text(std)} cannot be the deviations of pixels in [0, 1]", hint)


def _check_positions(std: Sequence[float]) -> None:
    """Raise UsageError if these are variances of positions."""
    if max(std) > LARGEST_STD_M:
        likely = [math.sqrt(max(0.0, value)) for value in std]
        what = f"position_std={_text(std)} metres looks like variances, not deviations"
        raise UsageError(what, f"the deviations are position_std={_text(likely)}")


def _text(values: Sequence[float]) -> str:
    return "[" + ",".join(f"{value:.4g}" for value in values) + "]"


def _counted(count: int) -> str:
    return f"{count} scene" + ("s" if count != 1 else "")
