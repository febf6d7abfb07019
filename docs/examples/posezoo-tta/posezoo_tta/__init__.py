"""The modifier `+tta`. Importing this imports no torch."""

from posezoo.plugin import ModifierSpec, hookimpl


@hookimpl
def posezoo_modifiers() -> tuple[ModifierSpec, ...]:
    code = "posezoo_tta.modifier"
    return (ModifierSpec("tta", f"{code}:apply", f"{code}:TtaConfig", "the mean pose over cameras rolled a little"),)
