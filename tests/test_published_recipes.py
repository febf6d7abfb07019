"""The published recipes: fields against constants with sources, losses by hand, what each phase moves, the page."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published import OTHERWISE, RECIPES, Published
from scipy.spatial.transform import Rotation
from small_runs import (
    Train,
    cache_home,
    changed,
    job,
    no_pictures,
    notes,
    one_place,
    quiet_place,
    train,
    two_places,
    weights,
)
from test_docs import ROOT, shown

from posezoo.catalogue import entries, plugins, resolve
from posezoo.nn.model import PoseModel
from posezoo.nn.outputs import PoseOutput
from posezoo.training import setup
from posezoo.training.config import PhaseSettings, TrainConfig, configure
from posezoo.zoo.blueprint import Blueprint

__all__ = ["cache_home", "no_pictures", "notes", "one_place", "quiet_place", "train", "two_places"]
by_title = pytest.mark.parametrize("row", RECIPES, ids=lambda row: row.title.replace(" ", "-"))
PAGE = ROOT / "docs/reference/published-recipes.md"


def configured(row: Published) -> tuple[TrainConfig, Blueprint]:
    return configure(resolve.model(row.model), resolve.data(row.data), {"recipe": row.recipe})


def phases_of(config: TrainConfig) -> str:
    """The phases in words."""
    parts = []
    for phase in config.plan:
        words = f"{phase.train} {phase.epochs}"
        words += f", weights ({phase.weights[0]:g}, {phase.weights[1]:g})" if phase.weights else ""
        words += f", a step every {phase.step_epochs}" if phase.step_epochs else ""
        parts.append(words + ("" if phase.augment else ", not augmented"))
    return "; ".join(parts)


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def ours(row: Published) -> dict[str, Any]:
    """Every setting of our recipe for the row's model and data."""
    config, plan = configured(row)
    found = flat(config.model_dump()) | dataclasses.asdict(plan.config) | {"phases": phases_of(config)}
    for name, modifier in plan.modifiers:
        found |= flat(dataclasses.asdict(modifier), f"{name}.")
    return found


# Fields


@by_title
def test_our_recipe_is_the_published_one_field_by_field(row: Published) -> None:
    found = ours(row)
    expected = {key: OTHERWISE.get((key, value), value) for key, (value, _) in row.rows.items()}
    assert {key: found[key] for key in expected} == expected


def test_every_alias_is_trained_by_its_published_recipe() -> None:
    found = {}
    for alias, card in entries.weights_cards().items():
        fitting = [row for row in RECIPES if row.aliases and alias.startswith(row.aliases)]
        if fitting:
            found[alias] = card
            assert {row.recipe for row in fitting} == {card.recipe}, alias
            assert not card.settings, "nothing beside the recipe"
            assert {row.model.partition("+")[0] for row in fitting} == {card.model.partition("+")[0]}, alias
    ours_alone = set(entries.weights_cards()) - set(found)
    assert {alias for alias in ours_alone if not alias.endswith("-demo")} == {
        f"{model}-robotcar-{part}" for model in ("posenet", "posenet-hyper") for part in ("loop", "full")
    }, "nobody has published these"


def test_every_published_recipe_has_its_rows() -> None:
    assert {row.recipe for row in RECIPES} == {name for name in entries.recipes() if name.startswith("paper-")}


@pytest.mark.parametrize("recipe", entries.recipes())
def test_pairs_differ_in_the_hypernetwork_alone(recipe: str) -> None:
    for arch in plugins.models():
        tags = {name.partition(".")[2] for name in entries.model_cards() if re.match(rf"{arch}[.+]", name)}
        for tag in {"", *tags}:
            ending = f".{tag}" if tag else ""
            for infusion in ("+hyper", "+hyper=single", "+hyper=two"):
                base, infused = (
                    configure(resolve.model(name + ending), resolve.data("demo-places"), {"recipe": recipe})
                    for name in (arch, arch + infusion)
                )
                assert base[1].config == infused[1].config, (arch, tag)
                same = [config.model_copy(update={"model": ""}) for config, _ in (base, infused)]
                assert same[0] == same[1], (arch, tag)


# Losses, by hand in numpy

P_CAMERA = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
"""The camera's axes (right, down, forward) in the car's (forward, right, down), as columns."""


def labels(rotation: Rotation, frame: str) -> Rotation:
    """What a data set's labels hold for camera-to-world rotations."""
    match frame:
        case "world-to-camera":
            return rotation.inv()
        case "body-to-world":
            return Rotation.from_matrix(rotation.as_matrix() @ P_CAMERA.T)
    return rotation


def by_hand(
    row: Published, true: np.ndarray, turn: Rotation, std: np.ndarray, weights: tuple[float, float] | None
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], float]:
    """The published loss, as a function of positions, head's rotation numbers, and s_x, s_q (twice for tuples)."""
    published = {key: value for key, (value, _) in row.rows.items()}
    label = labels(turn, published["label_frame"])
    log = label.as_rotvec() / 2
    quaternion = label.as_quat()[:, [3, 0, 1, 2]]
    quaternion *= np.where(quaternion[:, :1] < 0, -1, 1)

    def balanced(l_x: float, l_q: float, s: np.ndarray) -> float:
        if weights is not None:
            return weights[0] * l_x + weights[1] * l_q
        return l_x * np.exp(-s[0]) + s[0] + l_q * np.exp(-s[1]) + s[1]

    def loss(position: np.ndarray, rotation: np.ndarray, s: np.ndarray) -> float:
        if published["rotation"] == "quaternion":  # PoseNet, HyperPose, MS-Transformer: metres and unit quaternions
            unit = rotation / np.linalg.norm(rotation, axis=1, keepdims=True)
            l_q = np.linalg.norm(unit - quaternion, axis=1).mean()
            return balanced(np.linalg.norm(position - true, axis=1).mean(), l_q, s)
        moved, turned = (position - true) / std, rotation - log
        total = balanced(np.abs(moved).mean(), np.abs(turned).mean(), s)
        if row.model == "atloc.plus":  # two terms more, on consecutive frames of each tuple
            differences = [np.diff(x.reshape(-1, 3, 3), axis=1) for x in (moved, turned)]
            total += balanced(np.abs(differences[0]).mean(), np.abs(differences[1]).mean(), s[2:])
        return total

    return loss


def slope(f: Callable[[np.ndarray], float], x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """The gradient of f at x by central differences."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[index] = step
        gradient[index] = (f(x + moved) - f(x - moved)) / (2 * step)
    return gradient


def fixed_batch(numbers: int, std: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, Rotation]:
    """Nine predicted positions and rotation numbers, true positions and camera-to-world rotations."""
    draw = np.random.default_rng(7)
    true = draw.normal(size=(9, 3)) * std
    return true + draw.normal(size=(9, 3)) * std, draw.normal(size=(9, numbers)), true, Rotation.random(9, draw)


@by_title
def test_loss_and_gradient_of_every_phase_are_those_by_hand(row: Published, two_places: Path) -> None:
    ready = job(two_places, row.model, recipe=row.recipe, selection="last")
    rows = ready.train_rows
    std = ready.dataset.frames.position[rows].std(axis=0)
    start = row.rows["loss.start"][0]
    numbers = 4 if row.rows["rotation"][0] == "quaternion" else 3
    position, rotation, true, turn = fixed_batch(numbers, std)
    quaternion_B4 = torch.from_numpy(turn.as_quat()[:, [3, 0, 1, 2]])
    quaternion_B4 = torch.where(quaternion_B4[:, :1] < 0, -quaternion_B4, quaternion_B4)
    for phase in ready.config.plan:
        loss = setup.make_loss(ready, phase)
        position_B3 = torch.from_numpy(position).requires_grad_()
        rotation_BR = torch.from_numpy(rotation).float().requires_grad_()
        output = PoseOutput(position_B3, rotation_BR, quaternion_B4, None, None)
        terms = loss(output, torch.from_numpy(true), quaternion_B4)
        terms.total.backward()
        hand, s = by_hand(row, true, turn, std, phase.weights), np.array([*start, *start])
        assert terms.total.item() == pytest.approx(hand(position, rotation, s), rel=1e-5)
        assert loss.balance.tolist() == pytest.approx([*start, *start][: len(loss.balance)])
        expected = slope(lambda x: hand(x, rotation, s), position), slope(lambda x: hand(position, x, s), rotation)
        np.testing.assert_allclose(position_B3.grad, expected[0], rtol=2e-4, atol=1e-6)
        np.testing.assert_allclose(rotation_BR.grad, expected[1], rtol=2e-4, atol=1e-6 * np.exp(-min(start)))
        if phase.weights is None:
            by_s = slope(lambda x: hand(position, rotation, x), s)[: len(loss.balance)]
            np.testing.assert_allclose(loss.balance.grad, by_s, rtol=2e-4, atol=1e-5)
        else:
            assert not loss.balance.requires_grad


@pytest.mark.parametrize("row", [row for row in RECIPES if row.model.startswith("ms")], ids=lambda row: row.title)
def test_the_scene_adds_its_negative_log_likelihood(row: Published, two_places: Path) -> None:
    ready = job(two_places, row.model, recipe=row.recipe)
    position, rotation, true, turn = fixed_batch(4, np.ones(3))
    logits, scene = np.random.default_rng(8).normal(size=(9, 2)), np.array([0, 1, 1, 0, 1, 0, 0, 0, 1])
    rotation_B4, given = torch.from_numpy(rotation).float(), torch.from_numpy(turn.as_quat()[:, [3, 0, 1, 2]])
    loss = setup.make_loss(ready, ready.config.plan[0])
    scores = [None, torch.from_numpy(logits).requires_grad_()]
    without, with_scene = (
        loss(PoseOutput(torch.from_numpy(position), rotation_B4, given, score, None), torch.from_numpy(true), given,
             torch.from_numpy(scene))
        for score in scores
    )  # fmt: skip
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log(probability[np.arange(9), scene]).mean()
    assert (with_scene.total - without.total).item() == pytest.approx(expected, rel=1e-4)
    with_scene.total.backward()
    np.testing.assert_allclose(scores[1].grad, (probability - np.eye(2)[scene]) / 9, rtol=1e-4, atol=1e-6)


# What the phases move


@pytest.mark.parametrize(
    "row",
    [  # the outdoor recipes have the phases of the indoor ones
        pytest.param(row, id=row.title.replace(" ", "-"), marks=[pytest.mark.slow] * ("-outdoor" in row.recipe))
        for row in RECIPES
    ],
)
def test_each_phase_moves_exactly_the_tensors_it_should(row: Published, train: Train, two_places: Path) -> None:
    """All of the model that has a part in the loss, then one head with its hypernetwork and nothing else."""
    phases = [{**phase.model_dump(), "epochs": 1} for phase in configured(row)[0].plan]
    more = {"recipe": row.recipe, "phases": phases, "selection": "last", "equalise_scenes": False}
    start = job(two_places, row.model, **more).model
    before = {name: tensor.clone() for name, tensor in start.state_dict().items()}
    run = train(row.model, two_places, **more, **{"checkpoint.every_steps": 1, "checkpoint.keep": 100}).path
    heads = {"position": "position_head.", "orientation": "orientation_head."}
    steps = [6 * number for number in range(len(phases) + 1)]
    for number, phase in enumerate(phases):
        now = weights(run, steps[number + 1])
        moved = changed(before, now)
        if phase["train"] == "all":
            assert moved == set(before) - backbone_end(start)
        else:
            assert moved == {name for name in before if name.startswith(heads[phase["train"]])}
        before = now


def backbone_end(model: PoseModel) -> set[str]:
    """The backbone's tensors beyond what the model reads. All others move: what gets no gradient at least decays."""
    names = dict(model.named_parameters())
    features = model.features_for_heads(torch.randn(2, 3, 64, 64), torch.tensor([0, 1]))
    total = features.position.sum() + features.orientation.sum() + features.image.sum()
    gradients = torch.autograd.grad(total, list(names.values()), allow_unused=True)
    reached = {name for name, gradient in zip(names, gradients, strict=True) if gradient is not None}
    modules = {name.rpartition(".")[0] for name in reached}
    return {n for n in model.state_dict() if n.startswith("backbone.") and n.rpartition(".")[0] not in modules}


# The page


def rendered(row: Published) -> str:
    """The row's table on the page."""
    found, lines = ours(row), ["| setting | published | source | ours |", "|---|---|---|---|"]
    for key, (value, source) in row.rows.items():
        same = found[key] == value
        lines.append(f"| `{key}` | {text(value)} | {source} | {'same' if same else f'**{text(found[key])}**'} |")
    return "\n".join(lines)


def text(value: Any) -> str:
    return value if isinstance(value, str) and " " in value else shown(value)


@by_title
def test_the_page_shows_each_field_beside_ours(row: Published) -> None:
    section = PAGE.read_text(encoding="utf-8").partition(f"### {row.title}\n")[2].partition("\n### ")[0]
    assert f"posezoo train {row.model} --data {row.data} recipe={row.recipe}" in section
    assert rendered(row) in section


def test_the_page_says_why_ours_are_otherwise() -> None:
    reasons = PAGE.read_text(encoding="utf-8").partition("## Deliberate differences")[2].partition("\n## ")[0]
    for key, _ in OTHERWISE:
        assert re.search(rf"^\| `{key}` \| .+ \| .+ \| .+ \|$", reasons, re.MULTILINE), key


def test_the_default_plan_of_a_phase_is_that_of_the_optimiser() -> None:
    optim = configured(RECIPES[0])[0].optim
    assert PhaseSettings(epochs=1).schedule(optim) == optim
    assert PhaseSettings(epochs=1, gamma=0.5).schedule(optim).gamma == 0.5
