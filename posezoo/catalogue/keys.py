"""The keys of a configuration, for errors and listings: type and range in words, default, meaning.

One place: the type and the range are those of the field, the meaning is the docstring below it.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text"}


@dataclass(frozen=True)
class Key:
    """One setting."""

    name: str
    """As typed: `optim.lr`."""
    type: str
    """In words, with the range: `a number above 0`."""
    default: Any
    what: str


def keys(schema: type, prefix: str = "") -> list[Key]:
    """The keys of a pydantic model or dataclass, those of its sections included, in the order of the fields."""
    found = []
    meanings = docstrings(schema)
    for name, field in fields_of(schema).items():
        section = _section(field.annotation)
        if section is not None:
            found += keys(section, f"{prefix}{name}.")
        else:
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            found.append(Key(prefix + name, type_of(field), default, meanings.get(name, "")))
    return found


def fields_of(schema: type) -> Mapping[str, FieldInfo]:
    """Name -> annotation, range and default of each field of a pydantic model or dataclass."""
    if issubclass(schema, BaseModel):
        return schema.model_fields
    hints = get_type_hints(schema, include_extras=True)
    found = {}
    for field in dataclasses.fields(schema):  # type: ignore[arg-type]
        info = FieldInfo.from_annotation(hints[field.name])
        if field.default is not dataclasses.MISSING:
            info.default = field.default
        elif field.default_factory is not dataclasses.MISSING:
            info.default = field.default_factory()
        found[field.name] = info
    return found


def key_at(schema: type, location: Sequence[str | int]) -> tuple[str, FieldInfo | None]:
    """The key at pydantic's `location` of an error, as in `phases[0].epochs`, and its field if it has one."""
    path, field, fields = "", None, fields_of(schema)
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
            field = None if field is None else _element(field, part)
        elif part in fields:
            path, field = f"{path}.{part}".removeprefix("."), fields[part]
        elif field is not None and not fields:  # pydantic's name of one branch of a union
            break
        else:
            path, field = f"{path}.{part}".removeprefix("."), None
        inner = None if field is None else _section(field.annotation)
        fields = {} if inner is None else fields_of(inner)
    return path, field


def type_of(field: FieldInfo) -> str:
    """The values that a field accepts, in words: `a number from 0 to 1`, `one of adamw, adam`, `text, or none`."""
    return _words(field.annotation, field.metadata)


def docstrings(schema: type) -> dict[str, str]:
    """Field -> the string below it, on one line; inherited fields keep theirs."""
    found: dict[str, str] = {}
    for owner in reversed(schema.__mro__):
        if issubclass(owner, BaseModel) or dataclasses.is_dataclass(owner):
            found |= dict(_field_docstrings(owner))
    return found


def _field_docstrings(owner: type) -> Iterator[tuple[str, str]]:
    try:
        source = inspect.getsource(owner)
    except (OSError, TypeError):  # defined at run time, or shipped without source
        return
    (node,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(node, ast.ClassDef)
    for field, after in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
            text = ast.literal_eval(after.value) if isinstance(after.value, ast.Constant) else None
            if isinstance(text, str):
                yield field.target.id, " ".join(text.split())


def _section(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _element(field: FieldInfo, place: int) -> FieldInfo | None:
    """The field of one element of a list."""
    inner = field.annotation
    if get_origin(inner) in (Union, UnionType):
        inner = next((part for part in get_args(inner) if get_origin(part) is tuple), None)
    arguments = get_args(inner)
    if get_origin(inner) is not tuple or not arguments:
        return None
    endless = arguments[-1] is Ellipsis
    if not endless and place >= len(arguments):
        return None
    return FieldInfo.from_annotation(arguments[0 if endless else place])


def _words(annotation: Any, metadata: Sequence[Any], many: bool = False) -> str:
    """The type in words; `many`: in the plural, as the elements of a list."""
    plain = FieldInfo.from_annotation(annotation)
    annotation, metadata = plain.annotation, [*metadata, *plain.metadata]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        found = ", ".join(_words(part, metadata) for part in arguments if part is not NoneType)
        return found + (", or none" if NoneType in arguments else "")
    if origin is Literal:
        values = ", ".join(map(str, arguments))
        return f"one of {values}" if len(arguments) > 1 else values
    if origin is tuple and arguments[-1] is Ellipsis:
        return f"a list of {_words(arguments[0], (), many=True)}"
    if origin is tuple:
        return f"{len(arguments)} {_words(arguments[0], (), many=True)}"
    section = _section(annotation)
    if section is not None:
        return f"{'tables' if many else 'a table'} of {', '.join(fields_of(section))}"
    word = WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))
    if annotation in (int, float):
        word = f"{word}s" if many else f"a {word}"
    return " ".join(filter(None, (word, _range(metadata, whole=annotation is int))))


def _range(metadata: Sequence[Any], whole: bool) -> str:
    """`from 0 to 1`, `above 0`, `from 0, below 1`; empty without bounds."""
    low = high = ""
    for bound in metadata:  # annotated-types, of which each has one of these
        if (least := getattr(bound, "ge", None)) is not None:
            low = f"from {least}"
        if (below := getattr(bound, "gt", None)) is not None:
            low = f"from {below + 1}" if whole else f"above {below}"
        if (most := getattr(bound, "le", None)) is not None:
            high = f"to {most}" if low.startswith("from") else f"at most {most}"
        if (above := getattr(bound, "lt", None)) is not None:
            high = f"to {above - 1}" if whole else f"below {above}"
    return (" " if high.startswith("to") else ", ").join(filter(None, (low, high)))
