"""Which models a study has: named or its grid's, trained ones as they are, others by seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from posezoo.base.errors import UsageError
from posezoo.studies.grid import Cell
from posezoo.studies.subjects import Request, is_trained, subjects


def test_named_models_keep_their_order(tmp_path: Path) -> None:
    plans: list[list[Cell]] = []
    request = Request(
        ("posenet+hyper", "posenet-anchors-demo", "posenet"), "demo-loop", tmp_path, (3, 4), train=plans.append
    )
    found = subjects(request)
    assert [one.name for one in found] == list(request.models)
    assert [len(one.runs) for one in found] == [2, 1, 2]
    assert found[1].runs == ("posenet-anchors-demo",)
    assert found[0].runs[1] == str(tmp_path / "runs" / "demo-loop" / "posenet+hyper" / "pose-true" / "seed-4")
    assert [(cell.row, cell.seed) for cell in plans[0]] == [
        (model, seed) for seed in (3, 4) for model in ("posenet+hyper", "posenet")
    ]


def test_without_names_the_grid_is_trained(tmp_path: Path) -> None:
    plans: list[list[Cell]] = []
    found = subjects(Request((), "demo-loop", tmp_path, given={"epochs": 2}, train=plans.append))
    assert [one.name for one in found] == ["base", "hyper", "same-size"]
    assert {cell.config.epochs for cell in plans[0]} == {2}


def test_grids_of_a_family_keep_their_runs_apart(tmp_path: Path) -> None:
    """Both have a row `base`, of other models."""
    folders = [
        Path(subjects(Request((), "demo-loop", tmp_path, grid=f"question/{name}"))[0].runs[0])
        for name in ("posenet", "anchors")
    ]
    assert folders[0] != folders[1] and folders[0].parts[-4:] == folders[1].parts[-4:]


def test_named_models_have_the_small_form_of_the_grid(tmp_path: Path) -> None:
    plans: list[list[Cell]] = []
    subjects(Request(("posenet",), "demo-loop", tmp_path, (0,), grid="paper/table-4", train=plans.append))
    assert plans[0][0].blueprint.config.backbone == "tf_efficientnet_lite0" and plans[0][0].config.epochs == 10


def test_one_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="posenet"):
        subjects(Request(("posenet", "posenet"), "demo-loop", tmp_path, name="appearance"), least=2)


def test_too_few_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        subjects(Request(("posenet",), "demo-loop", tmp_path, name="appearance"), least=2)


def test_trained_or_not(tmp_path: Path) -> None:
    assert is_trained(str(tmp_path)) and is_trained("hf-hub:a/b") and is_trained("posenet-anchors-demo")
    assert not is_trained("posenet+hyper=two")
