"""The catalogue's files, good and broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from another_python import run_python
from hostile import assert_fails, install, posezoo

SHOW = """
import json, sys
from posezoo.catalogue import plugins
rows = [(p.name, p.distribution, p.version, p.error) for p in plugins.plugins()]
print(json.dumps({"plugins": rows, "models": sorted(plugins.models()), "torch": "torch" in sys.modules}))
"""


EXTERNAL = """
[models.theirs]
distribution = "pz-theirs"
install = "pip install pz-theirs"
page = "https://example.org/theirs"

[readers.theirform]
distribution = "pz-theirs"
install = "pip install pz-theirs"
page = "https://example.org/theirs"
"""


CATALOGUE = """
    from pathlib import Path
    from posezoo.plugin import CatalogueSpec, hookimpl

    @hookimpl
    def posezoo_catalogues():
        return (CatalogueSpec("known", Path(__file__).parent / "catalogue"),)
"""


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["train", "theirs", "--data", "demo-loop"], 'model "theirs" is in pz-theirs'),
        (["info", "theirs+hyper"], 'model "theirs" is in pz-theirs'),
        (["train", "posenet", "--data", "theirform:x"], 'data format "theirform" is in pz-theirs'),
    ],
)
def test_a_known_plugin_that_is_not_installed(tmp_path: Path, arguments: list[str], what: str) -> None:
    install(tmp_path, "known", CATALOGUE)
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "external.toml").write_text(EXTERNAL)
    assert_fails(posezoo(*arguments, path=tmp_path), 2, what, "pip install pz-theirs", "https://example.org/theirs")


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("external.toml", EXTERNAL.replace("page =", "pages =").encode(), "external.toml is not valid"),
        ("weights/x.toml", b"[theirs]\nmodel = 3\n", "x.toml is not valid"),
        ("recipes/x.toml", b"a = '\xff'", "x.toml is not valid"),
        ("grids/x.toml", b"a = " + b"[" * 5000, "x.toml is not valid"),
        (
            "datasets/x.toml",
            b"[demo-loop]\nsummary = 'x'\nreader = 'csv'\nfolder = 'x'\nkind = 'demo'\nlicence = 'x'",
            "demo-loop",
        ),
    ],
)
def test_a_catalogue_that_is_not_valid_switches_its_plugin_off(
    tmp_path: Path, file: str, content: bytes, reason: str
) -> None:
    install(tmp_path, "known", CATALOGUE)
    path = tmp_path / "catalogue" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    code = f"{SHOW}from posezoo.catalogue import entries as e; assert 'demo-loop' in e.data_cards(); e.weights_cards()"
    done = run_python(code, path=tmp_path)
    assert done.returncode == 0, done.stderr
    errors = {name: error for name, _, _, error in json.loads(done.stdout)["plugins"] if error}
    assert list(errors) == ["known"]
    assert reason in errors["known"]


def test_commands_go_on_beside_a_broken_catalogue(tmp_path: Path) -> None:
    install(tmp_path, "known", CATALOGUE)
    (tmp_path / "catalogue" / "datasets").mkdir(parents=True)
    (tmp_path / "catalogue" / "datasets" / "rooms.toml").write_text("[rooms\n")
    told = posezoo("data", "list", "--format", "json", path=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    assert "demo-loop" in told.stdout
    assert "rooms.toml is not valid" in posezoo("plugins", "--format", "json", path=tmp_path).stdout
    assert_fails(posezoo("data", "verify", "zzzz", path=tmp_path), 7, "is off")
