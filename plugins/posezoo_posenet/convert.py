"""Names of the tensors in the PoseNet baselines of HyperPose and of MS-Transformer, with or without a hypernetwork.

The backbone is EfficientNet-B0 in the names of efficientnet_pytorch, or GoogLeNet in those of torchvision; of that the
class logits are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posezoo.nn.geometry import representation_of
from posezoo.plugin import Conversion

REPEATS = (1, 2, 2, 3, 3, 4, 1)  # blocks a stage of EfficientNet-B0
# the first stage's block does not expand, which shifts its batch norms
FIRST = {"_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OTHER = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}
COMMON = {"_depthwise_conv": "conv_dw", "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_EFFICIENTNET = {"backbone": "tf_efficientnet_b0.in1k"}  # pads as TensorFlow does, batch-norm eps 1e-3
_GOOGLENET = {"backbone": "torchvision:googlenet", "embedding": "logits"}


def authors(shapes: Mapping[str, tuple[int, ...]]) -> Conversion | None:
    """fc1 (shared), fc2 (position), fc3 (orientation) on a backbone that is called `backbone` or `_backbone`."""
    for theirs in ("backbone.", "_backbone."):
        if any(name.startswith(f"{theirs}_") for name in shapes):
            return _on(efficientnet_b0(theirs, "backbone.net."), _EFFICIENTNET, [f"{theirs}_fc."], shapes)
        if any(name.startswith(f"{theirs}inception3a.") for name in shapes):
            auxiliary = [f"{theirs}aux1.", f"{theirs}aux2."]  # torchvision's classifiers for training on ImageNet
            return _on({theirs: "backbone.net."}, _GOOGLENET, auxiliary, shapes)
    return None


def _on(
    backbone: Mapping[str, str], settings: Mapping[str, Any], unused: list[str], shapes: Mapping[str, tuple[int, ...]]
) -> Conversion:
    return Conversion(
        names={
            **backbone,
            "fc1.": "hidden.0.",
            "fc2.": "position_head.layers.0.",
            "fc3.": "orientation_head.layers.0.",
        },
        settings={
            **settings,
            "hidden": shapes["fc1.weight"][0],
            "rotation": representation_of(shapes["fc3.weight"][0]),
            "resize": 256,
            "crop": 224,
        },
        unused=tuple(name for name in shapes if name.startswith(tuple(unused))),
    )


def efficientnet_b0(theirs: str, ours: str) -> dict[str, str]:
    """Prefixes of names in efficientnet_pytorch -> timm's."""
    names = {"_conv_stem.": "conv_stem.", "_bn0.": "bn1.", "_conv_head.": "conv_head.", "_bn1.": "bn2."}
    number = 0
    for stage, repeats in enumerate(REPEATS):
        for block in range(repeats):
            parts = COMMON | (OTHER if stage else FIRST)
            names |= {f"_blocks.{number}.{a}.": f"blocks.{stage}.{block}.{b}." for a, b in parts.items()}
            number += 1
    return {theirs + a: ours + b for a, b in names.items()}
