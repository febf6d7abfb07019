"""`posezoo plugins new`: what it writes are the examples, works as it is, and overwrites nothing."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import hostile
import pytest
from naming import naming

from posezoo.base.errors import UsageError
from posezoo.catalogue import plugins
from posezoo.plugin import scaffold

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
KINDS = list(scaffold.EXAMPLES)


def texts(folder: Path) -> dict[str, str]:
    paths = [p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in paths}


def lines_of_code(text: str) -> int:
    """Lines of Python that are neither empty nor comment nor docstring."""
    words: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            words |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and n not in words for n, line in lines)


@pytest.mark.parametrize("kind", KINDS)
def test_the_examples_are_what_it_writes(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = scaffold.EXAMPLES[kind]
    folder = scaffold.new_plugin(name, kind)
    assert folder == Path(f"posezoo-{name}")
    written = texts(folder)
    shared = {place: written.pop(place) for place in scaffold.SHARED.values()}
    assert written == texts(EXAMPLES / f"posezoo-{name}")
    assert f"posezoo plugins check {name}\n" in shared[".github/workflows/test.yml"]
    assert f"authors of posezoo-{name}\n" in shared["LICENSE"]
    assert {"__pycache__/", "outputs/"} <= set(shared[".gitignore"].splitlines())
    assert not any("NAME" in text for text in shared.values())


@pytest.mark.parametrize("kind", KINDS)
def test_under_forty_lines_of_code(kind: str) -> None:
    written = texts(EXAMPLES / f"posezoo-{scaffold.EXAMPLES[kind]}")
    assert {"pyproject.toml", "README.md"} < set(written)
    assert sum(lines_of_code(text) for path, text in written.items() if path.endswith(".py")) < 40


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_changed_everywhere(kind: str, tmp_path: Path) -> None:
    folder = scaffold.new_plugin("far-sight2", kind, tmp_path / "new")
    written = texts(folder)
    old = scaffold.EXAMPLES[kind]
    for path, text in written.items():
        assert not re.search(rf"{old}|{old.replace('-', '_')}|{old.title().replace('-', '')}", path + text), path
        if path.endswith(".py"):
            compile(text, path, "exec")
    project = tomllib.loads(written["pyproject.toml"])["project"]
    assert project["name"] == "posezoo-far-sight2"
    assert project["entry-points"]["posezoo"] == {"far-sight2": "posezoo_far_sight2"}
    assert {"posezoo_far_sight2/__init__.py", "tests/test_far_sight2.py"} < set(written)


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_writes_is_found(kind: str, tmp_path: Path) -> None:
    folder = scaffold.new_plugin("far-sight2", kind, tmp_path / "new")
    done = hostile.posezoo("plugins", "--format", "json", POSEZOO_PLUGIN_PATH=str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    brings = scaffold.HOOKS[kind].removeprefix("posezoo_").removesuffix("s")
    assert f'"{brings} far-sight2' in done.stdout
    assert '"off' not in done.stdout


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with pytest.raises(UsageError, match=naming("new")):
        scaffold.new_plugin("mine", "model", tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("", "model", "cannot be a plugin's name"),
        ("Mine", "model", "cannot be a plugin's name"),
        ("../mine", "model", "cannot be a plugin's name"),
        ("mine/../../x", "reader", "cannot be a plugin's name"),
        ("mine_2", "model", "cannot be a plugin's name"),
        ("-mine", "model", "cannot be a plugin's name"),
        ("m" * 41, "model", "cannot be a plugin's name"),
        ("posenet", "model", "posenet"),
        ("hyper", "modifier", "hyper"),
        ("folder", "reader", "folder"),
        ("demo", "model", "posezoo_demo"),
        ("features", "model", r"\bFeatures\b"),
        ("none", "model", r"\bNone\b"),
        ("pose-output", "modifier", r"\bPoseOutput\b"),
        ("place", "training", r"\bPlace\b"),
        ("anchors", "training", "anchors"),
    ],
)
def test_names_that_cannot_be(
    name: str, kind: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    owners = plugins.manager().owners
    taken = {taken: owner for (hook, taken), owner in owners.items() if hook == scaffold.HOOKS[kind]}
    with pytest.raises(UsageError, match=reason):
        scaffold.new_plugin(name, kind, taken=taken)
    assert list(tmp_path.iterdir()) == []
