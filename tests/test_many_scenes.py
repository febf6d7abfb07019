"""Many scenes: a bank of heads costs the same operations for a thousand as for two, and the tables stay linear."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_data
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from posezoo.base.spec import Frame
from posezoo.data import splits
from posezoo.data.table import Frames
from posezoo.zoo.build import create_model


class Count(TorchDispatchMode):
    """How many operations torch does."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return function(*args, **(kwargs or {}))


def operations(model: str, scenes: int) -> tuple[int, nn.Module]:
    """Operations of one training step and one evaluation of a model with that many scenes."""
    settings = {key: value for key, value in small_data.settings(model).items() if key.partition(".")[0] in KEYS}
    torch.manual_seed(0)
    network = create_model(model, scenes=tuple(f"s{n}" for n in range(scenes)), **settings)
    images_BCHW, scene_B = torch.randn(4, 3, 64, 64), torch.tensor([0, 1, scenes - 1, 1])
    optimiser = torch.optim.Adam(network.parameters(), foreach=True)
    with Count() as step:
        output = network.train()(images_BCHW, scene_B)
        loss = output.position.float().sum() + output.rotation.sum()
        (loss + nn.functional.cross_entropy(output.scene_logits, scene_B)).backward()
        optimiser.step()
        with torch.inference_mode():
            assert network.eval()(images_BCHW).scene.shape == (4,)
    return step.count, network


KEYS = ("pretrained_backbone", "backbone", "resize", "crop", "hyper", *small_data.SLIM["ms-transformer"])


@pytest.mark.parametrize("model", ["ms-transformer", "ms-transformer+hyper", "ms-transformer+hyper=two"])
def test_a_thousand_scenes_take_no_more_operations_than_a_hundred(model: str) -> None:
    """A few scenes take another way through the decoder's attention than many."""
    (few, _), (many, network) = operations(model, 100), operations(model, 1000)
    assert few == many
    of_scenes = [p for p in network.parameters() if p.shape[0] == 1000]
    assert of_scenes
    assert all(p.grad is not None for p in of_scenes)


def test_splits_look_at_the_frames_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many scenes there are: what is done once a scene would be quadratic."""
    rows = [
        Frame(f"{n}.png", (n, 0, 0), (1, 0, 0, 0), f"s{n % 100:03d}", sequence=f"{n % 200:03d}") for n in range(2000)
    ]
    frames = Frames.from_rows(Path(), rows)
    calls = 0
    real = splits.runs

    def counted(frames: Frames) -> list[np.ndarray]:
        nonlocal calls
        calls += 1
        return real(frames)

    monkeypatch.setattr(splits, "runs", counted)
    for function in (splits.blocks, splits.every_fifth_sequence):
        assert (function(frames, []) == "test").any()
    assert splits.validation_blocks(frames, 0.1).any()
    assert calls == 3
