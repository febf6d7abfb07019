"""AtLoc: its attention against a naive loop, where the dropout stands, how new layers start."""

from __future__ import annotations

import math
from typing import Any

import torch
from posezoo_atloc.model import AtLoc, Attention, FourDirections
from torch import nn

from posezoo.zoo.blueprint import blueprint
from posezoo.zoo.build import build, create_model


def model(**overrides: Any) -> AtLoc:
    torch.manual_seed(0)
    common = {"backbone": "mobilenetv3_small_050", "pretrained_backbone": False, "feature": 64}
    built = create_model("atloc", **{**common, **overrides})
    assert isinstance(built, AtLoc)
    return built


def test_attention_is_a_softmax_over_the_last_axis_plus_the_input() -> None:
    torch.manual_seed(0)
    attention, x_BD = Attention(24, 5), torch.randn(3, 24)
    rows = []
    for x in x_BD:
        theta, phi, g = (layer(x).tolist() for layer in (attention.theta, attention.phi, attention.g))
        y = torch.zeros(5)
        for i in range(5):
            total = sum(math.exp(phi[i] * theta[j]) for j in range(5))
            y[i] = sum(math.exp(phi[i] * theta[j]) / total * g[j] for j in range(5))
        rows.append(attention.W(y) + x)
    torch.testing.assert_close(attention(x_BD), torch.stack(rows))


def test_lstm_reads_the_vector_as_rows_and_columns_in_both_directions() -> None:
    torch.manual_seed(0)
    lstm, x_BD = FourDirections(96, 5), torch.randn(3, 96)  # 32 rows of 3
    matrix_BRC = x_BD.reshape(3, 32, 3)
    expected = []
    for layer, tokens in ((lstm.rows, matrix_BRC), (lstm.columns, matrix_BRC.transpose(1, 2))):
        states, _ = layer(tokens)
        # the state of the forward direction at the last token, of the backward one at the first
        expected += [states[:, -1, :5], states[:, 0, 5:]]
    torch.testing.assert_close(lstm(x_BD), torch.cat(expected, dim=1))


def test_atloc_lstm_works_with_every_infusion() -> None:
    for infusion in ("", "+hyper", "+hyper=single", "+hyper=two"):
        torch.manual_seed(0)
        common = {"backbone": "mobilenetv3_small_050", "pretrained_backbone": False, "feature": 64}
        ours = create_model(f"atloc{infusion}.lstm", **common, **({"hyper.rank": 4} if infusion else {}))
        images = torch.randn(2, 3, 64, 64)
        features, out = ours.encode(images), ours(images)
        assert features.image.shape == (2, ours.image_dim) == (2, 32)
        (out.position.sum() + out.rotation.sum()).backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in ours.attention.parameters())


def test_published_shape_of_atloc_lstm() -> None:
    with torch.device("meta"):
        ours = build(blueprint("atloc.lstm", {"pretrained_backbone": False}))
    assert (ours.attention.rows.input_size, ours.attention.columns.input_size) == (64, 32)
    assert ours.attention.rows.hidden_size == ours.attention.columns.hidden_size == 256
    assert ours.position_head.dims == (1024, 3)


def test_one_dropout_mask_for_both_heads_and_none_for_the_image() -> None:
    ours, images = model().train(), torch.randn(4, 3, 64, 64)
    features = ours.encode(images)
    assert torch.equal(features.position, features.orientation)
    dropped = features.position == 0
    assert 0.3 < dropped.float().mean() < 0.7
    torch.testing.assert_close(features.position[~dropped], 2 * features.image[~dropped])
    ours.eval()
    features = ours.encode(images)
    assert torch.equal(features.position, features.image)


def test_new_layers_are_kaiming_normal_with_zero_bias() -> None:
    ours = model(feature=512)
    new = [ours.feature[0], ours.attention.g, ours.attention.W, ours.position_head.layers[0]]
    for layer in new:
        assert isinstance(layer, nn.Linear)
        assert (layer.bias == 0).all()
        expected = math.sqrt(2 / layer.in_features)
        assert abs(layer.weight.std().item() / expected - 1) < 0.1


def test_the_published_attention_starts_as_torch_has_it() -> None:
    ours = model(feature=512, init="published")
    for layer in (ours.attention.g, ours.attention.theta, ours.attention.phi, ours.attention.W):
        bound = 1 / math.sqrt(layer.in_features)  # uniform, weights and biases
        assert 0.95 * bound < float(layer.weight.detach().abs().max()) <= bound
        assert 0 < float(layer.bias.detach().abs().max()) <= bound
    for layer in (ours.feature[0], ours.position_head.layers[0], ours.orientation_head.layers[0]):
        assert (layer.bias == 0).all()
        assert abs(layer.weight.std().item() / math.sqrt(2 / layer.in_features) - 1) < 0.1


def test_published_shape() -> None:
    with torch.device("meta"):
        ours = build(blueprint("atloc", {"pretrained_backbone": False}))
    assert isinstance(ours, AtLoc)
    assert ours.feature[0].in_features == 512
    assert ours.image_dim == 2048
    assert ours.attention.g.out_features == 256
    assert (ours.position_head.dims, ours.orientation_head.dims) == ((2048, 3), (2048, 3))
    assert ours.config.rotation == "log-quaternion"
    assert (ours.config.resize, ours.config.crop) == (256, 256)
