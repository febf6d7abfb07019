"""What an answer costs: counted, and timed in the right order."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from posezoo.evaluation import cost


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((300, 400, 3), dtype=np.uint8)).save(path)
    return path


def test_cost_counts_and_times(picture: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5))
    network.train()

    def prepare(images_BCHW: Tensor) -> Tensor:
        assert images_BCHW.dtype == torch.uint8
        assert images_BCHW.shape == (1, 3, 256, 341)
        time.sleep(0.02)
        return images_BCHW[..., :2, :2].float()

    def answer(x_BCHW: Tensor) -> Tensor:
        time.sleep(0.005)
        return network(x_BCHW)

    found = cost.cost_of(network, prepare, picture, answer=answer, device=torch.device("cpu"), more_bytes=100)
    assert found["parameters"] == 12 * 5 + 5 + 2 * 5
    assert found["bytes"] == 4 * (75 + 10) + 8 + 100, "running statistics and the count of batches too"
    assert 5 <= found["latency_ms_p50"] <= found["latency_ms_p95"]
    assert found["file_ms_p50"] >= 25
    assert found["device"] == "cpu"
    assert network.training
    assert network[2].num_batches_tracked == 0, "in eval mode"


def test_size_alone_in_words() -> None:
    line = cost.words("x", cost.size_of(nn.Linear(1000, 1000)))
    assert "1,001,000 parameters" in line
    assert "4.0 MB" in line
    assert "ms" not in line


def test_a_mean_pose_is_looked_up_and_an_oracle_cannot_be_run() -> None:
    found = cost.of_mean(3)
    assert (found["parameters"], found["bytes"]) == (0, 3 * 7 * 8)
    assert 0 < found["latency_ms_p50"] <= found["latency_ms_p95"] < 10
    assert "file_ms_p50" not in found
    line = cost.words("mean", found)
    assert line.startswith("mean: 0 parameters, 168 bytes, 0.00") and line.endswith(
        "; reads no picture, is told the scene"
    )
    assert "0.0 ms" not in line
    assert cost.words("oracle", cost.OF_ORACLE) == "oracle: cannot be run: it needs the true pose"


def test_a_file_that_is_gone_is_not_timed(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    found = cost.cost_of(
        network,
        lambda images_BCHW: images_BCHW[..., :2, :2].float(),
        tmp_path / "gone.png",
        answer=network,
        device=torch.device("cpu"),
    )
    assert found["latency_ms_p50"] > 0
    assert "file_ms_p50" not in found
    assert "from its file" not in cost.words("x", found)
