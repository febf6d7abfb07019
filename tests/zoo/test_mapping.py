"""Tensors that find their places, and every kind that does not: missing, extra, of another shape, of another format."""

from __future__ import annotations

import authors
import pytest
import torch
from small_conversions import PIXELS, State, refused

from posezoo.base.spec import load_object
from posezoo.catalogue import plugins
from posezoo.zoo.convert import mapped
from posezoo.zoo.mapping import formats


@pytest.mark.parametrize("key", ["fc1.bias", "_backbone._blocks.3._bn1.running_var", "hypernet_rot_fc_h2.bias"])
def test_missing_keys_are_listed(posenet: State, key: str) -> None:
    state = {name: value for name, value in posenet.items() if name not in (key, "_backbone._conv_head.weight")}
    error = refused(state, "hyperpose", "7scenes-fire", r"\b2\b.*\b0\b")
    assert sorted(error.findings) == sorted([f"missing: {key}", "missing: _backbone._conv_head.weight"])


def test_a_missing_tensor_that_tells_a_width(posenet: State) -> None:
    state = {name: value for name, value in posenet.items() if name != "fc1.weight"}
    assert refused(state, "hyperpose", "7scenes-fire", "fc1.weight").findings == ("missing: fc1.weight",)


def test_extra_keys_are_listed(posenet: State) -> None:
    extra = {"fc4.weight": torch.ones(1), "_backbone._blocks.16._bn0.weight": torch.ones(1), "fc1.scale": torch.ones(1)}
    error = refused(posenet | extra, "hyperpose", "7scenes-fire", r"\b0\b.*\b3\b")
    assert sorted(error.findings) == sorted(f"unknown: {key}" for key in extra)


def test_other_shapes_are_listed(posenet: State) -> None:
    error = refused(posenet | {"fc2.weight": torch.ones(3, 512)}, "hyperpose", "7scenes-fire", r"\b1\b")
    assert error.findings == ("shape: fc2.weight (3, 512), expected (3, 1024)",)
    turned = posenet["hypernet_t_fc_h2.weight"].T.contiguous()
    error = refused(posenet | {"hypernet_t_fc_h2.weight": turned}, "hyperpose", "7scenes-fire", "another shape")
    assert any("hypernet_t_fc_h2" in finding for finding in error.findings)
    refused(posenet | {"fc3.weight": torch.ones(())}, "hyperpose", "7scenes-fire", "another number of axes")
    refused(posenet | {"fc3.weight": torch.ones(5, 1024)}, "hyperpose", "7scenes-fire", r"\b5\b")


def test_layers_and_scenes_of_a_multi_scene_file(multi: State) -> None:
    missing = "transformer_rot.decoder.layers.0.norm3.weight"
    scene = "regressor_head_t.2.fc_o.bias"
    state = {name: value for name, value in multi.items() if name not in (missing, scene)}
    error = refused(state, "ms-transformer", "cambridge", r"\b2\b")
    assert set(error.findings) == {f"missing: {missing}", f"missing: {scene}"}
    deeper = {
        name.replace("layers.0", "layers.1"): value for name, value in multi.items() if "t.encoder.layers" in name
    }
    error = refused(multi | deeper, "ms-transformer", "cambridge", "tensors missing")  # encoders deeper than decoders
    assert all("decoder.layers.1" in finding for finding in error.findings)
    narrow = multi | {"regressor_head_t.1.fc_h.weight": torch.ones(1000, 256)}
    error = refused(narrow, "ms-transformer", "cambridge", r"\b1\b")
    refused(multi | {"query_embed_t.weight": torch.ones(4, 250)}, "ms-transformer", "cambridge", "ms-transformer")
    heads = {
        name: value
        for name, value in multi.items()
        if not name.startswith(("regressor_head_t.3", "regressor_head_rot.3"))
    }
    refused(heads, "ms-transformer", "cambridge", "of another shape")


def test_another_format_is_suggested(posenet: State, multi: State) -> None:
    torch.manual_seed(2)
    assert refused(posenet, "atloc", "7scenes-fire", "atloc").hint == "try --from hyperpose"
    assert refused(multi, "atloc", "cambridge", "atloc").hint == "try --from hyperpose"
    hyper = authors.atloc(hyper=True)
    error = refused(hyper, "atloc", "7scenes-fire", "unknown", **PIXELS)
    assert error.hint == "try --from hyperatloc"
    assert all("hyper" in finding for finding in error.findings)
    assert refused({"a": torch.ones(1)}, "atloc", "7scenes-fire", r"\b1\b.*\ba\b").hint.startswith("known formats")


def test_not_finite(posenet: State) -> None:
    refused(posenet | {"fc2.bias": torch.full((3,), float("nan"))}, "hyperpose", "7scenes-fire", "not finite")


def test_formats_and_their_functions() -> None:
    assert formats() == ["atloc", "hyperatloc", "hyperpose", "ms-transformer"]
    for spec in (*plugins.models().values(), *plugins.modifiers().values()):
        assert all(load_object(path)({"other": (1,)}) is None for path in spec.converters.values())
        assert set(spec.converters) <= set(formats())


def test_counters_of_batch_norms_may_be_missing(posenet: State) -> None:
    old = {key: value for key, value in posenet.items() if not key.endswith("num_batches_tracked")}
    model, _ = mapped(old, "hyperpose", "7scenes-fire", {}, "")
    assert model.state_dict()["backbone.net.bn1.num_batches_tracked"] == 0


def test_half_precision_becomes_single(posenet: State) -> None:
    half = {key: value.half() if value.is_floating_point() else value for key, value in posenet.items()}
    model, _ = mapped(half, "hyperpose", "7scenes-fire", {}, "")
    assert model.position_head.base.layers[0].weight.dtype == torch.float32
