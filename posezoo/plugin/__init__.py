"""What the author of a plugin imports, beside `posezoo.nn` and `posezoo.testing`. No torch.

A plugin's top module offers specs through hooks; nothing else of posezoo is guaranteed to stay in place.
"""

from posezoo.base.errors import (
    DataError,
    Finding,
    HubError,
    PluginError,
    PosezooError,
    ResourceError,
    UsageError,
    WeightsError,
)
from posezoo.base.hooks import hookimpl
from posezoo.base.spec import (
    UNKNOWN_UNIT,
    CatalogueSpec,
    Conversion,
    Decode,
    DepthMap,
    Frame,
    Lens,
    ModelSpec,
    ModifierSpec,
    ReaderSpec,
    ReadRequest,
    ReadResult,
)

__all__ = [
    "UNKNOWN_UNIT",
    "CatalogueSpec",
    "Conversion",
    "DataError",
    "Decode",
    "DepthMap",
    "Finding",
    "Frame",
    "HubError",
    "Lens",
    "ModelSpec",
    "ModifierSpec",
    "PluginError",
    "PosezooError",
    "ReadRequest",
    "ReadResult",
    "ReaderSpec",
    "ResourceError",
    "UsageError",
    "WeightsError",
    "hookimpl",
]
