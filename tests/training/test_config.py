"""Recipes and settings: layers, routing, near names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from naming import naming

from posezoo.base.errors import UsageError
from posezoo.catalogue import entries, keys, resolve, settings
from posezoo.cli.keys import of_run
from posezoo.training.config import TrainConfig, configure, settings_of
from posezoo.zoo.blueprint import PLACE_FIELDS


def test_recipe_then_settings(one_place: Path) -> None:
    config, plan = configure(
        resolve.model("posenet+hyper"),
        resolve.data(f"folder:{one_place}"),
        {"optim": {"lr": 1e-5}, "hyper": {"rank": 3}},
    )
    recipe = entries.recipe("indoor")
    assert config.recipe == "indoor"
    assert config.optim.lr == 1e-5
    assert config.epochs == recipe.train["epochs"]
    assert plan.config.crop == recipe.model["crop"]
    assert dict(plan.modifiers)["hyper"].rank == 3
    assert config.data.name == f"folder:{one_place}"
    assert config.model == "posenet+hyper"


@pytest.mark.parametrize("name", ["demo-loop", "7scenes-chess", "7scenes"])
@pytest.mark.parametrize("model", ["posenet", "atloc+hyper", "ms-transformer+hyper=two"])
def test_every_model_has_a_recipe_for_every_kind_of_data(model: str, name: str) -> None:
    config, plan = configure(resolve.model(model), resolve.data(name))
    assert config.recipe == entries.default_recipe(entries.data_card(name).kind)
    assert str(plan.name) == model
    assert config.augment.geometry == "rotate"


def test_another_recipe_by_name() -> None:
    config, plan = configure(resolve.model("posenet"), resolve.data("demo-loop"), {"recipe": "outdoor"})
    assert config.recipe == "outdoor"
    assert plan.config.crop == entries.recipe("outdoor").model["crop"]


def test_config_survives_a_round_trip() -> None:
    phases = [{"train": "position", "epochs": 2, "weights": (1.0, 0.0)}, {"train": "orientation", "epochs": 1}]
    config, _ = configure(resolve.model("posenet"), resolve.data("demo-loop"), {"phases": phases, "out": "x"})
    assert settings.validated(TrainConfig, config.model_dump()) == config
    assert [phase.train for phase in config.plan] == ["position", "orientation"]
    assert TrainConfig.model_validate(config.model_dump()).plan == config.plan


def test_one_phase_by_default() -> None:
    config, _ = configure(resolve.model("posenet"), resolve.data("demo-loop"), {"epochs": 7})
    assert [(phase.train, phase.epochs) for phase in config.plan] == [("all", 7)]


def test_the_demo_gives_anchors_what_stands_where_and_hypernetworks_what_they_read() -> None:
    found = {}
    for name in ("posenet", "posenet+hyper", "posenet+anchors", "posenet+anchors+hyper", "atloc+anchors+hyper"):
        config, plan = configure(resolve.model(name), resolve.data("demo-loop"))
        assert config.optim.frozen_stages == 3
        assert config.augment.motion == "auto"
        found[name] = plan.config.image_embedding, config.augment.appearance_strength
    plain = ("own", 0.5)
    assert found == dict.fromkeys(found, ("cells", 1.0)) | {"posenet": plain, "posenet+hyper": plain}


@pytest.mark.parametrize("recipe", ["paper-indoor", "paper-multi-outdoor"])
def test_epochs_are_not_ignored_where_there_are_phases(recipe: str) -> None:
    known = resolve.model("posenet"), resolve.data("demo-loop")
    with pytest.raises(UsageError, match=naming("epochs=3", "phases")) as error:
        configure(*known, {"recipe": recipe, "epochs": 3})
    assert "phases=[] epochs=3" in (error.value.hint or "")
    config, _ = configure(*known, {"recipe": recipe, **settings.parse(["phases=[]", "epochs=3"])})
    assert [(phase.train, phase.epochs) for phase in config.plan] == [("all", 3)]


def test_epochs_beside_phases_of_ones_own_are_an_error() -> None:
    known = resolve.model("posenet"), resolve.data("demo-loop")
    phases = [{"epochs": 2}, {"train": "position", "epochs": 5}]
    with pytest.raises(UsageError, match=naming("epochs=6", "phases", "2, 5")):
        configure(*known, {"epochs": 6, "phases": phases})
    config, _ = configure(*known, {"phases": phases})
    assert [phase.epochs for phase in config.plan] == [2, 5], "the recipe's own epochs give way to phases"
    assert config.epochs == 7
    assert configure(*known, {"epochs": 7, "phases": phases})[0] == config, "their sum, as it is listed"


@pytest.mark.parametrize(
    ("model", "data", "key", "hint"),
    [
        ("posnet", "demo-loop", "", "posenet"),
        ("atlock", "demo-loop", "", "atloc"),
        ("posenet+hypr", "demo-loop", "", "hyper"),
        ("posenet+hyper=tow", "demo-loop", "", "two"),
        ("posenet", "demo-lop", "", "demo-loop"),
        ("posenet", "7scene", "", "7scenes"),
        ("posenet", "demo-loop", "optim.lrr=1", "optim.lr"),
        ("posenet", "demo-loop", "lr=1", "optim.lr"),
        ("posenet", "demo-loop", "epoch=1", "epochs"),
        ("posenet", "demo-loop", "batchsize=1", "batch_size"),
        ("posenet", "demo-loop", "backbon=resnet18", "backbone"),
        ("posenet+hyper", "demo-loop", "hyper.rnk=2", "rank"),
        ("posenet", "demo-loop", "hyper.rank=2", r"\+hyper"),
        ("posenet", "demo-loop", "recipe=quik", "quick"),
        ("posenet", "demo-loop", "augment.yow=3", "yaw"),
        ("local-dir:outputs", "demo-loop", "", "posezoo list"),
    ],
)
def test_wrong_names_come_with_near_ones(model: str, data: str, key: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        configure(resolve.model(model), resolve.data(data), settings.nested(settings.parse([key] if key else [])))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("epochs", "many"),
        ("batch_size", -1),
        ("optim.lr", 0),
        ("optim.lr", -1.0),
        ("optim.schedule", "cosin"),
        ("seed", -1),
        ("seed", 2**32),
        ("workers", -1),
        ("selection", "train"),
        ("precision", "int8"),
        ("augment.geometry", "flip"),
        ("augment.yaw", 90),
        ("data.validation", 1.5),
        ("checkpoint.keep", 0),
        ("phases", [{"train": "everything", "epochs": 1}]),
        ("phases", [{"train": "all"}]),
        ("crop", 16),
        ("crop", 4096),
        ("optim.backbone_lr", -1e-3),
        ("optim.weight_decay", -1),
        ("optim.eps", 0),
        ("optim.eps", -1e-8),
        ("optim.gamma", 0),
        ("optim.gamma", 1.5),
        ("optim.clip", 0),
        ("optim.warmup_epochs", -1),
        ("optim.step_epochs", 0),
        ("loss.balance_lr", -1),
        ("loss.start", [1000, 0]),
        ("augment.hue", 0.6),
        ("checkpoint.every_seconds", -1),
        ("device", "gpu"),
        ("hidden", 0),
        ("hidden", 2**70),
        ("dropout", 7),
        ("dropout", -0.1),
        ("resize", 10**6),
        ("mean", [2, 0, 0]),
        ("std", [0, 0.1, 0.1]),
    ],
)
def test_wrong_values_are_named(key: str, value: Any) -> None:
    with pytest.raises(UsageError) as error:
        configure(resolve.model("posenet"), resolve.data("demo-loop"), settings.nested({key: value}))
    assert key.rpartition(".")[2] in str(error.value)
    assert error.value.hint


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["optim.lr", "optim.gamma", "augment.yaw", "augment.brightness"])
def test_numbers_must_be_finite(key: str, value: float) -> None:
    with pytest.raises(UsageError, match=key.rpartition(".")[2]):
        configure(resolve.model("posenet"), resolve.data("demo-loop"), settings.nested({key: value}))


@pytest.mark.parametrize("key", ["optim.clip", "checkpoint.every_seconds"])
def test_infinity_where_it_means_never(key: str) -> None:
    configure(resolve.model("posenet"), resolve.data("demo-loop"), settings.nested({key: float("inf")}))
    with pytest.raises(UsageError, match=key):
        configure(resolve.model("posenet"), resolve.data("demo-loop"), settings.nested({key: float("nan")}))


def test_all_problems_in_one_go() -> None:
    with pytest.raises(UsageError, match=r"epochs.*seed|seed.*epochs"):
        configure(resolve.model("posenet"), resolve.data("demo-loop"), {"epochs": 0, "seed": -1})


@pytest.mark.parametrize(
    ("model", "setting", "message"),
    [
        ("posenet", "dropout=7", "dropout=7: not a number from 0 to 1"),
        ("posenet", "optim.betas=[0.9, 3]", r"optim.betas\[1\]=3: not a number from 0, below 1"),
        ("posenet", "optim.backbone_lr=-1", "optim.backbone_lr=-1: not a number from 0, or none"),
        ("posenet", "optim.gamma=2", "optim.gamma=2: not a number above 0, at most 1"),
        ("posenet", "seed=-1", "seed=-1: not a whole number from 0 to 4294967295"),
        ("posenet", "phases=[{train='all', epochs=0}]", r"phases\[0\].epochs=0: not a whole number from 1"),
        ("posenet", "phases=[{epochs=1, weights=[1, -1]}]", r"phases\[0\].weights\[1\]=-1: not a number from 0"),
        ("posenet", "phases=[{train='all'}]", r"phases\[0\].epochs is missing"),
        ("posenet", "pretrained_backbone=3", "pretrained_backbone=3: not true or false, text: posezoo"),
        ("posenet", "crop=300", "crop=300 must be at least 32 and at most resize=140: for example crop=140"),
        ("atloc", "feature=4", "feature=4 must be at least 8"),
        ("atloc", "dropout=1.5", "dropout=1.5: not a number from 0 to 1"),
        ("ms-transformer", "position_layers=0", "position_layers=0: not a whole number from 1 to 1048576"),
        ("ms-transformer", "heads=-8", "heads=-8: not a whole number from 1"),
        ("ms-transformer", "head_dropout=2", "head_dropout=2: not a number from 0 to 1"),
        ("ms-transformer", "width=100", "width=100 must be even and a multiple of heads=8"),
        ("posenet+hyper", "hyper.rank=0", "hyper.rank=0: not a whole number from 1 to 1048576, or none"),
        ("posenet+hyper", "hyper.hidden_position=[64, 0]", r"hyper.hidden_position\[1\]=0: not a whole number from 1"),
    ],
)
def test_errors_say_what_a_key_takes(model: str, setting: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        configure(resolve.model(model), resolve.data("demo-loop"), settings.nested(settings.parse([setting])))


def test_every_key_has_a_meaning_and_every_number_a_range() -> None:
    """For the run, and for every architecture and modifier that is installed from here."""
    schemas = {"run": TrainConfig}
    for name in ("posenet", "atloc", "ms-transformer+hyper"):
        known = resolve.model(name)
        schemas |= {offer.spec.name: offer.load("config") for offer in (known.architecture, *known.modifiers)}
    assert len(schemas) == 5
    for owner, schema in schemas.items():
        for key in keys.keys(schema):
            assert key.name in PLACE_FIELDS or key.what, f"{owner} {key.name} says nothing"
            bounded = re.search(r"\b(from|above) -?\d", key.type)
            assert key.name in PLACE_FIELDS or "number" not in key.type or bounded, f"{owner} {key.name}: {key.type}"


def test_a_split_file_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "split.csv").write_text("image,split\n")
    monkeypatch.chdir(tmp_path)
    known = resolve.model("posenet"), resolve.data("demo-loop")
    for given, kept in (("split.csv", str(tmp_path / "split.csv")), ("blocks", "blocks")):
        config, _ = configure(*known, {"data": {"split": given}}, root="photos")
        assert (config.data.split, config.data.root) == (kept, str(tmp_path / "photos"))


@pytest.mark.parametrize("given", ["weights.safetensors", True])
def test_a_backbone_file_is_found_from_any_folder(
    given: str | bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, blueprint = configure(resolve.model("posenet"), resolve.data("demo-loop"), {"pretrained_backbone": given})
    wanted = str(tmp_path / given) if isinstance(given, str) else given
    assert blueprint.config.pretrained_backbone == wanted


def test_settings_of_a_file(tmp_path: Path) -> None:
    """A run's own file, what --print-config prints, and lines: each gives the same run, and words on top win."""
    place, model = resolve.data("demo-yard"), resolve.model("posenet+hyper")
    given = {"epochs": 7, "hidden": 64, "hyper.rank": 8, "optim.lr": 0.003, "data.validation": 0.2}
    config, plan = configure(model, place, settings.nested(given))
    run = {"posezoo": "0", "train": config.model_dump(), "model": plan.as_dict()}
    (tmp_path / "config.toml").write_text(tomli_w.dumps(settings.to_toml(run)))
    (tmp_path / "rows.json").write_text(json.dumps(of_run(model, place, settings.nested(given), None)))
    (tmp_path / "lines.toml").write_text("".join(f"{key} = {value}\n" for key, value in given.items()))
    for name in ("config.toml", "rows.json", "lines.toml"):
        again = configure(model, place, settings_of(tmp_path / name))
        assert again[0] == config, name
        assert again[1].as_dict() == plan.as_dict(), name
        other = configure(model, place, settings.merged(settings_of(tmp_path / name), {"epochs": 9}))
        assert other[0].epochs == 9
    for text in ("epochs = ", "[1, 2]", '{"key": 1}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(UsageError, match=r"bad\.json"):
            settings_of(tmp_path / "bad.json")
    with pytest.raises(UsageError, match="nothing"):
        settings_of(tmp_path / "nothing")
