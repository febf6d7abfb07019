"""The suite of readers: one that keeps the contract passes, and each check finds the reader that breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken_suites import READER_CASES

from posezoo.base.errors import PluginError
from posezoo.testing import ReaderConformance


def reader_suite(name: str) -> ReaderConformance:
    def write(self: object, folder: Path) -> None:
        (folder / "p.txt").write_text("a.png\nb.png\n")

    return type("Suite", (ReaderConformance,), {"reader": name, "write": write})()


def test_a_reader_that_keeps_its_promises_passes() -> None:
    for name in (name for name in dir(ReaderConformance) if name.startswith("test_")):
        getattr(reader_suite("kept"), name)()


@pytest.mark.parametrize(("name", "check", "problem"), READER_CASES, ids=[f"{n}-{c}" for n, c, _ in READER_CASES])
def test_each_check_of_readers_finds_what_it_looks_for(name: str, check: str, problem: str) -> None:
    with pytest.raises(PluginError, match=problem):
        getattr(reader_suite(name), check)()
