"""Names of the tensors in checkpoints of MS-Transformer and of MS-HyperPose, which share the base."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from posezoo.nn.geometry import representation_of
from posezoo.plugin import Conversion

BRANCHES = {"t": "position", "rot": "orientation"}
REPEATS = (1, 2, 2, 3, 3, 4, 1)  # blocks a stage of EfficientNet-B0
# the first stage's block does not expand, which shifts its batch norms
FIRST = {"_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OTHER = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}
COMMON = {"_depthwise_conv": "conv_dw", "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
LAYER = {
    "self_attn": "self_attn",
    "multihead_attn": "cross_attn",
    "linear1": "feedforward.0",
    "linear2": "feedforward.3",
}
NORMS = {f"norm{n}": f"norm{n}" for n in (1, 2, 3)}


def authors(shapes: Mapping[str, tuple[int, ...]]) -> Conversion | None:
    """DETR's names. The numbers of scenes and layers are not stored: they follow from the names and shapes."""
    if not any(name.startswith("transformer_t.") for name in shapes):
        return None
    scenes, width = shapes["query_embed_t.weight"]
    heads = _numbered(shapes, r"regressor_head_t\.(\d+)\.")
    shared = any(name.startswith("regressor_head_t.fc_") for name in shapes)
    names: dict[str, str | tuple[str, int]] = {
        **efficientnet_b0("backbone.0.body.", "backbone.net."),
        "backbone.1.row_embed.weight": "encoding.row",
        "backbone.1.col_embed.weight": "encoding.column",
        "scene_embed.": "scene.",
    }
    settings: dict[str, Any] = {"backbone": "tf_efficientnet_b0.in1k", "resize": 256, "crop": 224}
    for branch, word in BRANCHES.items():
        layers = settings[f"{word}_layers"] = _count(shapes, branch)
        names |= _transformer(branch, word, layers) | _head(branch, word, None if shared else heads)
    one = "regressor_head_{}.{}" if shared else "regressor_head_{}.0.{}"
    settings |= {
        "width": width,
        "heads": 8,  # not in the file; released weights have 8
        "feedforward": shapes["transformer_t.encoder.layers.0.linear1.weight"][0],
        "hidden": shapes[one.format("t", "fc_h.weight")][0],
        "shared_heads": shared,
        "rotation": representation_of(shapes[one.format("rot", "fc_o.weight")][0]),
    }
    classifier = ("backbone.0.body._fc.weight", "backbone.0.body._fc.bias")
    return Conversion(names, settings, classifier, scenes)


def _count(shapes: Mapping[str, tuple[int, ...]], branch: str) -> int:
    """The layers of a branch's encoder, which are as many as its decoder's."""
    return _numbered(shapes, rf"transformer_{branch}\.(?:en|de)coder\.layers\.(\d+)\.")


def _numbered(shapes: Mapping[str, tuple[int, ...]], pattern: str) -> int:
    """How many different numbers the names have at the group of `pattern`."""
    return len({match[1] for match in (re.match(pattern, name) for name in shapes) if match})


def _transformer(branch: str, word: str, layers: int) -> dict[str, str]:
    names = {f"input_proj_{branch}.": f"{word}.project.", f"query_embed_{branch}.weight": f"{word}.query"}
    for part in ("encoder", "decoder"):
        names[f"transformer_{branch}.{part}.norm."] = f"{word}.{part}_norm."
        for n in range(layers):
            names |= {
                f"transformer_{branch}.{part}.layers.{n}.{a}.": f"{word}.{part}.{n}.{b}."
                for a, b in (LAYER | NORMS).items()
            }
    return names


def _head(branch: str, word: str, heads: int | None) -> dict[str, str | tuple[str, int]]:
    names: dict[str, str | tuple[str, int]] = {}
    for n, layer in enumerate(("fc_h", "fc_o")):
        ours = f"{word}_head.layers.{n}."
        if heads is None:
            names[f"regressor_head_{branch}.{layer}."] = ours
        else:
            names |= {f"regressor_head_{branch}.{s}.{layer}.": (ours, s) for s in range(heads)}
    return names


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
