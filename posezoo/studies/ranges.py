"""Ranges of studies' options: one outside is an error that names it, before anything is trained."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

T = TypeVar("T")


def _once(values: tuple[T, ...]) -> tuple[T, ...]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value} is there {values.count(value)} times")
    return values


Several = Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(_once)]
"""At least one, and none twice: what is measured twice is no second measurement."""
AtMost = Annotated[int, Field(ge=0)]
"""How many at most; 0: all."""
Severity = Annotated[int, Field(ge=1, le=5)]
"""Of weather and camera faults."""
Share = Annotated[float, Field(gt=0, le=1)]
"""A part of the whole."""
