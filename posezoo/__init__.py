"""posezoo: the model zoo of absolute camera pose regression.

    import posezoo
    run = posezoo.train("atloc+hyper", data="demo-loop")
    model = posezoo.load(f"local-dir:{run.path}")   # or an alias: posezoo.list_weights(), or hf-hub:OWNER/REPO
    poses = model.predict(["a.jpg", "b.jpg"])        # camera-to-world, metres, quaternion (w, x, y, z)

Names are imported when they are used, so that `import posezoo` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from posezoo.base.version import __version__

if TYPE_CHECKING:
    from posezoo.api import (
        convert_weights,
        list_datasets,
        list_models,
        list_plugins,
        list_weights,
        prepare_dataset,
        pull,
        push,
        resume,
        study,
        train,
    )
    from posezoo.base.errors import PosezooError
    from posezoo.base.hooks import hookimpl
    from posezoo.base.observe import Observer
    from posezoo.base.poses import Pose, Poses
    from posezoo.base.spec import CatalogueSpec, ModelSpec, ModifierSpec, ReaderSpec
    from posezoo.data.how_to import how_to
    from posezoo.data.open import Dataset, open_dataset
    from posezoo.data.verify import verify_dataset
    from posezoo.evaluation.report import Report
    from posezoo.evaluation.statistics import dataset_statistics
    from posezoo.nn.hyperhead import HyperConfig, HyperHead
    from posezoo.nn.model import ModelConfig, PoseModel
    from posezoo.place.build import map_place
    from posezoo.place.report import PlaceReport
    from posezoo.publish.build import build
    from posezoo.training.again import compare, evaluate
    from posezoo.training.calibrate import Calibrated, calibrate
    from posezoo.training.loop import Result
    from posezoo.zoo.build import create_model
    from posezoo.zoo.convert import Converted
    from posezoo.zoo.export import Export, export
    from posezoo.zoo.exported import ExportedModel
    from posezoo.zoo.load import load
    from posezoo.zoo.parity import Difference, Parity, parity

_HOME = {
    "create_model": "posezoo.zoo.build",
    "dataset_statistics": "posezoo.evaluation.statistics",
    "how_to": "posezoo.data.how_to",
    "verify_dataset": "posezoo.data.verify",
    "load": "posezoo.zoo.load",
    "map_place": "posezoo.place.build",
    "export": "posezoo.zoo.export",
    "parity": "posezoo.zoo.parity",
    "train": "posezoo.api",
    "evaluate": "posezoo.training.again",
    "calibrate": "posezoo.training.calibrate",
    "compare": "posezoo.training.again",
    "convert_weights": "posezoo.api",
    "list_models": "posezoo.api",
    "list_datasets": "posezoo.api",
    "list_plugins": "posezoo.api",
    "list_weights": "posezoo.api",
    "prepare_dataset": "posezoo.api",
    "pull": "posezoo.api",
    "push": "posezoo.api",
    "resume": "posezoo.api",
    "study": "posezoo.api",
    "Poses": "posezoo.base.poses",
    "Pose": "posezoo.base.poses",
    "Report": "posezoo.evaluation.report",
    "Result": "posezoo.training.loop",
    "Observer": "posezoo.base.observe",
    "Export": "posezoo.zoo.export",
    "ExportedModel": "posezoo.zoo.exported",
    "Parity": "posezoo.zoo.parity",
    "Difference": "posezoo.zoo.parity",
    "PlaceReport": "posezoo.place.report",
    "build": "posezoo.publish.build",
    "Calibrated": "posezoo.training.calibrate",
    "Converted": "posezoo.zoo.convert",
    "Dataset": "posezoo.data.open",
    "open_dataset": "posezoo.data.open",
    "PoseModel": "posezoo.nn.model",
    "ModelConfig": "posezoo.nn.model",
    "HyperHead": "posezoo.nn.hyperhead",
    "HyperConfig": "posezoo.nn.hyperhead",
    "ModelSpec": "posezoo.base.spec",
    "ModifierSpec": "posezoo.base.spec",
    "ReaderSpec": "posezoo.base.spec",
    "CatalogueSpec": "posezoo.base.spec",
    "hookimpl": "posezoo.base.hooks",
    "PosezooError": "posezoo.base.errors",
}

__all__ = [  # written out for type checkers
    "Calibrated",
    "CatalogueSpec",
    "Converted",
    "Dataset",
    "Difference",
    "Export",
    "ExportedModel",
    "HyperConfig",
    "HyperHead",
    "ModelConfig",
    "ModelSpec",
    "ModifierSpec",
    "Observer",
    "Parity",
    "PlaceReport",
    "Pose",
    "PoseModel",
    "Poses",
    "PosezooError",
    "ReaderSpec",
    "Report",
    "Result",
    "__version__",
    "build",
    "calibrate",
    "compare",
    "convert_weights",
    "create_model",
    "dataset_statistics",
    "evaluate",
    "export",
    "hookimpl",
    "how_to",
    "list_datasets",
    "list_models",
    "list_plugins",
    "list_weights",
    "load",
    "map_place",
    "open_dataset",
    "parity",
    "prepare_dataset",
    "pull",
    "push",
    "resume",
    "study",
    "train",
    "verify_dataset",
]

if not TYPE_CHECKING:  # a checker reads the imports above, and reports a name that is not among them

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'posezoo' has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
