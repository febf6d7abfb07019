"""Outputs of the authors' models (tests/authors_compute.py), stored, against ours on the converted weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import authors
import authors_compute as compute
import numpy as np
import pytest
import torch
from naming import naming

import posezoo
from posezoo.base.errors import DataError, UsageError, WeightsError
from posezoo.zoo import convert
from posezoo.zoo.parity import parity

ROBOTCAR = {
    **{"mean": [0.4, 0.4, 0.4], "std": [0.2, 0.2, 0.2]},
    **{"position_mean": [5735000.0, 620000.0, 110.0], "position_std": [120.0, 210.0, 3.0]},
}


def pictures(count: int = 9) -> torch.Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def kings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A converted model of one scene whose labels are turned round, and what its authors' code returns."""
    torch.manual_seed(0)
    state, folder = authors.posenet(False), tmp_path_factory.mktemp("kings")
    torch.save(state, folder / "theirs.pth")
    made = convert.convert(folder / "theirs.pth", "hyperpose", "cambridge-kings-college", folder / "ours")
    position, rotation = compute.posenet_forward(state, pictures())
    arrays = {"images": pictures().numpy(), "position": position.numpy(), "rotation": rotation.numpy()}
    return made.path, {**arrays, "weights": np.array(made.sha256)}


def written(path: Path, arrays: Mapping[str, Any], **more: Any) -> Path:
    np.savez(path / "x.npz", **{key: value for key, value in {**arrays, **more}.items() if value is not None})
    return path / "x.npz"


def test_the_same(tmp_path: Path, kings: tuple[Path, dict[str, Any]]) -> None:
    folder, arrays = kings
    notes: list[str] = []
    found = posezoo.parity(written(tmp_path, arrays), f"local-dir:{folder}", note=notes.append)
    assert found.equal
    assert [one.output for one in found.differences] == ["position", "rotation"]
    assert [one.numbers for one in found.differences] == [3, 4]
    assert all(0 < one.relative < 1e-5 for one in found.differences)
    assert (found.model, found.images) == ("posenet", 9)
    assert "64x64" in notes[0]
    assert "224x224" in notes[0]
    again = parity(tmp_path / "x.npz", posezoo.load(f"local-dir:{folder}"), tolerance=0)
    assert not again.equal
    assert again.differences == found.differences


def test_where_and_how_far_they_differ(tmp_path: Path, kings: tuple[Path, dict[str, Any]]) -> None:
    folder, arrays = kings
    position = arrays["position"].copy()
    largest = np.abs(position).max()
    position[7, 1] += 0.02 * largest
    file = written(tmp_path, arrays, position=position)
    found = parity(file, folder)
    assert not found.equal
    (place, turn) = found.differences
    assert place.image == 7
    assert place.absolute == pytest.approx(0.02 * largest, rel=1e-3)
    assert place.relative == pytest.approx(0.02 * largest / np.abs(position).max(), rel=1e-3)
    assert turn.relative < 1e-5
    assert parity(file, folder, tolerance=0.03).equal
    told = found.to_dict()
    assert (told["equal"], told["differences"][1]["equal"]) == (False, True)
    assert [list(row.values())[-1] for row in found.rows()] == ["no", "yes"]


def test_several_scenes(tmp_path: Path) -> None:
    """Their logits or their log-softmax; with the scene given, and without."""
    torch.manual_seed(1)
    state = authors.ms_transformer(4, (1, 1), shared=True, hyper=((12, 6), (10, 8)))
    model, _ = convert.mapped(state, "hyperpose", "cambridge", {}, "theirs.pth")
    position, rotation, logits = compute.ms_forward(state, pictures(3))
    arrays = {"images": pictures(3), "position": position, "rotation": rotation, "scene_logits": logits}
    assert parity(written(tmp_path, arrays), model).equal
    assert parity(written(tmp_path, arrays, scene_logits=logits.log_softmax(-1)), model).equal
    chosen = logits.argmax(-1).numpy()
    assert parity(written(tmp_path, arrays, scene=chosen), model).equal
    assert not parity(written(tmp_path, arrays, scene=(chosen + 1) % 4), model).equal
    off = logits.clone()
    off[1, 2] += 0.1 * logits.abs().max()
    found = parity(written(tmp_path, arrays, scene_logits=off), model).differences
    assert [one.output for one in found if one.relative > 1e-5] == ["scene_logits"]
    for scene in ([0, 1, 4], [-1, 0, 0]):
        with pytest.raises(DataError, match=naming(0, 3)):
            parity(written(tmp_path, arrays, scene=np.array(scene)), model)


def test_robotcar_is_compared_as_the_network_returns_it(tmp_path: Path) -> None:
    """Normalised positions, not metres; log-quaternions of the body."""
    torch.manual_seed(2)
    state = authors.atloc()
    model, _ = convert.mapped(state, "atloc", "robotcar-loop", ROBOTCAR, "theirs.pth")
    position, rotation = compute.atloc_forward(state, pictures(3))
    assert parity(written(tmp_path, {"images": pictures(3), "position": position, "rotation": rotation}), model).equal


def test_the_documented_way_to_write_the_file(tmp_path: Path, kings: tuple[Path, dict[str, Any]]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "parity.md").read_text(encoding="utf-8")
    block = page.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(compile(block, "docs/parity.md", "exec"), names)
    folder, arrays = kings
    out = tmp_path / "authors.npz"
    tensors = [torch.from_numpy(arrays[key]) for key in ("images", "position", "rotation")]
    names["store"](out, folder.parent / "theirs.pth", *tensors)
    assert parity(out, folder).equal
    (tmp_path / "others.pth").write_bytes(b"other weights")
    names["store"](out, tmp_path / "others.pth", *tensors, scene=torch.zeros(9, dtype=torch.int64))
    with pytest.raises(WeightsError, match=r"theirs\.pth"):
        parity(out, folder)


def test_one_output_is_enough(tmp_path: Path, kings: tuple[Path, dict[str, Any]]) -> None:
    found = parity(written(tmp_path, kings[1], position=None), kings[0])
    assert [one.output for one in found.differences] == ["rotation"]


def test_the_weights_are_those_that_were_converted(tmp_path: Path, kings: tuple[Path, dict[str, Any]]) -> None:
    folder, arrays = kings
    assert parity(written(tmp_path, arrays, weights=np.array("theirs.pth")), folder).equal
    with pytest.raises(WeightsError, match=naming("others.pth", "theirs.pth", arrays["weights"])):
        parity(written(tmp_path, arrays, weights=np.array("others.pth")), folder)


def wrong() -> dict[str, tuple[dict[str, Any], str]]:
    """What is put in place of the arrays, and what the message names."""
    nan = np.full((9, 3), np.nan, dtype=np.float32)
    return {
        "no images": ({"images": None}, "images"),
        "no outputs": ({"position": None, "rotation": None}, "position"),
        "another name": ({"poses": np.ones((9, 7))}, "poses"),
        "bytes": ({"images": np.zeros((9, 3, 64, 64), dtype=np.uint8)}, "uint8"),
        "channels last": ({"images": np.zeros((9, 64, 64, 3), dtype=np.float32)}, "images"),
        "none": ({"images": np.zeros((0, 3, 64, 64), dtype=np.float32)}, "images"),
        "fewer": ({"position": np.zeros((8, 3), dtype=np.float32)}, "position"),
        "flat": ({"position": np.zeros(9, dtype=np.float32)}, "position"),
        "another width": ({"rotation": np.zeros((9, 3), dtype=np.float32)}, "rotation"),
        "whole numbers": ({"position": np.zeros((9, 3), dtype=np.int64)}, "int64"),
        "not finite": ({"position": nan}, "finite"),
        "logits of one scene": ({"scene_logits": np.zeros((9, 4), dtype=np.float32)}, "scene_logits"),
        "scene as text": ({"scene": np.array(["a"] * 9)}, "scene"),
        "one scene": ({"scene": np.array(0)}, "scene"),
        "weights as numbers": ({"weights": np.ones(3)}, "weights"),
        "objects": ({"position": np.array([{}] * 9, dtype=object)}, "Python objects"),
    }


@pytest.mark.parametrize("what", wrong())
def test_files_that_are_not_what_they_should_be(tmp_path: Path, kings: tuple[Path, dict[str, Any]], what: str) -> None:
    more, words = wrong()[what]
    with pytest.raises(DataError, match=words) as error:
        parity(written(tmp_path, kings[1], **more), kings[0])
    assert "\n" not in str(error.value)
    assert "x.npz" in str(error.value)


def test_other_arguments(tmp_path: Path, kings: tuple[Path, dict[str, Any]]) -> None:
    file = written(tmp_path, kings[1])
    for tolerance in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="tolerance"):
            parity(file, kings[0], tolerance=tolerance)
    with pytest.raises(UsageError, match=naming("warp")):
        parity(file, kings[0], device="warp")
    with pytest.raises(UsageError, match=naming("a.onnx")):
        parity(file, "a.onnx")
    with pytest.raises(WeightsError, match="nowhere"):
        parity(file, "local-dir:nowhere")
    with pytest.raises(DataError, match=r"absent\.npz"):
        parity(tmp_path / "absent.npz", kings[0])


def test_a_model_that_is_training_stays_so(tmp_path: Path, kings: tuple[Path, dict[str, Any]]) -> None:
    model = posezoo.load(f"local-dir:{kings[0]}").train()
    assert parity(written(tmp_path, kings[1]), model).equal  # dropout is off while it is compared
    assert model.training
