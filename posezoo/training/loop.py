"""The training loop: phases, epochs, steps; checkpoints, choice of the best epoch, and the final evaluation."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from posezoo.base.errors import (
    Interrupted,
    NotFiniteError,
    PluginError,
    ResourceError,
)
from posezoo.base.observe import Observer
from posezoo.base.version import __version__
from posezoo.catalogue import guard
from posezoo.data.loader import Batch, BatchOrder, deaths_told_between, epoch_loader
from posezoo.evaluation.baselines import mean_training_pose
from posezoo.evaluation.evaluate import evaluate, predict_frames
from posezoo.evaluation.metrics import pose_errors, summarise
from posezoo.evaluation.retrieval import retrieval_features
from posezoo.nn import geometry
from posezoo.nn.losses import PoseLoss
from posezoo.training import checkpoint, frozen
from posezoo.training.augment import UNVARIED
from posezoo.training.config import PhaseSettings
from posezoo.training.facts import facts as run_facts
from posezoo.training.facts import selection_note
from posezoo.training.run import RunFolder, utc_now
from posezoo.training.setup import (
    Job,
    make_loss,
    make_optimiser,
    prepared_batch,
    set_trainable,
    trainable,
)
from posezoo.training.signals import StopFlag
from posezoo.zoo import card
from posezoo.zoo.blueprint import owners
from posezoo.zoo.find import CARD, read_config
from posezoo.zoo.saved import load, save, write_card

if TYPE_CHECKING:
    from posezoo.evaluation.report import Report


AUTOCAST = {"bf16": torch.bfloat16}  # no fp16: without loss scaling its gradients vanish


@dataclass(frozen=True)
class Result:
    """A finished run: its folder and the report of its best model."""

    path: Path
    report: Report
    seconds: float
    """Spent in training, over all resumptions."""


@dataclass
class State:
    """Where a run is: the next batch to be trained, and the best epoch so far."""

    phase: int = 0
    epoch: int = 0
    """Counted over all phases."""
    batch: int = 0
    step: int = 0
    best: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    """Spent in steps and validation so far, over all resumptions."""


class _Loop:
    """One run in progress."""

    def __init__(self, job: Job, folder: RunFolder, stop: StopFlag, observer: Observer) -> None:
        self.job, self.folder, self.stop, self.observer = job, folder, stop, observer
        self.config, self.accelerator = job.config, job.accelerator
        self.state = State()
        self.first_epoch = np.cumsum([0, *(phase.epochs for phase in self.config.plan)]).tolist()
        world = self.accelerator.num_processes
        self.per_epoch = len(BatchOrder(len(job.train_rows), self.config.batch_size, 0, 0, 0, 0, world))
        self.saved_at = self.ticked_at = time.monotonic()
        self.loss: PoseLoss
        self.features: frozen.FrozenFeatures | None = None
        self.optimiser: torch.optim.Optimizer

    def run(self, found: checkpoint.Checkpoint | None) -> Result:
        """All phases from where the checkpoint stands, then the report."""
        if found:
            self.state = State(**found.state["position"])
            self.job.model.load_state_dict(found.weights)
            self.folder.rewind_metrics(self.state.step, self.state.epoch)
        try:
            self._announce()
            while self.state.phase < len(self.config.plan):
                self._phase(self.config.plan[self.state.phase], found)
                found = None
                self.state.phase += 1
                self._save()
        finally:
            self.observer.end()
        return self._finish()

    def _phase(self, phase: PhaseSettings, found: checkpoint.Checkpoint | None) -> None:
        set_trainable(self.job.model, phase)
        self.loss = make_loss(self.job, phase)
        self.optimiser = make_optimiser(self.job, self.loss)
        if found:
            begun = (self.state.epoch, self.state.batch) != (self.first_epoch[self.state.phase], 0)
            if begun:  # else the checkpoint was saved between two phases, and its optimiser is that of the last one
                self.loss.load_state_dict(found.state["loss"])
                self.optimiser.load_state_dict(found.state["optimiser"])
            torch.set_rng_state(found.state["torch_rng"])
        self.features = self._frozen_features() if frozen.serve(self.job, phase) else None
        model = self.job.model if self.features is None else frozen.FromFeatures(self.job.model)
        network = self.accelerator.prepare(model)
        self.ticked_at = time.monotonic()
        while self.state.epoch < self.first_epoch[self.state.phase + 1]:
            self._epoch(phase, network)

    def _frozen_features(self) -> frozen.FrozenFeatures:
        features = frozen.FrozenFeatures(self.job)
        batches = features.batches()
        for done, places in enumerate(batches, 1):
            features.add(places, self._autocast())
            self.observer.progress("features of the frozen part", done, len(batches))
            self._stop_if_asked()
        return features

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = AUTOCAST.get(self.config.precision)
        return torch.autocast(self.accelerator.device.type, dtype) if dtype else nullcontext()

    def _epoch(self, phase: PhaseSettings, network: torch.nn.Module) -> None:
        state, config = self.state, self.config
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        order = BatchOrder(
            len(self.job.train_rows), config.batch_size, config.seed, state.epoch, state.batch, rank, world
        )
        set_trainable(self.job.model, phase)
        for batch in self._batches(order):
            self._step(batch.to(self.accelerator.device), network)
            due = config.checkpoint.every_steps and state.step % config.checkpoint.every_steps == 0
            if due or time.monotonic() - self.saved_at > config.checkpoint.every_seconds:
                self._save()
            self._stop_if_asked()
        state.batch, state.epoch = 0, state.epoch + 1
        self._validate()
        self._stop_if_asked()

    def _batches(self, order: BatchOrder) -> Iterator[Batch]:
        """The epoch's batches. A data worker that dies or hangs ends the run after a saved checkpoint."""
        try:
            batches = self.job.batches(self.state.epoch, images=self.features is None)
            workers = self.config.workers if self.features is None else 0
            yield from deaths_told_between(epoch_loader(batches, order, workers))
        except RuntimeError as error:
            if "DataLoader" not in str(error):
                raise
            saved, reason = self._save(), " ".join(str(error).split())[:80]
            what = f"a data worker died or hung at step {self.state.step}, checkpoint saved: {saved} ({reason})"
            raise ResourceError(what, f"out of memory? posezoo resume {self.folder.path}") from error

    def _step(self, batch: Batch, network: torch.nn.Module) -> None:
        start = time.perf_counter()
        self._set_rates()
        scene_B = frozen.scenes_of(self.job.model, batch)
        if self.features is None:
            varied = self.job.augmentation if self.config.plan[self.state.phase].augment else UNVARIED
            images_BCHW, quaternion_B4 = prepared_batch(self.job, batch, varied)
            given: tuple[Tensor | None, ...] = images_BCHW, scene_B
        else:
            given, quaternion_B4 = self.features.of(batch), batch.quaternion
        with self._autocast(), self._model_runs():
            output = network(*given)
        terms = self.loss(output, batch.position, quaternion_B4, scene_B)
        self._check_finite("loss", terms.total, batch)
        self.optimiser.zero_grad(set_to_none=True)
        self.accelerator.backward(terms.total)
        if self.accelerator.num_processes > 1 and self.loss.balance.grad is not None:
            # the balance is no part of the wrapped network, so its gradient is averaged here
            self.loss.balance.grad = self.accelerator.reduce(self.loss.balance.grad, "mean")
        norm = torch.nn.utils.clip_grad_norm_(trainable(self.job.model), self.config.optim.clip)
        self._check_finite("gradient", norm, batch)  # before the weights are touched
        self.optimiser.step()
        self.state.batch += 1
        self.state.step += 1
        self._tick()
        with torch.no_grad():
            position_m = torch.linalg.vector_norm(output.position - batch.position, dim=-1).mean()
            angle = geometry.angle_deg(output.quaternion.double(), quaternion_B4).mean()
        line = {
            "step": self.state.step,
            "epoch": self.state.epoch,
            "phase": self.state.phase,
            "loss": terms.total.item(),
            "position_loss": terms.position.item(),
            "rotation_loss": terms.rotation.item(),
            "balance": self.loss.balance.tolist(),
            "position_m": position_m.item(),
            "orientation_deg": angle.item(),
            "lr": self.optimiser.param_groups[0]["lr"],
            "images_per_s": len(batch.rows) * self.accelerator.num_processes / (time.perf_counter() - start),
        }
        self._write(line)
        self.observer.step(line)

    @contextmanager
    def _model_runs(self) -> Iterator[None]:
        """Around a forward pass: a plugin's model that raises ends the run after a saved checkpoint, and is named.

        The checkpoint is from before the step; only batch-norm statistics may have seen its images already.
        """
        before = torch.get_rng_state()
        try:
            with guard.guarded(owners(self.job.blueprint.name), f"forward at step {self.state.step + 1}"):
                yield
        except PluginError as error:
            torch.set_rng_state(before)
            saved = self._save()
            raise PluginError(
                f"{error.message}, checkpoint saved: {saved.name}", f"posezoo resume {self.folder.path}"
            ) from error

    def _tick(self) -> None:
        now = time.monotonic()
        self.state.seconds += now - self.ticked_at
        self.ticked_at = now

    def _set_rates(self) -> None:
        """The schedule is a function of the step alone, so that nothing about it needs saving."""
        phase = self.state.phase
        begun = self.state.step - self.first_epoch[phase] * self.per_epoch
        factor = self.config.optim.factor(begun, self.config.plan[phase].epochs, self.per_epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_lr"] * factor

    def _check_finite(self, what: str, value: Tensor, batch: Batch) -> None:
        if torch.isfinite(value):
            return
        files = [self.job.dataset.frames.name(int(i)) for i in batch.rows]
        # nothing is saved: dropout has drawn its numbers and batch norm has seen this batch, so a resumed run would
        # differ from one that never stopped, or even start from statistics that are not finite
        shown = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        self._write({"step": self.state.step, "event": "not finite", "what": what, "images": files})
        raise NotFiniteError(
            f"{what} is not finite at step {self.state.step + 1} (batch: {shown})",
            f"lower optim.lr; the batch's files and the last finite step are in {self.folder.path / 'metrics.jsonl'}",
        )

    def _validate(self) -> None:
        """Errors on the validation frames; a new best epoch is saved as the run's model."""
        state, job = self.state, self.job
        line: dict[str, Any] = {"step": state.step, "epoch": state.epoch, "time": utc_now()}
        last = state.epoch == self.first_epoch[-1]
        if len(job.validation_rows):
            frames = job.dataset.frames.select(job.validation_rows)
            poses, _ = predict_frames(
                job.model, job.cache, job.validation_rows, frames, self.config.batch_size, self.accelerator.device
            )
            truth = (frames.position, frames.quaternion)
            summary = summarise(*pose_errors(poses.position, poses.quaternion, *truth), intervals=False)
            line |= {"split": self.config.selection, **{k: v for k, v in summary.items() if k != "recalls"}}
            score = self._score(summary, frames)
        else:
            score = -float(state.epoch)
        line["score"] = score
        self._tick()
        self._write(line)
        self.observer.epoch(line)
        if (math.isfinite(score) and (not state.best or score < state.best["score"])) or (last and not state.best):
            state.best = {"epoch": state.epoch, "step": state.step, "score": score}
            self._save_best()

    def _score(self, summary: dict[str, Any], frames: Any) -> float:
        """Both median errors as fractions of the mean-pose baseline's, added: neither metres nor degrees dominate."""
        train = self.job.dataset.frames.select(self.job.train_rows)
        mean = mean_training_pose(train, frames)
        base = summarise(
            *pose_errors(mean.position, mean.quaternion, frames.position, frames.quaternion), intervals=False
        )
        keys = ("median_position_m", "median_orientation_deg")
        return float(sum(summary[key] / max(base[key], 1e-6) for key in keys))

    def _save_best(self) -> None:
        if self.accelerator.is_main_process:
            facts = run_facts(self.job, self.state.best)
            about = {"name": str(self.job.blueprint.name), "posezoo": __version__, **facts}
            save(self.job.model, self.folder.path / "best", card.text(about, None), **facts)

    def _save(self) -> Path:
        state = {
            "position": vars(self.state),
            "loss": self.loss.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }
        facts = {
            "torch": torch.__version__,
            "num_threads": torch.get_num_threads(),
            "device": self.accelerator.device.type,
            "data_digest": self.job.dataset.digest,
            "inputs_digest": self.job.inputs_digest,
            "posezoo": __version__,
        }
        target = self.folder.path / "ckpt" / f"step-{self.state.step:09d}"
        if self.accelerator.is_main_process:
            weights = self.job.model.state_dict()
            target = checkpoint.save(
                self.folder.path, self.state.step, weights, state, facts, self.config.checkpoint.keep
            )
        self.saved_at = time.monotonic()
        return target

    def _stop_if_asked(self) -> None:
        if self.accelerator.num_processes > 1:  # one process may be told to stop: all must
            flag = torch.tensor([self.stop.signal], device=self.accelerator.device)
            self.stop.signal = int(self.accelerator.gather(flag).max())
        if self.stop:
            raise self._interrupted(self._save())

    def _interrupted(self, saved: Path) -> Interrupted:
        return Interrupted(
            f"stopped by {self.stop.name} at step {self.state.step}, checkpoint saved: {saved}",
            f"posezoo resume {self.folder.path}",
            self.stop.exit_code,
        )

    def _announce(self) -> None:
        job = self.job
        facts = {
            "model": str(job.blueprint.name),
            "data": job.dataset.name,
            "run": str(self.folder.path),
            "recipe": self.config.recipe,
            "parameters": sum(p.numel() for p in job.model.parameters()),
            "train_images": len(job.train_rows),
            "validation_images": len(job.validation_rows),
            "device": self.accelerator.device.type,
            "precision": self.config.precision,
            "seed": self.config.seed,
            "backbone": ", ".join(f.source for f in job.backbone_files) or "random start",
            "epochs": self.first_epoch[-1],
        }
        self.observer.start(self.first_epoch[-1] * self.per_epoch, self.state.step, facts)

    def _write(self, line: dict[str, Any]) -> None:
        if self.accelerator.is_main_process:
            self.folder.append_metrics(line)

    def _finish(self) -> Result:
        """Load the best model as anybody would, evaluate it, and complete its card."""
        self.accelerator.wait_for_everyone()  # the main process may still be writing the best model
        model = load(f"local-dir:{self.folder.path}", self.accelerator.device)
        try:
            report = evaluate(
                model,
                self.job.dataset,
                cache=self.job.cache,
                embed=retrieval_features(self.job.model),
                selection=selection_note(self.config, self.state.best),
                should_stop=lambda: bool(self.stop),
                progress=lambda done, total: self.observer.progress("evaluating", done, total),
            )
        except Interrupted as error:
            what = f"stopped by {self.stop.name} after training, {error.message}"
            raise Interrupted(what, f"posezoo resume {self.folder.path}", self.stop.exit_code) from None
        if self.accelerator.is_main_process:
            report.save(self.folder.path / "report")
            best = self.folder.path / "best"
            if not card.is_handwritten(best / CARD):
                write_card(best, card.text(read_config(best), report.to_dict()))
        return Result(self.folder.path, report, self.state.seconds)
