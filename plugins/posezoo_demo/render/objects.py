"""Things that stand in the street: trees, cars, lamp posts, benches, signs, stalls and a fountain."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scene import WHITE, Colour, Material, Placement, Scene, above
from surfaces import Rng, shade

CAR_COLOURS: list[Colour] = [
    (0.70, 0.10, 0.10), (0.12, 0.22, 0.48), (0.80, 0.81, 0.82), (0.14, 0.14, 0.16), (0.90, 0.88, 0.82),
    (0.16, 0.36, 0.26), (0.85, 0.62, 0.12), (0.45, 0.48, 0.52), (0.42, 0.60, 0.72), (0.45, 0.18, 0.12),
]  # fmt: skip
IRON: Colour = (0.16, 0.18, 0.18)
WOOD: Colour = (0.46, 0.30, 0.17)


def _leaves(scene: Scene, rng: Rng, centre: NDArray[np.float64], radius: float, count: int, green: Colour) -> None:
    """A cloud of leaf polygons on a ball; shaded as the ball so that crowns look round."""
    for _ in range(count):
        out = rng.normal(size=3)
        out /= np.linalg.norm(out)
        spot = centre + out * radius * rng.uniform(0.55, 1.0) * np.array([1.0, 1.0, 0.8])
        facing = out + 0.9 * rng.normal(size=3)
        facing /= np.linalg.norm(facing)
        side = np.cross(facing, rng.normal(size=3))
        side /= np.linalg.norm(side)
        up = np.cross(facing, side)
        size = radius * rng.uniform(0.11, 0.19)
        corners = [spot - side * size, spot - up * size * 0.6, spot + side * size, spot + up * size * 0.6]
        tone = float(rng.uniform(0.72, 1.25)) * (0.8 + 0.25 * float(out[2]))
        scene.add(corners, None, shade(green, tone), Material.LEAF, shade_normal=out)


def tree(scene: Scene, rng: Rng, spot: tuple[float, float], height: float, kind: str = "broad") -> None:
    """A tree with a trunk and branches; its leaves lie in the layer that winter leaves out."""
    foot = np.array([spot[0], spot[1], 0.0])
    bark = shade((0.36, 0.29, 0.23) if kind != "birch" else (0.82, 0.80, 0.76), float(rng.uniform(0.8, 1.15)))
    green: Colour = (
        float(rng.uniform(0.22, 0.40)),
        float(rng.uniform(0.36, 0.46)),
        float(rng.uniform(0.12, 0.20)),
    )
    if kind == "fir":
        scene.beam(foot, above(foot, height), (0.2, 0.03), 6, bark, material=Material.BARK)
        for level in range(7):
            z = height * (0.12 + 0.12 * level)
            radius = height * 0.26 * (1 - level / 8)
            count = 11 - level // 2
            for i in range(count):
                a = 2 * np.pi * (i + 0.5 * (level % 2)) / count
                b = a + 2.2 * np.pi / count
                tip = above(foot, z + height * 0.17)
                p = foot + np.array([radius * np.cos(a), radius * np.sin(a), z - 0.05 * (i % 3)])
                q = foot + np.array([radius * 0.92 * np.cos(b), radius * 0.92 * np.sin(b), z])
                tone = shade((0.13, 0.27, 0.17), float(rng.uniform(0.75, 1.2)))
                normal = [np.cos(a), np.sin(a), 0.6]
                scene.add([p, q, tip], None, tone, Material.LEAF, shade_normal=np.asarray(normal) / 1.17)
        return
    top = height * 0.45
    scene.beam(foot, above(foot, top), (height * 0.028, height * 0.020), 7, bark, material=Material.BARK)
    crowns = []
    for i in range(7):
        angle = 2 * np.pi * i / 7 + rng.uniform(-0.3, 0.3)
        reach = height * (0.24 if i else 0.05) * rng.uniform(0.8, 1.15)
        start = above(foot, top * rng.uniform(0.75, 1.0))
        end = above(foot, height * rng.uniform(0.62, 0.80))
        end[:2] += reach * np.cos(angle), reach * np.sin(angle)
        if i == 0:
            end = above(foot, height * 0.86)
        scene.beam(start, end, (height * 0.014, height * 0.006), 5, bark, material=Material.BARK)
        crowns.append(end)
        for _ in range(4):
            twig = end + rng.normal(size=3) * height * 0.085 + [0, 0, height * 0.07]
            scene.beam(end - (end - start) * rng.uniform(0, 0.5), twig, (height * 0.006, 0.01), 3, bark,
                       material=Material.BARK)  # fmt: skip
    before, scene.layer = scene.layer, "leaves"
    for end in crowns:
        _leaves(scene, rng, end, height * rng.uniform(0.17, 0.22), 85, green)
    scene.layer = before


def hedge(scene: Scene, rng: Rng, place: Placement, length: float, height: float = 1.0) -> None:
    """A clipped hedge along the local x axis."""
    scene.box(place, (0, length), (0, 0.7), (0, height), (0.15, 0.27, 0.11), "grass", Material.LEAF, tile=1.0)


def car(scene: Scene, rng: Rng, place: Placement) -> None:
    """A parked car, 4.2 m along local x, 1.75 m along local y."""
    colour = CAR_COLOURS[int(rng.integers(len(CAR_COLOURS)))]
    van = rng.random() < 0.22
    length, roof_z = (4.7, 2.0) if van else (float(rng.uniform(3.9, 4.4)), float(rng.uniform(1.42, 1.55)))
    cabin = (0.5, length - 0.2, 1.35, length - 0.25) if van else (1.05, length - 0.5, 1.75, length - 1.05)
    belt, low = (1.15 if van else 0.92), 0.32
    body = [(0.0, low), (length, low), (length, belt - 0.1), (length - 0.15, belt), (0.95, belt), (0.08, belt - 0.22)]
    glass: Colour = (0.16, 0.20, 0.23)
    w = 1.75
    for y, flip in ((0.0, False), (w, True)):
        side = [(x, y, z) for x, z in body]
        pane = [(cabin[0], y, belt), (cabin[1], y, belt), (cabin[3], abs(y - 0.18), roof_z),
                (cabin[2], abs(y - 0.18), roof_z)]  # fmt: skip
        scene.add(place(side[::-1] if flip else side), None, colour, Material.PAINT)
        pane[2] = (cabin[3], y + (0.18 if y == 0 else -0.18), roof_z)
        pane[3] = (cabin[2], y + (0.18 if y == 0 else -0.18), roof_z)
        scene.add(place(pane[::-1] if flip else pane), None, glass, Material.PAINT)
        middle = (cabin[2] + cabin[3]) / 2
        inset = 0.02 if y == 0 else -0.02
        top = y + 8 * inset
        post = [(middle - 0.07, y - inset, belt), (middle + 0.07, y - inset, belt),
                (middle + 0.07, top, roof_z), (middle - 0.07, top, roof_z)]  # fmt: skip
        scene.add(place(post), None, colour, Material.PAINT)
        for x in (0.80, length - 0.85):
            turn = np.arange(12) * np.pi / 6
            for radius, tone, lift in ((0.33, (0.06, 0.06, 0.065), 0.03), (0.19, (0.55, 0.56, 0.58), 0.045)):
                yy = y - lift if y == 0 else y + lift
                scene.add(place([(x + radius * np.cos(t), yy, 0.33 + radius * np.sin(t)) for t in turn]), None,
                          tone, Material.PAINT)  # fmt: skip
    rim = [*body[2:], body[0]]
    for (xa, za), (xb, zb) in zip([body[1], *rim[:-1]], rim, strict=True):
        scene.add(
            place([(xa, 0, za), (xa, w, za), (xb, w, zb), (xb, 0, zb)]), None, shade(colour, 0.93), Material.PAINT
        )
    scene.add(place([(cabin[0], 0, belt), (cabin[2], 0.18, roof_z), (cabin[2], w - 0.18, roof_z), (cabin[0], w, belt)]),
              None, glass, Material.PAINT)  # fmt: skip
    scene.add(place([(cabin[1], w, belt), (cabin[3], w - 0.18, roof_z), (cabin[3], 0.18, roof_z), (cabin[1], 0, belt)]),
              None, glass, Material.PAINT)  # fmt: skip
    scene.add(place([(cabin[2], 0.18, roof_z), (cabin[3], 0.18, roof_z), (cabin[3], w - 0.18, roof_z),
                     (cabin[2], w - 0.18, roof_z)]), None, colour, Material.PAINT)  # fmt: skip
    for y in (0.12, w - 0.42):
        scene.box(place, (-0.03, 0.06), (y, y + 0.3), (0.52, 0.68), (0.9, 0.9, 0.85))
        scene.box(place, (length - 0.06, length + 0.03), (y, y + 0.3), (0.6, 0.78), (0.6, 0.05, 0.05))
    scene.box(place, (-0.04, 0.0), (w / 2 - 0.26, w / 2 + 0.26), (0.42, 0.54), (0.92, 0.92, 0.88))
    scene.box(place, (length, length + 0.04), (w / 2 - 0.26, w / 2 + 0.26), (0.5, 0.62), (0.92, 0.92, 0.88))


def lamp(scene: Scene, place: Placement, modern: bool) -> None:
    """A street lamp; its head shines and is a light source in the evening."""
    foot = place([0, 0, 0])
    glow: Colour = (1.0, 0.82, 0.5)
    if modern:
        scene.beam(foot, above(foot, 6.2), (0.10, 0.06), 6, (0.5, 0.52, 0.54))
        scene.beam(place([0, 0, 6.2]), place([0, -1.5, 6.45]), (0.05, 0.05), 5, (0.5, 0.52, 0.54))
        scene.box(place, (-0.13, 0.13), (-2.0, -1.3), (6.38, 6.5), (0.75, 0.75, 0.72), emission=glow)
        x, y, z = place([0, -1.6, 6.2])
    else:
        scene.beam(foot, above(foot, 3.6), (0.11, 0.05), 6, IRON)
        scene.box(place, (-0.17, 0.17), (-0.17, 0.17), (3.6, 4.05), (0.92, 0.90, 0.80), emission=glow)
        scene.beam(above(foot, 4.05), above(foot, 4.4), (0.3, 0.0), 4, IRON)
        x, y, z = place([0, 0, 3.7])
    scene.lamps.append((float(x), float(y), float(z)))


def shed(scene: Scene, place: Placement) -> None:
    """A garden shed 3 m x 1.7 m with a door, a small window and a felt roof."""
    scene.box(place, (0, 3.0), (0, 1.7), (0, 2.2), (0.72, 0.50, 0.34), "planks", tile=2.0)
    scene.box(place, (-0.2, 3.2), (-0.2, 1.8), (2.2, 2.34), (0.3, 0.32, 0.32), material=Material.ROOF)
    scene.box(place, (0.35, 1.2), (-0.05, 0), (0, 1.95), (0.16, 0.34, 0.30))
    scene.box(place, (1.7, 2.6), (-0.05, 0), (1.0, 1.7), (0.92, 0.92, 0.88))
    scene.box(place, (1.78, 2.12), (-0.07, 0), (1.08, 1.62), (0.22, 0.27, 0.31), emission=(0.6, 0.45, 0.2))
    scene.box(place, (2.18, 2.52), (-0.07, 0), (1.08, 1.62), (0.22, 0.27, 0.31), emission=(0.6, 0.45, 0.2))


def bicycle(scene: Scene, place: Placement, colour: Colour) -> None:
    """A bicycle along local x."""
    for x in (0.0, 1.05):
        turn = np.arange(15) * 2 * np.pi / 14
        ring = place([(x + 0.33 * np.cos(t), 0, 0.34 + 0.33 * np.sin(t)) for t in turn])
        for a, b in pairwise(ring):
            scene.beam(a, b, (0.025, 0.025), 3, (0.08, 0.08, 0.09))
    bars = [(0, 0.34, 0.25, 0.85), (0.25, 0.85, 0.75, 0.82), (0.75, 0.82, 0.48, 0.34), (0.48, 0.34, 0.25, 0.8),
            (0.48, 0.34, 1.05, 0.34), (1.05, 0.34, 0.75, 0.9), (0.25, 0.85, 0.18, 1.02)]  # fmt: skip
    for xa, za, xb, zb in bars:
        scene.beam(place([xa, 0, za]), place([xb, 0, zb]), (0.025, 0.025), 4, colour)
    scene.box(place, (0.65, 0.9), (-0.07, 0.07), (0.9, 0.96), (0.1, 0.08, 0.07))


def bench(scene: Scene, place: Placement) -> None:
    """A bench that looks along local -y."""
    for x in (0.1, 1.6):
        scene.box(place, (x, x + 0.08), (0, 0.5), (0, 0.42), IRON)
    for i in range(3):
        scene.box(place, (0, 1.8), (0.02 + 0.17 * i, 0.15 + 0.17 * i), (0.42, 0.47), WOOD)
        scene.box(place, (0, 1.8), (0.52, 0.56), (0.52 + 0.15 * i, 0.63 + 0.15 * i), WOOD)


def sign_post(scene: Scene, rng: Rng, place: Placement) -> None:
    """A traffic sign on a post."""
    scene.beam(place([0, 0, 0]), place([0, 0, 2.7]), (0.035, 0.035), 5, (0.6, 0.6, 0.6))
    kind = int(rng.integers(4))
    sides, tone, inner = [
        (16, (0.75, 0.08, 0.08), (0.95, 0.95, 0.95)),
        (16, (0.08, 0.22, 0.60), (0.9, 0.9, 0.95)),
        (3, (0.75, 0.08, 0.08), (0.95, 0.95, 0.95)),
        (8, (0.70, 0.06, 0.06), (0.70, 0.06, 0.06)),
    ][kind]
    turn = np.arange(sides) * 2 * np.pi / sides + np.pi / 2 + (np.pi / 8 if sides == 8 else 0)
    for radius, colour, y in ((0.36, tone, -0.06), (0.24, inner, -0.08)):
        scene.add(place([(radius * np.cos(t), y, 2.45 + radius * np.sin(t)) for t in turn]), None, colour)


def bin_or_box(scene: Scene, rng: Rng, place: Placement) -> None:
    """A litter bin, a post box, a planter or a junction box."""
    kind = int(rng.integers(4))
    if kind == 0:
        scene.beam(place([0, 0, 0]), place([0, 0, 0.9]), (0.22, 0.26), 8, (0.18, 0.32, 0.22), cap=True)
    elif kind == 1:
        scene.box(place, (-0.25, 0.25), (-0.2, 0.2), (0.35, 1.45), (0.85, 0.65, 0.08))
        scene.box(place, (-0.05, 0.05), (-0.05, 0.05), (0, 0.35), IRON)
    elif kind == 2:
        scene.box(place, (-0.6, 0.6), (-0.3, 0.3), (0, 0.5), (0.62, 0.58, 0.52))
        top = place([0, 0, 0.62])
        _leaves(scene, rng, top, 0.45, 24, (0.30, 0.44, 0.18))
        _leaves(scene, rng, above(top, 0.15), 0.4, 10, (0.8, 0.25, 0.35))
    else:
        scene.box(place, (-0.4, 0.4), (-0.2, 0.2), (0, 1.25), (0.50, 0.54, 0.52))


def stall(scene: Scene, rng: Rng, place: Placement, colour: Colour) -> None:
    """A market stall 2.6 m x 2 m with a striped canopy and crates of fruit."""
    for x in (0.05, 2.5):
        for y in (0.05, 1.9):
            scene.box(place, (x, x + 0.06), (y, y + 0.06), (0, 2.2 if y < 1 else 2.6), WOOD)
    for i in range(6):
        a, b = 2.6 * i / 6, 2.6 * (i + 1) / 6
        tint = colour if i % 2 == 0 else (0.93, 0.92, 0.88)
        scene.add(place([(a, -0.4, 2.1), (b, -0.4, 2.1), (b, 2.0, 2.65), (a, 2.0, 2.65)]), None, tint)
        scene.add(place([(a, -0.4, 1.88), (b, -0.4, 1.88), (b, -0.4, 2.1), (a, -0.4, 2.1)]), None, tint)
    scene.box(place, (0, 2.6), (0.1, 1.0), (0, 0.85), shade(WOOD, 1.2))
    for i in range(5):
        tone: Colour = (float(rng.uniform(0.5, 0.95)), float(rng.uniform(0.15, 0.8)), float(rng.uniform(0.05, 0.3)))
        scene.box(place, (0.08 + 0.5 * i, 0.5 + 0.5 * i), (0.15, 0.9), (0.85, 1.02), tone)


def fountain(scene: Scene, place: Placement) -> None:
    """An octagonal basin with a column."""
    stone: Colour = (0.66, 0.63, 0.57)
    foot = place([0, 0, 0])
    scene.beam(foot, above(foot, 0.6), (1.7, 1.75), 8, stone, "fountain")
    turn = np.arange(8) * np.pi / 4
    for radius, z, tint in ((1.75, 0.6, stone), (1.5, 0.61, (0.22, 0.36, 0.42))):
        scene.add(place([(radius * np.cos(t), radius * np.sin(t), z) for t in turn]), None, tint)
    scene.beam(above(foot, 0.5), above(foot, 2.2), (0.28, 0.2), 8, stone, "fountain")
    scene.beam(above(foot, 1.6), above(foot, 1.8), (0.3, 0.75), 8, stone, cap=True)
    scene.beam(above(foot, 2.2), above(foot, 2.9), (0.3, 0.0), 8, (0.35, 0.45, 0.36))


def statue(scene: Scene, place: Placement) -> None:
    """A bronze figure on a plinth."""
    bronze: Colour = (0.25, 0.38, 0.32)
    scene.box(place, (-0.8, 0.8), (-0.8, 0.8), (0, 0.3), (0.6, 0.58, 0.54), "fountain")
    scene.box(place, (-0.5, 0.5), (-0.5, 0.5), (0.3, 1.7), WHITE, "fountain")
    foot = place([0, 0, 1.7])
    scene.beam(foot, above(foot, 1.3), (0.32, 0.24), 8, bronze)
    scene.beam(above(foot, 1.3), above(foot, 1.45), (0.24, 0.1), 8, bronze)
    scene.beam(above(foot, 1.45), above(foot, 1.8), (0.15, 0.13), 8, bronze, cap=True)
    scene.beam(place([0.2, 0, 2.9]), place([0.75, -0.3, 3.5]), (0.08, 0.06), 6, bronze)
