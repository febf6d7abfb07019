"""Stored reports: found beside a run or a model and nowhere else, and taken for what they are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from small_runs import Train

import posezoo
from posezoo.base.errors import UsageError, WeightsError
from posezoo.training.again import evaluate
from posezoo.training.reports import current_report, known_map, report_of_test, stored_report


def test_the_known_map_is_that_of_the_stored_report(train: Train, tmp_path: Path) -> None:
    result = train(epochs=1)
    title, poses, unit = known_map(str(result.path))
    assert title.startswith("posenet on ") and unit == "m"
    assert poses is not None and result.report.train is not None and len(poses) == len(result.report.train)
    assert known_map(f"local-dir:{tmp_path / 'other'}") == ("other", None, "m")


def test_a_report_of_the_folder_that_one_stands_in_is_of_no_alias(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(epochs=1).report.save(tmp_path / "report")
    monkeypatch.chdir(tmp_path)
    for name in ("posenet-anchors-demo", "baseline:mean", "hf-hub:somebody/model"):
        assert current_report(name) is None
        with pytest.raises(WeightsError):
            stored_report(name)


def test_the_model_of_a_run_has_its_report_and_a_model_beside_a_report_has_none(train: Train, tmp_path: Path) -> None:
    run = train(epochs=1)
    assert stored_report(run.path / "best")[0] == stored_report(run.path)[0] == run.path / "report"
    shutil.copytree(run.path / "best", tmp_path / "models" / "a")
    shutil.copytree(run.path / "report", tmp_path / "models" / "report")
    assert current_report(tmp_path / "models" / "a") is None
    assert stored_report(tmp_path / "models" / "report")[1].data == run.report.data


def test_a_report_of_other_weights_is_not_current(train: Train, tmp_path: Path) -> None:
    first, other = (train(epochs=1, seed=seed, out=f"run{seed}").path for seed in (0, 1))
    model = Path(shutil.copytree(first / "best", tmp_path / "model"))
    shutil.copytree(first / "report", model / "report")
    assert current_report(model) is not None
    for name in ("config.json", "model.safetensors"):
        shutil.copy(other / "best" / name, model)
    assert current_report(model) is None
    with pytest.raises(UsageError):  # a model folder does not say where the data are
        posezoo.compare(model, other)


def test_a_run_without_a_model_is_no_run_to_evaluate(tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch()
    with pytest.raises(WeightsError) as error:
        stored_report(tmp_path)
    assert error.value.hint.startswith("posezoo resume")


def test_what_was_written_again_is_no_result_on_the_test_images(train: Train) -> None:
    run = train(epochs=1)
    assert report_of_test(run.path) is not None and report_of_test(run.path, "another") is None
    for choice in ({"subset": "train"}, {"tta": True}):
        evaluate(run, **choice).save(run.path / "report")
        assert report_of_test(run.path) is None and current_report(run.path) is not None
    (run.path / "report" / "measured.npz").write_bytes(b"damaged")
    assert report_of_test(run.path) is None


@pytest.mark.parametrize("more", [{"selection": "validation"}, {"selection": "last", "data.fraction": 0.5}])
def test_what_training_wrote_is_a_result_whatever_frames_it_used(train: Train, more: dict[str, Any]) -> None:
    run = train(epochs=1, **more)
    found = report_of_test(run.path)
    assert found is not None and found.headline == run.report.headline
