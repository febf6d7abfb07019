"""The contract of models: what predict reads, and how it leaves the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_models import small

from posezoo.base.errors import DataError
from posezoo.base.spec import Frame
from posezoo.data.images.cache import ImageCache
from posezoo.data.table import Frames
from posezoo.nn.model import network_input


def picture(path: Path, width: int, height: int, seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((width, height)).save(path)
    return path


def test_predict_takes_images_of_any_size(tmp_path: Path) -> None:
    model = small()
    sizes = [(320, 240), (240, 320), (640, 480), (64, 64), (1000, 100)]
    paths = [picture(tmp_path / f"{n}.png", *size, n) for n, size in enumerate(sizes)]
    poses = model.predict(paths)
    assert poses.images == tuple(map(str, paths))
    assert poses.position.shape == (5, 3)
    assert poses.position.dtype == poses.quaternion.dtype == np.float64
    np.testing.assert_allclose(np.linalg.norm(poses.quaternion, axis=1), 1, atol=1e-6)
    assert poses.scenes == ("scene",) * 5
    for n, path in enumerate(paths):
        single = model.predict(path)
        np.testing.assert_allclose(single.position[0], poses.position[n], atol=1e-5)
    np.testing.assert_allclose(model.predict(paths, batch_size=2).position, poses.position, atol=1e-5)
    assert len(model.predict([])) == 0


def test_predict_equals_forward_on_the_cached_pixels(tmp_path: Path) -> None:
    paths = [picture(tmp_path / f"{n}.png", 320, 240, n) for n in range(4)]
    frames = Frames.from_rows(tmp_path, [Frame(path.name, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)) for path in paths])
    images_BCHW, _ = ImageCache.open(frames).batch(range(4))
    model = small()
    with torch.inference_mode():
        out = model(model.prepare(images_BCHW))
    poses = model.predict(paths)
    np.testing.assert_allclose(poses.position, out.position.numpy(), atol=1e-6)
    np.testing.assert_allclose(poses.quaternion, out.quaternion.numpy(), atol=1e-6)


def test_predict_leaves_the_mode_as_it_was(tmp_path: Path) -> None:
    model, path = small(), picture(tmp_path / "a.png", 64, 64, 0)
    model.train()
    model.backbone.eval()
    first = model.predict(path).position
    assert model.training
    assert model.hidden.training
    assert not model.backbone.training
    np.testing.assert_array_equal(first, model.predict(path).position)  # no dropout
    with pytest.raises(DataError, match=r"absent\.png"):
        model.predict([path, tmp_path / "absent.png"])
    assert model.training


def test_predict_names_the_scene(tmp_path: Path) -> None:
    layers = {"width": 16, "heads": 4, "feedforward": 8, "position_layers": 1, "orientation_layers": 1}
    model = small("ms-transformer", scenes=("attic", "barn"), **layers)
    paths = [picture(tmp_path / f"{n}.png", 320, 240, n) for n in range(3)]
    with torch.no_grad():
        model.scene.weight.zero_()
    assert model.predict(paths).scenes == ("attic",) * 3


def test_an_optimized_copy_learns_nothing_and_lies_channels_last() -> None:
    model = small()
    copy = model.optimize()
    assert not any(parameter.requires_grad for parameter in copy.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    weights = [parameter for parameter in copy.parameters() if parameter.dim() == 4 and parameter.shape[1] > 1]
    assert weights
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    assert (copy.optimized, model.optimized) == (True, False)


@pytest.mark.parametrize("missing", ["mean", "std"])
def test_a_configuration_without_pixel_statistics_is_our_own_mistake(missing: str) -> None:
    config = replace(small().config, **{missing: None})
    with pytest.raises(AssertionError):
        network_input(torch.zeros(1, 3, 80, 80, dtype=torch.uint8), config)


def test_a_line_about_a_model() -> None:
    """With the name that it was made by, else its class's."""
    model = small()
    assert repr(model).startswith(f"<{model.name}: ")
    model.name = ""
    assert repr(model).startswith(f"<{type(model).__name__}: ")


def test_raw_pictures_in_memory_are_refused_as_files_are(tmp_path: Path) -> None:
    """Where a reader made colours of raw pixels in training, grey ones are a mosaic, whose pose would mean nothing."""
    model, grey = small(), np.zeros((60, 80), np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    given = (tmp_path / "grey.png", Image.fromarray(grey), grey, grey[..., None], torch.from_numpy(grey))
    for picture_of in given:
        assert len(model.predict(picture_of)) == 1
    model.config = replace(model.config, decode="bayer gbrg 1")
    for picture_of in given:
        with pytest.raises(DataError, match="one channel"):
            model.predict(picture_of)
    assert len(model.predict(np.zeros((60, 80, 3), np.uint8))) == 1


def test_in_a_notebook() -> None:
    model = small("posenet+hyper", scenes=("<b>", "hall"))
    shown = model._repr_html_()
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert "<b>posenet+hyper</b>" in shown
    for name, value in {
        "parameters": f"{millions:.1f} M",
        "modifiers": "+hyper",
        "input": "96 x 96 pixels (resize=128, fit=crop)",
        "scenes": "&lt;b&gt;, hall",
        "device": "cpu",
    }.items():
        assert f"<td>{name}</td><td>{value}</td>" in shown
    assert "<td>modifiers</td><td>none</td>" in small("posenet")._repr_html_()
    assert repr(model) == f"<posenet+hyper: {millions:.1f} M parameters, crop 96, scenes <b>, hall, cpu>"
    many = small("posenet", scenes=tuple(f"s{n}" for n in range(9)))
    assert "s3, ..." in many._repr_html_() and "s4" not in many._repr_html_()
