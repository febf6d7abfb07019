"""A study trains what is missing, writes what it found, and continues where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faults
import pytest
from matplotlib.figure import Figure
from naming import naming
from PIL import Image
from small_studies import SETTINGS, study

import posezoo
from posezoo.base.errors import DataError, UsageError
from posezoo.data.export import export
from posezoo.data.open import open_dataset
from posezoo.studies import grid
from posezoo.studies.study import run

pytestmark = pytest.mark.usefixtures("no_pictures")


def test_two_studies_share_their_runs(one_place: Path, tmp_path: Path) -> None:
    first = study("occlusion", "posenet", data=one_place, out=tmp_path / "out", **{"study.frames": 4})
    (trained,) = first["models"]["posenet"]
    assert Path(trained).is_relative_to(tmp_path / "out" / "runs")
    before = (Path(trained) / "config.toml").stat().st_mtime_ns
    again = study("occlusion", "posenet", data=one_place, out=tmp_path / "out", **{"study.frames": 4})
    assert again == first
    assert (Path(trained) / "config.toml").stat().st_mtime_ns == before
    assert first["options"]["frames"] == 4 and first["settings"]["epochs"] == 1


def test_the_same_from_python(one_place: Path, tmp_path: Path) -> None:
    given = {**SETTINGS, "study.frames": 4}
    place = {"data": f"folder:{one_place}", "seeds": [0], "out": tmp_path / "out"}
    found = posezoo.study("occlusion", "posenet", observer=posezoo.Observer(), **place, **given)
    typed = study("occlusion", "posenet", data=one_place, out=tmp_path / "out", **{"study.frames": 4})
    assert found["passages"] == typed["passages"]


def test_positions_without_metres(one_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transforms.json has no unit: the note, study.json and the axes of figures say so."""
    labels: list[str] = []

    def save(figure: Figure, path: Path) -> None:
        labels.extend(axes.get_ylabel() for axes in figure.axes)
        Image.new("L", (1, 1)).save(path)

    monkeypatch.setattr("posezoo.evaluation.figures.save", save)
    export(open_dataset(f"folder:{one_place}").frames, "nerf", tmp_path / "n")
    found = study("size", "posenet", data=f"nerf:{tmp_path / 'n'}?root={one_place}", out=tmp_path / "out")
    assert found["unit"] == "scene units"
    assert any("scene units" in note for note in found["notes"])
    assert labels == ["median position (scene units)", "median orientation (deg)"]


def test_wrong_words_are_found_before_a_training(one_place: Path, tmp_path: Path) -> None:
    for given, name in (({"study.frame": 4}, "study.frames"), ({"study.frames": 4, "epoch": 1}, "epochs")):
        with pytest.raises(UsageError, match=naming(name)):
            run("occlusion", ["posenet"], data=f"folder:{one_place}", out=tmp_path / "out", given=SETTINGS | given)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [{"given": {"optim.lr": 1e-3}}, {"given": {"epohcs": 5}}, {"seeds": [3]}])
def test_settings_of_trainings_are_refused_where_nothing_is_trained(more: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=naming(next(iter(more.get("given", ["seeds"]))))):
        run("trajectory", ["posenet-anchors-demo"], data="demo-loop", out=tmp_path, **more)


@pytest.mark.parametrize(
    "option",
    [
        "robustness study.kinds=[]",
        'robustness study.kinds=["fog","fog"]',
        "robustness study.severities=[0]",
        "occlusion study.covers=[]",
        "occlusion study.covers=[0.9]",
        "occlusion study.frames=2",
        "attention study.shown=0",
        'trajectory study.sequences=["nowhere"]',
        "weights study.perplexity=-1",
        "weights study.places=[1]",
        "few-shot study.epochs=[]",
        "few-shot study.fractions=[2]",
        "appearance study.severity=6",
    ],
)
def test_wrong_options_are_named_before_anything_is_trained(option: str, tmp_path: Path) -> None:
    name, given = option.split()
    models = [] if name == "few-shot" else ["posenet-anchors-demo", "atloc-anchors-hyper-demo"]
    data = ["--data", "demo-places" if name == "few-shot" else "demo-loop"]
    word = given.partition("=")[0] if "sequences" not in given else "nowhere"
    faults.assert_fails(["study", name, *models, *data, "--out", str(tmp_path), given], 2, naming(word))


def test_a_launcher_is_asked_for_jobs(one_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`local` is this machine, whatever cluster there is; the logs are beside the runs."""
    asked: list[Any] = []

    def as_jobs(plan: Any, folder: Path, job: Any, watch: Any, here: bool) -> None:
        asked.append((folder, dict(job), here))
        raise DataError("seen")

    monkeypatch.setattr(grid, "run_as_jobs", as_jobs)
    for launcher in ("local", "submitit"):
        more: dict[str, Any] = {"given": SETTINGS, "launcher": launcher, "job": {"timeout_min": 5}}
        with pytest.raises(DataError, match="seen"):
            run("trajectory", ["posenet"], data=f"folder:{one_place}", seeds=[0], out=tmp_path / "out", **more)
    assert asked == [(tmp_path / "out" / "jobs", {"timeout_min": 5}, here) for here in (True, False)]
