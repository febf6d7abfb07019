"""Saved models: whole or refused, each kind of damage by its name."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import safetensors.torch
import torch
from naming import naming
from small_models import SMALL, small, with_estimate

from posezoo.base.errors import ResourceError, UsageError, WeightsError
from posezoo.base.files import tensors
from posezoo.catalogue import entries
from posezoo.zoo import pretrained
from posezoo.zoo.build import build, create_model
from posezoo.zoo.card import text_of
from posezoo.zoo.find import CARD, CONFIG, WEIGHTS, Trained, find, model_folder, read_config
from posezoo.zoo.saved import load, save, save_estimate, write_card

ATLOC = {**{key: value for key, value in SMALL.items() if key != "hidden"}, "feature": 16}


def test_a_saved_variant_is_loaded_without_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = create_model("atloc.4d", **{key: value for key, value in SMALL.items() if key != "hidden"}, feature=32)
    save(model, tmp_path / "a", "card")
    monkeypatch.setattr(entries, "model_cards", dict)
    again = load(f"local-dir:{tmp_path / 'a'}")
    assert (again.name, again.config.rotation) == ("atloc.4d", "quaternion")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    save(small(), folder, "# a card\n", data="somewhere", seed=3)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def test_a_folder_needs_no_scheme(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy.parent)
    for name in (copy, str(copy), copy.name, f"local-dir:{copy}"):
        assert load(name).origin in (str(copy), copy.name)
    with pytest.raises(WeightsError):
        load(copy / "absent")
    with pytest.raises(UsageError):
        load("posenet")  # an architecture, and no folder


def test_a_path_is_a_folder_though_an_alias_is_called_the_same(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a string the alias comes first; `text_of` reads the card of the same one."""
    alias = "posenet-anchors-demo"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=naming(alias)):
        load(Path(alias))
    copy.rename(alias)
    assert load(alias).name == "posenet+anchors"
    assert (load(Path(alias)).name, load(Path(alias)).origin) == (load(f"local-dir:{alias}").name, alias)
    assert load(Path(alias)).name != "posenet+anchors"
    assert f'posezoo.load("{alias}")' in text_of(alias)
    assert f'posezoo.load("{alias}")' not in text_of(Path(alias))


def rewrite(folder: Path, content: bytes) -> None:
    """Other weights with a config.json that agrees: what a wrong export would look like."""
    (folder / WEIGHTS).write_bytes(content)
    config = json.loads((folder / CONFIG).read_text())
    del config["sum"]
    config["weights"] |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / CONFIG).write_text(json.dumps(config))


def change_state(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        state = safetensors.torch.load((folder / WEIGHTS).read_bytes())
        change(state)
        rewrite(folder, safetensors.torch.save(state))

    return apply


def change_config(**changes: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({k: v for k, v in config.items() if k != "sum"} | changes))

    return apply


def truncate(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / WEIGHTS).write_bytes(content)


def pickled(folder: Path) -> None:
    torch.save({"a": torch.ones(2)}, folder / "pickle")
    rewrite(folder, (folder / "pickle").read_bytes())


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncate, r"\d+ bytes.*\d+"),
    "longer": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes() + b"\0"), r"\d+ bytes.*\d+"),
    "bit flip": (flip_a_bit, "sha256"),
    "zero bytes": (lambda f: (f / WEIGHTS).write_bytes(b""), r"\b0 bytes"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "model.safetensors"),
    "zero bytes that agree": (lambda f: rewrite(f, b""), "damaged"),
    "text that agrees": (lambda f: rewrite(f, b"<html>404</html>"), "damaged"),
    "pickle that agrees": (pickled, "pickle"),
    "wrong shape": (
        change_state(lambda s: s.update({"hidden.0.bias": torch.ones(3)})),
        r"posenet\+hyper.*\b1\b.*hidden\.0\.bias",
    ),
    "of another architecture": (
        lambda f: rewrite(f, tensors.dump(create_model("atloc", **ATLOC).state_dict())),
        r"posenet\+hyper.*\d+.*\d+",
    ),
    "integers": (
        change_state(lambda s: s.update({"hidden.0.bias": s["hidden.0.bias"].long()})),
        r"\b1\b.*hidden\.0\.bias",
    ),
    "a key missing": (change_state(lambda s: s.pop("hidden.0.weight")), "hidden.0.weight"),
    "a key too many": (change_state(lambda s: s.update(extra=torch.ones(3))), "extra"),
    "not a number": (change_state(lambda s: s["hidden.0.bias"].fill_(float("nan"))), "not finite"),
    "infinite": (change_state(lambda s: s["hidden.0.bias"].fill_(float("inf"))), "not finite"),
    "infinite statistics": (
        change_state(lambda s: next(s[key] for key in s if "running_var" in key).fill_(float("inf"))),
        "not finite",
    ),
    "no config": (lambda f: (f / CONFIG).unlink(), "config.json"),
    "config is text": (lambda f: (f / CONFIG).write_text("{"), "damaged"),
    "config is a list": (lambda f: (f / CONFIG).write_text("[]"), "damaged"),
    "config is empty": (lambda f: (f / CONFIG).write_text(""), "damaged"),
    "config is bytes": (lambda f: (f / CONFIG).write_bytes(b"\xff\xfe\0"), "damaged"),
    "config without a name": (lambda f: (f / CONFIG).write_text('{"format": 1, "conventions": 1}'), "damaged"),
    "newer format": (change_config(format=2), "newer posezoo"),
    "newer conventions": (change_config(conventions=2), "newer posezoo"),
    "format is text": (change_config(format="two"), "damaged"),
    "unknown setting": (change_config(config={"colour": 3}), "colour"),
    "config is another type": (change_config(config=3), "damaged"),
    "weights entry is another type": (change_config(weights={"sha256": 3}), "damaged"),
    "modifiers of another type": (change_config(modifiers=["hyper"]), "damaged"),
    "name of another type": (change_config(name=7), "damaged"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_models_are_refused(copy: Path, damage: str) -> None:
    act, reason = DAMAGE[damage]
    act(copy)
    with pytest.raises(WeightsError, match=reason) as error:
        load(f"local-dir:{copy}")
    assert str(copy) in error.value.message
    assert error.value.hint
    assert "\n" not in str(error.value)


def test_a_mask_of_attention_may_be_infinite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is saved as any buffer; NaN is no mask."""

    def masked(plan: Any) -> Any:
        model = build(plan)
        model.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))
        return model

    monkeypatch.setattr("posezoo.zoo.saved.build", masked)
    model = masked(small().blueprint)
    save(model, tmp_path / "model", "card")
    assert torch.equal(load(tmp_path / "model").get_buffer("mask"), model.mask)
    change_state(lambda state: state["mask"].fill_(float("nan")))(tmp_path / "model")
    with pytest.raises(WeightsError, match="not finite"):
        load(tmp_path / "model")


@pytest.mark.parametrize("name", ["someones-model", "posenet+theirs", "posenet.theirs", "No Name", ""])
def test_a_saved_model_that_needs_what_is_not_here(copy: Path, name: str) -> None:
    """4, not 2: the name that the user typed is right."""
    modifiers = {"theirs": {}} if "+" in name else {}
    change_config(name=name, modifiers=modifiers)(copy)
    if name == "posenet.theirs":
        with pytest.raises(WeightsError, match=naming("posenet")):
            load(f"local-dir:{copy}")
        return
    with pytest.raises(WeightsError, match=naming("config.json")) as error:
        load(f"local-dir:{copy}")
    assert error.value.exit_code == 4


def test_a_file_is_no_model_folder(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "theirs.pth")
    with pytest.raises(WeightsError, match=naming("theirs.pth", "weights convert")):
        load(f"local-dir:{tmp_path / 'theirs.pth'}")


def test_a_saved_model_is_whole(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == sorted([CONFIG, WEIGHTS, CARD])
    config = read_config(saved)
    assert (config["name"], config["data"], config["seed"]) == ("posenet+hyper", "somewhere", 3)
    assert config["weights"]["sha256"] == pretrained.sha256(saved / WEIGHTS)
    assert (saved / CARD).read_text() == "# a card\n"
    write_card(saved, "# a card\n")
    model = load(f"local-dir:{saved}")
    assert not model.training
    assert model.name == "posenet+hyper"


def test_a_run_folder_stands_for_its_best_model(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "run" / "best")
    assert model_folder(tmp_path / "run") == tmp_path / "run" / "best"
    assert load(f"local-dir:{tmp_path / 'run'}").name == "posenet+hyper"
    with pytest.raises(WeightsError, match=naming(tmp_path / "absent")):
        load(f"local-dir:{tmp_path / 'absent'}")
    with pytest.raises(UsageError, match=naming("posenet")):
        load("posenet")


def test_saving_over_a_model_replaces_it(copy: Path) -> None:
    save(small("posenet"), copy, "new")
    assert load(f"local-dir:{copy}").name == "posenet"
    assert [path.name for path in copy.parent.iterdir()] == ["model"]  # nothing left beside it


def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=naming(tmp_path / "file" / "model")):
        save(small("posenet"), tmp_path / "file" / "model", "card")


def test_a_model_that_is_replaced_while_it_is_loaded(copy: Path) -> None:
    """It is the one or the other, never damaged: training replaces best/ whenever an epoch is better."""
    model, stop = small(), threading.Event()
    name, tensor = next(iter(model.named_parameters()))

    def saved_as(number: int) -> None:
        with torch.no_grad():
            tensor.fill_(number)
        save(model, copy, "card", number=number)

    def replace() -> None:
        number = 0
        while not stop.is_set():
            saved_as(number := number + 1)

    saved_as(0)
    writer = threading.Thread(target=replace)
    writer.start()
    try:
        seen: dict[int, Trained] = {}
        until = time.monotonic() + 60
        while len(seen) < 5 and time.monotonic() < until:
            one = find(f"local-dir:{copy}")
            seen.setdefault(one.config["number"], one)
        for number, one in seen.items():  # also those that have been replaced since they were found
            assert safetensors.torch.load(one.read())[name].unique().tolist() == [number]
        assert len(seen) == 5
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("key", ["position_std", "position_mean", "std", "mean"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_numbers_that_spoil_every_pose_are_refused(copy: Path, key: str, value: float) -> None:
    if value == 0.0 and key.endswith("mean"):
        return
    config = json.loads((copy / CONFIG).read_text())
    del config["sum"]
    config["config"][key] = [1.0, value, 1.0]
    (copy / CONFIG).write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=key):
        load(copy)


def test_a_config_of_a_giant_takes_no_memory(copy: Path) -> None:
    config = json.loads((copy / CONFIG).read_text())
    del config["sum"]
    config["config"]["hidden"] = 1_000_000
    (copy / CONFIG).write_text(json.dumps(config))
    before = psutil.Process().memory_info().rss
    with pytest.raises(WeightsError, match="MB"):
        load(copy)
    assert psutil.Process().memory_info().rss - before < 200e6


def test_one_changed_digit_of_a_config_is_told(copy: Path) -> None:
    text = (copy / CONFIG).read_text()
    place = text.index('"position_std"')
    digit = next(n for n in range(place, len(text)) if text[n] in "12345678")
    (copy / CONFIG).write_text(text[:digit] + str(int(text[digit]) + 1) + text[digit + 1 :])
    with pytest.raises(WeightsError, match="sum"):
        load(copy)


def test_an_error_estimate_is_saved_beside_the_weights(tmp_path: Path) -> None:
    model, plain, later = with_estimate(small("posenet")), tmp_path / "plain", tmp_path / "later"
    save(model, tmp_path / "a", "card")
    again = load(f"local-dir:{tmp_path / 'a'}")
    save(again, tmp_path / "b", "card")
    estimate, model.estimate = model.estimate, None
    save(model, plain, "card")
    assert estimate is not None
    save(model, later, "card")
    save_estimate(later, estimate)
    names = [sorted(path.name for path in (tmp_path / one).iterdir()) for one in ("a", "b", "later")]
    assert names[0] == names[1] == names[2]
    for name in names[0]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert (later / name).read_bytes() == (tmp_path / "a" / name).read_bytes() or name == CONFIG
    assert read_config(later)["estimate"] == read_config(tmp_path / "a")["estimate"]
    assert (plain / WEIGHTS).read_bytes() == (later / WEIGHTS).read_bytes()
    assert load(f"local-dir:{plain}").estimate is None


@pytest.mark.parametrize(
    "change", [{"file": "../x"}, {"size": 1 << 40}, {"coverage": 1.5}, {"sha256": 3}, {"count": ""}]
)
def test_an_estimate_that_is_not_described_well_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    save(with_estimate(small("posenet")), tmp_path / "a", "card")
    config = json.loads((tmp_path / "a" / CONFIG).read_text())
    del config["sum"]
    config["estimate"] |= change
    (tmp_path / "a" / CONFIG).write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=naming(CONFIG)):
        load(f"local-dir:{tmp_path / 'a'}")
