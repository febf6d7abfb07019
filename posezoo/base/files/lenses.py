"""Lens distortion, and pictures without it. No torch.

A lens maps x = X / Z, y = Y / Z of a point before the camera to where it is seen, both in units of the focal length.
The names and parameters are COLMAP's (src/colmap/sensor/models.h); `POLYNOMIAL` is nerfstudio's (k1, k2, k3, k4, p1,
p2). A corrected picture has the focal lengths and centre of the original: what it lacks at its edges is repeated.

A trained model knows the lens of its training pictures as a text, `KIND WIDTH HEIGHT FX FY CX CY NUMBERS...`, one for
each shape; pictures of that shape are taken to be of the same camera.

Legend: H height, W width, C channels; r is the distance from the axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from posezoo.base.spec import Lens

Camera = tuple[float, float, float, float]
Points = tuple[np.ndarray, np.ndarray]
LensOf = Callable[[int, int], tuple[Lens, Camera] | None]
"""(width, height) of a picture to its lens and camera in its pixels; None where it has no distortion that is known."""
VERSION = 1  # raise it when corrected pixels change
TANGENTIAL = {"OPENCV": (2, 4), "FULL_OPENCV": (2, 4), "THIN_PRISM_FISHEYE": (2, 4), "POLYNOMIAL": (4, 6)}
"""Kinds whose distortion is not the same all round, and which parameters make it so."""
_PLAIN = ("SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV", "POLYNOMIAL", "FOV")


def distorted(lens: Lens, x: np.ndarray, y: np.ndarray) -> Points:
    """Where points of the straight picture are seen. Raises KeyError for an unknown kind."""
    _, seen = _KINDS[lens.kind]
    return seen(lens.parameters, x, y)


def problem(lens: Lens) -> str:
    """Why its distortion cannot be corrected; empty if it can."""
    if lens.kind not in _KINDS:
        return "of an unknown kind"
    count, _ = _KINDS[lens.kind]
    if len(lens.parameters) != count:
        return f"with {len(lens.parameters)} numbers"
    return "" if all(map(math.isfinite, lens.parameters)) else "with numbers that are not finite"


def general(lens: Lens) -> Lens:
    """The same distortion by a polynomial, POLYNOMIAL of the distance or OPENCV_FISHEYE of the angle, if it is one."""
    k = lens.parameters
    match lens.kind:
        case "SIMPLE_RADIAL" | "RADIAL":
            return Lens("POLYNOMIAL", (*(*k, 0.0, 0.0, 0.0)[:4], 0.0, 0.0))
        case "OPENCV":
            return Lens("POLYNOMIAL", (k[0], k[1], 0.0, 0.0, k[2], k[3]))
        case "FULL_OPENCV" if not any(k[5:]):
            return Lens("POLYNOMIAL", (k[0], k[1], k[4], 0.0, k[2], k[3]))
        case "SIMPLE_RADIAL_FISHEYE" | "RADIAL_FISHEYE":
            return Lens("OPENCV_FISHEYE", (*k, 0.0, 0.0, 0.0)[:4])
    return lens


def turns(lens: Lens) -> bool:
    """Whether the same numbers hold for the picture turned by a quarter: the distortion is the same all round."""
    low, high = TANGENTIAL.get(lens.kind, (0, 0))
    more = lens.parameters[6:] if lens.kind == "THIN_PRISM_FISHEYE" else ()
    return not any((*lens.parameters[low:high], *more))


def straight(lens: Lens) -> bool:
    """Whether it is without distortion: a polynomial of zeros. A fisheye of zeros is none: it bends by the angle."""
    return lens.kind in _PLAIN and not problem(lens) and not any(lens.parameters)


def lens_of(texts: Sequence[str]) -> LensOf | None:
    """What finds the lens that a trained model knows for a picture; None for a model that knows none."""
    if not texts:
        return None
    known = [parsed(text) for text in texts]

    def found(width: int, height: int) -> tuple[Lens, Camera] | None:
        for lens, (x, y, centre_x, centre_y), size in known:
            if one_ratio((width, height), size):
                a, b = width / size[0], height / size[1]
                return lens, (x * a, y * b, centre_x * a, centre_y * b)
        return None

    return found


def text(lens: Lens, camera: Camera, size: tuple[int, int]) -> str:
    """The lens of pictures of this size (width, height), as a trained model keeps it."""
    return " ".join([lens.kind, *map(str, size), *(repr(float(x)) for x in (*camera, *lens.parameters))])


def parsed(text: str) -> tuple[Lens, Camera, tuple[int, int]]:
    """What `text` wrote. Raises ValueError for anything else."""
    kind, *words = text.split()
    numbers = tuple(float(word) for word in words)
    width, height, fx, fy, cx, cy = numbers[:6]
    lens = Lens(kind, numbers[6:])
    if problem(lens) or not all(map(math.isfinite, numbers)) or min(numbers[:4]) <= 0:
        raise ValueError(f"{text[:60]!a} is no lens")
    return lens, (fx, fy, cx, cy), (int(width), int(height))


def one_ratio(size: tuple[int, int], camera: tuple[int, int]) -> bool:
    """Whether a picture of the camera's size, made larger or smaller, has this one, each side rounded either way."""
    if min(camera) < 1:
        return False
    least = max((side - 1) / whole for side, whole in zip(size, camera, strict=True))
    return least <= min((side + 1) / whole for side, whole in zip(size, camera, strict=True))


def corrected(image_HWC: np.ndarray, camera: Camera, lens: Lens) -> np.ndarray:
    """The picture as a lens without distortion would have taken it. `camera`: fx, fy, cx, cy in its pixels."""
    height, width = image_HWC.shape[:2]
    fx, fy, cx, cy = camera
    x_HW, y_HW = np.meshgrid((np.arange(width) + 0.5 - cx) / fx, (np.arange(height) + 0.5 - cy) / fy)
    with np.errstate(over="ignore", invalid="ignore"):  # far from what a polynomial was fitted to
        x_HW, y_HW = distorted(lens, x_HW, y_HW)
        u_HW = np.nan_to_num(x_HW * fx + cx - 0.5).clip(0, width - 1)
        v_HW = np.nan_to_num(y_HW * fy + cy - 0.5).clip(0, height - 1)
    left_HW, top_HW = (np.minimum(at.astype(np.int64), side - 2) for at, side in ((u_HW, width), (v_HW, height)))
    left_HW, top_HW = left_HW.clip(0), top_HW.clip(0)
    right_HW, bottom_HW = np.minimum(left_HW + 1, width - 1), np.minimum(top_HW + 1, height - 1)
    a, b = (u_HW - left_HW)[..., None], (v_HW - top_HW)[..., None]
    above = image_HWC[top_HW, left_HW] * (1 - a) + image_HWC[top_HW, right_HW] * a
    below = image_HWC[bottom_HW, left_HW] * (1 - a) + image_HWC[bottom_HW, right_HW] * a
    mixed: np.ndarray = (above * (1 - b) + below * b).round().clip(0, 255).astype(np.uint8)
    return mixed


def _radial(count: int) -> Callable[[tuple[float, ...], np.ndarray, np.ndarray], Points]:
    """x (1 + k1 r^2 + k2 r^4 + ...) with `count` numbers, then p1, p2 if there are more."""

    def seen(numbers: tuple[float, ...], x: np.ndarray, y: np.ndarray) -> Points:
        square = x * x + y * y
        scale = 1 + sum(k * square ** (n + 1) for n, k in enumerate(numbers[:count]))
        dx, dy = _tangential(numbers[count:], x, y)
        return x * scale + dx, y * scale + dy

    return seen


def _tangential(numbers: tuple[float, ...], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray | float, ...]:
    if len(numbers) < 2:
        return 0.0, 0.0
    p1, p2 = numbers[:2]
    square = x * x + y * y
    return 2 * p1 * x * y + p2 * (square + 2 * x * x), 2 * p2 * x * y + p1 * (square + 2 * y * y)


def _full(numbers: tuple[float, ...], x: np.ndarray, y: np.ndarray) -> Points:
    k1, k2, p1, p2, k3, k4, k5, k6 = numbers
    square = x * x + y * y
    over = 1 + square * (k1 + square * (k2 + square * k3))
    scale = over / (1 + square * (k4 + square * (k5 + square * k6)))
    dx, dy = _tangential((p1, p2), x, y)
    return x * scale + dx, y * scale + dy


def _by_angle(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The point moved to the distance of its angle from the axis, as a fisheye has it, and that angle."""
    far = np.hypot(x, y)
    angle = np.arctan(far)
    scale = np.where(far > 1e-12, angle / np.maximum(far, 1e-12), 1.0)
    return x * scale, y * scale, angle


def _fisheye(numbers: tuple[float, ...], x: np.ndarray, y: np.ndarray) -> Points:
    u, v, angle = _by_angle(x, y)
    scale = 1 + sum(k * angle ** (2 * n + 2) for n, k in enumerate(numbers))
    return u * scale, v * scale


def _thin_prism(numbers: tuple[float, ...], x: np.ndarray, y: np.ndarray) -> Points:
    k1, k2, p1, p2, k3, k4, sx1, sy1 = numbers
    u, v, _ = _by_angle(x, y)
    square = u * u + v * v
    scale = 1 + square * (k1 + square * (k2 + square * (k3 + square * k4)))
    dx, dy = _tangential((p1, p2), u, v)
    return u * scale + dx + sx1 * square, v * scale + dy + sy1 * square


def _field_of_view(numbers: tuple[float, ...], x: np.ndarray, y: np.ndarray) -> Points:
    (omega,) = numbers
    if abs(omega) < 1e-6:
        return x, y
    far = np.hypot(x, y)
    ratio = np.arctan(2 * far * np.tan(omega / 2)) / omega
    scale = np.where(far > 1e-12, ratio / np.maximum(far, 1e-12), 2 * np.tan(omega / 2) / omega)
    return x * scale, y * scale


_KINDS: dict[str, tuple[int, Callable[[tuple[float, ...], np.ndarray, np.ndarray], Points]]] = {
    "SIMPLE_RADIAL": (1, _radial(1)),
    "RADIAL": (2, _radial(2)),
    "OPENCV": (4, _radial(2)),
    "POLYNOMIAL": (6, _radial(4)),
    "FULL_OPENCV": (8, _full),
    "OPENCV_FISHEYE": (4, _fisheye),
    "SIMPLE_RADIAL_FISHEYE": (1, _fisheye),
    "RADIAL_FISHEYE": (2, _fisheye),
    "THIN_PRISM_FISHEYE": (8, _thin_prism),
    "FOV": (1, _field_of_view),
}
"""How many numbers each kind has, and where it shows a point."""
