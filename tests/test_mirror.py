"""posezoo/x/y.py is tested in tests/x/test_y.py: both trees are compared. And how long files and functions are."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UNTESTED = {  # modules without a test file of their own
    "__main__.py": "one line; tests/cli/test_cli.py runs it as a program",
    "base/hooks.py": "declarations; tests/catalogue/test_plugins.py registers through every one of them",
    "nn/outputs.py": "declarations; tests/nn/test_promises.py and the suite of models check what they hold",
    "cli/options.py": "declarations; the tests of the commands use every one of them",
}
ACROSS = {  # test files of no single module
    "cli/test_bad_input.py": "what is wrong with data, through every command that reads them",
    "cli/test_cli.py": "posezoo/cli/__init__.py: the whole of the commands",
    "cli/test_data_prepare.py": "posezoo data prepare, killed and on full disks: too long for test_data.py",
    "cli/test_weights_convert.py": "posezoo weights convert: needs files of others",
    "data/test_skip_bad.py": "skip_bad from the reader to the cache",
    "training/test_cluster.py": "the guide's script for Slurm, from torchrun to the run's last report",
    "training/test_dry_run.py": "plugins that break the contract, from the command line to setup",
    "training/test_resume.py": "killed and stopped runs, from the loop to the checkpoints",
}
PLUGINS = ROOT / "tests" / "plugins"


def modules() -> set[str]:
    """The engine's modules, below posezoo/."""
    paths = (path.relative_to(ROOT / "posezoo") for path in (ROOT / "posezoo").rglob("*.py"))
    return {path.as_posix() for path in paths if path.name != "__init__.py"}


def files_of_tests() -> set[str]:
    """The test files in folders of their own, below tests/; those at the top are of the whole."""
    paths = (path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py"))
    return {path.as_posix() for path in paths if len(path.parts) > 1 and path.parts[0] != "plugins"}


def mirror(module: str) -> str:
    """The test file of a module."""
    path = Path(module)
    return (path.parent / f"test_{path.name}").as_posix()


def test_every_module_has_a_test_file() -> None:
    missing = {module for module in modules() if not (ROOT / "tests" / mirror(module)).exists()}
    assert missing == set(UNTESTED)


def test_every_test_file_has_a_module() -> None:
    assert files_of_tests() - {mirror(module) for module in modules()} == set(ACROSS)


def test_every_plugin_is_tested() -> None:
    plugins = {path.name.removeprefix("posezoo_") for path in (ROOT / "plugins").iterdir() if path.is_dir()}
    named = " ".join(path.stem for path in PLUGINS.glob("test_*.py"))
    tested_elsewhere = {"hyper": "tests/nn/test_hyperhead.py", "demo": "tests/test_docs.py"}
    missing = {plugin for plugin in plugins if plugin not in named} - set(tested_elsewhere)
    assert not missing
    assert all((ROOT / place).exists() for place in tested_elsewhere.values())


def test_every_test_tests() -> None:
    """No file without a test: what was moved left none behind."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        assert "def test_" in text or "Conformance" in text, path


def test_heavy_tests_are_there() -> None:
    """What heavy.txt names, so that a test which was renamed does not come back into the default run unseen."""
    ids = [line for line in (ROOT / "tests" / "heavy.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert ids == sorted(set(ids))
    for test in ids:
        path, _, name = test.partition("::")
        function = name.partition("[")[0].rpartition("::")[2]
        inherited = "::" in name.partition("[")[0]  # classes get their tests from the conformance suites
        assert (ROOT / path).is_file(), test
        assert inherited or f"def {function}(" in (ROOT / path).read_text("utf-8"), test


MOST_LINES = {"file": 350, "function": 50}


@pytest.mark.parametrize("package", ["posezoo", "plugins", "tools"])
def test_what_is_long_says_why(package: str) -> None:
    """In a line with `Long:`, of a function among its own or the one above."""
    unexplained = []
    for path in sorted((ROOT / package).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        if len(lines) > MOST_LINES["file"] and "Long" not in (ast.get_docstring(ast.parse(text)) or ""):
            unexplained.append(str(path))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                first = min([node.lineno, *(line.lineno for line in node.decorator_list)])
                whole = lines[first - 2 : node.end_lineno]
                if len(whole) - 1 > MOST_LINES["function"] and not any("Long:" in line for line in whole):
                    unexplained.append(f"{path}:{node.lineno} {node.name}")
    assert not unexplained


def test_equivalent_mutants_are_of_lines_that_are_there() -> None:
    listed = tomllib.loads((ROOT / "tools" / "equivalent.toml").read_text(encoding="utf-8"))["equivalent"]
    lines: dict[str, set[str]] = {}
    for path in (path for package in ("posezoo", "plugins") for path in (ROOT / package).rglob("*.py")):
        lines[path.as_posix()] = {line.strip() for line in path.read_text(encoding="utf-8").splitlines()}
    gone = [
        one
        for one in listed
        if not any(name.endswith(one["file"]) and one["line"] in found for name, found in lines.items())
    ]
    assert not gone
