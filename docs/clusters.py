"""The section on clusters of generated weights in docs/results/hypernetwork.md, from studies of weights.

posezoo study weights atloc-anchors-hyper-demo posenet-anchors-demo --data demo-loop --out outputs/weights
python docs/make.py clusters outputs/weights ...     keeps what it found in registry/results/clusters.json
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from posezoo.base.files.write import write_whole
from posezoo.catalogue.settings import setting_text

STORE = Path(__file__).parent.parent / "registry" / "results" / "clusters.json"
KEPT = (
    "model", "representation", "trainings", "ami_place_6", "ami_place_6_seeds", "ami_condition", "neighbour_m",
    "neighbour_m_seeds", "neighbour_same_place",
)  # fmt: skip
Row = Mapping[str, Any]

WORDS = """\
## Do generated weights know more than the embedding?

No: they cannot. A generated layer is a function of the code, and the code one of what the hypernetwork reads, the
embedding or the latent, so the weights can lose what is known there but add nothing. What training asks of them is a
small pose loss, not that images of one place get like weights; a residual form that starts at zero moves its weights
only as far as the loss pays for. Clusters tell how large parts of a representation gather, and k-means weighs what
varies most; the nearest neighbour under other light tells whether a place can be told from its neighbours. The paper's
Figure 3 shows the weights alone; without the embedding beside them, and the true positions, which are the most that can
be reached, clusters by place are no evidence for the hypernetwork. More in
[the studies' guide](../guides/studies.md#do-weights-gather-by-place-weights).
"""


def add(folders: Iterable[str]) -> None:
    """Keep what these studies of weights found, one for each set of models; those of other models stay."""
    stored = {tuple(found["models"]): found for found in read()}
    for folder in folders:
        found = json.loads((Path(folder) / "weights" / "study.json").read_text(encoding="utf-8"))
        models = list(found["models"])
        rows = [{key: row[key] for key in KEPT if key in row} for row in found["representations"]]
        kept = {"models": models, "seeds": max(row["trainings"] for row in rows), "rows": rows}
        stored[tuple(models)] = {**kept, "data": found["data"], "settings": found["settings"]}
    write_whole(STORE, json.dumps(rounded(list(stored.values())), indent=1) + "\n")


def read() -> list[dict[str, Any]]:
    """What studies of weights found."""
    found: list[dict[str, Any]] = json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else []
    return found


def rounded(value: Any) -> Any:
    """Numbers in four digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


def section() -> Iterator[str]:
    """The words, and tables of what was measured, each with its command."""
    yield WORDS
    yield from (_counted(read()), "")
    for found in sorted(read(), key=lambda found: -int(found["seeds"])):
        several = found["seeds"] > 1
        yield "| model | of | AMI with 6 places | AMI with weathers | neighbour in other weather |"
        yield "|---|---|---|---|---|"
        for row in found["rows"]:
            near = f"{_spread(row, 'neighbour_m', 1)} m, {row['neighbour_same_place']:.0%} at the same place"
            told = (row["representation"], _spread(row, "ami_place_6", 2), _fixed(row["ami_condition"], 2), near)
            yield f"| `{row['model']}` | {' | '.join(told)} |"
        given = "".join(f" {key}={setting_text(value)}" for key, value in found["settings"].items())
        seeds = f" --seeds {','.join(map(str, range(found['seeds'])))}" if several else ""
        command = f"posezoo study weights {' '.join(found['models'])} --data {found['data']}{seeds}{given}"
        yield from ("", f"{'Mean of the seeds (lowest to highest). ' * several}`{command}`", "")
    yield "![t-SNE of embedding and generated weights, coloured by place](../images/study-weights.png)"
    yield from ("", "*Colour is the place, the marker the weather; by the last command.*")


def _counted(studies: Iterable[Row]) -> str:
    """In how many rows of weights they gather more by place than their embedding, and tell places apart less well."""
    pairs = []
    for found in studies:
        own = {(row["model"], row["representation"]): row for row in found["rows"]}
        pairs += [(row, own[model, "embedding"]) for (model, name), row in own.items() if name.endswith(" weights")]
    more = sum(row["ami_place_6"] > base["ami_place_6"] for row, base in pairs)
    farther = sum(row["neighbour_m"] > base["neighbour_m"] for row, base in pairs)
    return (
        f"Of {len(pairs)} generated weights below, {more} agree more with places than the embedding of their model, and"
        f"\nof {farther} the neighbour is farther away."
    )


def _spread(row: Row, key: str, digits: int) -> str:
    low, high = row[f"{key}_seeds"]
    ends = _fixed(low, digits), _fixed(high, digits)
    return _fixed(row[key], digits) + (f" ({' to '.join(ends)})" if low != high else "")


def _fixed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"
