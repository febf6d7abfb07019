"""The architecture `hello`. Importing this imports no torch."""

from posezoo.plugin import ModelSpec, hookimpl


@hookimpl
def posezoo_models() -> tuple[ModelSpec, ...]:
    return (
        ModelSpec(
            name="hello",
            build="posezoo_hello.model:Hello",
            config="posezoo_hello.model:HelloConfig",
            summary="pooled backbone, one hidden layer of its own for each head",
        ),
    )
