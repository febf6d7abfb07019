"""Lenses against COLMAP's own, and corrected pictures against opencv's."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from posezoo.base.files.lenses import corrected, distorted, lens_of, parsed, problem, text, turns
from posezoo.base.spec import Lens

LENSES = [
    Lens("SIMPLE_RADIAL", (-0.1,)),
    Lens("RADIAL", (-0.1, 0.02)),
    Lens("OPENCV", (-0.1, 0.02, 0.003, -0.002)),
    Lens("FULL_OPENCV", (-0.1, 0.02, 0.003, -0.002, 0.01, 0.02, -0.01, 0.005)),
    Lens("OPENCV_FISHEYE", (-0.02, 0.01, -0.003, 0.001)),
    Lens("SIMPLE_RADIAL_FISHEYE", (-0.02,)),
    Lens("RADIAL_FISHEYE", (-0.02, 0.01)),
    Lens("THIN_PRISM_FISHEYE", (-0.02, 0.01, 0.003, -0.002, 0.002, 0.001, 0.004, -0.003)),
    Lens("FOV", (0.9,)),
]


@pytest.mark.parametrize("lens", LENSES, ids=lambda lens: lens.kind)
def test_points_are_seen_where_colmap_sees_them(lens: Lens) -> None:
    pycolmap = pytest.importorskip("pycolmap", reason="the extra map")
    focals = [300.0] if lens.kind.startswith(("SIMPLE", "RADIAL")) else [300.0, 310.0]
    camera = pycolmap.Camera(model=lens.kind, width=640, height=480, params=[*focals, 320.0, 240.0, *lens.parameters])
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (50, 2))
    points[0] = 0
    seen = np.stack(distorted(lens, *points.T), axis=1) * [focals[0], focals[-1]] + [320, 240]
    expected = np.array([camera.img_from_cam(np.append(point, 1.0)) for point in points])
    np.testing.assert_allclose(seen, expected, atol=1e-9)


def test_pictures_are_corrected_as_by_opencv() -> None:
    cv2 = pytest.importorskip("cv2", reason="opencv")
    small = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(small).resize((320, 240), Image.Resampling.BICUBIC))
    fx, fy, cx, cy = 200.0, 210.0, 165.0, 118.0
    lens = Lens("OPENCV", (-0.2, 0.05, 0.002, -0.001))
    matrix = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])  # it counts from pixel centres
    expected = cv2.undistort(image, matrix, np.array(lens.parameters))
    found = corrected(image, (fx, fy, cx, cy), lens)
    inner = np.s_[8:-8, 8:-8]
    assert np.abs(found[inner].astype(int) - expected[inner]).max() <= 4  # it works with a 32nd of a pixel


def test_a_lens_without_distortion_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    for lens in (Lens("OPENCV", (0, 0, 0, 0)), Lens("POLYNOMIAL", (0, 0, 0, 0, 0, 0)), Lens("FOV", (0,))):
        np.testing.assert_array_equal(corrected(image, (20, 20, 8, 6), lens), image)
    wild = corrected(image, (2, 2, 8, 6), Lens("RADIAL", (1e200, 1e300)))
    assert wild.shape == image.shape


def test_which_lenses_may_be_turned() -> None:
    assert turns(Lens("RADIAL", (0.1, 0.2))) and turns(Lens("OPENCV", (0.1, 0.2, 0, 0)))
    assert not turns(Lens("OPENCV", (0.1, 0.2, 0.1, 0))) and not turns(LENSES[-2])
    assert not problem(Lens("FOV", (0.9,)))
    assert problem(Lens("FOV", (0.9, 0.0)))
    assert problem(Lens("EQUIRECTANGULAR", (0.9,)))


@pytest.mark.parametrize("lens", LENSES, ids=lambda lens: lens.kind)
def test_a_lens_is_read_back_as_it_was_written(lens: Lens) -> None:
    camera, size = (300.1, 310.7, 321.0, 239.5), (640, 480)
    written = text(lens, camera, size)
    assert parsed(written) == (lens, camera, size)
    find = lens_of([written])
    assert find is not None and find(480, 640) is None
    assert find(320, 240) == (lens, tuple(number / 2 for number in camera))


@pytest.mark.parametrize(
    "wrong",
    [
        "", "PINHOLE 640 480 300 300 320 240", "RADIAL 640 480 300 300 320", "FULL_OPENCV 640 480 300 300 320 240 0.1",
        "RADIAL 640 480 nan 300 320 240 0.1", "RADIAL 0 480 300 300 320 240 0.1", "RADIAL 640 480 a 300 320 240 0.1",
        "RADIAL 640 480 300 300 320 240" + " 0.1" * 90,
    ],
)  # fmt: skip
def test_what_is_no_lens(wrong: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        parsed(wrong)
