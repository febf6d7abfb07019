"""Names of the tensors in checkpoints of AtLoc and of its hypernetwork variant, which share the base."""

from __future__ import annotations

from collections.abc import Mapping

from posezoo.nn.geometry import representation_of
from posezoo.plugin import Conversion


def authors(shapes: Mapping[str, tuple[int, ...]]) -> Conversion | None:
    """Torchvision's ResNet-34, whose `fc` is the feature layer; then attention `att` and the two linear heads."""
    if not any(name.startswith("feature_extractor.") for name in shapes):
        return None
    return Conversion(
        names={
            "feature_extractor.": "backbone.net.",
            "feature_extractor.fc.": "feature.0.",
            "att.": "attention.",
            "fc_xyz.": "position_head.layers.0.",
            "fc_wpqr.": "orientation_head.layers.0.",
        },
        settings={
            "backbone": "resnet34.tv_in1k",
            "feature": shapes["att.g.weight"][1],
            "rotation": representation_of(shapes["fc_wpqr.weight"][0]),
            "resize": 256,
            "crop": 256,
        },
        asks=("mean", "std"),  # the data set's own, not those of ImageNet
    )
