"""Cambridge Landmarks and ECL: the conventions of their files, on trees made of the demo and by hand."""

from __future__ import annotations

from pathlib import Path

import benchmark_trees
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naming import naming
from posezoo_benchmarks import cambridge
from scipy.spatial.transform import Rotation

import posezoo
from posezoo.base.errors import DataError, UsageError
from posezoo.base.spec import ReadRequest, ReadResult
from posezoo.data.open import open_dataset

HEADER = "Visual Landmark Dataset V1\nImageFile, Camera Position [X Y Z W P Q R]\n\n"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cambridge/ and ecl/ with a tenth of three demo places."""
    return benchmark_trees.cambridge(tmp_path_factory.mktemp("tree"), every=10, size=(96, 54))


def test_a_pose_by_hand(tmp_path: Path) -> None:
    (tmp_path / "S").mkdir()
    # the camera stands at (1, 2, 3) and looks along the world's x: world x is camera z, world y is camera -x
    world_to_camera = Rotation.from_matrix([[0, -1, 0], [0, 0, -1], [1, 0, 0]])
    x, y, z, w = world_to_camera.as_quat()
    for name, line in (("train", f"seq1/frame00001.png 1 2 3 {w} {x} {y} {z}"), ("test", "seq2/a b.png 0 0 0 2 0 0 0")):
        (tmp_path / f"S/dataset_{name}.txt").write_text(f"{HEADER}{line}\n")
    train, test = cambridge.read(ReadRequest(tmp_path, ("S",))).frames
    assert (train.image, train.split, train.sequence, train.position) == (
        "S/seq1/frame00001.png",
        "train",
        "seq1",
        (1, 2, 3),
    )
    forward = Rotation.from_quat(np.array(train.quaternion)[[1, 2, 3, 0]]).apply([0, 0, 1])
    np.testing.assert_allclose(forward, [1, 0, 0], atol=1e-12)
    assert (test.image, test.quaternion, test.source) == ("S/seq2/a b.png", (1, 0, 0, 0), ("S/dataset_test.txt", 4))


def test_archives_give_the_same_as_the_tree(tree: Path, tmp_path: Path) -> None:
    packed = benchmark_trees.archives("cambridge", tmp_path / "packed", every=10, size=(96, 54))
    assert sorted(path.suffix for path in packed.rglob("*") if path.is_file()) == [".zip"] * 4
    name = "ecl-winter?scenes=ShopFacade,OldHospital"
    with pytest.raises(DataError, match=naming("cambridge/OldHospital.zip", "posezoo data prepare")):
        open_dataset(name, root=packed)
    ready = posezoo.prepare_dataset(name, root=packed)
    assert [one.name for one in ready.unpacked] == [
        "cambridge/OldHospital.zip",
        "cambridge/ShopFacade.zip",
        "ecl/winter.zip",
    ]
    assert not (packed / "cambridge/StMarysChurch").exists()
    for data in (name, "cambridge?scenes=ShopFacade"):
        assert open_dataset(data, root=packed).digest == open_dataset(data, root=tree).digest
    assert posezoo.prepare_dataset("cambridge-shop-facade", root=packed).frames == {"train": 10, "test": 3}


def test_the_tree_gives_back_the_demo(tree: Path) -> None:
    dataset = open_dataset("cambridge?scenes=ShopFacade,OldHospital", root=tree)
    frames = dataset.frames
    assert frames.scenes == ("OldHospital", "ShopFacade")
    assert frames.ground_truth == "sfm"
    ride = benchmark_trees.rides("places")["market-square-train"]
    shop = frames.of_scene("ShopFacade").of_split("train")
    np.testing.assert_allclose(shop.position, ride.position[::10], atol=1e-8)
    found = Rotation.from_quat(shop.quaternion[:, [1, 2, 3, 0]])
    assert (found.inv() * ride.rotation[::10]).magnitude().max() < 1e-7
    fx = float(ride.rows[0]["fx"]) / 341 * 96
    np.testing.assert_allclose(shop.intrinsics, [[fx, fx, 48, 27]] * len(shop), rtol=1e-6)
    assert any("quaternions normalised (|q| off by up to 0.01)" in note for note in dataset.notes)


def test_single_scenes_and_their_folder_as_root(tree: Path) -> None:
    for root in (tree, tree / "cambridge", tree / "cambridge/ShopFacade"):
        assert open_dataset("cambridge-shop-facade", root=root).frames.scenes == ("ShopFacade",)
    with pytest.raises(DataError, match=naming("KingsCollege")):
        open_dataset("cambridge", root=tree)
    with pytest.raises(UsageError, match=naming("ShopFacade")):
        open_dataset("cambridge?scenes=ShopFacad", root=tree)


def test_sequences_on_purpose(tree: Path) -> None:
    frames = open_dataset("cambridge-shop-facade?sequences=1", root=tree, split="blocks").frames
    assert set(frames.sequence) == {"seq1"}
    assert set(frames.split) == {"train", "test"}


def test_ecl_by_condition(tree: Path) -> None:
    frames = open_dataset("ecl?scenes=ShopFacade&flavours=original,winter", root=tree).frames
    counts = {c: int(np.sum((frames.condition == c) & (frames.split == "test"))) for c in ("original", "winter")}
    assert counts == {"original": 3, "winter": 3}
    winter, original = (
        frames.select((frames.split == "test") & (frames.condition == c)) for c in ("winter", "original")
    )
    np.testing.assert_allclose(winter.position, original.position)
    np.testing.assert_allclose(winter.quaternion, original.quaternion, atol=1e-9)
    np.testing.assert_allclose(winter.intrinsics, original.intrinsics)
    assert winter.name(0) == "ecl/winter/ShopFacade/seq2/frame00001_winter.png"
    alone = open_dataset("ecl-winter?scenes=ShopFacade", root=tree / "ecl")
    every = open_dataset(f"ecl:{tree}?flavours=winter").frames
    assert set(every.scenes) == {path.name for path in (tree / "ecl/winter").iterdir()} > {"ShopFacade"}
    assert set(alone.frames.condition[alone.frames.split == "test"]) == {"winter"}
    assert any("synthetic appearance" in note for note in alone.notes)
    with pytest.raises(DataError, match=naming("_ShopFacade_test_summer.csv")):
        open_dataset("ecl-summer?scenes=ShopFacade", root=tree)
    with pytest.raises(DataError, match=naming("ecl", "cambridge/SCENE")):
        open_dataset("ecl", root=tree / "cambridge")
    with pytest.raises(UsageError, match=naming("spring")):
        open_dataset("ecl?flavours=spring", root=tree)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("seq1/a.png 1 2 3 1 0 0", "expected 8 columns, got 7"),
        ("seq1/a.png 1 2 3 1 0 0 nan", "dataset_train.txt:4: value 7 is not a finite number: 'nan'"),
        ("seq1/a.png 1 2 3 0 0 0 0", "dataset_train.txt:4: zero quaternion"),
    ],
)
def test_bad_lines(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "dataset_train.txt").write_text(f"{HEADER}{line}\n")
    (tmp_path / "dataset_test.txt").write_text(HEADER)
    result = cambridge.read(ReadRequest(tmp_path))
    assert any(words in str(finding) for finding in result.findings), result.findings


def test_failed_reconstructions_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "dataset_train.txt").write_text(f"{HEADER}s/a.png 10001 0 0 1 0 0 0\ns/b.png 1 0 0 1 0 0 0\n")
    (tmp_path / "dataset_test.txt").write_text(HEADER)
    result = cambridge.read(ReadRequest(tmp_path))
    assert [frame.image for frame in result.frames] == ["s/b.png"]
    assert any("1 frames over 10 km away" in note for note in result.notes)


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(max_size=200), st.binary(max_size=100).map(lambda b: b.decode("utf-8", "surrogateescape"))))
def test_the_parsers_raise_nothing(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    root = tmp_path_factory.mktemp("cl", numbered=True)
    (root / "ecl").mkdir()
    (root / "cambridge/S").mkdir(parents=True)
    data = text.encode("utf-8", "surrogateescape")
    for path in ("cambridge/S/dataset_train.txt", "cambridge/S/dataset_test.txt", "cambridge/S/reconstruction.nvm"):
        (root / path).write_bytes((HEADER if path.endswith("txt") else "NVM_V3\n\n2\n").encode() + data)
    (root / "ecl/x_S_test_winter.csv").write_bytes(b",scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4\n" + data)
    options = {"flavours": "original,winter"}
    assert isinstance(cambridge.read_ecl(ReadRequest(root, ("S",), options=options)), ReadResult)
