"""Push a model folder to a repository of the hub: config, weights, card and results in one commit.

Nothing damaged is pushed, what an earlier model left in the repository is removed, and a hand-written card is kept.
"""

from __future__ import annotations

import re
from pathlib import Path

from posezoo.base.errors import UsageError, WeightsError
from posezoo.base.files import hub
from posezoo.base.observe import Note, silent
from posezoo.catalogue import forms
from posezoo.catalogue.names import check_repository
from posezoo.zoo import card
from posezoo.zoo.card import HERE, is_handwritten
from posezoo.zoo.find import CARD, CONFIG, WEIGHTS, find, full_name, parse_config

RESULTS, PICTURE = ".eval_results/posezoo.yaml", "trajectory.png"
OF_A_MODEL = re.compile(rf"{re.escape(RESULTS)}|{re.escape(PICTURE)}|estimate-[0-9a-f]{{8}}\.safetensors")
"""What only some models have: in the repository it would be taken for this one's."""


def full_repository(name: str) -> str:
    """OWNER/REPO of a repository, which without an owner is in the namespace. Raises UsageError."""
    repository = name if "/" in name else f"{forms.namespace()}/{name}"
    check_repository(repository)
    return repository


def push(model: str | Path, repository: str, *, private: bool = False, note: Note = silent) -> str:
    """The commit that holds the model: a run folder, `local-dir:PATH` or an alias that ships with a package.

    `repository` is OWNER/REPO, or REPO in the namespace (POSEZOO_HUB_NAMESPACE). The token is the hub's own (HF_TOKEN
    or `hf auth login`). Raises WeightsError for damaged weights, HubError, ResourceError.
    """
    repository = full_repository(repository)
    found = find(full_name(model), note)
    if found.folder is None:
        raise UsageError(f"{model} is on the hub already", "push a run folder or local-dir:PATH")
    if not found.config.get("training", {}).get("redistributable", True):
        raise UsageError(
            f"{model}: its authors state no licence, so it must not be redistributed", "keep it to yourself"
        )
    if hub.offline():
        raise UsageError("offline: nothing can be pushed", "unset POSEZOO_OFFLINE and HF_HUB_OFFLINE")
    weights = found.read()  # of the right size and sha256, or it raises
    path = found.folder / CARD
    text = path.read_text(encoding="utf-8") if path.is_file() else card.text(found.config, None)
    text = text.replace(HERE, f"hf-hub:{repository}")
    files = {WEIGHTS: weights, CARD: text.encode()} | _of_report(found.folder, text)
    if (estimate := found.read_estimate()) is not None:
        files[found.config["estimate"]["file"]] = estimate
    files[CONFIG] = (found.folder / CONFIG).read_bytes()
    if parse_config(files[CONFIG], str(found.folder / CONFIG)) != found.config:  # read last: so the others are its own
        raise WeightsError(f"{found.folder} was replaced while it was read", "push it again")
    commit, kept = hub.guarded(lambda: _commit(repository, files, private), repository, len(weights))
    if kept:
        note(f"the card of {repository} is hand-written and is kept")
    return commit


def _of_report(folder: Path, text: str) -> dict[str, bytes]:
    """What the model's report adds: the hub's own form of the results, and a card that shows the trajectory."""
    report = card.report_of(folder)
    if report is None:
        return {}
    files = {RESULTS: results.encode()} if (results := card.results_file(report)) else {}
    for path in (folder / PICTURE, folder.parent / "report" / PICTURE):
        if path.is_file():
            shown = text if is_handwritten(folder / CARD) else card.with_picture(text, PICTURE)
            return files | {PICTURE: path.read_bytes(), CARD: shown.encode()}
    return files


def _commit(repository: str, files: dict[str, bytes], private: bool) -> tuple[str, bool]:
    """The new commit, and whether a hand-written card was kept."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(endpoint=hub.endpoint())
    api.create_repo(repository, exist_ok=True, private=private)
    now = api.model_info(repository)
    head, there = now.sha, {file.rfilename for file in now.siblings or ()}
    kept = head is not None and _is_handwritten(api, repository, head)
    operations: list[CommitOperationAdd | CommitOperationDelete] = []
    operations += [CommitOperationAdd(name, content) for name, content in files.items() if not (kept and name == CARD)]
    gone = {name for name in there - files.keys() if OF_A_MODEL.fullmatch(name)}
    gone -= {PICTURE} if kept else set()  # the card may show it
    operations += [CommitOperationDelete(name) for name in sorted(gone)]
    # on top of the commit that was read: if there is another in between, this fails instead of overwriting
    done = api.create_commit(repository, operations, commit_message="posezoo weights push", parent_commit=head)
    return done.oid, kept


def _is_handwritten(api: object, repository: str, head: str) -> bool:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RemoteEntryNotFoundError

    assert isinstance(api, HfApi)
    try:
        return is_handwritten(Path(api.hf_hub_download(repository, CARD, revision=head)))
    except RemoteEntryNotFoundError:
        return False
