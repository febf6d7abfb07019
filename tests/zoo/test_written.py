"""Text that grows is the text of all poses at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from naming import naming

from posezoo.base.errors import DataError, ResourceError
from posezoo.base.poses import Poses
from posezoo.zoo.stream import joined
from posezoo.zoo.written import FORMS, texts, to_file


def poses(count: int, first: int = 0, times: bool = False) -> Poses:
    names = tuple(f"{n}.png" for n in range(first, first + count))
    position = np.arange(3.0 * first, 3.0 * (first + count)).reshape(-1, 3)
    stamps = tuple(range(first, first + count)) if times else (-1,) * count
    return Poses(names, position, np.tile([1.0, 0, 0, 0], (count, 1)), ("s",) * count, stamps)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("parts", [[], [3], [2, 2, 1]])
def test_in_parts_as_in_one(form: str, parts: list[int]) -> None:
    batches = [poses(count, sum(parts[:n])) for n, count in enumerate(parts)]
    assert "".join(texts(form, batches)) == getattr(joined(batches), f"to_{form}")()


def test_one_clock_in_a_tum_file() -> None:
    """The first batch's: the images' numbers where one of it has no time, whatever comes after it; else seconds."""
    lines = "".join(texts("tum", [poses(2), poses(2, 2, times=True)])).splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2", "3"]
    with pytest.raises(DataError, match=naming("2.png")):
        list(texts("tum", [poses(2, times=True), poses(2, 2)]))


@pytest.mark.parametrize("name", ["a\n1 0 0 0.png", "a\r.png", " a.png", "a.png "])
def test_a_name_that_is_no_part_of_a_line(name: str) -> None:
    odd = replace(poses(2), images=("0.png", name))
    with pytest.raises(DataError, match=naming("COLMAP")) as error:
        list(texts("colmap", [odd]))
    assert "\n" not in str(error.value) and "\r" not in str(error.value)
    assert len("".join(texts("tum", [odd])).splitlines()) == 2


def test_a_batch_can_be_read_before_the_next_comes(tmp_path: Path) -> None:
    seen = []

    def batches() -> object:
        for n in range(3):
            yield poses(2, 2 * n, times=True)
            seen.append((tmp_path / "a.txt").read_text().count("\n"))

    to_file(tmp_path / "a.txt", "tum", batches())  # type: ignore[arg-type]
    assert seen == [2, 4, 6]
    with pytest.raises(ResourceError):
        to_file(tmp_path / "no/a.txt", "csv", [poses(1)])
