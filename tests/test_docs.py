"""The documentation against the code: commands parse, keys and defaults are those of the classes, examples run."""

from __future__ import annotations

import ast
import functools
import re
import shlex
import tomllib
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from posezoo_anchors.anchors import AnchorsConfig
from posezoo_spread.modifier import SpreadConfig

import posezoo
from posezoo.base.spec import API
from posezoo.catalogue import entries, plugins, settings
from posezoo.nn.hyperhead import HyperConfig
from posezoo.nn.model import ModelConfig
from posezoo.testing import ModelConformance, ReaderConformance
from posezoo.training.config import TrainConfig

ROOT = Path(__file__).parent.parent
FOLDERS = (".", "docs", "docs/guides", "docs/reference", "docs/examples/*", "plugins/*")
PAGES = sorted(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/*.md"))
EXAMPLES = ROOT / "docs" / "examples"
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# training sets them
PLACE_KEYS = ("scenes", "position_mean", "position_std", "label_frame", "decode", "lenses", "focal", "turns_deg")


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, content) of the page's fenced blocks."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def commands(page: Path) -> list[list[str]]:
    """The words of each posezoo command in the page's fenced blocks."""
    found = []
    for language, content in blocks(page):
        if language == "python":
            continue
        for line in content.replace("\\\n", " ").splitlines():
            if "posezoo" not in line:
                continue
            for part in re.split(r"&&|;", line.partition(" #")[0]):
                words = shlex.split(part)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    del words[0]
                if words and words[0] == "posezoo" and words[1:2] != [] and not words[1].startswith(("/", "<")):
                    found.append(words[1:])
    return found


@functools.cache
def whole() -> Any:
    """The command line, made once of its functions: that takes a fifth of a second."""
    import typer

    from posezoo.cli.commands import app

    return typer.main.get_command(app)


def entered(words: list[str]) -> tuple[Any, list[str]]:
    """The command that `words` begin with, and the words after it."""
    command = whole()
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"no such command: {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def documented(page: Path, name: str) -> dict[str, str]:
    """Key -> default of the table between `<!-- name -->` and `<!-- /name -->`."""
    text = page.read_text(encoding="utf-8").partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]
    return dict(re.findall(r"^\| `([\w.]+)` \| (.*?) \|", text, re.MULTILINE))


def shown(value: object) -> str:
    """A default as the pages write it."""
    words = {None: "none", True: "true", False: "false"}
    return f"`{words[value] if value is None or isinstance(value, bool) else value}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_parses(page: Path) -> None:
    for words in commands(page):
        command, rest = entered(list(words))
        if rest in (["--help"], ["-h"], ["--install-completion"]):  # the last would change the shell
            continue
        try:
            command.make_context("posezoo", list(rest))
        except Exception as error:
            message = getattr(error, "message", str(error))
            pytest.fail(f"{page.name}: posezoo {shlex.join(words)}: {message}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_named_in_the_text_exists(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for span in re.findall(r"`posezoo ([a-z][^`]*)`", text):
        command, rest = entered(span.split())
        options = {name for parameter in command.params for name in parameter.opts} | {"--help", "--debug"}
        assert {word for word in rest if word.startswith("--")} <= options, f"{page.name}: posezoo {span}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_examples_use_names_that_exist(page: Path) -> None:
    for language, content in blocks(page):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(content)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("posezoo."):
                module = import_module(node.module or "")
                assert all(hasattr(module, name.name) for name in node.names), ast.unparse(node)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "posezoo":
                assert node.attr in posezoo.__all__, f"{page.name}: posezoo.{node.attr}"


def test_the_reference_names_attributes_of_posezoo() -> None:
    """As its first line says: what it describes is an attribute of `posezoo` itself."""
    text = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    named = set()
    for block in text.split("::: ")[1:]:
        name = block.split()[0]
        members = re.search(r"members: \[(.*?)\]", block)
        module = name == "posezoo.api"
        named |= {*members[1].split(", ")} if members else set() if module else {name.rpartition(".")[2]}
    assert len(named) > 10 and named <= set(posezoo.__all__), named - set(posezoo.__all__)


def test_training_keys_are_documented() -> None:
    default = TrainConfig.model_validate({"model": "x", "recipe": "x", "data": {"name": "x"}})
    values = {}
    for key in settings.field_names(TrainConfig):
        value: Any = default
        for part in key.split("."):
            value = getattr(value, part)
        values[key] = shown(value)
    for key in ("model", "data.name"):  # arguments of the command, no settings
        del values[key]
    values["recipe"] = "by kind of data"
    assert documented(ROOT / "docs/guides/settings.md", "train") == values


@pytest.mark.parametrize(
    ("name", "schema", "prefix"),
    [
        ("model", ModelConfig, ""),
        ("hyper", HyperConfig, "hyper."),
        ("anchors", AnchorsConfig, "anchors."),
        ("spread", SpreadConfig, "spread."),
    ],
)
def test_model_keys_are_documented(name: str, schema: Any, prefix: str) -> None:
    values = {prefix + field.name: shown(field.default) for field in fields(schema) if field.name not in PLACE_KEYS}
    assert documented(ROOT / "docs/guides/settings.md", name) == values


def test_recipes_are_documented() -> None:
    text = (ROOT / "docs/guides/settings.md").read_text(encoding="utf-8")
    for name in entries.recipes():
        assert f"| `{name}` |" in text, name


def test_readme_has_the_two_commands_each_in_a_block_of_its_own() -> None:
    contents = [content.strip() for _, content in blocks(ROOT / "README.md")]
    assert "pip install '.[demo]' && posezoo train atloc+hyper --data demo-loop" in contents
    assert "pip install '.[test]' && pytest" in contents


def test_every_page_is_in_the_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:")[2]
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not page.startswith("examples/")} == set(re.findall(r"[\w/.-]+\.md", nav))


def test_every_extra_is_in_the_tutorial() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    rows = re.findall(
        r"^\| (`[^|]+) \|", (ROOT / "docs/tutorial.md").read_text().partition("| extra |")[2], re.MULTILINE
    )
    named = {name for row in rows for name in re.findall(r"`([a-z]+)`", row)}
    assert extras - {"test", "docs", "lint", "dev", "render"} <= named


def test_the_plugin_page_shows_the_examples_as_they_are() -> None:
    contents = {content for _, content in blocks(ROOT / "docs/plugins.md")}
    files = [path for path in EXAMPLES.rglob("*") if path.suffix in (".py", ".toml")]
    shown = {path for path in files if path.read_text(encoding="utf-8") in contents}
    assert {path for path in files if "tests" not in path.parts and path.name != "pyproject.toml"} <= shown
    assert {EXAMPLES / "posezoo-hello" / name for name in ("pyproject.toml", "tests/test_hello.py")} <= shown
    assert EXAMPLES / "posezoo-hello-data" / "tests/test_hello_data.py" in shown


def declared(nodes: list[ast.stmt]) -> dict[str, list[str]]:
    """Signature of each function, fields of each class, as Python writes them."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = [f"({ast.unparse(node.args)}) -> {ast.unparse(node.returns or ast.Constant(None))}"]
        if isinstance(node, ast.ClassDef):
            found[node.name] = [ast.unparse(line) for line in node.body if isinstance(line, ast.AnnAssign)]
    return found


@pytest.mark.parametrize(("module", "title"), [("hooks", "hooks"), ("spec", "specs")])
def test_hooks_and_specs_are_documented_exactly(module: str, title: str) -> None:
    """Every signature and every field, its type and default; and nothing that is not there."""
    code = declared(ast.parse((ROOT / f"posezoo/base/{module}.py").read_text(encoding="utf-8")).body)
    code.pop("load_object", None)
    text = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    page = text.partition(f'```python title="posezoo.plugin, {title}"')[2].partition("```")[0]
    assert declared(ast.parse(page).body) == code
    if module == "hooks":
        assert set(code) == set(plugins.KINDS)
    else:
        assert f"API = {API}\n" in page


def test_checks_are_documented() -> None:
    text = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    for suite, mark in ((ModelConformance, "checks"), (ReaderConformance, "reader checks")):
        table = text.partition(f"<!-- {mark} -->")[2].partition(f"<!-- /{mark} -->")[0]
        rows = re.findall(r"^\| `(test_\w+)` \|", table, re.M)
        assert set(rows) == {name for name in dir(suite) if name.startswith("test_")}


def test_environment_variables_are_documented() -> None:
    text = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    code = (ROOT / "posezoo/catalogue/plugins.py").read_text(encoding="utf-8")
    names = set(re.findall(r"POSEZOO_[A-Z_]*PLUGIN[A-Z_]*", code))
    assert names == set(re.findall(r"^\| `(POSEZOO_\w+)` \|", text, re.M))


def test_rooms_are_listed_as_import_linter_holds_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (c["layers"] for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Rooms")[2]
    listed = [line.split()[0] for line in section.split("```")[1].strip().splitlines()]
    assert listed == layers
    folders = {path.parent.name for path in (ROOT / "posezoo").glob("*/__init__.py")}
    assert folders == set(layers) - {"api"}
    assert {path.name for path in (ROOT / "posezoo").glob("*.py")} == {"__init__.py", "__main__.py", "api.py"}
