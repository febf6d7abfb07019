"""Which tests run which lines, measured test file by test file and kept in .mutate/covering until a file changes.

What a fixture of a module or of the session runs counts for every test that asks for it. Lines that run in another
process (data workers, a command line started by a test) are not seen.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

# a fork has imported what pytest would have rewritten: a warning, and warnings are errors
PYTEST = ["-q", "-m", "not slow", "-n0", "--no-header", "-p", "no:cacheprovider", "-p", "no:randomly"]
PYTEST += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
FIXTURE = "fixture "


@dataclass
class Covering:
    """What the tests of one file run."""

    digests: dict[str, str] = field(default_factory=dict)
    """Of the test file and of every file of ours that it runs, other files of tests/ included."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each passing test took, by its id."""
    failed: list[str] = field(default_factory=list)
    lines: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """File -> line -> tests."""

    def tests(self, file: str, first: int, last: int) -> set[str]:
        """The tests that run one of the lines."""
        lines = self.lines.get(file, {})
        return {test for line, tests in lines.items() if first <= int(line) <= last for test in tests}


def kept(place: Path, root: Path, test_file: str) -> Covering | None:
    """What was measured before, if nothing that it depends on has changed."""
    if not place.exists():
        return None
    covering = Covering(**json.loads(place.read_text(encoding="utf-8")))
    now = {file: digest(root / file) for file in covering.digests}
    return covering if test_file in now and now == covering.digests else None


def measure(test_file: str, sources: Sequence[str], place: Path, root: Path) -> int:
    """Run one test file of the tree `root` and write what it covers to `place`; pytest's exit code."""
    import coverage

    files = coverage.Coverage(
        data_file=None, source=[str(root / source) for source in (*sources, "tests")], config_file=False
    )
    recorder = Recorder(files)
    files.start()
    code = pytest.main([*PYTEST, test_file], plugins=[recorder])
    files.stop()
    covering = recorder.covering(root, sources)
    covering.digests[test_file] = digest(root / test_file)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(asdict(covering)), encoding="utf-8")
    return int(code)


def digest(file: Path) -> str:
    """The file's sha256; empty if it is gone."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""


class Recorder:
    """A plugin of pytest that tells coverage which test is under way."""

    def __init__(self, coverage: Any) -> None:
        self.coverage = coverage
        self.current = ""
        self.users: dict[str, list[str]] = defaultdict(list)
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        for name in getattr(item, "fixturenames", ()):
            self.users[FIXTURE + name].append(item.nodeid)
        self._switch(item.nodeid)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
        before = self.current
        if fixturedef.scope != "function":
            self._switch(FIXTURE + fixturedef.argname)
        try:
            return (yield)
        finally:
            self._switch(before)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if not report.passed:
            self.failed.append(report.nodeid)

    def covering(self, root: Path, sources: Sequence[str]) -> Covering:
        """What was recorded."""
        passed = {test: round(s, 3) for test, s in self.seconds.items() if test not in self.failed}
        found = Covering(seconds=passed, failed=sorted(set(self.failed)))
        data = self.coverage.get_data()
        for path in data.measured_files():
            file = str(Path(path).relative_to(root))
            if not data.lines(path):  # every file of the sources is listed, whether it was run or not
                continue
            found.digests[file] = digest(root / file)
            if Path(file).parts[0] not in sources:
                continue
            found.lines[file] = {
                str(line): tests
                for line, contexts in data.contexts_by_lineno(path).items()
                if (tests := sorted({t for c in contexts for t in self.users.get(c, [c]) if t in passed}))
            }
        return found

    def _switch(self, context: str) -> None:
        self.current = context
        self.coverage.switch_context(context)
