"""posezoo study: what is not a run is named; the studies themselves are tested in tests/studies/."""

from __future__ import annotations

import faults
import pytest


@pytest.mark.parametrize(("argv", "code"), [(["error-map"], 2), (["error-map", "a", "b"], 4), (["nothing"], 2)])
def test_what_is_wrong_is_said(argv: list[str], code: int) -> None:
    ended = faults.in_process(["study", *argv])
    assert ended.code == code
    assert ended.stderr.count("\n") == 1
