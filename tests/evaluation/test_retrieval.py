"""The retrieval baseline's features: a pretrained backbone, in eval mode, on what the network itself reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor

from posezoo.evaluation.retrieval import retrieval_features
from posezoo.nn.model import PoseModel
from posezoo.zoo import pretrained
from posezoo.zoo.build import create_model

BACKBONE = "test_efficientnet.r160_in1k"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the backbone whose batch norms have seen something, as a pretrained one's have."""
    torch.manual_seed(3)
    network = timm.create_model(BACKBONE, pretrained=False, num_classes=0).train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(8, 3, 64, 64))
    path = tmp_path_factory.mktemp("weights") / "backbone.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)
    return path


@pytest.fixture
def model(weights: Path) -> PoseModel:
    """A model that started from these weights and has learned since: its crop is much smaller than its images."""
    torch.manual_seed(4)
    made = create_model("posenet", backbone=BACKBONE, pretrained_backbone=str(weights), hidden=8, resize=96, crop=64)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1)
    return made.train()


@pytest.fixture
def pictures() -> Tensor:
    """Six pictures as the image cache holds them: uint8, short edge 256, wider than high."""
    pixels = np.random.default_rng(5).integers(0, 256, (6, 3, 256, 341), dtype=np.uint8)
    return torch.from_numpy(pixels)


def test_features_are_the_pretrained_network_s_of_prepared_images(
    model: PoseModel, weights: Path, pictures: Tensor
) -> None:
    features = retrieval_features(model)
    assert features is not None
    network = timm.create_model(BACKBONE, pretrained=False, num_classes=0).eval()
    network.load_state_dict(safetensors.torch.load_file(weights))
    with torch.no_grad():
        found_BE, expected_BE = features(pictures), network(model.prepare(pictures))
        raw_BE = network(pictures.float())
    torch.testing.assert_close(found_BE, expected_BE, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(expected_BE, raw_BE, rtol=0.01, atol=0.01), "else nothing is said about preparing"


def test_an_image_s_features_do_not_depend_on_its_batch(model: PoseModel, pictures: Tensor) -> None:
    features = retrieval_features(model)
    assert features is not None
    with torch.no_grad():
        together_BE = features(pictures)
        alone_BE = torch.cat([features(image_CHW[None]) for image_CHW in pictures])
        again_BE = features(pictures)
    torch.testing.assert_close(together_BE, alone_BE, rtol=1e-4, atol=1e-5)
    assert torch.equal(together_BE, again_BE), "nothing in the backbone moves"


def test_the_model_stays_as_it_was(model: PoseModel, pictures: Tensor) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    features = retrieval_features(model)
    assert features is not None
    features(pictures)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_no_features_without_pretrained_weights(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = create_model("posenet", backbone=BACKBONE, pretrained_backbone=False, hidden=8, resize=64, crop=64)
    assert retrieval_features(random) is None
    assert retrieval_features(random, str(weights)) is not None, "said by the caller"
    started = create_model("posenet", backbone=BACKBONE, pretrained_backbone=str(weights), hidden=8, resize=64, crop=64)
    assert retrieval_features(started, False) is None
    monkeypatch.setattr(pretrained, "is_packaged", lambda name: False)
    assert retrieval_features(started) is not None, "its own needs no package"
