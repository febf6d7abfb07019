"""Batches of cached frames. Order and augmentation of a sample depend on (seed, epoch, index) alone.

So a resumed run, and one with another number of workers, sees exactly the same numbers.

Legend: B batch, C channels, H height, W width, K uniform numbers a sample.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from posezoo.data.images.cache import ImageCache
from posezoo.data.images.depths import DepthMaps
from posezoo.data.table import Frames

# what `augment` reads: three angles or two offsets, four colours, their order, two of appearance, three of a move
NUM_UNIFORMS = 13
_WAITS = frozenset({"selectors", "threading"})  # modules in whose functions a process waits for a batch


class Batch(NamedTuple):
    """B frames as they come from the cache."""

    images: Tensor  # (B, 3, H, W) uint8, short edge 256; smaller ones in the top left corner (`ImageCache.batch`)
    position: Tensor  # (B, 3) float64 metres
    quaternion: Tensor  # (B, 4) float64, (w, x, y, z), w >= 0
    intrinsics: Tensor  # (B, 4) float32 fx, fy, cx, cy of `images`; NaN: unknown
    scene: Tensor  # (B,) int64 index into the model's scenes
    rows: Tensor  # (B,) int64 rows of the frames; always on the CPU
    uniforms: Tensor  # (B, K) float32 in [0, 1): this sample's random numbers; always on the CPU
    inverse_depth: Tensor  # (B, h, w) float32 1 / m over the whole image, NaN unknown; (B, 0, 0) where nothing reads it

    def to(self, device: torch.device | str) -> Batch:
        """The batch on `device`, but for what the host decides by: it would wait for the device to read it back."""
        moved = ("images", "position", "quaternion", "intrinsics", "scene", "inverse_depth")
        return self._replace(**{name: getattr(self, name).to(device, non_blocking=True) for name in moved})


class BatchOrder(Sampler[list[int]]):
    """The batches of one epoch as lists of indices: a permutation by (seed, epoch), from batch `start` on.

    With `world` processes each takes every `world`-th index of a batch. A last batch of fewer than two images a process
    is left out: batch norm cannot use it. `scene_N`: the scene of each index, to have as many samples of every scene;
    see `equalised`. `share`: of the batches, the first of the permutation. `least`: samples of an epoch; all indices
    come once before any comes again, as index + repeat * a multiple of `size`.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        epoch: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        scene_N: np.ndarray | None = None,
        share: float = 1.0,
        least: int = 0,
    ) -> None:
        generator = np.random.Generator(np.random.Philox(key=_key(seed, epoch, 2**63)))
        samples = np.arange(size) if scene_N is None else equalised(scene_N, generator)
        again = (int(samples.max()) // size + 1) * size
        passes = [
            samples[generator.permutation(len(samples))] + again * number
            for number in range(max(1, math.ceil(least / len(samples))))
        ]
        permutation = np.concatenate(passes)
        batches = [permutation[i : i + batch_size] for i in range(0, len(permutation), batch_size)]
        if len(batches) > 1 and len(batches[-1]) < 2 * world:
            batches.pop()
        batches = batches[: max(1, math.ceil(share * len(batches)))]
        self.sizes = [len(batch) for batch in batches[start:]]
        """Of the whole batches."""
        self.batches = [batch[rank::world].tolist() for batch in batches[start:]]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def equalised(scene_N: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Samples of N frames, as many of each scene as the largest has: index + N * repeat.

    Every frame of a scene comes once before any comes again; which ones come once more often is drawn.
    """
    _, scene_N, counts_S = np.unique(scene_N, return_inverse=True, return_counts=True)
    samples = []
    for scene, count in enumerate(counts_S):
        index_M = np.flatnonzero(scene_N == scene)
        whole, rest = divmod(int(counts_S.max()), int(count))
        samples += [index_M + len(scene_N) * repeat for repeat in range(whole)]
        samples.append(generator.permutation(index_M)[:rest] + len(scene_N) * whole)
    return np.concatenate(samples)


class FrameBatches(Dataset[Batch]):
    """Rows `rows` (N,) of the frames; an item is a whole batch, indexed by a list of positions in `rows`.

    With `rows` (N, T) a position refers to a tuple of T frames; a batch then holds whole tuples, one after another.
    Without a cache the batches have no images. A position + N * repeat is the same frame, varied otherwise.
    """

    def __init__(
        self,
        frames: Frames,
        cache: ImageCache | None,
        rows: np.ndarray,
        seed: int,
        epoch: int,
        depths: DepthMaps | None = None,
    ) -> None:
        self.frames, self.cache, self.rows = frames, cache, rows
        self.seed, self.epoch = seed, epoch
        self.depths = depths

    def __getitem__(self, places: list[int]) -> Batch:
        repeats, where = np.divmod(places, len(self.rows))
        rows = self.rows[where].reshape(-1)
        # each repeat of a frame has random numbers of its own
        samples = (self.rows[where].T + len(self.frames) * repeats).T.reshape(-1)
        if self.cache is None:
            images, intrinsics_B4 = torch.empty(len(rows), 0), np.full((len(rows), 4), np.nan)
        else:
            images, intrinsics_B4 = self.cache.batch(rows)
        return Batch(
            images,
            torch.from_numpy(self.frames.position[rows]),
            torch.from_numpy(self.frames.quaternion[rows]),
            torch.from_numpy(np.asarray(intrinsics_B4, dtype=np.float32)),
            torch.from_numpy(self.frames.scene[rows].astype(np.int64)),
            torch.from_numpy(rows),
            torch.from_numpy(np.stack([uniforms(self.seed, self.epoch, int(sample)) for sample in samples])),
            torch.empty(len(rows), 0, 0) if self.depths is None else self.depths.batch(rows),
        )


class WorkerLost(Exception):
    """A data worker died or hangs; the text says which."""


def epoch_batches(data: FrameBatches, order: BatchOrder, workers: int) -> Iterator[Batch]:
    """The batches of one epoch in order, read ahead by `workers` processes (0: in this one). Raises WorkerLost."""
    loader = epoch_loader(data, order, workers)
    yield from raise_between_batches(loader) if workers else loader


def epoch_loader(data: FrameBatches, order: BatchOrder, workers: int) -> DataLoader[Batch]:
    """The batches of one epoch in order, read ahead by `workers` processes (0: in this one)."""
    return DataLoader(
        data,
        sampler=order,
        batch_size=None,  # an item is a batch already
        num_workers=workers,
        worker_init_fn=_start_worker if workers else None,
        timeout=120 if workers else 0,
        # a loader draws a number for its workers: torch's own generator would shift the dropout of a resumed run
        generator=torch.Generator(),
        pin_memory=torch.cuda.is_available(),
    )


def raise_between_batches(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """The loader's batches; WorkerLost is raised while waiting for a batch, nowhere else. At the end no worker is left.

    torch raises of a dead worker out of a signal handler, wherever the main process is: in an optimiser step, say.
    """
    others = multiprocessing.active_children()
    batches = iter(loader)
    workers = [child for child in multiprocessing.active_children() if child not in others]
    main = threading.current_thread() is threading.main_thread()
    theirs = signal.getsignal(signal.SIGCHLD) if main else None
    waiting = False

    def deferred(number: int, frame: FrameType | None) -> None:
        if not waiting or not callable(theirs):
            return
        if frame is None or frame.f_globals.get("__name__") in _WAITS:
            theirs(number, frame)
        else:  # in a finaliser, or what runs at a collection of garbage, its error would be lost
            again = threading.Timer(0.1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGCHLD))
            again.daemon = True
            again.start()

    if callable(theirs):
        signal.signal(signal.SIGCHLD, deferred)
    try:
        while True:
            try:
                try:
                    waiting = True
                    deferred(signal.SIGCHLD, None)  # reports workers that died meanwhile
                    batch = next(batches, None)
                finally:
                    waiting = False
            except Exception as error:
                lost = _lost(error, workers)
                if lost is None:
                    raise
                raise lost from error
            if batch is None:
                return
            yield batch
    finally:
        del batches  # torch asks the workers to end, but not where the traceback of an error holds its iterator
        for worker in workers:
            worker.kill()  # they do not listen to SIGTERM, and Python waits for them when it ends
            worker.join()
        if callable(theirs):
            signal.signal(signal.SIGCHLD, theirs)


def _lost(error: Exception, workers: Sequence[BaseProcess]) -> WorkerLost | None:
    """What `error`, raised while waiting for a batch, says of the workers; None if it says nothing of them.

    Tensors come over a connection to the worker that made them: it may be refused, reset or at its end before torch
    knows that the worker is dead.
    """
    said = " ".join(str(error).split())
    if "in DataLoader worker process" in said:  # torch's words around what a worker raises, which has not died of it
        return None
    ends = wait([worker.sentinel for worker in workers], timeout=0.0 if "timed out" in said else 5.0)
    for worker in workers:
        if worker.sentinel in ends:
            worker.join(5.0)  # a killed process loses its files, this one too, before it counts as dead
        code = worker.exitcode
        if code is not None:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
            return WorkerLost(f"worker {worker.pid} {how}")
    return WorkerLost(said[:80]) if "DataLoader" in said else None


def uniforms(seed: int, epoch: int, index: int) -> np.ndarray:
    """The random numbers (K,) of one sample, a pure function of its arguments."""
    return np.random.Generator(np.random.Philox(key=_key(seed, epoch, index))).random(NUM_UNIFORMS, dtype=np.float32)


def _key(seed: int, epoch: int, index: int) -> np.ndarray:
    return np.array([(seed % 2**32) << 32 | epoch, index], dtype=np.uint64)


def _start_worker(worker: int) -> None:
    # a signal to the whole process group must not end the workers before the main process has saved
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    # torch's worker watches its parent's process id, which under a fork server is the server's: the server lives as
    # long as its workers do, so that after a kill -9 of the run both would stay for ever
    parent.join()
    os._exit(1)
