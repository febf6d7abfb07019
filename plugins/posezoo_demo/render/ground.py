"""Ground: carriageway with markings, kerbs and pavements along the street, and the land around the town."""

from __future__ import annotations

import numpy as np
from paths import Street
from scene import Material, Scene
from surfaces import Rng, finish, ground, road, wall

KERB = 4.8  # half width of the carriageway, metres
FACADE = 7.2  # distance of the facades from the centre line
STEP = 2.0
PAVEMENTS = ("slabs", "clinker", "setts")


def box_texture(scene: Scene, rng: Rng) -> None:
    """Paint the textures that several objects share."""
    for kind in ("cobbles", "setts", "slabs", "clinker", "gravel", "grass"):
        scene.textures[kind] = finish(ground(rng, kind))
    for kind in ("asphalt", "cobbles"):
        for marking in ("dash", "line", "zebra", "stop", "arrow", "manhole", "none"):
            for variant in range(2):
                scene.textures[f"{kind}-{marking}-{variant}"] = finish(road(rng, kind, marking))
    black = (0.0, 0.0, 0.0)
    scene.textures["fountain"] = finish(wall(rng, "stone", (0.68, 0.65, 0.60), black))
    scene.textures["brickwall"] = finish(wall(rng, "brick", (0.55, 0.30, 0.22), black))
    scene.textures["stonewall"] = finish(wall(rng, "stone", (0.52, 0.50, 0.46), black))
    scene.textures["planks"] = finish(wall(rng, "siding", (0.85, 0.80, 0.72), black))


def _marking(rng: Rng, number: int, count: int) -> str:
    """The marking of one four-metre piece of road."""
    if number % (count // 7) == 5:
        return "zebra"
    if number % (count // 7) == 3:
        return "stop"
    if number % 9 == 8:
        return "arrow"
    if rng.random() < 0.12:
        return "manhole"
    return "line" if number % 23 < 6 else "dash"


def add_street(scene: Scene, rng: Rng, street: Street) -> None:
    """The carriageway in two halves, the kerbs and both pavements; then the land all around."""
    count = round(street.length / STEP)
    s = np.linspace(0, street.length, count + 1)
    markings = [_marking(rng, i, count // 2) for i in range(count // 2 + 1)]
    for i in range(count):
        a, b = s[i], s[i + 1]
        old_town = a > street.length * 0.84 or a < 12 or street.length * 0.36 < a < street.length * 0.46
        kind = "cobbles" if old_town else "asphalt"
        v0 = 0.5 * (i % 2)
        w0 = v0 * 1.33
        for side in (1.0, -1.0):
            key = f"{kind}-{markings[i // 2]}-{int(rng.integers(2)) if i % 2 == 0 else 0}"

            def edge(r: float, z: float, a: float = a, b: float = b, side: float = side) -> list[list[float]]:
                return [[*street.at(a, side * r), z], [*street.at(b, side * r), z]]

            inner, kerb, top, wall_foot = edge(0.0, 0.0), edge(KERB, 0.0), edge(KERB, 0.12), edge(FACADE + 1.2, 0.12)
            scene.add([inner[0], kerb[0], kerb[1], inner[1]], key, material=Material.ROAD,
                      uv=[(0, v0), (1, v0), (1, v0 + 0.5), (0, v0 + 0.5)])  # fmt: skip
            scene.add([kerb[0], top[0], top[1], kerb[1]], None, (0.62, 0.61, 0.60), Material.PAVEMENT)
            lip = edge(KERB + 0.16, 0.12)
            scene.add([top[0], lip[0], lip[1], top[1]], None, (0.60, 0.59, 0.57), Material.PAVEMENT)
            paving = PAVEMENTS[int(a / street.length * 8) % 3 if side > 0 else int(a / street.length * 5 + 1) % 3]
            scene.add([lip[0], wall_foot[0], wall_foot[1], lip[1]], paving, material=Material.PAVEMENT,
                      uv=[(0, w0), (1.15, w0), (1.15, w0 + 0.66), (0, w0 + 0.66)])  # fmt: skip
    size = 900.0
    for x in (-size, 0.0):
        for y in (-size, 0.0):
            square = [(x, y, -0.06), (x + size, y, -0.06), (x + size, y + size, -0.06), (x, y + size, -0.06)]
            scene.add(np.asarray(square) + np.array([56.0, 36.0, 0.0]), None, (0.30, 0.38, 0.18), Material.GRASS)
