"""The layout of the town: street, rows of buildings, squares, yard, park, viaduct and the hills around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from builder import Builder
from ground import FACADE, add_street, box_texture
from landmarks import add_church, add_hills, add_skybridge, add_towers, add_viaduct
from objects import bench, bicycle, bin_or_box, car, fountain, hedge, lamp, shed, sign_post, stall, statue, tree
from paths import Street, Volume
from scene import Colour, Material, Placement, Scene
from surfaces import Rng

# Wall kinds of the districts, by the street's corner at which each begins.
DISTRICTS = [
    ["plaster", "timber", "plaster", "timber", "stone"],
    ["glass", "panel", "metal", "plaster", "panel"],
    ["brick", "brick", "metal", "brick", "panel"],
    ["stone", "plaster", "stone", "timber"],
    ["brick", "plaster", "brick", "siding"],
    ["siding", "plaster", "siding", "timber"],
    ["siding", "plaster", "brick", "glass"],
    ["timber", "stone", "plaster", "brick"],
]


@dataclass
class Town:
    """The finished town."""

    scene: Scene
    street: Street
    volumes: dict[str, Volume]


def _row(build: Builder, street: Street, start: float, end: float, side: float, depth: float) -> None:
    """A closed row of buildings between two stations; ``side`` is +1 right, -1 left of the street."""
    rng = build.rng
    s = np.arange(start, end + 0.05, 0.1)
    line = street.at(s, np.full_like(s, side * FACADE))
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    total = float(along[-1])
    count = max(1, round(total / 9.0))
    widths = rng.uniform(0.7, 1.3, count)
    cuts = np.concatenate([[0.0], np.cumsum(widths) / widths.sum() * total])
    corner_stations = [street.nearest(np.asarray(c, dtype=float))[0] for c in street.corners]
    for i in range(count):
        a, b = (np.array([np.interp(c, along, line[:, k]) for k in (0, 1)]) for c in cuts[i : i + 2])
        first, last = (b, a) if side > 0 else (a, b)
        step = last - first
        middle = float(np.mod(np.interp((cuts[i] + cuts[i + 1]) / 2, along, s), street.length))
        district = int(np.argmin([np.mod(middle - c, street.length) for c in corner_stations]))
        kinds = DISTRICTS[district]
        place = Placement((float(first[0]), float(first[1]), 0.0), float(np.arctan2(step[1], step[0])))
        width = float(np.linalg.norm(step))
        fixed: dict[str, object] = {"mural": True, "storeys": 3} if build.count % 13 == 4 else {}
        build(place, width, depth, kinds[(build.count + (side > 0)) % len(kinds)], **fixed)


def _rows(build: Builder, street: Street, gaps: list[tuple[float, float]], side: float, depth: float) -> None:
    """All rows of one side, between the gaps."""
    ordered = sorted(gaps)
    for (_, start), (end, _) in zip(ordered, [*ordered[1:], (ordered[0][0] + street.length, 0.0)], strict=True):
        _row(build, street, start, end, side, depth)


def _furnish(scene: Scene, rng: Rng, street: Street, keep_clear: list[tuple[float, float]]) -> None:
    """Parked cars, lamps, trees and small things along both pavements; never inside the lanes."""
    bend = np.abs(np.unwrap(street.heading(np.arange(0, street.length, 1.0))))
    for side in (1.0, -1.0):
        s = 3.0 if side > 0 else 7.0
        step_number = 0
        while s < street.length - 4:
            s += float(rng.uniform(3.2, 5.2))
            step_number += 1
            if any(a - 1 < s < b + 1 for a, b in keep_clear):
                continue
            heading = float(street.heading(s))
            out = heading + (np.pi if side > 0 else 0.0)
            x, y = street.at(s, side * 5.35)
            place = Placement((float(x), float(y), 0.12), out)
            roll = rng.random()
            if step_number % 5 == 0:
                lamp(scene, place.at(0, 0, 0, np.pi if 50 < s < 130 else 0.0), 50 < s < 130)
            elif roll < 0.26:
                kind = "birch" if 210 < s < 260 else "fir" if rng.random() < 0.12 else "broad"
                tree(scene, rng, (float(x), float(y)), float(rng.uniform(4.8, 6.6)), kind)
            elif roll < 0.40:
                sign_post(scene, rng, place)
            elif roll < 0.58:
                bin_or_box(scene, rng, place.at(0, 0.3))
            elif roll < 0.70:
                bench(scene, place.at(-0.9, 1.0))
            turning = abs(bend[int(s + 3) % len(bend)] - bend[int(s - 3) % len(bend)])
            if rng.random() < 0.62 and turning < 0.06:
                x, y = street.at(s, side * 2.98)
                car(scene, rng, Placement((float(x), float(y), 0.0), out))
                s += 1.6


def _square(build: Builder, frame: Placement, width: float, depth: float, kinds: list[str], row: float,
            far: bool = True, near: bool = False, **fixed: object) -> None:  # fmt: skip
    """Buildings around a square: left and right beyond ``row`` metres, and the far (and near) side."""
    half, rng = width / 2, build.rng
    span = depth - row
    if span > 3:
        build(frame.at(-half, row, 0, np.pi / 2), span, 7.0, kinds[0], **fixed)
        build(frame.at(half, depth, 0, -np.pi / 2), span, 7.0, kinds[1], **fixed)
    if far:
        cut = float(rng.uniform(0.4, 0.6)) * width
        build(frame.at(-half, depth), cut, 7.0, kinds[2], storeys=3, **fixed)
        build(frame.at(-half + cut, depth), width - cut, 7.0, kinds[3], storeys=4, **fixed)
    if near:
        cut = float(rng.uniform(0.4, 0.6)) * width
        build(frame.at(half, 0, 0, np.pi), cut, 6.0, kinds[4], storeys=2, **fixed)
        build(frame.at(half - cut, 0, 0, np.pi), width - cut, 6.0, kinds[5], storeys=3, **fixed)


def _pave(scene: Scene, frame: Placement, x: tuple[float, float], y: tuple[float, float], texture: str,
          material: Material = Material.PAVEMENT, z: float = 0.12, tile: float = 3.0) -> None:  # fmt: skip
    """A flat ground rectangle of a local frame."""
    corners = [(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)]
    scene.add(frame(corners), texture, material=material, repeat=((x[1] - x[0]) / tile, (y[1] - y[0]) / tile))


def build_town(seed: int = 7) -> Town:
    """Build the whole town from one seed. Long: a list of what stands where, in the order of the drawn numbers."""
    rng = np.random.default_rng(seed)
    scene, street = Scene(), Street()
    build = Builder(scene, rng)
    box_texture(scene, rng)

    def gap(x: float, y: float, half: float) -> tuple[float, float]:
        s = street.nearest(np.array([x, y]))[0]
        return s - half, s + half

    def frame(span: tuple[float, float], side: float = 1.0) -> Placement:
        """Local frame of a gap: x along the facade line, y away from the street, origin in the middle."""
        a, b = street.at(span[0], side * FACADE), street.at(span[1], side * FACADE)
        step = (a - b) if side > 0 else (b - a)
        x, y = (a + b) / 2
        return Placement((float(x), float(y), 0.0), float(np.arctan2(step[1], step[0])))

    market, church, park = gap(26, -3, 10), gap(110, 58, 9), gap(1, 67, 13)
    viaduct, lane = gap(77, 69, 3.0), gap(84, -1, 3.5)
    garden, court = gap(-6, 26, 5), gap(118, 24, 4.5)
    add_street(scene, rng, street)
    _rows(build, street, [market, church, park, viaduct, lane], 1.0, 9.0)
    _rows(build, street, [viaduct, garden, court], -1.0, 7.5)

    clear = [viaduct, (market[0] + 2, market[1] - 2), (church[0] + 2, church[1] - 2)]
    _furnish(scene, rng, street, clear)
    volumes = {}

    f = frame(market)
    _pave(scene, f, (-11, 11), (-0.8, 18), "cobbles")
    _square(build, f, 20, 17, ["timber", "plaster", "plaster", "timber"], 9.0)
    fountain(scene, f.at(0, 8.5, 0.12))
    stalls = [
        (-9.3, 13.5, np.pi / 2, (0.75, 0.15, 0.12)),
        (3.5, 14.2, 0.0, (0.12, 0.40, 0.25)),
        (-5.5, 14.2, 0.0, (0.15, 0.25, 0.60)),
        (9.3, 7.5, -np.pi / 2, (0.90, 0.62, 0.10)),
    ]
    for x, y, turn, tint in stalls:
        stall(scene, rng, f.at(x, y, 0.12, turn), tint)
    for x, y in ((-8.2, 3.0), (8.4, 2.6)):
        tree(scene, rng, tuple(f([x, y, 0])[:2]), 6.0)
    lamp(scene, f.at(7.6, 12.4, 0.12), False)
    bench(scene, f.at(-8.6, 6.6, 0.12, np.pi / 2))
    volumes["market-square"] = Volume(tuple(f([0, 8.0, 0])[:2]), f.yaw, (6.0, 4.3), float(np.degrees(f.yaw)))

    f = frame(church)
    _pave(scene, f, (-10, 10), (-0.8, 30), "setts")
    _square(build, f, 18, 14, ["stone", "brick"], 9.0, far=False)
    add_church(scene, rng, f.at(-4.0, 13.0))
    statue(scene, f.at(-6.6, 8.6, 0.12))
    tree(scene, rng, tuple(f([7.4, 9.6, 0])[:2]), 7.0)
    tree(scene, rng, tuple(f([-7.2, 2.4, 0])[:2]), 5.4, "birch")
    lamp(scene, f.at(7.6, 3.0, 0.12), False)
    bench(scene, f.at(5.6, 11.0, 0.12))
    volumes["church-square"] = Volume(tuple(f([1.0, 5.2, 0])[:2]), f.yaw, (4.8, 3.2), float(np.degrees(f.yaw)))

    f = Placement((58.0, 26.5, 0.0), 0.15)
    _pave(scene, f, (-8, 8), (-1, 11), "clinker")
    yard_kinds = ["brick", "plaster", "timber", "brick", "siding", "panel"]
    _square(build, f, 14, 10.5, yard_kinds, 0.0, near=True, base="house")
    tree(scene, rng, tuple(f([-5.2, 8.6, 0])[:2]), 6.2)
    for i in range(4):
        tone: Colour = ((0.16, 0.36, 0.22), (0.20, 0.26, 0.50), (0.62, 0.50, 0.12), (0.22, 0.22, 0.24))[i]
        scene.box(f.at(5.6, 2.0 + 0.85 * i, 0.12), (0, 0.7), (0, 0.7), (0, 1.1), tone)
    shed(scene, f.at(1.2, 8.5, 0.12))
    bicycle(scene, f.at(-2.6, 9.9, 0.12), (0.75, 0.15, 0.12))
    bicycle(scene, f.at(3.2, 0.5, 0.12), (0.15, 0.35, 0.60))
    for x, tone in ((-4.0, (0.62, 0.34, 0.22)), (-1.0, (0.55, 0.56, 0.52))):
        scene.beam(f([x, 10.1, 0.1]), f([x, 10.1, 0.8]), (0.3, 0.38), 8, tone, cap=True)
    bench(scene, f.at(-6.4, 3.4, 0.12, np.pi / 2))
    lamp(scene, f.at(-3.0, 0.7, 0.12), False)
    for i in range(6):
        cloth: Colour = (float(rng.uniform(0.5, 1)), float(rng.uniform(0.3, 1)), float(rng.uniform(0.3, 1)))
        scene.add(f([(-6 + 1.9 * i, 5.1, 3.2), (-5.1 + 1.9 * i, 5.1, 3.2), (-5.1 + 1.9 * i, 5.1, 4.1),
                     (-6 + 1.9 * i, 5.1, 4.1)]), None, cloth)  # fmt: skip
    scene.beam(f([-7, 5.1, 4.12]), f([7, 5.1, 4.12]), (0.015, 0.015), 3, (0.8, 0.8, 0.8))
    volumes["yard"] = Volume(tuple(f([0.2, 4.9, 0])[:2]), f.yaw, (3.6, 2.2), float(np.degrees(f.yaw)))

    f = frame(park)
    _pave(scene, f, (-15, 15), (-0.9, 34), "grass", Material.GRASS, 0.121)
    _pave(scene, f, (-2, 1), (-0.9, 30), "gravel", z=0.14)
    hedge(scene, rng, f.at(-12.6, 0.3, 0.12), 10.0)
    hedge(scene, rng, f.at(1.8, 0.3, 0.12), 10.6)
    trees = [(-10, 6, 8, "broad"), (-5, 14, 9, "birch"), (5, 7, 7.5, "fir"), (10, 12, 9.5, "broad"),
             (-12, 18, 9, "fir"), (6, 20, 8.5, "broad"), (-6, 25, 9, "fir"), (12, 24, 8, "birch")]  # fmt: skip
    for x, y, h, kind in trees:
        tree(scene, rng, tuple(f([x, y, 0])[:2]), h, kind)
    for i in range(8):
        a, r = i * np.pi / 4, 2.2
        tone = ((0.8, 0.2, 0.15), (0.95, 0.75, 0.2))[i % 2]
        scene.beam(f([-6 + r * np.cos(a), 8 + r * np.sin(a), 0.1]), f([-6, 8, 3.4]), (0.06, 0.06), 5, tone)
    bench(scene, f.at(2.0, 3.0, 0.12))

    for span, wall_kind in ((garden, "brickwall"), (court, "stonewall")):
        f = frame(span, -1.0)
        half = (span[1] - span[0]) / 2 + 1
        scene.box(f, (-half, -1.2), (0.0, 0.4), (0, 2.0), texture=wall_kind, tile=3.0)
        scene.box(f, (1.2, half), (0.0, 0.4), (0, 2.0), texture=wall_kind, tile=3.0)
        for x in (-1.4, 1.0):
            scene.box(f, (x, x + 0.45), (-0.1, 0.5), (0, 2.6), texture=wall_kind, tile=3.0)
        for x, y in ((-3.0, 4.0), (2.6, 5.5), (0.5, 11.0)):
            tree(scene, rng, tuple(f([x, y, 0])[:2]), float(rng.uniform(6, 8)), "fir" if x > 2 else "broad")
    f = frame(lane)
    _pave(scene, f, (-4, 4), (-0.8, 40), "cobbles")
    build(f.at(-7, 38), 14, 9, "plaster", storeys=4, roof="front-gable")
    build(f.at(-3.6, 9, 0, np.pi / 2), 12, 8, "brick")
    build(f.at(3.6, 24, 0, -np.pi / 2), 15, 8, "stone")

    add_viaduct(scene, frame(viaduct))
    add_skybridge(scene, street, street.nearest(np.array([100.0, 2.0]))[0])
    add_towers(build)
    add_hills(scene, rng)
    return Town(scene, street, volumes)
