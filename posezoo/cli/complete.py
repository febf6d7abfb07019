"""What TAB offers: models, data sets, trained models, run folders, settings and their values. Imports no torch.

Each function takes what was typed so far and answers at once; an error here must not disturb the shell, so it offers
nothing. bash splits words at `=` and `:`, so a value may come alone, after the words KEY and `=`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

import typer

from posezoo.base.errors import PosezooError

Complete = Callable[[typer.Context, str], list[str]]
RUNS = "*/*/*/config.toml"
"""Of the runs below outputs/: MODEL/DATA/TIME."""


def _offering(choices: Callable[[typer.Context, str], Iterable[str]]) -> Complete:
    """The choices that begin with what was typed; none if the catalogue cannot be read."""

    @wraps(choices)
    def offered(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            return sorted({name for name in choices(ctx, incomplete) if name.startswith(incomplete)})
        except (PosezooError, OSError):
            return []

    return offered


@_offering
def models(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Architectures with modifiers, their values and variants."""
    from posezoo.catalogue import plugins
    from posezoo.cli import rows

    names = [name for name, *_ in rows.architectures()]
    for name, spec in plugins.modifiers().items():
        names += [f"{model}+{name}={value}" for model in plugins.models() for value in spec.values]
    return names


@_offering
def trained(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Published trained models, and the run folders below outputs/."""
    from posezoo.catalogue import entries

    return [*entries.published(), *run_folders()]


@_offering
def runs(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """The run folders below outputs/."""
    return run_folders()


@_offering
def aliases(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """All trained models of the catalogue, published or not."""
    from posezoo.catalogue import entries

    return entries.weights_cards()


@_offering
def data(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Data sets of the catalogue, and the formats of own data."""
    from posezoo.catalogue import entries, plugins

    return [*entries.data_cards(), *(f"{name}:" for name in plugins.readers())]


@_offering
def anything(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Whatever `posezoo info` takes."""
    return [*models(ctx, incomplete), *data(ctx, incomplete), *aliases(ctx, incomplete), *runs(ctx, incomplete)]


@_offering
def columns(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """The columns of `posezoo list`."""
    return ["name", "params", "MB", "ms", "m", "deg", "by", "summary", "paper", "from"]


def settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """KEY=VALUE: keys first, a key's values after its `=`."""
    from posezoo.catalogue import entries

    try:
        typed = [str(word) for word in ctx.params.get("overrides") or []]
        model = str(ctx.params.get("model") or ctx.params.get("name") or "")
        known = _keys(model, entries.setting_keys())
        if typed and typed[-1] in known:  # bash at `KEY=`, with the `=` dropped on the way here
            return _values(typed[-1], known)
        if typed and typed[-1] == "=":  # bash: KEY, =, VALUE
            key = typed[-2] if len(typed) > 1 else model
            return [value for value in _values(key, known) if value.startswith(incomplete)]
        offered = []
        for key, entry in known.items():
            values = [f"{key}={value}" for value in _values(key, known)]
            if "=" in incomplete or len(entry.get("values", ())) > 1:
                offered += values
            else:  # two that differ after the `=`, so that the shell adds no space there
                offered += [f"{key}=", *values]
    except (PosezooError, OSError):
        return []
    return [word for word in offered if word.startswith(incomplete)]


def run_folders() -> list[str]:
    """The runs below outputs/, the newest first."""
    found = sorted(Path("outputs").glob(RUNS), key=lambda path: path.parent.name, reverse=True)
    return [str(path.parent) for path in found]


def _keys(model: str, owners: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The keys of the run and of this model; of every architecture if it is not known."""
    arch, *modifiers = model.partition(".")[0].split("+")
    wanted = ["run", "every model", *([arch] if arch in owners else [n for n in owners if not n.startswith("+")])]
    found: dict[str, dict[str, Any]] = {}
    for owner in [*wanted, *(f"+{word.partition('=')[0]}" for word in modifiers)]:
        found |= owners.get(owner, {})
    return found


def _values(key: str, known: dict[str, dict[str, Any]]) -> list[str]:
    """What may follow `KEY=`: the values of a choice, the recipes, else the default; those of a modifier too."""
    from posezoo.catalogue import entries, plugins

    if key == "recipe":
        return sorted(entries.recipes())
    modifier = plugins.modifiers().get(key.rpartition("+")[2]) if "+" in key else None
    if modifier:
        return list(modifier.values)
    entry = known.get(key, {})
    return list(entry.get("values", ())) or [entry["default"]] if entry else []
