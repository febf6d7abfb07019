"""What a run writes about itself into its model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_runs import Train, job

from posezoo.training.again import evaluate
from posezoo.training.facts import changed_settings, selection_note
from posezoo.zoo.blueprint import blueprint_from


def test_selection_is_said(train: Train, tmp_path: Path) -> None:
    for selection, word in (("test", "test frames"), ("validation", "validation frames"), ("last", "last epoch")):
        result = train(out=str(tmp_path / selection), epochs=1, selection=selection)
        assert word in result.report.selection
        report = json.loads((result.path / "report" / "report.json").read_text())
        assert word in report["selection"]
        assert word in (result.path / "best" / "README.md").read_text()
        assert word in evaluate(result.path).selection


def test_without_validation_frames_the_last_epoch_is_said(train: Train) -> None:
    result = train(epochs=1, selection="validation", **{"data.validation": 0})
    assert result.report.selection == "last epoch"


def test_where_no_epoch_had_finite_errors_none_is_called_the_best(one_place: Path) -> None:
    ready = job(one_place, selection="validation")
    assert selection_note(ready, {"epoch": 3, "score": 1.0}) == "best epoch on validation frames (epoch 3)"
    assert selection_note(ready, {"epoch": 3, "score": float("inf")}).startswith("last epoch: ")


def test_what_a_run_has_otherwise_than_its_recipe(train: Train) -> None:
    """As words of the command line; not where and how fast it was computed."""
    run = train(epochs=1, **{"optim.lr": 1e-5, "workers": 0}).path
    facts = json.loads((run / "best" / "config.json").read_text())["training"]
    assert {"epochs=1", "optim.lr=1e-05", "hidden=64", "crop=64"} <= set(facts["changed"])
    assert not [word for word in facts["changed"] if word.startswith(("out=", "device=", "seed=", "checkpoint."))]
    assert facts["recipe"] == "indoor"
    assert facts["num_images"] == 18


def test_no_folder_of_the_user_is_published(train: Train, tmp_path: Path, one_place: Path) -> None:
    text = (train(epochs=1).path / "best" / "config.json").read_text()
    assert str(tmp_path) not in text
    assert str(one_place) not in text


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("local-dir:/home/me/my name/run", "local-dir:run"),
        ("~/my name/run", "run"),
        (["/home/me/a b/x.pth", "hf-hub:me/run"], "['x.pth', 'hf-hub:me/run']"),
    ],
)
def test_no_folder_of_a_setting_is_published(one_place: Path, given: Any, told: str) -> None:
    ready = job(one_place)
    changed = replace(ready, blueprint=ready.blueprint.with_place(pretrained_backbone=given))
    assert f"pretrained_backbone={told}" in changed_settings(changed)


def test_a_resumed_run_names_the_same_changes(one_place: Path) -> None:
    """Its blueprint comes from the run folder, which holds settings and none of the catalogue's entries."""
    ready = job(one_place, "atloc+hyper")
    resumed = replace(ready, blueprint=blueprint_from(ready.blueprint.as_dict(), Path("config.toml")))
    assert not any(word.startswith("rotation=") for word in changed_settings(ready))
    assert changed_settings(resumed) == changed_settings(ready)
