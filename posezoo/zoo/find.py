"""Find a trained model by its name: a folder, a repository of the hub, or an alias of the catalogue. No torch.

A trained model is a folder or repository with `config.json` (everything needed to use it, and the sha256 of the
weights), `model.safetensors` and a model card `README.md`; a calibrated one also has `estimate-....safetensors`. Its
bytes are checked each time they are read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posezoo.base import paths
from posezoo.base.errors import HubError, ResourceError, UsageError, WeightsError, near, redacted, unknown_name
from posezoo.base.files import hub
from posezoo.base.observe import Note, silent
from posezoo.base.poses import CONVENTIONS
from posezoo.catalogue import entries, forms, names

EXPORTED = (".onnx", ".pt2")  # endings of files that `posezoo export` wrote
CONFIG, WEIGHTS, CARD, REPORT = "config.json", "model.safetensors", "README.md", "report.json"
MAX_CONFIG = 1 << 20
MAX_ESTIMATE = 16 << 20


@dataclass(frozen=True)
class Trained:
    """A trained model that was found."""

    config: dict[str, Any]
    origin: str
    """Where it is, exactly: a folder, or hf-hub:OWNER/REPO@COMMIT."""
    read: Callable[[], bytes]
    """The weights file's content, of the right size and sha256. Raises WeightsError, HubError."""
    licence: str = ""
    """Of the weights, or where it is stated; empty for a folder."""
    read_file: Callable[[str, int, str], bytes] | None = None
    """The content of another of its files: of this name, size and sha256. Raises as `read`."""

    def read_estimate(self) -> bytes | None:
        """The content of the file of its error estimate; None if it is not calibrated. Raises as `read`."""
        about = self.config.get("estimate")
        if about is None or self.read_file is None:
            return None
        return self.read_file(about["file"], about["size"], about["sha256"])

    @property
    def folder(self) -> Path | None:
        """Its folder; None for the hub's."""
        return None if self.origin.startswith("hf-hub:") else Path(self.origin)


def full_name(name: str | Path) -> str:
    """The name with its scheme: an alias, an exported file, `hf-hub:` and `local-dir:` unchanged; else a folder's.

    A Path is a folder or an exported file, whatever it is called. Raises UsageError for a name that is not a folder but
    nearly an alias, a data set's or a baseline's.
    """
    text, aliases = str(name), entries.weights_cards()
    if isinstance(name, Path) and not is_exported(text):
        return f"local-dir:{text}"
    if text.partition(":")[0] in names.SCHEMES or text in aliases or is_exported(text):
        return text
    here = os.path.exists(paths.user_path(text))  # noqa: PTH110 (False for a name that is too long: Path's raises)
    if "/" not in text and not here:
        if text in entries.data_cards():
            raise UsageError(f"{text} is a data set, not a trained model", f"posezoo eval RUN --data {text}")
        if text.startswith("baseline:"):
            raise UsageError(f"{paths.shortened(text)} is nothing to load", "posezoo eval and compare take baselines")
        if near(text, aliases):
            raise unknown_name("trained model", text, aliases)
    return f"local-dir:{text}"


def is_exported(name: str) -> bool:
    """Whether this is the name of an exported file: by its ending, with no scheme and where no folder is called so."""
    if not name.endswith(EXPORTED) or name.partition(":")[0] in names.SCHEMES:
        return False
    return not os.path.isdir(paths.user_path(name))  # noqa: PTH112


def report_folder(name: str) -> Path:
    """Where a report of this trained model goes: beside a folder's model, else below outputs/."""
    full = name if name.startswith("baseline:") else full_name(name)
    if full.startswith("local-dir:"):
        return paths.user_path(full.removeprefix("local-dir:")) / "report"
    return Path("outputs") / "reports" / re.sub(r"[^A-Za-z0-9_.-]+", "-", full)


def find(name: str, note: Note = silent) -> Trained:
    """The trained model called `name`: an alias (looked up first), `hf-hub:OWNER/REPO[@REV]` or `local-dir:PATH`.

    A branch or tag is resolved to its commit, which is noted. Raises UsageError, WeightsError, HubError.
    """
    if name in entries.weights_cards():
        return _by_alias(name, note)
    if is_exported(name):
        what = f"{name} is an exported file, which predict and serve read"
        raise UsageError(what, "give the run or model folder that it was made from")
    if "/" in name and not name.startswith(names.SCHEMES):
        shown = paths.shortened(name, 80)
        raise UsageError(f"no published weights are called {shown}", f"a folder: local-dir:{shown}")
    parsed = names.parse_model(name)
    if parsed.scheme == "local-dir":
        return _in_folder(model_folder(Path(parsed.location)))
    if parsed.scheme == "hf-hub":
        return _on_hub(parsed.location, parsed.revision or "main", note)
    raise UsageError(
        f"no published weights are called {paths.shortened(name)}", "posezoo weights list; own: local-dir:RUN"
    )


def not_published(alias: str) -> WeightsError:
    """The error for weights that are not published: it says how to get them."""
    card = entries.weights_card(alias)
    convert = "; or posezoo weights convert the authors' file" if card.authors else ""
    return WeightsError(f'no weights are published for "{alias}"', f"train them: {card.command}{convert}")


def model_folder(path: Path) -> Path:
    """The folder with config.json: `path` itself, or the best model of the run `path`. Raises WeightsError."""
    path = paths.user_path(path)
    for folder in (path, path / "best"):
        if os.path.isfile(folder / CONFIG):  # noqa: PTH113 (False for a name that is too long: Path's raises)
            return folder
    shown = paths.shortened(str(path), 140)
    if os.path.isfile(path):  # noqa: PTH113
        hint = "a model is a folder; authors' checkpoints: posezoo weights convert FILE --from ... --data ... --out DIR"
        raise WeightsError(f"{shown} is a file, not a model folder", hint)
    if os.path.isfile(path / "config.toml"):  # noqa: PTH113
        raise WeightsError(f"{shown}: a run that has no model yet", f"posezoo resume {shlex.quote(shown)}")
    if os.path.exists(path):  # noqa: PTH110
        hint = "give a run folder, for example outputs/atloc+hyper/demo-loop/…"
        raise WeightsError(f"{shown}: no config.json or best/config.json in it", hint)
    raise WeightsError(
        f"{shown}: no such folder, nor a trained model", "give a run folder, or see posezoo weights list"
    )


def read_config(folder: Path) -> dict[str, Any]:
    """The model's config.json. Raises WeightsError."""
    try:
        with (folder / CONFIG).open("rb") as file:
            content = file.read(MAX_CONFIG + 1)
    except OSError as error:
        raise WeightsError(f"{folder / CONFIG}: {error.strerror}", "train or fetch it again") from None
    return parse_config(content, str(folder / CONFIG))


def parse_config(content: bytes, source: str) -> dict[str, Any]:
    """The content of a config.json as a dictionary with all required keys. Raises WeightsError."""
    try:
        if len(content) > MAX_CONFIG:
            raise ValueError("more than 1 MiB")
        config: dict[str, Any] = json.loads(content.decode("utf-8"))
        if config["format"] > 1 or config["conventions"] > CONVENTIONS:
            raise WeightsError(f"{source}: written by a newer posezoo ({config['posezoo']})", "pip install -U posezoo")
        tables = config["config"], config["modifiers"], config["weights"]
        tables += tuple(config["modifiers"].values()) if isinstance(config["modifiers"], dict) else ()
        if not isinstance(config["name"], str) or not all(isinstance(table, dict) for table in tables):
            raise TypeError("name is text; config, modifiers and weights are tables")
        weights = config["weights"]
        if not isinstance(weights["sha256"], str) or not isinstance(weights.get("size", 0), int):
            raise TypeError("weights: sha256 is text, size a number")
        facts = config.get("training", {}), *config.get("disclosures", [])
        if not isinstance(facts[0], dict) or not all(isinstance(line, str) for line in facts[1:]):
            raise TypeError("training is a table; disclosures are texts")
        if not all(isinstance(facts[0].get(key, []), list) for key in ("changed", "backbone_weights")):
            raise TypeError("training: changed and backbone_weights are lists")
        for file in facts[0].get("backbone_weights", []):
            if not all(isinstance(file[key], str) for key in ("source", "sha256")):
                raise TypeError("training: backbone_weights have a source and a sha256")
        _check_estimate(config.get("estimate"))
        if config.get("sum", (own := sum_of(config))) != own:
            raise ValueError("changed since it was written: its sum differs")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(f"{source} is damaged: {ascii(error)[:80]}", "train or fetch it again") from None
    return config


def _check_estimate(about: Any) -> None:
    """Raise TypeError or ValueError for what does not describe the file of an error estimate."""
    if about is None:
        return
    if not re.fullmatch(r"estimate-[0-9a-f]{8}\.safetensors", about["file"]) or not 0 < about["size"] <= MAX_ESTIMATE:
        raise ValueError("estimate: not a file of posezoo's")
    if not isinstance(about["sha256"], str) or not isinstance(about["source"], str):
        raise TypeError("estimate: sha256 and source are text")
    if not isinstance(about["count"], int) or not 0 < about["coverage"] < 1:
        raise TypeError("estimate: count and coverage are numbers")


def sum_of(config: dict[str, Any]) -> str:
    """sha256 over all else that a config.json says."""
    rest = {key: value for key, value in config.items() if key != "sum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _in_folder(folder: Path) -> Trained:
    """The model in a folder, which a run may replace at any moment: config and weights are those of one folder."""
    path, config = folder / WEIGHTS, read_config(folder)
    for _ in range(20):
        handle = _opened(path)
        before, config = config, read_config(folder)
        if config == before:
            break
        if handle is not None:
            os.close(handle)
    expected = config["weights"]["sha256"], config["weights"].get("size")

    def read() -> bytes:
        if handle is None:
            return _exactly(path, expected[1], expected[0])
        content, problem = hub.checked_file(handle, path, expected[1], expected[0])
        if problem:
            raise WeightsError(f"weights damaged: {path}: {problem}", "train, fetch or install it again")
        return content

    if handle is not None:
        weakref.finalize(read, os.close, handle)  # whoever has it may still read
    return Trained(config, str(folder), read, read_file=lambda file, size, sha: _exactly(folder / file, size, sha))


def _opened(path: Path) -> int | None:
    """The file's descriptor; None for what is no file, which is told when it is read."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK) if path.is_file() else None
    except OSError:
        return None


def _on_hub(repository: str, revision: str, note: Note) -> Trained:
    commit = _commit(repository, revision, note)
    config = parse_config(_config_of(repository, commit, "", note), f"{repository}: {CONFIG}")
    expected = config["weights"]
    place, licence = f"hf-hub:{repository}@{commit}", redacted(f"see {hub.endpoint()}/{repository}")

    def read() -> bytes:
        _tell_licence(repository, WEIGHTS, commit, licence, note)
        return hub.read(repository, WEIGHTS, commit, expected.get("size"), expected["sha256"], note=note)

    def read_file(file: str, size: int, sha256: str) -> bytes:
        return hub.read(repository, file, commit, size, sha256, note=note)

    return Trained(config, place, read, licence, read_file)


def _by_alias(alias: str, note: Note) -> Trained:
    entry = entries.published().get(alias)
    if entry is None:
        raise not_published(alias)
    if entry.in_package:
        folder = forms.package_folder(entry.repository)
        config = _exactly(folder / CONFIG, None, entry.config_sha256)
        origin, read = str(folder), lambda: _exactly(folder / entry.file, entry.size, entry.sha256)

        def read_file(file: str, size: int, sha256: str) -> bytes:
            return _exactly(folder / file, size, sha256)

    else:
        place = (entry.full_repository, entry.revision)
        config, origin = _config_of(*place, entry.config_sha256, note), f"hf-hub:{place[0]}@{place[1]}"

        def read() -> bytes:
            _tell_licence(place[0], entry.file, place[1], entry.licence, note)
            return hub.read(place[0], entry.file, place[1], entry.size, entry.sha256, note=note)

        def read_file(file: str, size: int, sha256: str) -> bytes:
            return hub.read(place[0], file, place[1], size, sha256, note=note)

    return Trained(parse_config(config, f"{alias}: {CONFIG}"), origin, read, entry.licence, read_file)


def _commit(repository: str, revision: str, note: Note) -> str:
    """The commit of `revision`, from the hub, else from the cache, with a note."""
    if paths.COMMIT.fullmatch(revision):
        return revision
    try:
        commit = hub.resolve(repository, CONFIG, revision)
    except HubError as error:
        here = hub.cached(repository, CONFIG, revision)
        if here is None:
            raise
        commit = here.parent.name  # in the hub's cache the folder of a snapshot is its commit
        note(f"{error.message}: using the cached copy {repository}@{commit}")
    else:
        note(f"{repository}@{revision} is now {repository}@{commit}")
        known = hub.cached(repository, CONFIG, revision)
        if known is None or known.parent.name != commit:
            try:  # by this name, so that the cache knows it when offline
                hub.fetch(repository, CONFIG, revision, anew=True)
            except ResourceError:  # the cache cannot be written
                if hub.cached(repository, CONFIG, commit) is None:
                    raise
    return commit


def _tell_licence(repository: str, file: str, commit: str, licence: str, note: Note) -> None:
    """Note the licence of weights before they are fetched: only once, as they are cached afterwards."""
    if hub.cached(repository, file, commit) is None:
        note(f"licence of {repository}: {licence}")


def _config_of(repository: str, commit: str, sha256: str, note: Note) -> bytes:
    return hub.read(repository, CONFIG, commit, None, sha256, limit=MAX_CONFIG, note=note)


def _exactly(path: Path, size: int | None, sha256: str) -> bytes:
    try:
        content, problem = hub.checked_content(path, size, sha256)
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}", "train or fetch it again") from None
    if problem:
        raise WeightsError(f"weights damaged: {path}: {problem}", "train, fetch or install it again")
    return content
