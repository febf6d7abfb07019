"""Everything about one model."""

from __future__ import annotations

from command_line import ok, strict_json


def test_a_model_with_anchors_has_a_part_of_them() -> None:
    """400 keys of 128 numbers, the projection of 1280, and a temperature."""
    rows = {row["part"]: row for row in strict_json(ok("info", "posenet+anchors", "--format", "json"))["size"]}
    numbers = 400 * 128 + (1280 + 1) * 128 + 1
    assert (rows["anchors"]["parameters"], rows["anchors"]["bytes (fp32)"]) == (numbers, 4 * numbers)
    plain = {row["part"]: row for row in strict_json(ok("info", "posenet", "--format", "json"))["size"]}
    residuals = 2 * (1024 + 1) * 3
    assert rows["total"]["parameters"] - plain["total"]["parameters"] == numbers + residuals


def test_json_of_a_model() -> None:
    content = strict_json(ok("info", "posenet+hyper", "--format", "json"))
    rows = {row["part"]: row for row in content["size"]}
    assert rows["hypernetwork"]["parameters"] == rows["hypernetwork"]["published"] == 3_546_887
    assert rows["total"]["bytes (fp32)"] == 4 * rows["total"]["parameters"]
    assert all(row["FLOPs an image"] >= 0 for row in rows.values())
    kings = {"model": "posenet+hyper", "data": "cambridge-kings-college", "position (m)": 0.61, "source": "paper"}
    assert any(kings.items() <= row.items() for row in content["results"])
    shown = ok("info", "posenet+hyper")
    assert "3,546,887" in shown
    assert "HyperPose supplement, Table 1" in " ".join(shown.split())
    training = strict_json(ok("info", "atloc.plus", "--format", "json"))["settings of training"]
    (tuples,) = (row for row in training if row["key"] == "tuple_length")
    assert (tuples["value"], tuples["default"]) == (3, 1)
