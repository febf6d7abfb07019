"""The keys of a run: what `train --print-config` and `info` list, in full, readable in 80 columns, typed back."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import faults
import pytest

from posezoo.catalogue import resolve, settings
from posezoo.training.config import TrainConfig, configure
from posezoo.zoo.blueprint import PLACE_FIELDS

COMMAND = ["train", "atloc+hyper", "--data", "demo-loop"]


def ok(*argv: str) -> str:
    """What a command that succeeds prints."""
    ended = faults.in_process(argv)
    assert ended.code == 0, ended
    return re.sub(r"\x1b\[[0-9;]*m", "", ended.stdout)  # without the terminal's bold


def listed(*more: str) -> dict[str, dict[str, Any]]:
    """Key -> its row."""
    rows = json.loads(ok(*COMMAND, *more, "--print-config", "--format", "json"))
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: row for row in rows}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes any output for a terminal
    monkeypatch.setenv("COLUMNS", "80")


def test_every_key_of_the_run_is_listed_with_real_values(tmp_path: Path) -> None:
    rows = listed("epochs=3", "hyper.rank=64", "optim.clip=inf", "optim.backbone_lr=0")
    known = resolve.model("atloc+hyper")
    own = {key for key in settings.field_names(TrainConfig) if key not in ("model", "data.name")}
    own |= {field.name for field in fields(known.architecture.load("config")) if field.name not in PLACE_FIELDS}
    own |= set(settings.field_names(known.modifiers[0].load("config"), "hyper."))
    assert set(rows) == own
    assert all(row["what"] and row["type"] for row in rows.values())
    changed = {key: (rows[key]["value"], rows[key]["default"]) for key in ("epochs", "hyper.rank", "optim.backbone_lr")}
    assert changed == {"epochs": (3, 30), "hyper.rank": (64, None), "optim.backbone_lr": (0, None)}
    assert rows["optim.clip"]["value"] == "inf", "JSON has no infinity"
    assert rows["optim.betas"]["value"] == [0.9, 0.999]
    assert rows["recipe"]["value"] == "quick", "what the recipe sets is there"
    assert (
        rows["crop"]["value"] == configure(known, resolve.data("demo-loop"))[1].config.crop != rows["crop"]["default"]
    )
    assert list(tmp_path.iterdir()) == [], "nothing was trained"


def test_no_data_are_needed() -> None:
    rows = json.loads(ok("train", "posenet", "--data", "7scenes-chess", "--print-config", "--format", "json"))
    assert next(row["value"] for row in rows if row["key"] == "recipe") == "indoor"


def test_what_is_listed_can_be_typed_back() -> None:
    phases = "phases=[{epochs=2}, {train='position', epochs=1, weights=[1, 0], augment=false}]"
    first = listed(phases, "hyper.hidden_position=[8, 4]", "data.split=blocks", "mean=[0.1, 0.2, 0.3]")
    words = [f"{key}={settings.setting_text(row['value'])}" for key, row in first.items()]
    assert listed(*words) == first


def test_wrong_settings_are_refused_all_the_same() -> None:
    faults.assert_fails([*COMMAND, "--print-config", "dropout=7"], 2, "dropout=7: not a number from 0 to 1")


def test_in_80_columns_every_key_and_value_is_in_one_piece(narrow: None) -> None:
    rows = listed("hyper.rank=64")
    lines = ok(*COMMAND, "hyper.rank=64", "--print-config").splitlines()
    assert max(map(len, lines)) <= 80
    cells = [[cell.strip() for cell in line.split("│")] for line in lines if line.startswith("│")]
    shown = {cell[1]: cell[2] for cell in cells if cell[1]}
    assert shown == {key: settings.setting_text(row["value"]) for key, row in rows.items()}


@pytest.mark.parametrize("model", ["atloc", "posenet+hyper"])
def test_info_lists_the_keys_of_training_and_breaks_no_number(model: str, narrow: None) -> None:
    content = json.loads(ok("info", model, "--format", "json"))
    training = content["settings of training"]
    assert {row["key"] for row in training} | {"model", "data.name"} == set(settings.field_names(TrainConfig))
    text = ok("info", model)
    assert max(map(len, text.splitlines())) <= 80
    words = {word for line in text.splitlines() for word in line.replace("│", " ").split()}
    for row in training:
        assert row["key"] in words
    for row in content["size"]:
        assert {f"{row[column]:,}" for column in ("parameters", "bytes (fp32)", "FLOPs an image")} <= words
    for row in content["results"]:
        assert {str(row["position (m)"]), str(row["orientation (deg)"]), row["statistic"]} <= words


def test_hints_name_a_command_that_lists_the_key() -> None:
    ended = faults.assert_fails([*COMMAND, "zzz=1"], 2, "posezoo settings MODEL lists all keys$")
    hint = ended.stderr.rpartition(": ")[2].removesuffix(" lists all keys\n")
    words = hint.replace("MODEL", "atloc+hyper").split()[1:]
    assert all(key in ok(*words) for key in ("optim.backbone_lr", "epochs", "hyper.rank", "dropout"))


def test_settings_of_a_model_are_those_of_its_runs() -> None:
    """But for what a recipe and the data set."""
    rows = {row["key"]: row for row in json.loads(ok("settings", "atloc+hyper", "--format", "json"))}
    of_run = listed()
    assert rows.keys() == of_run.keys()
    assert {key for key, row in rows.items() if row["default"] != of_run[key]["default"]} == set()


def test_settings_without_a_model_are_all_there_are() -> None:
    rows = json.loads(ok("settings", "--format", "json"))
    groups = {row["group"] for row in rows}
    assert groups >= {"run", "optim", "every model", "atloc", "posenet", "ms-transformer", "+hyper", "+anchors"}
    assert all(row["what"] and row["type"] and "value" not in row for row in rows)


def test_settings_of_a_study_are_listed_and_named_where_one_is_wrong() -> None:
    from posezoo.studies.declared import STUDIES

    for name in STUDIES:
        rows = json.loads(ok("settings", "--study", name, "--format", "json"))
        assert all(row["key"].startswith("study.") and row["what"] and "default" in row for row in rows), name
    assert "study.covers" in ok("settings", "--study", "occlusion")
    faults.assert_fails(["settings", "--study", "occlusions"], 2, "occlusion")
    faults.assert_fails(["settings", "posenet", "--study", "occlusion"], 2, "--study")
    faults.assert_fails(["study", "occlusion", "study.zzz=1"], 2, "settings --study occlusion")
