"""The four hooks through which everything is registered, built-in and third-party alike.

A plugin is an installed distribution with an entry point in the group `posezoo` that names a module with:

    from posezoo.base.hooks import hookimpl
    from posezoo.base.spec import ModelSpec

    @hookimpl
    def posezoo_models():
        return (ModelSpec(name="yourmodel", build="your_package.model:YourModel", ...),)

Each hook returns a tuple of frozen specs (`posezoo.base.spec`). Importing this module imports no torch.
"""

from __future__ import annotations

import pluggy

from posezoo.base.spec import CatalogueSpec, ModelSpec, ModifierSpec, ReaderSpec

GROUP = "posezoo"  # entry-point group and pluggy project name

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def posezoo_models() -> tuple[ModelSpec, ...]:  # type: ignore[empty-body]
    """Architectures this plugin brings."""


@hookspec
def posezoo_modifiers() -> tuple[ModifierSpec, ...]:  # type: ignore[empty-body]
    """Modifiers (`NAME+modifier`) this plugin brings."""


@hookspec
def posezoo_readers() -> tuple[ReaderSpec, ...]:  # type: ignore[empty-body]
    """Data formats this plugin brings."""


@hookspec
def posezoo_catalogues() -> tuple[CatalogueSpec, ...]:  # type: ignore[empty-body]
    """Registry folders this plugin brings."""
