"""Infused heads against the formulas by hand, and the published numbers of parameters.

Long: three infusions, each by hand, and what combines with them.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from naming import naming
from torch import nn
from torch.nn import functional as F

from posezoo.base.errors import UsageError
from posezoo.nn.heads import MLPHead
from posezoo.nn.hyperhead import DEEPENED_WIDTH, HyperConfig, HyperHead
from posezoo.zoo.blueprint import blueprint
from posezoo.zoo.build import build as build_model

B, D, E, K = 5, 6, 10, 7
INFUSIONS = ("residual", "single", "two")


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


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


# a transformer encoder in place of F


@pytest.mark.parametrize("source", ["image", "latent", "image+latent"])
@pytest.mark.parametrize("infusion", INFUSIONS)
def test_a_transformer_encoder_makes_the_codes(infusion: str, source: str) -> None:
    torch.manual_seed(0)
    base = MLPHead((D, 9, 8, 3), "gelu")
    head = hyper(base, (11,), infusion=infusion, condition=source, generator="transformer", init="paper")
    latent_BD, image_BE = torch.randn(B, D), torch.randn(B, E)
    assert all(layer.code is None for layer in head.generated)
    # the tokens: what the condition sums, each with its kind, then one query a generated layer
    tokens = [
        part + kind for part, kind in zip(head.condition.parts(latent_BD, image_BE), head.encoder.kind, strict=True)
    ]
    tokens += [query.expand(B, K) for query in head.encoder.query]
    assert len(tokens) == len(source.split("+")) + len(head.generated)
    x = torch.stack(tokens, dim=1)
    for layer in head.encoder.layers:
        x = layer(x)
    codes = head.encoder.norm(x)[:, -len(head.generated) :].unbind(1)
    if infusion == "residual":
        x = head.input(latent_BD, image_BE)
        for index, layer in enumerate(head.generated):
            x = layer(F.silu(x) if index else x, codes[index])
        expected = base(latent_BD) + x
    else:
        first, second, last = base.layers
        a = F.gelu(first(latent_BD))
        beside = head.generated[0](a, codes[0]) if infusion == "two" else 0
        b = F.gelu(second(a) + beside)
        expected = last(b) + head.generated[-1](b, codes[-1])
    torch.testing.assert_close(head(latent_BD, image_BE), expected)
    # each layer's G reads its code as it is, without F and swish
    layer = head.generated[0]
    x, code = torch.randn(2, layer.shape[0] - 1), torch.randn(2, K)
    rows = [
        torch.cat([v, torch.ones(1)]) @ layer.generator(c).reshape(layer.shape) for v, c in zip(x, code, strict=True)
    ]
    torch.testing.assert_close(layer(x, code), torch.stack(rows))


@pytest.mark.parametrize("infusion", INFUSIONS)
@pytest.mark.parametrize("rank", [None, 4])
def test_gradients_reach_the_whole_encoder(infusion: str, rank: int | None) -> None:
    torch.manual_seed(0)
    base = MLPHead((D, 8, 3))
    head = hyper(base, infusion=infusion, condition="image+latent", generator="transformer", rank=rank, init="hyperfan")
    (head(torch.randn(B, D), torch.randn(B, E)) * torch.randn(B, 3)).sum().backward()
    for key, parameter in head.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 0, key


# one set of generators for both branches


def pair(**config: Any) -> tuple[HyperHead, HyperHead]:
    """The infused position and orientation heads of one model, which share their generators."""
    torch.manual_seed(0)
    given = HyperConfig(**{"shared": True, "init": "paper", **config})
    owner = HyperHead(MLPHead((D, 8, 3)), E, given, K, given.hidden_position, extra=4)
    return owner, HyperHead(MLPHead((D, 8, 4)), E, given, K, given.hidden_position, sharing=owner)


@pytest.mark.parametrize("generator", ["mlp", "transformer"])
@pytest.mark.parametrize("rank", [None, 4])
def test_shared_generators_serve_both_branches(rank: int | None, generator: str) -> None:
    position, orientation = pair(rank=rank, generator=generator, hidden_position=(5,), input="latent")
    assert not [key for key, _ in orientation.named_parameters() if key.startswith("generated")]
    assert position.widths == orientation.widths == [K, 5, 3 + 4]
    latent_BD, image_BE = torch.randn(B, D), torch.randn(B, E)
    for head, columns in ((position, slice(0, 3)), (orientation, slice(3, 7))):
        codes = head._codes(latent_BD, image_BE)  # from the branch's own condition
        first, last = position.generated
        x = last(F.silu(first(head.input(latent_BD, image_BE), codes[0])), codes[1])
        torch.testing.assert_close(head(latent_BD, image_BE), head.base(latent_BD) + x[:, columns])
    codes = [head._codes(latent_BD, image_BE)[0] for head in (position, orientation)]
    assert not torch.allclose(*codes)


@pytest.mark.parametrize("infusion", ["single", "two"])
def test_shared_generators_beside_the_heads_layers(infusion: str) -> None:
    position, orientation = pair(infusion=infusion)
    assert position.widths == ([8, 7] if infusion == "single" else [D, 8, 7])
    latent_BD, image_BE = torch.randn(B, D), torch.randn(B, E)
    code_BK, (first, last) = orientation.condition(latent_BD, image_BE), orientation.base.layers
    beside = position.generated[0](latent_BD, code_BK) if infusion == "two" else 0
    a = F.relu(first(latent_BD) + beside)
    expected = last(a) + position.generated[-1](a, code_BK)[:, 3:]
    torch.testing.assert_close(orientation(latent_BD, image_BE), expected)


def test_shared_generators_need_heads_of_the_same_layers() -> None:
    given = HyperConfig(shared=True, infusion="two")
    owner = HyperHead(MLPHead((D, 8, 3)), E, given, K, extra=4)
    with pytest.raises(UsageError, match=naming("shared", "[6, 8]", "[6, 9]")):
        HyperHead(MLPHead((D, 9, 4)), E, given, K, sharing=owner)


@pytest.mark.parametrize("infusion", INFUSIONS)
def test_shared_zero_start_is_bit_equal_to_the_base(infusion: str) -> None:
    latent_BD, image_BE = torch.randn(B, D), torch.randn(B, E)
    for head in pair(infusion=infusion, init="zero"):
        assert torch.equal(head(latent_BD, image_BE), head.base(latent_BD, image_BE))


@pytest.mark.parametrize("name", ["posenet+hyper", "ms-transformer+hyper=two"])
def test_a_model_with_shared_generators(on_meta: Any, name: str) -> None:
    plain, shared = on_meta(name), on_meta(name, hyper={"shared": True})
    # the position branch's generators, with 4 more columns at the end, instead of two sets
    code = 256
    width = shared.position_head.widths[-2]
    both = count(plain.position_head.generated) + (code + 1) * (width + 1) * 4
    assert count(shared.position_head.generated) == both
    assert count(shared.orientation_head) == count(shared.orientation_head.base) + count(
        shared.orientation_head.condition
    ) + (count(shared.orientation_head.input) if "two" not in name else 0)
    state = shared.state_dict()
    assert len({id(value) for value in state.values()}) == len(state), "nothing is saved twice"


# hyperfan


@pytest.mark.parametrize("rank", [None, 64])
@pytest.mark.parametrize("generator", ["mlp", "transformer"])
@pytest.mark.parametrize("source", ["image", "image+latent"])
def test_hyperfan_keeps_the_variance_of_a_directly_initialised_layer(
    source: str, generator: str, rank: int | None
) -> None:
    """In the mean over draws: one draw of a layer differs, the more so as queries make alike codes for all images."""
    torch.manual_seed(0)
    draws, batch, latent, image, code, hidden, out = 12, 64, 80, 96, 80, (64, 48), 40
    config = HyperConfig(condition=source, generator=generator, rank=rank, init="hyperfan")
    power, direct_power = torch.zeros(len(hidden) + 2), torch.zeros(len(hidden) + 1)
    with torch.no_grad():
        for _ in range(draws):
            head = HyperHead(MLPHead((latent, out)), image, config, code, hidden)
            latent_BD, image_BE = torch.randn(batch, latent), torch.randn(batch, image)
            codes, x = head._codes(latent_BD, image_BE), torch.randn(batch, code)
            for index, layer in enumerate(head.generated):
                read = F.silu(x) if index else x
                direct = nn.Linear(read.shape[1], out, bias=False)  # fan-in, with the gain of what it reads
                nn.init.normal_(direct.weight, std=(read.square().mean() * read.shape[1]).rsqrt().item())
                y = layer(read, codes[index])
                power[index] += y.square().mean() / draws
                direct_power[index] += direct(read).square().mean() / draws
                x = torch.randn_like(y)
            power[-1] += (head(latent_BD, image_BE) - head.base(latent_BD)).square().mean() / draws  # the whole chain
    torch.testing.assert_close(power[:-1], direct_power, rtol=0.2, atol=0)
    assert 0.6 < float(power[-1]) < 1.7


def test_the_published_start_does_not_keep_it() -> None:
    torch.manual_seed(0)
    head = HyperHead(MLPHead((96, 40)), 160, HyperConfig(init="paper"), 96)
    with torch.no_grad():
        latent_BD, image_BE = torch.randn(256, 96), torch.randn(256, 160)
        assert float((head(latent_BD, image_BE) - head.base(latent_BD)).var()) > 20


def test_the_published_start_is_kaiming_normal_with_torchs_biases() -> None:
    torch.manual_seed(0)
    head = HyperHead(MLPHead((96, 40)), 160, HyperConfig(init="paper", input="image"), 96)
    layers = [head.condition.image, head.input.image, head.generated[0].code, head.generated[0].generator]
    for layer in layers:
        assert layer.weight.std().item() == pytest.approx((2 / layer.in_features) ** 0.5, rel=0.05)
        bound = layer.in_features**-0.5
        assert layer.bias.std().item() == pytest.approx(bound / 3**0.5, rel=0.2)  # uniform
        assert layer.bias.abs().max() <= bound


def test_settings_that_cannot_be() -> None:
    for wrong in ({"rank": 0}, {"code_position": 0}, {"hidden_orientation": (4, 0)}):
        with pytest.raises(UsageError, match=naming("1")):
            HyperConfig(**wrong)
    # hidden widths belong to the residual chain; the multi-scene card gives them for every infusion
    assert HyperConfig(infusion="single", hidden_position=(4,)).hidden_position == ()


# the published numbers


@pytest.fixture(scope="module")
def on_meta() -> Any:
    """`on_meta(name, **settings)`: the model without memory for its weights, however many there are."""

    def build(name: str, **overrides: Any) -> Any:
        with torch.device("meta"):
            return build_model(blueprint(name, {"pretrained_backbone": False, **overrides}))

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


def test_ms_hyperpose_of_rank_256_is_at_most_ten_megabytes(on_meta: Any) -> None:
    for infusion in ("residual", "single", "two"):
        model = on_meta(f"ms-transformer+hyper={infusion}", hyper={"rank": 256})
        generated = [layer for head in (model.position_head, model.orientation_head) for layer in head.generated]
        assert 4 * sum(count(layer) for layer in generated) <= 10_000_000


@pytest.mark.parametrize(("position", "orientation"), [(256, 256), (256, 512), (512, 512), (256, 1024)])
def test_code_widths_of_the_papers_tables(on_meta: Any, position: int, orientation: int) -> None:
    codes = {"code_position": position, "code_orientation": orientation}
    for name, hidden in (("posenet+hyper", ((), ())), ("ms-transformer+hyper", ((256, 128), (512, 512)))):
        model = on_meta(name, hyper=codes)
        for head, width, inner, last in (
            (model.position_head, position, hidden[0], 3),
            (model.orientation_head, orientation, hidden[1], 4),
        ):
            assert head.widths == [width, *inner, last]
            assert all(layer.code.in_features == width for layer in head.generated)


# heads that complete their numbers


class Squaring(MLPHead):
    """A head whose answer is not linear in its numbers."""

    def finish(self, numbers, latent, image, scene):  # type: ignore[no-untyped-def]
        return numbers.square() + image[:, :3]


@pytest.mark.parametrize("infusion", INFUSIONS)
def test_generated_numbers_are_added_before_the_head_completes_them(infusion: str) -> None:
    base = Squaring((D, 8, 3))
    plain = MLPHead((D, 8, 3))
    plain.load_state_dict(base.state_dict())
    torch.manual_seed(1)
    head = hyper(base, infusion=infusion, init="paper")
    torch.manual_seed(1)
    other = hyper(plain, infusion=infusion, init="paper")
    latent_BD, image_BE = torch.randn(B, D), torch.randn(B, E)
    numbers_B3 = other(latent_BD, image_BE)
    torch.testing.assert_close(head.numbers(latent_BD, image_BE), numbers_B3)
    torch.testing.assert_close(head(latent_BD, image_BE), numbers_B3.square() + image_BE[:, :3])
    assert not torch.allclose(head(latent_BD, image_BE), base(latent_BD, image_BE), atol=1e-3)
    zero = hyper(base, infusion=infusion, init="zero")
    assert torch.equal(zero(latent_BD, image_BE), base(latent_BD, image_BE, None))


def test_the_smallest_widths() -> None:
    least = {"rank": 1, "code_position": 1, "code_orientation": 1}
    assert HyperConfig(**least).rank == 1
    for key in least:
        with pytest.raises(UsageError, match=naming("hyper.rank=256")):
            HyperConfig(**{**least, key: 0})
