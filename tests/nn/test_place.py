"""The two doors: which modules are found, what they may do, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from naming import naming
from small_models import small
from torch import Tensor, nn

from posezoo.base.errors import PluginError
from posezoo.nn import place, promises
from posezoo.nn.hyperhead import HyperHead
from posezoo.nn.model import PoseModel
from posezoo.nn.place import Place, Target


class Bringing(nn.Module):
    """Learns how many images there are; brings what it is told."""

    def __init__(self, **losses: Any) -> None:
        super().__init__()
        self.losses = losses
        self.register_buffer("images", torch.zeros(()))

    def learn_place(self, known: Place) -> None:
        self.images.fill_(len(known.position))

    def extra_losses(self, features: object, output: object, target: Target) -> Mapping[str, Any]:
        return self.losses


def known(images: int = 5) -> Place:
    quaternion_N4 = np.tile([1.0, 0.0, 0.0, 0.0], (images, 1))
    nothing = np.zeros(images, dtype=np.int64)
    return Place(
        np.zeros((images, 3)), quaternion_N4, nothing, np.full((images, 4), np.nan), lambda rows: torch.zeros(0)
    )


def given(model: PoseModel) -> tuple[Any, Any, Target]:
    """Features, output and target of two images."""
    with torch.no_grad():
        images_BCHW = torch.randn(2, 3, 96, 96)
        features, output = model.encode(images_BCHW), model(images_BCHW)
    return features, output, Target(output.position, output.quaternion.double(), None)


def test_a_plain_model_brings_nothing() -> None:
    model = small("posenet+hyper")
    assert place.learners(model) == []
    assert not place.brings_losses(model)
    assert place.extra_losses(model, *given(model)) == {}
    assert place.disclosures(model) == []


@pytest.mark.parametrize("where", ["model", "head", "below an infused head", "of nobody"])
def test_modules_are_found_wherever_they_are(where: str) -> None:
    model = small("posenet+hyper")
    brought = Bringing(mine=torch.tensor(2.0))
    brought.disclosure = "it holds a picture"  # type: ignore[assignment]
    if where == "model":
        model.learner = brought
    elif where == "head":
        model.position_head.learner = brought
    elif where == "below an infused head":
        assert isinstance(model.orientation_head, HyperHead)
        model.orientation_head.base.learner = brought
    found = [] if where == "of nobody" else [brought]
    assert place.learners(model) == found
    assert place.brings_losses(model) == bool(found)
    assert place.disclosures(model) == ["it holds a picture"] * len(found)
    place.learn_place(model, known())
    assert float(brought.images) == 5 * len(found)
    terms = place.extra_losses(model, *given(model))
    assert terms == ({"mine": torch.tensor(2.0)} if found else {})


def test_a_module_that_two_own_brings_once() -> None:
    model, brought = small("posenet"), Bringing(mine=torch.tensor(1.0))
    model.one = model.other = brought
    assert place.learners(model) == [brought]
    assert set(place.extra_losses(model, *given(model))) == {"mine"}


def test_what_modules_say_twice_is_said_once() -> None:
    model = small("posenet")
    model.one, model.other = Bringing(), Bringing()
    model.one.disclosure = model.other.disclosure = "poses"
    assert place.disclosures(model) == ["poses"]


@pytest.mark.parametrize(
    "value", [3.0, torch.zeros(2), torch.zeros(1), torch.tensor(3), None], ids=["float", "two", "row", "whole", "none"]
)
def test_a_loss_is_a_scalar_tensor(value: Any) -> None:
    model = small("posenet")
    model.learner = Bringing(mine=value)
    with pytest.raises(PluginError, match=naming("Bringing", "mine")):
        place.extra_losses(model, *given(model))


def test_two_losses_of_one_name() -> None:
    model = small("posenet")
    model.one, model.other = Bringing(mine=torch.tensor(1.0)), Bringing(mine=torch.tensor(2.0))
    with pytest.raises(PluginError, match=naming("mine")):
        place.extra_losses(model, *given(model))


@pytest.mark.parametrize("name", ["position", "rotation"])
def test_the_losses_of_training_itself_keep_their_names(name: str) -> None:
    """Else its own would be missing in metrics.jsonl and curves."""
    model = small("posenet")
    model.learner = Bringing(**{name: torch.tensor(1.0)})
    with pytest.raises(PluginError, match=naming("Bringing", name)) as error:
        place.extra_losses(model, *given(model))
    assert error.value.hint


class Growing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("poses", torch.zeros(2, 3))

    def learn_place(self, known: Place) -> None:
        self.poses = torch.zeros(len(known.position), 3)


def test_shapes_come_from_the_configuration() -> None:
    """Else the model could be trained and saved, and never be loaded."""
    model = small("posenet")
    model.learner = Growing()
    with pytest.raises(PluginError, match=naming("learner.poses")):
        place.learn_place(model, known(5))
    place.learn_place(model, known(5))  # they are that long already


class Appearing(nn.Module):
    def learn_place(self, known: Place) -> None:
        self.register_buffer("late", torch.zeros(3))


def test_buffers_are_there_from_the_start() -> None:
    model = small("posenet")
    model.learner = Appearing()
    with pytest.raises(PluginError, match=naming("learner.late")):
        place.learn_place(model, known())


@pytest.mark.parametrize(("value", "said"), [(torch.tensor(float("nan")), "mine"), (torch.zeros(2), "mine")])
def test_the_dry_run_looks_at_the_losses(value: Tensor, said: str) -> None:
    model = small("posenet")
    promises.dry_run(model)
    model.learner = Bringing(mine=value)
    with pytest.raises(PluginError, match=naming(said)):
        promises.dry_run(model)
    model.learner = Bringing(mine=torch.tensor(1.0))
    promises.dry_run(model)


def test_the_dry_run_notices_losses_that_change_the_model() -> None:
    class Counting(Bringing):
        def extra_losses(self, *given: object) -> Mapping[str, Any]:
            self.images += 1
            return {}

    model = small("posenet")
    model.learner = Counting()
    with pytest.raises(PluginError, match=naming("learner.images")):
        promises.dry_run(model)
