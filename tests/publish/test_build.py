"""Building the catalogue's models end to end: train, store, evaluate, card, publish, pin; killed and gone on."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import fault_points
import faults
import pytest
import small_data
from another_python import run_python
from loopback_hub import TOKEN, LoopbackHub
from small_hub import add_alias
from small_runs import Notes

from posezoo.base.errors import UsageError
from posezoo.catalogue import entries, resolve
from posezoo.catalogue.forms import package_folder
from posezoo.evaluation.report import Report
from posezoo.publish.build import WORK, Built, build
from posezoo.zoo.build import build as build_model
from posezoo.zoo.saved import load

TINY = small_data.settings("posenet+hyper", epochs=1)


@pytest.fixture
def alias(catalogue: Path, one_place: Path, no_pictures: None) -> str:
    add_alias(catalogue, "mine", model="posenet+hyper", data=f"folder:{one_place}", recipe="indoor", dtype="float16")
    return "mine"


def make(alias: str, notes: Notes, catalogue: Path, **more: object) -> Built:
    given = {"overrides": TINY, "catalogue": catalogue, "observer": notes, **more}
    return build(alias, **given)  # type: ignore[arg-type]


def test_from_a_recipe_to_a_pinned_entry_on_the_hub(
    hub: LoopbackHub, alias: str, notes: Notes, catalogue: Path
) -> None:
    built = make(alias, notes, catalogue)
    entry = entries.published()[alias]
    assert entry == built.entry
    assert entry.revision == hub.repositories["tester/mine"][-1][0]
    model = load(alias)
    assert model.origin == f"hf-hub:tester/mine@{entry.revision}"
    stored = hub.repositories["tester/mine"][-1][1]
    assert len(stored["model.safetensors"]) == entry.size
    assert json.loads(stored["config.json"])["weights"]["dtype"] == "float16"
    card = stored["README.md"].decode()
    for words in (
        'posezoo.load("mine")',
        "license: apache-2.0",
        "| float16 |",
        "median position (m)",
        "mean training pose",
    ):
        assert words in card, words
    # what the card says is what the stored tensors do
    row = next(r for r in built.report["results"]["overall"] if r["method"] == "posenet+hyper")
    assert str(round(row["median_position_m"], 4)) in card

    # again: everything is done
    commits = len(hub.repositories["tester/mine"])
    notes.notes.clear()
    assert make(alias, notes, catalogue) == built
    assert len(hub.repositories["tester/mine"]) == commits
    assert [words for words in notes.notes if "already" in words] == [
        f"{WORK}/mine/run is trained already",
        f"{WORK}/mine/model is stored and evaluated already",
        "mine is published already",
    ]
    # a catalogue that is not among the known ones is looked into all the same
    other = make(alias, notes, catalogue / "other")
    assert len(hub.repositories["tester/mine"]) == commits + 1
    assert make(alias, notes, catalogue / "other") == other
    assert len(hub.repositories["tester/mine"]) == commits + 1
    # an entry that was lost between push and writing is written again
    shutil.rmtree(catalogue / "published")
    assert make(alias, notes, catalogue).entry is not None
    assert entries.published()[alias].sha256 == entry.sha256

    with pytest.raises(UsageError):
        make(alias, notes, catalogue, overrides={**TINY, "seed": 5})


def test_into_a_package(alias: str, notes: Notes, catalogue: Path, tmp_path: Path, one_place: Path) -> None:
    package = tmp_path / "pz_built"
    package.mkdir()
    (package / "__init__.py").write_text("")
    add_alias(
        catalogue, "ours", model="posenet", data=f"folder:{one_place}", recipe="indoor", ships="package:pz_built/w/ours"
    )
    tiny = small_data.settings("posenet", epochs=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        elsewhere = make("ours", notes, catalogue, overrides=tiny, out=tmp_path / "elsewhere")
        assert elsewhere.entry is None
        assert load(f"local-dir:{elsewhere.folder}").name == "posenet"
        built = make("ours", notes, catalogue, overrides=tiny, out=package / "w")
        assert built.entry is not None
        assert (built.entry.repository, built.entry.revision) == ("package:pz_built/w/ours", "")
        patch.setenv("POSEZOO_OFFLINE", "1")
        assert load("ours").origin == str(package / "w" / "ours")
        assert make("ours", notes, catalogue, overrides=tiny, out=package / "w") == built


@pytest.mark.parametrize(
    "fault",
    [
        "best:kill9",
        pytest.param("checkpoint.rename:kill9", marks=pytest.mark.slow),
        pytest.param("step:sigterm:3", marks=pytest.mark.slow),
    ],
)
def test_a_killed_build_goes_on(
    alias: str, notes: Notes, catalogue: Path, one_place: Path, tmp_path: Path, fault: str
) -> None:
    """The build is a run like any other: killed at any point of it, the next build resumes it."""
    words = [*small_data.words({**TINY, "epochs": 2}), "recipe=indoor", f"out={WORK}/mine/run"]
    ended = faults.own_process(["train", "posenet+hyper", "--data", f"folder:{one_place}", *words], fault)
    assert ended.code in (-9, 143), ended
    built = make(alias, notes, catalogue, overrides={**TINY, "epochs": 2}, out=tmp_path / "built")
    assert load(f"local-dir:{built.folder}").name == "posenet+hyper"
    epochs = {line["epoch"] for line in faults.metrics(WORK / "mine" / "run")}
    assert max(epochs) == 2


def test_killed_between_storing_and_evaluating(
    alias: str, notes: Notes, catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "built"
    with monkeypatch.context() as patch:
        patch.setattr(Report, "save", _fails_on_the_second(Report.save))
        with pytest.raises(KeyboardInterrupt):
            make(alias, notes, catalogue, out=out)
    assert (out / alias / "config.json").exists()
    built = make(alias, notes, catalogue, out=out)
    assert "Evaluation" in (built.folder / "README.md").read_text()
    assert (WORK / alias / "report" / "report.json").exists()
    # a card that somebody has written there survives the next build
    (built.folder / "README.md").write_text("my own words")
    shutil.rmtree(WORK / alias / "report")
    make(alias, notes, catalogue, out=out)
    assert (built.folder / "README.md").read_text() == "my own words"
    assert (WORK / alias / "report" / "report.json").exists()


CATALOGUE = """
from pathlib import Path
from posezoo.base.hooks import hookimpl
from posezoo.base.spec import CatalogueSpec

@hookimpl
def posezoo_catalogues():
    return (CatalogueSpec("mine", Path(__file__).parent / "catalogue"),)
"""
STAGES = ["step:kill9:2", "best:kill9", "build.trained:kill9", "build.stored:kill9", "build.evaluated:kill9"]


@pytest.mark.slow
def test_killed_at_every_stage(hub: LoopbackHub, one_place: Path, tmp_path: Path) -> None:
    """`posezoo weights build` as a maintainer types it, each time killed one stage later, until all is done."""
    plugin = tmp_path / "mine"
    (plugin / "catalogue").mkdir(parents=True)
    (plugin / "pz_mine.py").write_text(CATALOGUE)
    (plugin / "pyproject.toml").write_text(
        '[project]\nname = "pz-mine"\n[project.entry-points.posezoo]\nm = "pz_mine"\n'
    )
    catalogue = plugin / "catalogue"
    add_alias(catalogue, "mine", model="posenet+hyper", data=f"folder:{one_place}", recipe="indoor", dtype="float16")
    environment = {
        "POSEZOO_PLUGIN_PATH": str(plugin),
        **{"HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home"), "POSEZOO_HUB_TIMEOUT": "60"},
    }
    command = ["weights", "build", "mine", *small_data.words(TINY), "--registry", str(catalogue)]
    program = "import sys, fault_points, posezoo.cli as cli\nwith fault_points.at(sys.argv.pop(1)): cli.main()"

    def posezoo(*argv: str, fault: str = "") -> subprocess.CompletedProcess[str]:
        return run_python(program, fault, *argv, path=Path(fault_points.__file__).parent, **environment)

    for stage in STAGES:
        done = posezoo(*command, fault=stage)
        assert done.returncode == -9, (stage, done)
        assert "tester/mine" not in hub.repositories, stage
    assert posezoo(*command, fault="build.pushed:kill9").returncode == -9
    assert len(hub.repositories["tester/mine"]) == 1
    assert not (catalogue / "published").exists()
    done = posezoo(*command, "--format", "json")
    assert done.returncode == 0, done
    assert "is trained already" in done.stderr
    assert "is stored and evaluated already" in done.stderr
    published = json.loads(done.stdout)["published"]
    commit, files = hub.repositories["tester/mine"][-1]
    weights = files["model.safetensors"]
    assert published == tomllib.loads((catalogue / "published" / "mine.toml").read_text())["mine"]
    assert (published["revision"], published["size"]) == (commit, len(weights))
    assert published["sha256"] == hashlib.sha256(weights).hexdigest()
    assert published["config_sha256"] == hashlib.sha256(files["config.json"]).hexdigest()
    assert str(tmp_path) not in files["config.json"].decode() + files["README.md"].decode() + str(published)
    pulled = posezoo("weights", "pull", "mine", "--format", "json")
    assert json.loads(pulled.stdout)["origin"] == f"hf-hub:tester/mine@{commit}"
    assert "good: hf-hub:tester/mine" in posezoo("weights", "verify", "mine").stdout
    assert TOKEN not in done.stdout + done.stderr + pulled.stdout + pulled.stderr


def _fails_on_the_second(save: object) -> object:
    calls: list[object] = []

    def once(self: Report, folder: Path) -> Path:
        calls.append(folder)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return save(self, folder)  # type: ignore[operator]

    return once


def test_the_demo_fits_the_package() -> None:
    """Both demo models as they will be shipped: at most 15 MB together."""
    from posezoo.base.files import tensors
    from posezoo.training.config import configure

    total = 0
    for name in ("posenet-anchors-demo", "atloc-anchors-hyper-demo"):
        card = entries.weights_card(name)
        assert card.dtype == "float16"
        assert card.ships.startswith("package:posezoo_demo/")
        _, plan = configure(resolve.model(card.model), resolve.data(card.data), card.settings)
        total += len(tensors.dump(build_model(plan).state_dict(), card.dtype))
    assert total <= 15_000_000


@pytest.mark.parametrize("name", ["posenet-anchors-demo", "atloc-anchors-hyper-demo"])
def test_the_cards_of_the_demo_say_what_is_in_their_folders(name: str) -> None:
    """Calibrating comes after building: the card has the radii, and what of the training data the folder holds."""
    folder = package_folder(entries.weights_card(name).ships)
    config, text = json.loads((folder / "config.json").read_text()), (folder / "README.md").read_text()
    assert len(config["disclosures"]) == 2
    assert all(line in text for line in (*config["disclosures"], config["estimate"]["source"]))
    assert f'posezoo.load("{name}")' in text
