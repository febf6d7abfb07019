"""The checkpoint store: whole or not there, found by scanning, never silently replaced."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import fault_points
import faults
import pytest
import torch
from naming import naming

from posezoo.base.errors import ResourceError, WeightsError
from posezoo.training import checkpoint

FACTS = {"torch": torch.__version__, "num_threads": 1, "device": "cpu", "data_digest": "d"}
Damage = Callable[[Path], object]


def save(run: Path, step: int, keep: int = 2) -> Path:
    weights = {"w": torch.full((3, 4), float(step)), "n": torch.tensor(step)}
    state = {"position": {"step": step, "best": {}}, "rng": torch.get_rng_state(), "optimiser": {"lr": [0.1, 0.2]}}
    return checkpoint.save(run, step, weights, state, FACTS, keep)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def test_round_trip(tmp_path: Path) -> None:
    save(tmp_path, 7)
    found, warnings = checkpoint.latest(tmp_path)
    assert warnings == []
    assert found.path.name == "step-000000007"
    assert torch.equal(found.weights["w"], torch.full((3, 4), 7.0))
    assert found.weights["n"] == 7
    assert found.state["position"] == {"step": 7, "best": {}}
    assert torch.equal(found.state["rng"], torch.get_rng_state())
    assert found.manifest["step"] == 7
    for name, entry in found.manifest["files"].items():
        assert entry == {"size": (found.path / name).stat().st_size, "sha256": faults.sha256(found.path / name)}


def test_newest_by_step_not_by_time(tmp_path: Path) -> None:
    for step in (5, 100):
        save(tmp_path, step)
    os.utime(tmp_path / "ckpt" / "step-000000100", (0, 0))
    assert checkpoint.latest(tmp_path)[0].manifest["step"] == 100


def test_keeps_the_newest(tmp_path: Path) -> None:
    for step in range(1, 7):
        save(tmp_path, step, keep=3)
    assert faults.checkpoints(tmp_path) == [f"step-{step:09d}" for step in (4, 5, 6)]


def test_damaged_newer_ones_do_not_count(tmp_path: Path) -> None:
    save(tmp_path, 4)
    flip(save(tmp_path, 6) / checkpoint.STATE)
    save(tmp_path, 5, keep=1)
    assert checkpoint.latest(tmp_path)[0].manifest["step"] == 5
    save(tmp_path, 6, keep=1)
    assert checkpoint.latest(tmp_path)[0].manifest["step"] == 6
    assert faults.checkpoints(tmp_path) == ["step-000000006"]


def test_is_never_rewritten(tmp_path: Path) -> None:
    before = faults.digests(save(tmp_path, 3))
    torch.manual_seed(99)
    assert faults.digests(save(tmp_path, 3)) == before


@pytest.mark.parametrize("name", [checkpoint.WEIGHTS, checkpoint.STATE, checkpoint.MANIFEST])
@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (flip, "sha256 differs|manifest damaged|truncated"),
        (cut, "truncated|manifest damaged"),
        (lambda path: path.write_bytes(b""), "truncated|manifest damaged"),
        (Path.unlink, "no "),
    ],
    ids=["flip", "cut", "zero", "gone"],
)
def test_damaged_checkpoint_is_passed_over(tmp_path: Path, name: str, damage: Damage, word: str) -> None:
    good, bad = save(tmp_path, 1), save(tmp_path, 2)
    before = faults.digests(good)
    if name == checkpoint.MANIFEST and damage is flip:
        (bad / name).write_text((bad / name).read_text().replace('"sha256": "', '"sha256": "0'))
    else:
        damage(bad / name)
    found, warnings = checkpoint.latest(tmp_path)
    assert found.manifest["step"] == 1
    assert len(warnings) == 1
    assert "step-000000002" in warnings[0]
    assert faults.digests(good) == before
    damage(good / checkpoint.STATE)
    with pytest.raises(WeightsError, match=rf"step-000000002 \(.*({word}).*step-000000001 \("):
        checkpoint.latest(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"schema": "x", "files": {}}', '{"schema": 1, "files": []}'])
def test_strange_manifest(tmp_path: Path, text: str) -> None:
    save(tmp_path, 1)
    (save(tmp_path, 2) / checkpoint.MANIFEST).write_text(text)
    found, warnings = checkpoint.latest(tmp_path)
    assert found.manifest["step"] == 1
    assert "manifest damaged" in warnings[0]


def test_newer_schema_is_not_read(tmp_path: Path) -> None:
    path = save(tmp_path, 1) / checkpoint.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": checkpoint.SCHEMA + 1}))
    with pytest.raises(WeightsError, match=naming("step-000000001")):
        checkpoint.latest(tmp_path)


def test_nothing_saved(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as error:
        checkpoint.latest(tmp_path)
    assert error.value.exit_code == 4


def test_leftovers_are_removed_and_told(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    shutil.copytree(path, tmp_path / "ckpt" / ".tmp-step-000000002-123")
    _, warnings = checkpoint.latest(tmp_path)
    assert warnings == ["ignored incomplete checkpoint .tmp-step-000000002-123 (removed)"]
    assert faults.checkpoints(tmp_path) == ["step-000000001"]


@pytest.mark.parametrize("point", ["weights", "state", "manifest", "rename"])
def test_full_disk_leaves_the_old_ones(tmp_path: Path, point: str) -> None:
    before = faults.digests(save(tmp_path, 1))
    full = fault_points.at(f"checkpoint.{point}:full")
    with full, pytest.raises(ResourceError, match=naming("posezoo resume")) as error:
        save(tmp_path, 2)
    assert error.value.exit_code == 6
    assert faults.checkpoints(tmp_path) == ["step-000000001"]
    assert faults.digests(tmp_path / "ckpt" / "step-000000001") == before


def test_state_cannot_run_code(tmp_path: Path) -> None:
    """A state file is read with weights_only: a pickle with anything else in it is refused."""
    path = save(tmp_path, 1)
    torch.save({"position": Path("x")}, path / checkpoint.STATE)
    manifest = json.loads((path / checkpoint.MANIFEST).read_text())
    data = path / checkpoint.STATE
    del manifest["sum"]
    manifest["files"][checkpoint.STATE] = {"size": data.stat().st_size, "sha256": faults.sha256(data)}
    (path / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(WeightsError, match="step-000000001"):
        checkpoint.latest(tmp_path)


@pytest.mark.parametrize("key", ["schema", "step", "torch", "num_threads", "device", "data_digest", "files"])
@pytest.mark.parametrize("value", [None, "7", [], -1])
def test_a_damaged_manifest_is_told(tmp_path: Path, key: str, value: object) -> None:
    """Whatever it says: no key that is read later may be missing or of another kind, no value another."""
    save(tmp_path, 1)
    path = save(tmp_path, 2) / checkpoint.MANIFEST
    manifest = json.loads(path.read_text())
    if value is None:
        del manifest[key]
    else:
        manifest[key] = value
    path.write_text(json.dumps(manifest))
    found, warnings = checkpoint.latest(tmp_path)
    assert found.manifest["step"] == 1
    assert "manifest damaged" in warnings[0]


def test_the_run_folder_has_vanished(tmp_path: Path) -> None:
    """It is not made anew, without its configuration."""
    with pytest.raises(ResourceError, match="vanished"):
        save(tmp_path / "run", 1)
    assert not (tmp_path / "run").exists()
