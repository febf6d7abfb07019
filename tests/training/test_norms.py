"""Batch norms over several processes: torch's own on the whole batch, forward, backward and statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor, nn

from posezoo.training.norms import SharedBatchNorms

PARTS = (3, 2)


def norm_of(kind: str) -> nn.Module:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(4) if kind == "vectors" else nn.BatchNorm2d(4, affine=kind != "plain")
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm


def images(kind: str) -> tuple[Tensor, Tensor]:
    """Input far from mean zero, and what each output counts in the loss."""
    torch.manual_seed(1)
    shape = (sum(PARTS), 4) if kind == "vectors" else (sum(PARTS), 4, 3, 5)
    return 100 + torch.randn(shape), torch.randn(shape)


def passed(norm: nn.Module, given: Tensor, counts: Tensor) -> dict[str, Any]:
    given = given.clone().requires_grad_()
    output = norm(given)
    (output * counts).sum().backward()
    grads = {name: parameter.grad for name, parameter in norm.named_parameters()}
    return {"output": output.detach(), "input": given.grad, **grads, **dict(norm.named_buffers())}


def part(rank: int, kind: str, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    given, counts = (whole.split(PARTS)[rank] for whole in images(kind))
    norm = norm_of(kind)
    group = dist.new_group()
    with SharedBatchNorms(group):
        found = passed(norm, given, counts)
    norm.eval()
    with SharedBatchNorms(group):
        inside = norm(given)
    assert torch.equal(inside, norm(given)), "evaluation is local"
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("kind", ["images", pytest.param("plain", marks=pytest.mark.slow), "vectors"])
def test_two_parts_are_one_batch(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.start_processes(part, (kind, str(tmp_path)), nprocs=2, start_method="fork")
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    whole = passed(norm_of(kind), *images(kind))
    for name, expected in whole.items():
        if name in ("output", "input"):
            found = torch.cat([one[name] for one in parts])
        elif name in ("weight", "bias"):
            found = parts[0][name] + parts[1][name]
        else:
            found = parts[0][name]
            assert torch.equal(found, parts[1][name])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
