"""Names resolved once: what the catalogue knows of a model or a data set; a wrong name is an error before torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from posezoo.base.errors import UsageError
from posezoo.catalogue import resolve


def test_a_model_with_its_modifiers() -> None:
    known = resolve.model("atloc+hyper=two")
    assert str(known.name) == "atloc+hyper=two"
    assert known.architecture.spec.name == "atloc"
    assert [offer.spec.name for offer in known.modifiers] == ["hyper"]
    assert [owner.name for owner in known.owners] == ["atloc", "hyper"]
    assert {owner.distribution for owner in known.owners} == {"posezoo"}


def test_a_modifier_that_keeps_the_pose_keeps_published_settings() -> None:
    """Where it stands does not matter; one that changes the pose makes another combination."""
    plain = resolve.model("atloc+hyper.3d")
    for name in ("atloc+hyper+spread.3d", "atloc+spread+hyper.3d"):
        found = resolve.model(name)
        assert (found.published, found.variant) == (plain.published, plain.variant)
    assert plain.published and plain.variant
    assert resolve.model("atloc+anchors+hyper").published != plain.published


def test_a_variant_brings_its_cards() -> None:
    assert resolve.model("atloc").variant == ()
    assert len(resolve.model("atloc.lstm").variant) == 1


@pytest.mark.parametrize(
    ("name", "reader", "has_card"),
    [("7scenes-chess", "7scenes", True), ("demo-loop", "folder", True), ("folder:x", "folder", False)],
)
def test_data_of_the_catalogue_and_own_data(name: str, reader: str, has_card: bool) -> None:
    known = resolve.data(name)
    assert known.text == name
    assert known.reader.spec.name == reader
    assert (known.card is not None) is has_card


@pytest.mark.parametrize(
    ("name", "named"),
    [("posnet", "posenet"), ("posenet+hypr", "hyper"), ("local-dir:x", "posezoo list"), ("atloc.lstn", "atloc.lstm")],
)
def test_a_model_that_nobody_has(name: str, named: str) -> None:
    with pytest.raises(UsageError) as error:
        resolve.model(name)
    assert named in str(error.value)


@pytest.mark.parametrize(("name", "named"), [("7scenes-ches", "7scenes-chess"), ("floder:x", "folder")])
def test_data_that_nobody_has(name: str, named: str) -> None:
    with pytest.raises(UsageError) as error:
        resolve.data(name)
    assert named in str(error.value)


def test_names_are_resolved_without_torch() -> None:
    code = (
        "import sys; from posezoo.catalogue import resolve; resolve.model('atloc+hyper'); resolve.data('7scenes');"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
