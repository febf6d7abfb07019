"""What the processes of one run hear of each other beside their exchanges: a signal, and why one of them has failed.

All of it goes through torch's store, which answers at any time. Keys: `stop`, the number of a signal; `failed`, the
first failure, of which there is one; `heard/RANK`, set by each process that has read it; `ended/RANK` (processes.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time

import torch.distributed as dist

from posezoo.base.errors import FailedElsewhere, LostError, PosezooError, exit_code_of
from posezoo.base.signals import StopFlag

TOGETHER = 20.0
"""Seconds that processes which end wait for the main process, which may be saving, and it for them."""


def is_lost(error: BaseException) -> bool:
    """Whether torch says with this error that another process cannot be reached."""
    if isinstance(error, (LostError, dist.DistNetworkError, dist.DistStoreError, dist.DistBackendError)):
        return True
    if not isinstance(error, RuntimeError) or isinstance(error, PosezooError):
        return False
    said = str(error)
    words = ("closed by peer", "Connection reset", "Connection refused", "Broken pipe", "gloo/transport", "NCCL")
    return any(word in said for word in words) or "Timed out waiting" in said


def tell(store: dist.Store, rank: int, error: BaseException) -> bool:
    """Tell all why process `rank` has failed, unless another has done so before; whether it was the first."""
    message = error.message if isinstance(error, PosezooError) else f"{type(error).__name__}: {error}"
    words = json.dumps({"rank": rank, "message": message[:300], "code": exit_code_of(error)})
    return bool(store.compare_set("failed", "", words) == words.encode())


def failure(store: dist.Store, patience: float = 0) -> FailedElsewhere | None:
    """What a process has told of its failure, waited for as many seconds; None if nothing."""
    until = time.monotonic() + patience
    while not store.check(["failed"]):
        if time.monotonic() >= until:
            return None
        time.sleep(0.02)
    told = json.loads(store.get("failed"))
    return FailedElsewhere(f"process {told['rank']} failed: {told['message']}", int(told["code"]), int(told["rank"]))


class Ears(threading.Thread):
    """Carries signals and failures between the processes."""

    def __init__(self, rank: int, stop: StopFlag, store: dist.Store) -> None:
        super().__init__(name="posezoo-processes", daemon=True)
        self.rank, self.stop, self.store, self.ended = rank, stop, store, threading.Event()

    def run(self) -> None:
        """Until `ended`, or until the store is gone: then its host is, and exchanges fail by themselves."""
        with contextlib.suppress(RuntimeError, OSError):
            while not self.ended.wait(0.2):
                if self.store.check(["stop"]):
                    self.stop.told(int(self.store.get("stop")))
                elif self.stop.signal:
                    self.store.set("stop", str(self.stop.signal))
                failed = failure(self.store)
                if failed is None:
                    continue
                if failed.rank != self.rank:  # nothing here may end a process that is on its way to say why
                    self.stop.failed(failed)
                    self.store.set(f"heard/{self.rank}", "1")
                    if not self.ended.wait(TOGETHER):  # torch waits for the lost one without end
                        os._exit(failed.exit_code)
                return
