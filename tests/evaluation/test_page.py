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

from posezoo.base.paths import natural
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
    assert all(data["thumbs"][one["thumb"]].startswith("data:image/webp;base64,") for one in data["images"])
    assert {one["near"]["name"].split("/")[1] for one in data["images"]} >= {"train-0", "train-10"}
    assert len(data["train"]) == 120
    assert text.count('<figure><button type="button" data-image=') == 2 * page.EXTREMES


def test_pictures_that_are_gone_are_left_out(make_frames: MakeFrames, make_report: MakeReport) -> None:
    report = make_report(make_frames(num=10))
    text = page.html(report)
    assert data_of(text)["thumbs"] == []
    near = {one["near"]["name"] for one in data_of(text)["images"]}
    assert f"{10 + len(near)} pictures, of them or of their nearest training images, cannot be read" in text
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


def test_every_image_of_a_large_set_has_its_picture_and_the_nearest_one(
    make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path
) -> None:
    """A thousand test images, each with a nearest training image of its own: the page stays below 5 MB."""
    frames = make_frames(num=1000)
    object.__setattr__(frames, "root", tmp_path / "images")
    random = np.random.default_rng(0)
    coarse = [Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8)) for _ in range(8)]
    pictures = [one.resize((128, 96), Image.Resampling.BICUBIC) for one in coarse]
    for n in range(len(frames)):
        frames.path(n).parent.mkdir(parents=True, exist_ok=True)
        pictures[n % 8].save(frames.path(n), "PPM")
    report = make_report(frames)
    near = report.train.select(np.arange(0, 2000, 2))  # type: ignore[union-attr]
    poses = dataclasses.replace(report.methods[baselines.RETRIEVAL], position=near.position, quaternion=near.quaternion)
    text = page.html(dataclasses.replace(report, methods={**report.methods, baselines.RETRIEVAL: poses}))
    data = data_of(text)
    assert len(data["images"]) == 1000
    assert [one["near"]["name"] for one in data["images"]] == [near.name(n) for n in range(1000)]
    shown = [thumb for one in data["images"] for thumb in (one["thumb"], one["near"]["thumb"])]
    assert len(data["thumbs"]) == len(set(shown)) == 2000, "each is there, and once"
    assert None not in shown
    assert "cannot be read" not in text
    assert 2e6 < len(text) < 5e6


def test_the_oracle_by_name_has_nearest_images_too(report: Report) -> None:
    own = {"baseline:oracle": report.methods[baselines.ORACLE]}
    images = data_of(page.html(dataclasses.replace(report, model="baseline:oracle", methods=own)))["images"]
    assert all(image["near"]["thumb"] is not None for image in images)


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


def test_every_field_of_the_provenance(report: Report) -> None:
    trained = {"data": "folder:/home/me/walk", "data_digest": "a" * 64, "seed": 3, "recipe": "indoor"}
    trained |= {"commit": "b" * 40, "weights_sha256": "c" * 64}
    settings = {"trained": trained, "weights": "/home/me/runs/best", "versions": {"posezoo": "1.2", "torch": "3.4"}}
    known = dataclasses.replace(report, settings=settings)
    facts = {
        "command": "posezoo eval best --data demo-loop",
        "model": "posenet+hyper",
        "weights": "best",
        "sha256 of the weights": "c" * 64,
        "weights chosen by": "lowest validation median position",
        "trained on": "folder:walk",
        "digest of the training data": "a" * 64,
        "recipe": "indoor",
        "seed": 3,
        "commit": "b" * 40,
        "evaluated on": "demo-loop, test: 120 images",
        "digest of the data": "0" * 64,
        "ground truth": report.ground_truth,
        "versions": "posezoo 1.2, torch 3.4",
    }
    assert page.provenance(known) == facts
    pages = {"| {} | {} |": page.markdown(known), '<th scope="row">{}</th><td>{}</td>': page.html(known)}
    for form, text in pages.items():
        assert [name for name, value in facts.items() if form.format(name, value) not in text] == []
    first = dataclasses.replace(known, settings={**settings, "trained": {**trained, "seed": 0}})
    assert page.provenance(first)["seed"] == 0, "a seed of zero is one"


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


def test_a_condition_called_overall_takes_no_columns_place(make_frames: MakeFrames, make_report: MakeReport) -> None:
    report = make_report(make_frames(conditions=("overall", "rain"), num=20), spread=0.5)
    lines = page.latex(report).splitlines()
    assert lines[3] == r"method & overall & rain & overall \\"
    for method, line in zip(report.methods, lines[5:], strict=False):
        rows = [row for by in ("condition", "overall") for row in report.rows(by) if row["method"] == method]
        cells = line.removesuffix(r" \\").split(" & ")[1:]
        assert [float(cell.split(" (")[0]) for cell in cells] == [
            pytest.approx(row["median_position_m"], abs=0.006) for row in rows
        ]


def test_names_stay_on_their_line_and_are_no_markup(make_frames: MakeFrames, make_report: MakeReport) -> None:
    name = "x\n\\input{evil}\r# Heading <script>alert(1)</script> a&b ![p](http://p/q.png) |"
    frames = make_frames(("fire", name), ("sun", name), num=10)
    report = dataclasses.replace(make_report(frames), data=f"folder:{name}", remarks=(name,))
    first, *lines = page.latex(report).splitlines()
    assert first.startswith("% folder:x \\input{evil} # Heading")
    assert not any(line.startswith("\\input") for line in lines)
    text = page.markdown(report)
    assert not re.search(r"^# Heading|^.input|<script|!\[|a&b", text, re.MULTILINE)
    assert "&lt;script>" in text and "a&amp;b" in text


def test_the_verdict_has_both_coverages(make_frames: MakeFrames, make_report: MakeReport) -> None:
    report = make_report(make_frames(num=20))
    own = report.methods[report.model]
    metres, degrees = report.errors[report.model]
    for radius_m, radius_deg, words in (
        (
            np.where(np.arange(20) < 5, metres / 2, metres),
            0.9 * degrees,
            "for 75 % of the positions and 0 % of the orient",
        ),
        (np.full(20, np.inf), np.full(20, np.inf), "for none of the familiar images; 20 of 20"),
    ):
        known = dataclasses.replace(own, familiarity=-metres, radius_m=radius_m, radius_deg=radius_deg)
        told = dataclasses.replace(report, methods={**report.methods, report.model: known})
        assert any(words in sentence for sentence in page.verdict(told))


def test_the_command_is_the_one_that_was_used(make_frames: MakeFrames, make_report: MakeReport) -> None:
    report = dataclasses.replace(
        make_report(make_frames(num=10)),
        data="folder:my walk?scenes=a",
        split="val",
        settings={"weights": "/home/me/runs/20261122T101500Z", "tta": True, "skipped": ["a picture that is damaged"]},
    )
    command = "posezoo eval 20261122T101500Z --data 'folder:my walk?scenes=a' --subset val --skip-bad --tta"
    assert page.provenance(report)["command"] == command
    plain = dataclasses.replace(report, data="demo-loop", split="test", settings={})
    assert page.provenance(plain)["command"] == "posezoo eval posenet+hyper --data demo-loop"


def test_only_scenes_with_test_images_are_in_the_plan(make_frames: MakeFrames, make_report: MakeReport) -> None:
    frames = make_frames(("chess", "fire", "heads"), num=10)
    report = make_report(frames)
    two = report.frames.select(report.frames.scene > 0)
    methods = {
        name: dataclasses.replace(
            poses, images=poses.images[10:], position=poses.position[10:], quaternion=poses.quaternion[10:]
        )
        for name, poses in report.methods.items()
    }
    text = page.html(dataclasses.replace(report, frames=two, methods=methods))
    assert re.findall(r'<option value="(\d)">(\w+)<', text) == [("1", "fire"), ("2", "heads")]
    assert [one["scene"] for one in data_of(text)["train"]] == [1] * 20 + [2] * 20
    # a new recording of one scene, of a model of several
    alone = dataclasses.replace(
        frames.of_split("test").of_scene("fire"), scenes=("fire",), scene=np.zeros(10, np.int32)
    )
    methods = {name: dataclasses.replace(poses, position=poses.position[:10]) for name, poses in methods.items()}
    methods = {name: dataclasses.replace(poses, quaternion=poses.quaternion[:10]) for name, poses in methods.items()}
    text = page.html(dataclasses.replace(report, frames=alone, methods=methods))
    assert "<option" not in text
    assert len(data_of(text)["train"]) == 20


@pytest.fixture
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if BROWSER is None:
        pytest.skip("no chromium: apt install chromium, or POSEZOO_CHROMIUM=/path/to/it")
    with sync_api.sync_playwright() as play:
        found = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])  # tests may run as root
        yield found
        found.close()


CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (rgb) => rgb.slice(0, 3).map((v) => linear(v / 255))
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = (node) => { for (let one = node; one; one = one.parentElement) {
    const found = parse(getComputedStyle(one).backgroundColor);
    if (found.length < 4 || found[3] === 1) return found; } return [255, 255, 255]; };
  const words = [...document.querySelectorAll("body *")].filter((node) => !["SCRIPT", "STYLE"].includes(node.tagName)
    && [...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim()));
  return words.map((node) => { const style = getComputedStyle(node);
    const [a, b] = [light(parse(node.closest("svg") ? style.fill : style.color)), light(behind(node))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.tagName, node.textContent.trim().slice(0, 40)]; });
}"""
"""[contrast to the background, element, text] of everything that has text of its own, as WCAG 2 computes it."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_width_and_scheme_is_readable_in_a_browser(
    report: Report, tmp_path: Path, browser: Any, width: int, scheme: str
) -> None:
    """With tables of radii and digests of 64 letters: nothing scrolls sideways, complains or is too pale to read."""
    own, metres = report.methods[report.model], report.errors[report.model][0]
    radius_m = np.where(metres > np.nanmedian(metres), np.inf, 2 * metres)
    known = dataclasses.replace(own, familiarity=-metres, radius_m=radius_m, radius_deg=2 * np.ones(len(own)))
    trained = {
        "data": "demo-loop",
        "data_digest": "a1" * 32,
        "weights_sha256": "b2" * 32,
        "seed": 0,
        "commit": "c3" * 20,
    }
    settings = {"trained": trained, "calibration": {"source": "folder:walk", "count": 77, "coverage": 0.9}}
    full = dataclasses.replace(report, methods={**report.methods, report.model: known}, settings=settings)
    path = tmp_path / "report.html"
    path.write_text(page.html(full), encoding="utf-8")
    tab, told = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme), list[str]()
    tab.on("console", lambda message: told.append(message.text))
    tab.on("pageerror", lambda error: told.append(str(error)))
    tab.goto(path.as_uri())
    text = tab.locator("body").inner_text()
    assert "AUSE" in text and "least familiar" in text
    assert all(digest in text for digest in (trained["data_digest"], trained["weights_sha256"]))
    tab.locator("#plan").press("ArrowRight")  # what it shows is text too
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("document.body.scrollWidth") <= width
    found = tab.evaluate(CONTRAST)
    assert len(found) > 100 and {"text", "TD", "FIGCAPTION", "P"} <= {tag for _, tag, _ in found}
    assert [one for one in found if one[0] < 4.5] == []
    assert told == []
    tab.close()


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


# playwright's own wait is forbidden by the page's security policy
UNTIL = "new Promise((done) => {{ const look = () => ({} ? done(1) : requestAnimationFrame(look)); look(); }})"


def test_the_plan_zooms_and_is_dragged_in_a_browser(report: Report, tmp_path: Path, browser: Any) -> None:
    path = tmp_path / "report.html"
    path.write_text(page.html(report), encoding="utf-8")
    tab, told = browser.new_page(viewport={"width": 1280, "height": 1000}), list[str]()
    tab.on("pageerror", lambda error: told.append(str(error)))
    tab.goto(path.as_uri())
    tab.locator("#plan").scroll_into_view_if_needed()
    box, outside = tab.locator("#plan").bounding_box(), tab.locator("#outside").text_content()
    begin = tab.evaluate("places")
    pointer = [int(box["x"] + begin[7][2][0]), int(box["y"] + begin[7][2][1])]  # browsers tell whole pixels
    x, y = pointer[0] - box["x"], pointer[1] - box["y"]
    tab.mouse.move(*pointer)
    tab.keyboard.down("Control")
    tab.mouse.wheel(0, -500)
    tab.keyboard.up("Control")
    tab.evaluate(UNTIL.format("zoom > 2"))
    zoom, near = tab.evaluate("zoom"), tab.evaluate("places")
    for n in (7, 20):  # what is under the pointer stays there
        expected = [x + zoom * (begin[n][2][0] - x), y + zoom * (begin[n][2][1] - y)]
        assert near[n][2] == pytest.approx(expected, abs=1e-6)
    assert tab.locator("#outside").text_content() == outside, "those out of sight for now are not counted"
    tab.mouse.down()
    tab.mouse.move(pointer[0] + 10, pointer[1] + 6)
    tab.mouse.up()
    assert tab.evaluate("places")[7][2] == pytest.approx([near[7][2][0] + 10, near[7][2][1] + 6])
    assert tab.evaluate("current") == -1, "a drag is no click"
    tab.mouse.click(pointer[0] + 10, pointer[1] + 6)
    assert tab.evaluate("current") == begin[7][0]
    tab.locator("#plan").dblclick()
    assert tab.evaluate("places") == begin
    scrolled = tab.evaluate("scrollY")
    assert scrolled > 0
    tab.mouse.wheel(0, -200)
    tab.evaluate(UNTIL.format(f"scrollY < {scrolled}"))
    assert tab.evaluate("zoom") == 1, "the wheel alone scrolls the page"
    assert told == []
    tab.close()


def test_dates_keys_and_errors_of_zero_in_a_browser(
    make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path, browser: Any
) -> None:
    dates = ("2014-06-23-15-41-25", "2014-06-26-09-24-58", "2014-06-23-15-36-04", "cloud 10", "cloud 9")
    report = make_report(make_frames(conditions=dates, num=10))
    true = report.frames.poses()
    methods = dict.fromkeys(report.methods, true)
    path = tmp_path / "report.html"
    path.write_text(page.html(dataclasses.replace(report, methods=methods)), encoding="utf-8")
    tab = browser.new_page()
    tab.goto(path.as_uri())
    table = tab.locator("table.sorts").nth(1)
    for backwards in (False, True):
        table.locator("th button").first.click()
        found = table.locator("tbody tr td:first-child").all_text_contents()
        assert found == sorted(dates, key=natural, reverse=backwards)
    assert "NaN" not in tab.evaluate("document.querySelector('.curves').innerHTML")
    assert tab.evaluate("[...document.querySelectorAll('polyline')].every((one) => one.points.length > 1)")
    labels = tab.locator(".curves svg").evaluate_all("(all) => all.map((one) => one.getAttribute('aria-label'))")
    assert "position error (m)" in labels[0] and "orientation error (deg)" in labels[1]
    assert tab.locator("#detail").get_attribute("aria-live") == "polite"
    assert "arrow keys" in tab.locator("#plan").get_attribute("aria-label")
    last = len(report.frames) - 1
    for key, expected in (("ArrowLeft", last), ("ArrowRight", 0), ("ArrowRight", 1), ("ArrowLeft", 0)):
        tab.locator("#plan").press(key)
        assert tab.evaluate("current") == expected
    tab.reload()
    tab.locator("#plan").press("ArrowRight")
    assert tab.evaluate("current") == 0
    tab.close()


def test_predictions_outside_the_plan_are_counted_in_a_browser(
    make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path, browser: Any
) -> None:
    report = make_report(make_frames(num=20), spread=0.01)
    far = report.methods[report.model].position.copy()
    far[3:5] += 1000
    path = tmp_path / "report.html"
    tab = browser.new_page()
    for position, words in ((report.methods[report.model].position, ""), (far, " 2 predicted outside.")):
        own = dataclasses.replace(report.methods[report.model], position=position)
        told = dataclasses.replace(report, methods={**report.methods, report.model: own})
        path.write_text(page.html(told), encoding="utf-8")
        tab.goto(path.as_uri())
        assert tab.locator("#outside").text_content() == words
    tab.close()
