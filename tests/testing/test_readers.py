"""The suite of readers: one that keeps the contract passes, and each check finds the reader that breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from posezoo.base.errors import PluginError
from posezoo.testing import ReaderConformance

READER_CASES = [
    ("other-type", "test_frames", "returned list, expected ReadResult"),
    ("no-frames", "test_frames", "tuple among its frames"),
    ("not-finite", "test_frames", "not seven finite numbers"),
    ("outside", "test_frames", "not inside the data set"),
    ("counting", "test_the_same_again", "a second reading differs"),
    ("deaf", "test_only_the_images_asked_for", "asked for 1 images, it returned 2"),
    ("silent", "test_an_empty_folder_is_told", "gives no finding"),
    ("raising", "test_an_empty_folder_is_told", "p.txt"),
    ("nosy-reader", "test_imports_are_public", r"pz_nosy.py, line \d: posezoo\.zoo\.build is not public"),
    ("writing", "test_the_process_is_left_alone", "writes into the data set"),
    ("printing", "test_the_process_is_left_alone", "prints: 'reading"),
    ("seeding", "test_the_process_is_left_alone", "changed Python's random state"),
]


def reader_suite(name: str) -> ReaderConformance:
    def write(self: object, folder: Path) -> None:
        (folder / "p.txt").write_text("a.png\nb.png\n")

    return type("Suite", (ReaderConformance,), {"reader": name, "write": write})()


def test_a_reader_that_keeps_its_promises_passes() -> None:
    for name in (name for name in dir(ReaderConformance) if name.startswith("test_")):
        getattr(reader_suite("kept"), name)()


@pytest.mark.parametrize(("name", "check", "problem"), READER_CASES, ids=[n for n, *_ in READER_CASES])
def test_each_check_of_readers_finds_what_it_looks_for(name: str, check: str, problem: str) -> None:
    with pytest.raises(KeyError if name == "raising" else PluginError, match=problem):
        getattr(reader_suite(name), check)()
