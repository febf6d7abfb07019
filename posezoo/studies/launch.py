"""Runs of a grid as jobs: beside each other on this machine's devices, or on a cluster through submitit.

On a cluster every job waits in its queue; on this machine as many run at once as there are devices. A job that is
warned of its end (submitit's SIGUSR2) saves and is submitted again; it then continues its run.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from posezoo.base import errors
from posezoo.base.errors import FailedElsewhere, Interrupted, PosezooError, ResourceError, UsageError
from posezoo.base.signals import StopFlag

PATIENCE = 60.0
"""Seconds in which jobs that were asked to stop save."""


@dataclass(frozen=True)
class Work:
    """One job: what it calls, and what it is called for the user. Pickled by submitit, so `call` is of a module."""

    what: str
    call: Callable[..., None]
    given: tuple[Any, ...]

    def __call__(self) -> dict[str, str]:
        """In the job: what went wrong, empty if nothing did."""
        try:
            self.call(*self.given)
        except Interrupted as error:
            if "SIGUSR2" not in error.message:
                return {"kind": "ResourceError", "message": error.message}
            signal.raise_signal(signal.SIGUSR2)  # everything is saved: submitit's own handler submits it again
        except PosezooError as error:
            # of what failed elsewhere the command line says nothing, as another process does; here there is none
            kind = ResourceError if isinstance(error, FailedElsewhere) else type(error)
            return {"kind": kind.__name__, "message": str(error), "code": str(error.exit_code)}
        return {}

    def checkpoint(self, *_: Any) -> Any:
        """What submitit submits again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def launch(
    work: Sequence[Work], folder: Path, parameters: Mapping[str, Any], note: Callable[[str], object], here: bool = False
) -> None:
    """Run all jobs to their end; logs go to `folder`. `here`: on this machine, whatever cluster there is.

    `parameters` are submitit's (`slurm_partition`, `timeout_min`). Raises the first job's error, and Interrupted if it
    is stopped: the jobs then save and end too. The same call again continues all of them.
    """
    if find_spec("submitit") is None:
        raise UsageError("--launcher needs the package submitit", "pip install 'posezoo[cluster]'")
    import submitit
    import torch

    devices = max(1, torch.cuda.device_count())
    executor = submitit.AutoExecutor(folder, cluster="local" if here else None)
    local = executor.cluster == "local"
    most = devices if local else len(work)
    waiting, running, failed = list(work), dict[int, tuple[Work, Any]](), list[tuple[Work, dict[str, str]]]()
    with StopFlag() as stop:
        try:
            with stop.at_once("waiting for jobs", "the same command continues them"):
                while waiting or running:
                    for slot in [n for n in range(most) if n not in running][: len(waiting)]:
                        device = {"gpus_per_node": 1} | ({"visible_gpus": (slot,)} if local else {})
                        usual = {"timeout_min": 24 * 60, **(device if torch.cuda.is_available() else {})}
                        try:
                            executor.update_parameters(**usual | dict(parameters))
                        except (NameError, TypeError, ValueError, AssertionError) as refusal:
                            first = str(refusal).strip().partition("\n")[0] or type(refusal).__name__
                            hint = "submitit's parameters, for example timeout_min=60 slurm_partition=gpu"
                            raise UsageError(f"submitit refuses the job's parameters: {first}", hint) from refusal
                        one = waiting.pop(0)
                        running[slot] = (one, executor.submit(one))
                        note(f"job {running[slot][1].job_id}: {one.what}")
                    time.sleep(0.2)
                    for slot, (one, job) in list(running.items()):
                        if job.done():
                            del running[slot]
                            failed += [(one, result)] if (result := _result(job)) else []
        except Interrupted:
            _stop([job for _, job in running.values()])
            raise
    if failed:
        one, result = failed[0]
        kind: type[PosezooError] = getattr(errors, result["kind"], ResourceError)
        what = f"{len(failed)} of {len(work)} jobs failed, the first: {one.what}: {result['message']}"
        error = kind(what, f"logs are in {folder}; the same command continues")
        error.exit_code = int(result.get("code", kind.exit_code))
        raise error


def _result(job: Any) -> dict[str, str]:
    """What went wrong in a job that has ended."""
    problem = job.exception()
    if problem is None:
        found: dict[str, str] = job.result()
        return found
    last = str(problem).strip().splitlines()[-1:]
    return {"kind": "ResourceError", "message": f"the job ended without a result: {''.join(last)[:200]}"}


def _stop(jobs: Sequence[Any]) -> None:
    """End jobs: on this machine they save first; a cluster sends its own warning."""
    for job in jobs:
        process = getattr(job, "_process", None)
        if process is None:
            job.cancel(check=False)
        else:
            process.send_signal(signal.SIGTERM)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and not all(job.done() for job in jobs):
        time.sleep(0.2)
