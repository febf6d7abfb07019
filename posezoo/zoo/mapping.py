"""Which tensor of other people's checkpoints is which of ours, and a model filled with them.

The plugins say so (`posezoo.plugin.Conversion`): the architecture's converter maps its own, the modifiers' the rest.
Nothing is loaded in part: one tensor too many, too few or of another shape is an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from posezoo.base.errors import PluginError, WeightsError
from posezoo.base.spec import Conversion, load_object
from posezoo.catalogue import plugins
from posezoo.nn.model import PoseModel
from posezoo.zoo.blueprint import Blueprint
from posezoo.zoo.build import build

NOT_PUBLISHED = "this is not the published model"
COUNTER = "num_batches_tracked"  # of batch norms: old files lack it, and nothing computed depends on it
Shapes = Mapping[str, tuple[int, ...]]


def formats() -> list[str]:
    """The names of the formats that installed plugins convert."""
    return sorted({name for spec in plugins.models().values() for name in spec.converters})


def recognised(shapes: Shapes, source: str, file: str) -> tuple[str, Conversion]:
    """The model's full name and one map for all of it. Raises WeightsError."""
    try:
        found = _map(shapes, source)
    except KeyError as missing:
        lines = [f"missing: {missing.args[0]}"]
        raise WeightsError(f"{file} lacks {missing.args[0]}", "is the file complete?", lines) from None
    except (IndexError, ValueError):
        raise WeightsError(f"{file}: a weight has another number of axes", NOT_PUBLISHED) from None
    if found is None:
        hint = _suggestion(shapes, source, f"known formats: {', '.join(formats())}")
        shown, lines = ", ".join(list(shapes)[:3]), [f"unknown: {key}" for key in shapes]
        raise WeightsError(f"{file} is not a {source} checkpoint ({len(shapes)} tensors: {shown}, …)", hint, lines)
    return found


def _suggestion(shapes: Shapes, source: str, otherwise: str) -> str:
    """The hint for a file that is not in the format `source`."""
    others = [other for other in formats() if other != source and _fits(shapes, other)]
    return f"try --from {others[0]}" if others else otherwise


def _fits(shapes: Shapes, source: str) -> bool:
    """Whether a converter of this format maps every tensor."""
    try:
        found = _map(shapes, source)
    except (KeyError, IndexError, ValueError, WeightsError):
        return False
    return found is not None and not _left(shapes, found[1])


def _map(shapes: Shapes, source: str) -> tuple[str, Conversion] | None:
    """The architecture that recognises the file, then every modifier that recognises some of the rest."""
    offers = {arch: spec.converters[source] for arch, spec in plugins.models().items() if source in spec.converters}
    found = {arch: known for arch, path in offers.items() if (known := load_object(path)(shapes)) is not None}
    if len(found) > 1:
        raise PluginError(
            f"{' and '.join(found)} both recognise the file as theirs", "POSEZOO_PLUGINS switches one off"
        )
    for name, base in found.items():
        for modifier, spec in sorted(plugins.modifiers().items()):
            left = {key: shapes[key] for key in _left(shapes, base)}
            more = load_object(spec.converters[source])(left) if source in spec.converters else None
            if more is not None:
                name, base = f"{name}+{modifier}", _joined(base, modifier, more)
        return name, base
    return None


def _joined(base: Conversion, modifier: str, more: Conversion) -> Conversion:
    def moved(ours: str) -> str:
        return next((new + ours[len(old) :] for old, new in more.moves.items() if ours.startswith(old)), ours)

    names = {
        theirs: moved(ours) if isinstance(ours, str) else (moved(ours[0]), ours[1])
        for theirs, ours in base.names.items()
    }
    return dataclasses.replace(
        base,
        names={**names, **more.names},
        settings={**base.settings, modifier: more.settings},
        unused=(*base.unused, *more.unused),
        asks=(*base.asks, *more.asks),
    )


def _left(shapes: Iterable[str], conversion: Conversion) -> list[str]:
    """The tensors that the conversion does not mention."""
    return [key for key in shapes if _ours(key, conversion) is None and key not in conversion.unused]


def _ours(theirs: str, conversion: Conversion) -> tuple[str, int | None] | None:
    """Our name of a tensor, and its place in a bank; None if the conversion does not mention it."""
    fits = [start for start in conversion.names if theirs.startswith(start)]
    if not fits:
        return None
    start = max(fits, key=len)
    ours = conversion.names[start]
    name, scene = (ours, None) if isinstance(ours, str) else ours
    return name + theirs[len(start) :], scene


def _theirs(ours: str, conversion: Conversion) -> list[str]:
    """The names, one or one a scene, that the conversion expects for a tensor of ours; ours itself if it has none."""
    starts = [
        (name, theirs)
        for theirs, place in conversion.names.items()
        if ours.startswith(name := place if isinstance(place, str) else place[0])
    ]
    longest = max((len(name) for name, _ in starts), default=0)
    return [theirs + ours[longest:] for name, theirs in starts if len(name) == longest] or [ours]


def filled(plan: Blueprint, state: Mapping[str, Tensor], conversion: Conversion, source: str, file: str) -> PoseModel:
    """The model with the file's tensors. Raises WeightsError that lists all missing, extra and misshapen ones."""
    try:
        model = build(plan)
    except (AssertionError, ValueError, RuntimeError) as error:  # widths from a made-up file
        raise WeightsError(f"{file}: its shapes do not fit any {plan.name}", NOT_PUBLISHED) from error
    own = model.state_dict()
    places = {key: place for key in state if (place := _ours(key, conversion)) and key not in conversion.unused}
    missing = [
        theirs
        for key in own
        if not key.endswith(COUNTER)
        for theirs in _theirs(key, conversion)
        if theirs not in places
    ]
    unknown = [*_left(state, conversion), *(key for key, (ours, _) in places.items() if ours not in own)]
    findings = [f"missing: {key}" for key in missing] + [f"unknown: {key}" for key in unknown]
    ours = {} if findings else _gathered(state, places)
    wrong = [key for key, value in ours.items() if value.shape != own[key].shape]
    findings += [
        f"shape: {_theirs(key, conversion)[0]} {_size(ours[key])}, expected {_size(own[key])}" for key in wrong
    ]
    if findings:
        counts = f"{len(missing)} tensors missing, {len(unknown)} unknown, {len(wrong)} of another shape"
        others = f"{file} does not have the tensors of {plan.name}: {counts} (first: {findings[0]})"
        shapes = {key: tuple(value.shape) for key, value in state.items()}
        raise WeightsError(others, _suggestion(shapes, source, NOT_PUBLISHED), findings)
    bad = [key for key, value in ours.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if bad:
        raise WeightsError(f"{file}: weights are not finite ({', '.join(bad[:3])})", "fetch it again", bad)
    counters = {key: torch.zeros((), dtype=torch.int64) for key in own if key.endswith(COUNTER)}
    model.load_state_dict(counters | ours, strict=True)
    return model


def _gathered(state: Mapping[str, Tensor], places: Mapping[str, tuple[str, int | None]]) -> dict[str, Tensor]:
    """Tensors by our names, float32 as the model has them; those of scenes stacked in order."""
    whole: dict[str, Tensor] = {}
    banks: dict[str, dict[int, Tensor]] = {}
    for key, (ours, scene) in places.items():
        value = state[key].float() if state[key].is_floating_point() else state[key]
        if scene is None:
            whole[ours] = value
        else:
            banks.setdefault(ours, {})[scene] = value
    for ours, bank in banks.items():
        parts = [bank[scene].T if bank[scene].dim() == 2 else bank[scene] for scene in sorted(bank)]  # (S, in, out)
        same = len({part.shape for part in parts}) == 1
        whole[ours] = (
            torch.stack(parts) if same else torch.cat([part.flatten() for part in parts])
        )  # reported as misshapen
    return whole


def _size(value: Tensor) -> str:
    return f"({', '.join(map(str, value.shape))})"
