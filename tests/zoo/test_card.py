"""The card: what it says, from what, and that nobody's own card is overwritten."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import small_data
from huggingface_hub import ModelCard
from naming import naming
from small_hub import add_alias, pinned
from small_runs import Notes, Train

from posezoo import api
from posezoo.base.errors import UsageError, WeightsError
from posezoo.base.version import source_commit
from posezoo.cli.info import one
from posezoo.zoo import card
from posezoo.zoo.card import MEDIANS, text_of, write
from posezoo.zoo.find import read_config


def test_the_card_of_a_run(train: Train) -> None:
    result = train(epochs=1)
    content = text_of(result.path)
    assert content == (result.path / "best" / "README.md").read_text()
    read = ModelCard(content)
    assert read.data.library_name == "posezoo"
    row = result.report.headline[result.report.model]
    assert {r.metric_type: r.metric_value for r in read.data.eval_results} == {
        key: round(row[key], 4) for key in MEDIANS
    }
    facts = result.report
    for words in (
        "recipe indoor",
        "seed 0",
        facts.data_digest[:16],
        "mean training pose",
        "random start",
        *(["commit "] if source_commit() else []),  # of a checkout, or of what pip fetched from a repository
        "epochs=1",
        "hidden=64",
    ):
        assert words in content, words
    noted = facts.to_dict() | {"notes": ["published for x on d: median 0.5 m, 3.25 deg (Table 2)"]}
    assert "published for x on d: median 0.5 m, 3.25 deg (Table 2)." in card.text({"name": "x", "posezoo": "1"}, noted)


def test_tables_by_group_have_intervals() -> None:
    known = {"method": "x", "num": 30, "median_position_m": 0.25, "median_orientation_deg": 4.0}
    known |= {"median_position_m_ci95": [0.2, 0.3], "median_orientation_deg_ci95": [3.5, 4.5]}
    rows = {by: [known | {"group": group}] for by, group in (("overall", "overall"), ("condition", "rain"))}
    report = {"model": "x", "data": "d", "split": "test", "ground_truth": "o", "notes": [], "results": rows}
    content = card.text({"name": "x", "posezoo": "1"}, report)
    for group in ("overall", "rain"):
        assert f"| {group} | 30 | 0.250 (0.200 to 0.300), 4.00 (3.50 to 4.50) |" in content


def test_a_failed_model_has_a_card_too() -> None:
    row = {"method": "x", "group": "overall", "num": 3, "median_position_m": "inf", "median_orientation_deg": 180.0}
    report = {
        "model": "x",
        "data": "d",
        "split": "test",
        "ground_truth": "o",
        "notes": [],
        "results": {"overall": [row]},
    }
    content = card.text({"name": "x", "posezoo": "1"}, report)
    assert "| overall | 3 | inf, 180.00 |" in content
    assert [r.metric_type for r in ModelCard(content).data.eval_results] == ["median_orientation_deg"]


def test_the_card_of_an_alias_names_it_and_its_licence(catalogue: Path, small_model: Path, tmp_path: Path) -> None:
    package = tmp_path / "pz_card"
    shutil.copytree(small_model, package / "small")
    (package / "__init__.py").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        add_alias(catalogue, "small", pinned(small_model, "package:pz_card/small", ""))
        content = text_of("small")
    assert 'posezoo.load("small")' in content
    assert "license: apache-2.0" in content
    assert "| licence of the weights | Apache-2.0 |" in content
    assert "Not evaluated" in content


def test_training_data_in_the_weights_are_disclosed(train: Train) -> None:
    """On the card of a run, at once and when it is evaluated, in config.json and in `posezoo info RUN`."""
    few = {"anchors.count": 4, "anchors.key_dim": 8}
    run = train("posenet+anchors", epochs=1, **few).path
    (line,) = read_config(run / "best")["disclosures"]
    assert "poses" in line
    for content in (text_of(run), (run / "best" / "README.md").read_text()):
        assert f"| training data in it | {line} |" in content
    assert one(str(run), {})["training data in it"] == [line]
    other = train(epochs=1, out="plain").path
    assert "disclosures" not in read_config(other / "best")
    assert "training data in it" not in text_of(other)
    assert "training data in it" not in one(str(other), {})


def test_a_licence_that_the_hub_does_not_know() -> None:
    read = ModelCard(card.text({"name": "x", "posezoo": "1"}, None, licence="LicenseRef-Cambridge-Landmarks"))
    assert (read.data.license, read.data.license_name) == ("other", "licenseref-cambridge-landmarks")


def test_a_hand_written_card_stays(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    write(path, card.text({"name": "x", "posezoo": "1"}, None))
    write(path, card.text({"name": "y", "posezoo": "1"}, None))
    assert "# y on" in path.read_text()
    path.write_text("mine")
    with pytest.raises(UsageError, match=naming(path)):
        write(path, "other")
    assert path.read_text() == "mine"


def test_training_leaves_a_card_that_somebody_has_written(train: Train) -> None:
    from posezoo.api import resume

    result = train(epochs=1)
    path = result.path / "best" / "README.md"
    path.write_text("my words")
    resume(result.path)
    assert path.read_text() == "my words"


def test_what_the_reader_said_stays_in_report_card_and_info(
    one_place: Path, tmp_path: Path, no_pictures: None, notes: Notes
) -> None:
    """Units that are no metres, images that are missing, intrinsics that are not known."""
    place = tmp_path / "capture"
    shutil.copytree(one_place, place)
    images = sorted(path.relative_to(place) for path in place.rglob("*.png"))
    frames = [
        {"file_path": str(image), "transform_matrix": [[1, 0, 0, n / 10], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}
        for n, image in enumerate([*images, Path("gone.png")])
    ]
    (place / "transforms.json").write_text(json.dumps({"frames": frames}))
    settings = small_data.settings("posenet", out=str(tmp_path / "run"), epochs=1)
    result = api.train("posenet", f"nerf:{place}", observer=notes, **settings)
    said = [note for word in ("no unit", "missing", "no intrinsics") for note in result.report.notes if word in note]
    assert len(said) == 3
    content, info = text_of(result.path), one(str(result.path), {})
    for note in said:
        assert note in content and note in info["training"]["data_notes"]
    assert "Medians of position in scene units" in content
    assert (info["training"]["unit"], result.report.to_dict()["unit"]) == ("scene units", "scene units")
    (_, header, _), *_ = result.report.table_rows()
    assert "median scene units" in header and "median m" not in header


def test_nothing_from_a_config_or_report_becomes_html_or_moves_the_cursor() -> None:
    bad = "<script>alert(1)</script>\x1b[2J|\n# own title"
    training = {"data": bad, "recipe": bad, "selection": bad, "backbone_weights": [{"source": bad, "sha256": bad}]}
    row = {"method": bad, "group": bad, "num": 3, "median_position_m": 1.0, "median_orientation_deg": 2.0}
    report = {"model": bad, "data": "d", "split": bad, "ground_truth": bad, "notes": [bad], "results": {"scene": [row]}}
    content = card.text({"name": bad, "posezoo": bad, "training": training, "disclosures": [bad]}, report)
    read = ModelCard(content)
    assert "<script>" not in read.text
    assert "\x1b" not in content
    titles = [line for line in read.text.splitlines() if line.startswith("# ")]
    assert len(titles) == 1
    assert titles[0].startswith("# &lt;script")
    (table,) = [line for line in read.text.splitlines() if "weights chosen by" in line]
    assert len(re.findall(r"(?<!\\)\|", table)) == 3, "three borders of two cells"


@pytest.mark.parametrize("content", ["{}", "[]", "3", '{"results": {"overall": []}}', "{"])
def test_a_report_of_another_shape_is_damage(small_model: Path, tmp_path: Path, content: str) -> None:
    folder = shutil.copytree(small_model, tmp_path / "copy")
    (folder / "report.json").write_text(content)
    with pytest.raises(WeightsError, match=naming("report.json")):
        text_of(f"local-dir:{folder}")
