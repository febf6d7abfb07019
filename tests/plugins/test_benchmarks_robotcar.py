"""RobotCar: poses on a known curve, holes and bad rows, odometry, raw images, and the whole command on a small tree.

Long: one reader, and one test for each trap of the format.
"""

from __future__ import annotations

import json
from pathlib import Path

import benchmark_trees
import faults
import numpy as np
import pytest
import small_data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naming import naming
from PIL import Image
from posezoo_benchmarks import robotcar, robotcar_images
from posezoo_benchmarks.interpolation import interpolated, slerp, track
from scipy.spatial.transform import Rotation, Slerp

from posezoo.base.errors import DataError, UsageError
from posezoo.base.files.pictures import read_image
from posezoo.base.spec import ReadRequest, ReadResult
from posezoo.catalogue import entries, resolve
from posezoo.data.completeness import expected, missing
from posezoo.data.images.cache import ImageCache
from posezoo.data.open import open_dataset
from posezoo.data.table import Frames
from posezoo.nn.geometry import canonical, to_label_frame
from posezoo.training.config import configure
from posezoo.zoo.blueprint import blueprint
from posezoo.zoo.build import build

pytest.importorskip("cv2", reason="opencv is not installed: pip install 'posezoo[robotcar]'")

START = 1_403_772_000_123_457
SEQUENCE = "2014-06-26-08-53-56"
UTM = np.array([5_735_839.25, 620_024.5, -110.75])


def curve(stamp: np.ndarray) -> tuple[np.ndarray, Rotation]:
    """A drive of 10 m/s round a circle of 30 m on a hilly road: exact positions and the car's rotation."""
    s = (np.asarray(stamp) - START) / 1e6
    turn = s / 3
    position = UTM + np.stack([30 * np.cos(turn), 30 * np.sin(turn), np.sin(s / 4)], axis=-1)
    # the last angle is turned without end, as a car going round and round does
    angles = np.stack([turn + np.pi / 2, 0.05 * np.sin(s / 2), 0.03 * np.cos(s / 2)], axis=-1)
    return position, Rotation.from_euler("ZYX", angles)


def camera(rotation: Rotation) -> Rotation:
    """The camera that looks along the car's first axis: its right, down, forward are the car's second, third, first."""
    return rotation * Rotation.from_matrix([[0, 0, 1], [1, 0, 0], [0, 1, 0]])


def write_drive(
    folder: Path, frames: np.ndarray, ins: np.ndarray, bad: np.ndarray | None = None, images: bool = True
) -> Path:
    """A sequence with tiny raw images at the times `frames` and INS rows at the times `ins`."""
    (folder / "stereo/centre").mkdir(parents=True)
    (folder / "gps").mkdir()
    (folder / "stereo.timestamps").write_text("".join(f"{stamp} 1\n" for stamp in frames))
    if images:
        for stamp in frames:
            Image.new("L", (16, 12)).save(folder / f"stereo/centre/{stamp}.png")
    position, rotation = curve(ins)
    yaw_pitch_roll = rotation.as_euler("ZYX")
    lines = [benchmark_trees.INS_HEADER]
    for n, stamp in enumerate(ins):
        status = robotcar.GOOD if bad is None or not bad[n] else "INS_ALIGNMENT_COMPLETE"
        north, east, down = position[n]
        yaw, pitch, roll = yaw_pitch_roll[n]
        lines.append(
            f"{stamp},{status},51.7,-1.2,{-down:.6f},{north:.6f},{east:.6f},{down:.6f},30U,0,0,0,{roll:.9f},{pitch:.9f},{yaw:.9f}"
        )
    (folder / "gps/ins.csv").write_text("\n".join(lines) + "\n")
    return folder.parent


def read(root: Path, **options: str) -> ReadResult:
    named = {key.replace("_", "-"): value for key, value in options.items()}
    return robotcar.read(ReadRequest(root, options=named))


def errors(result: ReadResult, turned: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """(metres, degrees) between the frames' poses and the curve at their times."""
    position, rotation = curve(np.array([frame.timestamp for frame in result.frames]))
    found = Rotation.from_quat(np.array([frame.quaternion for frame in result.frames])[:, [1, 2, 3, 0]])
    true = camera(rotation) if turned else rotation
    distance = np.linalg.norm(np.array([frame.position for frame in result.frames]) - position, axis=1)
    return distance, np.rad2deg((found.inv() * true).magnitude())


def test_poses_on_a_known_curve(tmp_path: Path) -> None:
    frames = START + np.arange(40) * 62_500 + 7_411
    root = write_drive(tmp_path / SEQUENCE, frames, START + np.arange(-10, 200) * 20_000)
    result = read(root)
    assert (len(result.frames), result.findings) == (40, [])
    distance, angle = errors(result)
    assert distance.max() < 1e-3
    assert angle.max() < 1e-3
    assert errors(read(root, axes="body"), turned=False)[1].max() < 1e-3
    first = result.frames[0]
    assert (first.image, first.sequence, first.condition) == (
        f"{SEQUENCE}/stereo/centre/{frames[0]}.png",
        SEQUENCE,
        "overcast",
    )


def test_the_published_recipe_teaches_the_bodys_orientations(tmp_path: Path) -> None:
    """What `axes=body` reads is what the recipe's head learns of the camera's orientations."""
    frames = START + np.arange(40) * 62_500 + 7_411
    root = write_drive(tmp_path / SEQUENCE, frames, START + np.arange(-10, 200) * 20_000)
    camera_N4, body_N4 = (
        torch.tensor(np.array([frame.quaternion for frame in read(root, axes=axes).frames]))
        for axes in ("camera", "body")
    )
    taught_N4 = to_label_frame(camera_N4, entries.recipe("paper-robotcar").model["label_frame"])
    torch.testing.assert_close(taught_N4, canonical(body_N4))
    assert not torch.allclose(taught_N4, canonical(camera_N4), atol=0.1)


def test_bad_rows_holes_and_ends(tmp_path: Path) -> None:
    ins = START + np.arange(0, 500) * 20_000  # ten seconds
    bad = (ins > START + 4_000_000) & (ins < START + 6_500_000)
    frames = START + np.arange(-3, 170) * 62_500
    root = write_drive(tmp_path / SEQUENCE, frames, ins, bad)
    result = read(root)
    before, after = int(np.sum(frames < START)), int(np.sum(frames > ins[-1]))
    hole = int(np.sum((frames > START + 4_000_000) & (frames < START + 6_500_000)))
    assert (before, hole) == (3, 39)
    assert len(result.frames) == len(frames) - before - after - hole
    note = f"dropped {before + after} outside the measured poses and {hole} in gaps of more than 1 s"
    assert any(f"of {len(frames)} frames {note}" in line for line in result.notes), result.notes
    assert any(f"{int(bad.sum())} INS rows without INS_SOLUTION_GOOD" in line for line in result.notes)
    assert errors(result)[0].max() < 1e-3
    kept = read(root, max_gap="inf")
    assert len(kept.frames) == len(frames) - before - after
    assert errors(kept)[0].max() > 0.5, "a straight line across 2.5 s of a bend"
    with pytest.raises(UsageError, match=naming("max-gap", "-1")):
        read(root, max_gap="-1")


def test_dropped_frames_count_as_here(tmp_path: Path) -> None:
    frames = START + np.arange(40) * 62_500
    root = write_drive(tmp_path / SEQUENCE, frames, START + np.arange(-10, 110) * 20_000)
    result = read(root, test=SEQUENCE)
    dropped = 40 - len(result.frames)
    assert dropped > 0
    assert result.left_out == {("robotcar", "test", SEQUENCE): dropped}
    counts = {"robotcar": {"test": {SEQUENCE: 40}}}
    request = ReadRequest(root)
    made = Frames.from_rows(root, result.frames)
    assert missing(expected(counts, request), made, result.left_out, [], False) == []
    (one,) = missing(expected(counts, request), made, {}, [], False)
    assert (one.place, one.frames, one.expected) == (SEQUENCE, 40 - dropped, 40)


def test_the_kits_folder_is_remembered_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config, _ = configure(resolve.model("posenet"), resolve.data("robotcar-loop?undistort=kit/models&max-gap=2"), {})
    assert config.data.name == f"robotcar-loop?undistort={tmp_path}/kit/models&max-gap=2"


def test_raw_images_are_refused_by_a_model_of_coloured_ones(tmp_path: Path) -> None:
    key = robotcar_images.decoder("").key
    small = small_data.settings("posenet")
    given = {name: small[name] for name in ("backbone", "pretrained_backbone", "resize", "crop", "hidden")}
    model = build(blueprint("posenet", given).with_place(decode=key))
    picture = Image.effect_noise((64, 48), 50)
    picture.save(tmp_path / "raw.png")
    picture.convert("RGB").save(tmp_path / "colour.png")
    assert len(model.predict(tmp_path / "colour.png")) == 1
    with pytest.raises(DataError, match=naming("raw.png", "posezoo eval")):
        model.predict([tmp_path / "colour.png", tmp_path / "raw.png"])


def test_legacy_shift_gives_each_image_the_pose_of_the_one_before(tmp_path: Path) -> None:
    frames = START + np.arange(20) * 62_500
    root = write_drive(tmp_path / SEQUENCE, frames, START + np.arange(0, 200) * 20_000)
    right, shifted = read(root).frames, read(root, legacy_shift="true").frames
    assert [frame.position for frame in shifted[1:]] == [frame.position for frame in right[:-1]]
    assert [frame.image for frame in shifted] == [frame.image for frame in right]
    assert shifted[0].position == right[0].position


def test_visual_odometry_is_chained_from_the_ins(tmp_path: Path) -> None:
    frames = START + np.arange(60) * 62_500
    root = write_drive(tmp_path / SEQUENCE, frames, START + np.arange(-5, 300) * 20_000)
    position, rotation = curve(frames)
    lines = ["source_timestamp,destination_timestamp,x,y,z,roll,pitch,yaw"]
    for n in range(59):
        if n == 30:
            continue  # a motion that odometry missed: a second chain begins
        x, y, z = rotation[n].inv().apply(position[n + 1] - position[n])
        yaw, pitch, roll = (rotation[n].inv() * rotation[n + 1]).as_euler("ZYX")
        lines.append(f"{frames[n + 1]},{frames[n]},{x:.9f},{y:.9f},{z:.9f},{roll:.9f},{pitch:.9f},{yaw:.9f}")
    (root / SEQUENCE / "vo").mkdir()
    (root / SEQUENCE / "vo/vo.csv").write_text("\n".join(lines) + "\n")
    result = read(root, poses="vo")
    assert result.ground_truth == "vo"
    assert (len(result.frames), result.findings) == (60, [])
    distance, angle = errors(result)
    assert distance.max() < 1e-3
    assert angle.max() < 1e-3
    assert any("2 chains of visual odometry" in note for note in result.notes)


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("stereo.timestamps", "12 1\nhello\n", "stereo.timestamps:2: not a time and a chunk: 'hello'"),
        ("gps/ins.csv", "timestamp,ins_status\n", "gps/ins.csv:1: column northing, easting"),
        ("gps/ins.csv", None, "gps/ins.csv: no such file"),
        ("gps/ins.csv", f"timestamp,ins_status,northing,easting,down,roll,pitch,yaw\n1,{robotcar.GOOD},nan,1,1,0,0,0\n",
         "gps/ins.csv:2: value 1 is not a finite number: 'nan'"),
        ("gps/ins.csv", f"timestamp,ins_status,northing,easting,down,roll,pitch,yaw\n1.5,{robotcar.GOOD},1,1,1,0,0,0\n",
         "gps/ins.csv:2: not a time in microseconds: '1.5'"),
    ],
)  # fmt: skip
def test_damaged_files(tmp_path: Path, path: str, content: str | None, words: str) -> None:
    root = write_drive(tmp_path / SEQUENCE, START + np.arange(3) * 62_500, START + np.arange(20) * 20_000)
    (root / SEQUENCE / path).unlink()
    if content is not None:
        (root / SEQUENCE / path).write_text(content)
    assert any(words in str(finding) for finding in read(root).findings), read(root).findings


def test_chunks_that_were_not_fetched_and_images_that_are_lost(tmp_path: Path) -> None:
    frames = START + np.arange(6) * 62_500
    root = write_drive(tmp_path / SEQUENCE, frames, START + np.arange(50) * 20_000)
    (root / SEQUENCE / "stereo.timestamps").write_text("".join(f"{s} {1 + n // 3}\n" for n, s in enumerate(frames)))
    for stamp in (frames[1], *frames[3:]):
        (root / SEQUENCE / f"stereo/centre/{stamp}.png").unlink()
    result = read(root)
    assert any("no image of chunk 2 is here" in note for note in result.notes)
    assert [str(finding) for finding in result.findings] == [
        f"{SEQUENCE}/stereo.timestamps:2: no such image: {SEQUENCE}/stereo/centre/{frames[1]}.png"
    ]
    assert len(result.frames) == 2
    assert str(read(root, train="2014-01-01-01-01-01").findings[0]) == "2014-01-01-01-01-01: no such sequence folder"
    with pytest.raises(UsageError, match=naming(SEQUENCE)):
        read(root, train=SEQUENCE, test=f"other,{SEQUENCE}")


TOKENS = st.sampled_from(["1", "12 1", "1 2 3", robotcar.GOOD, "nan", "1e400", "1_0", "٣", "#", ",", "\n", '"', "\0"])


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(TOKENS, max_size=40).map("".join)), st.booleans())
def test_the_parsers_raise_nothing(tmp_path_factory: pytest.TempPathFactory, text: str, header: bool) -> None:
    folder = tmp_path_factory.mktemp("rc", numbered=True) / SEQUENCE
    for name in ("stereo/centre", "gps", "vo"):
        (folder / name).mkdir(parents=True)
    (folder / "stereo/centre/12.png").touch()
    given_bytes = text.encode("utf-8", "surrogateescape")
    (folder / "stereo.timestamps").write_bytes(b"12 1\n" + given_bytes)
    (folder / "gps/ins.csv").write_bytes((benchmark_trees.INS_HEADER + "\n").encode() * header + given_bytes)
    vo = "source_timestamp,destination_timestamp,x,y,z,roll,pitch,yaw\n"
    (folder / "vo/vo.csv").write_bytes(vo.encode() * header + given_bytes)
    for poses in ("ins", "vo"):
        assert isinstance(read(folder.parent, poses=poses), ReadResult)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_slerp_agrees_with_scipy(seed: int, share: float) -> None:
    both = Rotation.random(2, random_state=seed)
    a, b = both.as_quat()[:, [3, 0, 1, 2]]
    between = slerp(a[None], -b[None], np.array([share]))[0]
    expected = Slerp([0, 1], both)(share)
    assert (Rotation.from_quat(between[[1, 2, 3, 0]]).inv() * expected).magnitude() < 1e-7


def test_interpolation_at_the_measured_times_and_outside() -> None:
    known = track(np.array([30, 10, 10]), np.array([[3.0, 0, 0], [1, 0, 0], [9, 9, 9]]), np.array([[1.0, 0, 0, 0]] * 3))
    position, quaternion, seconds = interpolated(known, np.array([9, 10, 20, 30, 31]))
    assert position[1:4, 0].tolist() == [1, 2, 3]
    assert np.isnan(position[[0, 4]]).all()
    assert np.isnan(quaternion[[0, 4]]).all()
    np.testing.assert_allclose(seconds, [np.inf, 0, 20e-6, 0, np.inf])


# images ------------------------------------------------------------------------------------------------------------


def test_raw_images_get_their_colours_back(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 64)
    rgb = np.zeros((48, 64, 3))
    rgb[..., 0], rgb[..., 1], rgb[..., 2] = 200 * ramp, 180 - 90 * ramp, 40
    picture = Image.fromarray(rgb.round().astype(np.uint8))
    benchmark_trees.bayer(picture, (64, 48)).save(tmp_path / "1.png")
    found = read_image(tmp_path / "1.png", 48, robotcar_images.decoder(""))
    assert np.abs(found[2:-2, 2:-2].astype(int) - np.asarray(picture)[2:-2, 2:-2]).max() <= 4
    picture.save(tmp_path / "2.png")
    np.testing.assert_array_equal(read_image(tmp_path / "2.png", 48, robotcar_images.decoder("")), np.asarray(picture))


def models(folder: Path, width: int, height: int, shift: float) -> Path:
    """The kit's two files for a lens that moves every pixel `shift` to the right."""
    folder.mkdir()
    column, row = np.meshgrid(np.arange(width) - shift, np.arange(height))
    np.stack([column, row]).astype("<f8").tofile(folder / robotcar_images.TABLE)
    (folder / robotcar_images.CAMERA).write_text("49.5 50.5 31.5 23.5\n1 0 0 0\n")
    return folder


def test_undistortion_by_the_kits_table(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    picture.save(tmp_path / "1.png")
    decode = robotcar_images.decoder(str(models(tmp_path / "models", 64, 48, 5)))
    straight = read_image(tmp_path / "1.png", 48, decode)
    np.testing.assert_array_equal(straight[:, 5:], np.asarray(picture)[:, :-5])
    assert robotcar_images.intrinsics(str(tmp_path / "models")) == (49.5, 50.5, 32, 24)
    picture.resize((32, 24)).save(tmp_path / "2.png")
    with pytest.raises(DataError, match=naming("2.png", "32x24")):
        read_image(tmp_path / "2.png", 24, decode)
    with pytest.raises(DataError, match=naming(tmp_path)):
        robotcar_images.decoder(str(tmp_path))
    with pytest.raises(DataError, match="~nobody-here"):
        robotcar.read(ReadRequest(tmp_path, options={"undistort": "~nobody-here/models"}))


def test_each_way_of_reading_has_a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSEZOO_CACHE", str(tmp_path / "cache"))
    root = write_drive(tmp_path / "rc" / SEQUENCE, START + np.arange(3) * 62_500, START + np.arange(20) * 20_000)
    names = {"", f"?undistort={models(tmp_path / 'a', 16, 12, 1)}", f"?undistort={models(tmp_path / 'b', 16, 12, 2)}"}
    frames = {name: open_dataset(f"robotcar:{root}{name}").frames for name in names}
    assert len({ImageCache.open(part).folder for part in frames.values()}) == 3
    assert np.isnan(frames[""].intrinsics).all()
    assert not np.isnan(frames[f"?undistort={tmp_path / 'a'}"].intrinsics).any()


def test_without_opencv_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robotcar_images, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=naming("pip install 'posezoo[robotcar]'")):
        read(tmp_path)


# the whole ---------------------------------------------------------------------------------------------------------


def train_on_tree(tree: Path, capsys: pytest.CaptureFixture[str], **more: object) -> dict[str, object]:
    """`posezoo train atloc+hyper --data robotcar-loop --root TREE`; the report as JSON."""
    from posezoo.cli import run

    given = small_data.words({**small_data.settings("atloc+hyper"), "epochs": 1, "out": str(tree / "run"), **more})
    words = ["train", "atloc+hyper", "--data", "robotcar-loop", "--root", str(tree), *given, "--format", "json"]
    assert run(words) == 0
    return json.loads(capsys.readouterr().out)


def prepared(tree: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The tree, in which untouched archives lie, checked and unpacked by the commands that a person types."""
    from posezoo.cli import run

    words = ["robotcar-loop", "--root", str(tree), "--format", "json"]
    before = faults.digests(tree)
    assert run(["data", "verify", *words]) == 3
    found = [finding["message"] for finding in json.loads(capsys.readouterr().out)["findings"]]
    assert sum("not unpacked: posezoo data prepare" in message for message in found) == 12
    assert sum("the sequence is missing" in message for message in found) == 4
    assert run(["data", "prepare", *words]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {one["archive"] for one in answer["unpacked"]} == {Path(name).name for name in before}
    assert {name: digest for name, digest in faults.digests(tree).items() if name in before} == before
    assert run(["data", "verify", f"robotcar:{tree}/robotcar"]) == 0  # by itself: the card's counts are the real ones
    assert run(["data", "prepare", *words]) == 0
    again = json.loads(capsys.readouterr().out.rpartition(" left out\n")[2])  # in the hole of the INS
    assert again == answer | {"unpacked": [], "unpacked_before": [one["archive"] for one in answer["unpacked"]]}
    return tree


def test_the_command_from_untouched_archives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = prepared(benchmark_trees.archives("robotcar", tmp_path / "tree", every=10, size=(64, 48)), capsys)
    report = train_on_tree(tree, capsys, normalise_pixels="data")
    groups = {row["group"] for row in report["results"]["sequence"]}
    assert groups == {"2014-06-23-15-36-04", "2014-06-23-15-41-25"}
    assert report["ground_truth"] == "ins"
    assert (tree / "run/report/trajectory.png").stat().st_size > 5000
    stored = json.loads((tree / "run/best/config.json").read_text())["config"]
    assert stored["position_mean"][0] == pytest.approx(benchmark_trees.UTM[0], abs=100)
    raw = np.concatenate(
        [read_image(path, 256, robotcar_images.decoder("")).reshape(-1, 3)
         for path in (tree / "robotcar").glob("2014-06-26*/stereo/centre/*.png")]
    )  # fmt: skip
    assert stored["decode"] == "gbrg 1 distorted"
    np.testing.assert_allclose(stored["mean"], raw.mean(0) / 255, atol=0.05)
    np.testing.assert_allclose(stored["std"], raw.std(0) / 255, atol=0.05)


@pytest.mark.slow
def test_the_command_on_full_size_raw_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = prepared(benchmark_trees.archives("robotcar", tmp_path / "tree", every=2), capsys)
    report = train_on_tree(tree, capsys, recipe="paper-robotcar", phases=[], batch_size=16, epochs=2)
    assert report["num_images"] > 40
