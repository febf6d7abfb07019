"""The report as a page: what it says, that it asks nothing of anybody, and that it works in a real browser."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from posezoo.data.table import Frames
from posezoo.evaluation import baselines, page
from posezoo.evaluation.report import Report

MakeFrames = Callable[..., Frames]
MakeReport = Callable[..., Report]
BROWSER = os.environ.get("POSEZOO_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def report(make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path) -> Report:
    """Two scenes whose pictures are there, one failed image, a name with markup in it."""
    frames = make_frames(("chess", "<b>fire"), ("sun", "rain"), num=30)
    object.__setattr__(frames, "root", tmp_path / "images")
    for n in range(len(frames)):
        path = frames.path(n)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((60, 80, 3), n % 250, dtype=np.uint8)).save(path)
    return make_report(frames, failures=1)


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    content: dict[str, Any] = json.loads(found[1], parse_constant=pytest.fail)
    return content


def test_the_page_has_every_image_and_nothing_from_outside(report: Report) -> None:
    text = page.html(report)
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", text)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert "<b>fire" not in text, "names are escaped, in the data too"
    data = data_of(text)
    assert [one["name"] for one in data["images"]] == [report.frames.name(n) for n in range(120)]
    assert data["images"][0]["metres"] is None
    assert data["images"][0]["predicted"] is None
    np.testing.assert_allclose(data["images"][5]["metres"], report.errors[report.model][0][5], rtol=1e-3)
    assert all(data["thumbs"][one["thumb"]].startswith("data:image/jpeg;base64,") for one in data["images"])
    assert {one["near"]["name"].split("/")[1] for one in data["images"]} >= {"train-0", "train-10"}
    assert len(data["train"]) == 120
    assert text.count('<figure><button type="button" data-image=') == 2 * page.EXTREMES


def test_pictures_that_are_gone_are_left_out(make_frames: MakeFrames, make_report: MakeReport) -> None:
    text = page.html(make_report(make_frames(num=10)))
    assert data_of(text)["thumbs"] == []
    assert "<img" not in text.partition("<script")[0]


def test_large_sets_are_thinned(make_frames: MakeFrames, make_report: MakeReport, monkeypatch: Any) -> None:
    monkeypatch.setattr(page, "MOST_IMAGES", 20)
    report = make_report(make_frames(num=100))
    text = page.html(report)
    data = data_of(text)
    assert 20 <= len(data["images"]) <= 32
    worst = report.frames.name(int(report.errors[report.model][0].argmax()))
    assert worst in {one["name"] for one in data["images"]}
    assert f"{len(data['images'])} of 100 images shown" in text


def test_the_nearest_training_image_is_the_right_one_or_none(make_frames: MakeFrames, make_report: MakeReport) -> None:
    """Frames that stand at one place are told apart by where they look, and of frames with one pose none is shown."""
    frames = make_frames(num=10)
    turned, same = frames.position.copy(), frames.quaternion.copy()
    turned[1:4] = turned[0]
    same[2] = same[0]
    report = make_report(dataclasses.replace(frames, position=turned, quaternion=same))
    poses = {
        name: dataclasses.replace(poses, position=report.train.position[:10], quaternion=report.train.quaternion[:10])
        for name, poses in report.methods.items()
        if name in (baselines.RETRIEVAL, baselines.ORACLE)
    }
    for left_out in ([], [baselines.RETRIEVAL]):
        methods = {name: poses.get(name, one) for name, one in report.methods.items() if name not in left_out}
        images = data_of(page.html(dataclasses.replace(report, methods=methods)))["images"]
        names = [image["near"] and image["near"]["name"] for image in images]
        expected = [report.train.name(n) for n in range(10)]
        assert names == [None, expected[1], None, *expected[3:]]


def test_scenes_that_start_at_the_origin_keep_their_own_nearest_image(
    make_frames: MakeFrames, make_report: MakeReport
) -> None:
    frames = make_frames(("chess", "fire"), num=10)
    position, quaternion = frames.position.copy(), frames.quaternion.copy()
    for scene in (0, 1):
        first = np.flatnonzero((frames.split == "train") & (frames.scene == scene))[0]
        position[first], quaternion[first] = 0, (1, 0, 0, 0)
        test = (frames.split == "test") & (frames.scene == scene)
        position[test] = 0
    report = make_report(dataclasses.replace(frames, position=position, quaternion=quaternion))
    methods = {name: one for name, one in report.methods.items() if name != baselines.RETRIEVAL}
    images = data_of(page.html(dataclasses.replace(report, methods=methods)))["images"]
    found = {(image["name"].split("/")[0], image["near"]["name"].split("/")[0]) for image in images}
    assert found == {("chess", "chess"), ("fire", "fire")}


def test_the_verdict_is_in_words(make_frames: MakeFrames, make_report: MakeReport) -> None:
    good, bad = (page.verdict(make_report(make_frames(), spread=spread)) for spread in (0.01, 50.0))
    assert "better in position" in good[1]
    assert "worse in position" in bad[1]
    assert page.markdown(make_report(make_frames(), spread=0.01)).count(good[1]) == 1


def test_provenance_names_no_folder(report: Report) -> None:
    facts = page.provenance(report)
    assert facts["digest of the data"] == report.data_digest
    assert str(report.frames.root.parent) not in page.html(report)
    assert str(report.frames.root.parent) not in page.markdown(report)


def test_latex_and_csv(report: Report) -> None:
    lines = page.latex(report).splitlines()
    assert lines[1] == r"\begin{tabular}{lccc}"
    rows = [line for line in lines if line.endswith(r"\\")]
    assert len(rows) == 1 + len(report.methods)
    assert all(line.count(" & ") == 3 for line in rows)
    assert "posenet+hyper" in rows[1]
    table = list(csv.DictReader(io.StringIO(page.csv(report))))
    assert {row["by"] for row in table} == {"overall", "scene", "sequence", "condition"}
    (row,) = [r for r in table if (r["by"], r["method"]) == ("overall", report.model)]
    expected = report.rows()[0]
    assert float(row["median_position_m"]) == expected["median_position_m"]
    assert float(row["median_position_m_ci95_low"]) == expected["median_position_m_ci95"][0]
    assert row["mean_position_m"] == "inf"


@pytest.fixture
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if BROWSER is None:
        pytest.skip("no chromium: apt install chromium, or POSEZOO_CHROMIUM=/path/to/it")
    with sync_api.sync_playwright() as play:
        found = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])  # tests may run as root
        yield found
        found.close()


def test_the_page_works_in_a_browser(report: Report, tmp_path: Path, browser: Any) -> None:
    path = tmp_path / "report.html"
    path.write_text(page.html(report), encoding="utf-8")
    for width, scheme in ((1280, "light"), (390, "dark")):
        told: list[str] = []
        asked: list[str] = []
        tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        tab.on("console", lambda message, told=told: told.append(message.text))
        tab.on("pageerror", lambda error, told=told: told.append(str(error)))
        tab.on("request", lambda request, asked=asked: asked.append(request.url))
        tab.goto(path.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, "no scrolling sideways"

        def column(tab: Any = tab) -> list[str]:
            cells: list[str] = tab.locator("table.sorts").first.locator("tbody tr td:nth-child(3)").all_text_contents()
            return cells

        heading = tab.locator("table.sorts").first.locator("th button").nth(2)
        for direction, backwards in (("ascending", False), ("descending", True)):
            heading.click()
            assert column() == sorted(column(), key=float, reverse=backwards)
            assert tab.locator(f"th[aria-sort={direction}]").count() == 1

        # a click beside a prediction shows its image, the error and the nearest training image
        target = tab.evaluate("places[7]")
        tab.locator("#plan").scroll_into_view_if_needed()
        tab.locator("#plan").click(position={"x": target[2][0], "y": target[2][1]})
        chosen = tab.evaluate("data.images[current]")
        assert float(tab.locator("#error").text_content().split()[0]) == pytest.approx(chosen["metres"], abs=0.01)
        assert tab.locator("#detail img").count() == 2
        assert tab.evaluate("[...document.querySelectorAll('#detail img')].every((i) => i.naturalWidth > 0)")
        tab.keyboard.press("ArrowRight")
        assert tab.evaluate("data.images[current]") != chosen
        tab.locator("figure button").first.click()
        assert tab.locator("#error").text_content().startswith("failed")
        tab.locator("#scene").select_option("1")
        assert tab.locator(".curves svg polyline").count() == 2 * len(report.methods)
        assert told == []
        assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
        tab.close()
