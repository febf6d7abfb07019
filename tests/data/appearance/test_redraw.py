"""`posezoo data make-ecl` with the real pipeline class on tiny random weights: layout, bits, provenance, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import faults
import numpy as np
import pytest
from naming import naming
from own_folder import MakeFolder, pose_row
from PIL import Image

from posezoo.catalogue import entries
from posezoo.cli import run
from posezoo.data.appearance import redraw
from posezoo.data.appearance.tree import Tree
from posezoo.data.open import open_dataset

SHOP = "cambridge-shop-facade"


def words(tree: Path, model: Path | str, *more: str, out: str = "new/ecl") -> list[str]:
    return ["data", "make-ecl", SHOP, "--root", str(tree), "--model", str(model), "--out", out, *more]


def pictures(folder: str) -> dict[str, str]:
    return {name: digest for name, digest in faults.digests(Path(folder)).items() if name.endswith(".png")}


def test_the_settings_are_those_of_ecl() -> None:
    card = entries.appearance("ecl")
    found = {name: (flavour.instruction, flavour.image_guidance) for name, flavour in card.flavours.items()}
    assert found == {
        "winter": ("make it looks like winter", 1.2),
        "evening": ("make it looks like evening", 1.2),
        "summer": ("make it looks like summer with very sunny sky", 1.5),
    }
    assert (card.steps, card.scale, card.repository) == (25, 0.5, "timbrooks/instruct-pix2pix")


def test_the_reader_of_ecl_reads_what_cambridge_gives(
    tree: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(tree, tiny, "--flavours", "winter,summer", "--format", "json")) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": "new/ecl", "pictures": {"winter": 3, "summer": 3}}
    shutil.copytree(tree / "cambridge", "new/cambridge")
    frames = open_dataset("ecl?scenes=ShopFacade&flavours=original,winter,summer", root="new").frames.of_split("test")
    original, winter, summer = (frames.select(frames.condition == c) for c in ("original", "winter", "summer"))
    assert winter.name(0) == "ecl/winter/ShopFacade/seq2/frame00001_winter.png"
    for part in (winter, summer):
        for column in ("position", "quaternion", "intrinsics", "sequence"):
            np.testing.assert_array_equal(getattr(part, column), getattr(original, column))
        for n in range(3):
            with Image.open(part.path(n)) as image:
                assert image.size == (96, 54)
    assert len(set(pictures("new/ecl").values())) == 6
    # any other reader, by the poses beside them and by the label file
    assert set(open_dataset("folder:new/ecl").frames.condition) == {"winter", "summer"}
    labels = "csv:new/ecl/abs_pose_ShopFacade_test_winter.csv?convention=world-to-camera&root=new/ecl/winter"
    np.testing.assert_allclose(open_dataset(labels).frames.quaternion, original.quaternion, atol=1e-12)
    assert Path("new/ecl/abs_pose_ShopFacade_test_winter.csv").read_text().startswith(",scene,split,seq,img_path,t1")


@pytest.mark.slow
def test_resumed_or_in_parts_the_bytes_are_the_same(tree: Path, tiny: Path) -> None:
    given = ["--flavours", "winter", "--batch", "2", "--format", "quiet"]
    assert run(words(tree, tiny, *given, out="whole")) == 0
    assert run(words(tree, tiny, *given, "--limit", "1", out="parts")) == 0
    assert len(pictures("parts")) == 1
    assert run(words(tree, tiny, *given, out="parts")) == 0
    assert pictures("parts") == pictures("whole")
    lost = next(Path("parts").rglob("*.png"))
    lost.unlink()
    assert run(words(tree, tiny, *given, out="parts")) == 0
    assert pictures("parts") == pictures("whole")
    faults.assert_fails(words(tree, tiny, *given, "--seed", "1", out="parts"), 2, naming("seed", "0", "1"))
    # another batch: the same noise, the same pictures but for the last bits
    assert run(words(tree, tiny, "--flavours", "winter", "--batch", "1", "--format", "quiet", out="single")) == 0
    for name in pictures("whole"):
        one, other = (np.asarray(Image.open(Path(folder, name))).astype(int) for folder in ("whole", "single"))
        assert np.abs(one - other).max() <= 1
    assert run(words(tree, tiny, *given, "--seed", "1", "--limit", "1", out="other")) == 0
    assert not set(pictures("other").values()) & set(pictures("whole").values())


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_bytes(tree: Path, tiny: Path) -> None:
    given = ["--flavours", "winter,evening", "--batch", "2", "--format", "quiet"]
    assert run(words(tree, tiny, *given, out="whole")) == 0
    ended = faults.own_process(words(tree, tiny, *given, out="parts"), "appearance.picture:kill9:2")
    assert ended.code == -9, ended
    assert len(pictures("parts")) == 1
    assert run(words(tree, tiny, *given, out="parts")) == 0
    assert pictures("parts") == pictures("whole")


def test_photographs_on_their_side_are_drawn_upright(make_folder: MakeFolder) -> None:
    """exif=true: none is squashed into the size of another, and cameras are the pictures'."""
    camera = {"fx": 50, "fy": 51, "cx": 32, "cy": 24}
    folder = make_folder([pose_row(f"{n}.jpg", n, **camera) for n in range(4)])
    for n in range(4):
        tag = Image.Exif()
        tag[0x112] = 6 if n % 2 else 1
        Image.new("RGB", (64, 48), (n, 0, 0)).save(folder / f"{n}.jpg", exif=tag)
    dataset, sizes = open_dataset(f"folder:{folder}?exif=true"), []

    def network(images: list[Image.Image], *_: object) -> np.ndarray:
        sizes.append([image.size for image in images])
        return np.stack([np.asarray(image) for image in images]) / 255

    with Tree(Path("drawn"), dataset, "all", {}, ()) as tree:
        assert redraw._groups(tree, 4, None) == [[0], [1], [2], [3]]
        card: Any = entries.appearance("ecl")
        drawn = [redraw._draw(network, card, tree, "winter", [n], 0)[n] for n in range(4)]  # type: ignore[arg-type]
    assert sizes == [[(32, 24)], [(24, 32)]] * 2
    assert [image.shape[:2] for image in drawn] == [(48, 64), (64, 48)] * 2
    assert dataset.frames.intrinsics[:2].tolist() == [[50, 51, 32, 24], [51, 50, 24, 32]]


def test_the_card_says_what_was_used(tree: Path, tiny: Path) -> None:
    assert run(words(tree, tiny, "--flavours", "evening", "--limit", "1", "--seed", "5", "--format", "quiet")) == 0
    card = json.loads(Path("new/ecl/card.json").read_text())
    assert (card["appearance"], card["pictures"]) == ("synthetic appearance", {"evening": 1})
    assert (card["source"]["name"], card["source"]["licence"]) == (SHOP, "LicenseRef-Cambridge-Landmarks")
    used = {name: faults.sha256(tiny / name) for name in card["model"]["sha256"]}
    assert card["model"]["sha256"] == used
    assert {"unet/diffusion_pytorch_model.fp16.safetensors", "tokenizer/merges.txt"} <= set(used)
    assert (card["settings"]["seed"], card["settings"]["steps"], card["settings"]["device"]) == (5, 25, "cpu")
    assert set(card["versions"][0]) == {"posezoo", "diffusers", "transformers", "torch"}
    text = Path("new/ecl/README.md").read_text()
    assert "**Synthetic appearance**" in text
    assert 'evening: "make it looks like evening", image guidance 1.2.' in text
    assert "LicenseRef-Cambridge-Landmarks" in text


def test_wrong_input(tree: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults.assert_fails(words(tree, tiny, "--flavours", "wintr"), 2, naming("wintr", "winter"))
    faults.assert_fails(words(tree, tiny, "--batch", "0"), 2, "batch")
    faults.assert_fails(words(tree, tiny, "--device", "cuba"), 2, naming("cuba", "cpu", "cuda"))
    monkeypatch.setattr(redraw, "find_spec", lambda name: None)
    faults.assert_fails(words(tree, tiny), 2, naming("diffusers", "transformers", "pip install 'posezoo[ecl]'"))
