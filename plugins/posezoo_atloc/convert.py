"""Names of the tensors in checkpoints of AtLoc, AtLoc-LSTM and of their hypernetwork variants, which share the base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posezoo.nn.geometry import representation_of
from posezoo.plugin import Conversion

LSTM = "weight_ih_l0"  # how torch ends the name of an LSTM's first tensor, (4 hidden, what it reads)
ROWS = 32  # of the matrix that the LSTMs read


def authors(shapes: Mapping[str, tuple[int, ...]]) -> Conversion | None:
    """AtLoc's and HyperAtLoc's own files: the data set's pixels and crop, to be asked for.

    Those that regress a quaternion come from HyperPose, whatever project they are attributed to.
    """
    found = _base(shapes)
    if found is None or found["rotation"] == "quaternion":
        return hyperpose(shapes)
    return Conversion(_names(shapes), found | {"resize": 256, "crop": 256}, asks=("mean", "std"))


def hyperpose(shapes: Mapping[str, tuple[int, ...]]) -> Conversion | None:
    """HyperPose's AtLoc: pixels as all its models, ImageNet's mean and deviation (the backbone's) and a crop of 224."""
    found = _base(shapes)
    return None if found is None else Conversion(_names(shapes), found | {"resize": 256, "crop": 224})


def _base(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The settings that the shapes reveal; None for the file of another model."""
    if not any(name.startswith("feature_extractor.") for name in shapes):
        return None
    return {
        "backbone": "resnet34.tv_in1k",
        "feature": shapes["feature_extractor.fc.weight"][0],
        "attention": "lstm" if any(name.endswith(LSTM) for name in shapes) else "vector",
        "rotation": representation_of(shapes["fc_wpqr.weight"][0]),
    }


def _names(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str | tuple[str, int]]:
    """Torchvision's ResNet-34, whose `fc` is the feature layer; attention `att` or two LSTMs; two linear heads.

    Which LSTM is which follows from the width it reads: a row of the feature's matrix, or a column of 32.
    """
    row = shapes["feature_extractor.fc.weight"][0] // ROWS
    lstms = {name.removesuffix(LSTM): shape[1] for name, shape in shapes.items() if name.endswith(LSTM)}
    return {
        "feature_extractor.": "backbone.net.",
        "feature_extractor.fc.": "feature.0.",
        "att.": "attention.",
        **{theirs: "attention.rows." if reads == row else "attention.columns." for theirs, reads in lstms.items()},
        "fc_xyz.": "position_head.layers.0.",
        "fc_wpqr.": "orientation_head.layers.0.",
    }
