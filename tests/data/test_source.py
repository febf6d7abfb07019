"""From a name to a reader, a folder and a part of the data."""

from __future__ import annotations

from pathlib import Path

import pytest
from naming import naming
from own_folder import MakeFolder, findings_of, pose_row

from posezoo.base.errors import DataError, UsageError
from posezoo.data.export import export
from posezoo.data.open import open_dataset


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("nowhere", UsageError, r"\bnowhere\b"),
        ("7scenes-ches", UsageError, "7scenes-chess"),
        ("floder:x", UsageError, r"\bfolder\b"),
        ("folder:/no/such/place", DataError, "/no/such/place"),
        ("7scenes-chess", DataError, "chess.zip.*POSEZOO_DATA"),
        ("folder:.?colour=red", UsageError, "colour"),
        ("folder:.?normalise=yes", UsageError, "normalise=true"),
        ("csv:.", UsageError, "convention"),
    ],
)
def test_names(name: str, error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSEZOO_DATA", raising=False)
    with pytest.raises(error, match=words):
        open_dataset(name)


def test_absent_benchmark_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSEZOO_DATA", str(tmp_path))
    with pytest.raises(DataError, match=naming("7scenes", tmp_path / "7scenes")):
        open_dataset("7scenes")


def test_scenes_and_sequences_in_the_name(make_folder: MakeFolder) -> None:
    rows = [
        pose_row(f"{scene}{sequence}{n}.png", n, scene=scene, sequence=f"seq-{sequence:02d}")
        for scene in ("hall", "yard")
        for sequence in (1, 2, 11)
        for n in range(2)
    ]
    folder = make_folder(rows)

    def names(query: str) -> set[str]:
        frames = open_dataset(f"folder:{folder}?{query}").frames
        return {f"{frames.scenes[s]}/{q}" for s, q in zip(frames.scene, frames.sequence, strict=True)}

    assert names("scenes=yard") == {"yard/seq-01", "yard/seq-02", "yard/seq-11"}
    assert names("sequences=1") == {"hall/seq-01", "yard/seq-01"}
    assert names("scenes=hall&sequences=seq-11,2") == {"hall/seq-02", "hall/seq-11"}
    assert findings_of(f"folder:{folder}?sequences=7")[0].endswith("no frames of sequence '7'")
    assert findings_of(f"folder:{folder}?scenes=attic")[0].endswith("no frames of scene 'attic'")


def test_a_scene_that_is_not_there_is_told_beside_other_findings(make_folder: MakeFolder) -> None:
    folder = make_folder([pose_row(f"{n}.png", n if n else "nan", scene="hall") for n in range(4)])
    query = f"folder:{folder}?scenes=hall,attic"
    assert [line.rpartition(": ")[2] for line in findings_of(query)][1:] == ["no frames of scene 'attic'"]
    assert "attic" in str(open_dataset(query, skip_bad=True, split="test").skipped[-1])
    (folder / "poses.csv").write_text("image\n")
    assert len(findings_of(query)) == 1  # why there is nothing at all


@pytest.mark.parametrize("reader", ["folder", "nerf", "colmap"])
def test_a_wrong_scene_renames_no_data(make_folder: MakeFolder, reader: str) -> None:
    """Of one scene without a name of its own: it is the folder's."""
    folder = make_folder([pose_row("a.png", fx=9, fy=9, cx=20, cy=15)])
    source = open_dataset(f"folder:{folder}", split="test").frames
    export(source, {"folder": "tum"}.get(reader, reader), folder / "poses")
    name = f"{reader}:{folder if reader == 'folder' else folder / 'poses'}?root={folder}"
    scene = open_dataset(name, split="test").frames.scenes[0]
    assert open_dataset(f"{name}&scenes={scene}", split="test").frames.scenes == (scene,)
    assert "no frames of scene 'typo'" in findings_of(f"{name}&scenes=typo")[0]


def test_parts_of_a_card(tmp_path: Path) -> None:
    frames = open_dataset("demo-places?scenes=yard").frames
    assert frames.scenes == ("yard",)
    ride = open_dataset("demo-loop?sequences=train-1,test-sunny")
    assert set(ride.frames.sequence) == {"train-1", "test-sunny"}
    assert not any("in the complete data set" in note for note in ride.notes)
    with pytest.raises(UsageError, match=naming("yard")):
        open_dataset("demo-places?scenes=yad")
    with pytest.raises(UsageError, match=naming("folder", "colour")):
        open_dataset("demo-loop?colour=red")
