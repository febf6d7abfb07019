"""`key=value` settings: text to nested dictionaries, layers of them merged, and validated with near names on errors.

The same keys work on the command line, in recipes and in Python (`backbone=resnet34`, `hyper.rank=256`).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from datetime import date, time
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from posezoo.base.errors import UsageError, near, unknown_name
from posezoo.catalogue.keys import key_at, type_of

T = TypeVar("T")
NONE = "none"  # None as text: TOML has no null

LISTED = "posezoo settings MODEL lists all keys"


def parse(items: Iterable[str]) -> dict[str, Any]:
    """`["optim.lr=1e-4", "epochs=3"]` as `{"optim.lr": 1e-4, "epochs": 3}`; `nested` makes tables of it.

    Values are TOML where they can be (numbers, true, false, lists), `none` is None, all else is text.
    """
    settings: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not all(part.isidentifier() for part in key.replace("-", "_").split(".")):
            raise UsageError(f"not a setting: {item[:60]!a}", "write key=value, for example epochs=30")
        if key in settings:
            raise UsageError(f"setting {key} is given twice", "give each key once")
        settings[key] = _value(text)
    return settings


def joined(options: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """Settings given as options (None: not given) and as KEY=VALUE. Raises UsageError for one given as both."""
    given = {key: value for key, value in options.items() if value is not None}
    for key in given.keys() & typed.keys():
        raise UsageError(f"setting {key} is given twice: as an option and as {key}=", "give it once")
    return given | dict(typed)


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`{"hyper.rank": 256}` or `{"hyper": {"rank": 256}}` as nested dictionaries; both together are one table."""
    settings: dict[str, Any] = {}
    for key, value in flat.items():
        _set(settings, key.split("."), value, key)
    return settings


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """The layers in one; later ones win, tables are merged key by key."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            old = result.get(key)
            if isinstance(value, Mapping):
                result[key] = merged(old, value) if isinstance(old, Mapping) else merged(value)
            else:
                result[key] = value
    return result


def validated(schema: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """An instance of a pydantic model or dataclass; every problem in one UsageError: near names for unknown keys, and
    the accepted values for a wrong one."""
    # the whole tree of keys, so that `lr` finds `optim.lr`
    fields = _fields(schema)
    # pydantic lets a dataclass ignore unknown keys
    lines = [_unknown(prefix + key, prefix, fields) for key in values if is_dataclass(schema) and key not in fields]
    try:
        result = TypeAdapter(schema).validate_python(dict(values))
    except ValidationError as error:
        lines += [_line(e, prefix, schema, fields) for e in error.errors()]
    if lines:
        raise UsageError("; ".join(list(dict.fromkeys(lines))[:5]), LISTED)
    return result


def unknown_key(key: str, choices: Iterable[str]) -> UsageError:
    """The error for an unknown setting; `lr` also finds `optim.lr`."""
    choices = list(choices)
    leaf = key.rpartition(".")[2]
    inside = [c for c in choices if c.rpartition(".")[2] in near(leaf, [c.rpartition(".")[2] for c in choices])]
    return unknown_name("setting", key, inside or choices, hint=LISTED)


def field_names(schema: type, prefix: str = "") -> list[str]:
    """All dotted keys of a pydantic model or dataclass."""
    return [prefix + name for name in _fields(schema)]


def _fields(schema: type) -> list[str]:
    names: list[str] = []
    fields: Mapping[str, Any] = getattr(schema, "model_fields", None) or getattr(schema, "__dataclass_fields__", {})
    for name, field in fields.items():
        inner = getattr(field, "annotation", None)
        if isinstance(inner, type) and hasattr(inner, "model_fields"):
            names += [f"{name}.{sub}" for sub in _fields(inner)]
        else:
            names.append(name)
    return names


def _line(error: Any, prefix: str, schema: type, fields: list[str]) -> str:
    path, field = key_at(schema, error["loc"])
    key = prefix + path
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return _unknown(key, prefix, fields)
    if error["type"] == "missing":
        return f"{key} is missing"
    wanted = error["msg"] if field is None else f"not {type_of(field)}"
    if error["type"] == "finite_number":
        wanted = "not a finite number"
    return f"{key}={ascii(error['input'])[:40]}: {wanted}"


def _unknown(key: str, prefix: str, fields: list[str]) -> str:
    found = unknown_key(key, [prefix + name for name in fields])
    return f"unknown setting {key!r}" + (f" ({found.hint})" if "mean" in found.hint else "")


def _set(settings: dict[str, Any], path: list[str], value: Any, key: str) -> None:
    for part in path[:-1]:
        inner = settings.setdefault(part, {})
        if not isinstance(inner, dict):
            raise UsageError(f"setting {key}: {part} is already a value", "set it once")
        settings = inner
    old = settings.get(path[-1])
    if path[-1] in settings and isinstance(old, Mapping) != isinstance(value, Mapping):
        raise UsageError(f"setting {key} is both a value and a table", "set it once")
    if isinstance(value, Mapping):
        value = merged(old or {}, nested(value))
    settings[path[-1]] = value


def setting_text(value: Any) -> str:
    """The text to type for a value: `parse` reads it back, but for None within a list, which TOML has not."""
    if isinstance(value, str):
        return value if _value(value) == value else _quoted(value)  # "1" and "none" are text
    words = {None: NONE, True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, Mapping):
        parts = ((key if key.isidentifier() and key.isascii() else _quoted(key), part) for key, part in value.items())
        return "{" + ", ".join(f"{key} = {_quoted(part)}" for key, part in parts if part is not None) + "}"
    return "[" + ", ".join(map(_quoted, value)) + "]" if isinstance(value, (list, tuple)) else str(value)


def to_toml(value: Any) -> Any:
    """The value as TOML can hold it: None as text, all the way down; tuples become lists."""
    if isinstance(value, Mapping):
        return {key: to_toml(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_toml(item) for item in value]
    return NONE if value is None else value


def from_toml(value: Any) -> Any:
    """What `to_toml` was given, but for tuples."""
    if isinstance(value, Mapping):
        return {key: from_toml(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_toml(item) for item in value]
    return None if value == NONE else value


def _quoted(value: Any) -> str:
    """As within a list. TOML refuses JSON's pairs of escapes for one letter, and a DEL that is not escaped."""
    if not isinstance(value, str):
        return setting_text(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(text: str) -> Any:
    if text.lower() == NONE:
        return None
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # besides what is no TOML: numbers and lists beyond what Python reads
        return text
    return parsed["value"] if list(parsed) == ["value"] and not isinstance(parsed["value"], (date, time)) else text
