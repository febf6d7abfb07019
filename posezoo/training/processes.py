"""The processes of one run, as torchrun starts them on one machine or many. Alone, there is one.

The main process (rank 0) alone touches the run folder and prints; the others wait for its word. torch.distributed
adds gradients and numbers up; beside it the processes tell each other through torch's store, which answers at any
time: that one was asked to stop, that one has failed, what the main process has found. Whoever waits for another does
so in small steps, so that a signal or a failure elsewhere ends the wait. Each attempt of torchrun has keys of its own
(TORCHELASTIC_RESTART_COUNT): a restarted process would otherwise read the addresses of the dead.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from accelerate.state import AcceleratorState, PartialState
from torch import Tensor, nn

from posezoo.base.errors import FailedElsewhere, Interrupted, LostError, NotFiniteError
from posezoo.base.signals import StopFlag
from posezoo.training.ears import TOGETHER, Ears, failure, is_lost, tell

MEETING = timedelta(minutes=10)
"""How long the processes wait for each other at the start; torchrun ends them sooner if one of them fails."""
SILENCE = timedelta(hours=6)
"""How long one waits in an exchange of numbers."""
_T = TypeVar("_T")


class Processes:
    """All processes of a run; `rank` is this one's number of `world`. Without a store it is alone."""

    def __init__(self, stop: StopFlag, store: dist.Store | None = None, lasting: dist.Store | None = None) -> None:
        self.stop, self.store = stop, store
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if store is not None else (0, 1)
        self._lasting = lasting
        self._words = 0
        self.norms = cast("dist.ProcessGroup", dist.new_group()) if store is not None else None
        """For batch norms: exchanges within a step must not mix with those of gradients."""

    @property
    def is_main(self) -> bool:
        """Whether this process alone writes and prints."""
        return self.rank == 0

    @property
    def restarted(self) -> bool:
        """Whether torchrun has started this run again after it lost a process."""
        return self.world > 1 and restarts() > 0

    def told(self, make: Callable[[], _T]) -> _T:
        """What `make` gives in the main process (as JSON), in all of them. Its errors end all of them."""
        if self.store is None:
            return make()
        key = self._next("word")
        if self.is_main:
            value = make()
            self.store.set(key, json.dumps(value))
            return value
        self._wait(key, 0)
        found: _T = json.loads(self.store.get(key))
        return found

    def told_bytes(self, make: Callable[[], bytes]) -> bytes:
        """The same for the content of a file."""
        content = b""

        def length() -> int:
            nonlocal content
            content = make()
            return len(content)

        size = self.told(length)
        if self.store is None:
            return content
        given = np.frombuffer(content, dtype=np.uint8).copy() if self.is_main else np.empty(size, dtype=np.uint8)
        if size:
            self._done(dist.broadcast(torch.from_numpy(given), 0, async_op=True))
        return given.tobytes()

    @contextlib.contextmanager
    def first_of_machine(self, what: str) -> Iterator[None]:
        """One process of each machine does it first, the others when it is done: it fills a cache."""
        if self.store is None:
            yield
            return
        place = int(os.environ.get("LOCAL_RANK", "0"))
        key = f"{self._next(what)}/{socket.gethostname()}"
        if place:
            self._wait(key, self.rank - place)
        yield
        if not place:
            self.store.set(key, "done")

    def largest(self, *numbers: int) -> list[int]:
        """The largest of each number in any process. All call it at the same point."""
        if self.store is None:
            return list(numbers)
        found = torch.tensor(numbers)
        self._done(dist.all_reduce(found, dist.ReduceOp.MAX, async_op=True))
        return [int(number) for number in found]

    def summed(self, array: np.ndarray) -> np.ndarray:
        """The sum of all processes' arrays, in all of them. Where all but one hold 0 it is exact."""
        if self.store is None or not array.size:
            return array
        total = torch.from_numpy(np.ascontiguousarray(array).copy())
        self._done(dist.all_reduce(total, async_op=True))
        found: np.ndarray = total.numpy()
        return found

    def whole(self, values: Tensor) -> Tensor:
        """The sum of all processes' tensors on its device, in all of them. All call it at the same point."""
        if self.store is not None:
            dist.all_reduce(values)
        return values

    def copy_buffers(self, model: nn.Module) -> None:
        """Give all processes the main process's buffers (statistics of batch norms), as its checkpoints hold them."""
        if self.store is None:
            return
        for buffer in model.buffers():
            copy = buffer.detach().contiguous()
            self._done(dist.broadcast(copy, 0, async_op=True))
            buffer.copy_(copy)

    def gathered(self, value: Any) -> list[Any]:
        """The value (as JSON) of each process, by rank, in all of them."""
        if self.store is None:
            return [value]
        key = self._next("all")
        self.store.set(f"{key}/{self.rank}", json.dumps(value))
        for rank in range(self.world):
            self._wait(f"{key}/{rank}", rank)
        return [json.loads(self.store.get(f"{key}/{rank}")) for rank in range(self.world)]

    @contextlib.contextmanager
    def stage(self, doing: str) -> Iterator[None]:
        """Around what all processes do and can repeat: a signal to any ends it at once in all. Raises Interrupted."""
        ended = ""
        try:
            with self.stop.at_once(doing):
                yield
        except Interrupted as interrupted:
            ended = interrupted.message
        for said in self.gathered([ended, self.stop.signal]):
            if said[0]:
                self.stop.agree(said[1])
                raise Interrupted(said[0], "", self.stop.exit_code)

    def remembered(self, key: str) -> str:
        """What `remember` was told in an earlier attempt of torchrun; empty if nothing."""
        if self._lasting is None or not self._lasting.check([key]):
            return ""
        return bytes(self._lasting.get(key)).decode()

    def remember(self, key: str, text: str) -> None:
        """For attempts to come, if torchrun starts this run again."""
        if self._lasting is not None:
            with contextlib.suppress(RuntimeError, OSError):  # its host may be gone, and then nobody starts again
                self._lasting.set(key, text)

    def _next(self, what: str) -> str:
        self._words += 1
        return f"{what}/{self._words}"

    def _wait(self, key: str, rank: int) -> None:
        """Until process `rank` has set the key, with ears for signals and failures. Raises LostError if it has left."""
        assert self.store is not None
        pause = 0.002
        while not self.store.check([key]):
            self._heed()
            if self.store.check([f"ended/{rank}"]) and not self.store.check([key]):
                raise LostError(f"process {rank} has left the run", "posezoo resume RUN")
            time.sleep(pause)
            pause = min(2 * pause, 0.1)

    def _done(self, work: Any) -> None:
        """Until the exchange is over, likewise. Raises RuntimeError of torch if a process is lost."""
        pause = 1e-5
        while not work.is_completed():
            self._heed()
            time.sleep(pause)
            pause = min(1.5 * pause, 2e-3)
        work.wait()

    def _heed(self) -> None:
        if self.stop.failure is not None:
            raise self.stop.failure


def alone(stop: StopFlag | None = None) -> Processes:
    """One process that is the whole run."""
    return Processes(StopFlag() if stop is None else stop)  # a flag that is not set is false


def restarts() -> int:
    """How often torchrun has started the run again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") or 0)


def several() -> bool:
    """Whether this is one of several processes that torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1") or 1) > 1 and "RANK" in os.environ


@contextlib.contextmanager
def joined(stop: StopFlag, device: str) -> Iterator[Processes]:
    """All processes, met; at the end none is left waiting. What another's end makes fail here is told as what it is.

    Raises LostError if a process is killed, FailedElsewhere if one fails, and Interrupted for a stop: for one that an
    attempt of torchrun before this was warned of, too, since torchrun takes any end but 0 for a failure.
    """
    if not several():
        yield alone(stop)
        return
    store, lasting = _met(device)
    processes = Processes(stop, store, lasting)
    ears = Ears(processes.rank, stop, store.clone())
    ears.start()
    error: BaseException | None = None
    try:
        warned = processes.remembered("warned")
        if warned:
            stop.agree(int(warned))
            what = f"stopped by {stop.name} before torchrun started it again"
            raise Interrupted(what, "posezoo resume RUN", stop.exit_code)
        yield processes
    except BaseException as raised:
        if stop.signal and stop.signal != signal.SIGTERM:  # torchrun sends one where it is to start all again
            processes.remember("warned", str(stop.signal))
        error = _as_told(raised, processes)
        if error is raised:
            raise
        raise error from raised
    finally:
        _leave(processes, ears, error)


def _met(device: str) -> tuple[dist.Store, dist.Store]:
    """The store of this attempt and the one of all attempts, once all processes have come."""
    try:
        shared, rank, world = next(dist.rendezvous("env://", timeout=MEETING))
        shared.set_timeout(MEETING)
        count = shared.add(f"posezoo/{restarts()}/joined/{rank}", 1)  # several runs in one process, one after another
        store = dist.PrefixStore(f"posezoo/{restarts()}/{count}", shared)
        gpu = device != "cpu" and torch.cuda.is_available()
        if gpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=SILENCE)
    except (RuntimeError, ValueError, OSError) as error:
        said = " ".join(str(error).split())[:100]
        raise LostError(f"the processes of the run did not meet: {said}", "start all of them by torchrun") from error
    return dist.PrefixStore("told", store), dist.PrefixStore(f"posezoo/lasting/{count}", shared)


def _leave(processes: Processes, ears: Ears, error: BaseException | None) -> None:
    """End the exchange: the main process last, because the store may be its own.

    One that has failed waits only until all others have heard of it: they may be in an exchange of gradients, which
    nothing but the end of this process breaks off.
    """
    patience = 1.0 if isinstance(error, LostError) else TOGETHER
    with contextlib.suppress(RuntimeError, OSError):
        store = processes.store
        assert store is not None
        others = range(1, processes.world) if processes.is_main else [0]
        if error is not None and not isinstance(error, FailedElsewhere):
            processes.stop.speaks_last()
            others = [rank for rank in range(processes.world) if rank != processes.rank]
        store.set(f"ended/{processes.rank}", "1")
        until = time.monotonic() + patience
        heard = [False]
        while time.monotonic() < until and not all(heard):
            time.sleep(0.02)
            heard = [store.check([f"ended/{rank}"]) or store.check([f"heard/{rank}"]) for rank in others]
    ears.ended.set()
    ears.join()
    with contextlib.suppress(RuntimeError, OSError):
        dist.destroy_process_group()
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()


def _as_told(error: BaseException, processes: Processes) -> BaseException:
    """What has ended this process: its own error, told to the others, or what another has told."""
    stop, store = processes.stop, processes.store
    assert store is not None
    lost = is_lost(error)
    if stop.failure is not None:  # heard already: the store may have gone with the process that failed
        return stop.failure
    if isinstance(error, FailedElsewhere):
        return error
    if isinstance(error, (Interrupted, NotFiniteError)) and not processes.is_main:
        return FailedElsewhere(error.message, error.exit_code)  # these end all of them, and the main process tells
    with contextlib.suppress(RuntimeError, OSError):
        if lost:
            # the failing process tells before it leaves; one that was killed never does
            told = failure(store, patience=0.5)
            if told:
                return told
            others = [rank for rank in range(processes.world) if rank != processes.rank]
            if stop.signal and any(store.check([f"ended/{rank}"]) for rank in others):
                return Interrupted(f"stopped by {stop.name} with the other processes", "", stop.exit_code)
            if not isinstance(error, LostError):
                error = LostError(f"another of the {processes.world} processes was lost", "posezoo resume RUN")
        return error if tell(store, processes.rank, error) else failure(store) or error
    if lost and not isinstance(error, LostError):
        return LostError("another process was lost, with the store", "posezoo resume RUN")
    return error
