"""Read weights that may come from anywhere: only safetensors, and only after a check of the header.

safetensors' own parser takes 38 s and 1.6 GB for a header with a million empty tensors, and accepts duplicate names.
So the header is checked first: at most 1 MiB, inside the file, at most 10,000 tensors, each name once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from posezoo.base.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER = 1 << 20
MAX_TENSORS = 10_000
REFETCH = "fetch or train it again: posezoo weights --help"


def is_pickle(content: bytes) -> bool:
    """Whether the content is a Python pickle or torch's zip of one.

    The first bytes alone do not decide it: in a safetensors file they are the header's length, which may be anything.
    """
    return (content[:2] == b"PK" or content[:1] == b"\x80") and bool(_header_problem(content))


def check_header(content: bytes, what: str) -> None:
    """Raise WeightsError unless `content` begins like a safetensors file; `what` names it. Parses no tensor."""
    problem = _header_problem(content)
    if not problem:
        return
    if is_pickle(content):
        raise WeightsError(
            f"{what} is a Python pickle, which can run code",
            "posezoo loads only .safetensors; authors' files: posezoo weights convert FILE",
        )
    if content[:64].lstrip()[:1] == b"<":
        raise WeightsError(f"{what} is a web page, not weights", REFETCH)
    raise WeightsError(f"{what} is damaged: {problem}", REFETCH)


def tensors(content: bytes, what: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, after `check_header`. Raises WeightsError."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    check_header(content, what)
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{what} is damaged: {' '.join(str(error).split())[:80]}", REFETCH) from None


def dump(state: Mapping[str, Tensor], dtype: str = "float32") -> bytes:
    """The tensors as safetensors; `float16` halves those of float32. Raises WeightsError if one would overflow.

    float64 stays: a tensor has it because its decimals count. Tensors that share memory, such as tied weights, are each
    written whole.
    """
    import torch
    from safetensors.torch import save

    half = {"float32": None, "float16": torch.float16}[dtype]
    kept: dict[str, Tensor] = {}
    written: set[int] = set()
    for key, value in state.items():
        if half is not None and value.dtype == torch.float32:
            value = value.to(half)
            if not torch.isfinite(value).all():
                raise WeightsError(f"{key} does not fit into {dtype}", "save it in float32")
        value = value.contiguous()
        memory = value.untyped_storage().data_ptr()
        kept[key] = value.clone() if memory in written else value  # safetensors refuses memory that is shared
        written.add(memory)
    return save(kept)


def _header_problem(content: bytes) -> str:
    """What is wrong with the header; empty if nothing is."""
    if len(content) < 8:
        return f"{len(content)} bytes are not a safetensors file"
    length = int.from_bytes(content[:8], "little")
    if length > MAX_HEADER:
        return f"its header claims {length} bytes (at most {MAX_HEADER})"
    if length + 8 > len(content):
        return f"its header claims {length} bytes, the file has {len(content)}"
    try:
        header = json.loads(content[8 : 8 + length], object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        return str(error) if isinstance(error, _DuplicateError) else "its header is not JSON"
    if not isinstance(header, dict):
        return "its header is not a JSON object"
    if len(header) > MAX_TENSORS:
        return f"its header lists {len(header)} tensors (at most {MAX_TENSORS})"
    return ""


class _DuplicateError(ValueError):
    pass


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _DuplicateError(f"{twice[:40]!a} appears twice in its header")
    return table
