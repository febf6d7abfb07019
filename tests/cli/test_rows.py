"""The rows of lists."""

from __future__ import annotations

from typing import Any

import faults
from command_line import ok, strict_json


def test_json_of_names() -> None:
    names = [row["name"] for row in strict_json(ok("list", "--format", "json"))]
    assert {"posenet", "atloc", "ms-transformer", "posenet+hyper", "ms-transformer+hyper"} <= set(names)
    atlocs = [row["name"] for row in strict_json(ok("list", "atloc*", "--format", "json"))]
    assert strict_json(ok("list", "atlok", "--format", "json")) == []
    variants = ["atloc.3d", "atloc.4d", "atloc.lstm", "atloc.plus", "atloc.wide"]
    assert atlocs == ["atloc", *variants, "atloc+anchors", "atloc+hyper", "atloc+hyper.3d", "atloc+spread"]


def listed(*words: str) -> list[dict[str, Any]]:
    """The rows of `posezoo list`."""
    return strict_json(ok("list", *words, "--format", "json"))


def test_columns_that_choose_a_model() -> None:
    rows = {row["name"]: row for row in listed()}
    assert rows["posenet+hyper"]["params"] == 8.9
    assert rows["posenet+hyper"]["MB"] == 35.5
    assert all(row["ms"] > 0 for row in rows.values())
    names = [row["name"] for row in listed("--sort", "MB")]
    assert [rows[name]["MB"] for name in names] == sorted(row["MB"] for row in rows.values())


def test_errors_on_a_data_set() -> None:
    rows = listed("--data", "7scenes-chess", "--sort", "m")
    assert (rows[0]["name"], rows[0]["m"], rows[0]["deg"], rows[0]["by"]) == ("atloc", 0.10, 4.07, "paper")
    assert {row["m"] for row in rows[2:]} == {None}, "those without a number are last"
    ours = {row["name"]: row for row in listed("--data", "7scenes-redkitchen")}["posenet+hyper"]
    assert (ours["m"], ours["by"]) == (0.124, "ours")


def test_further_combinations_that_have_results_are_there() -> None:
    """Of two modifiers, or of one with a value."""
    names = [row["name"] for row in listed("--data", "demo-loop", "--sort", "m")]
    assert names[0] == "atloc+anchors+hyper"
    assert len(names) == len(set(names))
    cambridge = {row["name"]: row["m"] for row in listed("--data", "cambridge")}
    assert cambridge["ms-transformer+hyper=two"] == 1.29


def test_fewer_rows() -> None:
    assert [row["name"] for row in listed("posenet*", "--exclude", "*[.+]*")] == ["posenet"]
    assert [row["name"] for row in listed("--pretrained")] == ["atloc-anchors-hyper-demo", "posenet-anchors-demo"]
    assert [row["name"] for row in listed("posenet*", "--pretrained")] == ["posenet-anchors-demo"]


def test_near_names_where_nothing_matches() -> None:
    ended = faults.in_process(["list", "atlok"])
    assert ended.code == 0
    assert '"atloc"' in ended.stderr
