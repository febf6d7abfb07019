"""The modifier `+spread`: how far off each pose is likely to be, from its image. Importing this imports no torch."""

from posezoo.plugin import ModifierSpec, hookimpl


@hookimpl
def posezoo_modifiers() -> tuple[ModifierSpec, ...]:
    return (
        ModifierSpec(
            name="spread",
            apply="posezoo_spread.modifier:add_spread",
            config="posezoo_spread.modifier:SpreadConfig",
            summary="the error to expect of each pose, learned from its image",
            keeps_pose=True,
        ),
    )
