"""The reports that are stored with runs and model folders: where they lie, and whether they are of what is asked.

`posezoo eval` writes a run's report anew whatever it evaluated, so what is read is checked: a report of training
images, of turned copies or of other weights is none of the run's errors on its test images.
"""

from __future__ import annotations

from pathlib import Path

from posezoo.base.errors import PosezooError, WeightsError
from posezoo.base.paths import user_path, without_folders
from posezoo.base.poses import Poses
from posezoo.evaluation import named, stored
from posezoo.evaluation.report import Report
from posezoo.training.run import CONFIG
from posezoo.zoo.find import find, full_name, model_folder


def stored_report(run: str | Path) -> tuple[Path, Report]:
    """The folder of a run's report, and the report as it was measured. Raises WeightsError."""
    folder = _folder(run)
    if folder is None:
        full = str(run) if str(run).startswith("baseline:") else full_name(run)
        if full.startswith("local-dir:"):
            model_folder(Path(full.removeprefix("local-dir:")))  # says what is wrong with it where eval would not do
        raise WeightsError(f"{run}: no report", f"posezoo eval {run} --data NAME writes it")
    return folder, Report.load(folder)


def current_report(run: str | Path) -> Report | None:
    """The stored report, if it is of the weights that the folder has now, or of a folder without weights."""
    folder = _folder(run)
    if folder is None:
        return None
    found = Report.load(folder)
    measured = found.settings.get("trained", {}).get("weights_sha256")
    try:
        weights = find(full_name(run)).config["weights"]["sha256"]
    except PosezooError:  # the folder of a report alone
        return found
    return found if measured in (None, weights) else None


def report_of_test(run: str | Path, data_digest: str | None = None) -> Report | None:
    """The stored report of the test images of these data (None: those of the training), if there is one.

    Of one picture each, and of the weights that the folder has now.
    """
    try:
        found = current_report(run)
    except WeightsError:  # damaged
        return None
    if found is None:
        return None
    wanted = data_digest or found.settings.get("trained", {}).get("data_digest")
    same = (found.split, found.data_digest, found.settings.get("tta", False)) == ("test", wanted, False)
    return found if same else None


def known_map(model: str) -> tuple[str, Poses | None, str]:
    """(a title, the poses of the training images, the unit), for pictures; no poses where no report is stored."""
    folder = _folder(model)
    if folder is None:
        return Path(model.removeprefix("local-dir:")).name, None, "m"
    report = Report.load(folder)
    return f"{report.model} on {without_folders(report.data)}", (report.train or report.frames).poses(), report.unit


def _folder(run: str | Path) -> Path | None:
    """Where a run's or model folder's report is stored, or the folder of a report itself; None for other names."""
    if named.is_named(run) or not (full := full_name(run)).startswith("local-dir:"):
        return None
    folder = user_path(full.removeprefix("local-dir:"))
    places = [folder / "report", folder]
    if (folder.parent / CONFIG).is_file():  # the model of a run
        places.append(folder.parent / "report")
    return next((place for place in places if (place / stored.FILE).is_file()), None)
