"""The conformance suite: a model that keeps the contract passes, and each check finds the model that breaks it."""

from __future__ import annotations

from pathlib import Path

import hostile
import pytest
import small_data
from broken_suites import READER_CASES
from naming import naming

from posezoo.base.errors import DataError, PluginError, UsageError
from posezoo.data.export import export
from posezoo.data.open import open_dataset
from posezoo.testing import ModelConformance, ReaderConformance, run
from posezoo.testing.run import raise_if_failed, table


def test_readers_without_pytest(tmp_path: Path) -> None:
    checks = {name for name in dir(ReaderConformance) if name.startswith("test_")}
    assert {check for _, check, _ in READER_CASES} == checks
    # options of posezoo's own are not the reader's
    place = small_data.two_places(tmp_path / "two")
    export(open_dataset(f"folder:{place}").frames, "labels", tmp_path / "lab")
    labels = f"csv:{tmp_path / 'lab/labels.csv'}?convention=camera-to-world"
    for name in (f"folder:{place}?scenes=yard&sequences=1", f"{labels}&root={place}&normalise=true"):
        outcomes = run.check(name)
        assert [outcome.verdict for outcome in outcomes] == ["ok"] * len(checks), outcomes
    (problem,) = {outcome.problem for outcome in run.check(labels) if outcome.problem}
    assert "no image is where it says" in problem
    assert "relative to the data's root" in problem
    with pytest.raises(UsageError, match=naming("csv")):
        run.check("csv", {"x": 1})
    with pytest.raises(DataError, match=naming("nowhere")):
        run.check("folder:nowhere")


def test_without_data_a_reader_has_read_nothing() -> None:
    for name in ("folder", "7scenes", "csv", "arkit"):
        outcomes = run.check(name)
        assert {o.verdict for o in outcomes} == {"ok", "not run"}
        assert {o.check for o in outcomes if o.verdict == "ok"} == {"an empty folder is told", "imports are public"}
        assert {o.skipped for o in outcomes} - {""} == {f"nothing was read: give data, {name}:PATH, or define `write`"}
        raise_if_failed(name, outcomes)
        assert f"not run: nothing was read: give data, {name}:PATH" in str(table(outcomes))
    assert {o.problem for o in run.check("silent") if o.problem} == {"an empty folder gives no finding"}


def test_a_modifier_without_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in dir(ModelConformance) if name.startswith("test_") and name != "test_pose"]:
        monkeypatch.delattr(ModelConformance, name)
    # a modifier alone: on the first of posezoo's own architectures
    assert [(o.infusion, o.problem) for o in run.check("hyper", {"feature": 8})] == [("", "")]


def test_without_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelConformance, "traced", ())
    seen: list[tuple[int, int]] = []
    told: list[run.Outcome] = []
    outcomes = run.check("dropping", progress=lambda done, total: seen.append((done, total)), told=told.append)
    assert told == outcomes, "each as it comes"
    failed = {outcome.check for outcome in outcomes if outcome.problem}
    assert {"eval is deterministic", "batch order and size do not matter"} <= failed
    assert "other sides" not in failed
    assert {outcome.infusion for outcome in outcomes} == set(ModelConformance.infusions)
    assert seen[-1] == (len(outcomes), len(outcomes))
    header, rows = table(outcomes)
    assert header == ["check", "plain", "+hyper=residual", "+hyper=single", "+hyper=two"]
    assert dict(zip(header, rows[0], strict=True))["check"] == "batch order and size do not matter"
    with pytest.raises(PluginError, match=naming("dropping")):
        raise_if_failed("dropping", outcomes)


def test_names_and_settings_are_told() -> None:
    with pytest.raises(UsageError, match=naming("zzz")):
        run.check("zzz")
    with pytest.raises(UsageError, match="hiden"):
        run.check("posenet", {"hiden": 3})


def test_importing_posezoo_needs_no_pytest(tmp_path: Path) -> None:
    done = hostile.run_python("import sys; sys.modules['pytest'] = None; import posezoo.testing.models")
    assert (done.returncode, done.stderr) == (0, "")
