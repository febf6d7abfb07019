"""What an answer costs: milliseconds a picture, parameters, bytes. One picture at a time, as a robot would ask.

Latency is measured after a warm-up, each answer brought back to the processor before the clock stops: the median and
the 95th percentile, of the network alone (from prepared pixels) and from the image file (decoded, resized, prepared).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from posezoo.base.errors import PosezooError
from posezoo.base.files.pictures import read_image
from posezoo.base.spec import Decode
from posezoo.nn.model import evaluating

Cost = dict[str, Any]
"""parameters, bytes; if measured latency_ms_p50, latency_ms_p95, file_ms_p50, file_ms_p95, device, threads; remark."""
REPEATS, SECONDS, WARM_UP = 30, 1.0, 3
OF_ORACLE: Cost = {"parameters": None, "bytes": None, "remark": "cannot be run: it needs the true pose"}


def cost_of(
    network: nn.Module,
    prepare: Callable[[Tensor], Tensor],
    path: Path,
    *,
    answer: Callable[[Tensor], Tensor],
    device: torch.device,
    decode: Decode | None = None,
    more_bytes: int = 0,
) -> Cost:
    """The cost of a network's answer on the image at `path`.

    `prepare`: uint8 (1, 3, H, W) to what it reads; `answer`: that to anything that depends on all of the work.
    `more_bytes`: what it needs beside its own tensors.
    """

    def prepared(pixels: np.ndarray) -> Tensor:
        return prepare(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].to(device))

    with evaluating(network), torch.inference_mode():
        try:
            pixels, whole = (
                read_image(path, decode=decode),
                _milliseconds(lambda: answer(prepared(read_image(path, decode=decode)))),
            )
        except PosezooError:  # the evaluation reads the image cache; the file itself may be gone by now
            pixels, whole = np.zeros((256, 341, 3), dtype=np.uint8), None
        ready = prepared(pixels)
        alone = _milliseconds(lambda: answer(ready))
    return (
        size_of(network, more_bytes)
        | _times("latency", alone)
        | _times("file", whole)
        | {
            "device": device.type,
            "threads": torch.get_num_threads(),
        }
    )


def of_mean(num_scenes: int) -> Cost:
    """The cost of a scene's mean pose: 7 numbers, looked up."""
    pose_S7 = torch.zeros(num_scenes, 7, dtype=torch.float64)
    size = {"parameters": 0, "bytes": pose_S7.numel() * pose_S7.element_size()}
    taken = _times("latency", _milliseconds(lambda: pose_S7[-1].clone()))
    said = {"remark": "reads no picture, is told the scene"}
    return size | taken | {"device": "cpu", "threads": torch.get_num_threads()} | said


def _times(what: str, taken: tuple[float, float] | None) -> Cost:
    if taken is None:
        return {}
    return {f"{what}_ms_{part}": float(f"{ms:.4g}") for part, ms in zip(("p50", "p95"), taken, strict=True)}


def size_of(network: nn.Module, more_bytes: int = 0) -> Cost:
    """Parameters and bytes alone."""
    tensors = [*network.parameters(), *network.buffers()]
    stored = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return {"parameters": sum(p.numel() for p in network.parameters()), "bytes": stored + more_bytes}


def words(method: str, cost: Cost) -> str:
    """The cost on one line."""
    if cost["bytes"] is None:
        return f"{method}: {cost['remark']}"
    size = f"{cost['bytes'] / 1e6:.1f} MB" if cost["bytes"] >= 1e5 else f"{cost['bytes']} bytes"
    line = f"{method}: {cost['parameters']:,} parameters, {size}"
    if "latency_ms_p50" not in cost:
        return line
    kinds = {"latency": "a picture", "file": "from its file"}
    times = [
        f"{_ms(cost[f'{kind}_ms_p50'])} ms (p95 {_ms(cost[f'{kind}_ms_p95'])}) {what}"
        for kind, what in kinds.items()
        if f"{kind}_ms_p50" in cost
    ]
    threads = f", {cost['threads']} thread{'s' * (cost['threads'] > 1)}" if cost["device"] == "cpu" else ""
    remark = f"; {cost['remark']}" if "remark" in cost else ""
    return f"{line}, {', '.join(times)} ({cost['device']}{threads}){remark}"


def _ms(taken: float) -> str:
    return f"{taken:.1f}" if taken >= 0.1 else f"{taken:.1g}"


def _milliseconds(work: Callable[[], Tensor]) -> tuple[float, float]:
    """Median and 95th percentile of the time that `work` takes."""
    for _ in range(WARM_UP):
        work().cpu()
    taken: list[float] = []
    while len(taken) < REPEATS and (sum(taken) < SECONDS or len(taken) < WARM_UP):
        begun = time.perf_counter()
        work().cpu()
        taken.append(time.perf_counter() - begun)
    return float(1e3 * np.median(taken)), float(1e3 * np.percentile(taken, 95, method="higher"))
