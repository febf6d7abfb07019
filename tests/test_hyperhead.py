"""The hypernetwork against naive loops over the batch, and the published numbers of parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from posezoo import zoo
from posezoo.errors import UsageError
from posezoo.heads import MLPHead
from posezoo.hyperhead import (
    DEEPENED_WIDTH,
    Condition,
    FactorisedGenerator,
    FullGenerator,
    HyperConfig,
    HyperHead,
    _layer_widths,
)

B, D, E, K = 5, 6, 10, 7
INFUSIONS = ("residual", "single", "two")


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


def hyper(base: MLPHead, hidden: tuple[int, ...] = (), **config: Any) -> HyperHead:
    return HyperHead(base, E, HyperConfig(**config), K, hidden).eval()


@pytest.mark.parametrize("scenes", [None, 3])
@pytest.mark.parametrize("rank", [None, 4])
@pytest.mark.parametrize("dims", [(D, 3), (D, 8, 3), (D, 9, 8, 3)])
@pytest.mark.parametrize("infusion", INFUSIONS)
def test_zero_start_is_bit_equal_to_the_base(
    infusion: str, dims: tuple[int, ...], rank: int | None, scenes: int | None
) -> None:
    head = hyper(MLPHead(dims, "gelu", 0.3, scenes), infusion=infusion, rank=rank, init="zero")
    latent_BD, image_BE, scene_B = torch.randn(B, D), torch.randn(B, E), torch.arange(B) % 3
    assert torch.equal(head(latent_BD, image_BE, scene_B), head.base(latent_BD, image_BE, scene_B))
    assert head.base.dims == ((D, DEEPENED_WIDTH, 3) if infusion == "two" and len(dims) == 2 else dims)


@pytest.mark.parametrize("rank", [None, 4])
def test_residual_adds_the_end_of_a_chain_of_its_own(rank: int | None) -> None:
    base = MLPHead((D, 8, 3), "gelu")
    head = hyper(base, (11, 9), infusion="residual", input="latent", condition="image+latent", rank=rank, init="paper")
    latent_BD, image_BE = torch.randn(B, D), torch.randn(B, E)
    code_BK = head.condition(latent_BD, image_BE)
    x = head.input(latent_BD, image_BE)
    first, second, third = head.generated
    x = third(F.silu(second(F.silu(first(x, code_BK)), code_BK)), code_BK)  # no activation after the last
    torch.testing.assert_close(head(latent_BD, image_BE), base(latent_BD) + x)


def test_residual_reads_the_image_through_a_projection_of_its_own() -> None:
    head = hyper(MLPHead((D, 3)), infusion="residual", input="image", condition="image", init="paper")
    latent_BD, image_BE = torch.randn(B, D), torch.randn(B, E)
    assert head.input.image is not head.condition.image
    expected = head.base(latent_BD) + head.generated[0](head.input.image(image_BE), head.condition.image(image_BE))
    torch.testing.assert_close(head(latent_BD, image_BE), expected)


def test_single_adds_beside_the_last_layer() -> None:
    base = MLPHead((D, 8, 3), "relu")
    head = hyper(base, infusion="single", init="paper")
    latent_BD, image_BE = torch.randn(B, D), torch.randn(B, E)
    code_BK = head.condition(latent_BD, image_BE)
    a = F.relu(base.layers[0](latent_BD))
    torch.testing.assert_close(head(latent_BD, image_BE), base.layers[1](a) + head.generated[0](a, code_BK))
    assert len(head.generated) == 1


def test_two_activates_the_sum() -> None:
    base = MLPHead((D, 9, 8, 3), "gelu")
    head = hyper(base, infusion="two", init="paper")
    latent_BD, image_BE = torch.randn(B, D), torch.randn(B, E)
    code_BK = head.condition(latent_BD, image_BE)
    a = F.gelu(base.layers[0](latent_BD))
    a = F.gelu(base.layers[1](a) + head.generated[0](a, code_BK))
    torch.testing.assert_close(head(latent_BD, image_BE), base.layers[2](a) + head.generated[1](a, code_BK))


def test_probing_the_widths_changes_nothing() -> None:
    base = MLPHead((D, 8, 3), dropout=0.5).train()
    torch.manual_seed(3)
    expected = torch.randn(2)
    torch.manual_seed(3)
    assert _layer_widths(base) == [D, 8, 3]
    assert base.training
    assert torch.equal(torch.randn(2), expected)


def test_settings_that_cannot_be() -> None:
    for wrong in ({"rank": 0}, {"code_position": 0}, {"hidden_orientation": (4, 0)}):
        with pytest.raises(UsageError, match="at least 1"):
            HyperConfig(**wrong)
    # hidden widths belong to the residual chain; the multi-scene card gives them for every infusion
    assert HyperConfig(infusion="single", hidden_position=(4,)).hidden_position == ()


# the published numbers


@pytest.fixture(scope="module")
def on_meta() -> Any:
    """`on_meta(name, **settings)`: the model without memory for its weights, however many there are."""

    def build(name: str, **overrides: Any) -> Any:
        with torch.device("meta"):
            return zoo.build(zoo.blueprint(name, {"pretrained_backbone": False, **overrides}))

    return build


def test_posenet_hyper_adds_the_published_parameters(on_meta: Any) -> None:
    assert count(on_meta("posenet+hyper")) - count(on_meta("posenet")) == 3_546_887


def test_atloc_hyper_adds_the_published_parameters(on_meta: Any) -> None:
    infused = count(on_meta("atloc+hyper"))
    assert infused - count(on_meta("atloc", rotation="quaternion")) == 4_726_535
    log = on_meta("atloc+hyper", rotation="log-quaternion")
    assert count(log) - count(on_meta("atloc")) == 4_463_366


MS_TABLE = {
    "position_head": [(256, 256, 16_908_544), (256, 128, 8_454_272), (128, 3, 99_459)],
    "orientation_head": [(256, 512, 33_817_088), (512, 512, 67_502_592), (512, 4, 527_364)],
}


def test_ms_hyperpose_generators_have_the_published_sizes(on_meta: Any) -> None:
    model = on_meta("ms-transformer+hyper", scenes=("a", "b", "c", "d"))
    total = rest = weights_per_image = 0
    for name, table in MS_TABLE.items():
        head = getattr(model, name)
        sizes = [(layer.shape[0] - 1, layer.shape[1], count(layer.generator)) for layer in head.generated]
        assert sizes == table
        total += sum(size for *_, size in sizes)
        weights_per_image += sum((i + 1) * o for i, o, _ in sizes)
        rest += count(head) - count(head.base) - sum(size for *_, size in sizes)
    assert total == 127_309_319
    assert total * 4 == 509_237_276
    assert rest == 1_050_624  # projections of the embedding and the F of each layer
    assert weights_per_image == 495_367


def test_a_rank_makes_it_fifty_times_smaller(on_meta: Any) -> None:
    model = on_meta("ms-transformer+hyper", hyper={"rank": 256})
    heads = (model.position_head, model.orientation_head)
    assert sum(count(layer) for head in heads for layer in head.generated) < 127_309_319 / 50


def test_one_generated_layer_on_paper() -> None:
    with torch.device("meta"):
        layer: nn.Module = FullGenerator(256, 128, 3)
    generator: Tensor = layer.generator.weight
    assert generator.shape == ((128 + 1) * 3, 256)
