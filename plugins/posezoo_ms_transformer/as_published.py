"""The same outputs at the cost of the published MS-Transformer and MS-HyperPose, for `posezoo bench speed`.

Written from what is known of that code's run, not from its source:

* MS-HyperPose runs its backbone a second time for the embedding that the hypernetworks read; MS-Transformer runs every
  layer of it once, those beyond stride 16 too
* attention gets a key padding mask, false everywhere since all images have one size, and returns its weights
* the heads of the scenes are applied image by image
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from posezoo.nn.backbones import Backbone
from posezoo.nn.heads import SceneLinear
from posezoo_ms_transformer.attention import Attention
from posezoo_ms_transformer.model import MSTransformer


def as_published(model: MSTransformer) -> MSTransformer:
    """A copy of the model with the same weights and outputs, computed the slow way."""
    slow = copy.deepcopy(model)
    slow.backbone = _Repeated(slow.backbone)  # type: ignore[assignment]
    for name, module in list(slow.named_modules()):
        if isinstance(module, Attention):
            slow.set_submodule(name, _Masked(module))
        elif isinstance(module, SceneLinear):
            module.__class__ = _Looped
    return slow


class _Repeated(nn.Module):
    """The backbone: all of it for the maps, and all of it again where the embedding is read."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images_BCHW: Tensor, pooled: bool = True) -> tuple[Tensor, tuple[Tensor, ...]]:
        image_BE, maps = self.backbone(images_BCHW)
        return self.backbone(images_BCHW)[0] if pooled else image_BE, maps


class _Masked(nn.Module):
    """torch's own attention with a mask of all tokens (B, N) that hides none, tokens first as in DETR."""

    def __init__(self, ours: Attention) -> None:
        super().__init__()
        width = ours.in_proj_weight.shape[1]
        self.attention = nn.MultiheadAttention(width, ours.num_heads, ours.dropout.p)
        self.attention.load_state_dict(ours.state_dict())
        self.attention.train(ours.training)

    def forward(self, query_BQD: Tensor, key_BND: Tensor, value_BND: Tensor) -> Tensor:
        mask_BN = torch.zeros(key_BND.shape[:2], dtype=torch.bool, device=key_BND.device)
        q, k, v = (x.transpose(0, 1).contiguous() for x in (query_BQD, key_BND, value_BND))
        return self.attention(q, k, v, key_padding_mask=mask_BN)[0].transpose(0, 1)


class _Looped(SceneLinear):
    """The bank of layers, one image after the other."""

    def forward(self, x_BD: Tensor, scene_B: Tensor | None) -> Tensor:
        assert scene_B is not None
        rows = [x @ self.weight[int(s)] + self.bias[int(s)] for x, s in zip(x_BD, scene_B, strict=True)]
        return torch.stack(rows)
