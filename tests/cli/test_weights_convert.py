"""`posezoo weights convert` as a user types it, and `posezoo parity` on what it made."""

from __future__ import annotations

from pathlib import Path

import authors
import authors_compute as compute
import faults
import numpy as np
import pytest
import torch
from command_line import ok, strict_json
from naming import naming


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single-scene HyperPose file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("theirs") / "heads.pth"
    torch.save(authors.posenet(), path)
    return path


def argv(file: Path | str, *more: str, source: str = "hyperpose", data: str = "7scenes-heads") -> list[str]:
    return ["weights", "convert", str(file), "--from", source, "--data", data, "--out", "ours", *more]


def test_convert_then_predict(checkpoint: Path, one_place: Path) -> None:
    ended = faults.in_process(argv(checkpoint, "--format", "json"))
    assert ended.code == 0, ended
    answer = strict_json(ended.stdout)
    assert (answer["model"], answer["label_frame"], answer["path"]) == ("posenet+hyper", "camera-to-world", "ours")
    assert answer["sha256"] == faults.sha256(checkpoint)
    assert answer["next"] == "posezoo eval ours --data 7scenes-heads"
    image = str(next(one_place.rglob("*.png")))
    ended = faults.in_process(["predict", "local-dir:ours", image, "--format", "json"])
    assert ended.code == 0, ended
    assert strict_json(ended.stdout)[0]["scene"] == "heads"
    assert "heads.pth" in faults.in_process(["info", "ours"]).stdout
    faults.assert_fails(argv(checkpoint), 2, naming("ours"), [Path("ours")])


def test_convert_then_parity(checkpoint: Path) -> None:
    assert faults.in_process(argv(checkpoint)).code == 0
    state = torch.load(checkpoint, weights_only=True)
    images = torch.randn(2, 3, 64, 64)
    position, rotation = compute.posenet_forward(state, images)
    theirs = {"images": images, "position": position, "rotation": rotation}
    np.savez("theirs.npz", **theirs)
    line = ["parity", "theirs.npz", "--model", "local-dir:ours"]
    answer = strict_json(ok(*line, "--format", "json"))
    assert (answer["equal"], answer["images"], answer["tolerance"]) == (True, 2, 1e-5)
    assert [one["output"] for one in answer["differences"]] == ["position", "rotation"]
    told = ok(*line)
    assert "position" in told
    assert "yes" in told
    assert ok(*line, "--format", "quiet") == ""
    np.savez("theirs.npz", **theirs | {"rotation": rotation * 1.01})
    ended = faults.assert_fails(line, 4, naming("theirs.npz", "rotation", "1e-05"), [Path("theirs.npz")])
    assert "no" in ended.stdout.split()
    assert ok(*line, "--tolerance", "0.1")
    assert strict_json(faults.in_process([*line, "--format", "json"]).stdout)["equal"] is False
    np.savez("theirs.npz", images=np.array([{}], dtype=object))
    faults.assert_fails(line, 3, naming("theirs.npz", "Python objects"))
    faults.assert_fails([*line[:3], "local-dir:nowhere"], 3, "theirs")
    faults.assert_fails([*line, "--tolerance", "-1"], 2, "tolerance")
    faults.assert_fails(line[:2], 2, "model")


def test_wrong_words(checkpoint: Path) -> None:
    faults.assert_fails(argv(checkpoint, source="hyperpos"), 2, naming("hyperpose"))
    faults.assert_fails(argv(checkpoint, data="7scenes-head"), 2, naming("7scenes-heads"))
    faults.assert_fails(argv(checkpoint, "crop"), 2, naming("crop"))
    faults.assert_fails(argv(checkpoint, "crap=3"), 2, naming("crap"))
    faults.assert_fails(argv(checkpoint, source="atloc"), 4, naming("atloc", "--from hyperpose"))
    faults.assert_fails(argv(checkpoint, data="7scenes"), 4, naming("1", "7scenes", "7"))
    faults.assert_fails(argv("absent.pth"), 4, naming("absent.pth"))
    assert not Path("ours").exists()


def test_every_tensor_that_does_not_fit_is_printed(checkpoint: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)
    state["\x1b[31mred"] = state.pop("fc1.bias")
    torch.save(state, "spoilt.pth")
    ended = faults.assert_fails(argv("spoilt.pth"), 4, naming("spoilt.pth", "1"), [Path("spoilt.pth")])
    assert ended.stdout.splitlines() == ["missing: fc1.bias", "unknown: \\x1b[31mred"]


def test_a_pickled_module_needs_a_word(checkpoint: Path) -> None:
    net = torch.nn.Linear(2, 2)
    torch.save(net, "whole.pth")
    faults.assert_fails(argv("whole.pth"), 4, naming("--i-trust-this"))
    faults.assert_fails(argv("whole.pth", "--i-trust-this"), 4, naming("hyperpose", "2", "bias", "weight"))


def test_error_lines_are_whole(checkpoint: Path) -> None:
    """However long the path, what to type next still follows it."""
    file = Path("/".join(["a folder with a long name"] * 20)) / "absent.pth"
    ended = faults.assert_fails(argv(file), 4, naming(file, "safetensors"))
    assert len(ended.stderr) > 500


def test_cambridge_of_five_scenes() -> None:
    torch.manual_seed(1)
    torch.save(authors.ms_transformer(5, (1, 1), shared=True), "five.pth")
    line = argv("five.pth", source="ms-transformer", data="cambridge")
    told = faults.assert_fails(line, 4, naming(5, "cambridge", 4)).stderr
    scenes = told[told.index("scenes=") :].partition(", if")[0]
    ended = faults.in_process([*line, scenes])
    assert ended.code == 0, ended
    assert "GreatCourt" in faults.in_process(["info", "ours"]).stdout


def test_no_weights_at_all() -> None:
    Path("page.pth").write_text("<html><body>Sign in</body></html>")
    faults.assert_fails(argv("page.pth"), 4, naming("page.pth"))
    Path("cut.pth").write_bytes(b"PK\x03\x04 and no more")
    faults.assert_fails(argv("cut.pth"), 4, naming("cut.pth"))
