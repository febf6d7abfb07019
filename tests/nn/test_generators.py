"""Generated layers against naive loops over the batch; what the condition is made of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from posezoo.nn.generators import CodeEncoder, Condition, FactorisedGenerator, FullGenerator, generated_layer

B, D, E, K = 5, 6, 10, 7


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_a_generated_layer_is_x_1_times_the_images_own_matrix() -> None:
    layer = FullGenerator(K, 4, 3)
    x_BI, code_BK = torch.randn(B, 4), torch.randn(B, K)
    rows = []
    for x, code in zip(x_BI, code_BK, strict=True):
        hidden = layer.code(code)
        numbers = layer.generator(hidden * torch.sigmoid(hidden))
        weight = numbers.reshape(5, 3)  # (C_in + 1, C_out): the bias is the last row
        rows.append(torch.cat([x, torch.ones(1)]) @ weight)
    torch.testing.assert_close(layer(x_BI, code_BK), torch.stack(rows))


@pytest.mark.parametrize("rank", [None, 3])
def test_weights_are_what_the_layer_does(rank: int | None) -> None:
    """y(0) is the bias row, y(e_i) - y(0) row i."""
    layer = generated_layer(K, 4, 3, rank)
    code_BK = torch.randn(B, K)
    weight_BIO = layer.weights(code_BK)
    zero_BO = layer(torch.zeros(B, 4), code_BK)
    torch.testing.assert_close(weight_BIO[:, -1], zero_BO)
    for row, unit in enumerate(torch.eye(4)):
        torch.testing.assert_close(weight_BIO[:, row], layer(unit.expand(B, -1), code_BK) - zero_BO)


def test_the_bias_is_the_last_row() -> None:
    layer = FullGenerator(K, 4, 3)
    weight = torch.arange(15.0)
    nn.init.zeros_(layer.generator.weight)
    layer.generator.bias.data = weight
    out = layer(torch.zeros(1, 4), torch.randn(1, K))
    assert out.tolist() == [[12.0, 13.0, 14.0]]
    out = layer(torch.tensor([[0.0, 1.0, 0.0, 0.0]]), torch.randn(1, K))
    assert out.tolist() == [[3.0 + 12.0, 4.0 + 13.0, 5.0 + 14.0]]


def test_a_factorised_layer_is_its_materialised_matrix() -> None:
    layer = FactorisedGenerator(K, 4, 3, rank=6)
    x_BI, code_BK = torch.randn(B, 4), torch.randn(B, K)
    a_IR = torch.cat([layer.read.weight.T, layer.read.bias[None]])  # the row of the 1 last
    b_OR = layer.write.weight
    rows = []
    for x, code in zip(x_BI, code_BK, strict=True):
        c_R = layer.generator(F.silu(layer.code(code)))
        w_IO = torch.einsum("ir,or,r->io", a_IR, b_OR, c_R)
        rows.append(torch.cat([x, torch.ones(1)]) @ w_IO)
    torch.testing.assert_close(layer(x_BI, code_BK), torch.stack(rows))
    # R (C_in + 1 + C_out + code + 1), beside F
    assert count(layer) - count(layer.code) == 6 * (4 + 1 + 3 + K + 1)


@pytest.mark.parametrize("source", ["image", "latent", "image+latent"])
def test_condition(source: str) -> None:
    latent_BD, image_BE = torch.randn(B, D), torch.randn(B, E)
    for width in (D, K):
        condition = Condition(source, D, E, width)
        expected = torch.zeros(B, width)
        if "latent" in source:
            expected = expected + (latent_BD if condition.latent is None else condition.latent(latent_BD))
            assert (condition.latent is None) == (width == D)
        if "image" in source:
            expected = expected + condition.image(image_BE)
        torch.testing.assert_close(condition(latent_BD, image_BE), expected)


def test_hyperfan_gives_half_of_the_variance_to_the_bias() -> None:
    torch.manual_seed(0)
    layer = FullGenerator(128, 64, 48)
    layer.hyperfan(1.0, 1.0)
    with torch.no_grad():
        bias = layer(torch.zeros(256, 64), torch.randn(256, 128))
    assert 0.4 < float(bias.var()) < 0.6


def test_one_generated_layer_on_paper() -> None:
    with torch.device("meta"):
        layer: nn.Module = FullGenerator(256, 128, 3)
    generator: Tensor = layer.generator.weight
    assert generator.shape == ((128 + 1) * 3, 256)


@pytest.mark.parametrize(("width", "heads"), [(16, 8), (12, 4), (7, 1)])
def test_the_encoder_has_as_many_heads_as_divide_eight_and_its_width(width: int, heads: int) -> None:
    layers = CodeEncoder(num_parts=2, num_layers=3, code_dim=width).layers
    assert {layer.self_attn.num_heads for layer in layers} == {heads}
