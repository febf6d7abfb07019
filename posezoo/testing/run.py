"""The conformance suites run without pytest: `posezoo plugins check NAME`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from unittest import SkipTest

from posezoo.base.errors import DataError, PluginError, UsageError
from posezoo.base.observe import Progress
from posezoo.catalogue import guard, plugins, settings
from posezoo.catalogue.names import parse_data
from posezoo.testing.models import ModelConformance
from posezoo.testing.readers import ReaderConformance
from posezoo.zoo.blueprint import blueprint


class Outcome(NamedTuple):
    """One check, of models with one infusion; `problem` is empty if it passed, or if it was `skipped`, and why."""

    check: str
    infusion: str
    problem: str
    skipped: str = ""

    @property
    def verdict(self) -> str:
        """`ok`, `FAILS` or `not run`."""
        return "FAILS" if self.problem else "not run" if self.skipped else "ok"


def check(
    name: str,
    overrides: Mapping[str, Any] = {},
    progress: Progress | None = None,
    told: Callable[[Outcome], object] | None = None,
) -> list[Outcome]:
    """The outcome of every check on a model (`hello`, `posenet+tta`), a modifier or a data format, without pytest.

    A modifier alone (`tta`) is checked on the first of posezoo's own models, a data format on data (`hello-data:PATH`);
    without data most of its checks are not run. `overrides` as for `posezoo.create_model`. `told` is called with each
    outcome at once. Raises UsageError for unknown names.
    """
    suite, pairs = _suite(name, overrides)
    outcomes = []
    for method, infusions in pairs:
        outcomes.append(Outcome(_words(method.__name__), "".join(infusions), *_problem(method, *infusions)))
        if progress:
            progress(len(outcomes), len(pairs))
        if told:
            told(outcomes[-1])
    return outcomes


def _suite(name: str, overrides: Mapping[str, Any]) -> tuple[Any, list[tuple[Any, tuple[str, ...]]]]:
    """The suite for a name, and (check, its arguments) of all checks."""
    reader = name.partition(":")[0]
    if reader in plugins.readers() and name not in plugins.models():
        if overrides:
            raise UsageError("a data format has no settings", f"posezoo plugins check {reader}:PATH?key=value")
        data = parse_data(name)
        if data.path and not data.path.exists():
            raise DataError(f"{data.path}: no such file or folder", f"without data: posezoo plugins check {reader}")
        attributes = {"reader": reader, "data": str(data.path or ""), "options": data.options}
        suite: Any = type("Suite", (ReaderConformance,), attributes)()
        return suite, [(method, ()) for method in _checks(suite)]
    if name in plugins.modifiers():
        owners = plugins.manager().owners
        ours = [arch for arch in plugins.models() if owners["posezoo_models", arch].distribution == guard.OURS]
        name = f"{min(ours)}+{name}"
    given, infused = settings.nested(overrides), "+hyper" in name
    blueprint(name if infused else f"{name}+hyper", given)  # a wrong setting shows before the first check
    own: dict[str, Any] = {"model": name, "settings": given}
    if infused:
        own |= {"infusions": ("",), "traced": ("",)}
    suite = type("Suite", (ModelConformance,), own)()
    return suite, [(method, (infusion,)) for method in _checks(suite) for infusion in suite.infusions_of(method)]


def _checks(suite: object) -> list[Any]:
    return [method for name, method in inspect.getmembers(suite, callable) if name.startswith("test_")]


def table(outcomes: Sequence[Outcome]) -> tuple[list[str], list[list[str]]]:
    """(header, rows) for a terminal: a row a check, a column an infusion."""
    infusions = list(dict.fromkeys(outcome.infusion for outcome in outcomes))
    cells = {(o.check, o.infusion): ": ".join(filter(None, (o.verdict, o.problem, o.skipped))) for o in outcomes}
    checks = dict.fromkeys(outcome.check for outcome in outcomes)
    rows = [[check, *(cells.get((check, infusion), "") for infusion in infusions)] for check in checks]
    return ["check", *(infusion or "plain" for infusion in infusions)], rows


def raise_if_failed(model: str, outcomes: Sequence[Outcome]) -> None:
    """Raise PluginError that counts the failures and shows the first."""
    failed = [outcome for outcome in outcomes if outcome.problem]
    if failed:
        first = f"{failed[0].check}, {model}{failed[0].infusion}: {failed[0].problem}"
        raise PluginError(
            f"{len(failed)} of {len(outcomes)} checks of {model} failed (first: {first[:120]})",
            "--format json shows all",
        )


def _words(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


def _problem(method: Callable[..., None], *infusion: str) -> tuple[str, str]:
    """(what is wrong, why the check was not run)."""
    try:
        method(*infusion)
    except SkipTest as reason:
        return "", str(reason)
    except (Exception, SystemExit) as error:  # a plugin may fail in any way
        return " ".join((str(error) if isinstance(error, PluginError) else repr(error)).split()), ""
    return "", ""
