"""An example plugin: the architecture `hello` and the data format `tum:PATH`. Importing this imports no torch."""

from posezoo.hooks import hookimpl
from posezoo.spec import ModelSpec, ReaderSpec


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


@hookimpl
def posezoo_readers() -> tuple[ReaderSpec, ...]:
    return (ReaderSpec("tum", "posezoo_hello.reader:read", "a folder with trajectory.txt and TIME.png"),)
