"""The readers of 7Scenes and of own data: every way a pose can be written wrong, and the conventions.

Long: one test for each trap of the format.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naming import naming
from PIL import Image
from posezoo_benchmarks import own_data, posezoo_readers, seven_scenes
from posezoo_benchmarks.matrices import quaternions
from scipy.spatial.transform import Rotation

from posezoo.base.errors import DataError, UsageError
from posezoo.base.rotation import rotation_matrix
from posezoo.base.spec import DepthMap, ReadRequest, ReadResult

EYE = "1 0 0 1\n0 1 0 2\n0 0 1 3\n0 0 0 1\n"
GOOD = {
    "plain": EYE,
    "no newline at the end": EYE.rstrip(),
    "tabs and CRLF": EYE.replace(" ", "\t ").replace("\n", "\t\r\n"),
    "byte order mark": "\ufeff" + EYE,
    "blank lines": "\n" + EYE.replace("\n", "\n\n"),
    "exponent with three digits": EYE.replace("1 0 0 1", " 1.0000000e+000 0.0e-001 0 10.0e-001"),
    "signs and bare points": EYE.replace("1 0 0 1", "+1. -0 .0 +.1e1"),
    "last row nearly": EYE.replace("0 0 0 1", "0 1e-9 0 1.0000001"),
}
BAD = {
    "": "expected 4 rows, got 0",
    "\n \n": "expected 4 rows, got 0",
    EYE + EYE: "expected 4 rows, got 8",
    EYE[:24]: "expected 4 rows, got 3",
    EYE.replace("0 0 0 1", "0 0 0"): ":4: expected 4 columns, got 3: '0 0 0'",
    EYE.replace("1 0 0 1", "1 0 0 1 5"): ":1: expected 4 columns, got 5",
    EYE.replace(" ", ","): "expected 4 columns, got 1",
    EYE.replace(" ", ";"): "expected 4 columns, got 1",
    EYE.replace("1 0 0 1", "1,0 0,0 0,0 1,0"): "value 1 is not a finite number: '1,0'",
    EYE.replace("2", "nan"): ":2: tracking lost",
    EYE.replace("2", "-NaN"): ":2: tracking lost",
    EYE.replace("3", "inf"): ":3: tracking lost",
    EYE.replace("3", "-Infinity"): ":3: tracking lost",
    EYE.replace("3", "-1.#IND"): "value 4 is not a finite number: '-1.#IND'",
    EYE.replace("3", "1.#QNAN"): "not a finite number",
    EYE.replace("3", "1e400"): "value 4 is not a finite number: '1e400'",
    EYE.replace("3", "1_000"): "value 4 is not a finite number: '1_000'",
    EYE.replace("3", "٣"): r"value 4 is not a finite number: '\u0663'",
    EYE.replace("3", "３"): "not a finite number",
    EYE.replace("3", "0x10"): "not a finite number",
    EYE.replace("3", "1e"): "not a finite number",
    EYE.replace("3", "--1"): "not a finite number",
    EYE.replace("3", "."): "not a finite number",
    EYE.replace("3", "three"): "not a finite number",
    EYE.replace("3", "\0"): "not a finite number",
    EYE.replace("3", "\x1b[31m"): "not a finite number",
    EYE.replace("3", "x" * 1000): "not a finite number",
    "# a comment\n" + EYE: "expected 4 columns, got 3",
    "<html><body>404 not found</body></html>": "expected 4",
    "{}": "expected 4 columns, got 1",
    "\udcff\udcfe1\0": "expected 4 columns, got 1",
    EYE.replace("0 0 0 1", "0 0 0 2"): "last row is not 0 0 0 1",
    EYE.replace("0 0 0 1", "0 0 1 1"): "last row is not 0 0 0 1",
    EYE.replace("1 0 0 1", "-1 0 0 1"): "determinant -1 (mirror): wrong axis convention?",
    "0 1 0 0\n1 0 0 0\n0 0 1 0\n0 0 0 1\n": "determinant -1 (mirror)",
    EYE.replace("1 0 0 1", "2 0 0 1"): "rotation is not orthogonal",
    EYE.replace("1 0 0 1", "0.9 0 0 1"): "rotation is not orthogonal",
    EYE.replace("1 0 0 1", "1 0.1 0 1"): "rotation is not orthogonal",
    EYE.replace("1 0 0 1", "0 0 0 0"): "rotation is not orthogonal",
    EYE.replace("1 0 0 1", "1e200 0 0 1"): "rotation is not orthogonal",
}


def read_pose(folder: Path, text: str) -> ReadResult:
    """What the reader makes of a pose file with this text."""
    (folder / "seq-01").mkdir(exist_ok=True)
    (folder / "seq-01/frame-000012.pose.txt").write_bytes(text.encode("utf-8", "surrogateescape"))
    return seven_scenes.read(ReadRequest(folder, images=frozenset({"seq-01/frame-000012.color.png"})))


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_good_poses(text: str, tmp_path: Path) -> None:
    found = read_pose(tmp_path, text)
    assert found.findings == []
    (frame,) = found.frames
    np.testing.assert_allclose(frame.position, [1, 2, 3])
    np.testing.assert_allclose(frame.quaternion, [1, 0, 0, 0])


@pytest.mark.parametrize(("text", "words"), BAD.items(), ids=range(len(BAD)))
def test_bad_poses(text: str, words: str, tmp_path: Path) -> None:
    found = read_pose(tmp_path, text)
    assert not found.frames
    (finding,) = found.findings
    assert words in str(finding)
    assert str(finding).startswith("seq-01/frame-000012.pose.txt")
    assert len(str(finding)) < 240
    assert str(finding).isprintable()


TOKENS = st.sampled_from(
    ["1", "0", "-1", "nan", "inf", "1e400", "1_0", "٣", "#", '"a b"', "1e-001", "\t", "\r\n", "\n", " "]
)
LINES = st.one_of(
    st.text(max_size=200),
    st.binary(max_size=200).map(lambda data: data.decode("utf-8", "surrogateescape")),
    st.lists(TOKENS, max_size=60).map(" ".join),
)


@settings(max_examples=300, deadline=None)
@given(LINES)
def test_the_pose_parser_raises_nothing(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    found = read_pose(tmp_path_factory.mktemp("pose"), text)
    assert (len(found.frames), len(found.findings)) in ((1, 0), (0, 1))


@settings(max_examples=100, deadline=None)
@given(LINES, st.booleans())
def test_the_csv_readers_raise_nothing(tmp_path_factory: pytest.TempPathFactory, text: str, header: bool) -> None:
    folder = tmp_path_factory.mktemp("csv", numbered=True)
    own, labels = ",".join(("image", *own_data.POSE)), ",".join(("scene", "split", "img_path", *own_data.LABEL_POSE))
    (folder / "poses.csv").write_bytes(((own + "\n") * header + text).encode("utf-8", "surrogateescape"))
    (folder / "labels.csv").write_bytes(((labels + "\n") * header + text).encode("utf-8", "surrogateescape"))
    assert isinstance(own_data.read_folder(ReadRequest(folder)), ReadResult)
    options = {"convention": "camera-to-world"}
    assert isinstance(own_data.read_labels(ReadRequest(folder / "labels.csv", options=options)), ReadResult)


# 7Scenes -----------------------------------------------------------------------------------------------------------


def make_scene(
    root: Path, sequences: dict[str, tuple[int, ...]], size: tuple[int, int] = (64, 48), suffix: str = "png"
) -> Path:
    """A scene with the sequences of each split file, three frames each."""
    root.mkdir(parents=True, exist_ok=True)
    for name in ("TrainSplit.txt", "TestSplit.txt"):
        (root / name).write_bytes(b"".join(b"sequence%d\r\n" % n for n in sequences[name[:-9].lower()]))
    for number in {n for numbers in sequences.values() for n in numbers}:
        folder = root / f"seq-{number:02d}"
        folder.mkdir()
        for n in range(3):
            Image.new("RGB", size).save(folder / f"frame-{n:06d}.color.{suffix}")
            matrix = np.eye(4)
            matrix[:3, :3] = Rotation.from_euler("y", 10 * n, degrees=True).as_matrix()
            matrix[0, 3] = number
            np.savetxt(folder / f"frame-{n:06d}.pose.txt", matrix, delimiter="\t")
    return root


def read_scenes(root: Path, **request: object) -> ReadResult:
    return seven_scenes.read(ReadRequest(root, **request))  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_official_layout(tmp_path: Path, suffix: str) -> None:
    make_scene(tmp_path / "chess", {"train": (1, 12), "test": (3,)}, suffix=suffix)
    result = read_scenes(tmp_path, scenes=("chess",))
    assert result.findings == []
    frames = result.frames
    assert [frame.image for frame in frames[:2]] == [f"chess/seq-01/frame-00000{n}.color.{suffix}" for n in (0, 1)]
    assert [(frame.split, frame.sequence) for frame in frames[::3]] == [
        ("train", "seq-01"),
        ("test", "seq-03"),
        ("train", "seq-12"),
    ]
    assert {frame.scene for frame in frames} == {"chess"}
    assert [frame.timestamp for frame in frames[:3]] == [0, 33333, 66667]
    assert frames[0].intrinsics == (52.5, 52.5, 32, 24)  # f = 525 at 640x480: the colour camera, not the depth sensor
    half = np.deg2rad(5)
    np.testing.assert_allclose(frames[1].quaternion, (np.cos(half), 0, np.sin(half), 0), atol=1e-12)
    assert frames[1].position == (1, 0, 0)


def test_each_focal_length_is_scaled_by_its_own_side(tmp_path: Path) -> None:
    """f = 525 and c = (320, 240) at 640x480; stored half as wide and three quarters as high."""
    make_scene(tmp_path / "chess", {"train": (1,), "test": (3,)}, size=(320, 360))
    assert read_scenes(tmp_path).frames[0].intrinsics == (262.5, 393.75, 160, 180)


def test_png_is_read_before_a_jpeg_copy_and_each_has_its_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order of the folder's names; a frame of which only the smaller copy is there has the copy's."""
    folder = make_scene(tmp_path / "chess", {"train": (1,), "test": ()}, size=(64, 48)) / "seq-01"
    for n in range(3):
        Image.new("RGB", (32, 24)).save(folder / f"frame-{n:06d}.color.jpg")
    (folder / "frame-000002.color.png").unlink()
    names = sorted(path.name for path in folder.iterdir())
    for order in (names, names[::-1]):
        monkeypatch.setattr("os.listdir", lambda path, order=order: order)
        result = read_scenes(tmp_path, scenes=("chess",))
        assert [frame.image[-5:] for frame in result.frames] == ["r.png", "r.png", "r.jpg"]
        assert [frame.intrinsics for frame in result.frames] == [(52.5, 52.5, 32, 24)] * 2 + [(26.25, 26.25, 16, 12)]
        assert "chess/seq-01: 2 copies of images in another format are passed over" in result.notes


def test_depth_maps_are_those_of_the_sensor_where_they_are(tmp_path: Path) -> None:
    """Millimetres, the sensor's own focal length, 585 where colours have 525, and where it stands: left of them."""
    make_scene(tmp_path / "chess", {"train": (1,), "test": (3,)})
    frames = read_scenes(tmp_path).frames
    assert all(frame.depth is None for frame in frames)
    name = frames[1].image.replace(".color.png", ".depth.png")
    Image.new("I;16", (640, 480)).save(tmp_path / name)
    found = {frame.image: frame.depth for frame in read_scenes(tmp_path).frames}
    depth = found.pop(frames[1].image)
    assert depth is not None
    assert (depth.path, depth.per_metre, depth.intrinsics) == (name, 1000.0, (585.0, 585.0, 320.0, 240.0))
    np.testing.assert_allclose(depth.pose[:3], (-0.0256, 0.0001, 0.002), atol=1e-4)
    turn = Rotation.from_quat(depth.pose[3:], scalar_first=True)
    assert abs(np.linalg.norm(depth.pose[3:]) - 1) < 1e-6
    assert 0.6 < np.degrees(turn.magnitude()) < 0.7
    assert set(found.values()) == {None}


def test_a_part_of_the_sequences_needs_nothing_else(tmp_path: Path) -> None:
    root = make_scene(tmp_path / "chess", {"train": (1, 2), "test": (3, 11)})
    for n in (2, 3):
        shutil.rmtree(root / f"seq-{n:02d}")
    result = read_scenes(tmp_path, scenes=("chess",), sequences=("1", "seq-11"))
    assert result.findings == []
    assert {(frame.sequence, frame.split) for frame in result.frames} == {("seq-01", "train"), ("seq-11", "test")}


def test_the_ground_truth_is_told_by_the_user(tmp_path: Path) -> None:
    make_scene(tmp_path / "chess", {"train": (1,), "test": (3,)})
    assert read_scenes(tmp_path).ground_truth == "original"
    assert read_scenes(tmp_path, options={"ground-truth": "sfm"}).ground_truth == "sfm"
    with pytest.raises(UsageError, match=naming("ground-truth", "pgt")):
        read_scenes(tmp_path, options={"ground-truth": "pgt"})


def test_all_scenes_or_the_scene_itself(tmp_path: Path) -> None:
    for scene in ("fire", "chess"):
        make_scene(tmp_path / scene, {"train": (1,), "test": (2,)})
    assert [frame.scene for frame in read_scenes(tmp_path).frames[::6]] == ["chess", "fire"]
    alone = read_scenes(tmp_path / "fire").frames
    assert (alone[0].scene, alone[0].image) == ("fire", "seq-01/frame-000000.color.png")


def test_rotations_survive_to_the_last_digits(tmp_path: Path) -> None:
    root = make_scene(tmp_path / "s", {"train": (1,), "test": (2,)})
    near_half_turns = [[np.pi - 1e-9, 0, 0], [0, np.pi, 0], [2.2, -2.2, 0.3]]
    rotations = Rotation.from_rotvec(near_half_turns)
    for n, matrix_33 in enumerate(rotations.as_matrix()):
        matrix = np.eye(4)
        matrix[:3, :3] = matrix_33
        np.savetxt(root / f"seq-01/frame-{n:06d}.pose.txt", matrix)
    quaternion = np.array([frame.quaternion for frame in read_scenes(root).frames[:3]])
    np.testing.assert_allclose(rotation_matrix(quaternion), rotations.as_matrix(), atol=1e-12)


def test_listed_images_need_nothing_else(tmp_path: Path) -> None:
    root = make_scene(tmp_path / "chess", {"train": (1, 2), "test": (3,)})
    (root / "TrainSplit.txt").unlink()
    (root / "seq-02/frame-000000.pose.txt").unlink()
    wanted = frozenset({"chess/seq-01/frame-000001.color.png", "chess/seq-03/frame-000000.color.png"})
    result = read_scenes(tmp_path, images=wanted, scenes=("chess",))
    assert result.findings == []
    assert {frame.image for frame in result.frames} == wanted
    other = read_scenes(tmp_path, images=wanted, scenes=("fire",))
    assert "not an image of fire" in str(other.findings[0])
    strange = read_scenes(tmp_path, images=frozenset({"chess/seq-01/frame-000001.pose.txt"}))
    assert "not a 7Scenes image" in str(strange.findings[0])


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        (
            "TrainSplit.txt",
            "sequence1\n# two\n\nsequence9\n",
            "chess/TrainSplit.txt:4: sequence9: no folder chess/seq-09",
        ),
        ("TrainSplit.txt", "sequence1\nsequence2\n", "chess/TestSplit.txt:1: sequence2 is already listed in chess/T"),
        ("TrainSplit.txt", "sequence1\nsequence../..\n", "chess/TrainSplit.txt:2: not a sequence: 'sequence../..'"),
        ("TrainSplit.txt", None, "chess/TrainSplit.txt: no such file"),
        ("seq-01/frame-000001.pose.txt", None, "chess/seq-01/frame-000001.color.png: no pose beside this image"),
        ("seq-01/frame-000001.color.png", None, "chess/seq-01/frame-000001.pose.txt: no image beside this pose"),
        ("seq-01/frame-000001.pose.txt", EYE.replace("2", "nan"), "frame-000001.pose.txt:2: tracking lost"),
        ("seq-01/frame-000001.pose.txt", "1 " * 40_000, "chess/seq-01/frame-000001.pose.txt: too large for a pose"),
    ],
)
def test_damaged_scenes(tmp_path: Path, path: str, content: str | None, words: str) -> None:
    root = make_scene(tmp_path / "chess", {"train": (1,), "test": (2,)})
    (root / path).unlink()
    if content is not None:
        (root / path).write_text(content)
    result = read_scenes(tmp_path, scenes=("chess",))
    assert any(words in str(finding) for finding in result.findings), result.findings
    assert len(result.frames) >= 3


def test_absent_scenes(tmp_path: Path) -> None:
    assert [str(finding) for finding in read_scenes(tmp_path, scenes=("fire", "chess")).findings] == [
        "fire: no such scene folder",
        "chess: no such scene folder",
    ]
    assert "no scene here" in str(read_scenes(tmp_path).findings[0])


def test_broken_first_image_leaves_the_camera_open(tmp_path: Path) -> None:
    root = make_scene(tmp_path / "s", {"train": (1,), "test": (2,)})
    (root / "seq-01/frame-000000.color.png").write_bytes(b"no image")
    assert read_scenes(root).frames[0].intrinsics is None


# own data ----------------------------------------------------------------------------------------------------------


def labels(path: Path, *rows: str) -> ReadRequest:
    path.write_text("\n".join(("scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4", *rows)) + "\n")
    return ReadRequest(path)


@pytest.mark.parametrize(("convention", "sign"), [("camera-to-world", 1), ("world-to-camera", -1)])
def test_label_conventions(tmp_path: Path, convention: str, sign: int) -> None:
    request = labels(tmp_path / "all.csv", "chess,train,seq-01,chess/seq-01/a.png,1,2,3,0.5,0.5,-0.5,0.5")
    (frame,) = own_data.read_labels(ReadRequest(request.root, options={"convention": convention})).frames
    assert frame.quaternion == (0.5, sign * 0.5, sign * -0.5, sign * 0.5)
    assert frame.position == (1, 2, 3)  # the camera centre in either convention
    assert (frame.scene, frame.split, frame.sequence) == ("chess", "train", "seq-01")
    assert frame.source == ("all.csv", 2)


@pytest.mark.parametrize("options", [{}, {"convention": "c2w"}, {"convention": "camera-to-world", "scale": "2"}])
def test_label_convention_must_be_told(tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="convention"):
        own_data.read_labels(ReadRequest(labels(tmp_path / "all.csv").root, options=options))


def test_label_file_with_an_index_column(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text(",scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4\n0,A,test,s,a.png,0,0,0,1,0,0,0\n")
    result = own_data.read_labels(ReadRequest(path, options={"convention": "world-to-camera"}))
    assert [frame.image for frame in result.frames] == ["a.png"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("chess,train,seq-01,a.png,1,2,3,1,0,0", "all.csv:2: expected 11 columns, got 10"),
        ("chess,train,seq-01,a.png,1,2,3,1,0,0,nan", "all.csv:2: value 7 is not a finite number: 'nan'"),
        ('chess,train,seq-01,"a.png,1,2,3,1,0,0,0', "all.csv:2: unexpected end of data"),
    ],
)
def test_bad_labels(tmp_path: Path, row: str, words: str) -> None:
    request = labels(tmp_path / "all.csv", row)
    result = own_data.read_labels(ReadRequest(request.root, options={"convention": "camera-to-world"}))
    assert words in str(result.findings[0])


def test_folder_with_every_column(tmp_path: Path) -> None:
    (tmp_path / "poses.csv").write_text(
        "image,x,y,z,qw,qx,qy,qz,scene,split,sequence,timestamp,condition,fx,fy,cx,cy,depth,depth_scale\n"
        "a/1.png,1,2,3,1,0,0,0,hall,test,s2,1234567,night,500,501,320,240,./d/1.png,5000\n"
        "./a/2.png,1,2,3,1,0,0,0,,,,,,,,,,,\n"
        "a/3.png,1,2,3,1,0,0,0,,,,,,,,,,d/3.png,\n"
    )
    first, second, third = own_data.read_folder(ReadRequest(tmp_path)).frames
    assert (first.depth, second.depth, third.depth) == (DepthMap("d/1.png", 5000.0), None, DepthMap("d/3.png", 1000.0))
    assert (first.scene, first.split, first.sequence, first.condition) == ("hall", "test", "s2", "night")
    assert (first.timestamp, first.intrinsics) == (1234567, (500, 501, 320, 240))
    assert (second.image, second.scene, second.timestamp, second.intrinsics) == ("a/2.png", tmp_path.name, -1, None)


def test_folder_scenes_and_images(tmp_path: Path) -> None:
    lines = [f"{scene}/{n}.png,0,0,0,1,0,0,0,{scene}" for scene in ("yard", "hall") for n in range(2)]
    (tmp_path / "poses.csv").write_text("image,x,y,z,qw,qx,qy,qz,scene\n" + "\n".join(lines))
    yard = own_data.read_folder(ReadRequest(tmp_path, scenes=("yard",))).frames
    assert [frame.image for frame in yard] == ["yard/0.png", "yard/1.png"]
    one = own_data.read_folder(ReadRequest(tmp_path, images=frozenset({"hall/1.png"}))).frames
    assert [frame.image for frame in one] == ["hall/1.png"]


def test_missing_poses_file(tmp_path: Path) -> None:
    assert str(own_data.read_folder(ReadRequest(tmp_path)).findings[0]) == "poses.csv: no such file"


def test_every_format_can_be_loaded() -> None:
    from posezoo.base.spec import load_object

    names = {"7scenes", "cambridge", "ecl", "robotcar", "folder", "csv", "colmap", "nerf", "arkit"}
    assert {spec.name for spec in posezoo_readers()} == names
    assert all(callable(load_object(spec.read)) for spec in posezoo_readers())
    assert issubclass(DataError, Exception)


@given(st.integers(0, 2**32 - 1))
def test_quaternions_of_matrices(seed: int) -> None:
    """As scipy has them, also half a turn and nearly half a turn away from where the camera looks ahead."""
    axis = np.random.default_rng(seed).normal(size=3)
    axis /= np.linalg.norm(axis)
    angles = np.array([0, 1e-9, 1e-4, 1, 2, np.pi - 1e-4, np.pi - 1e-9, np.pi])
    rotations = Rotation.from_rotvec(np.concatenate([angles[:, None] * axis, np.pi * np.eye(3)]))
    found = quaternions(rotations.as_matrix())
    want = rotations.as_quat()[:, [3, 0, 1, 2]]
    np.testing.assert_allclose(np.abs(np.sum(found * want, axis=1)), 1, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-12)
    assert (found[:, 0] >= 0).all()


def test_poses_are_read_without_torch(tmp_path: Path) -> None:
    """It takes seconds and half a gigabyte."""
    folder = tmp_path / "chess" / "seq-01"
    folder.mkdir(parents=True)
    for name, line in (("TrainSplit.txt", "sequence1"), ("TestSplit.txt", "")):
        (tmp_path / "chess" / name).write_text(line)
    (folder / "frame-000000.pose.txt").write_text(EYE)
    Image.new("RGB", (64, 48)).save(folder / "frame-000000.color.png")
    code = (
        "import sys; from posezoo.data.open import open_dataset; d = open_dataset('7scenes-chess', root=sys.argv[1]); "
    )
    code += "sys.exit('torch' in sys.modules or len(d.frames) != 1 or not d.frames.intrinsics[0, 0] == 52.5)"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0
