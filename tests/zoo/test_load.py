"""posezoo.load on files that posezoo.export wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from naming import naming

import posezoo
from posezoo.base.errors import UsageError
from posezoo.zoo import exported


def test_both_kinds_through_the_public_function(files: dict[str, Path]) -> None:
    for path in files.values():
        model = posezoo.load(path, trust=True)
        assert isinstance(model, exported.ExportedModel)
        assert model.name == "posenet"
        out = model(torch.zeros(2, 3, 64, 64))
        with pytest.raises(UsageError, match=naming("2, 3, 96, 64")):
            model(torch.zeros(2, 3, 96, 64))
        assert out.position.dtype == torch.float64
        torch.testing.assert_close(out.quaternion.norm(dim=-1), torch.ones(2))


def test_who_says_exported_gets_nothing_else(files: dict[str, Path], tmp_path: Path) -> None:
    assert posezoo.load(files["onnx"], exported=True).name == "posenet"
    with pytest.raises(UsageError, match=naming("posenet-anchors-demo")):
        posezoo.load("posenet-anchors-demo", exported=True)


def test_files_run_on_the_cpu_only(files: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match=naming("cpu")):
        posezoo.load(files["onnx"], "cuda")
