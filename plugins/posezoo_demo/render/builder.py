"""Buildings one after another, each with a name, a style and texts of its own."""

from __future__ import annotations

from buildings import Plan, add_building
from facades import draw_style
from scene import Placement, Scene
from surfaces import Rng

SHOPS = [
    "BAKERY", "FLORA", "BOOKS", "CAFE LUNA", "OPTICS", "TOYS", "PHARMACY", "BARBER", "VINYL", "FISH & CO", "TAILOR",
    "HOTEL STERN", "PIZZA", "CHEESE", "GARDEN", "CINEMA", "RADIO", "SHOES", "GALLERY", "TEA HOUSE", "BICYCLES",
    "PIANOS", "JEWELS", "BANK", "DELI", "SPORTS", "LAMPS", "PAPER", "CAKES", "MAPS", "WATCHES", "NOODLES", "HATS",
    "TOOLS", "MUSEUM", "PETS", "KEYS", "TAPAS", "FRAMES", "COFFEE", "SALON", "ARCADE", "STUDIO 9", "GRILL", "WOOL",
    "SPICES", "CANDLES", "ATLAS", "POSTERS", "OLIVE", "CERAMICS", "NORDIC", "ROSES", "DENTIST", "MARINA", "SILK",
]  # fmt: skip
ROOFS = ["gable", "front-gable", "hip", "gable", "flat", "front-gable"]


class Builder:
    """Adds buildings one after another, so that each gets its own name, style and texts."""

    def __init__(self, scene: Scene, rng: Rng) -> None:
        self.scene, self.rng, self.count = scene, rng, 0
        self.texts = [str(t) for t in rng.permutation(SHOPS)]

    def __call__(self, place: Placement, width: float, depth: float, kind: str, **fixed: object) -> None:
        """Add one building; ``fixed`` overrides what would be drawn at random."""
        rng = self.rng
        self.count += 1
        modern = kind in ("glass", "panel", "metal")
        options: dict[str, object] = {
            "storeys": int(rng.integers(3, 6)) if modern else int(rng.integers(2, 5)),
            "base": str(rng.choice(["shop", "shop", "house", "garage" if kind == "brick" else "house"])),
            "roof": "flat" if modern else ROOFS[(self.count + int(rng.integers(2))) % len(ROOFS)],
            "mural": False,
            "ground_height": float(rng.uniform(3.2, 3.9)),
            "storey_height": float(rng.uniform(2.75, 3.2)),
        }
        options.update(fixed)
        if options["base"] == "shop" and not self.texts:
            options["base"] = "house"
        plan = Plan(width=width, depth=depth, name=f"b{self.count}", **options)  # type: ignore[arg-type]
        add_building(self.scene, rng, place, plan, draw_style(rng, kind, self.count), self.texts)
