"""The device that computes."""

from __future__ import annotations

import pytest
import torch
from naming import naming

from posezoo.base.errors import UsageError
from posezoo.nn.device import require_compiler, torch_device


def test_a_device_by_name() -> None:
    assert torch_device("cpu") == torch.device("cpu")
    assert torch_device("auto") == torch.device("cuda" if torch.cuda.is_available() else "cpu")
    assert torch_device(torch.device("cpu")) == torch.device("cpu")


def test_auto_takes_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert torch_device("auto") == torch.device("cuda")
    with pytest.raises(UsageError, match="float64") as error:
        torch_device("mps")
    assert "cpu" in error.value.hint


@pytest.mark.parametrize("name", ["gpu", "cuba", "", "\x1b[31m", "cpu:x", "meta", "xpu", "vulkan"])
def test_a_device_that_nobody_knows(name: str) -> None:
    with pytest.raises(UsageError) as error:
        torch_device(name)
    assert ascii(name)[:40] in error.value.message
    assert "cpu" in error.value.hint


def test_a_gpu_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=naming("cuda:1")):
        torch_device("cuda:1")


def test_a_machine_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise RuntimeError("InvalidCxxCompiler: no compiler found\n\nSet TORCHDYNAMO_VERBOSE=1 for more")

    monkeypatch.setattr(torch, "compile", lambda function: function)
    require_compiler(torch.device("cpu"))
    monkeypatch.setattr(torch, "compile", lambda function: fail)
    with pytest.raises(UsageError, match=r"compile=true.*no compiler found") as error:
        require_compiler(torch.device("cpu"))
    assert "\n" not in str(error.value)
    assert "compile=false" in str(error.value.hint)
