"""The demo town as a RobotCar, Cambridge, ECL or 7Scenes tree, unpacked or as archives, with pictures of our own.

    python tests/benchmark_trees.py robotcar OUT [--every N] [--size 1280 960] [--archives]

writes OUT/robotcar/<sequence>/... (`cambridge`: OUT/cambridge/... and OUT/ecl/..., `7scenes`: OUT/7scenes/...), so that
`posezoo train atloc+hyper --data robotcar-loop --root OUT` runs as on the real data. With `--archives` the same comes
packed as it is fetched, OUT/robotcar/<sequence>_gps.tar and so on, and nothing else: `posezoo data prepare` unpacks it.
The raw Bayer images are the demo's 341x256 pictures enlarged: as sharp as those, no more.
"""

from __future__ import annotations

import argparse
import csv
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import posezoo_demo
from PIL import Image
from scipy.spatial.transform import Rotation, Slerp

DEMO = Path(posezoo_demo.__file__).parent
UTM = np.array([5_735_800.0, 620_000.0, -110.0])  # northing, easting, down of the town's origin
# RobotCar's sequence: the demo's
LOOP = {
    "2014-06-26-08-53-56": "train-1",
    "2014-06-26-09-24-58": "train-2",
    "2014-06-23-15-41-25": "test-sunny",
    "2014-06-23-15-36-04": "test-overcast",
}
CAMBRIDGE = {"ShopFacade": "market-square", "OldHospital": "church-square", "StMarysChurch": "yard"}
SEVEN_SCENES = {"seq-01": "yard-test", "seq-02": "yard-train"}  # of the scene heads
TO_NED = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]])  # the town's x, y, z (up) as east, north, down
BODY_IN_CAMERA = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])  # forward, right, down in camera axes
INS_HEADER = (
    "timestamp,ins_status,latitude,longitude,altitude,northing,easting,down,utm_zone,velocity_north,velocity_east"
)
INS_HEADER += ",velocity_down,roll,pitch,yaw"


@dataclass(frozen=True)
class Ride:
    """One sequence of the demo: images, times and camera-to-world poses."""

    images: list[Path]
    stamp: np.ndarray  # (N,) microseconds
    position: np.ndarray  # (N, 3)
    rotation: Rotation
    rows: list[dict[str, str]]


def rides(folder: str) -> dict[str, Ride]:
    """The demo's sequences by name (`loop` or `places`)."""
    with (DEMO / folder / "poses.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    found = {}
    for name in dict.fromkeys(row["sequence"] for row in table):
        rows = [row for row in table if row["sequence"] == name]
        found[name] = Ride(
            [DEMO / folder / row["image"] for row in rows],
            np.array([int(row["timestamp"] or 0) for row in rows]),
            np.array([[float(row[key]) for key in "xyz"] for row in rows]),
            Rotation.from_quat([[float(row[key]) for key in ("qx", "qy", "qz", "qw")] for row in rows]),
            rows,
        )
    return found


def bayer(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture as a gbrg sensor of that size sees it."""
    rgb_HW3 = np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC))
    raw_HW = np.empty(rgb_HW3.shape[:2], dtype=np.uint8)
    for row, column, colour in ((0, 0, 1), (0, 1, 2), (1, 0, 0), (1, 1, 1)):
        raw_HW[row::2, column::2] = rgb_HW3[row::2, column::2, colour]
    return Image.fromarray(raw_HW)


def robotcar(out: Path, every: int = 1, size: tuple[int, int] = (1280, 960)) -> Path:
    """The drives round the demo's block as RobotCar's loop sequences; the folder `out`.

    Each sequence has rows of bad status, a hole of 1.6 s in the INS, and two frames after its last good row.
    """
    demo = rides("loop")
    for sequence, name in LOOP.items():
        ride = demo[name]
        folder = out / "robotcar" / sequence
        start = 1_403_772_000_000_000 + list(LOOP).index(sequence) * 10**10
        stamp = start + ride.stamp
        (folder / "stereo" / "centre").mkdir(parents=True)
        (folder / "gps").mkdir()
        picked = list(range(0, len(stamp), every))
        for n in picked:
            with Image.open(ride.images[n]) as picture:
                bayer(picture, size).save(folder / "stereo" / "centre" / f"{stamp[n]}.png", compress_level=1)
        chunks = "".join(f"{stamp[n]} {1 + 2 * place // len(picked)}\n" for place, n in enumerate(picked))
        (folder / "stereo.timestamps").write_text(chunks)
        times = np.arange(stamp[0] - 100_000, stamp[picked[-2]] - 50_000, 20_000)
        (folder / "gps" / "ins.csv").write_text(_ins(ride, stamp, times, stamp[picked[len(picked) // 2]]))
    return out


def _ins(ride: Ride, stamp: np.ndarray, times: np.ndarray, middle: int) -> str:
    """INS rows at `times`, along the ride; the 1.6 s before `middle` + 0.8 s are bad or absent."""
    inside = np.clip(times, stamp[0], stamp[-1])
    position_M3 = np.stack([np.interp(inside, stamp, ride.position[:, axis]) for axis in range(3)], axis=1)
    ned_M3 = position_M3 @ TO_NED.T + UTM
    camera = Slerp(stamp, ride.rotation)(inside).as_matrix()
    yaw_pitch_roll_M3 = Rotation.from_matrix(TO_NED @ camera @ BODY_IN_CAMERA).as_euler("ZYX")
    lines = [INS_HEADER]
    for time, (north, east, down), (yaw, pitch, roll) in zip(times, ned_M3, yaw_pitch_roll_M3, strict=True):
        if abs(time - middle) < 400_000:
            continue
        status = "SOLUTION_FREE" if abs(time - middle) < 800_000 else "INS_SOLUTION_GOOD"
        place = f"51.76,-1.26,{-down:.6f},{north:.6f},{east:.6f},{down:.6f},30U,0,0,0"
        lines.append(f"{time},{status},{place},{roll:.9f},{pitch:.9f},{yaw:.9f}")
    return "\n".join(lines) + "\n"


def cambridge(out: Path, every: int = 1, size: tuple[int, int] = (480, 270)) -> Path:
    """Three demo places as Cambridge scenes, and their test frames once more as ECL's winter; the folder `out`."""
    for scene, place in CAMBRIDGE.items():
        folder = out / "cambridge" / scene
        focals = []
        for number, split in enumerate(("train", "test"), 1):
            ride = rides("places")[f"{place}-{split}"]
            lines = ["Visual Landmark Dataset V1", "ImageFile, Camera Position [X Y Z W P Q R]", ""]
            labels = [",scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4"]
            for n in range(0, len(ride.images), every):
                name = f"seq{number}/frame{n + 1:05d}"
                x, y, z, w = ride.rotation[n].inv().as_quat() * (1.01 if n % 7 == 3 else 1)
                pose = [*ride.position[n], w, x, y, z]
                lines.append(" ".join([f"{name}.png", *(f"{value:.9f}" for value in pose)]))
                focals.append(f"{name}.jpg {float(ride.rows[n]['fx']) / 341 * 1920:.6f} 1 0 0 0 0 0 0 0 0")
                numbers = ",".join(f"{value:.9f}" for value in pose)
                labels.append(f"{n},{scene},test,seq{number},{scene}/{name}_winter.png,{numbers}")
                places = [folder / f"{name}.png"]
                places += [out / "ecl" / "winter" / scene / f"{name}_winter.png"] * (split == "test")
                for path in places:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with Image.open(ride.images[n]) as picture:
                        picture.resize(size).save(path)
            (folder / f"dataset_{split}.txt").write_text("\n".join(lines) + "\n")
            if split == "test":
                (out / "ecl" / f"abs_cambridge_{scene}_test_winter.csv").write_text("\n".join(labels) + "\n")
        model = ["NVM_V3", "", str(len(focals)), *focals, "", "0", ""]
        (folder / "reconstruction.nvm").write_text("\n".join(model))
    return out


def seven_scenes(out: Path, every: int = 1, size: tuple[int, int] = (640, 480)) -> Path:
    """The demo's yard as the 7Scenes scene heads; the folder `out`."""
    scene = out / "7scenes" / "heads"
    for sequence, name in SEVEN_SCENES.items():
        ride = rides("places")[name]
        (scene / sequence).mkdir(parents=True)
        for number, n in enumerate(range(0, len(ride.images), every)):
            pose_44 = np.eye(4)
            pose_44[:3, :3], pose_44[:3, 3] = ride.rotation[n].as_matrix(), ride.position[n]
            lines = ["\t ".join(f"{value:.9e}" for value in row) for row in pose_44]
            (scene / sequence / f"frame-{number:06d}.pose.txt").write_text("\n".join(lines) + "\n")
            with Image.open(ride.images[n]) as picture:
                picture.resize(size).save(scene / sequence / f"frame-{number:06d}.color.png", compress_level=1)
    (scene / "TrainSplit.txt").write_text("sequence2\n")
    (scene / "TestSplit.txt").write_text("sequence1\n")
    return out


def robotcar_archives(tree: Path, out: Path) -> None:
    """The tree as tars: one for each chunk of a sequence's images, with all its times, and one for its INS."""
    for folder in sorted((tree / "robotcar").iterdir()):
        times = folder / "stereo.timestamps"
        chunk_of = dict(line.split() for line in times.read_text().splitlines())
        for chunk in sorted(set(chunk_of.values())):
            images = [folder / f"stereo/centre/{stamp}.png" for stamp, one in chunk_of.items() if one == chunk]
            _tar(out / f"robotcar/{folder.name}_stereo_centre_0{chunk}.tar", folder.parent, [*images, times])
        _tar(out / f"robotcar/{folder.name}_gps.tar", folder.parent, [folder / "gps/ins.csv"])


def cambridge_archives(tree: Path, out: Path) -> None:
    """The trees as a zip for each scene of Cambridge and one for ECL's winter."""
    for folder in sorted((tree / "cambridge").iterdir()):
        _zip(out / f"cambridge/{folder.name}.zip", folder.parent, _files(folder))
    _zip(out / "ecl/winter.zip", tree / "ecl", _files(tree / "ecl"))


def seven_scenes_archives(tree: Path, out: Path) -> None:
    """The tree as a zip for the scene, in which each sequence is a zip of its own."""
    for scene in sorted((tree / "7scenes").iterdir()):
        for sequence in sorted(path for path in scene.iterdir() if path.is_dir()):
            _zip(scene / f"{sequence.name}.zip", scene, _files(sequence))
        _zip(out / f"7scenes/{scene.name}.zip", scene.parent, [path for path in scene.iterdir() if path.is_file()])


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _tar(path: Path, base: Path, files: Iterable[Path]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for file in files:
            archive.add(file, str(file.relative_to(base)))


def _zip(path: Path, base: Path, files: Iterable[Path]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in files:
            archive.write(file, file.relative_to(base))


KINDS = {
    "robotcar": (robotcar, robotcar_archives),
    "cambridge": (cambridge, cambridge_archives),
    "7scenes": (seven_scenes, seven_scenes_archives),
}


def archives(kind: str, out: Path, **options: Any) -> Path:
    """A benchmark's untouched archives, and nothing else, in the folder `out`; options as of the trees."""
    write, pack = KINDS[kind]
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        pack(write(Path(folder), **options), out)
    return out


def main() -> None:
    """Write a tree from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("out", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take every N-th frame")
    parser.add_argument("--size", type=int, nargs=2, help="width and height of the images")
    parser.add_argument("--archives", action="store_true", help="write the archives as they are fetched")
    given = parser.parse_args()
    options = {"every": given.every} | ({"size": tuple(given.size)} if given.size else {})
    if given.archives:
        print(archives(given.kind, given.out.absolute(), **options))
    else:
        print(KINDS[given.kind][0](given.out, **options))


if __name__ == "__main__":
    main()
