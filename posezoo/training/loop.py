"""The training loop: phases of epochs of steps, then the report. How a step is made: phase.py; saving: saving.py;
choosing the best epoch: selection.py.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posezoo.base.errors import Interrupted, LostError, NotFiniteError, PluginError, ResourceError, UsageError
from posezoo.base.observe import Observer
from posezoo.base.shown import html_lines
from posezoo.data.loader import WorkerLost
from posezoo.evaluation.evaluate import evaluate
from posezoo.evaluation.report import Report
from posezoo.evaluation.retrieval import retrieval_features
from posezoo.nn.place import learners
from posezoo.training.average import averaged
from posezoo.training.checkpoint import Checkpoint
from posezoo.training.ears import is_lost
from posezoo.training.facts import selection_note
from posezoo.training.phase import Phase, plugins_named
from posezoo.training.place import learn_place
from posezoo.training.radii import calibrate_run
from posezoo.training.rows import as_trained, extends
from posezoo.training.run import METRICS, RunFolder, utc_now
from posezoo.training.saving import Saver, State, configuration
from posezoo.training.selection import Selection
from posezoo.training.setup import Job
from posezoo.training.track import Tracker
from posezoo.training.watch import Watch
from posezoo.zoo import card
from posezoo.zoo.build import has_backbone
from posezoo.zoo.find import CARD, Trained, find, read_config
from posezoo.zoo.saved import load, load_found, save_estimate, write_card
from posezoo.zoo.transfer import transfer


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
        return html_lines([f"run folder: {self.path}"]) + self.report._repr_html_()


class Loop:
    """One run in progress: `Loop(job, folder, observer).run(checkpoint or None)`."""

    def __init__(self, job: Job, folder: RunFolder, observer: Observer) -> None:
        self.job, self.folder, self.observer = job, folder, observer
        self.processes, self.stop = job.processes, job.processes.stop
        self.state = State()
        self.saver = Saver(job, folder, self.state)
        self.saver.tell = self._tell
        self.read_every = job.config.read_every or (10 if job.accelerator.device.type == "cuda" else 1)
        self.selection = Selection(job, folder)
        self.ticked_at = time.monotonic()
        epochs = sum(phase.epochs for phase in job.config.plan)
        self.watch = Watch(job.dataset.frames.select(job.train_rows), epochs)
        kind = job.config.track if self.processes.is_main else None
        self.tracker = Tracker(kind, folder.path, configuration(job.config, job.blueprint), observer.note)

    def run(self, found: Checkpoint | None) -> Result:
        """All phases from the checkpoint on, then the report. Raises LostError if another process is lost."""
        try:
            return self._run(found)
        except RuntimeError as error:
            if not is_lost(error):
                raise
            what = f"another of the {self.processes.world} processes was lost at step {self.state.step}"
            raise LostError(what, f"posezoo resume {self.folder.path}") from error

    def _run(self, found: Checkpoint | None) -> Result:
        state, plan = self.state, self.job.config.plan
        if found:
            vars(state).update(found.state["position"])
            self.job.model.load_state_dict(found.weights)
            for problem in self.folder.rewind_metrics(state.step, state.epoch):
                self.observer.note(problem)
        try:
            self._announce()
            if not found:
                self._start_from()
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
            self.tracker.finish()
        return self._finish()

    def _start_from(self) -> None:
        """The weights of another model, if the configuration names one."""
        name = self.job.config.start_from
        if name is None:
            return
        with self.stop.at_once(f"reading {name}", f"posezoo resume {self.folder.path}"):
            source = load(name, note=self.observer.note)
            left = transfer(self.job.model, source)
        job = self.job
        kept = [scene for scene in source.config.scenes if scene in job.model.config.scenes]
        seen = {job.dataset.frames.scenes[i] for i in job.dataset.frames.scene[job.train_rows]}
        unseen, learning = ", ".join(scene for scene in kept if scene not in seen), learners(job.model)
        learns = tuple(f"{part}." for part, module in job.model.named_modules() if module in learning)
        if unseen and (lost := [tensor for tensor in left if tensor.startswith(learns)]):
            what = f"{name} has no {lost[0]} for this model, and the data no images of {unseen} to learn it from"
            raise UsageError(what, "the settings that it was trained with, or data with all its scenes")
        shown = f", scenes {', '.join(kept)}{'' if left else ' as they were'}" if extends(job.blueprint) else ""
        new = f"; {len(left)} tensors start anew ({', '.join(left[:3])})" if left else ""
        self.observer.note(f"started from {name}{shown}{new}")

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
            with contextlib.closing(phase.batches(state.epoch, state.batch)) as batches:  # ends data workers
                for given in batches:
                    about = {"step": state.step + 1, "epoch": state.epoch, "phase": state.phase}
                    phase.step(given, state.step + 1, about)
                    state.batch += 1
                    state.step += 1
                    self._tick()
                    if state.step % self.read_every == 0:
                        self._tell(phase)
                    self.saver.after_step(phase)
            self._tell(phase)
        except (WorkerLost, PluginError, NotFiniteError) as error:
            raise self._ended(error, phase) from error
        with self._saved_if_stopped(phase, f"validating after epoch {state.epoch + 1}"):
            found = self.selection.validate(state.epoch + 1)
        state.batch, state.epoch = 0, state.epoch + 1
        line = {"step": state.step, "epoch": state.epoch, "time": utc_now(), **found}
        self._tick()
        self._write(line)
        self.observer.epoch(line)
        for warning in self.watch.epoch(line):
            self.observer.note(warning)
        last = state.phase == len(self.job.config.plan) - 1 and state.epoch == phase.end_epoch
        self.selection.keep_if_best(state, line["score"], last)

    def _tell(self, phase: Phase) -> None:
        """Write down and show the steps that were made since the last time."""
        for line in phase.read():
            self._write(line)
            self.watch.step(line)
            self.observer.step(line)

    @contextlib.contextmanager
    def _saved_if_stopped(self, phase: Phase, doing: str) -> Iterator[None]:
        """Around what can be repeated within a phase: whatever ends it, the state from before is saved."""
        try:
            with self.processes.stage(doing), plugins_named(self.job, f"{doing} (step {self.state.step})"):
                yield
        except Interrupted as stopped:
            raise self.saver.stopped(phase, f"{stopped.message} (step {self.state.step})") from None
        except PluginError as error:
            raise self._ended(error, phase) from error

    def _ended(self, error: Exception, phase: Phase) -> Exception:
        """The error that ends the run, after a checkpoint if the state is still good."""
        step, resume = self.state.step, f"posezoo resume {self.folder.path}"
        if isinstance(error, NotFiniteError):
            self._write({"step": step, "event": "not finite", "what": error.what, "images": list(error.images)})
            files = f"the batch's files and the last finite step are in {self.folder.path / METRICS}"
            return NotFiniteError(error.message, f"lower optim.lr; {files}")
        if self.processes.world > 1:
            phase.unread.clear()  # the others are elsewhere: nothing can be added up any more
        # the main process alone saves; where another failed, what was saved last stands
        saved = f", checkpoint saved: {self.saver.save(phase)}" if self.processes.is_main else ""
        if isinstance(error, WorkerLost):
            whose = f" of process {self.processes.rank}" if self.processes.world > 1 else ""
            what = f"a data worker{whose} died or hung at step {step}{saved} ({error})"
            return ResourceError(what, f"out of memory? {resume}")
        assert isinstance(error, PluginError)
        # the checkpoint is from before the step; only batch-norm statistics may have seen its images already
        return PluginError(f"{error.message}{saved}", resume)

    def _tick(self) -> None:
        now = time.monotonic()
        self.state.seconds += now - self.ticked_at
        self.ticked_at = now

    def _announce(self) -> None:
        history = self.folder.metrics() if self.state.step else []
        for line in history:  # what a resumed run has warned of was said then
            if "loss" in line:
                self.watch.step(line)
            elif "score" in line:
                self.watch.epoch(line)
        job, epochs = self.job, sum(phase.epochs for phase in self.job.config.plan)
        optim = job.config.optim
        if (optim.frozen_stages or optim.backbone_lr is not None) and not (
            job.backbone_files or has_backbone(job.model)
        ):
            what = "optim.frozen_stages and optim.backbone_lr change nothing"
            self.observer.note(f"{job.blueprint.name} has no backbone: {what}")
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
            "history": history,
        }
        self.observer.start(epochs * job.steps_per_epoch, self.state.step, facts)

    def _write(self, line: dict[str, Any]) -> None:
        if self.processes.is_main:
            self.folder.append_metrics(line)
            self.tracker.log(line)

    def _finish(self) -> Result:
        """The result: the best model loaded as users load it, evaluated, its card completed."""
        try:
            doing = "evaluating, after training"
            with self.stop.at_once(doing), plugins_named(self.job, doing):
                return self._evaluated()
        except PluginError as error:
            raise PluginError(error.message, f"posezoo resume {self.folder.path}") from error
        except Interrupted as stopped:
            raise Interrupted(stopped.message, f"posezoo resume {self.folder.path}", stopped.exit_code) from None

    def _evaluated(self) -> Result:
        job, path, main = self.job, self.folder.path, self.processes.is_main
        found = self._best(path)
        model = load_found(found, job.accelerator.device)
        if calibrate_run(job, model, self.observer) and main:
            assert model.estimate is not None
            save_estimate(path / "best", model.estimate)
        report = evaluate(
            model,
            job.dataset,
            training=as_trained(job.dataset, job.config.data, job.config.seed),
            cache=job.cache,
            embed=retrieval_features(job.model),
            selection=selection_note(job, self.state.best),
            trained={**found.config["training"], "weights_sha256": found.config["weights"]["sha256"]},
            progress=self.observer.progress,
            share=self.processes,
        )
        if main:
            from posezoo.training import (
                curves,  # matplotlib: a start, and one after a lost process, need not wait for it
            )

            report.save(path / "report")
            curves.save(path / METRICS, path / "curves.png", path / "report" / "curves.png")
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
        return Trained({key: value for key, value in config.items() if key != "estimate"}, origin, lambda: content)
