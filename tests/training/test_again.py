"""A run evaluated again: its own data, split, root and settings, unless others are named."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import faults
import pytest
import small_data
from small_runs import Train

from posezoo.training.again import evaluate


def test_evaluation_again_gives_the_same(train: Train) -> None:
    result = train()
    again = evaluate(result)
    assert again.data_digest == result.report.data_digest
    assert again.headline == result.report.headline
    assert again.selection == result.report.selection


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


@pytest.mark.parametrize("subset", ["train", "test"])
def test_the_other_frames_of_the_run(train: Train, subset: str) -> None:
    own: dict[str, Any] = {"train": range(24), "test": range(24, 32)}
    again = evaluate(train(epochs=1), subset=subset)
    assert list(again.frames.poses().images) == [f"yard/{n:02d}.png" for n in own[subset]]
