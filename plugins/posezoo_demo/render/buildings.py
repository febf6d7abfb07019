"""Buildings from facade tiles: walls of bays and storeys, roofs, and what hangs on a facade."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from facades import Style, paint_tiles
from scene import WHITE, Colour, Material, Placement, Scene
from surfaces import Rng, finish, mural, roof, shade, sign

ROOF_COLOURS: list[Colour] = [
    (0.55, 0.26, 0.18), (0.42, 0.22, 0.17), (0.30, 0.31, 0.34), (0.48, 0.34, 0.24), (0.24, 0.26, 0.28),
    (0.36, 0.42, 0.38), (0.62, 0.34, 0.22),
]  # fmt: skip
SIGN_COLOURS: list[tuple[Colour, Colour]] = [
    ((0.10, 0.28, 0.20), (0.95, 0.90, 0.70)), ((0.65, 0.10, 0.10), (1.0, 0.95, 0.85)),
    ((0.10, 0.18, 0.42), (0.95, 0.95, 0.95)), ((0.95, 0.80, 0.20), (0.15, 0.10, 0.10)),
    ((0.92, 0.90, 0.84), (0.25, 0.15, 0.10)), ((0.20, 0.20, 0.22), (0.90, 0.70, 0.30)),
    ((0.12, 0.45, 0.52), (1.0, 1.0, 0.9)), ((0.45, 0.20, 0.42), (0.98, 0.90, 0.95)),
]  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """The massing of one building."""

    width: float
    depth: float
    storeys: int
    base: str  # "shop", "house", "garage", "chapel" or "plain"
    roof: str  # "gable", "front-gable", "hip" or "flat"
    name: str
    mural: bool = False
    ground_height: float = 3.5
    storey_height: float = 2.95

    @property
    def height(self) -> float:
        """Height of the eaves."""
        return self.ground_height + (self.storeys - 1) * self.storey_height


def _walls(scene: Scene, rng: Rng, place: Placement, plan: Plan, key: str) -> None:
    """The four walls; the front has the ground floor, the others are plainer."""
    w, d = plan.width, plan.depth
    runs = [
        (place, w, 1.0),
        (place.at(w, 0, 0, np.pi / 2), d, 0.55),
        (place.at(w, d, 0, np.pi), w, 0.7),
        (place.at(0, d, 0, -np.pi / 2), d, 0.55),
    ]
    for number, (side, length, share) in enumerate(runs):
        bays = max(1, round(length / 3.0))
        step = length / bays
        entrance = int(rng.integers(bays))
        for storey in range(plan.storeys):
            z0 = 0.0 if storey == 0 else plan.ground_height + (storey - 1) * plan.storey_height
            z1 = plan.ground_height + storey * plan.storey_height
            for bay in range(bays):
                if storey == 0 and number == 0:
                    kind = _ground_tile(rng, plan.base, bay == entrance)
                elif rng.random() < share:
                    kind = f"upper{rng.integers(3)}"
                else:
                    kind = "blank"
                lit = kind not in ("blank", "garage") and rng.random() < (0.8 if kind.startswith("shop") else 0.42)
                x0, x1 = bay * step, (bay + 1) * step
                corners = [(x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1)]
                scene.add(side(corners), f"{key}/{kind}", emission=f"{key}/{kind}*" if lit else None)


def _ground_tile(rng: Rng, base: str, entrance: bool) -> str:
    """The tile of one ground-floor bay."""
    if base == "shop":
        return "shopdoor" if entrance else f"shop{rng.integers(2)}"
    if base == "garage":
        return "door" if entrance else "garage"
    if base == "chapel":
        return "upper1"
    if base == "plain":
        return "upper1" if entrance else "blank"
    return "door" if entrance else "ground"


def _roof(scene: Scene, rng: Rng, place: Placement, plan: Plan, key: str, colour: Colour, kind: str) -> None:
    """The roof and its gables. Long: one kind of roof after another, each a list of polygons."""
    w, d, h = plan.width, plan.depth, plan.height
    texture = f"{key}/roof"
    scene.textures[texture] = finish(roof(rng, kind, colour))
    o = 0.35
    rise = float(rng.uniform(0.42, 0.62)) * (d if plan.roof != "front-gable" else w) * 0.9

    def slope(points: list[tuple[float, float, float]]) -> None:
        p = place(points)
        size = (np.linalg.norm(p[1] - p[0]) / 2.5, np.linalg.norm(p[2] - p[1]) / 2.5)
        uv = [(0, 0), (size[0], 0), (size[0], size[1]), (0, size[1])] if len(p) == 4 else None
        if uv is None:
            uv = [(0, 0), (size[0], 0), (size[0] / 2, size[1])]
        scene.add(p, texture, WHITE, Material.ROOF, uv=uv)

    if plan.roof == "flat":
        trim = shade(colour, 1.2)
        scene.add(place([(0, 0, h - 0.02), (w, 0, h - 0.02), (w, d, h - 0.02), (0, d, h - 0.02)]), None,
                  (0.35, 0.35, 0.36), Material.ROOF)  # fmt: skip
        for x, y in (((-0.12, w + 0.12), (-0.12, 0.2)), ((-0.12, w + 0.12), (d - 0.2, d + 0.12)),
                     ((-0.12, 0.2), (0.2, d - 0.2)), ((w - 0.2, w + 0.12), (0.2, d - 0.2))):  # fmt: skip
            scene.box(place, x, y, (h - 0.15, h + 0.7), trim)
        x, y = rng.uniform(0.2, 0.6) * w, rng.uniform(0.3, 0.5) * d
        scene.box(place, (x, x + 2.2), (y, y + 2.4), (h, h + 2.1), (0.55, 0.55, 0.56))
        return
    if plan.roof == "front-gable":
        m = w / 2
        slope([(-o, d + o, h - 0.3), (-o, -o, h - 0.3), (m, -o, h + rise), (m, d + o, h + rise)])
        slope([(w + o, -o, h - 0.3), (w + o, d + o, h - 0.3), (m, d + o, h + rise), (m, -o, h + rise)])
        blank = f"{key}/blank"
        uv = [(0, 0), (w / 3, 0), (w / 6, rise / 3)]
        scene.add(place([(0, 0, h), (w, 0, h), (m, 0, h + rise)]), blank, uv=uv)
        scene.add(place([(w, d, h), (0, d, h), (m, d, h + rise)]), blank, uv=uv)
        if rise > 2.4:
            scene.add(place([(m - 0.9, -0.05, h + 0.2), (m + 0.9, -0.05, h + 0.2), (m + 0.9, -0.05, h + 2.0),
                             (m - 0.9, -0.05, h + 2.0)]), f"{key}/upper1", emission=f"{key}/upper1*")  # fmt: skip
    else:
        inset = min(w, d) * 0.38 if plan.roof == "hip" else -o
        m = d / 2
        slope([(-o, -o, h - 0.3), (w + o, -o, h - 0.3), (w - inset, m, h + rise), (inset, m, h + rise)])
        slope([(w + o, d + o, h - 0.3), (-o, d + o, h - 0.3), (inset, m, h + rise), (w - inset, m, h + rise)])
        if plan.roof == "hip":
            slope([(w + o, -o, h - 0.3), (w + o, d + o, h - 0.3), (w - inset, m, h + rise)])
            slope([(-o, d + o, h - 0.3), (-o, -o, h - 0.3), (inset, m, h + rise)])
        else:
            uv = [(0, 0), (d / 3, 0), (d / 6, rise / 3)]
            scene.add(place([(w, 0, h), (w, d, h), (w, m, h + rise)]), f"{key}/blank", uv=uv)
            scene.add(place([(0, d, h), (0, 0, h), (0, m, h + rise)]), f"{key}/blank", uv=uv)
        for i in range(int(rng.integers(0, 3))):
            x = w * (0.3 + 0.4 * i) - 0.7
            z, y = h + rise * 0.22, m * 0.35
            scene.box(place, (x, x + 1.4), (y, y + 2.0), (z, z + 1.5), shade(colour, 0.8), front_only=f"{key}/upper1",
                      emission=f"{key}/upper1*" if rng.random() < 0.5 else None)  # fmt: skip
    for _ in range(int(rng.integers(1, 3))):
        x, y = rng.uniform(0.12, 0.8) * w, d * rng.uniform(0.35, 0.6)
        tone = float(rng.uniform(0.8, 1.2))
        top = h + rise + float(rng.uniform(0.2, 0.9))
        brick = shade((0.50, 0.30, 0.24), tone)
        scene.box(place, (x, x + 0.8), (y, y + 0.6), (h, top), brick, f"{key}/blank", tile=3.0)
        scene.box(place, (x + 0.2, x + 0.55), (y + 0.15, y + 0.45), (top, top + 0.4), (0.55, 0.30, 0.2))


def _trim(scene: Scene, rng: Rng, place: Placement, plan: Plan, style: Style, texts: list[str]) -> None:
    """Cornice, string course, sign, awning, balconies, steps and flower boxes on the front. Long: one after another."""
    w, g, h = plan.width, plan.ground_height, plan.height
    light = shade(style.colour, 1.12) if style.wall in ("plaster", "siding") else shade(style.colour, 0.8)
    scene.box(place, (-0.05, w + 0.05), (-0.22, 0), (h - 0.42, h - 0.12), light)
    if rng.random() < 0.6:
        scene.box(place, (0, w), (-0.10, 0), (g - 0.12, g + 0.06), light)
    scene.box(place, (0, w), (-0.06, 0), (0, 0.45), shade(style.colour, 0.62))
    if plan.base == "shop":
        text = texts.pop(0)
        back, ink = SIGN_COLOURS[int(rng.integers(len(SIGN_COLOURS)))]
        scene.textures[f"sign/{plan.name}"] = sign(text, back, ink)
        span = min(w - 0.6, 1.0 + 0.5 * len(text))
        x0 = (w - span) / 2
        z = g - 0.62
        scene.box(place, (x0, x0 + span), (-0.16, 0), (z, z + 0.68), back, front_only=f"sign/{plan.name}",
                  emission=f"sign/{plan.name}")  # fmt: skip
        if rng.random() < 0.65:
            stripe: Colour = (0.93, 0.92, 0.88)
            x0, x1 = 0.4, w - 0.4
            n = max(4, round((x1 - x0) / 0.5))
            for i in range(n):
                a, b = x0 + (x1 - x0) * i / n, x0 + (x1 - x0) * (i + 1) / n
                tint = back if i % 2 == 0 else stripe
                scene.add(place([(a, -1.25, 2.25), (b, -1.25, 2.25), (b, -0.02, 2.85), (a, -0.02, 2.85)]), None, tint)
                scene.add(place([(a, -1.25, 2.05), (b, -1.25, 2.05), (b, -1.25, 2.25), (a, -1.25, 2.25)]), None, tint)
        if rng.random() < 0.5:
            x = 0.25 if rng.random() < 0.5 else w - 0.35
            scene.box(place, (x, x + 0.06), (-1.0, -0.1), (g + 0.5, g + 1.35), back, emission=shade(back, 0.5))
    elif plan.base == "house":
        scene.box(place, (w * 0.1, w * 0.1 + 0.1), (-0.12, -0.02), (0, h - 0.3), (0.35, 0.36, 0.36))
    if plan.mural:
        scene.textures[f"mural/{plan.name}"] = mural(rng)
        scene.add(place([(0.5, -0.06, g + 0.1), (w - 0.5, -0.06, g + 0.1), (w - 0.5, -0.06, h - 0.5),
                         (0.5, -0.06, h - 0.5)]), f"mural/{plan.name}")  # fmt: skip
        return
    bays = max(1, round(w / 3.0))
    step = w / bays
    feature = rng.random()
    for storey in range(1, plan.storeys):
        z = g + (storey - 1) * plan.storey_height
        for bay in range(bays):
            x = bay * step
            if feature < 0.22 and rng.random() < 0.6:
                scene.box(place, (x + 0.3, x + step - 0.3), (-0.95, 0), (z - 0.02, z + 0.12), (0.6, 0.6, 0.58))
                for i in range(9):
                    a = x + 0.33 + (step - 0.7) * i / 8
                    scene.box(place, (a, a + 0.035), (-0.93, -0.9), (z + 0.12, z + 1.0), style.accent)
                scene.box(place, (x + 0.3, x + step - 0.3), (-0.95, -0.88), (z + 0.98, z + 1.04), style.accent)
            elif 0.22 < feature < 0.5 and style.wall not in ("glass", "metal", "panel"):
                span = step * style.window_width
                a = x + (step - span) / 2
                scene.box(place, (a, a + span), (-0.28, -0.02), (z + 0.50, z + 0.68), (0.40, 0.24, 0.16))
                red, green, blue = (float(c) for c in rng.uniform((0.6, 0.15, 0.2), (0.95, 0.5, 0.6)))
                scene.box(place, (a + 0.05, a + span - 0.05), (-0.30, -0.04), (z + 0.68, z + 0.88), (0.28, 0.42, 0.18))
                scene.box(place, (a + 0.15, a + span - 0.15), (-0.33, -0.1), (z + 0.74, z + 0.94), (red, green, blue))
    if feature > 0.85 and plan.storeys > 2 and style.wall != "glass":
        x = step * int(rng.integers(bays))
        key = f"{plan.name}/upper1"
        scene.box(place, (x + 0.25, x + step - 0.25), (-0.75, 0), (g + 0.1, h - 0.6), light, front_only=key,
                  emission=f"{key}*")  # fmt: skip


def add_building(scene: Scene, rng: Rng, place: Placement, plan: Plan, style: Style, texts: list[str]) -> None:
    """Add one complete building whose front left corner is the placement's origin."""
    paint_tiles(scene, rng, style, plan.name)
    _walls(scene, rng, place, plan, plan.name)
    covering = "seam" if style.wall in ("metal", "glass") else str(rng.choice(["tiles", "tiles", "slate"]))
    colour = ROOF_COLOURS[int(rng.integers(len(ROOF_COLOURS)))]
    _roof(scene, rng, place, plan, plan.name, colour, covering)
    _trim(scene, rng, place, plan, style, texts)
