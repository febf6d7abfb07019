"""From a name and settings to a plan of a model."""

from __future__ import annotations

from typing import Any

import pytest

from posezoo.base.errors import UsageError
from posezoo.catalogue import resolve
from posezoo.zoo.blueprint import blueprint, with_settings
from posezoo.zoo.build import create_model


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        ("posnet", {}, ["unknown model", '"posenet"']),
        ("atlock+hyper", {}, ['"atloc"']),
        ("posenet+hypre", {}, ["unknown modifier", '"hyper"']),
        ("posenet+hyper=three", {}, ["+hyper=three", "residual, single, two"]),
        ("atloc.lsmt", {}, ["unknown variant 'atloc.lsmt'", '"atloc.lstm"']),
        ("atloc.lstm@v1", {}, ["no revision", "atloc.lstm"]),
        ("posenet", {"backbone": "torchvision:googlenot"}, ["unknown backbone", '"torchvision:googlenet"']),
        ("ms-transformer", {"hidden": 4, "backbone": "torchvision:resnet18"}, ["gives no feature maps"]),
        ("posenet", {"backbon": "resnet18"}, ["backbon", '"backbone"']),
        ("posenet+hyper", {"hyper.rnk": 3}, ["hyper.rnk", '"hyper.rank"']),
        ("posenet", {"backbone": "resnet1"}, ["unknown backbone", "resnet"]),
        ("posenet", {"crop": "big"}, ["crop='big'"]),
        ("posenet", {"crop": 300}, ["crop=300", "resize=256"]),
        ("posenet", {"rotation": "euler"}, ["rotation='euler'"]),
        ("posenet+hyper", {"hyper": {"rank": 0}}, ["hyper.rank=0", "from 1 to 1048576"]),
        ("posenet+hyper", {"hyper": "two"}, ["hyper='two'", "not a table", "+hyper=two", "hyper.KEY=VALUE"]),
        ("posenet+hyper", {"hyper": 3}, ["hyper=3", "not a table", "hyper.KEY=VALUE"]),
        ("posenet+hyper=two", {"hyper": [1]}, ["hyper=[1]", "not a table", "hyper.KEY=VALUE"]),
        ("local-dir:x", {}, ["not an architecture"]),
        ("", {}, ["not a model name"]),
    ],
)
def test_wrong_names_and_settings(name: str, overrides: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        create_model(name, **{"pretrained_backbone": False, **overrides})
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_layers_of_settings() -> None:
    plan = blueprint("posenet+hyper=two", {"crop": 128, "hyper": {"rank": 8}}, {"hyper": {"code_position": 4}})
    config = dict(plan.modifiers)["hyper"]
    assert plan.config.crop == 128
    assert (config.infusion, config.rank, config.code_position, config.input) == ("two", 8, 4, "image")
    # settings of a modifier that the name does not have: a recipe gives them for every model, a user by mistake
    assert with_settings(resolve.model("posenet"), recipe=[{"hyper": {"rank": 8}}]).modifiers == ()
    with pytest.raises(UsageError) as error:
        blueprint("posenet", {"hyper": {"rank": 8}})
    assert "+hyper" in error.value.hint
    # the published combination sets the base's rotation; a later layer wins
    assert blueprint("atloc+hyper").config.rotation == "quaternion"
    assert blueprint("atloc").config.rotation == "log-quaternion"
    assert blueprint("atloc+hyper", {"rotation": "6d"}).config.rotation == "6d"


def test_a_variant_wins_over_the_recipe_and_loses_to_the_user() -> None:
    recipe = [{"rotation": "quaternion", "backbone": "resnet18"}]
    assert with_settings(resolve.model("atloc+hyper.3d"), recipe=recipe).config.rotation == "log-quaternion"
    assert with_settings(resolve.model("atloc+hyper.3d"), recipe=recipe).config.backbone == "resnet18"
    assert with_settings(resolve.model("atloc+hyper.3d"), {"rotation": "6d"}, recipe=recipe).config.rotation == "6d"
    # a variant of the architecture serves infused too, with the combination's own settings
    plan = blueprint("posenet+hyper=two.googlenet")
    assert plan.config.backbone == "torchvision:googlenet"
    assert (str(plan.name), dict(plan.modifiers)["hyper"].infusion) == ("posenet+hyper=two.googlenet", "two")
    assert blueprint("ms-transformer.cambridge").config.orientation_layers == 6
    # a variant of the architecture is the same base with a hypernetwork
    assert blueprint("ms-transformer+hyper.cambridge").config.orientation_layers == 6
    assert blueprint("ms-transformer+hyper").config.orientation_layers == 4
