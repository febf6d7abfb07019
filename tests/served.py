"""A server in a thread, and a client of the standard library."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image

from posezoo.nn.model import PoseModel
from posezoo.serving.server import prepared
from posezoo.zoo.build import create_model


def small_model() -> PoseModel:
    small = {"backbone": "test_efficientnet.r160_in1k", "pretrained_backbone": False}
    torch.manual_seed(0)  # of some weights a lens changes nothing that can be told from rounding
    return create_model("posenet", **small, hidden=8, resize=64, crop=64).eval()


@contextlib.contextmanager
def running(model: Any, **limits: Any) -> Iterator[int]:
    """The port of a server that answers meanwhile."""
    server, listening = prepared(model, "127.0.0.1", 0, **limits)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    port = listening.getsockname()[1]
    for _ in range(200):
        if server.started:
            break
        time.sleep(0.05)
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def asked(
    port: int, method: str = "POST", path: str = "/pose", body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    """(status, JSON) of one request."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        client.request(method, path, body, headers or {})
        answer = client.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        client.close()


def jpeg(seed: int = 0, size: tuple[int, int] = (320, 240)) -> bytes:
    """A picture of noise, another for each seed."""
    data = io.BytesIO()
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size).save(data, "JPEG")
    return data.getvalue()
