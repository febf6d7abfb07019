"""What plugins declare, and what a reader is asked for."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from posezoo.base.spec import Frame, ModelSpec, ReadRequest, load_object


def test_specs_are_frozen() -> None:
    spec = ModelSpec("a", "m:A", "m:C", "s")
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.name = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("asked", "name", "wanted"),
    [
        ((), "seq-01", True),
        (("seq-01",), "seq-01", True),
        (("1",), "seq-01", True),
        (("01",), "seq1", True),
        (("1",), "01", True),
        (("1",), "seq-11", False),
        (("seq-1",), "seq-01", False),
        (("1",), "1-seq", False),
        (("2", "11"), "seq-11", True),
        (("x",), "seq-01", False),
    ],
)
def test_which_sequences_are_asked_for(asked: tuple[str, ...], name: str, wanted: bool) -> None:
    assert ReadRequest(Path(), sequences=asked).wants_sequence(name) is wanted


def test_an_object_by_its_name() -> None:
    assert load_object("math:pi") == math.pi
    with pytest.raises(AttributeError):
        load_object("math:no_such_thing")
    with pytest.raises(ModuleNotFoundError):
        load_object("no_such_module:x")


def test_a_frame_with_another_rotation_is_the_same_otherwise() -> None:
    frame = Frame("a.png", (1.0, 2.0, 3.0), (1.0, 0.0, 0.0, 0.0), "s", "train", "q", 5, "sun", (1.0,) * 4, ("f", 2))
    turned = frame.with_quaternion((0.0, 1.0, 0.0, 0.0))
    assert turned.quaternion == (0.0, 1.0, 0.0, 0.0)
    assert dataclasses.replace(turned, quaternion=frame.quaternion) == frame
