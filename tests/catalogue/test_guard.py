"""Guards around calls into plugins."""

from __future__ import annotations

import signal

import pytest

from posezoo.base.errors import PluginError, UsageError
from posezoo.catalogue import guard


def test_the_deadline_leaves_other_timers_alone() -> None:
    def mine(*_: object) -> None:
        raise AssertionError

    handler, before = signal.signal(signal.SIGALRM, mine), signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        with guard.deadline(50):
            assert signal.getitimer(signal.ITIMER_REAL)[0] <= 50
        assert signal.getsignal(signal.SIGALRM) is mine
        assert 50 < signal.getitimer(signal.ITIMER_REAL)[0] <= 100
        signal.setitimer(signal.ITIMER_REAL, 0)
        with guard.deadline(50):
            pass
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *before)


THEIRS = guard.Plugin("theirs", "pz_theirs", "pz-theirs", "2.0")


OURS = guard.Plugin("posenet", "posezoo_posenet", "posezoo", "0.1")


@pytest.mark.parametrize("error", [ValueError("a\nb"), SystemExit(3), KeyError("x"), RuntimeError("bad shape")])
def test_what_a_plugin_raises_is_named(error: BaseException) -> None:
    said = pytest.raises(PluginError, match=r"^plugin theirs \(pz-theirs 2.0\): reading: ")
    with said as caught, guard.guarded([OURS, THEIRS], "reading"):
        raise error
    assert caught.value.__cause__ is error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), MemoryError(), RuntimeError("CUDA out of memory"), OSError(28, "full"), UsageError("x")],
)
def test_what_is_not_a_plugins_fault_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, guard.guarded(THEIRS, "reading"):
        raise error
    assert caught.value is error


def test_what_our_own_plugins_raise_is_a_bug_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="ours"), guard.guarded(OURS, "building"):
        raise ValueError("ours")
    monkeypatch.setenv("POSEZOO_STRICT_PLUGINS", "1")
    with pytest.raises(ValueError, match="theirs"), guard.guarded(THEIRS, "building"):
        raise ValueError("theirs")
