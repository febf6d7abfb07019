"""Trained models by name: aliases, hub repositories, folders, packages; every byte is the pinned one or an error.

Long: four places where a model may lie, and for each what is refused and what is told.
"""

from __future__ import annotations

import gc
import json
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from another_python import run_python
from loopback_hub import LoopbackHub
from naming import naming
from small_hub import add_alias, catalogue, files_of, hub, pinned, small_model

import posezoo
from posezoo.base.errors import HubError, PluginError, PosezooError, ResourceError, UsageError, WeightsError
from posezoo.base.files import hub as files
from posezoo.catalogue import entries, forms
from posezoo.zoo import card
from posezoo.zoo.find import find, full_name, report_folder
from posezoo.zoo.saved import load

__all__ = ["catalogue", "hub", "small_model"]  # fixtures

REPOSITORY = "tester/small"


@pytest.fixture
def commit(hub: LoopbackHub, small_model: Path) -> str:
    return hub.publish(REPOSITORY, files_of(small_model))


def same(model: Any, folder: Path) -> bool:
    state = load(f"local-dir:{folder}").state_dict()
    return all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


# Aliases


def test_an_alias_is_loaded_from_the_hub_and_then_from_the_cache(
    hub: LoopbackHub, commit: str, small_model: Path, catalogue: Path
) -> None:
    add_alias(catalogue, "small", pinned(small_model, "small", commit))
    model = load("small")
    assert model.origin == f"hf-hub:{REPOSITORY}@{commit}"
    assert not model.training
    assert next(model.parameters()).device.type == "cpu"
    assert same(model, small_model)
    asked = len(hub.asked)

    def no_socket(*given: object, **more: object) -> None:
        raise AssertionError("a socket")

    with pytest.MonkeyPatch.context() as patch:  # online and offline alike: what is pinned and cached asks nobody
        for name in ("socket", "create_connection", "getaddrinfo"):
            patch.setattr(socket, name, no_socket)
        load("small")
        patch.setenv("POSEZOO_OFFLINE", "1")
        load("small")
        load(f"hf-hub:{REPOSITORY}@{commit}")
        with pytest.raises(HubError, match=naming("config.json", "tester/small")):
            load(f"hf-hub:{REPOSITORY}@{'0' * 40}")
    assert len(hub.asked) == asked


def test_the_namespace_is_a_setting(commit: str, small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = pinned(small_model, "small", commit)
    assert entry.full_repository == "tester/small"
    monkeypatch.delenv("POSEZOO_HUB_NAMESPACE")
    assert entry.full_repository == "posezoo/small"
    assert pinned(small_model, "other/small", commit).full_repository == "other/small"


def test_what_nobody_has_published_says_so(hub: LoopbackHub) -> None:
    with pytest.raises(WeightsError) as error:
        load("ms-hyperpose-7scenes")
    line = str(error.value)
    assert 'no weights are published for "ms-hyperpose-7scenes"' in line
    assert "posezoo train ms-transformer+hyper --data 7scenes recipe=paper-multi-indoor" in line
    assert "posezoo weights convert" in line
    assert hub.asked == []


def changed(folder: Path, tmp_path: Path, **changes: Any) -> Path:
    """A copy whose config.json says something else."""
    copy = Path(shutil.copytree(folder, tmp_path / "changed"))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "sum"} | changes))
    return copy


def test_another_config_than_the_pinned_one_is_refused(
    hub: LoopbackHub, small_model: Path, catalogue: Path, tmp_path: Path
) -> None:
    other = changed(small_model, tmp_path, seed=9)
    commit = hub.publish(REPOSITORY, files_of(other))
    add_alias(catalogue, "small", pinned(small_model, REPOSITORY, commit))
    with pytest.raises(WeightsError, match=naming("config.json", "sha256")):
        load("small")


def test_other_weights_than_the_pinned_ones_are_refused(
    hub: LoopbackHub, small_model: Path, catalogue: Path, tmp_path: Path
) -> None:
    files = files_of(small_model)
    content = files["model.safetensors"]
    commit = hub.publish(REPOSITORY, {**files, "model.safetensors": content[:-1] + bytes([content[-1] ^ 1])})
    add_alias(catalogue, "small", pinned(small_model, REPOSITORY, commit))
    with pytest.raises(WeightsError, match=naming("sha256")):
        load("small")


@pytest.mark.parametrize("content", [b"\x80\x04pickle", b"PK\x03\x04zip", b"<html>", b"\xff" * 8 + b"{}"])
def test_what_is_published_as_weights_but_is_none(
    hub: LoopbackHub, small_model: Path, tmp_path: Path, content: bytes
) -> None:
    """A repository whose own config agrees with it: what a hostile one would look like."""
    import hashlib

    weights = {"file": "model.safetensors", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    other = changed(small_model, tmp_path, weights=weights)
    hub.publish(REPOSITORY, {**files_of(other), "model.safetensors": content})
    with pytest.raises(WeightsError, match=r"pickle|web page|damaged"):
        load(f"hf-hub:{REPOSITORY}")


# Repositories


def test_a_branch_is_resolved_noted_and_recorded(
    hub: LoopbackHub, commit: str, small_model: Path, tmp_path: Path
) -> None:
    for name in (f"hf-hub:{REPOSITORY}", f"hf-hub:{REPOSITORY}@main"):
        notes: list[str] = []
        first = not list((tmp_path / "hub-cache").rglob("model.safetensors"))
        model = load(name, note=notes.append)
        assert model.origin == f"hf-hub:{REPOSITORY}@{commit}"
        assert commit in notes[0]
        # the licence is told when the weights are fetched, once
        assert notes[1:] == ([f"licence of {REPOSITORY}: see {hub.url}/{REPOSITORY}"] if first else [])
    assert same(model, small_model)


def test_who_logs_in_at_the_hub_is_not_told(hub: LoopbackHub, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url.replace("://", "://me:secret@"))
    told: list[str] = []
    found = find(f"hf-hub:{REPOSITORY}@{commit}", told.append)
    found.read()
    assert "secret" not in "".join([*told, found.licence]) and "***@127.0.0.1" in found.licence
    hub.mode = "403"
    for address in (hub.url, "http://hub.org"):
        monkeypatch.setenv("HF_ENDPOINT", address.replace("://", "://me:secret@"))
        with pytest.raises(HubError, match=r"403|https") as error:
            find("hf-hub:tester/other")
        assert "secret" not in str(error.value)


def test_a_branch_that_has_moved_is_followed_and_a_commit_is_not(
    hub: LoopbackHub, commit: str, small_model: Path, tmp_path: Path
) -> None:
    load(f"hf-hub:{REPOSITORY}")
    later = hub.publish(REPOSITORY, files_of(changed(small_model, tmp_path, seed=9)))
    assert later != commit
    assert load(f"hf-hub:{REPOSITORY}").origin.endswith(later)
    assert load(f"hf-hub:{REPOSITORY}@{commit}").origin.endswith(commit)


@pytest.mark.parametrize("by_commit_first", [False, True])
def test_offline_a_branch_is_where_it_was_last_seen(
    hub: LoopbackHub,
    commit: str,
    small_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    by_commit_first: bool,
) -> None:
    load(f"hf-hub:{REPOSITORY}")
    later = hub.publish(REPOSITORY, files_of(changed(small_model, tmp_path, seed=9)))
    if by_commit_first:
        load(f"hf-hub:{REPOSITORY}@{later}")
    load(f"hf-hub:{REPOSITORY}")
    monkeypatch.setenv("POSEZOO_OFFLINE", "1")
    assert load(f"hf-hub:{REPOSITORY}").origin.endswith(later)


def test_a_cache_that_cannot_be_written_serves_what_it_has(
    hub: LoopbackHub, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(f"hf-hub:{REPOSITORY}@{commit}")

    def full(*given: object, **more: object) -> Path:
        raise ResourceError("cannot write")

    monkeypatch.setattr(files, "_download", full)
    assert load(f"hf-hub:{REPOSITORY}").origin.endswith(commit)
    other = hub.publish("tester/other", hub.repositories[REPOSITORY][-1][1])
    with pytest.raises(ResourceError):
        load(f"hf-hub:tester/other@{other}")
    with pytest.raises(ResourceError):
        load("hf-hub:tester/other")


@pytest.mark.parametrize("how", ["500", "offline"])
def test_the_cache_serves_a_branch_when_the_hub_does_not(
    hub: LoopbackHub, commit: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    load(f"hf-hub:{REPOSITORY}")
    hub.mode = "500"
    if how == "offline":
        monkeypatch.setenv("POSEZOO_OFFLINE", "1")
    notes: list[str] = []
    assert load(f"hf-hub:{REPOSITORY}", note=notes.append).origin.endswith(commit)
    assert "cached copy" in notes[0]


def test_a_repository_without_a_model(hub: LoopbackHub) -> None:
    hub.publish(REPOSITORY, {"other.txt": b"x"})
    with pytest.raises(HubError, match=naming(REPOSITORY, "404")):
        load(f"hf-hub:{REPOSITORY}")


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{", b"x" * (1 << 21), b'{"format": 1}', b"\xff\xfe"])
def test_a_config_that_is_none(hub: LoopbackHub, small_model: Path, content: bytes) -> None:
    hub.publish(REPOSITORY, {**files_of(small_model), "config.json": content})
    with pytest.raises(WeightsError) as error:
        load(f"hf-hub:{REPOSITORY}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "damage",
    [
        {"name": "posenet+hyper", "modifiers": {}},
        {"modifiers": {"anchors": {}}},
        {"modifiers": {"anchors": 5}},
        {"training": {"changed": 5}},
        {"training": []},
        {"training": {"backbone_weights": ["x"]}},
        {"training": {"backbone_weights": [None]}},
        {"training": {"backbone_weights": [{}]}},
        {"training": {"backbone_weights": [{"source": "x", "sha256": None}]}},
        {"disclosures": [1]},
    ],
)
def test_a_config_of_another_model_is_damage(small_model: Path, tmp_path: Path, damage: dict[str, Any]) -> None:
    folder = shutil.copytree(small_model, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text()) | damage
    config.pop("sum", None)
    (folder / "config.json").write_text(json.dumps(config))
    for use in (load, card.text_of) if "backbone_weights" in damage.get("training", {}) else (load,):
        with pytest.raises(WeightsError, match=naming("config.json")):
            use(f"local-dir:{folder}")


def test_what_reads_the_weights_outlives_what_was_found(small_model: Path) -> None:
    """And the file is closed once nobody can read it."""
    opened = len(list(Path("/proc/self/fd").iterdir()))
    read = find(f"local-dir:{small_model}").read
    gc.collect()
    with (small_model / "config.json").open("rb"):  # which would be given the closed file's number
        assert read() == (small_model / "model.safetensors").read_bytes()
    del read
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == opened


def test_an_exported_file_is_no_model_folder() -> None:
    with pytest.raises(UsageError, match=naming("a.onnx", "predict")):
        find("a.onnx")


def test_a_folder_is_one_whatever_it_is_called(
    hub: LoopbackHub, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commit = hub.publish("tester/small.onnx", files_of(small_model))
    for folder in (Path("run.onnx"), Path("run.pt2"), tmp_path / "run.v2.onnx"):
        shutil.copytree(small_model, folder)
        for name in (folder, str(folder), f"local-dir:{folder}"):
            assert posezoo.load(name).origin == str(folder)
        assert full_name(folder) == f"local-dir:{folder}"
    assert posezoo.load(f"hf-hub:tester/small.onnx@{commit}").origin == f"hf-hub:tester/small.onnx@{commit}"
    assert full_name("a.onnx") == "a.onnx"


@pytest.mark.parametrize(
    "name", ["x" * 300, "posenet" * 60, "x" * 300 + "/" + "y" * 300, "x" * 5000, "x" * 300 + ".h5"]
)
def test_a_name_that_no_file_can_have(name: str) -> None:
    for given in (name, Path(name)):
        for ask in (posezoo.load, posezoo.pull):
            with pytest.raises((UsageError, WeightsError)) as error:
                ask(given)  # type: ignore[operator]
            assert len(str(error.value)) <= 240


@pytest.mark.parametrize(
    "name",
    [
        "hf-hub:../../etc",
        "hf-hub:a",
        "hf-hub:a/b/c",
        "hf-hub:a/b@../../x",
        "hf-hub:a/b@",
        "hf-hub:a/..",
        "hf-hub:a/b@x y",
    ],
)
def test_names_that_would_climb_out_of_the_cache(hub: LoopbackHub, name: str) -> None:
    with pytest.raises(UsageError):
        find(name)
    assert hub.asked == []


# Packages


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_model: Path) -> Path:
    """A package that carries the model."""
    folder = tmp_path / "pz_carrier"
    shutil.copytree(small_model, folder / "weights" / "small")
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pz_carrier", raising=False)
    return folder / "weights" / "small"


def test_weights_that_ship_with_a_package(
    hub: LoopbackHub, catalogue: Path, package: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_alias(catalogue, "small", pinned(small_model, "package:pz_carrier/weights/small", ""))
    monkeypatch.setenv("POSEZOO_OFFLINE", "1")
    model = load("small")
    assert model.origin == str(package)
    assert same(model, small_model)
    assert hub.asked == []
    for name in ("config.json", "model.safetensors"):
        content = (package / name).read_bytes()
        (package / name).write_bytes(content[:-1] + b"x")
        with pytest.raises(WeightsError, match=naming("sha256")):
            load("small")
        (package / name).write_bytes(content)


def test_a_package_that_is_not_installed(catalogue: Path, small_model: Path) -> None:
    add_alias(catalogue, "small", pinned(small_model, "package:not_there/weights", ""))
    with pytest.raises(PluginError, match="not_there"):
        load("small")


# The form of entries


@pytest.mark.parametrize("field", sorted(forms.Published.model_fields))
def test_no_entry_lacks_a_field(small_model: Path, catalogue: Path, field: str) -> None:
    values = pinned(small_model, "a/b", "c" * 40).model_dump()
    del values[field]
    with pytest.raises(ValueError, match=field):
        forms.Published.model_validate(values)


@pytest.mark.parametrize(
    "wrong",
    [
        {"revision": "main"},
        {"revision": ""},
        {"revision": "C" * 40},
        {"sha256": "0" * 63},
        {"config_sha256": ""},
        {"size": 0},
        {"file": "../x.safetensors"},
        {"file": "model.bin"},
        {"licence": ""},
        {"provenance": ""},
        {"repository": "../x/y"},
        {"repository": "package:x/y"},
        {"more": 1},
    ],
)
def test_an_entry_that_is_not_pinned_is_no_entry(small_model: Path, wrong: dict[str, Any]) -> None:
    values = pinned(small_model, "a/b", "c" * 40).model_dump()
    with pytest.raises((ValueError, UsageError)):
        forms.Published.model_validate(values | wrong)


def test_an_entry_survives_its_file(small_model: Path, catalogue: Path) -> None:
    entry = pinned(small_model, "a/b", "c" * 40)
    add_alias(catalogue, "small", entry)
    assert entries.published()["small"] == entry


def test_no_torch_until_a_model_is_built() -> None:
    code = "import sys; from posezoo.cli import rows; rows.weights(); assert 'torch' not in sys.modules"
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_what_is_no_trained_model_is_said_in_words_that_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.toml").touch()  # stopped before its first model
    for name, exit_code, told in (
        ("run", 4, "posezoo resume run"),
        ("nowhere", 4, "posezoo weights list"),
        ("demo-loop", 2, "--data demo-loop"),
        ("baseline:mean", 2, "eval"),
    ):
        with pytest.raises(PosezooError) as error:
            find(full_name(name))
        assert error.value.exit_code == exit_code and told in error.value.hint
    with pytest.raises(UsageError, match="local-dir:run/best"):
        find("run/best")


def test_full_names() -> None:
    assert full_name("atloc-anchors-hyper-demo") == "atloc-anchors-hyper-demo"
    assert full_name("hf-hub:a/b") == "hf-hub:a/b"
    assert full_name("local-dir:x") == "local-dir:x"
    assert full_name(Path("outputs/x")) == "local-dir:outputs/x"
    assert full_name(Path("atloc-anchors-hyper-demo")) == "local-dir:atloc-anchors-hyper-demo"
    assert full_name(Path("x.onnx")) == "x.onnx"
    assert report_folder("outputs/x") == Path("outputs/x/report")
    assert report_folder("hf-hub:a/b@main") == Path("outputs/reports/hf-hub-a-b-main")
