"""Whole objects: whatever hangs on a project's modules, the tensors come out; whatever a file calls, nothing is run."""

from __future__ import annotations

import argparse
import collections
import enum
import functools
import io
import logging
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import authors
import numpy as np
import pytest
import torch
from torch import nn

from posezoo.base.files import objects


class Kind(enum.Enum):
    ONE = 1


class Slotted:
    __slots__ = ("a",)

    def __init__(self) -> None:
        self.a = [1]


class Words(list[str]):
    pass


class Table(dict[str, int]):
    pass


class Net(nn.Module):
    """A module with anything as an attribute."""

    def __init__(self, more: Any = None) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)
        self.small = nn.Parameter(torch.randn(3).half())
        self.register_buffer("count", torch.tensor(5))
        self.register_buffer("part", torch.arange(12.0).reshape(3, 4)[1:, ::2])
        self.more = more

    class Inside:
        """A class in a class."""

    def method(self, x: Any) -> Any:
        return x

    @classmethod
    def of_class(cls) -> None: ...

    @staticmethod
    def static() -> None: ...


def saved(content: Any, legacy: bool = False, protocol: int = 2) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def assert_state(loaded: Any, model: nn.Module) -> None:
    assert type(loaded) is objects.Unknown
    found, expected = dict(objects.tensors_of(loaded)), model.state_dict()
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value)


def with_its_method() -> Net:
    model = Net()
    model.more = model.method
    return model


def with_a_hook() -> Net:
    model = Net()
    model.linear.register_forward_hook(model.method)
    return model


MORE: dict[str, Callable[[], Any]] = {
    "function": lambda: torch.relu,
    "partial": lambda: functools.partial(torch.relu, 3),
    "class": lambda: Net,
    "class in a class": Net.Inside,
    "function in a class": lambda: [Net.method, Net.static, Net.of_class],
    "method of a part": lambda: nn.Linear(1, 1).forward,
    "builtin": lambda: [len, print, eval],
    "containers": lambda: [{1, 2}, frozenset([1]), collections.deque([1, 2]), collections.Counter("aab"), (1,)],
    "subclasses": lambda: [Words(["a"]), Words(["a", "b"]), Table(a=1), Table(a=1, b=2)],
    "defaultdict": lambda: collections.defaultdict(list, {"a": [1]}),
    "records": lambda: [argparse.Namespace(a=1), Slotted(), Kind.ONE, slice(1, 2), range(3), 1 + 2j, 2**3000, ...],
    "numpy": lambda: [np.arange(3.0), np.float64(2), np.dtype("f4")],
    "torch": lambda: [torch.device("cpu"), torch.float32, torch.Size([1]), torch.Generator(), torch.ones(2)],
    "system": lambda: [logging.getLogger("x"), Path("/a"), type(None), ValueError("x")],
    "optimiser": lambda: torch.optim.Adam([nn.Parameter(torch.ones(1))]),
}


@pytest.mark.parametrize("what", MORE)
def test_whatever_hangs_on_a_module(what: str) -> None:
    model = Net(MORE[what]())
    assert_state(objects.load(saved(model)), model)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("make", [with_its_method, with_a_hook, Net, lambda: nn.LSTM(2, 3, bidirectional=True)])
@pytest.mark.filterwarnings("ignore")  # torch's own, when it writes the source beside
def test_methods_and_both_layouts(make: Callable[[], nn.Module], protocol: int, legacy: bool) -> None:
    model = make()
    assert_state(objects.load(saved(model, legacy, protocol)), model)


@pytest.mark.parametrize("legacy", [False, True])
def test_models_of_the_authors(legacy: bool) -> None:
    torch.manual_seed(0)
    state = authors.posenet()
    model = authors.whole(state)
    loaded = objects.load(saved({"epoch": 3, "net": model}, legacy))
    found = dict(objects.tensors_of(loaded["net"]))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


class Calls:
    """A pickle that calls something."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_nothing_is_called(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    for function, *arguments in (
        (os.system, f"touch {trace}"),
        (eval, f"open({str(trace)!r}, 'w')"),
        (open, str(trace), "w"),
        (getattr, os, "system"),
        (torch.load, str(trace)),
        (torch.hub.load, "a", "b"),
    ):
        try:
            content = saved({"state": torch.ones(2), "call": Calls(function, *arguments)})
        except (TypeError, pickle.PicklingError):  # a module is no value: the name alone is enough
            content = saved({"state": torch.ones(2), "call": Calls(function, "os", "system")})
        loaded = objects.load(content)
        assert torch.equal(loaded["state"], torch.ones(2))
        assert loaded["call"] is objects.Unknown or type(loaded["call"]) is objects.Unknown
    assert not trace.exists()


@pytest.mark.parametrize("name", ["torch.storage _load_from_bytes", "os system", "builtins eval", "builtins object"])
def test_names_stand_for_nothing(name: str) -> None:
    module, word = name.split()
    program = f"c{module}\n{word}\n(Vecho\ntR.".encode()
    made = objects._Unpickler(io.BytesIO(program), lambda *_: torch.zeros(0)).load()
    assert type(made) is objects.Unknown


def archive(program: bytes, storage: bytes = b"\0" * 8) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("x/data.pkl", program)
        out.writestr("x/data/0", storage)
    return file.getvalue()


def tensor(size: str, stride: str, offset: int = 0, count: int = 2) -> bytes:
    """The program of a tensor on storage 0, which has two numbers."""
    storage = f"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI{count}\ntQ"
    return f"ctorch._utils\n_rebuild_tensor_v2\n({storage}I{offset}\n{size}{stride}I00\nNtR.".encode()


def test_a_tensor_by_hand() -> None:
    assert objects.load(archive(tensor("(I2\nt", "(I1\nt"))).tolist() == [0, 0]


@pytest.mark.parametrize(
    "program",
    [
        tensor("(I3\nt", "(I1\nt"),  # beyond the storage
        tensor("(I2\nt", "(I1\nt", offset=1),
        tensor("(I2\nt", "(I1\nt", offset=-1),
        tensor("(I2\nt", "(I-1\nt"),
        tensor("(I2\nt", "(I1\nt", count=3),
        tensor("(I2\nt", "(I1\nt", count=-1),
        tensor("Vtwo\n", "(I1\nt"),
        b"ctorch._utils\n_rebuild_tensor_v2\n(NI0\n(I1\nt(I1\ntI00\nNtR.",  # no storage
        b"(Vstorage\ncos\nsystem\nV0\nVcpu\nI2\ntQ.",  # of no type
        b"(Vother\ntQ.",
        b"(Vstorage\nctorch\nFloatStorage\nV../0\nVcpu\nI2\ntQ.",
        b"ctorch\nFloatStorage\n(tR.",
        b"c",
        b"",
    ],
)
def test_what_does_not_add_up_is_an_error(program: bytes) -> None:
    with pytest.raises((RuntimeError, ValueError, TypeError, KeyError, EOFError, pickle.UnpicklingError)):
        objects.load(archive(program))


def test_other_byte_orders_are_refused() -> None:
    content = saved(Net())
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"big" if name.endswith("byteorder") else old.read(name))
    with pytest.raises(ValueError, match="byte order"):
        objects.load(file.getvalue())
    legacy = saved(Net(), legacy=True)
    assert b"little_endian" in legacy
    with pytest.raises(ValueError, match="cut off"):
        objects.load(legacy[:-3])
