"""Frames and findings of a small trajectory."""

from pathlib import Path

from posezoo_hello_data.reader import read

from posezoo.spec import ReadRequest


def test_read(tmp_path: Path) -> None:
    (tmp_path / "trajectory.txt").write_text("# time x y z qx qy qz qw\n1.5 1 2 3 0 0 0 1\n2.5 1 2\n")
    result = read(ReadRequest(tmp_path))
    assert [(f.image, f.position, f.quaternion) for f in result.frames] == [("1.5.png", (1, 2, 3), (1, 0, 0, 0))]
    assert [str(finding) for finding in result.findings] == ["trajectory.txt:3: expected 8 columns, got 3"]
