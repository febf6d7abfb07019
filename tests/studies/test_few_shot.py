"""A left-out scene learned from few images: what is trained from what, nested subsets, forgetting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_data
import torch
from naming import naming
from small_models import small
from small_studies import SETTINGS, study

from posezoo.base.errors import UsageError
from posezoo.base.observe import Observer
from posezoo.catalogue import settings
from posezoo.studies import few_shot
from posezoo.studies.grid import Cell
from posezoo.studies.measure import Album, open_album, opened
from posezoo.studies.study import run
from posezoo.studies.subjects import Request, Subject
from posezoo.training.run import read_config
from posezoo.zoo.saved import load

SLIM = small_data.SLIM["ms-transformer"]
PARTS = ("backbone", "hidden", "position_head", "orientation_head")
pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def three_places(tmp_path: Path) -> Path:
    """24 training and 8 test images of each of three scenes."""
    rows = [
        row for name, start in (("attic", 80.0), ("hall", 40.0), ("yard", 0.0)) for row in small_data.rows(name, start)
    ]
    return small_data.write(tmp_path / "three", rows)


@pytest.mark.slow
def test_the_study_on_small_models(three_places: Path, tmp_path: Path) -> None:
    more = {"study.fractions": [0.25, 0.75], "study.epochs": [1]}
    found = study("few-shot", "posenet", data=three_places, out=tmp_path / "out", **more)
    assert found["scene"] == "yard" and found["old_scenes"] == ["attic", "hall"]
    assert [(row["fraction"], row["epochs"], row["images"]) for row in found["trainings"]] == [
        (0.25, 1, 6),
        (0.75, 1, 18),
    ]
    for row in found["trainings"]:
        assert row["retrieval"] is None  # these models start without pretrained weights
        assert set(row["forgetting"]) == {"position_m", "orientation_deg"}
    configs = [read_config(path.parent) for path in sorted((tmp_path / "out" / "runs").rglob("config.toml"))]
    base, *tuned = sorted(configs, key=lambda config: config["train"].get("start_from") is not None)
    assert "scenes=attic,hall" in base["train"]["data"]["name"]
    assert len(tuned) == 2
    assert {config["train"]["min_epoch_images"] for config in tuned} == {0}, "an epoch is one pass"
    assert all("scenes=yard" in config["train"]["data"]["name"] for config in tuned)
    assert "yard" in found["verdict"] and found["figures"] == ["few-shot.png"]


@pytest.mark.slow
def test_heads_alone_learn_the_new_scene(three_places: Path, tmp_path: Path) -> None:
    """The encoder of each training is that of its base, to the last bit; page and JSON say what learned."""
    more = {"study.fractions": [0.5], "study.epochs": [1], "study.train": "heads"}
    found = study("few-shot", "ms-transformer", data=three_places, out=tmp_path / "out", **SLIM, **more)
    learns = found["learns"]["ms-transformer"]
    assert found["options"]["train"] == "heads"
    assert set(learns) == {"position_head", "orientation_head", "position.query", "orientation.query", "frozen"}
    assert learns["position.query"] == 3 * 32, "of old scenes too"
    notes = " ".join(found["notes"])
    assert "study.train=heads" in notes and f"{learns['frozen']:,} numbers are frozen" in notes
    configs = {path.parent: read_config(path.parent) for path in (tmp_path / "out" / "runs").rglob("config.toml")}
    (tuned,) = (run for run, config in configs.items() if config["train"].get("start_from"))
    before, after = (load(name).state_dict() for name in (configs[tuned]["train"]["start_from"], tuned))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"position.query", "orientation.query"} <= moved
    assert all(name in learns or name.partition(".")[0] in learns for name in moved), moved


@pytest.mark.parametrize("learning", ["all", "but-backbone", "heads"])
def test_what_learns_is_counted(learning: str) -> None:
    model = small("posenet", scenes=("attic", "barn"))
    numbers = {part: sum(p.numel() for p in getattr(model, part).parameters()) for part in PARTS}
    found = few_shot._learning(model, few_shot.Options(train=learning))
    frozen = {"all": (), "but-backbone": ("backbone",), "heads": ("backbone", "hidden")}[learning]
    expected = {part: count for part, count in numbers.items() if part not in frozen}
    assert found == expected | ({"frozen": sum(numbers[part] for part in frozen)} if frozen else {})


def test_retrieval_is_from_the_same_images(three_places: Path, tmp_path: Path) -> None:
    request = Request((), f"folder:{three_places}?scenes=yard", tmp_path, (0,), grid="few-shot")
    album = open_album(request, Observer())
    results = album.results(np.arange(len(album.frames)))
    subsets = few_shot._Subsets(request, few_shot.Options(choose="contiguous"), "posenet-anchors-demo", results)
    few, every = subsets.of(0.25), subsets.of(1.0)
    assert (few["images"], every["images"]) == (6, 24)
    # the nearest of the first six cameras along the path is farther away than the nearest of all
    assert few["retrieval"][0] > every["retrieval"][0] > 0
    for found in (few, every):
        for median, (low, high) in zip(found["retrieval"], found["retrieval_ci95"], strict=True):
            assert low <= median <= high


@pytest.mark.parametrize("split", [None, "blocks", "file"])
def test_a_split_file_of_all_scenes_serves_some(three_places: Path, tmp_path: Path, split: str | None) -> None:
    """Images of other scenes, which it names, are none of the narrowed data."""
    given = {"data.split": split} if split else {}
    if split == "file":
        path = tmp_path / "all.csv"
        names = sorted(str(image.relative_to(three_places)) for image in three_places.rglob("*.png"))
        words = ["test" if n % 3 == 0 else "train" for n in range(len(names))]
        path.write_text(
            "image,split\n" + "".join(f"{line}\n" for line in map(",".join, zip(names, words, strict=True)))
        )
        given = {"data.split": str(path)}
    request = Request((), f"folder:{three_places}", tmp_path / "out", given=given, name="few-shot")
    whole = opened(request).frames
    for scenes in (["yard"], ["attic", "hall"]):
        narrowed = few_shot._narrowed(request, scenes)
        frames = opened(narrowed).frames
        assert set(frames.scenes) == set(scenes)
        wanted = [n for n in range(len(whole)) if whole.scenes[whole.scene[n]] in scenes]
        assert frames.images.tolist() == whole.images[wanted].tolist()
        assert frames.split.tolist() == whole.split[wanted].tolist()
        assert few_shot._narrowed(request, scenes) == narrowed, "the same runs when the study continues"


def test_two_scenes_are_too_few(two_places: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=naming("hall", "yard")):
        run("few-shot", ["posenet"], data=f"folder:{two_places}", out=tmp_path / "out", given=SETTINGS)


def test_fractions_run_from_few_to_most_whatever_their_order() -> None:
    options = settings.validated(few_shot.Options, {"fractions": [0.5, 0.1, 0.25]}, "study.")
    assert options.fractions == (0.1, 0.25, 0.5)


def test_settings_of_a_modifier_are_for_the_models_that_have_it(tmp_path: Path) -> None:
    """Each base is trained on by itself: what the others have is no wrong setting of it."""
    names, plans = ("ms-transformer", "ms-transformer+hyper"), list[Cell]()
    request = Request(
        names, "demo-places", tmp_path, (0,), given={"hyper.rank": 8}, grid="few-shot", train=plans.extend
    )
    bases = [Subject(name, (str(tmp_path / name),)) for name in names]
    assert len(few_shot._tuned(request, few_shot.Options(fractions=(0.5,), epochs=(1,)), bases)) == 2
    assert [cell.row for cell in plans] == list(names)
    assert dict(plans[1].blueprint.modifiers)["hyper"].rank == 8


@pytest.mark.slow
def test_forgetting_is_growth(three_places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base is 1 m off, what is trained on from it 3 m."""

    def known(subjects: list[Subject], album: Album, *_: Any) -> dict[str, Any]:
        level = {one.name: 3.0 if ", " in one.name else 1.0 for one in subjects}
        return {one.name: [[(np.full(len(album.frames), level[one.name]),) * 2] for _ in one.runs] for one in subjects}

    monkeypatch.setattr(few_shot, "errors", known)
    more = {"study.fractions": [0.25], "study.epochs": [1]}
    found = study("few-shot", "posenet", data=three_places, out=tmp_path / "out", **more)
    (row,) = found["trainings"]
    assert {key: one["difference"] for key, one in row["forgetting"].items()} == {"position_m": 2, "orientation_deg": 2}
