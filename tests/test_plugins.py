"""Plugins that break in every way they can are named and off, the others work. And: no torch for `posezoo list`."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from another_python import run_python

from posezoo import plugins
from posezoo.errors import UsageError

MODEL = """
    from posezoo.hooks import hookimpl
    from posezoo.spec import ModelSpec

    @hookimpl
    def posezoo_models():
        return (ModelSpec(name="{name}", build="posezoo_posenet.model:PoseNet",
                          config="posezoo_posenet.model:PoseNetConfig", summary="a model{more}),)
"""
MODULES = {
    "good": MODEL.format(name="good", more='"'),
    "loud": "print('loud at import')\n" + textwrap.dedent(MODEL.format(name="loud", more='"')),
    "importing": "import not_there\n",
    "syntax": "def broken(:\n",
    "exiting": "import sys; sys.exit(7)\n",
    "twice": MODEL.format(name="posenet", more='"'),
    "newer": MODEL.format(name="newer", more='", api=99'),
    "wrong_type": "from posezoo.hooks import hookimpl\n@hookimpl\ndef posezoo_models():\n    return ('a', 'b')\n",
    "raising": "from posezoo.hooks import hookimpl\n@hookimpl\ndef posezoo_readers():\n    raise OSError('no drive')\n",
    "nothing": "from posezoo.hooks import hookimpl\n@hookimpl\ndef posezoo_models():\n    return None\n",
    "unknown_hook": "from posezoo.hooks import hookimpl\n@hookimpl\ndef posezoo_modles():\n    return ()\n",
    "unmarked": "def posezoo_models():\n    raise AssertionError('not marked: must not be called')\n",
}
REASONS = {
    "importing": "not_there",
    "syntax": "syntax",
    "exiting": "7",
    "twice": '"posenet" is already offered by posenet (posezoo ',
    "newer": "newer needs plugin api 99, this posezoo has 1",
    "wrong_type": "posezoo_models returned str, expected ModelSpec",
    "raising": "no drive",
    "nothing": "NoneType",
    "unknown_hook": "unknown hook posezoo_modles",
}
SHOW = """
import json, sys
from posezoo import plugins
rows = [(p.name, p.distribution, p.version, p.error) for p in plugins.plugins()]
print(json.dumps({"plugins": rows, "models": sorted(plugins.models()), "torch": "torch" in sys.modules}))
"""


def install(folder: Path, name: str, code: str) -> None:
    """What `pip install` leaves behind: a module and a dist-info folder with an entry point."""
    (folder / f"pz_{name}.py").write_text(textwrap.dedent(code))
    info = folder / f"pz_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: pz-{name.replace('_', '-')}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[posezoo]\n{name} = pz_{name}\n")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    for name, code in MODULES.items():
        install(folder, name, code)
    return folder


@pytest.fixture(scope="module")
def found(site: Path) -> dict[str, Any]:
    done = run_python(SHOW, path=site)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)  # nothing else stands on stdout, whatever plugins print


def test_broken_plugins_are_off_and_named(found: dict[str, Any]) -> None:
    rows = {name: (distribution, version, error) for name, distribution, version, error in found["plugins"]}
    for name, reason in REASONS.items():
        distribution, version, error = rows[name]
        assert (distribution, version) == (f"pz-{name.replace('_', '-')}", "1.0")
        assert reason in error, name


def test_the_others_work(found: dict[str, Any]) -> None:
    assert {"posenet", "atloc", "ms-transformer", "good", "loud"} <= set(found["models"])
    assert not {"newer"} & set(found["models"])
    off = {name for name, _, _, error in found["plugins"] if error}
    assert off == set(REASONS)


def test_a_built_in_is_never_shadowed(found: dict[str, Any]) -> None:
    rows = {name: error for name, _, _, error in found["plugins"]}
    assert rows["posenet"] == ""
    assert rows["twice"]


def test_discovery_imports_no_torch(found: dict[str, Any]) -> None:
    assert not found["torch"]


def test_the_allow_list(site: Path) -> None:
    only = json.loads(run_python(SHOW, path=site, POSEZOO_PLUGINS="good, posenet").stdout)
    assert only["models"] == ["good", "posenet"]
    assert len(only["plugins"]) == 2
    none = json.loads(run_python(SHOW, path=site, POSEZOO_PLUGINS="").stdout)
    assert none["models"] == none["plugins"] == []


def test_strict_plugins_raise(site: Path) -> None:
    done = run_python(SHOW, path=site, POSEZOO_PLUGINS="posenet,importing", POSEZOO_STRICT_PLUGINS="1")
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr
    assert "not_there" in done.stderr


def test_using_a_plugin_that_is_off(site: Path) -> None:
    code = "import sys; from posezoo.cli import main; main(['info', 'importing'])"
    done = run_python(code, path=site)
    assert done.returncode == 7
    assert done.stderr.count("\n") == 1
    assert "pz-importing 1.0" in done.stderr
    assert "not_there" in done.stderr


COMMANDS = [["--help"], ["--version"], ["list"], ["data", "list"], ["train", "--help"], ["list", "--format", "json"]]


def command(arguments: list[str], site: Path | None = None) -> CompletedProcess[str]:
    code = """
import sys
from posezoo.cli import run
code = run(sys.argv[1:])
print("heavy:", sorted({"torch", "torchvision", "timm", "matplotlib", "PIL"} & set(sys.modules)), file=sys.stderr)
sys.exit(code)
"""
    return run_python(code, *arguments, path=site)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_no_command_that_only_lists_imports_torch(arguments: list[str]) -> None:
    done = command(arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "heavy: []\n"
    assert done.stdout


def test_list_works_beside_broken_plugins(site: Path) -> None:
    done = command(["list", "--format", "json"], site)
    assert done.returncode == 0
    names = [row["name"] for row in json.loads(done.stdout)]
    assert {"posenet", "posenet+hyper", "good", "good+hyper"} <= set(names)


def test_plugins_of_this_installation_are_on() -> None:
    assert [plugin for plugin in plugins.plugins() if plugin.error] == []
    assert {"posenet", "atloc", "ms-transformer"} <= set(plugins.models())
    assert set(plugins.modifiers()) >= {"hyper"}


def test_unknown_names_suggest_near_ones() -> None:
    with pytest.raises(UsageError, match='did you mean "posenet"'):
        plugins.get("posezoo_models", "model", "posnet")
    with pytest.raises(UsageError, match="known: atloc"):
        plugins.get("posezoo_models", "model", "zzz")
