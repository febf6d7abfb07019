"""Recipes and settings: layers, routing, near names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posezoo.base.errors import UsageError
from posezoo.catalogue import entries, resolve, settings
from posezoo.training.config import TrainConfig, augmentation, configure


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
    assert augmentation(config).geometry == "rotate"


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
