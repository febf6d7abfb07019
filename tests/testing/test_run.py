"""The conformance suite: a model that keeps the contract passes, and each check finds the model that breaks it."""

from __future__ import annotations

from pathlib import Path

import hostile
import pytest
from naming import naming

from posezoo.base.errors import DataError, PluginError, UsageError
from posezoo.testing import ModelConformance, ReaderConformance, run
from posezoo.testing.run import raise_if_failed, table

READER_CASES = [
    ("other-type", "test_frames", "returned list, expected ReadResult"),
    ("no-frames", "test_frames", "tuple among its frames"),
    ("not-finite", "test_frames", "not seven finite numbers"),
    ("outside", "test_frames", "not inside the data set"),
    ("counting", "test_the_same_again", "a second reading differs"),
    ("deaf", "test_only_the_images_asked_for", "asked for 1 images, it returned 2"),
    ("silent", "test_an_empty_folder_is_told", "gives no finding"),
    ("raising", "test_an_empty_folder_is_told", "p.txt"),
    ("nosy-reader", "test_imports_are_public", r"pz_nosy.py, line \d: posezoo\.zoo\.build is not public"),
    ("writing", "test_the_process_is_left_alone", "writes into the data set"),
    ("printing", "test_the_process_is_left_alone", "prints: 'reading"),
    ("seeding", "test_the_process_is_left_alone", "changed Python's random state"),
]


def test_readers_and_modifiers_without_pytest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checks = {name for name in dir(ReaderConformance) if name.startswith("test_")}
    assert {check for _, check, _ in READER_CASES} == checks
    # of posezoo's own: on an empty folder, and on data
    (tmp_path / "x.csv").write_text(
        "scene,split,img_path,t1,t2,t3,q1,q2,q3,q4\nyard,train,a.png,0,0,0,1,0,0,0\nyard,train,b.png,0,0,0,1,0,0,0\n"
    )
    for name in ("folder", "colmap", "7scenes", f"csv:{tmp_path / 'x.csv'}?convention=camera-to-world"):
        outcomes = run.check(name)
        assert [outcome.problem for outcome in outcomes] == [""] * len(checks), name
    assert {outcome.problem for outcome in run.check("silent") if outcome.problem} == {
        "an empty folder gives no finding"
    }
    with pytest.raises(UsageError, match=naming("csv")):
        run.check("csv", {"x": 1})
    with pytest.raises(DataError, match=naming("nowhere")):
        run.check("folder:nowhere")
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
