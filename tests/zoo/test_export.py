"""Exported files against the models they are made from: every architecture, every infusion, any batch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import posezoo_demo
import pytest
import torch
from naming import naming
from small_models import with_estimate
from test_models import NAMES, build, images

import posezoo
from posezoo.base.errors import ResourceError, UsageError, WeightsError
from posezoo.base.poses import ESTIMATES
from posezoo.nn.model import PoseModel
from posezoo.nn.place import Place, learn_place
from posezoo.zoo import export as exporting
from posezoo.zoo import exported
from posezoo.zoo.export import _write, export
from posezoo.zoo.saved import save

DEMO = sorted((Path(posezoo_demo.__file__).parent / "loop").rglob("*.jpg"))[:4]
# the converters take up to a minute a model, by its layers; plain ms-transformer alone leaves its embedding empty
QUICK = [("ms-transformer+hyper=residual", "onnx"), ("ms-transformer", "pt2"), ("atloc", "pt2")]
TINY = {"backbone": "test_efficientnet.r160_in1k", "resize": 64, "crop": 64}


def same(one: posezoo.PoseModel, file: Path) -> None:
    """The file gives the model's outputs for batches of 1, 2 and 5, and its poses of photographs."""
    again = exported.load(file, trust=True)
    assert again.name == one.name
    for batch in (1, 2, 5):
        with torch.no_grad():
            expected, got = (model(images(batch, one.config.crop)) for model in (one, again))
        torch.testing.assert_close(got.position, expected.position, rtol=0, atol=1e-4)
        torch.testing.assert_close(got.quaternion, expected.quaternion, rtol=0, atol=1e-4)
        assert (got.scene is None) == (expected.scene is None)
        if expected.scene is not None:
            assert torch.equal(got.scene, expected.scene)
    expected, got = one.predict(DEMO, batch_size=3), again.predict(DEMO, batch_size=3)
    assert len(DEMO) == 4
    assert got.images == expected.images
    assert got.scenes == expected.scenes
    assert abs(got.position - expected.position).max() < 1e-4
    assert abs(got.quaternion - expected.quaternion).max() < 1e-4


def test_a_folder_in_the_way_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_write", lambda *given: pytest.fail("the work was begun"))
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(UsageError, match=naming(tmp_path / "m.onnx")):
        export(build("posenet", **TINY, hidden=8), "onnx", tmp_path / "m.onnx")
    assert list(tmp_path.rglob("*")) == [tmp_path / "m.onnx"]


@pytest.mark.parametrize(
    ("name", "to"),
    [
        *(("posenet", "onnx"), ("ms-transformer", "pt2")),
        *(
            pytest.param(name, to, marks=pytest.mark.slow)
            for name, to in (("posenet", "pt2"), ("ms-transformer", "onnx"))
        ),
    ],
)
def test_files_carry_the_error_estimate(name: str, to: str, tmp_path: Path) -> None:
    """Its embedding too, which plain ms-transformer otherwise leaves out; infinite where nothing is known."""
    model = with_estimate(build(name, **TINY))
    file = export(model, to, tmp_path / f"a.{to}", check=True).path
    again = exported.load(file, trust=True)
    given_BCHW = images(5, model.config.crop)
    with torch.no_grad():
        expected, got = model(given_BCHW), again(given_BCHW)
    for one in ESTIMATES:
        torch.testing.assert_close(getattr(got, one), getattr(expected, one), rtol=0, atol=1e-4)
    found = again.predict(DEMO)
    assert set(found.estimates) == set(ESTIMATES)
    np.testing.assert_allclose(found.familiarity, model.predict(DEMO).familiarity, atol=1e-4)
    model.estimate.edges[:] = 2.0  # nothing is as familiar
    unknown = exported.load(export(model, to, tmp_path / f"b.{to}").path, trust=True)(given_BCHW)
    assert unknown.radius_m.isinf().all()


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "pt2"])
@pytest.mark.parametrize("name", NAMES)
def test_every_model_in_every_form(name: str, to: str, tmp_path: Path) -> None:
    exported_alike(build(name), name, to, tmp_path)


@pytest.mark.parametrize(("name", "to"), QUICK)
def test_some_on_a_tiny_backbone(name: str, to: str, tmp_path: Path) -> None:
    exported_alike(build(name, **TINY), name, to, tmp_path)


def exported_alike(model: PoseModel, name: str, to: str, tmp_path: Path) -> None:
    """One file, checked, that gives the model's outputs."""
    if model.config.scenes and "ms-transformer" in name:  # the scenes must differ between the images
        with torch.no_grad():
            assert len(model(images(5, model.config.crop)).scene_logits.unique()) > 3
    done = export(model, to, tmp_path / f"a.{to}", check=True)
    assert done.path == tmp_path / f"a.{to}"
    assert done.bytes == done.path.stat().st_size
    assert 0 <= done.position_m <= 1e-4
    assert 0 <= done.quaternion <= 1e-4
    assert list(tmp_path.iterdir()) == [done.path]
    same(model, done.path)


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("posenet+anchors", "onnx"),
        pytest.param("ms-transformer+anchors", "pt2", marks=pytest.mark.slow),
        pytest.param("posenet+anchors", "pt2", marks=pytest.mark.slow),
        pytest.param("ms-transformer+anchors+hyper", "onnx", marks=pytest.mark.slow),
        pytest.param("atloc+anchors", "onnx", marks=pytest.mark.slow),
    ],
)
def test_anchors_in_every_form(name: str, to: str, tmp_path: Path) -> None:
    """With anchors of a place, one of whose scenes has none."""
    # generators of random weights that read cells answer metres apart for noise, and float32 a millimetre
    settings = {"backbone": "test_efficientnet.r160_in1k", "image_embedding": "own" if "+hyper" in name else "cells"}
    model = build(name, anchors={"count": 12, "key_dim": 8}, **settings)
    with torch.no_grad():
        image_NE = model.encode(images(30)).image
    random = np.random.default_rng(0)
    position, quaternion = random.normal(size=(30, 3)) * 3, random.normal(size=(30, 4))
    quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
    known = Place(position, quaternion, np.arange(30) % 2, np.full((30, 4), np.nan), lambda rows: image_NE[list(rows)])
    learn_place(model, known)
    done = export(model, to, tmp_path / f"a.{to}", check=True)
    assert 0 <= done.position_m <= 1e-4
    same(model, done.path)


@pytest.mark.slow
@pytest.mark.parametrize("rotation", ["6d", "9d", "log-quaternion"])
def test_every_rotation_representation(rotation: str, tmp_path: Path) -> None:
    model = build("posenet", rotation=rotation)
    same(model, export(model, "onnx", tmp_path / "a.onnx").path)


def test_the_file_says_what_it_needs(tmp_path: Path) -> None:
    model = build("posenet", **TINY)
    path = export(model, "onnx", tmp_path / "a.onnx").path
    session = onnxruntime.InferenceSession(path)
    (given,) = session.get_inputs()
    assert (given.name, given.shape[1:], given.type) == ("images", [3, 64, 64], "tensor(float)")
    assert isinstance(given.shape[0], str)
    assert [(o.name, o.type) for o in session.get_outputs()] == [
        ("position", "tensor(double)"),
        ("quaternion", "tensor(float)"),
    ]
    facts = json.loads(session.get_modelmeta().custom_metadata_map["posezoo"])
    assert (facts["name"], facts["conventions"]) == ("posenet", 1)
    assert facts["config"]["position_mean"] == [10.0, -3.0, 1.0]
    assert facts["config"]["scenes"] == ["attic", "barn", "cellar"]
    assert set(facts["config"]) >= {"resize", "crop", "mean", "std", "interpolation", "rotation", "position_std"}


@pytest.fixture
def small() -> PoseModel:
    return build("posenet", backbone="test_efficientnet.r160_in1k", hidden=8, resize=64, crop=64)


def test_a_file_that_differs_is_refused_and_removed(
    small: PoseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = _write

    def write_another(model: PoseModel, path: Path) -> None:
        with torch.no_grad():
            model.position_head.layers[0].bias += 1e-3
            write(model, path)
            model.position_head.layers[0].bias -= 1e-3

    monkeypatch.setattr(exporting, "_write", write_another)
    with pytest.raises(WeightsError, match=naming("a.pt2", "0.003 m")):
        export(small, "pt2", tmp_path / "a.pt2", check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_and_the_mode_of_a_model(
    small: PoseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(small, tmp_path / "run" / "best", "card")
    monkeypatch.chdir(tmp_path)
    done = export(tmp_path / "run", "pt2")
    assert done.path == Path("posenet.pt2")
    assert done.rows() == {"file": "posenet.pt2", "bytes": done.bytes}
    same(small, done.path)
    small.train()
    export(small, "pt2", check=True)
    assert small.training


def test_what_cannot_be_written(small: PoseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"\.onnx\b"):
        export(small, "onnx", tmp_path / "a.pt2")
    with pytest.raises(ResourceError, match=naming(tmp_path / "absent")):
        export(small, "pt2", tmp_path / "absent" / "a.pt2")
    with pytest.raises(WeightsError, match=naming(tmp_path / "absent")):
        export(tmp_path / "absent")
    monkeypatch.setattr(exported, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=naming("onnx", "onnxscript", "onnxruntime", "pip install 'posezoo[export]'")):
        export(small, "onnx", tmp_path / "a.onnx")
