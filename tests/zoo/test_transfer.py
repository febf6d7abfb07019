"""A model that starts from another's weights: what is taken, what grows, what starts anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_data
import torch
from scipy.spatial.transform import Rotation
from small_models import SMALL
from small_runs import Notes, Train

import posezoo
from posezoo.base.errors import UsageError
from posezoo.catalogue import resolve, settings
from posezoo.nn.model import PoseModel
from posezoo.nn.place import Place, learn_place
from posezoo.training.config import configure
from posezoo.training.run import read_config
from posezoo.training.train import _extended
from posezoo.zoo.blueprint import blueprint
from posezoo.zoo.build import build
from posezoo.zoo.saved import load
from posezoo.zoo.transfer import transfer


def made(name: str, seed: int, scenes: tuple[str, ...] = ("scene",), **more: Any) -> PoseModel:
    torch.manual_seed(seed)
    own = small_data.SLIM["ms-transformer"] if name.startswith("ms") else SMALL
    shared = {key: SMALL[key] for key in ("backbone", "pretrained_backbone", "resize", "crop")}
    return build(blueprint(name, {**shared, **own, **more}).with_place(scenes=scenes))


def test_everything_of_the_same_shape_is_taken() -> None:
    model, source = made("posenet+hyper", 0), made("posenet", 1)
    left = transfer(model, source)
    assert left
    assert all("generator" in name or "embed" in name or "hyper" in name.lower() or "_head" in name for name in left)
    own, theirs = model.state_dict(), source.state_dict()
    assert all(torch.equal(own[name], theirs[name]) for name in own if name in theirs and name not in left)


def test_old_scenes_keep_their_numbers_and_new_ones_start_anew() -> None:
    start = made("ms-transformer.per-scene", 0, ("hall", "yard", "attic")).state_dict()
    model = made("ms-transformer.per-scene", 0, ("hall", "yard", "attic"))
    source = made("ms-transformer.per-scene", 1, ("yard", "hall"))
    assert transfer(model, source) == []
    own, theirs = model.state_dict(), source.state_dict()
    grown = [name for name in own if own[name].shape != theirs[name].shape]
    assert len(grown) >= 4, "banks of heads, queries, the choice of the scene"
    for name in grown:
        parts, old = own[name].view(3, -1), theirs[name].view(2, -1)
        assert torch.equal(parts[:2], old[[1, 0]]), name
        assert torch.equal(parts[2], start[name].view(3, -1)[2]), name


def test_old_scenes_keep_their_anchors_when_another_is_learned() -> None:
    """The anchors' answers for old scenes stay, the new scene's are its own."""

    def place(*scenes: int) -> Place:
        draw = np.random.default_rng(sum(scenes))
        scene = np.repeat(scenes, 30)
        position = draw.normal(size=(len(scene), 3)) + 100 * scene[:, None]
        quaternion = np.roll(Rotation.random(len(scene), random_state=1).as_quat(), 1, axis=1)
        embedding = torch.from_numpy(draw.normal(size=(len(scene), source.image_dim))).float()
        camera = np.full((len(scene), 4), np.nan)
        return Place(position, quaternion, scene, camera, lambda rows: embedding[list(rows)])

    more = {"shared_heads": False, "anchors": {"count": 20}}
    source = made("ms-transformer+anchors", 1, ("hall", "yard"), **more)
    learn_place(source, place(0, 1))
    model = made("ms-transformer+anchors", 0, ("hall", "yard", "cellar"), **more)
    assert transfer(model, source) == []
    learn_place(model, place(2))
    scene_K = model.anchors.scene
    assert [int((scene_K == scene).sum()) for scene in range(3)] == [20, 20, 20]
    images, told = torch.rand(4, 3, 64, 64), torch.tensor([0, 1, 0, 1])
    with torch.inference_mode():
        embedding = source.encode(images).image
        old, new = source.anchors(embedding, told), model.anchors(embedding, told)
        third = model.anchors(embedding, torch.full((4,), 2))
    torch.testing.assert_close(
        old.offset + torch.from_numpy(source.anchors.mean_3), new.offset + torch.from_numpy(model.anchors.mean_3)
    )
    torch.testing.assert_close(old.quaternion, new.quaternion)
    assert ((third.offset + torch.from_numpy(model.anchors.mean_3) - 200).abs() < 10).all()
    rest = model.anchors.keys[scene_K == 2]
    torch.testing.assert_close(rest.norm(dim=-1), torch.ones(20))


def test_a_model_of_another_kind() -> None:
    source = made("posenet", 1)
    model = made("ms-transformer", 0, ("a", "b"), backbone="resnet10t")
    with pytest.raises(UsageError, match="posenet"):
        transfer(model, source)


def test_a_new_place_for_a_model_of_one(train: Train, tmp_path: Path, notes: Notes) -> None:
    first = train(epochs=1, out=str(tmp_path / "first")).path
    other = small_data.write(tmp_path / "hall", small_data.rows("hall", 40.0))
    frozen = {"phases": [{"train": "position", "epochs": 1}], "start_from": str(first)}
    second = train("posenet", other, out=str(tmp_path / "second"), **frozen).path
    assert any("started from" in note for note in notes.notes)
    one, two = (load(f"local-dir:{run}").state_dict() for run in (first, second))
    moved = {name for name in one if not torch.equal(one[name], two[name])}
    assert moved
    assert all(name.startswith("position_head.") for name in moved)
    assert read_config(second)["train"]["start_from"] == f"local-dir:{first}"


@pytest.mark.slow
def test_a_scene_is_added_to_a_model_of_several(train: Train, two_places: Path, tmp_path: Path) -> None:
    """Its old scenes keep numbers and answers where what they share is frozen."""
    settings = {"epochs": 1, "optim.weight_decay": 0}
    first = train("ms-transformer.per-scene", two_places, out=str(tmp_path / "first"), **settings).path
    cellar = small_data.write(tmp_path / "cellar", small_data.rows("cellar", 90.0))
    more = {"phases": [{"train": "position", "epochs": 1}], "optim.weight_decay": 0}
    run = train("ms-transformer.per-scene", cellar, out=str(tmp_path / "run"), start_from=str(first), **more).path
    before, after = load(f"local-dir:{first}"), load(f"local-dir:{run}")
    assert after.config.scenes == (*before.config.scenes, "cellar")
    assert after.config.position_mean == before.config.position_mean
    images = [two_places / "yard/01.png", two_places / "hall/02.png"]
    told = torch.tensor([after.config.scenes.index(name) for name in ("yard", "hall")])
    with torch.inference_mode():
        pictures = torch.stack([torch.rand(3, before.config.crop, before.config.crop) for _ in images])
        one, two = before(pictures, told), after(pictures, told)
    # in float32, whose products of more heads are summed in another order
    torch.testing.assert_close(one.position, two.position, atol=1e-5, rtol=0)
    torch.testing.assert_close(one.quaternion, two.quaternion, atol=1e-5, rtol=0)
    report = posezoo.evaluate(run, observer=Notes())
    assert set(report.frames.scenes) >= {"cellar"}


def test_what_was_learned_of_an_old_scene_must_fit_where_it_cannot_be_learned_again(
    train: Train, two_places: Path, one_place: Path, tmp_path: Path, notes: Notes
) -> None:
    """With another number of anchors a scene without images would have none, and be answered by another's."""
    name, few = "ms-transformer+anchors", {"epochs": 1, "anchors.key_dim": 8}
    first = train(name, two_places, out=str(tmp_path / "first"), **few, **{"anchors.count": 6}).path
    more = {"start_from": str(first), **few}
    with pytest.raises(UsageError, match=r"anchors\..*\bhall\b") as error:
        train(name, one_place, out=str(tmp_path / "run"), **more, **{"anchors.count": 5})
    assert error.value.exit_code == 2
    notes.notes.clear()
    train(name, one_place, out=str(tmp_path / "same"), **more, **{"anchors.count": 6})
    assert any("hall, yard as they were" in note or "yard, hall as they were" in note for note in notes.notes)
    notes.notes.clear()
    train(name, two_places, out=str(tmp_path / "both"), **more, **{"anchors.count": 5})
    (told,) = [note for note in notes.notes if note.startswith("started from")]
    assert "start anew" in told
    assert "as they were" not in told


@pytest.mark.parametrize("name", ["posenet+hyper", "posenet+anchors", "posenet+anchors+hyper", "posenet+spread"])
def test_a_head_is_kept_below_its_modifiers(name: str) -> None:
    """What starts from the plain model has its head; a residual that starts at zero answers as it did."""
    model, source = made(name, 0), made("posenet", 1)
    left = transfer(model, source)
    own, theirs = model.state_dict(), source.state_dict()
    for key, value in theirs.items():
        same = [one for one in own if one.replace(".base.", ".") == key or one.replace(".base.base.", ".") == key]
        taken = [one for one in same if own[one].shape == value.shape]
        assert all(torch.equal(own[one], value) and one not in left for one in taken), key
    if name == "posenet+hyper":
        images = torch.rand(2, 3, SMALL["crop"], SMALL["crop"])
        with torch.inference_mode():
            one, two = (net.eval()(images) for net in (model, source))
        torch.testing.assert_close(one.position, two.position)
        torch.testing.assert_close(one.quaternion, two.quaternion)


def test_what_old_scenes_answers_depend_on_stays(train: Train, two_places: Path, tmp_path: Path) -> None:
    """The label frame and the pixels' mean too, whatever the new recipe says."""
    first = train("ms-transformer", two_places, epochs=1, out=str(tmp_path / "first"), normalise_pixels="data").path
    folder = shutil.copytree(first, tmp_path / "other")
    for path in folder.rglob("config.json"):
        config = json.loads(path.read_text())
        config["config"]["label_frame"] = "world-to-camera"
        config.pop("sum", None)
        path.write_text(json.dumps(config))
    given = small_data.settings("ms-transformer", start_from=f"local-dir:{folder / 'best'}")
    known_names = resolve.model("ms-transformer"), resolve.data(f"folder:{two_places}")
    plan = _extended(*configure(*known_names, settings.nested(given)))
    known = load(f"local-dir:{first}").config
    assert plan.config.label_frame == "world-to-camera"
    assert (plan.config.mean, plan.config.std) == (known.mean, known.std)
    assert plan.config.mean != posezoo.create_model("posenet", pretrained_backbone=False).config.mean
