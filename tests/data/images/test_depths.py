"""Depth maps: read once, on a grid over the image, unknown where nothing was measured; every bad file is named."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import small_data
from PIL import Image
from scipy.spatial.transform import Rotation

from posezoo.base.errors import DataError
from posezoo.data.images.cache import ImageCache
from posezoo.data.images.depths import COLUMNS, ROWS, DepthMaps, inverse_grid, unreadable_depths
from posezoo.data.open import open_dataset
from posezoo.data.table import Frames
from posezoo.data.verify import verify_dataset

NAN_4 = (np.nan,) * 4
SAME = (0, 0, 0, 1, 0, 0, 0)


def with_depths(folder: Path, every: int = 1) -> Path:
    """A small data set, of which each `every`-th training image has a map: (number + 1) m, with a far right half."""
    table = small_data.rows("yard")
    for n, row in enumerate(table):
        row |= {"depth": "", "depth_scale": ""}
        if row["split"] == "train" and n % every == 0:
            row |= {"depth": f"depth/{n:02d}.png", "depth_scale": 500}
            numbers = np.full((36, 48), 500 * (n + 1), dtype=np.uint16)
            numbers[:, 24:] = 50_000
            (folder / "depth").mkdir(parents=True, exist_ok=True)
            Image.fromarray(numbers).save(folder / f"depth/{n:02d}.png")
    return small_data.write(folder, table)


def opened(folder: Path) -> tuple[Frames, DepthMaps]:
    frames = open_dataset(f"folder:{folder}").frames
    rows = np.flatnonzero(frames.split == "train")
    return frames, DepthMaps.open(frames, rows, ImageCache.open(frames))


def test_maps_in_metres_of_the_frames_that_have_one(tmp_path: Path) -> None:
    frames, maps = opened(with_depths(tmp_path / "data", every=3))
    number_N = np.array([int(Path(frames.name(n)).stem) for n in range(len(frames))])
    found = maps.batch(np.arange(len(frames))).numpy()
    assert found.shape == (len(frames), ROWS, COLUMNS)
    for n, number in enumerate(number_N):
        if frames.split[n] == "train" and number % 3 == 0:
            np.testing.assert_allclose(found[n][:, : COLUMNS // 2], 1 / (number + 1), rtol=1e-3)
            np.testing.assert_allclose(found[n][:, COLUMNS // 2 :], 500 / 50_000, rtol=1e-3)
        else:
            assert np.isnan(found[n]).all(), "no map, or not for training"
    again = copy.deepcopy(maps)  # as pickle makes it for a data worker
    np.testing.assert_array_equal(again.batch(np.array([0, 5])).numpy(), found[[0, 5]])


def test_a_second_start_reads_no_map_and_a_changed_map_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = with_depths(tmp_path / "data")
    first = opened(folder)[1]
    with monkeypatch.context() as patched:
        patched.setattr("posezoo.data.images.depths.read_depths", lambda path: pytest.fail(f"{path} was read"))
        assert opened(folder)[1].key == first.key
    Image.fromarray(np.full((36, 48), 7, dtype=np.uint16)).save(folder / "depth/00.png")
    changed = opened(folder)[1]
    assert changed.key != first.key
    np.testing.assert_allclose(changed.batch(np.array([0])).numpy(), 500 / 7, rtol=1e-3)


@pytest.mark.parametrize("damage", ["empty", "header", "short"])
def test_a_damaged_cache_is_read_anew(tmp_path: Path, damage: str) -> None:
    folder = with_depths(tmp_path / "data")
    first = opened(folder)[1]
    path, before = first._path, first.batch(np.array([0])).numpy()
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "header": whole.replace(b"'descr'", b"'descr\""), "short": whole[:-100]}[damage])
    np.testing.assert_array_equal(opened(folder)[1].batch(np.array([0])).numpy(), before)
    assert path.read_bytes() == whole


def test_unknown_numbers_and_the_sensor_s_own_camera() -> None:
    """What another camera in the same place saw is looked up along the image's rays."""
    numbers = np.full((480, 640), 2000, dtype=np.uint16)
    numbers[:, 400:] = 4000
    numbers[:40], numbers[-40:] = 0, 65535
    camera = np.array([1000, 585, 585, 320, 240, *SAME, 525, 525, 320, 240, 640, 480], dtype=float)
    found = inverse_grid(numbers, camera)
    u = (np.arange(COLUMNS) + 0.5) / COLUMNS * 640
    edge = (u - 320) / 525 * 585 + 320
    middle = found[ROWS // 2]
    inside = (edge >= 0) & (edge < 640)
    assert not inside.all(), "the depth sensor sees less"
    assert np.isnan(middle[~inside]).all()
    np.testing.assert_allclose(middle[inside], np.where(edge[inside] < 400, 0.5, 0.25))
    assert np.isnan(found[0]).all()
    assert np.isnan(found[-1]).all()
    plain = inverse_grid(numbers, np.array([1000, *NAN_4, *SAME, 525, 525, 320, 240, 640, 480], dtype=float))
    np.testing.assert_allclose(plain[ROWS // 2], np.where(u < 400, 0.5, 0.25))


def test_a_sensor_that_stands_beside_the_camera_is_registered() -> None:
    """What a map shows of a slanted wall, taken from beside the camera, is the wall's depth from the camera."""
    shift, quaternion = np.array([-0.3, 0.05, 0.1]), np.array([0.997, 0.03, -0.06, 0.03])
    quaternion /= np.linalg.norm(quaternion)
    turn = Rotation.from_quat(quaternion, scalar_first=True).as_matrix()
    normal, distance = np.array([0.3, -0.2, 1.0]), 2.0  # the wall in the camera: normal @ point = distance

    def rays(u: np.ndarray, v: np.ndarray, focal: float) -> np.ndarray:
        return np.dstack([*np.broadcast_arrays((u - 320) / focal, (v[:, None] - 240) / focal, 1.0)])

    seen = rays(np.arange(640) + 0.5, np.arange(480) + 0.5, 585)  # in the sensor, where the wall is turned and shifted
    sensor = (distance - normal @ shift) / (seen @ (turn.T @ normal))
    cells = rays((np.arange(COLUMNS) + 0.5) / COLUMNS * 640, (np.arange(ROWS) + 0.5) / ROWS * 480, 525)
    expected = cells @ normal / distance
    camera = np.array([1000, 585, 585, 320, 240, *shift, *quaternion, 525, 525, 320, 240, 640, 480])
    found = inverse_grid((1000 * sensor).round().astype(np.uint16), camera)
    known = np.isfinite(found)
    assert 0.5 < known.mean() < 0.95, "the sensor sees not all that the camera sees"
    np.testing.assert_allclose(found[known], expected[known], rtol=3e-3)
    camera[5:12] = SAME
    unregistered = inverse_grid((1000 * sensor).round().astype(np.uint16), camera)
    assert np.nanmedian(np.abs(unregistered / expected - 1)) > 0.02


@pytest.mark.parametrize("size", [(36, 48), (480, 640), (5, 7)])
def test_maps_of_any_size_cover_the_image(size: tuple[int, int]) -> None:
    row, column = np.indices(size)
    numbers = (1000 * (1 + column / size[1] + row / size[0])).astype(np.uint16)
    grid = inverse_grid(numbers, np.array([1000, *NAN_4, *SAME, *NAN_4, 640, 480], dtype=float))
    corner = [grid[0, 0], grid[0, -1], grid[-1, 0], grid[-1, -1]]
    np.testing.assert_allclose(corner, [1 / value for value in (1, 2, 2, 3)], rtol=0.3)
    assert np.isfinite(grid).all()


def test_every_bad_map_is_named(tmp_path: Path) -> None:
    folder = with_depths(tmp_path / "data")
    (folder / "depth/03.png").write_bytes((folder / "depth/03.png").read_bytes()[:60])
    Image.new("RGB", (48, 36)).save(folder / "depth/05.png")
    with pytest.raises(DataError) as caught:
        opened(folder)
    assert {finding.path for finding in caught.value.findings} == {"depth/03.png", "depth/05.png"}
    assert not list((tmp_path / "cache").rglob("depths/*.npy"))
    frames = open_dataset(f"folder:{folder}").frames
    assert {finding.path for finding in unreadable_depths(frames)} == {"depth/03.png", "depth/05.png"}
    verified = verify_dataset(f"folder:{folder}")
    assert {finding.path for finding in verified.findings} == {"depth/03.png", "depth/05.png"}


@pytest.mark.parametrize(
    ("column", "value"),
    [("depth", "../outside.png"), ("depth", "depth/none.png"), ("depth_scale", "0"), ("depth_scale", "much")],
)
def test_a_wrong_entry_is_a_finding_with_its_line(tmp_path: Path, column: str, value: str) -> None:
    folder = with_depths(tmp_path / "data")
    Image.new("I;16", (4, 4)).save(tmp_path / "outside.png")
    text = (folder / "poses.csv").read_text().splitlines()
    entries = text[2].split(",")
    entries[text[0].split(",").index(column)] = value
    text[2] = ",".join(entries)
    (folder / "poses.csv").write_text("\n".join(text) + "\n")
    with pytest.raises(DataError) as caught:
        open_dataset(f"folder:{folder}")
    assert [(finding.path, finding.line) for finding in caught.value.findings] == [("poses.csv", 3)]


def test_maps_of_turned_pictures_are_left_out_and_said(tmp_path: Path) -> None:
    """They are for the stored pixels."""
    folder = with_depths(tmp_path / "data", every=3)
    dataset = open_dataset(f"folder:{folder}?exif=true")
    assert not len(dataset.frames.depth)
    assert any("8 depth maps are left out" in note for note in dataset.notes)
    assert np.sum(open_dataset(f"folder:{folder}").frames.depth != b"") == 8


def test_linked_maps_need_leave_like_linked_images(tmp_path: Path) -> None:
    folder = with_depths(tmp_path / "data")
    (folder / "depth").rename(tmp_path / "elsewhere")
    (folder / "depth").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError):
        open_dataset(f"folder:{folder}")
    assert len(open_dataset(f"folder:{folder}?follow-symlinks=true").frames.depth)
