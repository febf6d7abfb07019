"""The training loop: phases of epochs of steps, then the report. How a step is made: phase.py; saving: saving.py;
choosing the best epoch: selection.py.
"""

from __future__ import annotations

import contextlib
import html
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posezoo.base.errors import Interrupted, NotFiniteError, PluginError, ResourceError
from posezoo.base.observe import Observer
from posezoo.data.loader import WorkerLost
from posezoo.evaluation.evaluate import evaluate
from posezoo.evaluation.report import Report
from posezoo.evaluation.retrieval import retrieval_features
from posezoo.training.average import averaged
from posezoo.training.checkpoint import Checkpoint
from posezoo.training.facts import selection_note
from posezoo.training.phase import Phase
from posezoo.training.place import learn_place
from posezoo.training.run import METRICS, RunFolder, utc_now
from posezoo.training.saving import Saver, State
from posezoo.training.selection import Selection
from posezoo.training.setup import Job
from posezoo.zoo import card
from posezoo.zoo.find import CARD, Trained, find, read_config
from posezoo.zoo.saved import load_found, write_card


@dataclass(frozen=True, repr=False)
class Result:
    """A finished run: its folder and the report of its best model."""

    path: Path
    report: Report
    seconds: float
    """Spent in training, over all resumptions."""

    def __repr__(self) -> str:
        return f"<Run {self.path}, {self.seconds:.0f} s: {self.report!r}>"

    def _repr_html_(self) -> str:
        return f"<p>run folder: {html.escape(str(self.path))}</p>{self.report._repr_html_()}"


class Loop:
    """One run in progress: `Loop(job, folder, observer).run(checkpoint or None)`."""

    def __init__(self, job: Job, folder: RunFolder, observer: Observer) -> None:
        self.job, self.folder, self.observer = job, folder, observer
        self.processes, self.stop = job.processes, job.processes.stop
        self.state = State()
        self.saver = Saver(job, folder, self.state)
        self.selection = Selection(job, folder)
        self.ticked_at = time.monotonic()

    def run(self, found: Checkpoint | None) -> Result:
        """All phases from the checkpoint on, then the report."""
        state, plan = self.state, self.job.config.plan
        if found:
            vars(state).update(found.state["position"])
            self.job.model.load_state_dict(found.weights)
            self.folder.rewind_metrics(state.step, state.epoch)
        try:
            self._announce()
            if not found:
                self._learn_place()
            self._start_average()
            if found and self.job.average is not None:
                self.job.average.load_state_dict(found.state["average"])
            while state.phase < len(plan):
                phase = self._phase(found)
                while state.epoch < phase.end_epoch:
                    self._epoch(phase)
                found = None
                if state.phase < len(plan) - 1:
                    self.selection.take_best(state)
                    self._start_average()
                state.phase += 1
                self.saver.save(phase)
        finally:
            self.observer.end()
        return self._finish()

    def _learn_place(self) -> None:
        """What the model learns of the place before step 1."""
        try:
            with self.processes.stage("learning the place, before step 1"):
                learn_place(self.job, lambda done, total: self.observer.progress("learning the place", done, total))
        except Interrupted as stopped:
            raise Interrupted(stopped.message, f"posezoo resume {self.folder.path}", stopped.exit_code) from None

    def _start_average(self) -> None:
        """The average begins at the model as it is: at the start, and where a phase starts from the best epoch."""
        if self.job.config.optim.average:
            self.job.average = averaged(self.job.model, self.job.config.optim.average)

    def _phase(self, found: Checkpoint | None) -> Phase:
        """The current phase, ready for its next step."""

        def progress(done: int, total: int) -> None:
            self.observer.progress("features of the frozen part", done, total)

        phase = Phase(self.job, self.state.phase)
        if found:
            phase.restore(found, begun=(self.state.epoch, self.state.batch) != (phase.first_epoch, 0))
        with self._saved_if_stopped(phase, "computing the features of the frozen part"):
            phase.prepare(progress)
        phase.begin()
        self.ticked_at = time.monotonic()
        return phase

    def _epoch(self, phase: Phase) -> None:
        """Every batch that the epoch has left, then validation."""
        state = self.state
        try:
            for batch, weight in phase.batches(state.epoch, state.batch):
                line = phase.step(batch, weight, state.step + 1)
                state.batch += 1
                state.step += 1
                self._tick()
                line = {"step": state.step, "epoch": state.epoch, "phase": state.phase, **line}
                self._write(line)
                self.observer.step(line)
                self.saver.after_step(phase)
        except (WorkerLost, PluginError, NotFiniteError) as error:
            raise self._ended(error, phase) from error
        with self._saved_if_stopped(phase, f"validating after epoch {state.epoch + 1}"):
            found = self.selection.validate(state.epoch + 1)
        state.batch, state.epoch = 0, state.epoch + 1
        line = {"step": state.step, "epoch": state.epoch, "time": utc_now(), **found}
        self._tick()
        self._write(line)
        self.observer.epoch(line)
        last = state.phase == len(self.job.config.plan) - 1 and state.epoch == phase.end_epoch
        self.selection.keep_if_best(state, line["score"], last)

    @contextlib.contextmanager
    def _saved_if_stopped(self, phase: Phase, doing: str) -> Iterator[None]:
        """Around what can be repeated within a phase: a signal ends it, and the state from before is saved."""
        try:
            with self.processes.stage(doing):
                yield
        except Interrupted as stopped:
            raise self.saver.stopped(phase, f"{stopped.message} (step {self.state.step})") from None

    def _ended(self, error: Exception, phase: Phase) -> Exception:
        """The error that ends the run, after a checkpoint if the state is still good."""
        step, resume = self.state.step, f"posezoo resume {self.folder.path}"
        if isinstance(error, NotFiniteError):
            self._write({"step": step, "event": "not finite", "what": error.what, "images": list(error.images)})
            files = f"the batch's files and the last finite step are in {self.folder.path / METRICS}"
            return NotFiniteError(error.message, f"lower optim.lr; {files}")
        if isinstance(error, WorkerLost):
            what = f"a data worker died or hung at step {step}, checkpoint saved: {self.saver.save(phase)} ({error})"
            return ResourceError(what, f"out of memory? {resume}")
        assert isinstance(error, PluginError)
        # the checkpoint is from before the step; only batch-norm statistics may have seen its images already
        return PluginError(f"{error.message}, checkpoint saved: {self.saver.save(phase).name}", resume)

    def _tick(self) -> None:
        now = time.monotonic()
        self.state.seconds += now - self.ticked_at
        self.ticked_at = now

    def _announce(self) -> None:
        job, epochs = self.job, sum(phase.epochs for phase in self.job.config.plan)
        facts = {
            "model": str(job.blueprint.name),
            "data": job.dataset.name,
            "run": str(self.folder.path),
            "recipe": job.config.recipe,
            "parameters": sum(p.numel() for p in job.model.parameters()),
            "train_images": len(job.train_rows),
            "validation_images": len(job.validation_rows),
            "device": job.accelerator.device.type,
            "precision": job.config.precision,
            "seed": job.config.seed,
            "backbone": ", ".join(f.source for f in job.backbone_files) or "random start",
            "epochs": epochs,
        }
        self.observer.start(epochs * job.steps_per_epoch, self.state.step, facts)

    def _write(self, line: dict[str, Any]) -> None:
        if self.processes.is_main:
            self.folder.append_metrics(line)

    def _finish(self) -> Result:
        """The result: the best model loaded as users load it, evaluated, its card completed."""
        try:
            with self.stop.at_once("evaluating, after training"):
                return self._evaluated()
        except Interrupted as stopped:
            raise Interrupted(stopped.message, f"posezoo resume {self.folder.path}", stopped.exit_code) from None

    def _evaluated(self) -> Result:
        job, path, main = self.job, self.folder.path, self.processes.is_main
        model = load_found(self._best(path), job.accelerator.device)
        report = evaluate(
            model,
            job.dataset,
            cache=job.cache,
            embed=retrieval_features(job.model),
            selection=selection_note(job.config, self.state.best),
            progress=lambda done, total: self.observer.progress("evaluating", done, total),
            share=self.processes,
        )
        if main:
            report.save(path / "report")
            best = path / "best"
            if not card.is_handwritten(best / CARD):
                write_card(best, card.text(read_config(best), report.to_dict()))
        self.processes.told(lambda: True)  # the main process has written it
        return Result(path, report, self.state.seconds)

    def _best(self, path: Path) -> Trained:
        """The best model, which the main process alone reads."""
        found = find(f"local-dir:{path}") if self.processes.is_main else None
        origin, config = self.processes.told(lambda: (found.origin, found.config) if found else ("", {}))
        content = self.processes.told_bytes(lambda: found.read() if found else b"")
        return Trained(config, origin, lambda: content)
