"""Landmarks: church, railway viaduct, glass bridge, towers behind the first row, and the hills on the horizon."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from builder import Builder
from buildings import Plan, add_building
from facades import Style
from ground import FACADE
from paths import Street
from scene import WHITE, Colour, Material, Placement, Scene, above
from surfaces import Rng, shade

STONE: Colour = (0.70, 0.66, 0.58)
DOOR: Colour = (0.38, 0.20, 0.12)


def _church_style(height: float) -> Style:
    """Ashlar with tall arched windows."""
    return Style("stone", STONE, (0.3, 0.2, 0.15), (0.3, 0.28, 0.26), (0.35, 0.18, 0.10), 0.30, height, (2, 3), True,
                 False, True, (0.5, 0.4, 0.6))  # fmt: skip


def add_church(scene: Scene, rng: Rng, place: Placement) -> None:
    """A nave 11 m wide and a tower with clock and spire at its left front corner."""
    nave = Plan(11.0, 22.0, 1, "chapel", "front-gable", "church", ground_height=7.5)
    add_building(scene, rng, place, nave, _church_style(0.62), [])
    # A portal of nested arches in the middle of the nave, and a rose window above.
    for radius, y, tone in ((1.9, -0.10, shade(STONE, 1.15)), (1.6, -0.16, shade(STONE, 0.75)), (1.3, -0.20, DOOR)):
        turn = np.linspace(0, np.pi, 13)
        arch = [(5.5 + radius * np.cos(t), y, 2.6 + radius * np.sin(t)) for t in turn]
        scene.add(place([(5.5 - radius, y, 0), (5.5 + radius, y, 0), *arch]), None, tone)
    for x in (4.6, 5.1, 5.46, 5.9, 6.35):
        scene.box(place, (x, x + 0.06), (-0.23, -0.2), (0.1, 2.9), shade(DOOR, 0.6))
    turn = np.arange(16) * np.pi / 8
    for radius, y, tone in ((1.3, -0.10, shade(STONE, 1.15)), (1.1, -0.13, (0.25, 0.22, 0.38)), (0.4, -0.16, STONE)):
        disc = [(5.5 + radius * np.cos(t), y, 8.2 + radius * np.sin(t)) for t in turn]
        scene.add(place(disc), None, tone, emission=(0.5, 0.3, 0.5) if y == -0.13 else None)
    tower = Plan(5.0, 5.0, 5, "chapel", "flat", "tower", ground_height=4.0, storey_height=3.4)
    front = place.at(-4.2, -0.6)
    add_building(scene, rng, front, tower, _church_style(0.55), [])
    top = tower.height
    foot = front([2.5, 2.5, top + 0.5])
    corners = front([(-0.3, -0.3, top + 0.6), (5.3, -0.3, top + 0.6), (5.3, 5.3, top + 0.6), (-0.3, 5.3, top + 0.6)])
    tip = above(foot, 11.0)
    for i in range(4):
        scene.add([corners[i], corners[(i + 1) % 4], tip], None, (0.30, 0.44, 0.40), Material.ROOF)
    scene.beam(above(tip, -0.3), above(tip, 1.6), (0.06, 0.06), 4, (0.75, 0.62, 0.2))
    for side in (front, front.at(5, 0, 0, np.pi / 2), front.at(0, 5, 0, -np.pi / 2)):
        turn = np.arange(20) * np.pi / 10
        for radius, y, tone in ((1.25, -0.10, (0.85, 0.70, 0.25)), (1.1, -0.13, (0.95, 0.95, 0.92))):
            disc = [(2.5 + radius * np.cos(t), y, top - 2.0 + radius * np.sin(t)) for t in turn]
            scene.add(side(disc), None, tone, emission=shade(tone, 0.5))
        scene.box(side, (2.46, 2.54), (-0.17, -0.15), (top - 2.0, top - 1.1), (0.1, 0.1, 0.1))
        scene.box(side, (2.5, 3.1), (-0.17, -0.15), (top - 2.04, top - 1.95), (0.1, 0.1, 0.1))


def add_viaduct(scene: Scene, place: Placement) -> None:
    """A stone railway viaduct that crosses the street; ``place`` is the facade line on the right-hand side."""
    x = (-2.4, 2.4)
    span, rise, crown = 2 * FACADE, 6.6, 5.6
    tint = (0.92, 0.86, 0.78)
    for y in ((-0.8, 26.0), (-span - 26.0, -span + 0.8)):
        scene.box(place, x, y, (0, rise + 1.2), tint, "stonewall", tile=3.0)
    half = span / 2 - 0.8
    angles = np.linspace(0, np.pi, 13)
    arch = [(-span / 2 + half * np.cos(a), 3.2 + (crown - 3.2) * np.sin(a)) for a in angles]
    for (ya, za), (yb, zb) in pairwise(arch):
        for xx in x:
            face = [(xx, ya, za), (xx, yb, zb), (xx, yb, rise + 1.2), (xx, ya, rise + 1.2)]
            uv = [(q[1] / 3, q[2] / 3) for q in face]
            normal = place([np.sign(xx), 0, 0]) - place([0, 0, 0])
            scene.add(place(face), "stonewall", tint, uv=uv, shade_normal=normal)
        scene.add(place([(x[0], ya, za), (x[1], ya, za), (x[1], yb, zb), (x[0], yb, zb)]), "brickwall", WHITE)
    deck = rise + 1.2
    scene.add(place([(x[0], -span, deck), (x[1], -span, deck), (x[1], 0, deck), (x[0], 0, deck)]),
              None, (0.4, 0.38, 0.36), Material.PAVEMENT)  # fmt: skip
    for xx in x:
        scene.box(place, (xx - 0.2, xx + 0.2), (-span - 26, 26), (rise + 1.2, rise + 1.9), shade(STONE, 0.8))
    for xx in (x[0] - 0.06, x[1] + 0.06):
        sign = [(xx, -span / 2 - 0.9, 5.75), (xx, -span / 2 + 0.9, 5.75), (xx, -span / 2 + 0.9, 6.25),
                (xx, -span / 2 - 0.9, 6.25)]  # fmt: skip
        scene.add(place(sign), None, (0.95, 0.80, 0.10))


def add_skybridge(scene: Scene, street: Street, station: float) -> None:
    """A glass footbridge high above the street."""
    x, y = street.at(station, FACADE + 0.5)
    place = Placement((float(x), float(y), 0.0), float(street.heading(station)) + np.pi)
    length = 2 * FACADE + 1.0
    glass: Colour = (0.36, 0.50, 0.54)
    scene.box(place, (-1.3, 1.3), (-length, 0), (6.2, 6.5), (0.85, 0.35, 0.12))
    scene.box(place, (-1.2, 1.2), (-length, 0), (6.5, 8.6), glass, emission=(0.5, 0.42, 0.25))
    scene.box(place, (-1.3, 1.3), (-length, 0), (8.6, 8.9), (0.85, 0.35, 0.12))
    for i in range(11):
        yy = -length * i / 10
        scene.box(place, (-1.26, 1.26), (yy - 0.08, yy + 0.08), (6.5, 8.6), (0.85, 0.85, 0.85))


def add_towers(build: Builder) -> None:
    """Taller blocks behind the first row and a chimney: marks seen over the roofs."""
    spots = [(150, 12, "panel", 8), (70, -34, "glass", 7), (24, 112, "panel", 7), (-48, 18, "brick", 6),
             (96, 108, "plaster", 7), (150, 62, "glass", 9), (-2, -38, "panel", 6), (40, 44, "brick", 6),
             (88, 34, "glass", 6), (18, 22, "plaster", 5)]  # fmt: skip
    for x, y, kind, storeys in spots:
        build(Placement((float(x), float(y), 0.0), 0.3 * x), 12.0, 11.0, kind, storeys=storeys, base="plain")
    scene = build.scene
    for i in range(8):
        tint: Colour = (0.78, 0.22, 0.18) if i % 2 else (0.92, 0.90, 0.88)
        foot = np.array([-70.0, 90.0, 6.0 * i])
        scene.beam(foot, above(foot, 6.0), (2.4 - 0.15 * i, 2.25 - 0.15 * i), 10, tint)
    foot = np.array([190.0, -60.0, 0.0])
    scene.beam(foot, above(foot, 60.0), (2.0, 1.2), 8, (0.8, 0.8, 0.8))
    scene.beam(above(foot, 40.0), above(foot, 46.0), (5.0, 7.0), 10, (0.75, 0.75, 0.78), cap=True)
    scene.beam(above(foot, 60.0), above(foot, 80.0), (0.5, 0.1), 6, (0.85, 0.2, 0.15))


def add_hills(scene: Scene, rng: Rng) -> None:
    """Two rings of wooded hills; far enough to be a backdrop, near enough to shift a little."""
    centre = np.array([56.0, 36.0])
    for radius, low, high, tint in ((560.0, 45.0, 110.0, (0.30, 0.38, 0.36)), (330.0, 8.0, 38.0, (0.24, 0.33, 0.17))):
        count = 120
        angle = np.arange(count) * 2 * np.pi / count
        wave = sum(np.sin(k * angle + rng.uniform(0, 6)) / k**0.6 for k in (2, 3, 5, 8, 13, 21))
        wave = (wave - wave.min()) / (wave.max() - wave.min())
        tops = low + (high - low) * wave
        ring = centre + radius * np.column_stack([np.cos(angle), np.sin(angle)])
        for i in range(count):
            j = (i + 1) % count
            tone = shade(tint, float(rng.uniform(0.92, 1.08)))
            scene.add([[*ring[j], -1.0], [*ring[i], -1.0], [*ring[i], tops[i]], [*ring[j], tops[j]]], None, tone,
                      Material.HILL)  # fmt: skip
