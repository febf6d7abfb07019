"""The data format `hello-data` keeps what every reader promises, and reads a small trajectory."""

from posezoo.testing import ReaderConformance


class TestHelloData(ReaderConformance):
    reader = "hello-data"

    def write(self, folder) -> None:
        (folder / "trajectory.txt").write_text("# time x y z qx qy qz qw\n1.5 1 2 3 0 0 0 1\n2.5 1 2\n")

    def test_values(self) -> None:
        result = self.read()
        assert [(f.image, f.position, f.quaternion) for f in result.frames] == [("1.5.png", (1, 2, 3), (1, 0, 0, 0))]
        assert [str(finding) for finding in result.findings] == ["trajectory.txt:3: expected 8 columns, got 3"]
