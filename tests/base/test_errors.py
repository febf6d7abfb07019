"""Errors: their exit codes, their one line, near names, and nothing secret in them."""

from __future__ import annotations

import pickle

import pytest

from posezoo.base import errors
from posezoo.base.errors import (
    DataError,
    FailedElsewhere,
    Finding,
    Interrupted,
    PosezooError,
    ResourceError,
    exit_code_of,
    near,
    redacted,
    unknown_name,
)


def kinds() -> list[type[PosezooError]]:
    found = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PosezooError)]
    return [kind for kind in found if kind is not PosezooError]


def test_every_kind_has_a_code_of_its_own_that_the_docstring_tells() -> None:
    codes = {kind.__name__: kind.exit_code for kind in kinds() if kind not in (Interrupted, FailedElsewhere)}
    assert len(set(codes.values())) == len(codes) == 9
    assert not set(codes.values()) & {0, 1, 130, 143}
    for name, code in codes.items():
        (line,) = [line for line in (errors.__doc__ or "").splitlines() if f" {name} " in line]
        assert line.split(name)[1].split()[0] == str(code)
    assert Interrupted("m", "h", 143).exit_code == 143
    assert FailedElsewhere("m", 6).exit_code == 6


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ResourceError("m"), 6),
        (MemoryError(), 6),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), 6),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 6),
        (OSError(28, "No space left on device"), 6),
        (KeyboardInterrupt(), 130),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), 1),
        (ValueError("can't allocate memory"), 1),
    ],
)
def test_the_code_of_any_error(error: BaseException, code: int) -> None:
    assert exit_code_of(error) == code


def test_one_line_of_message_and_hint() -> None:
    assert str(DataError("poses.csv: no rows", "add some")) == "poses.csv: no rows: add some"
    assert str(DataError("poses.csv: no rows")) == "poses.csv: no rows"


def test_where_a_finding_is() -> None:
    assert str(Finding("a.csv", 4, "no number")) == "a.csv:4: no number"
    assert str(Finding("a.csv", 0, "empty")) == "a.csv: empty"
    found = [Finding("a.csv", 4, "no number")]
    assert DataError("1 problem", findings=found).findings == tuple(found)


@pytest.mark.parametrize(
    ("word", "choices", "meant"),
    [
        ("posnet", ("posenet", "atloc"), ["posenet"]),
        ("PoseNet", ("posenet", "atloc"), ["posenet"]),
        ("chess", ("7scenes-chess", "7scenes-fire"), ["7scenes-chess"]),
        ("zzz", ("posenet", "atloc"), []),
        ("", ("posenet", "atloc"), []),
    ],
)
def test_near_names(word: str, choices: tuple[str, ...], meant: list[str]) -> None:
    assert near(word, choices)[: max(1, len(meant))] == meant


def test_an_unknown_name_is_shortened_and_escaped() -> None:
    error = unknown_name("model", "x" * 500 + "\n", ["posenet"], "see posezoo list")
    assert len(error.message) < 90
    assert "\n" not in str(error)
    assert error.hint == "see posezoo list"
    assert '"posenet"' in unknown_name("model", "posnet", ["posenet"], "see posezoo list").hint


def test_secrets_are_struck_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "my-own-token")
    text = redacted("hf_abcdEFGH1234 my-own-token authorization: Bearer abc.DEF-1== end")
    assert text == "*** *** authorization: Bearer *** end"
    assert redacted("see https://me:p@ss@hub.org/a@b, rtsp://me@cam") == "see https://***@hub.org/a@b, rtsp://***@cam"
    monkeypatch.setenv("HF_TOKEN", "")
    assert redacted("nothing to hide: hf_, x") == "nothing to hide: hf_, x"


def test_a_finding_survives_a_process_border() -> None:
    finding = Finding("a.csv", 4, "no number")
    assert pickle.loads(pickle.dumps(finding)) == finding  # noqa: S301
