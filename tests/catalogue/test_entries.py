"""The catalogue: every card is valid and complete, names in it exist, and mistakes in it name the file."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from naming import naming

import posezoo
from posezoo.base.errors import DataError, PluginError, UsageError
from posezoo.base.spec import CatalogueSpec, load_object
from posezoo.catalogue import entries, forms, plugins, resolve, settings
from posezoo.catalogue.names import parse_data, parse_model
from posezoo.cli.console import error_line
from posezoo.data.open import open_dataset

SPDX = re.compile(r"Apache-2\.0|CC0-1\.0|CC-BY-4\.0|CC-BY-NC-SA-4\.0|MIT|BSD-3-Clause|LicenseRef-[A-Za-z0-9.-]+")


def test_every_data_card_is_complete() -> None:
    cards = entries.data_cards()
    assert cards
    for name, card in cards.items():
        assert parse_data(name).name == name
        assert card.summary, name
        assert SPDX.fullmatch(card.licence), (name, card.licence)
        assert card.reader in plugins.readers(), name
        if card.folder.startswith("package:"):
            assert card.kind == "demo", name
        else:
            assert card.how_to, name  # what to fetch, for who has not got it
            assert card.archives, name
            assert f"posezoo data how-to {name}" in card.how_to, name
            assert set(card.counts) == set(card.scenes or card.counts) != set(), name
            assert card.page.startswith("https://"), name
            assert not Path(card.folder).is_absolute(), name
            assert set(card.frames) <= {"train", "val", "test"}, name


def test_what_to_fetch_and_where_to_put_it_fit_the_line_of_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSEZOO_DATA", raising=False)
    for name in [name for name, card in entries.data_cards().items() if not card.package]:
        with pytest.raises(DataError) as caught:
            open_dataset(name)
        line = error_line(caught.value)
        assert "fetch" in line, line
        assert line.endswith("set POSEZOO_DATA or give --root"), line


def test_every_data_card_has_a_recipe() -> None:
    for kind in {card.kind for card in entries.data_cards().values()}:
        assert entries.default_recipe(kind) in entries.recipes()
    owners: dict[str, str] = {}
    for name, recipe in entries.recipes().items():
        for kind in recipe.default_for:
            assert kind not in owners, f"{kind} has two default recipes: {owners[kind]} and {name}"
            owners[kind] = name


def test_every_recipe_is_valid_for_every_architecture() -> None:
    from posezoo.zoo.blueprint import with_settings

    for recipe_name, recipe in entries.recipes().items():
        assert recipe.summary, recipe_name
        assert set(recipe.modifiers) <= set(plugins.modifiers()), recipe_name
        assert {name.partition("+")[0] for name in recipe.only} <= set(plugins.models()), recipe_name
        for name in {
            *plugins.models(),
            *recipe.only,
            *(f"{m}+{n}" for m in plugins.models() for n in plugins.modifiers()),
        }:
            arch, *modifiers = name.split("+")
            layers = [{**recipe.model, **recipe.modifiers}]
            for own in recipe.for_model(arch, modifiers):
                layers.append({**own.get("model", {}), **own.get("modifiers", {})})
            assert with_settings(resolve.model(name), recipe=layers).config.backbone


def test_what_a_recipe_has_for_a_model_with_modifiers_comes_after_what_it_has_for_all() -> None:
    only = {"net+b+a": {"train": {"n": 3}}, "net": {"train": {"n": 1}}, "other": {}, "net+a": {"train": {"n": 2}}}
    recipe = forms.Recipe(summary="a test", only=only)
    found = {name: [own["train"]["n"] for own in recipe.for_model("net", name)] for name in ("", "a", "b", "bac")}
    assert found == {"": [1], "a": [1, 2], "b": [1], "bac": [1, 2, 3]}


def test_every_recipes_training_settings_are_valid() -> None:
    from posezoo.training.config import TrainConfig

    known = {name.partition(".")[0] for name in settings.field_names(TrainConfig)}
    for name, recipe in entries.recipes().items():
        assert set(recipe.train) <= known, name
        for train in (recipe.train, *(only.get("train", {}) for only in recipe.only.values())):
            assert not {"epochs", "phases"} <= set(train), f"{name}: epochs have no effect beside phases"


def test_every_model_card_is_of_a_known_combination() -> None:
    for name, card in entries.model_cards().items():
        parsed = parse_model(name)
        spec = plugins.models()[parsed.arch]
        settings.validated(load_object(spec.config), card.model)
        for modifier, values in card.modifiers.items():
            assert modifier in dict(parsed.modifiers), name
            settings.validated(load_object(plugins.modifiers()[modifier].config), values)
        assert card.paper, name


def test_every_variant_builds_and_its_training_settings_are_valid() -> None:
    from posezoo.training.config import TrainConfig, configure
    from posezoo.zoo.blueprint import blueprint

    variants = [name for name in entries.model_cards() if "." in name]
    assert {"posenet.googlenet", "atloc.lstm", "atloc.plus", "ms-transformer.cambridge"} <= set(variants)
    known = {name.partition(".")[0] for name in settings.field_names(TrainConfig)}
    for name in variants:
        card = entries.model_cards()[name]
        assert card.summary, name
        assert set(card.train) <= known, name
        config, plan = configure(resolve.model(name), resolve.data("demo-loop"))
        assert config.model == str(plan.name) == name
        for key, value in card.model.items():
            assert getattr(plan.config, key) == value, name  # the recipe does not undo what the name says
        assert blueprint(name, {"crop": 64}).config.crop == 64


def test_every_result_is_of_a_model_that_can_be_built() -> None:
    from posezoo.zoo.blueprint import blueprint

    tables = entries.results()
    assert tables
    for name, table in tables.items():
        assert table.origin, name
        for row in table.rows:
            assert 0 < row.position_m < 1000, name
            assert row.orientation_deg is None or 0 < row.orientation_deg < 180, name
            assert parse_data(row.data).reader == "", name
            if row.model:
                blueprint(row.model, settings.nested(row.settings))


def test_the_published_numbers_stand_as_read() -> None:
    found = {(row.model, row.position_m, row.orientation_deg) for _, row in entries.results_of("posenet+hyper")}
    assert {("posenet+hyper", 0.61, 1.84), ("posenet+hyper", 1.53, 5.34)} <= found
    assert len([row for _, row in entries.results_of("ms-transformer+hyper")]) == 17


def test_rows_of_generated_widths_are_the_networks_that_were_measured() -> None:
    """Tables 5 and 6: the parameters of all generators of a row t/r, as counted in the authors' models."""
    from posezoo.nn.hyperhead import HyperHead
    from posezoo.zoo.blueprint import blueprint
    from posezoo.zoo.build import build

    counted = {"256/256": 59_543_559, "256/512": 127_309_319, "512/512": 169_613_575}
    tables = [entries.results()[f"hyperpose-table-{n}"] for n in (5, 6)]
    assert [len(table.rows) for table in tables] == [6, 3]
    for table in tables:
        assert "after phase 1" in table.note
        for row in table.rows:
            t, r = map(int, row.method.split("/"))
            assert row.settings == {"hyper.hidden_position": [t, t // 2], "hyper.hidden_orientation": [r, r]}
            plan = blueprint(row.model, settings.nested(row.settings))
            config = dict(plan.modifiers)["hyper"]
            assert (config.code_position, config.code_orientation) == (256, 256)
            if row.method in counted and row.data == "cambridge":
                with torch.device("meta"):
                    model = build(plan)
                heads = (model.position_head, model.orientation_head)
                generators = [
                    layer.generator for head in heads if isinstance(head, HyperHead) for layer in head.generated
                ]
                assert sum(p.numel() for g in generators for p in g.parameters()) == counted[row.method]


def test_a_result_names_no_model_that_its_source_does_not() -> None:
    assert {row.model for row in entries.results()["hyperpose-transformer-generator"].rows} == {""}
    rows = entries.results()["hyperatloc-robotcar-loop"].rows
    assert {(row.statistic, row.position_m, row.orientation_deg) for row in rows} == {
        ("mean", 8.42, 3.30),
        ("median", 4.91, 1.33),
        ("mean", 8.10, 3.04),
        ("median", 4.73, 1.27),
    }
    assert all(row.model == "atloc+hyper" and row.sequence for row in rows), "no average of sequences"


def test_the_published_combinations_have_cards() -> None:
    assert {"posenet+hyper", "atloc+hyper", "ms-transformer+hyper"} <= set(entries.model_cards())


def test_every_alias_is_a_model_that_can_be_trained() -> None:
    from posezoo.training.config import configure

    cards = entries.weights_cards()
    for alias, card in cards.items():
        assert parse_model(alias).arch == alias
        assert alias not in plugins.models()
        assert SPDX.fullmatch(card.licence), alias
        recipe = {"recipe": card.recipe} if card.recipe else {}
        config, plan = configure(
            resolve.model(card.model), resolve.data(card.data), settings.merged(card.settings, recipe)
        )
        assert str(plan.name) == card.model
        words = shlex.split(card.command)
        assert words[:5] == ["posezoo", "train", card.model, "--data", card.data]
        again = configure(
            resolve.model(card.model), resolve.data(card.data), settings.nested(settings.parse(words[5:]))
        )
        assert (config, plan) == again, alias


def test_the_promised_aliases_are_there() -> None:
    scenes = ["chess", "fire", "heads", "office", "pumpkin", "redkitchen", "stairs"]
    places = ["kings-college", "old-hospital", "shop-facade", "st-marys-church"]
    data = [*(f"7scenes-{s}" for s in scenes), *(f"cambridge-{p}" for p in places), "robotcar-loop", "robotcar-full"]
    expected = {f"{model}-{name}" for model in ("posenet", "posenet-hyper", "atloc", "atloc-hyper") for name in data}
    expected |= {f"{model}-{name}" for model in ("ms-transformer", "ms-hyperpose") for name in ("7scenes", "cambridge")}
    assert set(entries.weights_cards()) == expected | {"posenet-anchors-demo", "atloc-anchors-hyper-demo"}


def test_every_published_entry_has_a_card() -> None:
    cards = entries.weights_cards()
    for alias, entry in entries.published().items():  # the form of entries: tests/test_trained.py
        assert alias in cards
        assert SPDX.fullmatch(entry.licence), alias
        assert entry.licence == cards[alias].licence, alias
        assert not entry.in_package or entry.repository == cards[alias].ships, alias


def test_published_weights_in_the_package_are_there_and_small() -> None:
    shipped = [entry for entry in entries.published().values() if entry.in_package]
    for entry in shipped:
        path = forms.package_folder(entry.repository) / entry.file
        assert path.stat().st_size == entry.size
    assert sum(entry.size for entry in shipped) <= 15_000_000


def test_backbone_pins_are_whole() -> None:
    for name, pin in entries.backbone_pins().items():
        assert re.fullmatch(r"[0-9a-f]{64}", pin["sha256"]), name
        assert SPDX.fullmatch(pin["licence"]), name
        assert {"package", "file", "by_order", "distribution"} <= set(pin), name


@pytest.mark.parametrize(("word", "meant"), [("demo-lop", "demo-loop"), ("7scenes-ches", "7scenes-chess")])
def test_unknown_data_sets_name_the_near_ones(word: str, meant: str) -> None:
    with pytest.raises(UsageError, match=meant):
        entries.data_card(word)


def test_unknown_recipes_name_the_near_ones() -> None:
    with pytest.raises(UsageError, match="indoor"):
        entries.recipe("indor")
    with pytest.raises(UsageError, match=naming("quick")):
        entries.recipe("zzz")


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a catalogue that a plugin brings."""
    (tmp_path / "datasets").mkdir()
    spec = CatalogueSpec("mine", tmp_path)
    monkeypatch.setattr(plugins, "catalogues", lambda: {"mine": spec})
    return tmp_path


GOOD = 'summary = "s"\nreader = "folder"\nfolder = "x"\nkind = "indoor"\nlicence = "MIT"\n'


def test_a_plugins_catalogue_is_read_too(catalogue: Path) -> None:
    (catalogue / "datasets" / "mine.toml").write_text(f"[mine-hall]\n{GOOD}")
    assert entries.data_card("mine-hall").summary == "s"
    assert "demo-loop" in entries.data_cards()


def test_embedded_data_of_a_package_that_is_not_there() -> None:
    card = forms.DataCard(summary="s", reader="folder", folder="package:not_there/x", kind="demo", licence="MIT")
    with pytest.raises(PluginError, match="not_there") as error:
        card.embedded_root()
    assert error.value.hint == "pip install not_there"
    here = forms.DataCard(summary="s", reader="folder", folder="package:posezoo/x", kind="demo", licence="MIT")
    assert here.embedded_root() == Path(posezoo.__file__).parent / "x"


def test_best_results_are_means_over_seeds_of_the_model_itself() -> None:
    """As docs/results.md has them: not the luckiest seed, and not the base that is as large as with a hypernetwork."""
    tables = [table for key, table in entries.results().items() if key.startswith("hypernetwork-7scenes-redkitchen")]
    rows = [next(row for row in table.rows if row.method == "base, pose-true") for table in tables]
    assert len(rows) == 3
    _, best = entries.best_results("7scenes-redkitchen")["posenet"]
    assert best.position_m == pytest.approx(sum(row.position_m for row in rows) / 3, rel=1e-3)
    assert best.orientation_deg == pytest.approx(sum(row.orientation_deg or 0 for row in rows) / 3, rel=1e-3)
    assert "atloc+anchors+hyper" in entries.best_results("demo-loop")
    _, best = entries.best_results("7scenes")["ms-transformer"]
    assert (best.position_m, best.orientation_deg) == (0.18, 7.28), "of 7.28 and 9.51, whichever stands first"


def test_the_interval_of_several_seeds_reaches_to_the_outermost_ends() -> None:
    def row(interval: tuple[float, float] | None) -> forms.Result:
        return forms.Result(method="a", data="d", position_m=1.0, position_m_ci95=interval)

    mean = entries._mean([row((0.5, 1.5)), row((0.8, 2.0))])
    assert (mean.position_m_ci95, mean.orientation_deg_ci95) == ((0.5, 2.0), None)
    assert entries._mean([row((0.5, 1.5)), row(None)]).position_m_ci95 is None
