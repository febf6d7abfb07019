"""The folder of a reader who types what README and the site show: all that the pages speak of, small.

Photographs, videos, finished runs, projects of other programs, checkpoints as authors store them (random weights), the
demo town in the layout of the benchmarks in place of /data, and its archives in place of what a browser fetched.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import authors
import authors_compute
import benchmark_trees
import demo_video
import numpy as np
import posezoo_demo
import safetensors.torch
import small_data
import tiny_instructed
import torch
import torchvision
from command_line import ok
from PIL import Image

from posezoo.api import train
from posezoo.data.export import export
from posezoo.data.open import open_dataset
from posezoo.plugin.scaffold import new_plugin

DEMO = Path(posezoo_demo.__file__).parent
SCENES = ("chess", "fire", "office", "pumpkin", "redkitchen", "stairs")  # of 7Scenes; heads is there
RUN = "20261122T101500Z"
FRAMES = 20  # of each video: what structure from motion needs
TINY = {
    **{"selection": "validation", "epochs": 1, "limit_train": 0.1, "min_epoch_images": 0, "batch_size": 8},
    **{"resize": 64, "crop": 64, "pretrained_backbone": False, "precision": "fp32"},
}
"""Settings of a training of seconds."""


def fill(folder: Path) -> None:
    """Everything, in `folder`; the commands add only what they say."""
    photographs(folder)
    videos(folder)
    trees(folder / "data")
    archives(folder)
    projects(folder)
    checkpoints(folder)
    runs(folder)
    new_plugin("yourmodel", "model", folder / "installed/posezoo-yourmodel")


def photographs(folder: Path) -> None:
    """`my-photos` with poses, single pictures, splits into blocks."""
    photos = folder / "my-photos"
    shutil.copytree(DEMO / "places", photos, ignore=shutil.ignore_patterns("church*", "market*"))
    keep_rows(photos, lambda line: "/yard" in line)
    images = sorted((photos / "images").rglob("*.jpg"))
    for name in ("photo.jpg", "a.jpg", "b.jpg", "photos/a.jpg", "day1/a.jpg", "day2/b.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(images[0], folder / name)
    blocks(folder / "blocks.csv", photos, images)
    calibration = folder / "town" / "calibration"
    shutil.copytree(DEMO / "loop", calibration, ignore=shutil.ignore_patterns("train*", "*winter*", "*evening*"))
    keep_rows(calibration, lambda line: "test-sunny" in line or "test-overcast" in line)
    move_up(calibration)


def move_up(folder: Path) -> None:
    """The same drives 10 cm higher: a recording of its own, of which no model was trained on any view."""
    head, *lines = (folder / "poses.csv").read_text(encoding="utf-8").splitlines()
    place = head.split(",").index("z")
    rows = [line.split(",") for line in lines]
    for row in rows:
        row[place] = repr(float(row[place]) + 0.1)
    (folder / "poses.csv").write_text("\n".join([head, *map(",".join, rows)]) + "\n", encoding="utf-8")


def keep_rows(folder: Path, wanted: Any) -> None:
    """Of poses.csv, the header and the lines that are wanted."""
    lines = (folder / "poses.csv").read_text(encoding="utf-8").splitlines()
    kept = [lines[0], *filter(wanted, lines[1:])]
    (folder / "poses.csv").write_text("\n".join(kept) + "\n", encoding="utf-8")


def blocks(file: Path, base: Path, images: list[Path]) -> None:
    """A split file: eight of thirty images are for the test."""
    rows = (f"{path.relative_to(base)},{'test' if 10 <= n % 30 < 18 else 'train'}" for n, path in enumerate(images))
    file.write_text("\n".join(["image,split", *rows]) + "\n", encoding="utf-8")


def videos(folder: Path) -> None:
    """A walk, what the phone felt meanwhile and where it was, and the beginning of the walk on two other days."""
    true_N3 = demo_video.video(folder / "walk.mp4", FRAMES)
    for day in ("tuesday", "wednesday"):
        demo_video.video(folder / f"{day}.mp4", 8)
    demo_video.accelerometer(folder / "phone.csv", FRAMES)
    lines = [f"{n / 3:.6f} {x:.6f} {y:.6f} {z:.6f} 0 0 0 1" for n, (x, y, z) in enumerate(true_N3)]
    (folder / "known.txt").write_text("\n".join(lines) + "\n")


def trees(data: Path) -> None:
    """7Scenes, Cambridge, ECL (drawn by a tiny model) and RobotCar, all of the demo's pictures."""
    benchmark_trees.seven_scenes(data, every=4, size=(160, 120))
    for scene in SCENES:
        shutil.copytree(data / "7scenes/heads", data / "7scenes" / scene)
    kitchen = data / "7scenes/redkitchen"
    blocks(kitchen / "blocks.csv", kitchen, sorted(kitchen.rglob("*.color.png")))
    benchmark_trees.cambridge(data, every=10, size=(96, 54))
    shutil.copytree(data / "cambridge/ShopFacade", data / "cambridge/KingsCollege")
    shutil.rmtree(data / "ecl")
    model = tiny_instructed.save(data.parent / "tiny")
    flavours = ["--flavours", "winter,summer,evening", "--model", str(model)]
    ok("data", "make-ecl", "cambridge", *flavours, "--root", str(data / "cambridge"), "--out", str(data / "ecl"))
    benchmark_trees.robotcar(data, every=8, size=(320, 240))


def archives(folder: Path) -> None:
    """What a browser fetched, in `fetched`, and the town that a page packs."""
    fetched, data = folder / "fetched", folder / "data"
    for scene in ("chess", "fire"):
        shutil.copytree(data / "7scenes" / scene, folder / "unpacked/7scenes" / scene)
    benchmark_trees.seven_scenes_archives(folder / "unpacked", fetched)
    benchmark_trees.robotcar_archives(data, fetched)
    shutil.copytree(fetched / "robotcar", folder / "town/robotcar")


def projects(folder: Path) -> None:
    """`my-project` of COLMAP, `my-capture` with transforms.json, `labels.csv` with `images`, an example's `my-room`."""
    photos = open_dataset(f"folder:{folder / 'my-photos'}").frames
    for form, out in (("colmap", folder / "my-project"), ("nerf", folder / "my-capture"), ("labels", folder)):
        export(photos, form, out)
    shutil.copytree(folder / "my-photos/images", folder / "my-project/images/images")
    shutil.copytree(folder / "my-photos/images", folder / "my-capture/images")
    shutil.copytree(folder / "my-photos/images", folder / "images/images")
    room = folder / "my-room"
    room.mkdir()
    (room / "trajectory.txt").write_text("1.5 1 2 3 0 0 0 1\n2.5 1 2 3 0 0 0 1\n")
    for name in ("1.5.png", "2.5.png"):
        Image.new("RGB", (64, 48), "grey").save(room / name)


def checkpoints(folder: Path) -> None:
    """Files as the authors of published models store them, what theirs answers for two images, and a GoogLeNet."""
    torch.manual_seed(0)
    seven = authors.ms_transformer(7, (1, 1))
    torch.save(seven, folder / "ms_7scenes.pth")
    torch.save(authors.ms_transformer(6, (1, 1)), folder / "six.pth")
    torch.save(authors.atloc(), folder / "atloc_loop.pth")
    images_BCHW = torch.randn(2, 3, 224, 224)
    position_B3, rotation_B4, logits_BS = authors_compute.ms_forward(seven, images_BCHW)
    answers = {"images": images_BCHW, "position": position_B3, "rotation": rotation_B4, "scene_logits": logits_BS}
    network = torchvision.models.get_model("googlenet", aux_logits=False, init_weights=False)
    safetensors.torch.save_file(network.state_dict(), folder / "googlenet.safetensors")
    np.savez(folder / "authors.npz", **{name: value.numpy() for name, value in answers.items()})


def runs(folder: Path) -> None:
    """Finished runs under the names that the pages give them."""
    small = {**TINY, "backbone": "resnet18", "hyper.rank": 16}
    run = train("atloc+hyper", "demo-loop", out=str(folder / "run"), **small).path
    names = [f"outputs/{model}/demo-loop/{RUN}" for model in ("atloc+hyper", "posenet")]
    names += [f"outputs/posenet+anchors/colmap-kitchen/{RUN}"]
    names += ["outputs/my-run", "outputs/atloc/demo-loop/20261122T111500Z", "RUN", "RUN_A", "RUN_B", "RUN_C"]
    for name in names:
        shutil.copytree(run, folder / name)
    shutil.copytree(run / "best", folder / "MODEL-FOLDER")
    several = {**small_data.SLIM["ms-transformer"], **small, "selection": "last"}
    out = str(folder / f"outputs/ms-transformer+hyper/cambridge/{RUN}")
    train("ms-transformer+hyper", "cambridge", root=str(folder / "data"), out=out, **several)
