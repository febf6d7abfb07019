"""Load whatever predicts poses: a trained model by its name, or a file that `posezoo export` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from posezoo.base.errors import UsageError
from posezoo.base.observe import Note, silent
from posezoo.zoo.find import EXPORTED, is_exported

if TYPE_CHECKING:
    import torch

    from posezoo.nn.model import PoseModel
    from posezoo.zoo.exported import ExportedModel


@overload
def load(
    name: str | Path, device: str | torch.device = ..., *, exported: Literal[True], trust: bool = ..., note: Note = ...
) -> ExportedModel: ...
@overload
def load(
    name: str | Path, device: str | torch.device = ..., *, exported: None = ..., trust: bool = ..., note: Note = ...
) -> PoseModel: ...
def load(
    name: str | Path,
    device: str | torch.device = "auto",
    *,
    exported: Literal[True] | None = None,
    trust: bool = False,
    note: Note = silent,
) -> PoseModel | ExportedModel:
    """A trained model in eval mode, on the GPU if there is one, of an alias, a folder or `hf-hub:OWNER/REPO[@REV]`.

    A string is an alias before it is a folder; a Path is a folder or file, whatever it is called.
    Or a `.onnx` or `.pt2` file that `export` wrote, on the CPU; `exported=True` says so to type checkers, and refuses
    anything else. `trust`: open a `.pt2` file, which can run its author's code. `note` is called with what a branch or
    tag was resolved to. Raises UsageError, WeightsError, HubError.
    """
    text = str(name)
    if is_exported(text):
        from posezoo.zoo import exported as files

        if str(device) not in ("auto", "cpu"):
            raise UsageError(f"{text!a} on {device}: posezoo runs exported files on the cpu", "device cpu")
        return files.load(text, trust)
    if exported:
        raise UsageError(f"{text!a} is no exported file", "a path that ends in " + " or ".join(EXPORTED))
    from posezoo.zoo import saved

    return saved.load(name, device, note)
