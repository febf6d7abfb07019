"""Saliency against finite differences, the spread of maps by hand, and a model's own attention."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_data
import small_models
import torch
from small_studies import study

from posezoo.studies import attention

pytestmark = pytest.mark.usefixtures("no_pictures")


def test_spread_by_hand() -> None:
    assert attention.spread_of(np.full((4, 4), 1 / 16)) == pytest.approx(1)
    one = np.zeros((4, 4))
    one[1, 2] = 1
    assert attention.spread_of(one) == pytest.approx(1 / 16)
    one[1, 2] = one[0, 0] = 0.5
    assert attention.spread_of(one) == pytest.approx(2 / 16)


def test_saliency_is_where_the_answer_depends_on_the_picture() -> None:
    class OneCorner(torch.nn.Module):
        """The position is the mean of the upper left quarter."""

        position_mean_3, position_std_3 = torch.zeros(3), torch.ones(3)

        def forward(self, images_BCHW: torch.Tensor) -> OneCorner:
            self.position = images_BCHW[:, :, :32, :32].mean(dim=(2, 3)) * torch.tensor([1.0, 2.0, 3.0])
            return self

    found = attention.saliency(OneCorner(), torch.rand(1, 3, 64, 64))[0]  # type: ignore[arg-type]
    assert found.shape == (64, 64)
    assert found[:24, :24].min() > 100 * found[40:, 40:].max()
    slope = float(np.sqrt(1 + 4 + 9) / 32**2)
    assert found[10, 10] == pytest.approx(slope, rel=1e-3)


def test_parameters_keep_no_gradients() -> None:
    model = small_models.small("posenet").train()
    attention.maps(model, torch.randint(0, 256, (1, 3, 128, 128), dtype=torch.uint8))
    assert model.training and all(p.grad is None for p in model.parameters())


def test_the_study_on_small_models(one_place: Path, tmp_path: Path) -> None:
    settings = {**small_data.SLIM["ms-transformer"], "study.images": 3}
    found = study("attention", "ms-transformer", data=one_place, out=tmp_path, **settings)
    assert [row["map"] for row in found["maps"]] == ["saliency", "position attention", "orientation attention"]
    assert all(0 < row["spread"] <= 1 for row in found["maps"])
    assert found["num_images"] == 3 and "%" in found["verdict"]


def test_shares_are_compared_as_shares(one_place: Path, tmp_path: Path) -> None:
    more = {"study.images": 3, "hyper.rank": 4}
    found = study("attention", "posenet", "posenet+hyper", data=one_place, out=tmp_path, **more)
    row = found["spread_of_saliency_against_first"]["posenet+hyper"]
    assert (row["error"], row["unit"], row["num"]) == ("spread", "share", 3)
    assert -1 <= row["difference"] <= 1
