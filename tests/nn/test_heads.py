"""Heads: banks of layers for scenes, and what each layer is."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from posezoo.nn.heads import ACTIVATIONS, MLPHead, SceneLinear, layer_widths


def test_a_bank_is_a_loop_over_the_scenes() -> None:
    bank = SceneLinear(5, 7, 4)
    x_BD, scene_B = torch.randn(11, 7), torch.tensor([0, 1, 2, 3, 4, 4, 4, 0, 2, 2, 1])
    expected = torch.stack([x @ bank.weight[s] + bank.bias[s] for x, s in zip(x_BD, scene_B, strict=True)])
    torch.testing.assert_close(bank(x_BD, scene_B), expected)


def test_only_the_chosen_scenes_learn() -> None:
    bank = SceneLinear(3, 4, 2)
    bank(torch.randn(5, 4), torch.tensor([0, 2, 2, 0, 2])).sum().backward()
    moved = bank.weight.grad.abs().sum((1, 2)) > 0
    assert moved.tolist() == [True, False, True]
    assert bank.bias.grad[:, 0].tolist() == [2, 0, 3]


def test_a_bank_starts_like_a_linear_layer() -> None:
    torch.manual_seed(0)
    bank, linear = SceneLinear(50, 64, 32), nn.Linear(64, 32)
    assert bank.weight.abs().max() <= 1 / 8
    assert bank.weight.std().item() == pytest.approx(linear.weight.std().item(), rel=0.05)


def test_a_bank_without_a_scene_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="scene"):
        MLPHead((4, 3), scenes=2)(torch.randn(1, 4))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_layers_with_activations_between(activation: str) -> None:
    head = MLPHead((6, 5, 4, 3), activation)
    x = torch.randn(8, 6)
    function = {"relu": F.relu, "gelu": F.gelu, "swish": F.silu}[activation]
    w = [layer.weight for layer in head.layers]
    b = [layer.bias for layer in head.layers]
    expected = F.linear(function(F.linear(function(F.linear(x, w[0], b[0])), w[1], b[1])), w[2], b[2])
    torch.testing.assert_close(head(x), expected)
    assert (head.in_dim, head.out_dim, head.num_layers) == (6, 3, 3)
    torch.testing.assert_close(head(x, torch.randn(8, 99), None), expected)  # a plain head ignores the image


def test_dropout_is_between_the_layers_and_only_in_training() -> None:
    torch.manual_seed(0)
    head, x = MLPHead((6, 64, 3), dropout=0.5), torch.randn(8, 6)
    assert not torch.equal(head(x), head(x))
    head.eval()
    assert torch.equal(head(x), head(x))
    single = MLPHead((6, 3), dropout=0.5)
    assert torch.equal(single(x), single(x))


def test_scenes_in_every_layer() -> None:
    head = MLPHead((6, 5, 3), "gelu", scenes=4)
    x_BD, scene_B = torch.randn(9, 6), torch.arange(9) % 4
    rows = [head(x_BD[n : n + 1], None, scene_B[n : n + 1]) for n in range(9)]
    torch.testing.assert_close(head(x_BD, None, scene_B), torch.cat(rows))


def test_deepened_has_one_more_relu_layer_of_the_same_kind() -> None:
    deep = MLPHead((6, 3)).deepened(16)
    assert deep.dims == (6, 16, 3)
    assert MLPHead((6, 5, 3)).deepened(16).dims == (6, 5, 16, 3)
    assert deep.activation == "relu"
    assert MLPHead((6, 3), scenes=4).deepened(16).scenes == 4


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dropout_is_after_the_activation(activation: str) -> None:
    """What is kept is twice the activation's value; for gelu and swish the other order gives something else."""
    head, x = MLPHead((4, 64, 3), activation=activation, dropout=0.5), torch.full((1, 64), 0.7)
    torch.manual_seed(0)
    kept = head.activate(x)
    expected = 2 * ACTIVATIONS[activation]()(x)
    assert 0 < (kept != 0).sum() < 64
    torch.testing.assert_close(kept[kept != 0], expected[kept != 0])


class Doubling(MLPHead):
    """A head whose answer is made of its numbers and the latent."""

    def finish(self, numbers, latent, image, scene):  # type: ignore[no-untyped-def]
        return 2 * numbers + latent[:, :3] + image[:, :3] + scene[:, None]


def test_the_answer_is_made_of_the_numbers() -> None:
    """A plain head's numbers are its answer; `finish` sees what `forward` was given."""
    plain, x_BD = MLPHead((6, 5, 3)), torch.randn(4, 6)
    assert torch.equal(plain(x_BD), plain.numbers(x_BD))
    numbers_B3 = torch.randn(4, 3)
    assert plain.finish(numbers_B3, x_BD, None, None) is numbers_B3
    head, image_BE, scene_B = Doubling((6, 5, 3)), torch.randn(4, 9), torch.arange(4)
    expected = 2 * head.numbers(x_BD) + x_BD[:, :3] + image_BE[:, :3] + scene_B[:, None]
    torch.testing.assert_close(head(x_BD, image_BE, scene_B), expected)


def test_probing_the_widths_changes_nothing() -> None:
    base = MLPHead((5, 8, 3), dropout=0.5).train()
    torch.manual_seed(3)
    expected = torch.randn(2)
    torch.manual_seed(3)
    assert layer_widths(base) == [5, 8, 3]
    assert base.training
    assert torch.equal(torch.randn(2), expected)
