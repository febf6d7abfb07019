"""Features of a pretrained backbone for the retrieval baseline: the nearest training image's pose; what it costs.

Legend: M training images, E embedding width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from posezoo.base.poses import Poses
from posezoo.data.table import Frames
from posezoo.evaluation import baselines, cost
from posezoo.nn.backbones import Backbone, load_pretrained, normalisation
from posezoo.nn.model import PoseModel, network_input
from posezoo.zoo import pretrained

PACKAGED = "tf_efficientnet_lite0"


@dataclass(frozen=True)
class RetrievalFeatures:
    """Features of pictures: uint8 (B, 3, H, W) -> (B, E)."""

    network: Backbone
    prepare: Callable[[Tensor], Tensor]

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        embedding_BE: Tensor = self.network(self.prepare(images_BCHW))[0]
        return embedding_BE


def retrieval_features(model: PoseModel, given: bool | str | None = None) -> RetrievalFeatures | None:
    """Features of the model's frozen, pretrained backbone: uint8 (B, 3, H, W) -> (B, E).

    A model without a backbone of timm's has those of a packaged one (PACKAGED), on the same crop. None where its
    package is absent, or for a model configured to start without pretrained weights.

    `given`: their source, if not the model's own `pretrained_backbone`. Raises HubError, WeightsError.
    """
    own = next((module for module in model.modules() if isinstance(module, Backbone)), None)
    given = model.config.pretrained_backbone if given is None else given
    if given is False or (own is None and not pretrained.is_packaged(PACKAGED)):
        return None
    name, given = (own.name, given) if own else (PACKAGED, True)
    backbone = frozen_backbone(name, model.config.crop, given).to(model.device)
    if own is not None:
        return RetrievalFeatures(backbone, model.prepare)
    mean, std = normalisation(name)
    config = dataclasses.replace(model.config, mean=mean, std=std)
    return RetrievalFeatures(backbone, lambda images_BCHW: network_input(images_BCHW, config))


def baseline_costs(
    methods: Mapping[str, Poses],
    train: Frames,
    test: Frames,
    embed: Callable[[Tensor], Tensor] | None,
    features: Sequence[npt.NDArray[np.float32]] | None,
) -> dict[str, cost.Cost]:
    """What an answer of each baseline of a report costs; `features` of the training images and of the test images."""
    found = dict[str, cost.Cost]()
    if methods:
        found[baselines.MEAN] = cost.of_mean(len(set(train.scene.tolist())))
        if isinstance(embed, RetrievalFeatures) and features is not None:
            found[baselines.RETRIEVAL] = retrieval_cost(embed, train, test, features[0])
        found[baselines.ORACLE] = cost.OF_ORACLE
    return found


def retrieval_cost(
    features: RetrievalFeatures, train: Frames, test: Frames, train_ME: npt.NDArray[np.float32], top: int = 1
) -> cost.Cost:
    """What retrieval's answer costs, on the first test image: the features, and the search of all training images."""
    device = next(features.network.parameters()).device
    unit_ME = torch.nn.functional.normalize(torch.from_numpy(train_ME)).to(device)
    return cost.cost_of(
        features.network,
        features.prepare,
        test.path(0),
        answer=lambda x: (features.network(x)[0] @ unit_ME.T).topk(min(top, len(unit_ME))).indices,
        device=device,
        decode=test.decode,
        more_bytes=train_ME.nbytes + train.position.nbytes + train.quaternion.nbytes,
    )


def frozen_backbone(name: str, size: int, given: bool | str = True) -> Backbone:
    """A pretrained backbone in evaluation mode, for images of this side. Raises HubError, WeightsError."""
    backbone = Backbone(name, size=size).eval()
    file = pretrained.find_backbone(name, given)
    load_pretrained(backbone, pretrained.read_state(file), file.by_order, file.source)
    return backbone
