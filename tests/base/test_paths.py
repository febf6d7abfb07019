"""Paths that people type, and names of files fit for messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from posezoo.base.errors import UsageError
from posezoo.base.paths import COMMIT, fits_a_line, natural, printable_path, shortened, user_path, without_folders


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b c.png", "a/b c.png"),
        ("日本/é.png", "日本/é.png"),
        ("a\nb", r"a\nb"),
        ("a\x1b[31m", r"a\x1b[31m"),
        ("caf\udce9", r"caf\udce9"),
        ("it's\t", r"it's\t"),
    ],
)
def test_names_in_messages_are_one_line_of_text(name: str, expected: str) -> None:
    assert printable_path(name) == expected
    assert printable_path(name).isprintable()


def test_an_empty_name_is_not_the_current_folder() -> None:
    with pytest.raises(UsageError):
        user_path("")
    assert user_path(Path()) == user_path(".") == Path()


def test_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/data") == tmp_path / "data"
    assert user_path("a/~b") == Path("a/~b")
    assert user_path("~no-such-user-here/x") == Path("~no-such-user-here/x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/me/weights.safetensors", "weights.safetensors"),
        ("~/secret/weights.pth", "weights.pth"),
        ("from /a/b/c.pth and /d/e.pth", "from c.pth and e.pth"),
        ("posenet on folder:/home/me/yard?scenes=a", "posenet on folder:yard?scenes=a"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("timm/resnet18.a1_in1k", "timm/resnet18.a1_in1k"),
        ("1/2", "1/2"),
        ("", ""),
    ],
)
def test_no_folder_of_the_user_is_published(text: str, expected: str) -> None:
    assert without_folders(text) == expected


def test_a_long_name_in_a_message() -> None:
    assert shortened("outputs/run") == "outputs/run"
    assert shortened("begin" + "x" * 300 + "end", 20) == "beginxxxxx…xxxxxxend"


def test_what_a_commit_is() -> None:
    assert COMMIT.fullmatch("0123456789abcdef" * 2 + "01234567")
    assert not COMMIT.fullmatch("A" * 40)
    assert not COMMIT.fullmatch("a" * 39)


def test_names_in_natural_order() -> None:
    names = ["b.png", "10.png", "9.png", "seq2/1", "seq10/1", "a.png", "09.png", "²", "1" * 400]
    ordered = ["09.png", "9.png", "10.png", "1" * 400, "a.png", "b.png", "seq2/1", "seq10/1", "²"]
    assert sorted(names, key=natural) == ordered


def test_names_that_a_line_can_hold() -> None:
    assert fits_a_line("a/b c é.png")
    assert not any(map(fits_a_line, ("a\nb.png", "a\rb.png", " a.png", "a.png ")))
