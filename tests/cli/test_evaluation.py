"""posezoo compare: stored reports, evaluation on named data, JSON."""

from __future__ import annotations

import json
import re
import webbrowser
from pathlib import Path

import faults
import pytest
import small_data
from command_line import ok, strict_json
from naming import naming
from small_runs import Train

import posezoo


def test_compare_reads_stored_reports(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = (train(epochs=1, seed=seed, out=f"run{seed}").path for seed in (0, 1))
    found = strict_json(ok("compare", str(first), str(other), "--format", "json"))
    assert [model["model"] for model in found["models"]] == ["posenet", "posenet"]
    rows = found["comparisons"][0]["rows"]
    assert {row["verdict"] for row in rows} <= {"better", "not distinguishable", "worse"}
    assert {row["by"] for row in rows} == {"overall", "condition"}
    again = posezoo.compare(first, other)
    assert again.to_dict() == found
    monkeypatch.setenv("COLUMNS", "80")
    text = ok("compare", str(first), str(other))
    assert max(map(len, [line for line in text.splitlines() if "│" in line])) <= 80
    assert "not distinguishable" in text or "better" in text or "worse" in text


def test_compare_evaluates_where_data_are_named(train: Train, one_place: Path) -> None:
    run = train(epochs=1)
    found = posezoo.compare(run, run.path, data=f"folder:{one_place}")
    (rows,) = found.differences.values()
    assert {one.difference.median for one in rows} == {0.0}
    stored = posezoo.compare(run, str(run.path))
    assert stored.to_dict()["comparisons"][0]["rows"] == found.to_dict()["comparisons"][0]["rows"]


def test_compare_refuses_other_images(train: Train, two_places: Path) -> None:
    first, other = train(epochs=1, out="a").path, train(epochs=1, out="b", data=two_places).path
    ended = faults.in_process(["compare", str(first), str(other)])
    assert ended.code == 2
    assert "--data" in ended.stderr
    assert faults.in_process(["compare", str(first)]).code == 2
    assert faults.in_process(["compare", str(first), "nowhere"]).code == 4
    page = first / "report" / "report.html"
    faults.assert_fails(["eval", str(first), "--out", str(page)], 2, naming(page))  # before it is measured
    assert faults.in_process(["compare", "nowhere"]).code == 2  # before anything is looked for


def test_a_report_is_written_again(train: Train) -> None:
    run = train(epochs=1).path
    page, text = run / "report" / "report.html", run / "report" / "report.md"
    before = page.read_text()
    page.unlink()
    assert strict_json(ok("report", str(run), "--format", "json")) == {"page": str(page), "text": str(text)}
    assert page.read_text() == before
    assert ok("report", str(run / "report"), "--latex").count("&") >= 4
    assert ok("report", str(run), "--csv").startswith("by,")
    drawn = strict_json(ok("report", str(run), "--figures", "pdf", "--format", "json"))["figures"]
    assert drawn == [str(run / "report" / f"{kind}.pdf") for kind in ("trajectory", "errors")]
    page.unlink()
    other = run.parent / "for" / "print"
    elsewhere = strict_json(ok("report", str(run), "--out", str(other), "--figures", "svg", "--format", "json"))
    assert Path(elsewhere["page"]).read_text() == before
    assert elsewhere["figures"] == [str(other / f"{kind}.svg") for kind in ("trajectory", "errors")]
    assert (other / "report.md").exists()
    assert not page.exists()
    for more in (["--out", str(other)], ["--latex"], ["--format", "json"], ["--figures", "svg"]):
        faults.assert_fails(["report", str(run), "--csv", *more], 2, "--csv")
    faults.assert_fails(["report", str(run), "--figures", "bmp"], 2, "svg")
    faults.assert_fails(["eval", str(run), "--subset", "foo"], 2, "train")
    faults.assert_fails(["eval", str(run), "--split", "foo"], 2, naming("blocks", "sequences"))
    assert faults.in_process(["report", str(run.parent / "nowhere")]).code == 4


def test_a_report_is_opened_in_the_browser_that_is_named(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, browser = train(epochs=1).path, tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    monkeypatch.setattr(webbrowser, "_tryorder", None)  # the variable is read once
    ended = faults.in_process(["report", str(run), "--open"])
    assert (ended.code, ended.stderr) == (0, "")
    page = run.resolve() / "report" / "report.html"
    assert (tmp_path / "opened").read_text().strip() == page.as_uri()

    monkeypatch.setattr(webbrowser, "_tryorder", [])  # a machine without any
    ended = faults.in_process(["report", str(run), "--open"])
    assert ended.code == 0
    assert re.search(naming("BROWSER", page), ended.stderr), ended.stderr


def test_the_options_of_eval_arrive(train: Train, tmp_path: Path) -> None:
    run, out = train(epochs=1, selection="validation").path, tmp_path / "out"
    ok("eval", str(run), "--subset", "val", "--tta", "--to", "tum", "--out", str(out), "--format", "quiet")
    report = json.loads((out / "report.json").read_text())
    assert (report["split"], report["num_images"], report["settings"]["tta"]) == ("val", 6, True)
    assert list((out / "tum").iterdir())


def test_radii_from_the_command_line(train: Train, tmp_path: Path) -> None:
    """Of a new recording, in which the one scene has another name."""
    run = train(epochs=1, selection="last").path
    walk = small_data.write(tmp_path / "hall", small_data.rows("hall", 0.5))
    told = strict_json(ok("calibrate", str(run), "--data", f"folder:{walk}", "--scene", "yard", "--format", "json"))
    assert (told["model"], told["calibrated on"]) == (str(run / "best"), "folder:hall (32 images)")
