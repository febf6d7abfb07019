"""What is missing of a catalogued data set: named exactly, once, and not where findings or rules explain it."""

from __future__ import annotations

from pathlib import Path

from posezoo.base.errors import Finding
from posezoo.base.spec import Frame, ReadRequest
from posezoo.data.completeness import Missing, expected, missing, summary
from posezoo.data.table import Frames

COUNTS = {
    "chess": {"train": {"seq-01": 3, "seq-02": 2}, "test": {"seq-03": 2}},
    "fire": {"train": 4, "test": 1},
}


def frames(**counts: int) -> Frames:
    """`chess_train_seq01=3`: that many frames."""
    rows = []
    for key, count in counts.items():
        scene, split, sequence = key.split("_")
        sequence = sequence.replace("seq", "seq-")
        rows += [Frame(f"{key}/{n}.png", (0, 0, 0), (1, 0, 0, 0), scene, split, sequence) for n in range(count)]
    return Frames.from_rows(Path(), rows)


def found(
    here: Frames, findings: list[Finding] | None = None, left_out: dict | None = None, **asked: tuple
) -> list[str]:
    counts = expected(COUNTS, ReadRequest(Path(), **asked))
    return [str(one.finding) for one in missing(counts, here, left_out or {}, findings or [], True)]


ALL = {"chess_train_seq01": 3, "chess_train_seq02": 2, "chess_test_seq03": 2, "fire_train_a": 4, "fire_test_b": 1}


def test_nothing_is_missing() -> None:
    assert found(frames(**ALL)) == []


def test_scenes_sequences_and_single_frames() -> None:
    assert found(frames(chess_train_seq01=1, chess_test_seq03=2)) == [
        "chess/seq-01: 1 train frames found, 3 in the complete data set",
        "chess/seq-02: the sequence is missing (2 train frames)",
        "fire: the scene is missing (5 frames)",
    ]
    assert found(frames(**{**ALL, "fire_test_b": 3})) == ["fire: 3 test frames found, 1 in the complete data set"]


def test_a_part_on_purpose_misses_only_its_own() -> None:
    assert found(frames(chess_train_seq01=3), scenes=("chess",), sequences=("1",)) == []
    assert found(frames(fire_train_a=4), scenes=("fire",)) == ["fire: the scene is missing (1 test frames)"]
    assert found(frames(fire_train_a=1), scenes=("fire",), sequences=("a",)) == [], "fire's sequences are not counted"


def test_what_a_finding_names_is_not_said_twice() -> None:
    here = frames(**{**ALL, "chess_train_seq02": 0, "chess_train_seq01": 2})
    listed = Finding("chess/TrainSplit.txt", 2, "sequence2: no folder chess/seq-02")
    bad = Finding("chess/seq-01/frame-000000.pose.txt", 1, "tracking lost")
    assert found(here, [listed, bad]) == [
        "chess/seq-02: the sequence is missing (2 train frames, listed in chess/TrainSplit.txt:2)"
    ]
    assert found(here, [listed, Finding("fire/seq-01/x", 0, "of another scene")])[0].startswith("chess/seq-01: 2 train")
    assert found(here, [listed, Finding("chess/seq-011/x", 0, "of another sequence")])[0].startswith("chess/seq-01: 2")


def test_frames_that_the_rules_leave_out_are_here() -> None:
    here = frames(**{**ALL, "chess_train_seq01": 1, "fire_train_a": 3})
    assert found(here, left_out={("chess", "train", "seq-01"): 2, ("fire", "train", "a"): 1}) == []


def test_summary() -> None:
    parts = [Missing("a", "scene", "", 0, 5), Missing("b/1", "sequence", "train", 0, 5)]
    parts += [Missing("b/2", "sequence", "train", 0, 5), Missing("b/3", "sequence", "test", 1, 5)]
    assert summary(parts) == "1 scene missing, 2 sequences missing, 1 sequence incomplete"
