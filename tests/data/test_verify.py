"""Verifying a data set against its card, and its images against a manifest; on the real red kitchen where it is."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest
from naming import naming
from own_folder import MakeFolder, picture

from posezoo import verify_dataset
from posezoo.base.errors import DataError, ResourceError


def test_good_data_have_no_error(make_folder: MakeFolder) -> None:
    found = verify_dataset(f"folder:{make_folder()}")
    assert (found.counts, found.missing, found.findings, found.error) == ({"train": 8, "test": 2}, (), (), None)


def test_the_manifest_is_written_once_and_finds_a_flipped_bit(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder, sums = make_folder(), tmp_path / "sums.txt"
    name = f"folder:{folder}"
    assert f"{sums}: sha256 of 10 images written" in verify_dataset(name, manifest=sums).notes
    digest = hashlib.sha256((folder / "a/03.png").read_bytes()).hexdigest()
    assert f"{digest}  a/03.png" in sums.read_text().splitlines()  # as sha256sum -c reads it
    assert f"10 of 10 images as in {sums}" in verify_dataset(name, manifest=sums).notes
    content = bytearray((folder / "a/03.png").read_bytes())
    (folder / "a/03.png").write_bytes(bytes(content) + b"\0")  # still decodes: only the manifest can tell
    found = verify_dataset(name, manifest=sums)
    assert [str(finding) for finding in found.findings] == [f"a/03.png: the image differs from its sha256 in {sums}:4"]
    assert isinstance(found.error, DataError)


def test_a_manifest_in_other_words_and_of_other_images(make_folder: MakeFolder, tmp_path: Path) -> None:
    """`sha256sum ./*`, upper case; an image that it lacks and one that is gone are told."""
    folder, sums = make_folder(), tmp_path / "sums.txt"
    name = f"folder:{folder}"
    verify_dataset(name, manifest=sums)
    lines = [line.split("  ") for line in sums.read_text().splitlines()]
    sums.write_text("".join(f"{digest.upper()}  ./{image}\n" for digest, image in lines))
    found = verify_dataset(name, manifest=sums)
    assert found.findings == () and f"10 of 10 images as in {sums}" in found.notes
    sums.write_text("".join(f"{digest}  {image}\n" for digest, image in lines[1:]) + f"{'0' * 64}  gone.png\n")
    assert {finding.path for finding in verify_dataset(name, manifest=sums).findings} == {"gone.png", lines[0][1]}


def test_flipped_bits_that_decode_are_found(make_folder: MakeFolder, tmp_path: Path) -> None:
    from own_folder import pose_row
    from PIL import Image

    folder = make_folder([pose_row("a.jpg", split="train"), pose_row("b.jpg", 1, split="test")], pictures=False)
    for name in ("a.jpg", "b.jpg"):
        Image.effect_noise((64, 48), 60).convert("RGB").save(folder / name)
    sums = tmp_path / "sums.txt"
    verify_dataset(f"folder:{folder}", manifest=sums)
    good, draw, silent = (folder / "a.jpg").read_bytes(), random.Random(0), 0
    for _ in range(20):
        content = bytearray(good)
        for _ in range(3):
            place = draw.randrange(len(content))
            content[place] ^= 1 << draw.randrange(8)
        (folder / "a.jpg").write_bytes(content)
        silent += verify_dataset(f"folder:{folder}").error is None
        assert verify_dataset(f"folder:{folder}", manifest=sums).error is not None
    assert silent, "some damage decodes: without a manifest nobody would know"


def transforms(folder: Path, present: int, listed: int) -> str:
    """A transforms.json that lists more images than are there; its data name."""
    row = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    frames = [{"file_path": f"{n}.png", "transform_matrix": row} for n in range(listed)]
    folder.mkdir()
    (folder / "transforms.json").write_text(json.dumps({"frames": frames}))
    for n in range(present):
        picture(folder / f"{n}.png")
    return f"nerf:{folder}"


def test_a_share_left_out_is_said_first(tmp_path: Path) -> None:
    found = verify_dataset(transforms(tmp_path / "most", 8, 10))
    assert (found.error, found.left_out, sum(found.counts.values())) == (None, 2, 8)
    assert found.share.startswith("2 of 10") and "2 of 10" in found.verdict and "all good" not in found.verdict
    assert found.as_dict()["left_out"] == 2


def test_most_images_missing_or_all_is_an_error(tmp_path: Path) -> None:
    few = verify_dataset(transforms(tmp_path / "few", 3, 10))
    assert isinstance(few.error, DataError) and "7 of 10" in str(few.error)
    none = verify_dataset(transforms(tmp_path / "none", 0, 10))
    assert isinstance(none.error, DataError) and "no frames" in str(none.error)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/poses.csv").write_text("image,x,y,z,qw,qx,qy,qz\n")
    assert verify_dataset(f"folder:{tmp_path / 'empty'}").error is not None


def test_a_file_that_is_no_manifest(make_folder: MakeFolder, tmp_path: Path) -> None:
    (tmp_path / "sums.txt").write_text("hello\n")
    found = verify_dataset(f"folder:{make_folder()}", manifest=tmp_path / "sums.txt")
    assert "sums.txt:1: not a line of sha256sum: 'hello'" in str(found.error)
    with pytest.raises(ResourceError, match=naming(tmp_path / "no/such")):
        verify_dataset(f"folder:{tmp_path / 'photos'}", manifest=tmp_path / "no/such/folder.txt")


def test_the_red_kitchen_is_not_complete(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posezoo.data.verify.unreadable_images", lambda frames, progress: [])  # test_verify decodes
    found = verify_dataset("7scenes", root=real_data / "7scenes")
    scenes = ["chess", "fire", "heads", "office", "pumpkin", "stairs"]
    absent = [f"redkitchen/seq-{n:02d}" for n in (2, 5, 7, 8, 11, 13, 3, 4, 6, 12, 14)]
    assert [one.place for one in found.missing] == [*scenes[:5], *absent, "stairs"]
    assert {one.frames for one in found.missing} == {0}
    assert sum(one.expected for one in found.missing) == 42_000
    assert len(found.findings) == 17, "nothing is said twice"
    line = "7scenes is not complete: 6 scenes missing, 11 sequences missing (first: chess): posezoo data how-to 7scenes"
    assert str(found.error).startswith(line)
    assert found.as_dict()["missing"][5] == {
        "place": "redkitchen/seq-02", "kind": "sequence", "split": "train", "frames": 0, "expected": 1000,
    }  # fmt: skip
    one = verify_dataset("7scenes-redkitchen", root=real_data / "7scenes")
    assert [m.place for m in one.missing] == absent
    part = verify_dataset("7scenes?scenes=redkitchen&sequences=1", root=real_data / "7scenes")
    assert (part.error, part.counts, part.notes) == (
        None,
        {"train": 1000},
        ("a part by choice: 1000 of 43000 frames",),
    )


def test_the_stairs_sample_is_short_of_frames(real_data: Path) -> None:
    found = verify_dataset("7scenes-stairs", root=real_data / "7scenes-sample")
    assert str(found.findings[0]) == "stairs/seq-02: 3 train frames found, 500 in the complete data set"
    assert [one.place for one in found.missing if not one.frames] == ["stairs/seq-05", "stairs/seq-06"]
    assert "2 sequences missing" in str(found.error)
