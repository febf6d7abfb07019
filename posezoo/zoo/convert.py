"""Other projects' checkpoints converted to posezoo's models: a folder with the model, its origin and its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData
from torch import Tensor

from posezoo.base.errors import UsageError, WeightsError, unknown_name
from posezoo.base.files import foreign
from posezoo.base.observe import Stages
from posezoo.base.paths import user_path
from posezoo.base.poses import printable
from posezoo.catalogue import entries
from posezoo.nn.model import PoseModel
from posezoo.zoo.blueprint import blueprint
from posezoo.zoo.given import place_of, scenes_of
from posezoo.zoo.mapping import NOT_PUBLISHED, filled, formats, recognised
from posezoo.zoo.saved import save

LICENCE = "weights of the authors: no licence stated"


@dataclass(frozen=True)
class Converted:
    """What `convert` made: the folder, the model's name, the tensors read and those left out on purpose."""

    path: Path
    model: str
    data: str
    label_frame: str
    tensors: int
    unused: tuple[str, ...]
    sha256: str


def convert(
    path: str | Path,
    source: str,
    data: str,
    out: str | Path,
    *,
    trust: bool = False,
    overrides: Mapping[str, Any] | None = None,
    progress: Stages = lambda what, done, total: None,
) -> Converted:
    """The model of a checkpoint in the format `source`, written to the folder `out`, which must be new.

    `data`: the labels it was trained on (registry/labels). `trust`: also read a pickle of whole objects, in a process
    of its own. Raises UsageError for unknown names, WeightsError with every tensor that cannot be mapped.
    """
    path, out = user_path(path), user_path(out)
    file = printable(path.name)
    if source not in formats():
        raise unknown_name("format", source, formats(), f"known: {', '.join(formats())}")
    entries.label_card(data)  # a wrong name is reported before a large file is read
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out} exists already", "give a new folder to --out")
    progress("reading", 0, 3)
    state, digest = foreign.read(path, trust)
    progress("mapping", 1, 3)
    model, unused = mapped(state, source, data, overrides or {}, file)
    progress("writing", 2, 3)
    converted = Converted(out, model.name, data, model.config.label_frame, len(state), unused, digest)
    save(model, out, card(converted, file, source), training=facts(converted, file, source))
    progress("writing", 3, 3)
    return converted


def mapped(
    state: Mapping[str, Tensor], source: str, data: str, overrides: Mapping[str, Any], file: str
) -> tuple[PoseModel, tuple[str, ...]]:
    """The model made from a format's tensors, and the names of those it does not use. `file` is for messages."""
    labels = entries.label_card(data)
    name, conversion = recognised({key: tuple(value.shape) for key, value in state.items()}, source, file)
    scenes = scenes_of(data, conversion, overrides, file)
    place = place_of(data, conversion, overrides, file)
    try:
        blueprint(name, conversion.settings)
    except UsageError as error:  # not the user's settings: the file's shapes imply them
        raise WeightsError(f"{file}: its shapes do not fit any {name}: {error.message}", NOT_PUBLISHED) from None
    given = {"label_frame": labels.label_frame, **overrides, **place, "scenes": scenes}
    plan = blueprint(name, conversion.settings, labels.settings, given)
    model = filled(plan, state, conversion, source, file)
    return model, tuple(key for key in state if key in conversion.unused)


def facts(converted: Converted, file: str, source: str) -> dict[str, Any]:
    """What config.json says about where the weights come from."""
    return {
        "data": converted.data,
        "selection": "by the authors; published code chooses on the test frames",
        "converted": {"from": source, "file": file, "sha256": converted.sha256, "label_frame": converted.label_frame},
        "licence": LICENCE,
        "redistributable": False,
    }


def card(converted: Converted, file: str, source: str) -> str:
    """The model card in Markdown with the hub's metadata."""
    metadata = ModelCardData(
        library_name="posezoo",
        license="other",
        license_name="not-stated",
        tags=["camera-localisation", "absolute-pose-regression", converted.model],
        model_name=f"{converted.model} on {converted.data}",
    )
    return _CARD.format(metadata=metadata.to_yaml(), file=file, source=source, licence=LICENCE, **vars(converted))


_CARD = """---
{metadata}
---

# {model} on {data}

Converted from other people's weights. **They must not be redistributed**: ask their authors for them.

| | |
|---|---|
| converted from | `{file}` (format {source}), sha256 `{sha256}` |
| labels it was trained on | {data}, orientations {label_frame}; the model answers camera-to-world in metres |
| licence | {licence} |
| weights chosen by | their authors; published code chooses on the test frames |

Not evaluated here yet.

## Use

```python
import posezoo

model = posezoo.load("local-dir:PATH-OF-THIS-FOLDER")
poses = model.predict(["image.jpg"])  # camera-to-world, metres, quaternion (w, x, y, z)
```
"""
