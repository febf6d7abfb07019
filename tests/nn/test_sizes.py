"""Sizes by part: sums, FLOPs by hand, published figures, and bases as large as what a hypernetwork makes of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from posezoo.catalogue import entries
from posezoo.nn.model import PoseModel
from posezoo.nn.sizes import Size, sizes
from posezoo.zoo.blueprint import blueprint
from posezoo.zoo.build import build


def on_meta(name: str, **overrides: Any) -> PoseModel:
    with torch.device("meta"):
        return build(blueprint(name, {"pretrained_backbone": False, **overrides}))


@pytest.mark.parametrize("name", ["posenet", "atloc.lstm", "atloc+hyper=two", "ms-transformer+hyper=single"])
def test_parts_add_up(name: str) -> None:
    hyper = {"hyper": {"rank": 8}} if "+hyper" in name else {}
    model = on_meta(name, backbone="mobilenetv3_small_050", **hyper)
    found = sizes(model)
    parts = {part: size for part, size in found.items() if part not in ("all generators", "hypernetwork", "total")}
    assert sum(size.parameters for size in parts.values()) == sum(p.numel() for p in model.parameters())
    assert found["total"] == sum(parts.values(), Size(0, 0))
    assert {part.partition(":")[0] for part in parts} == {key.partition(".")[0] for key, _ in model.named_parameters()}
    assert ("hypernetwork" in found) == ("+hyper" in name)


def test_parts_and_flops_of_a_model_by_hand() -> None:
    settings = {
        "backbone": "mobilenetv3_small_050",
        "hidden": 16,
        "crop": 64,
        "hyper": {"code_position": 8, "code_orientation": 12},
    }
    found = sizes(on_meta("posenet+hyper", **settings))
    e = 1024  # what this backbone pools
    assert found["hidden"] == Size(e * 16 + 16, 2 * e * 16)
    assert found["position_head"] == Size(16 * 3 + 3, 2 * 16 * 3)
    # u and v from the image, and F
    assert found["orientation_head: condition and codes"] == Size(
        2 * (e * 12 + 12) + 12 * 12 + 12, 2 * (2 * e * 12 + 12 * 12)
    )
    # G makes (C_in + 1) C_out numbers; then they are applied, the bias without a product
    generated = found["orientation_head: generator 1 (12 -> 4)"]
    assert generated == Size((12 + 1) * (12 + 1) * 4, 2 * 12 * (12 + 1) * 4 + 2 * 12 * 4)


def test_anchors_are_counted_once() -> None:
    """Both heads ask the anchors, whose part it is; the heads' parts grow by their residuals."""
    settings = {"backbone": "mobilenetv3_small_050", "hidden": 16, "crop": 64}
    anchors = {"count": 10, "key_dim": 8}
    plain, found = sizes(on_meta("posenet", **settings)), sizes(on_meta("posenet+anchors", **settings, anchors=anchors))
    e, d, k = 1024, 8, 10
    for head, axes in (("position_head", 2 * 3 * 3), ("orientation_head", 0)):  # one moves along the base pose's axes
        assert found[head] == Size(plain[head].parameters + (16 + 1) * 3, plain[head].flops + 2 * 16 * 3 + axes)
    assert found["anchors"].parameters == (e + 1) * d + k * d + 1
    logits, base = 2 * e * d + 2 * d * k, 2 * k * 3 + 2 * 4 * k + 2 * 4 * k
    assert found["anchors"].flops == 2 * (logits + base)
    parts = [size for part, size in found.items() if part != "total"]
    assert found["total"] == sum(parts, Size(0, 0))


def test_the_meta_device_and_real_numbers_say_the_same() -> None:
    settings = {"backbone": "mobilenetv3_small_050", "crop": 64, "position_layers": 1, "orientation_layers": 1}
    plan = blueprint("ms-transformer+hyper", {**settings, "hyper": {"rank": 8}})
    assert sizes(build(plan)) == sizes(on_meta("ms-transformer+hyper", **settings, hyper={"rank": 8}))


def test_sizes_leave_the_model_as_it_was() -> None:
    model = build(blueprint("posenet", {"backbone": "mobilenetv3_small_050", "crop": 64}))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    sizes(model)
    assert not model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_published_figures_are_ours() -> None:
    with_figures = {name: card.figures for name, card in entries.model_cards().items() if card.figures}
    assert set(with_figures) == {"posenet+hyper", "atloc+hyper", "atloc+hyper.3d", "ms-transformer+hyper"}
    assert sum(len(figures) for figures in with_figures.values()) == 10
    for name, figures in with_figures.items():
        found = sizes(on_meta(name))
        assert {part: found[part].parameters for part in figures} == figures
    assert 4 * sizes(on_meta("ms-transformer+hyper"))["all generators"].parameters == 509_237_276


# width settings that make a base as large: registry/models/variants.toml, and for rank 256 docs/guides/models.md
SAME_SIZE = [
    ("posenet", None, "posenet.wide", {}),
    ("atloc", None, "atloc.wide", {}),
    ("ms-transformer", None, "ms-transformer.wide", {}),
    ("posenet", 256, "posenet.wide", {"hidden": 3114}),
    ("atloc", 256, "atloc.wide", {"feature": 3264}),
    ("ms-transformer", 256, "ms-transformer.wide", {"hidden": 5440}),
]


@pytest.mark.parametrize(("name", "rank", "wide", "width"), SAME_SIZE)
def test_bases_of_the_same_size(name: str, rank: int | None, wide: str, width: dict[str, int]) -> None:
    def count(model: PoseModel) -> int:
        return sum(parameter.numel() for parameter in model.parameters())

    infused, base = count(on_meta(f"{name}+hyper", hyper={"rank": rank})), count(on_meta(wide, **width))
    assert abs(base / infused - 1) < 1e-3
