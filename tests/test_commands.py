"""Every command that README and the site show is run, in order, a page at a time.

They run in a folder that has what the pages speak of: photographs, a video, finished runs, and the demo town in the
layout of the benchmarks (tests/benchmark_trees.py) in place of /data. A training is tried, not run to its end
(`--dry-run`: the real data and model, two steps). What cannot run here is listed with its reason, and the list may
name nothing that no page shows.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import benchmark_trees
import faults
import posezoo_demo
import pytest
from test_docs import PAGES, ROOT, commands

DEMO = Path(posezoo_demo.__file__).parent / "places"
SCENES = ("chess", "fire", "office", "pumpkin", "redkitchen", "stairs")  # of 7Scenes; heads is there
NOT_RUN = {
    "--install-completion": "would change the shell",
    "camera:0": "needs a camera",
    "hf-hub:": "needs the hub; tests/zoo and tests/publish use one of their own",
    "weights push": "needs the hub",
    "weights build": "trains for hours",
    "--launcher": "grids run for hours; tests/studies/test_launch.py starts small ones",
    "bench grid": "runs for hours; tests/studies/test_grid.py has small ones",
    "bench speed": "minutes of measuring; tests/bench",
    "bench scale": "minutes of measuring",
    "bench startup": "measures this machine; tests/bench/test_machine.py",
    "bench loading": "minutes of measuring",
    "data make-ecl": "needs the weights of others; tests/data/appearance",
    "weights convert": "needs checkpoints of others; tests/cli/test_weights_convert.py",
    "ms-7scenes": "a converted checkpoint of others",
    "googlenet.safetensors": "weights of others; tests/zoo/test_pretrained.py",
    "yourmodel": "the name stands for the reader's own",
    "hello": "an example plugin, installed by .ci/run",
    "tta": "an example plugin, installed by .ci/run",
    "MODEL-FOLDER": "the name stands for what weights build wrote; tests/training/test_calibrate.py",
    "posezoo serve": "serves for ever; tests/serving",
    "posezoo map": "minutes of structure from motion; tests/place",
    "colmap:kitchen": "what posezoo map makes; tests/place",
    "colmap-kitchen": "a run on it",
    "data verify 7scenes": "counts the frames of the real data; tests/cli/test_data.py",
    "--data ecl ": "the whole of ECL; tests/plugins/test_benchmarks_cambridge.py",
    "posezoo study": "minutes to hours; tests/studies has small ones",
    "data prepare": "needs archives; tests/cli/test_data_prepare.py",
    "ms-transformer+hyper/cambridge": "a run on Cambridge; tests/plugins/test_benchmarks_cambridge.py",
    "report RUN --open": "opens a browser",
    "colmap:my-project": "tests/plugins/test_benchmarks_own.py reads such projects",
    "nerf:my-capture": "the same",
    "csv:labels.csv": "the same",
    "--root town": "what the page makes of a checkout; the tree is tried as /data/robotcar",
}
RUN = "20261122T101500Z"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the pages' commands run; nothing in it is written by them but what they say."""
    import demo_video

    from posezoo.api import train

    folder = tmp_path_factory.mktemp("reader")
    photos = folder / "my-photos"
    shutil.copytree(DEMO, photos, ignore=shutil.ignore_patterns("church*", "market*"))
    lines = (photos / "poses.csv").read_text(encoding="utf-8").splitlines()
    lines = [lines[0], *(line for line in lines if "/yard" in line)]
    (photos / "poses.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    images = sorted((photos / "images").rglob("*.jpg"))
    for name in ("photo.jpg", "a.jpg", "b.jpg", "photos/a.jpg", "day1/a.jpg", "day2/b.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(images[0], folder / name)
    benchmark_trees.seven_scenes(folder / "data", every=4, size=(160, 120))
    for scene in SCENES:
        shutil.copytree(folder / "data/7scenes/heads", folder / "data/7scenes" / scene)
    benchmark_trees.cambridge(folder / "data", every=6)
    shutil.copytree(folder / "data/cambridge/ShopFacade", folder / "data/cambridge/KingsCollege")
    benchmark_trees.robotcar(folder / "data", every=8, size=(320, 240))
    pytest.importorskip("av", reason="pip install '.[map]'")
    demo_video.video(folder / "walk.mp4", 3)
    for data, names in (("my-photos", images), ("data/7scenes/redkitchen", [])):
        names = names or sorted((folder / data).rglob("*.color.png"))
        base = folder / data
        rows = (f"{path.relative_to(base)},{'test' if 10 <= n % 30 < 18 else 'train'}" for n, path in enumerate(names))
        where = folder / ("blocks.csv" if names == images else f"{data}/blocks.csv")
        where.write_text("\n".join(["image,split", *rows]) + "\n", encoding="utf-8")
    tiny = {
        "selection": "validation",
        "epochs": 1,
        "limit_train": 0.1,
        "resize": 64,
        "crop": 64,
        "backbone": "resnet18",
        "hyper.rank": 16,
    }
    run = train("atloc+hyper", "demo-loop", out=str(folder / "run"), pretrained_backbone=False, **tiny).path
    for name in ("RUN", "RUN_A", "RUN_B", "RUN_C", f"outputs/atloc+hyper/demo-loop/{RUN}"):
        shutil.copytree(run, folder / name)
    return folder


def all_commands() -> list[tuple[str, list[str]]]:
    """(page, words) of every command of the pages that is not listed above, without repetitions."""
    seen: set[tuple[str, ...]] = set()
    found = []
    for page in PAGES:
        for words in commands(page):
            text = " ".join(["posezoo", *words])
            if page.name in ("LOG.md", "CHANGELOG.md") or tuple(words) in seen or any(part in text for part in NOT_RUN):
                continue
            seen.add(tuple(words))
            found.append((str(page.relative_to(ROOT)), words))
    return found


def test_the_list_of_what_is_not_run_is_needed() -> None:
    texts = [" ".join(["posezoo", *words]) for page in PAGES for words in commands(page)]
    assert [part for part in NOT_RUN if not any(part in text for text in texts)] == []


@pytest.mark.parametrize(
    ("page", "words"), all_commands(), ids=lambda value: value if isinstance(value, str) else " ".join(value[:3])
)
def test_the_command_runs(place: Path, page: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("POSEZOO_DATA", str(place / "data"))
    words = [re.sub(r"(^|=)/data\b", rf"\g<1>{place}/data", word) for word in words]
    if words[0] == "train" and "--print-config" not in words:
        small = {"pretrained_backbone": "false", "batch_size": "4"}
        given = {word.partition("=")[0] for word in words}
        words += ["--dry-run", *(f"{key}={value}" for key, value in small.items() if key not in given)]
    words += ["--limit", "2"] if words[:2] == ["data", "corrupt"] else []
    ended = faults.in_process(words)
    assert ended.code == 0, f"{page}: posezoo {' '.join(words)}\n{ended.stderr[-1500:]}"
