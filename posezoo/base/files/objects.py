"""The tensors in torch's pickles of whole objects, with nothing run that the file names.

A pickle is a program: it names functions and classes and calls them. Here every name stands for something of ours. The
few that make tensors and containers stand for functions below that do the same; all others, classes, functions, bound
methods and whatever a hostile file would call, stand for `Unknown`, which does nothing. So the code that wrote the file
is neither needed nor run, and an object keeps what it was given: a module its parts.

Both of torch's layouts are read: a zip (since torch 1.6), and pickles one after the other followed by the numbers.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
Storage = Callable[[torch.dtype, str, int], Tensor]
"""(kind, name, count) -> so many numbers, one after the other."""


class Unknown:
    """Stands for all classes and functions not known here: it takes anything and keeps an object's attributes."""

    def __new__(cls, *arguments: Any, **named: Any) -> Unknown:
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        for part in state if isinstance(state, tuple) else (state,):  # (attributes, slots)
            if isinstance(part, dict):
                self.__dict__.update({key: value for key, value in part.items() if isinstance(key, str)})

    def _nothing(self, *arguments: Any) -> None:
        """The content of what was a dict, a list or a set."""

    __setitem__ = append = extend = add = _nothing


def load(content: bytes) -> Any:
    """What a file of torch.save holds: containers, tensors, and `Unknown` objects. Raises whatever damage leads to."""
    return _zipped(content) if content[:2] == b"PK" else _in_a_row(content)


def tensors_of(module: Unknown, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) of an object that was a torch module, as its `state_dict` would name them."""

    def own(kind: str) -> dict[Any, Any]:
        found = vars(module).get(kind)
        return found if isinstance(found, dict) else {}

    passing = vars(module).get("_non_persistent_buffers_set")
    passing = passing if isinstance(passing, set) else set()
    for name, value in {**own("_parameters"), **own("_buffers")}.items():
        if isinstance(value, Tensor) and name not in passing:
            yield f"{prefix}{name}", value
    for name, part in own("_modules").items():
        if isinstance(part, Unknown):
            yield from tensors_of(part, f"{prefix}{name}.")


class _Unpickler(pickle.Unpickler):
    """Python's, with names that stand for ours only."""

    def __init__(self, stream: io.BytesIO, storage: Storage) -> None:
        super().__init__(stream, encoding="utf-8")  # of files from Python 2
        self.storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        return _KNOWN.get((module, name), Unknown)

    def persistent_load(self, found: Any) -> Any:
        """A storage; or a class with its source, as old files have them."""
        if found[0] == "module":
            return found[1]
        kind, dtype, key, _, count, *view = found
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str) or count < 0:
            raise pickle.UnpicklingError(f"no storage: {str(found)[:60]}")
        numbers_N = self.storage(dtype, key, count)
        if view and view[0] is not None:
            _, start, length = view[0]
            return numbers_N[start : start + length]
        return numbers_N


def _strided(numbers_N: Any, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    """In place of torch._utils._rebuild_tensor_v2; torch checks that all of it lies inside the storage."""
    if not isinstance(numbers_N, Tensor):
        raise pickle.UnpicklingError("a tensor without storage")
    return torch.as_strided(numbers_N, size, stride, numbers_N.storage_offset() + offset)


def _itself(value: Any, *_: Any) -> Any:
    """In place of what makes a parameter of a tensor."""
    return value


def _attribute(*_: Any) -> type[Unknown]:
    """In place of `getattr`, which a pickle calls for bound methods, functions in classes and classes in classes."""
    return Unknown


def _made(function: Any, _: Any, arguments: Any, state: Any) -> Any:
    """In place of what makes a tensor with attributes."""
    return function(*arguments) if function in (_strided, _itself) else Unknown()


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _strided,
    ("torch._utils", "_rebuild_tensor_v2"): _strided,
    ("torch._utils", "_rebuild_parameter"): _itself,
    ("torch._utils", "_rebuild_parameter_with_state"): _itself,
    ("torch._tensor", "_rebuild_from_type_v2"): _made,
    **{
        (module, name): ours
        for module in ("builtins", "__builtin__")
        for name, ours in (("set", set), ("frozenset", frozenset), ("getattr", _attribute))
    },
}


def _zipped(content: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        data = next((name for name in names if name.endswith("/data.pkl")), None)
        if data is None:
            raise ValueError("no data.pkl in the archive")
        root, read = data.removesuffix("data.pkl"), {}
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("written on a machine with another byte order")

        def storage(dtype: torch.dtype, key: str, count: int) -> Tensor:
            if key not in read:
                read[key] = _numbers(archive.read(f"{root}data/{key}"), dtype, count)
            return read[key]

        return _Unpickler(io.BytesIO(archive.read(data)), storage).load()


def _in_a_row(content: bytes) -> Any:
    stream, storages = io.BytesIO(content), dict[str, Tensor]()

    def storage(dtype: torch.dtype, key: str, count: int) -> Tensor:
        if count * dtype.itemsize > len(content):
            raise ValueError("cut off: a storage is longer than the file")
        return storages.setdefault(key, torch.zeros(count, dtype=dtype))  # filled below

    _, _, system, loaded, order = (_Unpickler(stream, storage).load() for _ in range(5))
    if not system["little_endian"]:
        raise ValueError("written on a machine with another byte order")
    for key in order:
        count, numbers_N = int.from_bytes(stream.read(8), "little"), storages[key]
        if count != len(numbers_N):
            raise ValueError(f"storage {key!a} has {count} numbers instead of {len(numbers_N)}")
        numbers_N.copy_(_numbers(stream.read(count * numbers_N.itemsize), numbers_N.dtype, count))
    return loaded


def _numbers(raw: bytes, dtype: torch.dtype, count: int) -> Tensor:
    if len(raw) != count * dtype.itemsize:
        raise ValueError(f"cut off: {len(raw)} bytes of {count * dtype.itemsize}")
    return torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.zeros(0, dtype=dtype)
