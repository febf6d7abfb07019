"""posezoo study: what is not a run is named; the studies themselves are tested in tests/studies/."""

from __future__ import annotations

import faults
import pytest
from naming import naming


@pytest.mark.parametrize(
    ("argv", "code"), [(["error-map", "a", "b"], 2), (["error-map", "posenet"], 2), (["nothing"], 2)]
)
def test_what_is_wrong_is_said(argv: list[str], code: int) -> None:
    ended = faults.in_process(["study", *argv])
    assert ended.code == code
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "argv", [["study", "occlusion", "posenet"], ["bench", "grid", "size", "--data", "demo-loop", "--out", "out"]]
)
def test_jobs_need_a_launcher(argv: list[str]) -> None:
    faults.assert_fails([*argv, "--job", "a=1"], 2, naming("--job", "--launcher"))
