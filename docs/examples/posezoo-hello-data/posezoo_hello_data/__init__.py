"""The data format `hello-data:PATH` and a data set in it. Importing this imports no torch."""

from pathlib import Path

from posezoo.plugin import CatalogueSpec, ReaderSpec, hookimpl


@hookimpl
def posezoo_readers() -> tuple[ReaderSpec, ...]:
    return (ReaderSpec("hello-data", "posezoo_hello_data.reader:read", "a folder with trajectory.txt and TIME.png"),)


@hookimpl
def posezoo_catalogues() -> tuple[CatalogueSpec, ...]:
    return (CatalogueSpec("hello-data", Path(__file__).parent / "catalogue"),)
