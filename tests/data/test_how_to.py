"""How to get each data set: every card and every format says licence, page, archives, place and steps."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from naming import naming

from posezoo import how_to
from posezoo.base.errors import UsageError
from posezoo.catalogue import entries, plugins


@pytest.mark.parametrize("name", sorted(entries.data_cards()))
def test_every_card(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSEZOO_DATA", raising=False)
    found = how_to(name)
    card = entries.data_card(name)
    assert json.loads(json.dumps(found)) == found
    assert (found["licence"], found["page"], found["frames"]) == (card.licence, card.page, card.frames)
    assert found["layout"]
    text = "\n".join(found["steps"])
    if card.package:
        assert found["here"]
        assert text.startswith("Nothing: it comes with posezoo.")
    else:
        assert not found["here"]
        assert found["folder"].startswith("$POSEZOO_DATA")
        assert card.licence in text and card.page in text
        assert all(archive["file"] in text for archive in found["archives"])
        assert f"posezoo data verify {name}" in text


@pytest.mark.parametrize("reader", sorted(plugins.readers()))
def test_every_format_says_its_layout(reader: str, tmp_path: Path) -> None:
    found = how_to(f"{reader}:{tmp_path}/my photos")
    assert found["layout"]
    assert (found["here"], found["archives"], found["licence"]) == (False, [], "")
    (check,) = [step for step in found["steps"] if "data verify" in step]
    assert shlex.split(check.partition(": ")[2])[-1] == f"{reader}:{tmp_path}/my photos"


def test_only_the_archives_of_the_part() -> None:
    def archives(name: str) -> list[str]:
        return [archive["file"] for archive in how_to(name)["archives"]]

    assert archives("7scenes?scenes=fire,stairs") == ["fire.zip", "stairs.zip"]
    assert "'demo-places?scenes=yard'" in how_to("demo-places?scenes=yard")["steps"][-1]
    assert how_to("7scenes?scenes=fire")["frames"] == {"train": 2000, "test": 2000}
    day = "2014-06-26-08-53-56"
    assert archives(f"robotcar-loop?sequences={day}") == [f"{day}_stereo_centre_*.tar", f"{day}_gps.tar"]
    assert len(archives("robotcar-loop")) == 8


def test_the_folder_given_stands_in_the_steps(tmp_path: Path) -> None:
    (tmp_path / "7 scenes").mkdir()
    found = how_to("7scenes-chess", root=tmp_path / "7 scenes")
    assert found["here"]
    assert f"--root {shlex.quote(str(tmp_path / '7 scenes'))}" in found["steps"][-1]


def test_wrong_names() -> None:
    with pytest.raises(UsageError, match=naming("7scenes")):
        how_to("7scene")
    with pytest.raises(UsageError, match=naming("redkitchen")):
        how_to("7scenes?scenes=redkitchn")
    with pytest.raises(UsageError, match=naming("folder")):
        how_to("foldr:x")
