"""Procedural surface textures: walls, grounds, roofs, signs and murals, drawn with numpy and Pillow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scene import Colour

SIZE = 256
Rng = np.random.Generator
Picture = NDArray[np.uint8]


def to_bytes(colour: Colour) -> tuple[int, int, int]:
    """A 0..1 colour as the three bytes Pillow draws with."""
    r, g, b = (int(np.clip(round(255 * c), 0, 255)) for c in colour)
    return r, g, b


def shade(colour: Colour, factor: float) -> Colour:
    """A lighter or darker variant of a colour."""
    r, g, b = (min(1.0, max(0.0, c * factor)) for c in colour)
    return r, g, b


def noise(rng: Rng, size: int = SIZE, octaves: tuple[int, ...] = (4, 8, 16, 32, 64)) -> NDArray[np.float64]:
    """Tileable value noise with mean 0 and deviation 1; coarse octaves weigh most."""
    total = np.zeros((size, size))
    for cells in octaves:
        grid = rng.normal(size=(cells, cells))
        wrapped = np.pad(grid, ((1, 1), (1, 1)), mode="wrap")
        layer = Image.fromarray(wrapped.astype(np.float32)).resize(
            ((cells + 2) * size // cells, (cells + 2) * size // cells), Image.Resampling.BICUBIC
        )
        edge = size // cells
        total += np.asarray(layer)[edge : edge + size, edge : edge + size] / cells**0.5
    return (total - total.mean()) / total.std()


def flat(colour: Colour, rng: Rng, strength: float = 0.04) -> NDArray[np.float64]:
    """A colour with gentle mottling."""
    return np.asarray(colour) * (1 + strength * noise(rng)[..., None])


def courses(rng: Rng, colour: Colour, rows: int, columns: int, joint: float, spread: float) -> NDArray[np.float64]:
    """Bricks or blocks in running bond with joints; each block has its own tone."""
    v, u = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    row = np.floor(v * rows).astype(int)
    shifted = (u * columns + 0.5 * (row % 2)) % columns
    column = np.floor(shifted).astype(int)
    tone = 1 + spread * rng.normal(size=(rows, columns))
    picture = np.asarray(colour) * tone[row, column][..., None]
    in_joint = ((v * rows) % 1 < joint * rows / columns * 1.4) | (shifted % 1 < joint)
    mortar = np.asarray(colour) * 0.45 + 0.33
    picture = np.where(in_joint[..., None], mortar, picture)
    return picture * (1 + 0.03 * noise(rng)[..., None])


def timber(rng: Rng, plaster: Colour, beams: Colour) -> NDArray[np.float64]:
    """Half-timbering: light plaster crossed by dark beams."""
    image = Image.fromarray(np.uint8(255 * np.clip(flat(plaster, rng, 0.02), 0, 1)))
    draw = ImageDraw.Draw(image)
    dark = to_bytes(beams)
    for box in ((0, 0, 256, 16), (0, 240, 256, 256), (0, 0, 12, 256), (244, 0, 256, 256)):
        draw.rectangle(box, fill=dark)
    kind = int(rng.integers(3))
    if kind == 0:
        draw.line((12, 250, 60, 130, 60, 10), fill=dark, width=13)
        draw.line((244, 250, 196, 130, 196, 10), fill=dark, width=13)
    elif kind == 1:
        draw.line((8, 10, 58, 246), fill=dark, width=13)
        draw.line((248, 10, 198, 246), fill=dark, width=13)
    draw.rectangle((0, 170, 256, 182), fill=dark)
    return np.asarray(image) / 255 * (1 + 0.04 * noise(rng)[..., None])


def wall(rng: Rng, kind: str, colour: Colour, accent: Colour) -> NDArray[np.float64]:
    """A wall of 3 m x 3 m of the given kind, as a float picture."""
    v, u = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    if kind == "brick":
        return courses(rng, colour, 28, 9, 0.09, 0.11)
    if kind == "stone":
        return courses(rng, colour, 8, 5, 0.035, 0.10)
    if kind == "timber":
        return timber(rng, colour, accent)
    if kind == "siding":
        return flat(colour, rng, 0.02) * np.where((v * 16) % 1 < 0.14, 0.68, 1.0 - 0.08 * ((v * 16) % 1))[..., None]
    if kind == "panel":
        joints = ((v * 2) % 1 < 0.02) | ((u * 2) % 1 < 0.02)
        return flat(colour, rng, 0.035) * np.where(joints, 0.6, 1.0)[..., None]
    if kind == "metal":
        return flat(colour, rng, 0.02) * (0.86 + 0.14 * np.cos(u * 2 * np.pi * 20))[..., None]
    return flat(colour, rng, 0.018)


def ground(rng: Rng, kind: str) -> NDArray[np.float64]:
    """Ground surfaces without markings."""
    if kind == "cobbles":
        return courses(rng, (0.43, 0.41, 0.39), 22, 20, 0.13, 0.13) * 0.86
    if kind == "setts":
        return courses(rng, (0.50, 0.40, 0.35), 16, 12, 0.10, 0.12) * 0.86
    if kind == "slabs":
        return courses(rng, (0.56, 0.55, 0.53), 5, 4, 0.025, 0.05) * 0.9
    if kind == "clinker":
        return courses(rng, (0.52, 0.32, 0.26), 24, 12, 0.07, 0.10) * 0.9
    if kind == "gravel":
        return np.asarray((0.62, 0.56, 0.46)) * (1 + 0.09 * noise(rng, octaves=(8, 32, 64, 128))[..., None])
    if kind == "grass":
        return np.asarray((0.27, 0.40, 0.15)) * (1 + 0.13 * noise(rng, octaves=(4, 16, 64, 128))[..., None])
    base = np.asarray((0.33, 0.33, 0.34)) * (1 + 0.05 * noise(rng, octaves=(2, 4, 32, 128))[..., None])
    for _ in range(2):
        if rng.random() < 0.6:
            x, y, w, h = rng.integers(20, 150), rng.integers(20, 150), rng.integers(25, 80), rng.integers(25, 90)
            base[y : y + h, x : x + w] *= 0.82
    return base


def road(rng: Rng, kind: str, marking: str) -> NDArray[np.float64]:
    """Half a carriageway, 4.8 m wide (left edge of the picture: the street's middle) and 4 m long."""
    picture = ground(rng, kind)
    v, u = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    paint = np.zeros((SIZE, SIZE), dtype=bool)
    if marking == "dash":
        paint |= (u < 0.016) & (v < 0.6)
    if marking == "line":
        paint |= u < 0.016
    if marking in ("dash", "line"):
        paint |= (np.abs(u - 0.60) < 0.010) & ((v * 4) % 1 < 0.55)
    if marking == "zebra":
        paint |= ((u * 4.8) % 1.0 < 0.5) & (np.abs(v - 0.5) < 0.42)
    if marking == "stop":
        paint |= (np.abs(v - 0.5) < 0.06) & (u < 0.62)
    if marking == "arrow":
        paint |= (np.abs(u - 0.30) < 0.022) & (v > 0.3) & (v < 0.95)
        paint |= (np.abs(u - 0.30) < (v - 0.05) * 0.35) & (v > 0.05) & (v < 0.3)
        paint |= u < 0.016
    worn = noise(rng, octaves=(32, 64, 128)) > -1.5
    picture = np.where((paint & worn)[..., None], 0.83, picture)
    if marking == "manhole":
        ring = np.hypot((u - 0.33) * 4.8, (v - 0.5) * 4.0)
        picture = np.where((ring < 0.38)[..., None], 0.20 + 0.07 * ((ring * 18) % 1 < 0.4)[..., None], picture)
    return picture


def roof(rng: Rng, kind: str, colour: Colour) -> NDArray[np.float64]:
    """Roof coverings, 2.5 m x 2.5 m: tiles, slate or standing-seam metal."""
    v, u = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    if kind == "seam":
        return flat(colour, rng, 0.03) * np.where((u * 5) % 1 < 0.07, 0.65, 1.0)[..., None]
    if kind == "slate":
        return courses(rng, colour, 12, 8, 0.06, 0.12) * 0.9
    wave = 0.82 + 0.18 * np.cos(2 * np.pi * 10 * u)
    steps = 0.72 + 0.28 * (1 - (v * 9) % 1)
    tone = 1 + 0.10 * rng.normal(size=(9, 10))
    tones = tone[np.floor(v * 9).astype(int), np.floor(u * 10).astype(int)]
    return np.asarray(colour) * (wave * steps * tones)[..., None]


def sign(text: str, back: Colour, ink: Colour, width: int = 512, height: int = 128) -> Picture:
    """A sign board with lettering that fills it."""
    image = Image.new("RGB", (width, height), to_bytes(back))
    draw = ImageDraw.Draw(image)
    size = int(height * 0.82)
    font = ImageFont.load_default(size)
    while size > 8 and draw.textlength(text, font=font) > width * 0.92:
        size -= 3
        font = ImageFont.load_default(size)
    draw.text((width / 2, height / 2), text, fill=to_bytes(ink), font=font, anchor="mm", stroke_width=1)
    draw.rectangle((2, 2, width - 3, height - 3), outline=to_bytes(ink), width=3)
    return np.asarray(image)


def mural(rng: Rng, size: int = 512) -> Picture:
    """A painted gable: overlapping discs, waves and stripes in a random palette."""
    palette = [to_bytes((r, g, b)) for r, g, b in 0.25 + 0.6 * rng.random((7, 3))]
    image = Image.new("RGB", (size, size), palette[0])
    draw = ImageDraw.Draw(image)
    x, y, r = rng.integers(120, 390), rng.integers(90, 250), rng.integers(60, 120)
    for step in range(4):
        rr = r * (1 - step / 4)
        draw.ellipse((x - rr, y - rr, x + rr, y + rr), fill=palette[1 + step % 2 * 2])
    for layer in range(4):
        xs = np.linspace(0, size, 60)
        wave = size * (0.5 + 0.13 * layer) + 40 * np.sin(xs / size * rng.uniform(4, 12) + rng.uniform(0, 6))
        edge = [(float(a), float(b)) for a, b in zip(xs, wave, strict=True)]
        draw.polygon([(0, size), *edge, (size, size)], fill=palette[3 + layer])
    for _ in range(6):
        cx, cy, w = rng.integers(0, size), rng.integers(0, size), rng.integers(15, 45)
        draw.regular_polygon((int(cx), int(cy), int(w)), int(rng.integers(3, 7)), fill=palette[int(rng.integers(7))])
    return np.asarray(image.filter(ImageFilter.GaussianBlur(1)))


def finish(picture: NDArray[np.float64]) -> Picture:
    """A 0..1 float picture as bytes."""
    return np.uint8(np.clip(picture, 0, 1) * 255)
