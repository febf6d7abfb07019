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


def accelerometer(path: Path, count: int) -> None:
    """What a phone felt on the walk, held on its left side, three pictures a second, with a hand that shakes."""
    rotation = benchmark_trees.rides("places")["yard-train"].rotation.as_matrix()  # camera to world, z up
    noise, lines = np.random.default_rng(0), ["ax,ay,az,t"]
    for n in range(count * 10):
        right_3, down_3, forward_3 = rotation[n // 10].T
        force_3 = np.array([0, 0, 9.81]) + noise.normal(size=3)
        read = [down_3 @ force_3, right_3 @ force_3, -forward_3 @ force_3]  # the phone's right is the picture's bottom
        lines.append(",".join(map(repr, map(float, [*read, (n - 4.5) / 30]))))
    path.write_text("\n".join(lines) + "\n")
