"""Facade tiles: one bay of one storey each, with windows, doors and shop fronts, plus their light at night."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scene import Colour, Scene
from surfaces import SIZE, Picture, Rng, finish, flat, shade, to_bytes, wall


@dataclass(frozen=True)
class Style:
    """Everything that makes one building's facade its own."""

    wall: str
    colour: Colour
    accent: Colour
    frame: Colour
    door: Colour
    window_width: float
    window_height: float
    panes: tuple[int, int]
    arched: bool
    shutters: bool
    surround: bool
    curtain: Colour


WALLS: dict[str, list[Colour]] = {
    "plaster": [
        (0.88, 0.78, 0.52), (0.82, 0.55, 0.42), (0.60, 0.72, 0.76), (0.90, 0.87, 0.78), (0.62, 0.74, 0.58),
        (0.85, 0.64, 0.66), (0.78, 0.72, 0.62), (0.93, 0.72, 0.38), (0.66, 0.60, 0.74), (0.72, 0.36, 0.30),
    ],
    "brick": [(0.56, 0.26, 0.20), (0.62, 0.38, 0.26), (0.44, 0.22, 0.20), (0.70, 0.58, 0.42), (0.50, 0.33, 0.30)],
    "stone": [(0.66, 0.62, 0.54), (0.55, 0.55, 0.54), (0.72, 0.64, 0.50), (0.60, 0.50, 0.44)],
    "timber": [(0.90, 0.86, 0.76), (0.88, 0.78, 0.58), (0.82, 0.70, 0.62), (0.80, 0.84, 0.78)],
    "siding": [(0.72, 0.80, 0.84), (0.86, 0.84, 0.70), (0.55, 0.66, 0.55), (0.76, 0.42, 0.36), (0.45, 0.52, 0.62)],
    "panel": [(0.66, 0.66, 0.64), (0.58, 0.62, 0.66), (0.74, 0.70, 0.62), (0.50, 0.48, 0.46)],
    "glass": [(0.38, 0.48, 0.54), (0.30, 0.36, 0.40), (0.44, 0.54, 0.50)],
    "metal": [(0.62, 0.64, 0.66), (0.36, 0.44, 0.50), (0.60, 0.40, 0.28)],
}  # fmt: skip
ACCENTS: list[Colour] = [
    (0.30, 0.18, 0.11), (0.16, 0.20, 0.28), (0.45, 0.12, 0.12), (0.12, 0.30, 0.22), (0.20, 0.14, 0.10),
    (0.14, 0.34, 0.45), (0.55, 0.40, 0.16), (0.36, 0.28, 0.20),
]  # fmt: skip
FRAMES: list[Colour] = [(0.92, 0.92, 0.90), (0.25, 0.20, 0.17), (0.85, 0.82, 0.72), (0.20, 0.30, 0.27)]


def draw_style(rng: Rng, kind: str, number: int) -> Style:
    """A style of the given wall kind; ``number`` walks through the palette so neighbours differ."""
    palette = WALLS[kind]
    base = np.asarray(palette[number % len(palette)]) * rng.uniform(0.92, 1.06) + rng.normal(0, 0.02, 3)
    big = kind in ("glass", "panel", "metal")
    return Style(
        wall=kind,
        colour=(float(base[0]), float(base[1]), float(base[2])),
        accent=ACCENTS[(number * 3 + int(rng.integers(3))) % len(ACCENTS)] if kind != "timber" else ACCENTS[0],
        frame=FRAMES[int(rng.integers(len(FRAMES)))],
        door=ACCENTS[(number + 1 + int(rng.integers(4))) % len(ACCENTS)],
        window_width=float(rng.uniform(0.66, 0.86) if big else rng.uniform(0.30, 0.46)),
        window_height=float(rng.uniform(0.50, 0.68) if big else rng.uniform(0.48, 0.64)),
        panes=(int(rng.integers(1, 4)), int(rng.integers(1, 4))),
        arched=bool(kind in ("brick", "stone") and rng.random() < 0.45),
        shutters=bool(kind in ("plaster", "siding", "stone") and rng.random() < 0.45),
        surround=bool(rng.random() < 0.6),
        curtain=(float(rng.uniform(0.5, 0.95)), float(rng.uniform(0.5, 0.9)), float(rng.uniform(0.45, 0.9))),
    )


def _glass(rng: Rng, width: int, height: int) -> Picture:
    """A window pane that mirrors a bit of sky."""
    v, u = np.mgrid[0:height, 0:width] / max(width, height)
    tone = 0.20 + 0.22 * (1 - v) + 0.06 * np.sin(9 * u + 5 * v + rng.uniform(0, 6))
    return finish(tone[..., None] * np.asarray((0.80, 0.95, 1.08)))


def _window(
    rng: Rng, image: Image.Image, glow: Image.Image, style: Style, box: tuple[int, int, int, int], curtains: bool
) -> None:
    """Draw one window into a tile and its light into the glow tile."""
    x0, y0, x1, y1 = box
    draw, light = ImageDraw.Draw(image), ImageDraw.Draw(glow)
    frame = to_bytes(style.frame)
    round_top = int((x1 - x0) * 0.42) if style.arched else 0
    if style.surround:
        trim = to_bytes(shade(style.colour, 1.25) if style.wall != "plaster" else (0.93, 0.91, 0.86))
        draw.rounded_rectangle((x0 - 11, y0 - 11, x1 + 11, y1 + 6), round_top, fill=trim)
    if style.shutters:
        w = (x1 - x0) // 2
        for a in (x0 - w - 4, x1 + 4):
            draw.rectangle((a, y0, a + w, y1), fill=to_bytes(style.accent))
            for y in range(y0 + 6, y1 - 4, 9):
                draw.line((a + 5, y, a + w - 5, y), fill=to_bytes(shade(style.accent, 0.6)), width=3)
    draw.rectangle((x0 - 2, y1, x1 + 14, y1 + 14), fill=to_bytes(shade(style.colour, 0.55)))
    mask = Image.new("L", image.size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((x0, y0, x1, y1), round_top, fill=255, corners=(True, True, False, False))
    pane = Image.new("RGB", image.size)
    pane.paste(Image.fromarray(_glass(rng, x1 - x0 + 1, y1 - y0 + 1)), (x0, y0))
    cut = ImageDraw.Draw(pane)
    lit = (255, int(rng.integers(170, 225)), int(rng.integers(80, 150)))
    light.bitmap((0, 0), mask, fill=lit)
    if curtains:
        cloth = to_bytes(shade(style.curtain, 0.8))
        part = int((x1 - x0) * rng.uniform(0.15, 0.32))
        cut.rectangle((x0, y0, x0 + part, y1), fill=cloth)
        cut.rectangle((x1 - part, y0, x1, y1), fill=cloth)
        soft = (170, 110, 60)
        light.rectangle((x0, y0 + round_top, x0 + part, y1), fill=soft)
        light.rectangle((x1 - part, y0 + round_top, x1, y1), fill=soft)
    cut.rectangle((x0, y0, x1, y0 + 7), fill=(30, 34, 38))
    nx, ny = style.panes
    for i in range(1, nx):
        x = x0 + (x1 - x0) * i // nx
        cut.rectangle((x - 3, y0, x + 3, y1), fill=frame)
        light.rectangle((x - 3, y0, x + 3, y1), fill=(0, 0, 0))
    for i in range(1, ny):
        y = y0 + (y1 - y0) * i // ny
        cut.rectangle((x0, y - 3, x1, y + 3), fill=frame)
        light.rectangle((x0, y - 3, x1, y + 3), fill=(0, 0, 0))
    image.paste(pane, (0, 0), mask)
    draw.rounded_rectangle((x0, y0, x1, y1), round_top, outline=frame, width=6, corners=(True, True, False, False))
    light.rounded_rectangle((x0, y0, x1, y1), round_top, outline=(0, 0, 0), width=6)


def _door(rng: Rng, image: Image.Image, glow: Image.Image, style: Style) -> None:
    """An entrance door with a lit fanlight."""
    draw, light = ImageDraw.Draw(image), ImageDraw.Draw(glow)
    x0, x1, y0 = 82, 174, 62
    draw.rectangle((x0 - 14, y0 - 14, x1 + 14, 256), fill=to_bytes(shade(style.colour, 1.2)))
    draw.rectangle((x0, y0, x1, 256), fill=to_bytes(style.door))
    draw.rectangle((x0 + 6, y0 + 6, x1 - 6, y0 + 40), fill=(110, 128, 138))
    light.rectangle((x0 + 6, y0 + 6, x1 - 6, y0 + 40), fill=(255, 200, 120))
    dark = to_bytes(shade(style.door, 0.6))
    for y in (y0 + 54, y0 + 122):
        for x in (x0 + 10, x0 + 52):
            draw.rectangle((x, y, x + 30, y + 54), outline=dark, width=4)
    draw.ellipse((x1 - 16, 170, x1 - 8, 178), fill=(214, 180, 90))


def _shop(rng: Rng, image: Image.Image, glow: Image.Image, style: Style, with_door: bool) -> None:
    """A shop front: large pane, goods on display, painted riser."""
    draw, light = ImageDraw.Draw(image), ImageDraw.Draw(glow)
    draw.rectangle((0, 0, 256, 256), fill=to_bytes(style.accent))
    draw.rectangle((6, 218, 250, 250), outline=to_bytes(shade(style.accent, 1.6)), width=4)
    x0, y0, x1, y1 = 14, 40, 242, 208
    image.paste(Image.fromarray(_glass(rng, x1 - x0, y1 - y0)), (x0, y0))
    light.rectangle((x0, y0, x1, y1), fill=(235, 190, 120))
    for _ in range(int(rng.integers(7, 16))):
        w, h = rng.integers(10, 44), rng.integers(12, 70)
        x, base = rng.integers(x0 + 4, x1 - 46), y1 - int(rng.choice([4, 4, 70]))
        goods = to_bytes((float(rng.uniform(0.2, 0.9)), float(rng.uniform(0.2, 0.85)), float(rng.uniform(0.15, 0.8))))
        if rng.random() < 0.35:
            draw.ellipse((x, base - w, x + w, base), fill=goods)
            light.ellipse((x, base - w, x + w, base), fill=goods)
        else:
            draw.rectangle((x, base - h, x + w, base), fill=goods)
            light.rectangle((x, base - h, x + w, base), fill=goods)
    bars = int(rng.integers(1, 4))
    for i in range(bars + 1):
        x = x0 + (x1 - x0) * i // bars
        draw.rectangle((x - 4, y0, x + 4, y1), fill=to_bytes(style.frame))
    draw.rectangle((x0, y0 - 4, x1, y0 + 5), fill=to_bytes(style.frame))
    if with_door:
        draw.rectangle((88, 40, 172, 256), fill=to_bytes(style.door))
        draw.rectangle((100, 54, 160, 205), fill=(96, 116, 126))
        light.rectangle((88, 40, 172, 256), fill=(0, 0, 0))
        light.rectangle((100, 54, 160, 205), fill=(255, 205, 130))


def paint_tiles(scene: Scene, rng: Rng, style: Style, name: str) -> None:
    """Paint all tiles of one building into the scene's textures as ``name/tile`` and ``name/tile*`` (its light)."""
    base = wall(rng, style.wall, style.colour, style.accent)
    if style.wall == "glass":
        base = flat(shade(style.colour, 0.7), rng)
    width, height = int(SIZE * style.window_width), int(SIZE * style.window_height)
    if style.wall == "glass":
        width, height = 244, 226
    left = (SIZE - width) // 2
    top = int((SIZE - height) * 0.42)
    kinds = ("blank", "upper0", "upper1", "upper2", "ground", "door", "shop0", "shop1", "shopdoor", "garage")
    for kind in kinds:
        image, glow = Image.fromarray(finish(base * rng.uniform(0.98, 1.02))), Image.new("RGB", (SIZE, SIZE))
        if kind.startswith("upper") or kind == "ground":
            _window(rng, image, glow, style, (left, top, left + width, top + height), kind != "upper0")
        elif kind == "door":
            _door(rng, image, glow, style)
        elif kind.startswith("shop"):
            _shop(rng, image, glow, style, kind == "shopdoor")
        elif kind == "garage":
            draw = ImageDraw.Draw(image)
            draw.rectangle((24, 66, 232, 256), fill=to_bytes(shade(style.door, 1.5)))
            for y in range(80, 256, 22):
                draw.line((24, y, 232, y), fill=to_bytes(shade(style.door, 1.0)), width=4)
        scene.textures[f"{name}/{kind}"] = np.asarray(image)
        if kind not in ("blank", "garage"):
            scene.textures[f"{name}/{kind}*"] = np.asarray(glow)
