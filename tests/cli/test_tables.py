"""Every command's table in a terminal of 80 columns: no number, no name and no address is split, long text is cut."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import small_data
from command_line import ok, strict_json
from small_runs import Notes

from posezoo.api import train
from posezoo.catalogue import entries
from posezoo.cli import tables
from posezoo.cli.output import print_content, print_study
from posezoo.data.how_to import how_to
from posezoo.evaluation.compare import BETTER, SAME
from posezoo.studies import (
    appearance,
    attention,
    cells,
    error_map,
    few_shot,
    grid,
    occlusion,
    recorded,
    robustness,
    trajectory,
    weights,
)

LONGEST = "ms-transformer+hyper.7scenes"
COMMANDS = [
    ["list"],
    ["weights", "list"],
    ["weights", "verify"],
    ["data", "list"],
    ["data", "stats", "demo-loop"],
    ["doctor"],
    ["plugins"],
    ["train", LONGEST, "--data", "7scenes", "--print-config"],
    *(["info", name] for name in ("posenet+hyper", "7scenes-chess", "robotcar-loop", "atloc-anchors-hyper-demo")),
    pytest.param(["info", LONGEST], marks=pytest.mark.slow),
]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes any output for a terminal
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, one_place: Path) -> Path:
    """A finished run in a folder with a long name."""
    out = tmp_path_factory.mktemp("runs") / "ms-transformer+hyper.cambridge"
    more = small_data.settings("posenet", out=str(out), epochs=1)
    return train("posenet", f"folder:{one_place}", observer=Notes(), **more).path


def words(text: str) -> set[str]:
    """The words of an output, without frames and ellipses."""
    return {word.strip("…,;:()") for word in re.sub(r"[─-╿]", " ", plain(text)).split()}


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def check(narrow: str, wide: str) -> None:
    """What is shown in 80 columns is whole words of what is shown without an edge; only a word alone is longer."""
    extra = {"not", "shown", "--no-truncate", "shows", "all"}
    assert words(narrow) - words(wide) - extra == set()
    for line in plain(narrow).splitlines():
        assert len(line) <= 80 or len(line.split()) <= 2, line


def test_sentences_are_broken_between_words_and_addresses_have_a_line(
    terminal: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No `29` and `.6 ms`; in a pipe every line is one."""
    line = (
        f"posenet+anchors: 3,644,496 parameters, 15.2 MB, 31.6 ms a picture, {'29.6'} ms from its file (cpu, 1 thread)"
    )
    address = "https://www.microsoft.com/en-us/research/project/rgb-d-dataset-7-scenes/"

    def printed() -> list[str]:
        tables.print_lines(line, f"report: /a/{'long/' * 20}report.html")
        tables.print_facts("", {"image cache": "about 12.9 GB", "page": address, "next": "x " * 50})
        return plain(capsys.readouterr().out).splitlines()

    found = printed()
    assert all(len(one) <= 80 or len(one.split()) == 1 for one in found)
    assert " ".join(found[:2]) == line and f"/a/{'long/' * 20}report.html" in found
    assert [one.strip() for one in found[4:7]] == ["image cache  about 12.9 GB", "page", address]
    monkeypatch.delenv("FORCE_COLOR")
    assert printed()[0] == line


def test_the_page_of_a_data_set_is_one_piece(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_how_to(how_to("7scenes"))
    lines = plain(capsys.readouterr().out).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert sum(how_to("7scenes")["page"] in line for line in lines) == 2  # at the top, and in the steps


@pytest.mark.parametrize("argv", COMMANDS, ids=lambda argv: " ".join(argv))
def test_in_80_columns_no_number_and_no_name_is_split(
    argv: list[str], terminal: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = strict_json(ok(*argv, "--format", "json"))

    def printed(whole: bool = False) -> str:
        print_content(content, "human", " ".join(argv), whole)
        return capsys.readouterr().out

    narrow, full = printed(), printed(whole=True)
    monkeypatch.delenv("FORCE_COLOR")
    wide = printed()
    assert "…" not in wide + full, "a pipe, and --no-truncate, cut nothing"
    check(narrow, wide)
    check(full, wide)
    assert words(full) >= words(wide), "--no-truncate shows everything"
    rows = content if isinstance(content, list) else content.get("size", [])
    first = " ".join(str(next(iter(row.values()))) for row in rows)
    assert words(narrow) >= words(first), "the first column is never cut or left out"


def test_the_option_reaches_the_table(terminal: None) -> None:
    assert "…" in ok("list", "atloc*")
    assert "…" not in ok("list", "atloc*", "--no-truncate")


@pytest.mark.parametrize("name", sorted(entries.data_cards()))
def test_how_to_get_data_has_whole_addresses(name: str, terminal: None) -> None:
    text = ok("data", "how-to", name)
    page = entries.data_card(name).page
    assert page in text
    for line in plain(text).splitlines():
        assert len(line) <= 80 or len(line.split()) <= 2, line


def test_results_and_poses_in_80_columns(
    run: Path, one_place: Path, tmp_path: Path, terminal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = sorted(one_place.rglob("*.png"))[:3]
    long = [shutil.copy(image, tmp_path / f"{image.stem}-from-the-second-camera.png") for image in images]
    for argv in (
        ["eval", str(run), "--out", str(tmp_path / "report")],
        ["predict", str(run), *map(str, images)],
        ["predict", str(run), *map(str, long)],
    ):
        monkeypatch.setenv("FORCE_COLOR", "1")
        narrow = ok(*argv)
        monkeypatch.delenv("FORCE_COLOR")
        wide = ok(*argv)
        # but for milliseconds, which are measured anew
        timeless = "\n".join(line for line in wide.splitlines() if " ms" not in line)
        numbers = {word for word in words(timeless) if re.fullmatch(r"-?[\d.]+", word)}
        assert words(narrow) >= numbers
        frames = [line for line in plain(narrow).splitlines() if line[:1] in "│┃┏└┡"]
        assert all(len(line) <= 80 for line in frames)
        check("\n".join(frames), wide)


def test_ways_to_fit() -> None:
    header, rows = (
        ["name", "median m", "what it is"],
        [["a-name", "104.926", "some words that say more"], ["b", "-", ""]],
    )
    assert tables.fit(header, rows, 80).header == header  # type: ignore[union-attr]
    cut = tables.fit(header, [*rows, *[["c", "1", "word " * 30]] * 7], 60)
    assert cut is not None and not cut.hidden and sum(cut.widths) + 10 == 60
    turned = tables.fit(["method", *(f"number {n}" for n in range(12))], [["a method", *["1234.5"] * 12]] * 3, 60)
    assert turned is not None and turned.header == ("method", "a method", "a method", "a method")
    less = tables.fit(["name", "x", "words", "more"], [["a" * 30, "1.5", "b" * 20, "c" * 30]] * 9, 70)
    assert less is not None and less.hidden == ["more"]
    assert tables.fit(["name", "x"], [["a" * 30, "1.5"]] * 9, 30) is None


def test_control_characters_are_shown_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_table("\x1b[2J", ["a\x07", "b"], [["\x1b]0;x\x07", "two\nlines"]])
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\\x1b[2J" in out and "two" in out


def test_wide_characters_keep_the_frame(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_table("", ["name", "what"], [["教会広場", "x"], ["b", "y " * 60]])
    from rich.cells import cell_len

    assert {cell_len(plain(line)) for line in capsys.readouterr().out.splitlines()} == {80}


def test_a_coloured_pipe_has_no_edge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("COLUMNS", raising=False)
    tables.print_table("data sets", ["name", "summary"], [["loop", "a long way round " * 20]])
    assert "not shown" not in (out := capsys.readouterr().out) and out.count("a long way round") == 20


LONG = ("outputs/posenet-anchors/demo-loop/20261122T101500Z", "ms-transformer+hyper=two.7scenes", "base")
MANY = {
    "median_position_m": 0.2634,
    "median_position_m_ci95": [0.2112, 10.3456],
    "median_position_m_seeds": [0.251, 0.3],
}
MANY |= {
    **{"median_orientation_deg": 12.345, "median_orientation_deg_ci95": [10.01, 124.456]},
    "median_orientation_deg_seeds": [11.0, 13.5],
}
UNEQUAL = [{"error": "position_m", "verdict": BETTER}, {"error": "orientation_deg", "verdict": SAME}]
GROUPS = [("overall", "overall", 240), ("condition", "winter-overcast", 120), ("quarter", "easiest quarter", 60)]


def tables_of_studies() -> dict[str, list[dict[str, str]]]:
    """What each study and a grid print of three models with long names."""
    rows = [{"name": name, "model": name, **MANY, "parameters": 141_234_567, "milliseconds": 123.45} for name in LONG]
    against = [{**row, "against_first": UNEQUAL if n else []} for n, row in enumerate(rows)]
    of_error = {"median": 10.2634, "median_ci95": [9.2112, 104.3456], "drop": -0.0412, "drop_ci95": [-0.123, 0.0456]}
    drops = [
        {"condition": "overcast", "model": name, "error": error, **of_error, "against_first": {"verdict": SAME}}
        for name in LONG
        for error in ("position_m", "orientation_deg")
    ]
    peak = {"cover": 0.15, "largest_over_outside_position": 12.3, "frames_until_back_position": None}
    peak |= {
        key.replace("position_m", "at_peak_m").replace("orientation_deg", "at_peak_deg"): MANY[key] for key in MANY
    }
    lost = {"difference": -0.0412, "difference_ci95": [-0.123, 0.0456]}
    few = {"fraction": 0.05, "epochs": 5, "forgetting": {"position_m": lost, "orientation_deg": lost}}
    few |= {"retrieval": [0.8, 12.3], "retrieval_ci95": [[0.5, 1.2], [10.3, 14.5]]}
    medians = {"median_first": 10.2, "median_first_ci95": [9.1, 104.3], "median": 9.21, "median_ci95": [8.2, 103.4]}
    groups = [
        {"by": by, "group": group, "num": num, "error": error, **medians, **lost, "share_improved": 0.54}
        for by, group, num in GROUPS
        for error in ("position_m", "orientation_deg")
    ]
    ami = {f"ami_place_{k}": 0.46 for k in (6, 4, 12)}
    ami |= {"ami_condition": 0.03, "neighbour_m": 104.2, "neighbour_same_place": 0.43}
    window = {"peak_m": 104.2, "peak_deg": 123.4, "peak_over_outside_position": 8.3, "frames_until_back_position": 12}
    passed = recorded.rows({"window": "test-winter:105-125", "models": dict.fromkeys(LONG, window)})
    spread = {"map": "last decoder layer", "spread": 0.2, "spread_ci95": (0.1, 0.3)}
    runs = [
        {**row, "row": row["name"], "training": way, "seeds": [0, 1, 2]} for row in rows for way in ("crop", "rotate")
    ]
    return {
        "bench grid": grid.formatted(runs),
        "cells": cells.shown(against, [{"name": "oracle nearest pose", **MANY}]),
        "appearance": appearance._shown(drops),
        "robustness": robustness._shown([{**row, "kind": "occlusion", "severity": 5} for row in against]),
        "occlusion": [*occlusion._shown({name: [peak] for name in LONG}), *passed],
        "trajectory": [trajectory._shown({**row, "mean_position_m": 1, "mean_orientation_deg": 2}) for row in rows],
        "few-shot": few_shot._shown([{**row, **few} for row in rows]),
        "attention": [attention._shown({"model": name, **spread}) for name in LONG],
        "weights": [
            weights._shown({"model": name, "representation": "orientation weights", **ami}, weights.Options())
            for name in LONG
        ],
        "error-map": error_map._shown(LONG[0], dict.fromkeys(LONG[1:], groups)),
    }


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("name", tables_of_studies())
def test_a_study_hides_nothing_in_80_columns(
    name: str, times: int, terminal: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Few rows, and so many that they cannot become columns: a table, every word of it there, its models by letters."""
    rows = tables_of_studies()[name] * times
    print_study(rows, name, ["a note"])
    narrow = plain(capsys.readouterr().out)
    assert max(map(len, narrow.splitlines())) <= 80
    assert "not shown" not in narrow and "…" not in narrow and "┏" in narrow
    monkeypatch.delenv("FORCE_COLOR")
    print_study(rows, name, ["a note"])
    wide = plain(capsys.readouterr().out)
    assert words(narrow) >= words(wide) and "A:" not in wide
    legend = dict(line.split(": ", 1) for line in narrow.splitlines() if re.match("[A-Z]: ", line))
    assert set(LONG) <= set(legend.values()) or all(one in narrow for one in LONG)
