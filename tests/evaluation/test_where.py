"""The page of where the camera is: what it draws, how it grows, and that it stays small."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from posezoo.base.errors import UsageError
from posezoo.base.poses import Poses
from posezoo.evaluation import where

LEVEL = (0.5, -0.5, 0.5, -0.5)  # looks along x, z up


def poses(*x: float, name: str = "a") -> Poses:
    position = np.array([[number, 2 * number, 1.0] for number in x])
    return Poses(tuple(f"{name}{n}.jpg" for n in range(len(x))), position, np.array([LEVEL] * len(x)))


def circles(html: str, kind: str) -> np.ndarray:
    found = re.findall(rf'class="{kind}" cx="([\d.-]+)" cy="([\d.-]+)"', html)
    return np.array([[float(number) for number in pair] for pair in found])


def test_the_path_lies_on_the_map_from_above(tmp_path: Path) -> None:
    """x to the right, y upwards, one scale for both; the last pose looks along x."""
    out = tmp_path / "where.html"
    assert where.to_file(out, [poses(0, 1), poses(2)], "kitchen", poses(0, 4), "m") == 3
    html = out.read_text()
    known, seen = circles(html, "known"), circles(html, "seen")
    np.testing.assert_allclose(known, [[275, 950], [725, 50]], atol=0.1)
    np.testing.assert_allclose(seen, [known[0], known[0] + (112.5, -225), known[0] + (225, -450)], atol=0.2)
    np.testing.assert_allclose(circles(html, "now"), seen[-1:])
    corners = np.array(
        [pair.split(",") for pair in re.findall(r'class="cone" points="([^"]+)"', html)[0].split()], float
    )
    assert np.all(corners[1:, 0] > corners[0, 0] + 50) and abs(corners[1:, 1].mean() - corners[0, 1]) < 0.1
    assert "x to the right, y upwards" in html and "refresh" not in html


def test_it_is_written_while_it_grows_and_asks_nothing_of_anybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, "SECONDS", 0)
    out, seen = tmp_path / "where.html", []

    def batches() -> Iterator[Poses]:
        for n in range(3):
            yield poses(n, name=f"<b>{n}")
            seen.append(out.read_text())

    where.to_file(out, batches(), "<script>alert(1)</script>")
    assert [len(circles(html, "seen")) for html in seen] == [1, 2, 3]
    assert all("refresh" in html for html in seen) and "refresh" not in out.read_text()
    assert not re.search(r"https?://|<script|<b>\d", out.read_text())


def test_a_long_stream_stays_small_and_ends_where_it_is() -> None:
    path = where.Path2D()
    for start in range(0, 20_000, 100):
        path.add(poses(*range(start, start + 100)))
    rows = path.chosen
    assert path.count == 20_000 and len(rows) <= where.MOST + 1
    assert (rows[0, 0], rows[-1, 0]) == (0, 19_999)
    steps = np.diff(rows[:-1, 0])
    assert steps.min() == steps.max(), "evenly chosen"


def test_poses_that_are_not_finite_and_none_at_all(tmp_path: Path) -> None:
    out = tmp_path / "where.html"
    assert where.to_file(out, [poses(np.nan)], "a") == 0
    assert "0 poses" in out.read_text()
    with pytest.raises(UsageError):
        where.to_file(None, [], "a")
