"""The documentation against the code: commands parse, keys and defaults are those of the classes, examples run."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import fields
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

import posezoo
from posezoo import plugins, registry, settings, zoo
from posezoo.hyperhead import HyperConfig
from posezoo.model import ModelConfig
from posezoo.spec import ReadRequest
from posezoo.training.config import TrainConfig

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "docs/guides/*.md", "docs/reference/*.md", "plugins/*/README.md")
    for path in ROOT.glob(pattern)
)
EXAMPLE = ROOT / "docs" / "examples" / "posezoo-hello"
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PLACE_KEYS = ("scenes", "position_mean", "position_std", "label_frame")  # training sets them


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


def entered(words: list[str]) -> tuple[Any, list[str]]:
    """The command that `words` begin with, and the words after it."""
    import typer

    from posezoo.cli.commands import app

    command: Any = typer.main.get_command(app)
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
        if rest in (["--help"], ["-h"]):
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


@pytest.mark.parametrize(("name", "schema", "prefix"), [("model", ModelConfig, ""), ("hyper", HyperConfig, "hyper.")])
def test_model_keys_are_documented(name: str, schema: Any, prefix: str) -> None:
    values = {prefix + field.name: shown(field.default) for field in fields(schema) if field.name not in PLACE_KEYS}
    assert documented(ROOT / "docs/guides/settings.md", name) == values


def test_recipes_are_documented() -> None:
    text = (ROOT / "docs/guides/settings.md").read_text(encoding="utf-8")
    for name in registry.recipes():
        assert f"| `{name}` |" in text, name


def test_readme_has_the_two_commands_each_in_a_block_of_its_own() -> None:
    contents = [content.strip() for _, content in blocks(ROOT / "README.md")]
    assert "pip install '.[demo]' && posezoo train atloc+hyper --data demo-loop" in contents
    assert "pip install '.[test]' && pytest" in contents


def test_every_page_is_in_the_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:")[2]
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not page.startswith("examples/")} == set(re.findall(r"[\w/.-]+\.md", nav))


def test_the_plugin_page_shows_the_example_as_it_is() -> None:
    contents = [content for _, content in blocks(ROOT / "docs/plugins.md")]
    for path in ("pyproject.toml", *(f"posezoo_hello/{name}.py" for name in ("__init__", "model", "reader"))):
        assert (EXAMPLE / path).read_text(encoding="utf-8") in contents, path


@pytest.fixture
def hello(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example plugin, found as if it were installed."""
    real = plugins._entry_points()
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.setattr(
        plugins, "_entry_points", lambda: [*real, EntryPoint("hello", "posezoo_hello", plugins.hooks.GROUP)]
    )
    plugins.manager.cache_clear()
    yield
    plugins.manager.cache_clear()


@pytest.mark.parametrize("name", ["hello", "hello+hyper", "hello+hyper=two"])
def test_the_example_model_works_with_every_infusion(hello: Any, name: str) -> None:
    import torch

    model = zoo.build(zoo.blueprint(name, {"backbone": "resnet10t", "hidden": 16, "hyper": {"rank": 4}}))
    output = model(torch.zeros(2, 3, 64, 64))
    assert output.position.shape == (2, 3)
    assert output.quaternion.shape == (2, 4)


def test_the_example_reader_reads(hello: Any, tmp_path: Path) -> None:
    (tmp_path / "trajectory.txt").write_text("# time x y z qx qy qz qw\n1.5 1 2 3 0 0 0 1\n2.5 1 2\n")
    result = import_module("posezoo_hello.reader").read(ReadRequest(tmp_path))
    (frame,) = result.frames
    assert (frame.image, frame.position, frame.quaternion) == ("1.5.png", (1, 2, 3), (1, 0, 0, 0))
    assert frame.timestamp == 1_500_000
    assert [str(finding) for finding in result.findings] == ["trajectory.txt:3: expected 8 columns, got 3"]
