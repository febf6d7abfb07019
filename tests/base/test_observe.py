"""Results of threads in order, and an observer that does nothing."""

from __future__ import annotations

import os

import pytest

from posezoo.base.observe import Observer, parallel


def test_few_results_wait() -> None:
    """However many images there are, a build holds only a few decoded ones: its memory is flat."""
    begun = most = 0

    def function(n: int) -> int:
        nonlocal begun
        begun += 1
        return n

    for taken, n in enumerate(parallel(function, range(2000)), 1):
        most = max(most, begun - taken)
        assert n == taken - 1
    cores = len(os.sched_getaffinity(0))
    assert most <= 4 * cores + 1


def test_what_a_thread_raises_comes_out_and_ends_the_others() -> None:
    done: list[int] = []

    def function(n: int) -> int:
        if n == 3:
            raise ValueError("three")
        done.append(n)
        return n

    results = parallel(function, range(100_000))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert len(done) < 1000
    assert list(parallel(function, [])) == []


def test_an_observer_hears_everything_and_does_nothing() -> None:
    observer = Observer()
    observer.progress("reading", 1, 2)
    observer.note("a line")
    observer.start(10, 0, {})
    observer.step({})
    observer.epoch({})
    observer.end()
    assert vars(observer) == {}
