"""Metrics to a tracker beside metrics.jsonl: TensorBoard, trackio, wandb or mlflow, through accelerate."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from posezoo.base.errors import UsageError

PACKAGES = ("tensorboard", "trackio", "wandb", "mlflow")


class Tracker:
    """`log` for every line of metrics.jsonl, then `finish`. Without a tracker nothing happens."""

    def __init__(self, kind: str | None, run: Path, config: Mapping[str, Any], note: Callable[[str], object]) -> None:
        """`kind`: a name of `PACKAGES`; `auto`: TensorBoard if it is installed; None. Raises UsageError."""
        self.note, self._tracker = note, None
        self._undo = contextlib.ExitStack()
        if kind == "auto":
            kind = "tensorboard" if find_spec("tensorboard") else None
        if kind is None:
            return
        if find_spec(kind) is None:
            package = "'posezoo[track]'" if kind == "tensorboard" else kind
            raise UsageError(f"track={kind}, but the package is not installed", f"pip install {package}, or track=none")
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        key = {"tensorboard": "logging_dir", "mlflow": "logging_dir", "wandb": "dir"}.get(kind)
        where = {key: str(run)} if key else {}
        name = "tensorboard" if kind == "tensorboard" else "posezoo"
        self._try(lambda: self._start(LOGGER_TYPE_TO_CLASS[kind](name, **where), run, config))

    def log(self, line: Mapping[str, Any]) -> None:
        """A line of a step or of an epoch: losses and errors in training, `validation/` what was validated."""
        prefix = "" if "loss" in line else "validation/"
        numbers = {key: value for key, value in line.items() if isinstance(value, (int, float)) and key != "step"}
        values = {f"{prefix}{key}": value for key, value in numbers.items()}
        if self._tracker is not None:
            self._try(lambda: self._tracker.log(values, step=line["step"]))

    def finish(self) -> None:
        """What is buffered is written."""
        with self._undo:
            if self._tracker is None:
                return
            # accelerate ends trackio's run behind its back, and at exit it would say so once more, on stdout
            module = import_module("trackio") if self._tracker.name == "trackio" else self._tracker
            self._try(module.finish)

    def _start(self, tracker: Any, run: Path, config: Mapping[str, Any]) -> None:
        if tracker.name == "mlflow":
            self._keep_mlflow_in(run)
        tracker.start()
        self._tracker = tracker
        if tracker.name != "tensorboard":  # its form is another folder for each run
            tracker.store_init_configuration({"run": str(run), **config})

    def _keep_mlflow_in(self, run: Path) -> None:
        """mlflow's database in the run folder instead of the working folder, unless the user has set another place."""
        mlflow = import_module("mlflow")
        if not mlflow.is_tracking_uri_set():  # MLFLOW_TRACKING_URI, or called in this process
            self._undo.callback(mlflow.set_tracking_uri, None)
            mlflow.set_tracking_uri(f"sqlite:///{(run / 'mlflow.db').absolute()}")

    def _try(self, work: Callable[[], object]) -> None:
        """A tracker that fails is switched off with a note: training goes on."""
        try:
            with contextlib.redirect_stdout(sys.stderr):  # trackio tells there how to see it; ours is for results
                work()
        except Exception as error:  # another library's, of any kind: a network, a login, a full disk
            self._tracker = None
            self.note(f"the tracker is off: {' '.join(str(error).split())[:100]}")
