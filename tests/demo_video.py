"""Videos made of the demo's pictures, whose poses are known. Needs PyAV."""

from __future__ import annotations

from pathlib import Path

import benchmark_trees
import numpy as np
from PIL import Image

FOCAL = 243.499  # pixels, of the demo's cameras


def video(path: Path, count: int, place: str = "yard-train", rate: int = 3, repeat: int = 1) -> np.ndarray:
    """Write the place's first pictures as a video, each `repeat` times; their true positions (count, 3) in metres."""
    import av

    ride = benchmark_trees.rides("places")[place]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 340, 256, "yuv420p", 8_000_000
        for image in [image for image in ride.images[:count] for _ in range(repeat)]:
            with Image.open(image) as picture:  # even sides: a column is cut off
                frame = av.VideoFrame.from_image(picture.convert("RGB").crop((0, 0, 340, 256)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return ride.position[:count]
