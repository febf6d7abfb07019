"""The grammar of names: what parses, and that everything else is a UsageError."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from naming import naming

from posezoo.base.errors import UsageError
from posezoo.catalogue.names import DataName, ModelName, parse_data, parse_model, with_options

STRANGE = [
    "",
    "x" * 10_000,
    "\0",
    "a\0b",
    "../x",
    "--",
    "-h",
    "\U0001f600",
    "%s%n",
    "{0.__class__}",
    "$(id)",
    "a\nb",
    "\ud800",
]
STRANGE += [
    "a++b",
    "a+",
    "+a",
    "a+b=",
    "a=b",
    "a@",
    "a.",
    "A",
    "a b",
    "ａ",
    "a\n",
    " a",
    "a:b",
    "local-dir:",
    "hf-hub:",
]
pieces = st.sampled_from(
    ["atloc", "+", "=", "hyper", ".", "@", ":", "local-dir", "hf-hub", "?", "&", "folder", "/", "-", "_", "٣"]
)
anything = st.one_of(st.text(), st.lists(pieces, max_size=8).map("".join), st.sampled_from(STRANGE))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("atloc", ModelName("atloc")),
        ("atloc+hyper", ModelName("atloc", (("hyper", None),))),
        ("ms-transformer+hyper=two", ModelName("ms-transformer", (("hyper", "two"),))),
        ("a+b=c+d", ModelName("a", (("b", "c"), ("d", None)))),
        ("atloc+hyper.7scenes-chess", ModelName("atloc", (("hyper", None),), "7scenes-chess")),
        ("local-dir:a/b@c", ModelName(scheme="local-dir", location="a/b@c")),
        ("hf-hub:owner/repo@main", ModelName(scheme="hf-hub", location="owner/repo", revision="main")),
    ],
)
def test_model_names(text: str, expected: ModelName) -> None:
    assert parse_model(text) == expected


@pytest.mark.parametrize("text", ["atloc", "atloc+hyper", "a+b=c+d", "a.tag", "local-dir:runs/x", "hf-hub:o/r@v1"])
def test_a_name_writes_itself(text: str) -> None:
    assert str(parse_model(text)) == text


@given(anything)
@example("\ud800")
def test_any_text_is_a_model_name_or_a_usage_error(text: str) -> None:
    try:
        parsed = parse_model(text)
    except UsageError as error:
        assert error.hint
        assert len(error.message) < 500
        assert error.message.isascii()
        assert error.message.isprintable()
    else:
        assert parsed.scheme or parsed.arch.isascii()
        assert parse_model(str(parsed)).modifiers == parsed.modifiers


@given(anything)
def test_any_text_is_a_data_name_or_a_usage_error(text: str) -> None:
    try:
        parsed = parse_data(text)
    except UsageError as error:
        assert error.hint
        assert error.message.isascii()
        assert error.message.isprintable()
    else:
        slug = parsed.slug
        assert slug
        assert "/" not in slug
        assert "\0" not in slug
        assert slug not in (".", "..")


@pytest.mark.parametrize("text", [text for text in STRANGE if text != "a:b"])
def test_strange_model_names(text: str) -> None:
    if text == "x" * 10_000:
        assert parse_model(text).arch == text  # a name, though nobody's: the look-up says so in one short line
        return
    with pytest.raises(UsageError):
        parse_model(text)


def test_a_modifier_stands_once() -> None:
    with pytest.raises(UsageError, match=naming("hyper")):
        parse_model("atloc+hyper+hyper=two")


def test_data_names() -> None:
    assert parse_data("demo-loop") == DataName("demo-loop")
    assert parse_data("demo-loop").slug == "demo-loop"
    parsed = parse_data("folder:my photos/2024?fov=70&scene=a")
    assert (parsed.reader, parsed.path) == ("folder", Path("my photos/2024"))
    assert parsed.options == {"fov": "70", "scene": "a"}
    assert parsed.slug == "folder-2024"
    card = parse_data("7scenes?scenes=chess,fire&max_gap=2")
    assert card == DataName("7scenes", options={"scenes": "chess,fire", "max-gap": "2"})
    assert parse_data(str(card.absolute())) == card
    assert card.slug == "7scenes-scenes-chess-fire-max-gap-2"
    assert parse_data("folder:~/x").path == Path("~/x").expanduser()


def test_options_as_words() -> None:
    name = with_options("7scenes", ["scenes=chess,fire", "sequences=1"])
    assert name == "7scenes?scenes=chess,fire&sequences=1"
    assert with_options(name, []) == name
    assert parse_data(with_options("folder:a b?scale=2", ["exif=true"])).options == {"scale": "2", "exif": "true"}
    with pytest.raises(UsageError, match=naming("scenes")):
        parse_data(with_options("7scenes", ["scenes"]))


@pytest.mark.parametrize(("name", "word"), [("7scenes?scenes=chess", "scenes=fire"), ("x:y?max_gap=1", "max-gap=9")])
def test_an_option_is_given_once(name: str, word: str) -> None:
    with pytest.raises(UsageError, match=naming(word.partition("=")[0], "twice")):
        parse_data(with_options(name, [word]))


def test_paths_in_options_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parsed = parse_data("robotcar:x?undistort=kit&poses=vo.csv&root=r")
    assert str(parsed.absolute()) == f"robotcar:{tmp_path}/x?undistort=kit&poses=vo.csv&root={tmp_path}/r"
    assert "undistort=" + str(tmp_path / "kit") in str(parsed.absolute(["undistort"]))


@pytest.mark.parametrize(
    "text", ["", "folder:", "Folder:x", "a b", "folder:x?fov", "demo-loop?fov", "?a=b", "folder:a\0b", ":x"]
)
def test_what_is_no_data_name(text: str) -> None:
    with pytest.raises(UsageError):
        parse_data(text)


def test_the_text_of_a_name_is_the_name(tmp_path: Path) -> None:
    for text in ("7scenes?scenes=chess,fire", f"folder:{tmp_path}", f"csv:{tmp_path}/a.csv?root={tmp_path}"):
        parsed = parse_data(text)
        assert str(parsed) == text
        assert parsed.absolute() == parsed
