"""MS-Transformer: the rules of its transformers against naive loops, the choice of the scene, the position table.

Long: every rule that no shape would catch has a naive loop of its own.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from naming import naming
from posezoo_ms_transformer.as_published import as_published
from posezoo_ms_transformer.attention import DRAWS, Attention, Recomputed, attend, kept
from posezoo_ms_transformer.model import (
    DecoderLayer,
    EncoderLayer,
    MSTransformer,
    MSTransformerConfig,
    PositionEncoding,
    SineEncoding,
)
from torch import Tensor, nn
from torch.nn import functional as F

from posezoo.base.errors import UsageError
from posezoo.nn.place import Target, extra_losses
from posezoo.zoo.blueprint import blueprint
from posezoo.zoo.build import build, create_model

D, HEADS = 16, 4
CONFIG = MSTransformerConfig(width=D, heads=HEADS, feedforward=12)


def perturbed(module: nn.Module) -> nn.Module:
    """The module with no zero biases and no unit norms, which would hide a mistake; in eval mode."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return module.eval()


def attention(layer: Attention, query_SD: Tensor, key_ND: Tensor, value_ND: Tensor) -> Tensor:
    """Attention of one image, query by query and head by head."""
    w_q, w_k, w_v = layer.in_proj_weight.chunk(3)
    b_q, b_k, b_v = layer.in_proj_bias.chunk(3)
    q, k, v = query_SD @ w_q.T + b_q, key_ND @ w_k.T + b_k, value_ND @ w_v.T + b_v
    width = D // HEADS
    rows = []
    for query in q:
        parts = []
        for head in range(HEADS):
            own = slice(head * width, (head + 1) * width)
            weights = torch.softmax(torch.stack([query[own] @ key[own] / math.sqrt(width) for key in k]), 0)
            parts.append(sum(weight * value[own] for weight, value in zip(weights, v, strict=True)))
        rows.append(layer.out_proj(torch.cat(parts)))
    return torch.stack(rows)


def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5) * layer.weight + layer.bias


def feedforward(layer: Any, x: Tensor) -> Tensor:
    hidden = layer[0](x)
    return layer[3](hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2))))  # the exact GELU


def test_encoder_layer_follows_the_rules_of_detr() -> None:
    torch.manual_seed(0)
    layer = perturbed(EncoderLayer(CONFIG))
    x_BND, place_ND = torch.randn(2, 6, D), torch.randn(6, D)
    rows = []
    for x in x_BND:
        y = norm(layer.norm1, x)
        x = x + attention(layer.self_attn, y + place_ND, y + place_ND, y)  # never added to values
        rows.append(x + feedforward(layer.feedforward, norm(layer.norm2, x)))
    torch.testing.assert_close(layer(x_BND, place_ND), torch.stack(rows))


def test_decoder_layer_follows_the_rules_of_detr() -> None:
    torch.manual_seed(1)
    layer = perturbed(DecoderLayer(CONFIG))
    x_BSD, memory_BND, place_ND, query_SD = (
        torch.randn(2, 3, D),
        torch.randn(2, 6, D),
        torch.randn(6, D),
        torch.randn(3, D),
    )
    rows = []
    for x, memory in zip(x_BSD, memory_BND, strict=True):
        y = norm(layer.norm1, x)
        x = x + attention(layer.self_attn, y + query_SD, y + query_SD, y)
        x = x + attention(layer.cross_attn, norm(layer.norm2, x) + query_SD, memory + place_ND, memory)
        rows.append(x + feedforward(layer.feedforward, norm(layer.norm3, x)))
    torch.testing.assert_close(layer(x_BSD, memory_BND, place_ND, query_SD), torch.stack(rows))


def test_position_encoding_is_the_columns_half_then_the_rows() -> None:
    encoding = PositionEncoding(D)
    place_ND = encoding(3, 4)
    assert encoding.row.shape == encoding.column.shape == (50, D // 2)
    for y in range(3):
        for x in range(4):
            torch.testing.assert_close(place_ND[y * 4 + x], torch.cat([encoding.column[x], encoding.row[y]]))


@pytest.mark.parametrize("count", [51, 60, 99])
def test_position_encoding_is_stretched_beyond_its_table(count: int) -> None:
    encoding = PositionEncoding(D)
    place_HWD = encoding(count, 2).reshape(count, 2, D)
    rows = place_HWD[:, 0, D // 2 :]
    torch.testing.assert_close(rows[0], encoding.row[0])
    torch.testing.assert_close(rows[-1], encoding.row[-1])
    middle = (count - 1) / 2 * 49 / (count - 1)  # the middle of the stretched table is that of the table
    expected = (encoding.row[math.floor(middle)] + encoding.row[math.ceil(middle)]) / 2
    if count % 2:
        torch.testing.assert_close(rows[count // 2], expected)
    assert torch.equal(place_HWD[0, :, : D // 2], encoding.column[:2])  # the other side is not touched


@pytest.mark.parametrize("width", [D, 12, 18])  # 18: nine numbers an axis
def test_sine_code_is_the_rows_half_then_the_columns(width: int) -> None:
    """Three places against the formula of DETR, which counts from 1 and does not normalise."""
    place_HWD = SineEncoding(width)(3, 4).reshape(3, 4, width)
    half = width // 2
    for y, x in ((0, 0), (2, 1), (1, 3)):
        for axis, count in enumerate((y + 1, x + 1)):
            for j in range(half):
                angle = count / 10_000 ** (2 * (j // 2) / half)
                expected = math.cos(angle) if j % 2 else math.sin(angle)
                assert float(place_HWD[y, x, axis * half + j]) == pytest.approx(expected, abs=1e-6)


def drift(layer: EncoderLayer, x_BND: Tensor, place_ND: Tensor) -> float:
    """The loss of one layer by projecting every token, head by head and image by image."""
    w_q, w_k, _ = layer.self_attn.in_proj_weight.chunk(3)
    b_q, b_k, _ = layer.self_attn.in_proj_bias.chunk(3)
    found = []
    for x in x_BND:
        keyed = norm(layer.norm1, x) + place_ND
        apart = (keyed @ w_q.T + b_q).mean(0) - (keyed @ w_k.T + b_k).mean(0)
        found += [float(part.norm()) for part in apart.split(D // HEADS)]
    return sum(found) / len(found)


def test_the_loss_of_a_layer_is_the_distance_of_mean_queries_and_keys() -> None:
    torch.manual_seed(10)
    layer = perturbed(EncoderLayer(CONFIG))
    x_BND, place_ND = torch.randn(2, 6, D), torch.randn(6, D)
    with torch.no_grad():
        assert float(layer.drift(x_BND, place_ND)) == pytest.approx(drift(layer, x_BND, place_ND), rel=1e-5)
        w_q, w_k, _ = layer.self_attn.in_proj_weight.chunk(3)
        b_q, b_k, _ = layer.self_attn.in_proj_bias.chunk(3)
        w_k.copy_(w_q)
        b_k.copy_(b_q)
        assert float(layer.drift(x_BND, place_ND)) == 0.0


def test_queries_and_keys_are_tied_in_training_alone() -> None:
    """0.1 times the sum over the branches of the mean over their layers; in other passes the model is as without."""
    activated = {"position_code": "sine", "query_key_weight": 0.1}
    tied, plain = model(**activated), model(position_code="sine")
    tied.load_state_dict(plain.state_dict(), strict=True)
    assert plain.query_key is None
    inputs: dict[EncoderLayer, tuple[Tensor, Tensor]] = {}
    branches = tied.position, tied.orientation
    for branch in branches:
        for layer in branch.encoder:
            layer.register_forward_pre_hook(lambda module, given: inputs.update({module: given}))
    tied.train()
    features = tied.features_for_heads(images(2), torch.tensor([0, 2]))
    output = tied.pose_of(features)
    target = Target(output.position.detach(), output.quaternion.detach().double(), None)
    terms = extra_losses(tied, features, output, target)
    with torch.no_grad():
        means = [[drift(layer, *inputs[layer]) for layer in branch.encoder] for branch in branches]
    expected = 0.1 * sum(sum(found) / len(found) for found in means)
    assert {name: float(value.detach()) for name, value in terms.items()} == {
        "query_key": pytest.approx(expected, rel=1e-5)
    }
    assert extra_losses(tied, features, output, target) == {}, "the graph of a step is used once"
    terms["query_key"].backward()
    for branch in branches:
        slopes = branch.encoder[-1].self_attn.in_proj_weight.grad.chunk(3)
        assert slopes[0].abs().max() > 0 < slopes[1].abs().max()
        assert slopes[2].abs().max() == 0, "values are left alone in the last layer"
        assert all(parameter.grad is None for parameter in branch.decoder.parameters())
    tied.features_for_heads(images(2))
    copy.deepcopy(tied)  # with a graph at hand, as when averaged weights start
    tied.load_state_dict(plain.state_dict(), strict=True)  # batch norms have seen images meanwhile
    tied.eval(), plain.eval()
    with torch.no_grad():
        assert torch.equal(tied(images(2)).position, plain(images(2)).position)


def model(**overrides: Any) -> MSTransformer:
    torch.manual_seed(2)
    small = {"width": D, "heads": HEADS, "feedforward": 12, "hidden": 20, "position_layers": 2, "orientation_layers": 1}
    common = {"backbone": "mobilenetv3_small_050", "pretrained_backbone": False, "scenes": ("a", "b", "c")}
    built = create_model("ms-transformer", **{**small, **common, **overrides})
    assert isinstance(built, MSTransformer)
    return built


def images(batch: int) -> Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def test_the_scene_given_is_taken_else_the_likeliest() -> None:
    ours = model().eval()
    with torch.no_grad():
        free = ours(images(4))
        assert torch.equal(free.scene, free.scene_logits.argmax(-1))
        assert torch.equal(ours(images(4), free.scene).position, free.position)
        positions = []
        for scene in range(3):
            given = torch.full((4,), scene)
            out = ours(images(4), given)
            assert torch.equal(out.scene, given)
            torch.testing.assert_close(out.scene_logits, free.scene_logits)
            positions.append(out.position)
    assert not torch.allclose(positions[0], positions[1])
    mixed = ours(images(4), torch.tensor([2, 0, 1, 1])).position
    torch.testing.assert_close(mixed, torch.stack([positions[s][n] for n, s in enumerate((2, 0, 1, 1))]))


def test_each_scene_reads_its_own_latent_and_weights() -> None:
    ours = model(shared_heads=False).eval()
    with torch.no_grad():
        pooled_BE, (position_map, orientation_map) = ours.backbone(images(3))
        position_BSD = ours.position(position_map, ours.encoding)
        orientation_BSD = ours.orientation(orientation_map, ours.encoding)
        scene_B = torch.tensor([2, 0, 1])
        features = ours.encode(images(3), scene_B)
        for n, s in enumerate(scene_B.tolist()):
            torch.testing.assert_close(features.position[n], position_BSD[n, s])
            torch.testing.assert_close(features.orientation[n], orientation_BSD[n, s])
            logits = [ours.scene(torch.cat([position_BSD[n, t], orientation_BSD[n, t]])).item() for t in range(3)]
            torch.testing.assert_close(features.scene_logits[n], torch.tensor(logits))
            first, second = ours.position_head.layers
            hidden = F.gelu(position_BSD[n, s] @ first.weight[s] + first.bias[s])
            expected = (hidden @ second.weight[s] + second.bias[s]).double()
            torch.testing.assert_close(ours(images(3), scene_B).position[n], expected)
        torch.testing.assert_close(features.image, pooled_BE)


def test_shared_heads_are_one_for_all_scenes() -> None:
    shared, banked = model(), model(shared_heads=False)
    assert shared.position_head.scenes is None
    assert banked.position_head.scenes == 3


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        *(("ms-transformer.7scenes", (6, 4)), ("ms-transformer.cambridge", (6, 6))),
        *(("ms-transformer+hyper.7scenes", (6, 4)), ("ms-transformer+hyper.cambridge", (6, 6))),
        ("ms-transformer+hyper", (4, 4)),
    ],
)
def test_layers_of_the_published_variants(name: str, layers: tuple[int, int]) -> None:
    with torch.device("meta"):
        ours = build(blueprint(name, {"pretrained_backbone": False}))
    assert isinstance(ours, MSTransformer)
    assert (len(ours.position.encoder), len(ours.orientation.encoder)) == layers
    assert (len(ours.position.decoder), len(ours.orientation.decoder)) == layers


@pytest.mark.parametrize(
    ("name", "count"), [("shared", 15_151_748), ("7scenes", 15_151_748), ("per-scene", 18_352_814)]
)
def test_heads_by_name_have_the_published_parameters_with_seven_scenes(name: str, count: int) -> None:
    """The published weights hold one head for all scenes."""
    scenes = tuple("abcdefg")
    with torch.device("meta"):
        ours = build(blueprint(f"ms-transformer.{name}", {"pretrained_backbone": False, "scenes": scenes}))
    assert sum(parameter.numel() for parameter in ours.parameters()) == count


@pytest.mark.parametrize("shared", [True, False])
def test_published_heads_start_xavier_uniform(shared: bool) -> None:
    ours = model(init="published", shared_heads=shared, width=64, hidden=256)
    for head in (ours.position_head, ours.orientation_head):
        for (fan_in, fan_out), layer in zip(((64, 256), (256, head.out_dim)), head.layers, strict=True):
            bound = math.sqrt(6 / (fan_in + fan_out))
            for weight in [layer.weight] if shared else layer.weight:
                assert 0.95 * bound < float(weight.detach().abs().max()) <= bound
                assert float(weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)
            assert 0 < float(layer.bias.detach().abs().max()) <= 1 / math.sqrt(fan_in)  # as torch draws them


def test_published_shape() -> None:
    with torch.device("meta"):
        ours = build(blueprint("ms-transformer", {"pretrained_backbone": False}))
    assert isinstance(ours, MSTransformer)
    assert ours.backbone.tap_widths == (112, 40)
    assert ours.image_dim == 1280
    assert (len(ours.position.encoder), len(ours.orientation.encoder)) == (6, 4)
    assert ours.position.encoder[0].self_attn.num_heads == 8
    assert ours.position_head.dims == (256, 1024, 3)
    assert ours.orientation_head.dims == (256, 1024, 4)
    assert ours.scene.in_features == 512


@pytest.mark.parametrize(("stride", "channels", "tokens"), [(8, 16, 64), (16, 24, 16), (32, 288, 4)])
def test_the_stride_of_the_map_for_the_orientation(stride: int, channels: int, tokens: int) -> None:
    ours = model(orientation_stride=stride).eval()
    assert (ours.position.project.in_channels, ours.orientation.project.in_channels) == (24, channels)
    with torch.no_grad():
        maps = ours.attention_maps(torch.rand(1, 3, 64, 64))
    assert [maps[name].numel() for name in ("position attention", "orientation attention")] == [16, tokens]


def test_layers_beyond_stride_16_do_not_run_for_heads_that_read_no_embedding() -> None:
    ours = model().eval()
    ran = []
    last = ours.backbone.net.get_submodule("conv_head")
    last.register_forward_hook(lambda *_: ran.append(1))
    with torch.no_grad():
        ours(images(1))
        assert ran == []
        ours.encode(images(1))
        assert ran == [1]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("scenes", "calls_a_layer"), [(3, 1), (4, 3)])  # few queries are reckoned without it
def test_attention_needs_no_mask(
    monkeypatch: pytest.MonkeyPatch, training: bool, scenes: int, calls_a_layer: int
) -> None:
    calls = []
    plain = F.scaled_dot_product_attention

    def watched(*given: Any, **more: Any) -> Tensor:
        calls.append(more.get("attn_mask", given[3] if len(given) > 3 else None))
        return plain(*given, **more)

    monkeypatch.setattr(F, "scaled_dot_product_attention", watched)
    model(scenes=tuple("abcd"[:scenes])).train(training)(images(2), torch.tensor([0, 1]))
    # 2 position and 1 orientation layer; in training attention is reckoned without it on a CPU
    assert calls == ([] if training else [None] * 3 * calls_a_layer)


@pytest.mark.parametrize("name", ["ms-transformer", "ms-transformer+hyper"])
def test_the_published_cost_changes_no_output(name: str) -> None:
    torch.manual_seed(4)
    small = {"width": D, "heads": HEADS, "feedforward": 12, "hidden": 20, "position_layers": 2, "orientation_layers": 1}
    hyper = {"hyper": {"hidden_position": (6,), "hidden_orientation": (5,), "init": "paper"}}
    common = {"backbone": "mobilenetv3_small_050", "pretrained_backbone": False, "scenes": ("a", "b", "c")}
    ours = create_model(name, **small, **common, **(hyper if "hyper" in name else {}), shared_heads=False)
    slow = as_published(ours)
    passes = []
    slow.backbone.backbone.net.get_submodule("conv_head").register_forward_hook(lambda *_: passes.append(1))
    with torch.no_grad():
        for scene_B in (None, torch.tensor([2, 0, 1, 1])):
            for one, other in zip(ours(images(4), scene_B), slow(images(4), scene_B), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert len(passes) == 2 * (2 if "hyper" in name else 1)
    masks = [module for module in slow.modules() if isinstance(module, nn.MultiheadAttention)]
    seen = []
    for mask in masks:
        mask.register_forward_pre_hook(
            lambda _, __, more: seen.append(more["key_padding_mask"].any()), with_kwargs=True
        )
    slow(images(1))
    assert len(seen) == len(masks) == 9
    assert not any(seen)


def test_attention_maps_are_the_weights_of_the_last_decoder_layer() -> None:
    torch.manual_seed(0)
    settings = {"backbone": "test_efficientnet.r160_in1k", "pretrained_backbone": False, "crop": 96, "resize": 96}
    small = {"width": 16, "heads": 4, "feedforward": 8, "position_layers": 2, "orientation_layers": 1}
    model = create_model("ms-transformer", **settings, **small, scenes=("a", "b")).eval()
    images = torch.randn(3, 3, 96, 96)
    with torch.no_grad():
        maps = model.attention_maps(images)
        chosen = model.encode(images).scene
    assert {name: tuple(one.shape) for name, one in maps.items()} == {
        "position attention": (3, 6, 6),
        "orientation attention": (3, 12, 12),
    }
    for one in maps.values():
        torch.testing.assert_close(one.sum(dim=(1, 2)), torch.ones(3))
    read: list[Any] = []
    last = model.orientation.decoder[-1].cross_attn
    last.register_forward_pre_hook(lambda _, given: read.extend(given))
    with torch.no_grad():
        model(images)
    w_q, w_k, _ = last.in_proj_weight.chunk(3)
    b_q, b_k, _ = last.in_proj_bias.chunk(3)
    for n, scene in enumerate(chosen):
        heads = []
        for head in range(4):
            part = slice(4 * head, 4 * head + 4)
            q = (read[0][n, scene] @ w_q.T + b_q)[part]
            k = (read[1][n] @ w_k.T + b_k)[:, part]
            heads.append(torch.softmax(k @ q / math.sqrt(4), dim=0))
        torch.testing.assert_close(maps["orientation attention"][n].flatten(), torch.stack(heads).mean(0))


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(UsageError, match=naming("width=30", "heads=4")):
        model(width=30)


@pytest.mark.parametrize("queries", [3, 5])  # few are reckoned another way: 3 x 4 heads < 16
def test_attention_has_the_parameters_and_outputs_of_torch(queries: int) -> None:
    torch.manual_seed(5)
    ours = perturbed(Attention(D, HEADS, 0.1)).double()
    theirs = nn.MultiheadAttention(D, HEADS, batch_first=True).eval().double()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    query, key, value = (torch.randn(2, n, D, dtype=torch.float64, requires_grad=True) for n in (queries, 6, 6))
    one, other = ours(query, key, value), theirs(query, key, value)[0]
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    given = (query, key, value, *ours.parameters())
    slopes, expected = (
        torch.autograd.grad((y * y.detach().cos()).sum(), (query, key, value, *layer.parameters()))
        for y, layer in ((one, ours), (other, theirs))
    )
    assert len(slopes) == len(given)
    for a, b in zip(slopes, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_the_dropout_of_attention_acts_on_its_weights() -> None:
    """For few queries, whose value projection comes after the sum; a fixed mask in place of a random one."""
    torch.manual_seed(6)
    layer = perturbed(Attention(D, HEADS, 0.1)).double()
    mask_BMN = (torch.rand(1, 2 * HEADS, 6) > 0.3).double() / 0.7
    layer.dropout.register_forward_hook(lambda module, given, share: share * mask_BMN)
    query, tokens = torch.randn(1, 2, D).double(), torch.randn(1, 6, D).double()
    q, k, v = (
        F.linear(x, weight, bias).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for x, weight, bias in zip(
            (query, tokens, tokens), layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3), strict=True
        )
    )
    share = torch.softmax(q @ k.mT / math.sqrt(D // HEADS), -1) * mask_BMN.unflatten(1, (2, HEADS)).transpose(1, 2)
    expected = layer.out_proj((share @ v).transpose(1, 2).flatten(-2))
    torch.testing.assert_close(layer(query, tokens, tokens), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_training_keeps_no_attention_weights_and_has_their_gradient(dtype: torch.dtype) -> None:
    torch.manual_seed(7)
    given = [torch.randn(2, 3, n, 5, dtype=torch.float64).to(dtype).requires_grad_() for n in (4, 6, 6)]
    mask = kept((2, 3, 4, 6), 0.3)
    y = Recomputed.apply(*given, mask, 0.3)
    assert [x.dtype for x in y.grad_fn.saved_tensors if x.shape == mask.shape] == [torch.bool]
    exact = [x.detach().double().requires_grad_() for x in given]
    share = torch.softmax(exact[0] @ exact[1].mT / math.sqrt(5), -1) * mask / 0.7
    expected = share @ exact[2]
    out = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    near = {"rtol": 0, "atol": 1e-12 if dtype == torch.float64 else 0.1}
    torch.testing.assert_close(y.double(), expected, **near)
    found = torch.autograd.grad(y, given, out.to(dtype))
    for one, other in zip(found, torch.autograd.grad(expected, exact, out), strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one.double(), other, **near)


def test_dropout_of_everything_leaves_nothing() -> None:
    shape = (2, 3, 4, 8)
    query, key, value = (torch.randn(shape, requires_grad=True) for _ in range(3))
    y = attend(query, key, value, 1.0)
    y.sum().backward()
    assert not y.any() and not value.grad.any()  # type: ignore[union-attr]


def test_dropout_keeps_its_share_and_every_draw_is_its_own() -> None:
    torch.manual_seed(8)
    for dropout in (0.1, 0.5, 0.9, 1 / DRAWS):
        assert abs(float(kept((4, 50, 501), dropout).double().mean()) - (1 - dropout)) < 5 / math.sqrt(100_200)
    mask = kept((25_001, 4), 0.5).double()
    assert (mask.mean(0) - 0.5).abs().max() < 0.02  # the four numbers of a draw
    assert (torch.corrcoef(mask.T) - torch.eye(4)).abs().max() < 0.03
    state = torch.get_rng_state()
    one = kept((3, 5), 0.5)
    torch.set_rng_state(state)
    assert torch.equal(kept((3, 5), 0.5), one)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_mean_over_dropout_is_the_answer_without(precision: torch.dtype) -> None:
    torch.manual_seed(9)
    layer = perturbed(Attention(D, HEADS, 0.1))
    x = torch.randn(1, 7, D)
    expected = layer(x, x, x)
    layer.train()
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        mean = torch.stack([layer(x, x, x).float() for _ in range(600)]).mean(0)
        (layer(x, x, x) ** 2).sum().backward()
    assert (mean - expected).abs().max() < 0.1 * expected.abs().max()
    assert all(p.grad.isfinite().all() and p.grad.abs().max() > 0 for p in layer.parameters())
