"""Plugins that break in every way they can are named and off, the others work. And: no torch for `posezoo list`.

Long because each way to break is a plugin written here.
"""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from another_python import run_python
from hostile import MODEL, assert_fails, install, posezoo
from naming import naming

from posezoo.base.errors import UsageError
from posezoo.catalogue import entries, plugins

MODULES = {
    "good": MODEL.format(name="good", more='"'),
    "loud": "print('loud at import')\n" + textwrap.dedent(MODEL.format(name="loud", more='"')),
    "warning": "import sys, warnings\nfor n in range(99): warnings.warn(f'storm {n}')\nprint('more', file=sys.stderr)\n"
    + textwrap.dedent(MODEL.format(name="warning", more='"')),
    "importing": "import not_there\n",
    "syntax": "def broken(:\n",
    "exiting": "import sys; sys.exit(7)\n",
    "stopping": "class Stop(BaseException): pass\nraise Stop\n",
    "twice": MODEL.format(name="posenet", more='"'),
    "bad_name": MODEL.format(name="Bad Name", more='"'),
    "bad_build": MODEL.format(name="bad-build", more='"').replace("model:PoseNet", "model.PoseNet"),
    "bad_field": MODEL.format(name="bad-field", more='", paper=3'),
    "bad_table": MODEL.format(name="bad-table", more='", modifiers=[1]'),
    "bad_text": MODEL.format(name="bad-text", more='", paper=("a",)'),
    "bad_inside": MODEL.format(name="bad-inside", more='", modifiers={"hyper": 3}'),
    "bad_function": MODEL.format(name="bad-function", more='", converters={"theirs": len}'),
    "bad_values": "from posezoo.plugin import ModifierSpec, hookimpl\n@hookimpl\ndef posezoo_modifiers():\n"
    "    return (ModifierSpec('turn', 'x:X', 'x:Y', 'a turn', values=('half', 2)),)\n",
    "double": MODEL.format(name="double", more='"').replace("return (", "return 2 * ("),
    "newer": MODEL.format(name="newer", more='", api=99'),
    "wrong_type": "from posezoo.plugin import hookimpl\n@hookimpl\ndef posezoo_models():\n    return ('a', 'b')\n",
    "raising": "from posezoo.plugin import hookimpl\n@hookimpl\ndef posezoo_readers():\n"
    "    raise OSError('no drive')\n",
    "nothing": "from posezoo.plugin import hookimpl\n@hookimpl\ndef posezoo_models():\n    return None\n",
    "unknown_hook": "from posezoo.plugin import hookimpl\n@hookimpl\ndef posezoo_modles():\n    return ()\n",
    "unmarked": "def posezoo_models():\n    raise AssertionError('not marked: must not be called')\n",
}
REASONS = {
    "importing": "not_there",
    "syntax": "syntax",
    "exiting": "it exits with 7",
    "stopping": "Stop",
    "twice": '"posenet" is already offered by posenet (posezoo ',
    "bad_name": "not a name: 'Bad Name'",
    "bad_build": '"package.module:Name"',
    "bad_field": "bad-field: paper is int, expected str",
    "bad_table": "bad-table: modifiers is list, expected Mapping",
    "bad_text": "bad-text: paper is tuple, expected str",
    "bad_inside": "bad-inside: modifiers['hyper'] is int, expected Mapping",
    "bad_function": "bad-function: converters['theirs'] is builtin_function_or_method, expected str",
    "bad_values": "turn: values[1] is int, expected str",
    "double": 'posezoo_models offers "double" twice',
    "newer": "newer needs plugin api 99, this posezoo has 1",
    "wrong_type": "posezoo_models returned str, expected ModelSpec",
    "raising": "no drive",
    "nothing": "NoneType",
    "unknown_hook": "unknown hook posezoo_modles",
}
SHOW = """
import json, sys
from posezoo.catalogue import plugins
rows = [(p.name, p.distribution, p.version, p.error) for p in plugins.plugins()]
print(json.dumps({"plugins": rows, "models": sorted(plugins.models()), "torch": "torch" in sys.modules}))
"""


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
    assert {"posenet", "atloc", "ms-transformer", "good", "loud", "warning"} <= set(found["models"])
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


def test_a_name_in_the_allow_list_that_nothing_has(site: Path) -> None:
    found = json.loads(run_python(SHOW, path=site, POSEZOO_PLUGINS="posnet,good,").stdout)
    assert found["models"] == ["good"]
    ((name, *_, error),) = [row for row in found["plugins"] if row[-1]]
    assert (name, error) == ("posnet", "POSEZOO_PLUGINS: no entry point and no distribution has this name")
    done = posezoo("list", path=site, POSEZOO_PLUGINS="posnet")
    assert "plugin posnet" in done.stderr and "POSEZOO_PLUGINS" in done.stderr


def test_strict_plugins_raise(site: Path) -> None:
    done = run_python(SHOW, path=site, POSEZOO_PLUGINS="posenet,importing", POSEZOO_STRICT_PLUGINS="1")
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr
    assert "not_there" in done.stderr


@pytest.mark.parametrize("name", ["importing", "syntax", "exiting", "newer", "bad-build", "raising"])
def test_using_a_plugin_that_is_off(site: Path, name: str) -> None:
    plugin = name.replace("-", "_")
    reason = {"raising": "no drive", "syntax": "syntax", "bad-build": "build="}.get(name, REASONS[plugin])
    done = posezoo("train", name, "--data", "demo-loop", path=site)
    assert_fails(done, 7, f"plugin {plugin} (pz-{plugin.replace('_', '-')} 1.0) is off: ", reason, "posezoo plugins")


def test_a_name_that_two_offer_belongs_to_neither(tmp_path: Path) -> None:
    """Two distributions, one entry-point name, one model name: pluggy would skip the second without a word."""
    install(tmp_path, "one", MODEL.format(name="twin", more='"'), entry="twin")
    install(tmp_path, "two", MODEL.format(name="twin", more='"'), entry="twin")
    done = posezoo("info", "twin", path=tmp_path)
    assert_fails(done, 7, "twin (pz-one 1.0)", "twin (pz-two 1.0)", "pip uninstall")
    chosen = done.stderr.partition("POSEZOO_PLUGINS=")[2].strip()  # the way out that the line shows, typed
    rows = json.loads(posezoo("list", "twin", "--format", "json", path=tmp_path, POSEZOO_PLUGINS=chosen).stdout)
    assert [row["from"] for row in rows] == ["twin (pz-one 1.0)"]
    rows = json.loads(posezoo("plugins", "--format", "json", path=tmp_path).stdout)
    states = {row["distribution"]: row["state"] for row in rows}
    assert states["pz-one"] == 'on; "twin" is also offered by twin (pz-two 1.0)'
    assert states["pz-two"] == 'on; "twin" is also offered by twin (pz-one 1.0)'
    names = [row["name"] for row in json.loads(posezoo("list", "--format", "json", path=tmp_path).stdout)]
    assert "posenet" in names
    assert "twin" not in names


def test_several_threads_that_begin_at_once(tmp_path: Path) -> None:
    """The plugins are loaded once, and what the threads print afterwards is seen."""
    install(tmp_path, "slow", "import time\ntime.sleep(0.3)\n" + textwrap.dedent(MODEL.format(name="slow", more='"')))
    code = """
import sys, threading
from posezoo.catalogue import plugins
own = sys.stdout, sys.stderr
found, start = [], threading.Barrier(4)
def first():
    start.wait()
    found.append(plugins.manager())
    print("seen")
threads = [threading.Thread(target=first) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert (sys.stdout, sys.stderr) == own
assert len(found) == 4 and all(one is found[0] for one in found)
assert "slow" in plugins.models()
"""
    done = run_python(code, path=tmp_path)
    assert (done.returncode, done.stdout.count("seen"), done.stderr) == (0, 4, "")


def test_the_table_of_plugins(site: Path) -> None:
    done = posezoo("plugins", "--format", "json", path=site)
    assert (done.returncode, done.stderr) == (0, "")
    rows = {row["plugin"]: row for row in json.loads(done.stdout)}
    assert rows["good"]["state"] == "on"
    assert rows["good"]["brings"] == "model good"
    assert (rows["good"]["distribution"], rows["good"]["version"]) == ("pz-good", "1.0")
    for name, reason in REASONS.items():
        assert rows[name]["state"].startswith("off: ")
        assert reason in rows[name]["state"]
    human = posezoo("plugins", path=site)
    assert (human.returncode, human.stderr) == (0, "")
    assert all(name in human.stdout for name in rows)


def test_help_and_version_import_no_plugin(tmp_path: Path) -> None:
    """So that a plugin which sleeps or fails at import cannot slow or break them."""
    install(tmp_path, "slow", "from pathlib import Path\nPath(__file__).with_name('seen').write_text('x')\n")
    for arguments in (["--help"], ["--version"], ["train", "--help"], ["plugins", "--help"]):
        done = posezoo(*arguments, path=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert not (tmp_path / "seen").exists()
    posezoo("list", path=tmp_path)
    assert (tmp_path / "seen").exists()


def folder_plugin(folder: Path, name: str = "trial", text: str = "") -> Path:
    """A plugin's own folder, not installed: pyproject.toml and a module."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        text
        or f'[project]\nname = "pz-{name}"\nversion = "0.2"\n[project.entry-points.posezoo]\n{name} = "pz_{name}"\n'
    )
    (folder / f"pz_{name}.py").write_text(textwrap.dedent(MODEL.format(name=f"{name}-model", more='"')))
    return folder


def test_a_folder_is_tried_without_installing(tmp_path: Path) -> None:
    folder = folder_plugin(tmp_path / "mine")
    (tmp_path / "site").mkdir()
    install(tmp_path / "site", "trial", "raise RuntimeError('the installed one')")
    done = posezoo("list", "trial*", "--format", "json", path=tmp_path / "site", POSEZOO_PLUGIN_PATH=str(folder))
    assert done.returncode == 0, done.stderr
    assert {row["name"]: row["from"] for row in json.loads(done.stdout)}["trial-model"] == "trial (pz-trial 0.2)"


@pytest.mark.parametrize(
    "text", ["", "[project]\nname = 3\n", "no toml", "[project]\nname = 'x'\n[project.entry-points]\n"]
)
def test_a_folder_that_is_no_plugin_is_named(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "empty"
    if text:
        folder_plugin(folder, "trial", text)
    rows = json.loads(posezoo("plugins", "--format", "json", POSEZOO_PLUGIN_PATH=str(folder)).stdout)
    (row,) = [row for row in rows if row["plugin"] == "empty"]
    assert "no pyproject.toml with [project.entry-points.posezoo]" in row["state"]


CATALOGUE = """
    from pathlib import Path
    from posezoo.plugin import CatalogueSpec, hookimpl

    @hookimpl
    def posezoo_catalogues():
        return (CatalogueSpec("known", Path(__file__).parent / "catalogue"),)
"""


CARD = '[%s]\nsummary = "s"\nreader = "folder"\nfolder = "x"\nkind = "indoor"\nlicence = "MIT"\n'


def test_list_says_what_is_off_and_what_is_slow(tmp_path: Path) -> None:
    install(tmp_path, "importing", MODULES["importing"])
    install(tmp_path, "slow", "import time\ntime.sleep(2.1)\n" + textwrap.dedent(MODEL.format(name="slow", more='"')))
    done = posezoo("list", path=tmp_path)
    assert done.returncode == 0
    off, slow = done.stderr.splitlines()
    assert off == "note: plugin importing (pz-importing 1.0) is off: No module named 'not_there'"
    assert re.fullmatch(r"note: plugin slow \(pz-slow 1.0\) is on; it takes \d+\.\d s to import", slow)
    assert "slow+hyper" in done.stdout
    assert off in posezoo("data", "list", path=tmp_path).stderr.splitlines(), "its data sets may be what is missed"


def test_a_plugin_that_hangs_is_off(tmp_path: Path) -> None:
    install(tmp_path, "hanging", "import time\ntime.sleep(500)\n")
    done = run_python("from posezoo.catalogue import plugins\nplugins.IMPORT_S = 0.2" + SHOW, path=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert "posenet" in shown["models"]
    (error,) = [error for name, _, _, error in shown["plugins"] if name == "hanging"]
    assert error == "importing it takes longer than 0.2 s"


def test_two_plugins_with_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_plugins: None) -> None:
    for name in ("one", "two"):
        install(tmp_path, name, CATALOGUE.replace('"known"', f'"{name}"').replace('"catalogue"', f'"{name}-cat"'))
        (tmp_path / f"{name}-cat" / "datasets").mkdir(parents=True)
        (tmp_path / f"{name}-cat" / "datasets" / "rooms.toml").write_text(CARD % "rooms")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [plugin.name for plugin in plugins.plugins() if plugin.error] == ["two"]
    assert entries.data_card("rooms").folder == "x"


COMMANDS = [
    ["--help"],
    ["--version"],
    ["list"],
    ["plugins"],
    ["data", "list"],
    ["train", "--help"],
    ["list", "--format", "json"],
]


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
    with pytest.raises(UsageError, match=naming("posenet")):
        plugins.get("posezoo_models", "model", "posnet")
    with pytest.raises(UsageError, match=naming("atloc")):
        plugins.get("posezoo_models", "model", "zzz")
