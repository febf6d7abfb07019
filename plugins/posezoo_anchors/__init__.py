"""The modifier `+anchors`: regression relative to learned anchor poses. Importing this imports no torch."""

from posezoo.plugin import ModifierSpec, hookimpl


@hookimpl
def posezoo_modifiers() -> tuple[ModifierSpec, ...]:
    return (
        ModifierSpec(
            name="anchors",
            apply="posezoo_anchors.modifier:anchor",
            config="posezoo_anchors.anchors:AnchorsConfig",
            summary="poses relative to learned anchors on the training path",
        ),
    )
