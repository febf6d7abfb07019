"""Pushing to a hub on this machine: what arrives, what is never overwritten, what is never told."""

from __future__ import annotations

import json
import logging
import shutil
import zipfile
from pathlib import Path

import faults
import pytest
import torch
import yaml
from command_line import ok
from huggingface_hub import parse_eval_result_entries
from loopback_hub import TOKEN, LoopbackHub
from naming import naming
from safetensors.torch import save_file
from small_models import small, with_estimate
from small_runs import Notes, Train

import posezoo
from posezoo.base.errors import HubError, UsageError, WeightsError
from posezoo.catalogue import forms, plugins
from posezoo.evaluation import baselines
from posezoo.nn.backbones import Backbone
from posezoo.nn.estimate import Calibration
from posezoo.publish.push import PICTURE, RESULTS, push
from posezoo.testing import ModelConformance
from posezoo.training.again import evaluate
from posezoo.zoo import card
from posezoo.zoo.card import text_of as card_of
from posezoo.zoo.export import export
from posezoo.zoo.find import CONFIG, WEIGHTS, read_config
from posezoo.zoo.saved import load, save

NAME = "tester/pushed"


def head(hub: LoopbackHub, name: str = NAME) -> dict[str, bytes]:
    return hub.repositories[name][-1][1]


def test_what_is_pushed_can_be_loaded(hub: LoopbackHub, small_model: Path) -> None:
    commit = push(small_model, NAME)
    assert commit == hub.repositories[NAME][-1][0]
    assert set(head(hub)) == {"config.json", "model.safetensors", "README.md"}
    for file in ("config.json", "model.safetensors"):
        assert head(hub)[file] == (small_model / file).read_bytes()
    model = load(f"hf-hub:{NAME}@{commit}")
    assert model.origin == f"hf-hub:{NAME}@{commit}"
    # without an owner it goes into the namespace
    assert push(small_model, "other") == hub.repositories["tester/other"][-1][0]


def test_an_error_estimate_goes_along(hub: LoopbackHub, tmp_path: Path) -> None:
    save(with_estimate(small("posenet")), tmp_path / "model", "card")
    commit = push(tmp_path / "model", NAME)
    about = read_config(tmp_path / "model")["estimate"]
    assert head(hub)[about["file"]] == (tmp_path / "model" / about["file"]).read_bytes()
    model = load(f"hf-hub:{NAME}@{commit}")
    assert model.estimate is not None
    assert model.estimate.calibration == Calibration("made up", 99, 0.9)


@pytest.mark.parametrize(
    "infusion",
    [pytest.param(name, id=name or "plain", marks=[pytest.mark.slow] * (name in ("+hyper=single", "+hyper=two")))
     for name in ModelConformance.infusions],
)  # fmt: skip
@pytest.mark.parametrize("arch", sorted(plugins.models()))
def test_every_model_is_the_same_pushed_and_pulled(hub: LoopbackHub, tmp_path: Path, arch: str, infusion: str) -> None:
    suite = type("Suite", (ModelConformance,), {"model": arch})()
    model = suite.build(infusion)
    save(model, tmp_path / "model", "card")
    commit = push(tmp_path / "model", NAME)
    for file in (CONFIG, WEIGHTS):
        assert head(hub)[file] == (tmp_path / "model" / file).read_bytes()
    again = load(f"hf-hub:{NAME}@{commit}")
    assert again.config == model.config
    with torch.no_grad():
        for given, expected in zip(again(suite.images(3)), model(suite.images(3)), strict=True):
            assert given is expected if expected is None else torch.equal(given, expected)


def test_a_generated_card_says_how_to_load_it_and_is_renewed(
    hub: LoopbackHub, small_model: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(small_model, tmp_path / "copy"))
    config = read_config(copy)
    (copy / "README.md").write_text(card.text(config, None))
    push(copy, NAME)
    assert f'posezoo.load("hf-hub:{NAME}")' in head(hub)["README.md"].decode()
    (copy / "README.md").write_text(card.text(config, None, licence="MIT"))
    push(copy, NAME)
    assert "license: mit" in head(hub)["README.md"].decode()


def test_results_and_trajectory_go_with_a_run(hub: LoopbackHub, small_model: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(small_model, run / "best")
    report = {
        **{"model": "posenet", "data": "demo-loop", "split": "test", "ground_truth": "original", "notes": []},
        "results": {
            "overall": [
                {
                    "method": "posenet",
                    "group": "overall",
                    "num": 8,
                    "median_position_m": 1.23456,
                    "median_orientation_deg": 3.5,
                }
            ]
        },
    }
    (run / "report").mkdir()
    (run / "report" / "report.json").write_text(json.dumps(report))
    (run / "report" / "trajectory.png").write_bytes(b"a picture")
    (run / "best" / "README.md").write_text(card.text(read_config(run / "best"), report))
    push(run, NAME)
    files = head(hub)
    assert files["trajectory.png"] == b"a picture"
    assert b"](trajectory.png)" in files["README.md"]
    found = parse_eval_result_entries(yaml.safe_load(files[".eval_results/posezoo.yaml"]))
    assert [(one.dataset_id, one.task_id, one.value) for one in found] == [
        ("tester/demo-loop", "median_position_m", 1.2346),
        ("tester/demo-loop", "median_orientation_deg", 3.5),
    ]
    report["data"] = "folder:/home/me/photos"
    assert card.results_file(report) == ""


@pytest.mark.parametrize("by_hand", [False, True])
def test_what_an_earlier_model_left_is_removed(
    hub: LoopbackHub, small_model: Path, tmp_path: Path, by_hand: bool
) -> None:
    save(with_estimate(small("posenet")), tmp_path / "model", "card")
    push(tmp_path / "model", NAME)
    card_there = b"# My words\n![](trajectory.png)\n" if by_hand else card.MARKER.encode()
    hub.publish(NAME, {RESULTS: b"[]", PICTURE: b"png", "mine.txt": b"x", "README.md": card_there})
    push(small_model, NAME)
    left = {"config.json", "model.safetensors", "README.md", "mine.txt"} | ({PICTURE} if by_hand else set())
    assert set(head(hub)) == left


@pytest.mark.parametrize("private", [False, True])
def test_a_new_repository_is_private_on_request(hub: LoopbackHub, small_model: Path, private: bool) -> None:
    """From the command line too."""
    push(small_model, NAME, private=private)
    ok("weights", "push", str(small_model), "tester/other", *(["--private"] if private else []))
    assert hub.private == ({NAME, "tester/other"} if private else set())


def test_a_folder_that_is_replaced_meanwhile_is_not_pushed(
    hub: LoopbackHub, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the config of one model and the weights of another would arrive."""
    copy = Path(shutil.copytree(small_model, tmp_path / "copy"))

    def replaced(folder: Path) -> None:
        save(small("posenet"), copy, "card")

    monkeypatch.setattr(card, "report_of", replaced)
    with pytest.raises(WeightsError, match=naming(copy, "push it again")):
        push(copy, NAME)
    assert NAME not in hub.repositories


def test_a_hand_written_card_is_never_overwritten(hub: LoopbackHub, small_model: Path) -> None:
    hub.publish(NAME, {"README.md": b"# My own words\n"})
    notes: list[str] = []
    push(small_model, NAME, note=notes.append)
    assert head(hub)["README.md"] == b"# My own words\n"
    assert "model.safetensors" in head(hub)
    assert notes == [f"the card of {NAME} is hand-written and is kept"]


def test_nothing_that_is_pushed_names_a_folder_of_this_machine(
    hub: LoopbackHub, train: Train, one_place: Path, tmp_path: Path
) -> None:
    """Own data by absolute path, images and split below another, a backbone's file somewhere else, bad data skipped."""
    private = tmp_path / "alice secret"
    photos = Path(shutil.copytree(one_place, private / "photos"))
    (photos / "yard" / "03.png").write_text("no picture")
    backbone = Backbone("test_efficientnet.r160_in1k")
    save_file(backbone.net.state_dict(), private / "backbone.safetensors")
    given = {"pretrained_backbone": str(private / "backbone.safetensors"), "data.skip_bad": True, "epochs": 1}
    run = train(data=f"{photos}?root={photos}", **given).path
    push(run, NAME)
    config = json.loads(head(hub)["config.json"])
    assert config["training"]["data"] == "folder:photos?root=photos"
    assert config["training"]["backbone_weights"][0]["source"] == "backbone.safetensors"
    assert config["config"]["pretrained_backbone"] == "backbone.safetensors"
    assert "yard/03.png" in head(hub)["README.md"].decode()
    (tmp_path / "card.md").write_text(card_of(run))
    export(run, "pt2", tmp_path / "m.pt2")
    export(run, "onnx", tmp_path / "m.onnx")
    shown = [*head(hub).values(), (tmp_path / "card.md").read_bytes(), (tmp_path / "m.onnx").read_bytes()]
    with zipfile.ZipFile(tmp_path / "m.pt2") as archive:
        shown += [archive.read(name) for name in archive.namelist()]
    installed = [str(Path(module.__file__).parent) for module in (posezoo, torch)]  # where sources lie, in traces
    for content in shown:
        for secret in ("alice", str(tmp_path), *installed):
            assert secret.encode() not in content
    # here the run still knows where its data and its backbone's file are; the pushed model does not
    notes = Notes()
    assert baselines.RETRIEVAL in evaluate(run, observer=notes).methods
    pushed = evaluate(f"hf-hub:{NAME}", f"folder:{photos}", skip_bad=True, observer=notes)
    assert baselines.RETRIEVAL not in pushed.methods
    assert any("no image retrieval: the backbone's weights were backbone.safetensors" in text for text in notes.notes)
    (private / "backbone.safetensors").unlink()  # or the run was carried to another machine
    assert baselines.RETRIEVAL not in evaluate(run, observer=notes).methods
    with pytest.raises(UsageError, match=naming("--data")):
        evaluate(f"hf-hub:{NAME}")


def test_weights_without_a_licence_are_not_pushed(hub: LoopbackHub, small_model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(small_model, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    del config["sum"]
    config.setdefault("training", {})["redistributable"] = False  # as posezoo weights convert writes it
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError):
        push(copy, NAME)
    assert NAME not in hub.repositories


def test_nothing_damaged_is_pushed(hub: LoopbackHub, small_model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(small_model, tmp_path / "copy"))
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match=naming("sha256")):
        push(copy, NAME)
    assert hub.asked == []


def test_a_wrong_token_is_one_line_that_does_not_tell_it(
    hub: LoopbackHub, small_model: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    hub.token = "hf_another"
    faults.assert_fails(["weights", "push", str(small_model), NAME], 5, naming(NAME, "401"))
    ended = faults.in_process(["weights", "push", str(small_model), NAME, "--debug"])
    assert "Traceback" in ended.stderr
    told = ended.stdout + ended.stderr + caplog.text + "".join(capfd.readouterr())
    assert TOKEN not in told
    assert any(asked.authorization == f"Bearer {TOKEN}" for asked in hub.asked)


@pytest.mark.parametrize(("mode", "words"), [("403", "no access"), ("500", "failing"), ("hang", "not answered within")])
def test_a_hub_that_fails(
    hub: LoopbackHub, small_model: Path, monkeypatch: pytest.MonkeyPatch, mode: str, words: str
) -> None:
    monkeypatch.setenv("POSEZOO_HUB_TIMEOUT", "1")
    hub.mode, hub.methods = mode, ("POST",)
    with pytest.raises(HubError, match=words):
        push(small_model, NAME)
    assert NAME not in hub.repositories


@pytest.mark.parametrize("name", ["a/b/c", "../x", "a b/c", "", "-x/y"])
def test_what_is_no_repository(hub: LoopbackHub, small_model: Path, name: str) -> None:
    with pytest.raises(UsageError):
        push(small_model, name)
    assert hub.asked == []


def test_what_lies_on_the_hub_is_not_pushed(
    hub: LoopbackHub, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(small_model, NAME)
    with pytest.raises(UsageError, match=naming(f"hf-hub:{NAME}")):
        push(f"hf-hub:{NAME}", "tester/again")
    monkeypatch.setenv("POSEZOO_OFFLINE", "1")
    with pytest.raises(UsageError, match="offline"):
        push(small_model, NAME)
    assert forms.namespace() == "tester"
