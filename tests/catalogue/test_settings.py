"""Settings: text to values, layers of them, and errors that name the near keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from naming import naming
from pydantic import BaseModel, ConfigDict, Field

from posezoo.base.errors import UsageError
from posezoo.catalogue import settings


class Optim(BaseModel):
    model_config = ConfigDict(extra="forbid")
    lr: float = Field(1e-3, gt=0)


class Train(BaseModel):
    model_config = ConfigDict(extra="forbid")
    epochs: int = Field(10, gt=0)
    optim: Optim = Optim()


@dataclass(frozen=True)
class Model:
    backbone: str = "resnet18"
    crop: int = 224
    rank: int | None = None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-4", 1e-4),
        ("true", True),
        ("false", False),
        ("none", None),
        ("None", None),
        ("resnet34", "resnet34"),
        ('"3"', "3"),
        ("[1, 2]", [1, 2]),
        ("", ""),
        ("a=b", "a=b"),
        ("tf_efficientnet_b0.in1k", "tf_efficientnet_b0.in1k"),
        ("1\nother = 2", "1\nother = 2"),
        ("2026-01-01", "2026-01-01"),
        ("07:30:00", "07:30:00"),
        pytest.param("1" * 5000, "1" * 5000, id="a number too long to read"),
        pytest.param("[" * 2000, "[" * 2000, id="lists too deep to read"),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert settings.parse([f"key={text}"]) == {"key": value}


@pytest.mark.parametrize("item", ["epochs", "=3", "a b=3", "a..b=3", ".a=3", "a.=1", "a/b=1", "\0=1"])
def test_what_is_no_setting(item: str) -> None:
    with pytest.raises(UsageError):
        settings.parse([item])


@given(st.lists(st.text(), max_size=4))
def test_any_text_is_settings_or_a_usage_error(items: list[str]) -> None:
    try:
        flat = settings.parse(items)
        settings.nested(flat)
    except UsageError as error:
        assert error.hint


@given(st.text(alphabet="0123456789e.+-_xo\"'[]{}=, \n#truefalsinf"))
def test_values_never_fail(text: str) -> None:
    assert list(settings.parse([f"key={text}"])) == ["key"]


def test_a_setting_is_an_option_or_a_word_and_never_both() -> None:
    assert settings.joined({"out": "a", "start_from": None}, {"epochs": 3}) == {"out": "a", "epochs": 3}
    assert settings.joined({"out": None}, {"out": "b"}) == {"out": "b"}
    with pytest.raises(UsageError, match=naming("out")) as error:
        settings.joined({"out": "a"}, {"out": "a"})
    assert error.value.exit_code == 2


def test_nested_and_merged() -> None:
    for both in ({"hyper.rank": 8, "hyper": {"init": "zero"}}, {"hyper": {"init": "zero"}, "hyper.rank": 8}):
        assert settings.nested(both) == {"hyper": {"rank": 8, "init": "zero"}}
    assert settings.nested({"hyper": {"rank": 4}, "hyper.rank": 8}) == {"hyper": {"rank": 8}}
    with pytest.raises(UsageError, match=naming("hyper", "set it once")):
        settings.nested({"hyper.rank": 8, "hyper": "two"})
    assert settings.nested({"a.b.c": 1, "a.b.d": 2, "e": 3}) == {"a": {"b": {"c": 1, "d": 2}}, "e": 3}
    with pytest.raises(UsageError, match=naming("a")):
        settings.nested({"a": 1, "a.b": 2})
    one, two = {"a": 1, "t": {"x": 1, "y": 1}}, {"t": {"y": 2}, "b": 3}
    assert settings.merged(one, two) == {"a": 1, "t": {"x": 1, "y": 2}, "b": 3}
    assert one == {"a": 1, "t": {"x": 1, "y": 1}}
    assert settings.merged({"t": 1}, {"t": {"y": 2}}) == {"t": {"y": 2}}


def test_validated() -> None:
    assert settings.validated(Train, {"epochs": 3, "optim": {"lr": 0.1}}).optim.lr == 0.1
    assert settings.validated(Model, {"crop": 96}) == Model(crop=96)


@pytest.mark.parametrize(
    ("schema", "values", "words"),
    [
        (Train, {"epoch": 3}, ("epoch", "epochs")),
        (Train, {"lr": 3}, ("lr", "optim.lr")),
        (Train, {"optim": {"lrr": 3}}, ("optim.lrr", "optim.lr")),
        (Model, {"backbon": "x"}, ("backbon", '"backbone"')),
        (Train, {"epochs": -1}, ("epochs=-1", "not a whole number from 1:")),
        (Train, {"epochs": "many"}, ("epochs='many'", "not a whole number from 1:")),
        (Train, {"optim": {"lr": "fast"}}, ("optim.lr='fast'", "not a number above 0:")),
        (Model, {"crop": None}, ("crop=None",)),
    ],
)
def test_errors_say_what_was_meant(schema: type, values: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as error:
        settings.validated(schema, values)
    for word in words:
        assert word in str(error.value)


def test_all_problems_at_once_with_the_modifiers_name() -> None:
    with pytest.raises(UsageError) as error:
        settings.validated(Model, {"crop": "x", "rnk": 3}, "hyper.")
    assert "hyper.crop='x'" in error.value.message
    assert "hyper.rnk" in error.value.message


def test_field_names() -> None:
    assert settings.field_names(Train) == ["epochs", "optim.lr"]
    assert settings.field_names(Model, "model.") == ["model.backbone", "model.crop", "model.rank"]


def test_none_is_text_in_toml() -> None:
    value = {"a": None, "b": {"c": [1, None, "x"]}}
    stored = settings.to_toml(value | {"d": (None, 2)})
    assert stored == {"a": "none", "b": {"c": [1, "none", "x"]}, "d": ["none", 2]}
    assert settings.from_toml(stored) == value | {"d": [None, 2]}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(None, "none"), (True, "true"), (False, "false"), (1, "1"), (0.5, "0.5"), ("two words", "two words")],
        *[
            ("1", '"1"'),
            ("1e3", '"1e3"'),
            ("true", '"true"'),
            ("none", '"none"'),
            ("inf", '"inf"'),
            ('"a"', '"\\"a\\""'),
        ],
        *[(["\U0001f600", "a"], '["\U0001f600", "a"]'), ({"a b": 1, "c": "1"}, '{"a b" = 1, c = "1"}')],
    ],
)
def test_the_text_of_a_value_is_read_back(value: object, text: str) -> None:
    assert settings.setting_text(value) == text
    assert settings.parse([f"key={text}"]) == {"key": value}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_read_back(text: str) -> None:
    for value in (text, [text], {text: text}):
        assert settings.parse([f"key={settings.setting_text(value)}"]) == {"key": value}
