"""Names of the hypernetworks' tensors in checkpoints of HyperPose and HyperAtLoc, whatever model they are infused into.

`hyper_in_*_proj` is the condition u, `hyper_in_*` the chain's input where it has a projection of its own,
`hyper_in_*_fc_N` the F and `hypernet_*_fc_hN` the G of generated layer N. Models with one generated layer call it 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from posezoo.plugin import Conversion

BRANCHES = {"t": "position", "rot": "orientation"}


def authors(shapes: Mapping[str, tuple[int, ...]]) -> Conversion | None:
    """Full generators beside both heads; code and hidden widths follow from the shapes."""
    if not any(name.startswith("hypernet_") for name in shapes):
        return None
    names: dict[str, str | tuple[str, int]] = {}
    settings: dict[str, Any] = {"rank": None}
    for branch, word in BRANCHES.items():
        head = f"{word}_head"
        names[f"hyper_in_{branch}_proj."] = f"{head}.condition.image."
        names[f"hyper_in_{branch}."] = f"{head}.input.image."
        code = width = shapes[f"hyper_in_{branch}_proj.weight"][0]
        widths = []
        for place, number in enumerate(_layers(shapes, branch)):
            names[f"hyper_in_{branch}_fc_{number}."] = f"{head}.generated.{place}.code."
            names[f"hypernet_{branch}_fc_h{number}."] = f"{head}.generated.{place}.generator."
            width = shapes[f"hypernet_{branch}_fc_h{number}.weight"][0] // (
                width + 1
            )  # the vector is (C_in + 1, C_out)
            widths.append(width)
        settings |= {f"code_{word}": code, f"hidden_{word}": tuple(widths[:-1])}
    heads = {f"{word}_head.": f"{word}_head.base." for word in BRANCHES.values()}
    return Conversion(names, settings, moves=heads)


def _layers(shapes: Mapping[str, tuple[int, ...]], branch: str) -> list[int]:
    """The numbers of the branch's generated layers."""
    found = (re.fullmatch(rf"hypernet_{branch}_fc_h(\d+)\.weight", name) for name in shapes)
    return sorted(int(match[1]) for match in found if match)
