"""The rows of lists."""

from __future__ import annotations

from command_line import ok, strict_json


def test_json_of_names() -> None:
    names = [row["name"] for row in strict_json(ok("list", "--format", "json"))]
    assert {"posenet", "atloc", "ms-transformer", "posenet+hyper", "ms-transformer+hyper"} <= set(names)
    atlocs = [row["name"] for row in strict_json(ok("list", "atloc*", "--format", "json"))]
    variants = ["atloc.3d", "atloc.4d", "atloc.lstm", "atloc.plus", "atloc.wide"]
    assert atlocs == ["atloc", *variants, "atloc+anchors", "atloc+hyper", "atloc+hyper.3d"]
