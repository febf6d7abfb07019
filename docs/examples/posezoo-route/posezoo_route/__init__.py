"""The modifier `+route`. Importing this imports no torch."""

from posezoo.plugin import ModifierSpec, hookimpl


@hookimpl
def posezoo_modifiers() -> tuple[ModifierSpec, ...]:
    code = "posezoo_route.modifier"
    return (
        ModifierSpec("route", f"{code}:apply", f"{code}:RouteConfig", "a loss along the axes of the training path"),
    )
