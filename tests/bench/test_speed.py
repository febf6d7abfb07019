"""The speed benchmark: its rows, what each variant trains, and the whole of it on small models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from naming import naming

from posezoo.base.errors import UsageError
from posezoo.bench import speed as speed_room
from posezoo.bench.speed import BATCH, RANK, _rows, inference_step, speed, training_step
from posezoo.catalogue import entries, plugins
from posezoo.zoo.blueprint import blueprint
from posezoo.zoo.build import build

TINY: dict[str, Any] = {"backbone": "test_efficientnet.r160_in1k", "resize": 64, "crop": 64, "hidden": 8}
MS: dict[str, Any] = {**TINY, "width": 16, "feedforward": 16, "position_layers": 1, "orientation_layers": 1}


def test_a_row_compares_with_the_published_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "target_speeds", lambda: {"m": {"step, ours": 2.0}})
    figures = {"as published": [4.0, 6.0, 9.0], "ours": [2.0, 2.0, 9.0]}
    (row,) = _rows("m", "step", "ms", figures, 1000)
    assert row == {
        **{"model": "m", "what": "step", "variant": "ours", "figure": 2000.0, "as published": 6000.0},
        **{"unit": "ms", "ratio": 2.0, "wanted": 2.0},
    }
    (row,) = _rows("m", "memory", "MB", {"as published": [8e6], "ours": [2e6]}, 1e-6, less=True)
    assert (row["figure"], row["ratio"], row["wanted"]) == (2.0, 0.25, "")


def test_what_is_wanted_is_measured() -> None:
    variants = {"ours", "optimized", f"rank={RANK}"}
    whats = {f"inference B={BATCH}", f"training step B={BATCH}", f"phase 2 step B={BATCH}"}
    whats |= {"training peak memory"}
    for name, wanted in entries.target_speeds().items():
        assert blueprint(name).name.arch in plugins.models()
        assert {tuple(key.split(", ")) for key in wanted} <= {(what, variant) for what in whats for variant in variants}


@pytest.mark.parametrize("variant", ["as published", "ours"])
def test_a_training_step_trains_every_scene(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_room, "raise_malloc_thresholds", lambda: None)  # it is for the rest of the process
    made: list[torch.optim.Adam] = []
    adam = torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda *given, **more: made.append(adam(*given, **more)) or made[-1])
    step = training_step("all", variant, "ms-transformer+hyper", {**MS, "hyper": {"rank": 4}})
    (optimiser,) = made
    queries = [p for group in optimiser.param_groups for p in group["params"] if p.shape == (7, 16)]
    before = [query.detach().clone() for query in queries]
    step()
    assert len(queries) == 2
    assert all((old != new).any(dim=1).all() for old, new in zip(before, queries, strict=True))
    assert optimiser.defaults["fused"] == (variant == "ours")


@pytest.mark.parametrize("variant", ["as published", "ours"])
def test_a_step_of_phase_2_trains_one_head_and_ours_reads_kept_features(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed_room, "raise_malloc_thresholds", lambda: None)
    built: list[Any] = []
    make = build
    monkeypatch.setattr(speed_room, "build", lambda plan: built.append(make(plan)) or built[-1])
    monkeypatch.setattr(speed_room, "as_published", lambda model: model)
    step = training_step("position", variant, "ms-transformer+hyper", {**MS, "hyper": {"rank": 4}})
    (model,) = built
    passes: list[int] = []
    model.backbone.register_forward_hook(lambda *_: passes.append(1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step()
    after = model.state_dict()
    assert {name.partition(".")[0] for name in before if not torch.equal(after[name], before[name])} == {
        "position_head"
    }
    assert len(passes) == (0 if variant == "ours" else 1)


def test_inference_gives_the_same_poses_in_every_variant() -> None:
    positions = []
    for variant in ("as published", "ours", "optimized"):
        torch.manual_seed(0)
        positions.append(inference_step(2, variant, "ms-transformer", MS)().position)
    for position in positions[1:]:
        torch.testing.assert_close(position, positions[0], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_room, "ROUNDS", 2)
    rows = speed(["ms-transformer+hyper"], **MS)
    assert [(row["what"], row["variant"]) for row in rows] == [
        *[(f"inference B={batch}", variant) for batch in (1, 8) for variant in ("ours", "optimized")],
        *[
            (what, v)
            for what in ("training step B=8", "training peak memory", "phase 2 step B=8")
            for v in ("ours", "rank=256")
        ],
    ]
    assert all(row["figure"] > 0 and row["ratio"] > 0 for row in rows)


def test_a_wrong_name_shows_before_the_first_minute() -> None:
    with pytest.raises(UsageError, match=naming("posenet")):
        speed(["posnet"])
