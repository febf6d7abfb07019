"""What the user adds to a checkpoint: names of scenes, pixels, positions; and a variance in a deviation's place."""

from __future__ import annotations

from typing import Any

import authors
import pytest
import torch
from naming import naming

from posezoo.base.errors import UsageError, WeightsError
from posezoo.base.spec import Conversion
from posezoo.catalogue import entries
from posezoo.zoo.convert import mapped
from posezoo.zoo.given import place_of, scenes_of

FOUR = ("KingsCollege", "OldHospital", "ShopFacade", "StMarysChurch")
SIX = ("GreatCourt", *FOUR, "Street")
ASKS = Conversion({}, asks=("mean", "std"))
PIXELS = {"mean": [0.4, 0.4, 0.4], "std": [0.22, 0.23, 0.24]}


def scenes(count: int, data: str = "cambridge", **given: Any) -> tuple[str, ...]:
    return scenes_of(data, Conversion({}, scenes=count), given, "theirs.pth")


@pytest.mark.parametrize("count", [5, 6])
def test_cambridge_of_five_and_six_scenes(count: int) -> None:
    torch.manual_seed(0)
    state = authors.ms_transformer(count, (1, 1), shared=True)
    with pytest.raises(WeightsError, match=naming(count, "cambridge", 4)) as error:
        mapped(state, "ms-transformer", "cambridge", {}, "theirs.pth")
    text = error.value.hint.partition("scenes=")[2].partition(", if")[0]  # what the hint says can be typed
    model, _ = mapped(state, "ms-transformer", "cambridge", {"scenes": text}, "theirs.pth")
    assert model.config.scenes == SIX[:count]
    assert model.config.label_frame == "world-to-camera"
    with torch.no_grad():
        out = model(torch.randn(2, 3, 64, 64))
    assert out.scene_logits is not None
    assert out.scene_logits.shape == (2, count)


def test_scenes_are_in_the_order_of_published_code_however_they_are_given() -> None:
    assert scenes(5, scenes=[*FOUR, "Street"]) == (*FOUR, "Street")
    assert scenes(5, scenes="Street, " + ",".join(reversed(FOUR))) == (*FOUR, "Street")
    assert scenes(2, scenes="[ShopFacade,GreatCourt]") == ("GreatCourt", "ShopFacade")
    assert scenes(1, scenes="Street") == ("Street",)
    assert scenes(4) == FOUR
    assert scenes(6, "7scenes", scenes="chess,fire,office,pumpkin,redkitchen,stairs")[2] == "office"  # without heads


def test_wrong_scenes() -> None:
    with pytest.raises(UsageError, match=naming("GreatCort", "GreatCourt")):
        scenes(5, scenes=[*FOUR, "GreatCort"])
    with pytest.raises(UsageError, match=naming("GreatCourt", "7scenes", "stairs")):
        scenes(8, "7scenes", scenes="GreatCourt")
    with pytest.raises(WeightsError, match=naming(5, 4, "scenes=GreatCourt")):
        scenes(5, scenes=FOUR)
    with pytest.raises(WeightsError, match=naming(6, 4, "6 of chess,fire,heads")):
        scenes(6, "7scenes", scenes=["chess", "fire", "heads", "office"])
    for given in (3, [1, 2], {"a": 1}):
        with pytest.raises(UsageError, match="scenes="):
            scenes(4, scenes=given)


def test_labels_of_single_scenes_of_cambridge() -> None:
    for name, scene in (("cambridge-great-court", "GreatCourt"), ("cambridge-street", "Street")):
        assert (entries.label_card(name).scenes, entries.label_card(name).label_frame) == ((scene,), "world-to-camera")
    torch.manual_seed(0)
    model, _ = mapped(authors.posenet(False), "hyperpose", "cambridge-great-court", {}, "theirs.pth")
    assert (model.config.scenes, model.config.label_frame) == (("GreatCourt",), "world-to-camera")


@pytest.mark.parametrize(
    ("std", "right"),
    [
        ([0.05, 0.05, 0.06], "[0.2236,0.2236,0.2449]"),  # variances
        ([0.0625, 0.0729, 0.09], "[0.25,0.27,0.3]"),
        ([0.47, 0.48, 0.5], "[0.2209,0.2304,0.25]"),  # the roots of deviations
    ],
)
def test_a_variance_where_a_deviation_belongs_and_the_other_way_round(std: list[float], right: str) -> None:
    with pytest.raises(UsageError) as error:
        place_of("7scenes-heads", ASKS, PIXELS | {"std": std}, "theirs.pth")
    assert f"std={right}" in error.value.hint


@pytest.mark.parametrize("std", [(0.22, 0.23, 0.24), [0.15, 0.15, 0.15], [0.3, 0.31, 0.35], [0.1, 0.2, 0.25]])
def test_deviations_are_taken_as_they_are(std: list[float]) -> None:
    assert place_of("7scenes-heads", ASKS, PIXELS | {"std": std}, "theirs.pth")["std"] == list(std)


def test_pixels_of_256_levels_are_no_deviations() -> None:
    with pytest.raises(UsageError, match=naming("std=[57,58,60]", 255)):
        place_of("7scenes-heads", ASKS, PIXELS | {"std": [57, 58, 60]}, "theirs.pth")


def test_any_format_is_checked_not_only_those_that_ask() -> None:
    torch.manual_seed(0)
    with pytest.raises(UsageError, match=naming("std=[0.2236,0.2236,0.2236]")):
        mapped(authors.posenet(False), "hyperpose", "7scenes-fire", {"std": [0.05] * 3}, "theirs.pth")


def test_positions() -> None:
    given = {**PIXELS, "position_mean": (1, 2, 3), "position_std": [120.0, 210.0, 3.0]}
    place = place_of("robotcar-loop", ASKS, given, "theirs.pth")
    assert place["position_mean"] == [1, 2, -3]  # their altitude is our down
    assert place["position_std"] == [120, 210, -3]
    with pytest.raises(UsageError, match=naming("position_std=[120,210,3]")):
        place_of("robotcar-loop", ASKS, given | {"position_std": [14400.0, 44100.0, 9.0]}, "theirs.pth")


@pytest.mark.parametrize("key", ["mean", "std", "position_mean", "position_std"])
@pytest.mark.parametrize("value", [0.4, "stats.txt", [0.4, 0.4], [0.4, 0.4, "x"], [True, True, True], {"a": 1}])
def test_three_numbers_each(key: str, value: Any) -> None:
    given = {**PIXELS, "position_mean": [1, 2, 3], "position_std": [1, 2, 3], key: value}
    with pytest.raises(UsageError, match=key):
        place_of("robotcar-loop", ASKS, given, "theirs.pth")


def test_what_is_not_given_is_asked_for() -> None:
    with pytest.raises(UsageError, match=naming("theirs.pth", "std", "position_mean", "position_std", "robotcar-loop")):
        place_of("robotcar-loop", ASKS, {"mean": [0.4, 0.4, 0.4]}, "theirs.pth")
    assert place_of("cambridge", Conversion({}), {}, "theirs.pth") == {}
