"""What a message tells to install: the extra exists, holds the packages that are needed, and zsh takes the line."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
OURS = ("posezoo", "plugins", "registry", "docs", "examples", "README.md", "CONTRIBUTING.md")
TEXTS = (".py", ".md", ".toml", ".ipynb", ".yml", ".jinja", ".html", "Dockerfile")
NAMED = re.compile(r"(?:posezoo|\.)\[([a-z0-9_,-]+)\]")
PIP = re.compile(r"pip install[^\n`]*")


def files() -> list[Path]:
    found = [path for name in OURS for path in ((ROOT / name).rglob("*") if (ROOT / name).is_dir() else [ROOT / name])]
    return [path for path in found if path.name.endswith(TEXTS) and path.is_file() and path.name != "LOG.md"]


def packages(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def imported(path: Path) -> set[str]:
    """The top-level modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found - set(sys.stdlib_module_names)


@cache
def provided() -> dict[str, set[str]]:
    """The distributions that bring a module, of those that are installed here."""
    return {module: {canonicalize_name(name) for name in names} for module, names in packages_distributions().items()}


def distributions(module: str) -> set[str]:
    return provided().get(module, set())


@cache
def with_theirs(names: frozenset[str]) -> set[str]:
    """The packages, and what they bring with them as far as they are installed here."""
    found, left = set(names), list(names)
    while left:
        try:
            given = requires(left.pop()) or []
        except PackageNotFoundError:
            continue
        new = {canonicalize_name(Requirement(text).name) for text in given if "extra ==" not in text} - found
        found |= new
        left += new
    return found


def test_every_extra_that_is_named_exists_and_is_quoted() -> None:
    seen = set()
    for path in files():
        for line in PIP.findall(path.read_text()):
            for match in NAMED.finditer(line):
                where = f"{path.relative_to(ROOT)}: {line}"
                seen |= set(match[1].split(","))
                assert set(match[1].split(",")) <= set(EXTRAS), where
                before = line[: match.start()]
                assert before.count("'") % 2 or before.count('"') % 2, f"zsh reads [...] as a pattern: {where}"
    assert {"demo", "export", "map", "serve", "robotcar"} <= seen


def test_a_message_names_the_extra_by_the_whole_command() -> None:
    """A line of the code that raises UsageError for a missing package can be copied as it is."""
    for path in (*(ROOT / "posezoo").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                words = [
                    w.value for w in ast.walk(node.exc) if isinstance(w, ast.Constant) and isinstance(w.value, str)
                ]
                for word in words:
                    if NAMED.search(word):
                        assert re.search(r"pip install 'posezoo\[[a-z]+\]'", word), (path, word)


def test_a_file_that_names_an_extra_needs_nothing_that_is_not_in_it() -> None:
    core, checked = packages(PROJECT["dependencies"]), set()
    for path in (*(ROOT / "posezoo").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")):
        extras = {
            extra for match in re.finditer(r"posezoo\[([a-z]+)\]", path.read_text()) for extra in match[1].split(",")
        }
        if not extras:
            continue
        held = set().union(*(packages(EXTRAS[extra]) for extra in extras))
        needed = {
            module: found for module in imported(path) if (found := distributions(module)) and "posezoo" not in found
        }
        for module, found in needed.items():
            assert found & with_theirs(frozenset(core | held)), f"{path.relative_to(ROOT)} imports {module}"
        checked |= extras
    assert {
        "export",
        "map",
        "serve",
        "camera",
        "robotcar",
        "weather",
        "ecl",
        "viewer",
        "cluster",
        "analysis",
    } <= checked


@pytest.mark.parametrize("place", ["posezoo", "plugins"])
def test_everything_imported_is_a_dependency_or_in_an_extra(place: str) -> None:
    """Rendering the demo is not part of the wheel."""
    held = packages(PROJECT["dependencies"]) | {name for extra in EXTRAS.values() for name in packages(extra)}
    for path in (ROOT / place).rglob("*.py"):
        if "render" in path.parts:
            continue
        for module in imported(path):
            found = distributions(module)
            if found and not module.startswith("posezoo"):
                assert found & with_theirs(frozenset(held)), f"{path.relative_to(ROOT)} imports {module}"
