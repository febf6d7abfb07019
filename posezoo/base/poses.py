"""Camera poses, as all packages exchange them, and the text formats of other tools.

Legend of shape suffixes: N images, 3 position, 4 quaternion.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from posezoo.base.rotation import rotation_matrix
from posezoo.base.shown import data_frame, html_table

if TYPE_CHECKING:
    import pandas

    from posezoo.base.picture import Picture


ESTIMATES = ("familiarity", "radius_m", "radius_deg")
"""What a calibrated model says of each pose beside it."""
CONVENTIONS = 1
"""Version of: camera-to-world, metres, quaternion (w, x, y, z) with w >= 0, camera axes x right, y down, z forward."""


class Pose(NamedTuple):
    """The pose of one image."""

    image: str
    position: np.ndarray
    """(3,) metres."""
    quaternion: np.ndarray
    """(4,) w, x, y, z."""
    scene: str = ""
    familiarity: float | None = None
    """How much the image looks like training images of where it was placed, 0 to 1; None: the model is not calibrated.
    """
    radius_m: float | None = None
    """Metres within which the true position lies, nine times of ten; inf: the image is like no other."""
    radius_deg: float | None = None
    """The same for the rotation."""


@dataclass(frozen=True, repr=False)
class Poses:
    """Camera poses of N images: camera-to-world, metres, quaternion (w, x, y, z) unit with w >= 0, float64.

    Undecodable bytes of file names are surrogates in the texts, as in Python's os: write with errors="surrogateescape".
    """

    images: tuple[str, ...]
    position: np.ndarray  # (N, 3)
    quaternion: np.ndarray  # (N, 4)
    scenes: tuple[str, ...] = ()
    timestamps: tuple[int, ...] = ()  # microseconds; empty: unknown
    # of calibrated models: see Pose
    familiarity: np.ndarray | None = None  # (N,)
    radius_m: np.ndarray | None = None  # (N,)
    radius_deg: np.ndarray | None = None  # (N,)

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, place: int) -> Pose: ...
    @overload
    def __getitem__(self, place: slice | Sequence[int] | np.ndarray) -> Poses: ...
    def __getitem__(self, place: int | slice | Sequence[int] | np.ndarray) -> Pose | Poses:
        """One pose by its number, or the poses of a slice, of numbers or of a mask."""
        if isinstance(place, (int, np.integer)):
            scene = self.scenes[place] if self.scenes else ""
            one = {name: float(values_N[place]) for name, values_N in self.estimates.items()}
            return Pose(self.images[place], self.position[place], self.quaternion[place], scene, **one)
        chosen = np.arange(len(self))[place]
        texts = (tuple(words[n] for n in chosen) if words else () for words in (self.images, self.scenes))
        images, scenes = texts
        stamps = tuple(self.timestamps[n] for n in chosen) if self.timestamps else ()
        known = {name: values_N[chosen] for name, values_N in self.estimates.items()}
        return Poses(images, self.position[chosen], self.quaternion[chosen], scenes, stamps, **known)

    @property
    def estimates(self) -> dict[str, np.ndarray]:
        """What a calibrated model says of each pose: name (of `ESTIMATES`) -> (N,); empty otherwise."""
        named = {name: getattr(self, name) for name in ESTIMATES}
        return {name: values_N for name, values_N in named.items() if values_N is not None}

    @property
    def unfamiliar(self) -> int:
        """How many images are like no image that the radii come from: their poses may be anything."""
        return 0 if self.radius_m is None else int(np.isinf(self.radius_m).sum())

    def __iter__(self) -> Iterator[Pose]:
        return (self[n] for n in range(len(self)))

    def __repr__(self) -> str:
        of = f" of {', '.join(dict.fromkeys(self.scenes))}"[:60] if self.scenes else ""
        return f"<{len(self)} poses{of}: camera-to-world, metres, quaternion (w, x, y, z)>"

    def _repr_html_(self) -> str:
        columns = self._table(digits=4)
        return html_table(
            f"{len(self)} poses, camera-to-world", list(columns), list(zip(*columns.values(), strict=True))
        )

    def to_dataframe(self) -> pandas.DataFrame:
        """A pandas table: image, x, y, z (metres), qw, qx, qy, qz, scene, and what `estimates` has.

        Raises UsageError without pandas.
        """
        return data_frame(self._table())

    def _table(self, digits: int | None = None) -> dict[str, Sequence[Any]]:
        numbers_7N = np.hstack([self.position, self.quaternion]).astype(np.float64).T
        rounded = (numbers_7N if digits is None else numbers_7N.round(digits)).tolist()
        named = dict(zip(["x", "y", "z", "qw", "qx", "qy", "qz"], rounded, strict=True))
        more = {name: values_N.round(4).tolist() for name, values_N in self.estimates.items()}
        return {"image": self.images, **named, "scene": self.scenes or ("",) * len(self), **more}

    def matrix(self) -> np.ndarray:
        """The camera-to-world matrices, (N, 4, 4)."""
        matrix_N44 = np.tile(np.eye(4), (len(self), 1, 1))
        matrix_N44[:, :3, :3] = rotation_matrix(self.quaternion)
        matrix_N44[:, :3, 3] = self.position
        return matrix_N44

    def to_csv(self, more: Mapping[str, Sequence[Any]] | None = None) -> str:
        """Columns image, x, y, z, qw, qx, qy, qz, scene and `more` (column -> values): what `folder:PATH` reads.

        Of a calibrated model also familiarity, radius_m and radius_deg.
        """
        scenes = self.scenes or ("",) * len(self)
        known = {name: [f"{value:.4g}" for value in values_N] for name, values_N in self.estimates.items()}
        columns = {"image": self.images, **self._columns("x y z qw qx qy qz"), "scene": scenes, **known, **(more or {})}
        return table(columns)

    def to_labels(self, splits: Sequence[str] = (), sequences: Sequence[str] = ()) -> str:
        """The label CSV of the multi-scene papers, camera-to-world; without `splits` all are test."""
        empty = ("",) * len(self)
        where = {"scene": self.scenes or empty, "split": splits or ("test",) * len(self), "seq": sequences or empty}
        return table({**where, "img_path": self.images, **self._columns("t1 t2 t3 q1 q2 q3 q4")})

    def _columns(self, names: str) -> dict[str, list[str]]:
        """Position and quaternion with all their digits, by column."""
        numbers_7N = np.hstack([self.position, self.quaternion]).astype(np.float64).T.tolist()
        return {name: list(map(repr, numbers)) for name, numbers in zip(names.split(), numbers_7N, strict=True)}

    @property
    def timed(self) -> bool:
        """Whether all times are known."""
        return bool(self.timestamps) and min(self.timestamps) >= 0

    def stamps(self, first: int = 0) -> list[str]:
        """Times in seconds as text; the images' numbers, counted from `first`, where not all times are known."""
        if not self.timed:
            return [str(n) for n in range(first, first + len(self))]
        return [f"{stamp // 1_000_000}.{stamp % 1_000_000:06d}" for stamp in self.timestamps]

    def to_tum(self, first: int = 0) -> str:
        """Lines `timestamp x y z qx qy qz qw` (TUM order: w last); seconds, or the image's number if unknown."""
        rows_N7 = np.hstack([self.position, self.quaternion[:, [1, 2, 3, 0]]]).astype(np.float64).tolist()
        lines = (" ".join([stamp, *map(repr, row)]) for stamp, row in zip(self.stamps(first), rows_N7, strict=True))
        return "".join(f"{line}\n" for line in lines)

    def to_kitti(self) -> str:
        """Lines of the upper 3x4 of the camera-to-world matrices, row by row."""
        rows = self.matrix()[:, :3].reshape(-1, 12).tolist()
        return "".join(" ".join(map(repr, row)) + "\n" for row in rows)

    def to_nerf(self) -> str:
        """transforms.json: camera-to-world with OpenGL's axes (x right, y up, z backward); no intrinsics."""
        matrix_N44 = self.matrix() * np.array([1.0, -1.0, -1.0, 1.0])
        rows = zip(self.images, matrix_N44.tolist(), strict=True)
        frames = [{"file_path": image, "transform_matrix": matrix} for image, matrix in rows]
        return json.dumps({"camera_model": "OPENCV", "frames": frames}, indent=1) + "\n"

    def to_colmap(self, cameras: Sequence[int] = (), first: int = 0) -> str:
        """COLMAP images.txt: world-to-camera, two lines an image (the second, for points, is empty).

        `cameras`: the id of each image's camera; without it 1. `first`: how many images came before.
        """
        world_to_camera_N33 = rotation_matrix(self.quaternion).transpose(0, 2, 1)
        t_N3 = -np.einsum("nij,nj->ni", world_to_camera_N33, self.position)
        lines = ["# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME", "# POINTS2D[] as (X, Y, POINT3D_ID)"]
        for n, (image, (w, x, y, z), t_3) in enumerate(zip(self.images, self.quaternion, t_N3, strict=True)):
            numbers = " ".join(repr(float(v)) for v in (w, -x, -y, -z, *t_3))
            lines += [f"{first + n + 1} {numbers} {cameras[n] if cameras else 1} {image}", ""]
        return "\n".join(lines) + "\n"

    def to_json(self) -> str:
        """A JSON list of objects with image, position, quaternion and scene.

        Of a calibrated model also familiarity, radius_m and radius_deg; null stands for an infinite radius.
        """
        return json.dumps(self._objects(), indent=1) + "\n"

    def to_jsonl(self) -> str:
        """The objects of `to_json`, one a line (JSON Lines)."""
        return "".join(f"{json.dumps(one)}\n" for one in self._objects())

    def _objects(self) -> list[dict[str, Any]]:
        scenes = self.scenes or ("",) * len(self)
        known = {
            name: [float(f"{value:.4g}") if np.isfinite(value) else None for value in values_N]
            for name, values_N in self.estimates.items()
        }
        rows = zip(self.images, self.position.tolist(), self.quaternion.tolist(), scenes, *known.values(), strict=True)
        keys = ("image", "position", "quaternion", "scene", *known)
        return [dict(zip(keys, row, strict=True)) for row in rows]

    def plot(self, path: str | Path | None = None, theme: str = "light") -> Picture:
        """The cameras seen from above with their headings, a panel for each scene; saved too if `path` is given.

        `theme`: light or dark, the page it is for. `path` ends in .png, .svg or .pdf. Raises UsageError, ResourceError.
        """
        from posezoo.base import picture, plan  # matplotlib takes a second to import

        names = np.array(self.scenes or ("",) * len(self))
        scenes = {str(name): np.flatnonzero(names == name) for name in dict.fromkeys(names.tolist())}
        with picture.themed(theme):
            figure = plan.plan_of_poses(scenes, self.position, self.quaternion)
        if path:
            figure.save(Path(path))
        return figure


def table(columns: Mapping[str, Sequence[Any]]) -> str:
    """CSV text of columns of one length."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return out.getvalue()


def printable(text: str) -> str:
    """`text` that can be written as UTF-8: undecodable bytes of file names are shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
