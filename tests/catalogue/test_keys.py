"""Keys in words: type and range, default, meaning, for pydantic models and dataclasses."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, PositiveInt

from posezoo.catalogue import keys

Share = Annotated[float, Field(ge=0, lt=1)]


class Optim(BaseModel):
    """A section."""

    lr: float = Field(1e-3, gt=0)
    """Learning
    rate."""
    betas: tuple[Share, Share] = (0.9, 0.999)


class Phase(BaseModel):
    """A table in a list."""

    epochs: PositiveInt
    weights: tuple[float, float] | None = None


class Run(BaseModel):
    """A run."""

    name: str
    optim: Optim = Optim()
    phases: tuple[Phase, ...] = ()
    workers: int = Field(0, ge=0, lt=64)
    """Processes."""


@dataclass(frozen=True)
class Base:
    """What is inherited."""

    crop: Annotated[int, Field(ge=32, le=4096)] = 224
    """Pixels."""
    start: bool | str = True


@dataclass(frozen=True)
class Model(Base):
    """Another default, more fields."""

    crop: Annotated[int, Field(ge=32, le=4096)] = 256
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.5
    rank: Annotated[int, Field(ge=1)] | None = None
    kind: Literal["a", "b"] = "a"
    widths: tuple[PositiveInt, ...] = field(default_factory=tuple)
    free: float = 0.0


def test_of_a_pydantic_model() -> None:
    found = [dataclasses.astuple(key) for key in keys.keys(Run)]
    assert found == [
        ("name", "text", None, ""),
        ("optim.lr", "a number above 0", 1e-3, "Learning rate."),
        ("optim.betas", "2 numbers from 0, below 1", (0.9, 0.999), ""),
        ("phases", "a list of tables of epochs, weights", (), ""),
        ("workers", "a whole number from 0 to 63", 0, "Processes."),
    ]


def test_of_a_dataclass_with_what_it_inherits() -> None:
    found = [dataclasses.astuple(key) for key in keys.keys(Model, "model.")]
    assert found == [
        ("model.crop", "a whole number from 32 to 4096", 256, "Pixels."),
        ("model.start", "true or false, text", True, ""),
        ("model.gamma", "a number above 0, at most 1", 0.5, ""),
        ("model.rank", "a whole number from 1, or none", None, ""),
        ("model.kind", "one of a, b", "a", ""),
        ("model.widths", "a list of whole numbers from 1", (), ""),
        ("model.free", "a number", 0.0, ""),
    ]


def test_without_a_source_nothing_is_said_of_the_meaning() -> None:
    made = dataclasses.make_dataclass("Made", [("width", int, 3)])
    assert [dataclasses.astuple(key) for key in keys.keys(made)] == [("width", "a whole number", 3, "")]


@pytest.mark.parametrize(
    ("schema", "location", "path", "words"),
    [
        (Run, ("optim", "lr"), "optim.lr", "a number above 0"),
        (Run, ("optim", "betas", 1), "optim.betas[1]", "a number from 0, below 1"),
        (Run, ("optim", "betas", 2), "optim.betas[2]", None),
        (Run, ("optim", "lrr"), "optim.lrr", None),
        (Run, ("phases", 3, "epochs"), "phases[3].epochs", "a whole number from 1"),
        (Run, ("phases", 0, "weights", 1), "phases[0].weights[1]", "a number"),
        (Model, ("start", "bool"), "start", "true or false, text"),
        (Model, ("widths", 5), "widths[5]", "a whole number from 1"),
        (Model, ("nothing",), "nothing", None),
    ],
)
def test_where_an_error_is(schema: type, location: tuple[str | int, ...], path: str, words: str | None) -> None:
    found, reached = keys.key_at(schema, location)
    assert (found, reached and keys.type_of(reached)) == (path, words)
