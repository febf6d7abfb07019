"""The modifier `+hyper` (HyperPose, Ferens and Keller, CVPR 2025). Importing this imports no torch."""

from posezoo.plugin import ModifierSpec, hookimpl


@hookimpl
def posezoo_modifiers() -> tuple[ModifierSpec, ...]:
    return (
        ModifierSpec(
            name="hyper",
            apply="posezoo_hyper.modifier:infuse",
            config="posezoo.nn.hyperhead:HyperConfig",
            summary="regression layers whose weights are computed from the image",
            values=("residual", "single", "two"),
            value_field="infusion",
            converters={"hyperpose": "posezoo_hyper.convert:authors", "hyperatloc": "posezoo_hyper.convert:authors"},
        ),
    )
