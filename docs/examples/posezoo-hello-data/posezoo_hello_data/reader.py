"""`hello-data:PATH`: PATH/trajectory.txt with lines `time x y z qx qy qz qw`, and the images PATH/TIME.png."""

from posezoo.plugin import Finding, Frame, ReadRequest, ReadResult
from posezoo.plugin.reading import numbers, read_text


def read(request: ReadRequest) -> ReadResult:
    """The frames of the trajectory, in its order; whatever is wrong becomes a finding."""
    result, name = ReadResult(), "trajectory.txt"
    text = read_text(request.root / name, name, result.findings) or ""
    for line, raw in enumerate(text.splitlines(), 1):
        tokens = raw.partition("#")[0].split()
        if not tokens:
            continue
        if len(tokens) != 8:
            result.findings.append(Finding(name, line, f"expected 8 columns, got {len(tokens)}"))
            continue
        values = numbers(tokens, name, line, result.findings)
        image = f"{tokens[0]}.png"
        if values is None or (request.images is not None and image not in request.images):
            continue
        time, x, y, z, qx, qy, qz, qw = values
        # TUM puts w last; positions and directions are as posezoo's: camera-to-world, metres
        pose = {"position": (x, y, z), "quaternion": (qw, qx, qy, qz)}
        result.frames.append(Frame(image, **pose, timestamp=round(time * 1e6), source=(name, line)))
    return result
