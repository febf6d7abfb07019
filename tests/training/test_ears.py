"""What the processes of a run hear of each other, over a real store of torch within one process."""

from __future__ import annotations

import time

import pytest
import torch
import torch.distributed as dist

from posezoo.base.errors import Interrupted, ResourceError, UsageError
from posezoo.base.signals import StopFlag
from posezoo.training import ears
from posezoo.training.ears import Ears, failure, is_lost, tell


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("[.../gloo/transport/tcp/pair.cc:544] Connection closed by peer [127.0.0.1]:4711"), True),
        (torch.distributed.DistNetworkError("Connection reset"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (UsageError("Connection refused"), False),
        (OSError("Broken pipe"), False),
    ],
)
def test_what_torch_says_of_a_lost_process(error: Exception, lost: bool) -> None:
    assert is_lost(error) == lost


def test_the_first_failure_is_told_and_no_other() -> None:
    store = dist.HashStore()
    assert failure(store) is None
    assert tell(store, 1, ResourceError("a data worker died", "hint"))
    assert not tell(store, 0, RuntimeError("closed by peer"))
    told = failure(store)
    assert told is not None
    assert (told.rank, told.exit_code) == (1, 6)
    assert "process 1" in told.message
    assert "a data worker died" in told.message


def test_what_another_has_told_ends_what_is_done_and_is_acknowledged() -> None:
    store = dist.HashStore()
    with StopFlag() as stop:
        heard = Ears(0, stop, store)
        heard.start()
        with pytest.raises(Exception, match="the disk") as error, stop.at_once("waiting"):
            tell(store, 1, ResourceError("the disk is full"))
            time.sleep(10)
        heard.ended.set()
        heard.join()
    assert stop.failure is error.value
    assert store.check(["heard/0"])


def test_a_process_that_fails_is_not_ended_by_its_own_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may wait for the others longer than they are given to end; then it still says why."""
    ended: list[int] = []
    monkeypatch.setattr(ears.os, "_exit", ended.append)
    monkeypatch.setattr(ears, "TOGETHER", 0.1)
    store = dist.HashStore()
    with StopFlag() as stop:
        own, other = Ears(1, stop, store), Ears(0, StopFlag(), store)
        own.start()
        other.start()
        tell(store, 1, ResourceError("a data worker died"))
        other.join(10)
        assert ended == [6], "one that is stuck in an exchange is ended"
        own.join(10)
        assert not own.is_alive()
    assert ended == [6]
    assert stop.failure is None
    assert not store.check(["heard/1"])


def test_a_signal_to_one_reaches_the_other() -> None:
    store = dist.HashStore()
    first = StopFlag()
    first.signal = 2
    with StopFlag() as second:
        both = [Ears(0, first, store), Ears(1, second, store)]
        for one in both:
            one.start()
        with pytest.raises(Interrupted, match="SIGINT") as error, second.at_once("waiting"):
            time.sleep(10)
        for one in both:
            one.ended.set()
            one.join()
    assert error.value.exit_code == 130
