"""The example plugins: found from their folders; +tta is true to the pose; (slow) installed beside the wheel."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import example_plugins
import faults
import numpy as np
import pytest
import small_data
import torch
from level import Level, slopes

import posezoo
from posezoo.catalogue import plugins
from posezoo.nn import geometry, place, transforms
from posezoo.nn.outputs import PoseOutput
from posezoo.testing import ModelConformance
from posezoo.testing.run import check
from posezoo.zoo.build import create_model
from posezoo.zoo.saved import load, save

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module", autouse=True)
def installed() -> Iterator[None]:
    """The examples, found as if they were installed."""
    with example_plugins.installed():
        yield


def test_all_are_on_and_bring_what_they_say() -> None:
    rows = {plugin.name: plugin for plugin in plugins.plugins() if plugin.distribution != "posezoo"}
    assert {name: plugin.error for name, plugin in rows.items()} == {
        "hello": "",
        "hello-data": "",
        "route": "",
        "tta": "",
    }
    assert {"hello"} <= set(plugins.models())
    assert {"route", "tta"} <= set(plugins.modifiers())
    assert {"hello-data"} <= set(plugins.readers()) & set(plugins.catalogues())


class TestHello(ModelConformance):
    model = "hello"
    settings = {"hidden": 16}
    traced = ()  # .ci/run exports a trained one


class TestTta(ModelConformance):
    model = "posenet+tta"
    settings = {"hidden": 16}
    traced = ()


class TestRoute(ModelConformance):
    model = "posenet+route"
    settings = {"hidden": 16}
    traced = ("+hyper=residual",)


@pytest.mark.slow
@pytest.mark.parametrize(("suite", "infusion"), [(TestHello, "+hyper=single"), (TestTta, "+hyper=two")])
def test_tracing(suite: type[ModelConformance], infusion: str) -> None:
    suite().test_compile(infusion)
    suite().test_export(infusion)


def test_a_format_and_a_modifier_are_checked_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trajectory.txt").write_text("1.5 1 2 3 0 0 0 1\n2.5 1 2 3 0 0 0 1\n")
    (tmp_path / "1.5.png").touch()
    for name in ("hello-data", f"hello-data:{tmp_path}"):
        outcomes = check(name)
        assert len(outcomes) == 7
        assert {outcome.problem for outcome in outcomes} == {""}
    for name in [name for name in dir(ModelConformance) if name.startswith("test_") and name != "test_pose"]:
        monkeypatch.delattr(ModelConformance, name)
    assert {outcome.problem for outcome in check("tta", {"feature": 8})} == {""}


@pytest.mark.parametrize("angles", [(5.0,), (-7.0,), (-4.0, 4.0), (10.0, 3.0, -8.0)])
def test_tta_is_true_to_the_pose(angles: tuple[float, ...]) -> None:
    """What a roll of the camera does to the picture is undone in the answer, whatever the angles."""
    apply = plugins.get("posezoo_modifiers", "modifier", "tta").load("apply")
    config = plugins.get("posezoo_modifiers", "modifier", "tta").load("config")
    model = Level().eval()
    images_BCHW = slopes(torch.tensor([0.0, 0.6, -2.5]))
    with torch.no_grad():
        plain = model(images_BCHW)
        apply(model, config(angles))
        mean = model(images_BCHW)
        assert geometry.angle_deg(mean.quaternion, plain.quaternion).max() < 0.01
        model.train()
        assert torch.equal(model(images_BCHW).quaternion, plain.quaternion)
        # the picture does turn: without turning back the answers would be off by the angle
        roll_B33 = geometry.rotation_from_euler_deg(*torch.tensor([0.0, 0.0, angles[0]])).expand(3, 3, 3)
        focal_B2 = torch.full((3, 2), 128.0)
        turned = transforms.rotate_cameras(images_BCHW, focal_B2, focal_B2 / 2, roll_B33, 128)
        off_B = geometry.angle_deg(model(turned).quaternion, plain.quaternion)
        torch.testing.assert_close(off_B, torch.full((3,), abs(angles[0])), atol=0.05, rtol=0)


def test_tta_is_saved_with_the_model(tmp_path: Path) -> None:
    more = {"backbone": "test_efficientnet.r160_in1k", "pretrained_backbone": False, "resize": 64, "crop": 64}
    model = create_model("hello+tta+hyper", tta={"angles": (3.0,)}, hyper={"rank": 4}, **more)
    save(model, tmp_path / "m", "card")
    again = load(f"local-dir:{tmp_path / 'm'}")
    images_BCHW = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(images_BCHW).quaternion, model(images_BCHW).quaternion)
        again._forward_hooks.clear()
        assert not torch.equal(again(images_BCHW).quaternion, model(images_BCHW).quaternion)


def test_route_learns_the_axes_and_counts_across_them_more() -> None:
    """A path along (3, 4, 0), ten times as long as wide, flat: its axes, deviations, and a loss by hand."""
    model = create_model(
        "hello+route", route={"weight": 0.5}, backbone="test_efficientnet.r160_in1k", pretrained_backbone=False
    )
    along, across = np.array([0.6, 0.8, 0.0]), np.array([-0.8, 0.6, 0.0])
    position = np.array([5e6, 6e5, 30.0]) + np.array([[10.0, 1], [-10, 1], [10, -1], [-10, -1]]) @ np.stack(
        [along, across]
    )
    one = np.tile([1.0, 0, 0, 0], (4, 1))
    place.learn_place(
        model,
        place.Place(position, one, np.zeros(4, int), np.full((4, 4), np.nan), lambda rows: pytest.fail("unasked")),
    )
    deviation, axes = model.path.deviation_S3[0].numpy(), model.path.axes_S33[0].numpy()
    np.testing.assert_allclose(deviation, [1.0, 1.0, 10.0], rtol=1e-3)  # a tenth of the longest at least
    np.testing.assert_allclose(np.abs(axes[2] @ along), 1, atol=1e-6)
    true = torch.from_numpy(position[:2])
    for error, expected in ((along, 0.1), (across, 1.0), (np.array([0, 0, 1.0]), 1.0)):
        output = PoseOutput(true + torch.from_numpy(error), torch.zeros(2, 4), torch.from_numpy(one[:2]))
        ((name, loss),) = model.path.extra_losses(None, output, place.Target(true, output.quaternion, None)).items()
        assert (name, float(loss)) == ("route", pytest.approx(0.5 * expected, rel=1e-3))


def test_route_trains_saves_and_loads(tmp_path: Path) -> None:
    """From outside, through both doors: the loss is in the metrics, what was learned in the model folder."""
    data, out = small_data.one_place(tmp_path / "data"), tmp_path / "run"
    tiny = {**small_data.FAST, "hidden": 16, "epochs": 1, "selection": "last", "out": str(out)}
    posezoo.train("hello+route", f"folder:{data}", **tiny)
    lines = [line for line in faults.metrics(out) if "loss" in line]
    assert len(lines) == 3
    for line in lines:
        assert line["route_loss"] > 0
    route = load(f"local-dir:{out}").path
    position = np.array([[row[axis] for axis in "xyz"] for row in small_data.rows("yard")[:24]])
    found = np.sqrt(np.linalg.eigvalsh(np.cov(position.T, bias=True)))
    np.testing.assert_allclose(route.deviation_S3[0].numpy(), found.clip(found.max() / 10), rtol=1e-3)


@pytest.mark.slow
def test_installed_beside_the_wheel(tmp_path: Path) -> None:
    """pip builds posezoo's wheel and the examples into a new environment, which trains, saves and loads hello+hyper."""

    def run(*words: str) -> str:
        own = {key: value for key, value in os.environ.items() if not key.startswith(("POSEZOO_PLUGIN", "PYTHON"))}
        done = subprocess.run(words, cwd=tmp_path, env=own, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done
        return done.stdout

    venv.create(tmp_path / "venv", with_pip=False)
    python, script = (str(tmp_path / "venv" / "bin" / name) for name in ("python", "posezoo"))
    # dependencies are this environment's: torch is not fetched again
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (site / "outer.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")))
    sources = [str(ROOT), *map(str, sorted(example_plugins.EXAMPLES.glob("posezoo-*")))]
    dist = ["--no-build-isolation", "--wheel-dir", str(tmp_path / "dist")]
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", *dist, *sources)
    wheels = [str(path) for path in (tmp_path / "dist").glob("*.whl")]
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--quiet", *wheels)
    assert str(site) in run(python, "-c", "import posezoo; print(posezoo.__file__)")
    states = {row["plugin"]: row["state"] for row in json.loads(run(script, "plugins", "--format", "json"))}
    assert [states[name] for name in ("hello", "hello-data", "route", "tta")] == ["on"] * 4
    assert "hello-data-room" in run(script, "data", "list", "--format", "json")
    for name in ("hello", "hello-data", "route", "tta"):
        outcomes = json.loads(run(script, "plugins", "check", name, "--format", "json"))
        assert outcomes
        assert {outcome["problem"] for outcome in outcomes} == {""}, name
    tiny = small_data.words({**small_data.FAST, "hyper.rank": 4, "hidden": 16, "out": "run"})
    run(script, "train", "hello+hyper", "--data", "demo-loop", "--format", "quiet", *tiny)
    losses = [line["loss"] for line in faults.metrics(tmp_path / "run") if "loss" in line]
    assert losses
    assert all(math.isfinite(loss) for loss in losses)
    run(script, "export", "run", "--check")
    loaded = "import posezoo, sys; m = posezoo.load('local-dir:run'); print(m.name, len(m.predict(sys.argv[1:])))"
    picture = str(ROOT / "plugins/posezoo_demo/loop/images/test-winter/0000.jpg")
    assert run(python, "-c", loaded, picture).split() == ["hello+hyper", "1"]
    run(script, "plugins", "new", "fresh", "--kind", "model")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--quiet", "./posezoo-fresh")
    run(python, "-m", "pytest", "-q", "-n", "0", "-k", "test_pose", "posezoo-fresh")
