"""One phase of training: what learns, its loss and optimiser, its batches and steps.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from posezoo.base.errors import LostError, NotFiniteError, UsageError
from posezoo.base.observe import Progress
from posezoo.catalogue import guard
from posezoo.data.loader import Batch, epoch_batches
from posezoo.nn import geometry
from posezoo.nn.model import PoseModel
from posezoo.nn.outputs import Features, PoseOutput
from posezoo.nn.place import Target, brings_losses, extra_losses, losses_read_image
from posezoo.training import frozen
from posezoo.training.augment import UNVARIED
from posezoo.training.checkpoint import Checkpoint
from posezoo.training.ears import is_lost
from posezoo.training.norms import SharedBatchNorms
from posezoo.training.setup import Job, augmented_batch, make_loss, make_optimiser, set_trainable, trainable

AUTOCAST = {"bf16": torch.bfloat16}  # no fp16: without loss scaling its gradients vanish


NORM, BALANCE = "gradient norm", "balance "
"""What all processes have alike, the second for each number of it; the rest is their mean."""


class Given(NamedTuple):
    """A batch for one process."""

    batch: Batch
    weight: float
    """A process whose part of a batch is larger than the others' counts more: the mean over processes of gradients and
    losses is then that of the batch."""
    parts: int
    """In which it is computed, one after another."""


@dataclass
class _Unread:
    """A step whose numbers are still on the device."""

    number: int
    line: dict[str, Any]
    means: dict[str, Tensor]
    given: Given


class Phase:
    """A phase of a run. `prepare` and `begin` before the first step."""

    def __init__(self, job: Job, number: int) -> None:
        plan = job.config.plan
        self.job, self.number, self.settings = job, number, plan[number]
        self.first_epoch = sum(phase.epochs for phase in plan[:number])
        self.end_epoch = self.first_epoch + self.settings.epochs
        set_trainable(job.model, self.settings, job.config.optim)
        self.loss = make_loss(job, self.settings)
        self.optimiser = make_optimiser(job, self.loss)
        self.features: frozen.FrozenFeatures | None = None
        self.network: nn.Module = job.model
        self.unread: list[_Unread] = []
        self.busy = 0.0
        """Seconds in steps since the last `read`."""
        self.failed: Tensor | None = None
        """On the device: 1 from the first step on whose loss or gradient was not finite."""

    def restore(self, found: Checkpoint, begun: bool) -> None:
        """Continue from a checkpoint. `begun`: it was saved within this phase, not between the last one and this."""
        if begun:
            self.loss.load_state_dict(found.state["loss"])
            self.optimiser.load_state_dict(found.state["optimiser"])

    def prepare(self, progress: Progress) -> None:
        """Compute what stays the same in every epoch."""
        if frozen.features_can_be_cached(self.job, self.settings):
            self.features = frozen.FrozenFeatures(self.job)
            batches = self.features.batches()
            for done, places in enumerate(batches, 1):
                self.features.add(places, self.autocast())
                progress(done, len(batches))

    def begin(self) -> None:
        """Wrap the network for several processes."""
        network = _Network(self.job.model)
        self.network = self.job.accelerator.prepare(torch.compile(network) if self.job.config.compile else network)

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of the forward pass."""
        dtype = AUTOCAST.get(self.job.config.precision)
        return torch.autocast(self.job.accelerator.device.type, dtype) if dtype else nullcontext()

    def batches(self, epoch: int, done: int) -> Generator[Given, None, None]:
        """The epoch's batches of this process, on its device, without the first `done`. Raises WorkerLost."""
        job, world = self.job, self.job.processes.world
        order = job.order(epoch, done, job.processes.rank)
        set_trainable(job.model, self.settings, job.config.optim)
        data = job.batches(epoch, images=self.features is None)
        batches = epoch_batches(data, order, job.config.workers if self.features is None else 0)
        for batch, part, size in zip(batches, order.batches, order.sizes, strict=False):
            parts = max(1, min(job.config.accumulate, size // world))  # in all processes as many
            yield Given(batch.to(job.accelerator.device), len(part) * world / size, parts)

    def step(self, given: Given, number: int, about: Mapping[str, Any]) -> None:
        """A training step, the run's step `number`: `read` tells how it went. Nothing in here waits for the device.

        `about` comes first in its line. Raises PluginError for a plugin's model that raises.
        """
        start, config = time.perf_counter(), self.job.config
        self._set_rates(number - 1)
        # dropout's numbers are a function of these three: a resumed run and each process draw their own again
        torch.manual_seed(step_seed(config.seed, number, self.job.processes.rank))
        self.optimiser.zero_grad(set_to_none=True)
        means: dict[str, Tensor] = {}
        for count, (part, share) in enumerate(parts_of(given.batch, given.parts, config.tuple_length), 1):
            with nullcontext() if count == given.parts else self.job.accelerator.no_sync(self.network):
                found = self._backward(part, share * given.weight, number)
            for name, value in found.items():
                means[name] = means[name] + share * value if name in means else share * value
        self._descend(means)
        line = {**about, "lr": self.optimiser.param_groups[0]["lr"], "images": len(given.batch.rows) / given.weight}
        self.unread.append(_Unread(number, line, means, given))
        self.busy += time.perf_counter() - start

    def read(self) -> list[dict[str, Any]]:
        """The lines for metrics.jsonl of the steps since the last call: one wait for the device for all of them.

        Raises NotFiniteError for the first that went wrong: since then weights have not changed.
        """
        unread, self.unread = self.unread, []
        if not unread:
            return []
        start, processes = time.perf_counter(), self.job.processes
        names = list(dict.fromkeys(name for one in unread for name in one.means))  # a loss may come in some steps only
        none = unread[0].means[NORM].new_tensor(math.nan)
        own_SN = torch.stack([torch.stack([one.means.get(name, none).double() for name in names]) for one in unread])
        whole = [name != NORM and not name.startswith(BALANCE) for name in names]
        weight_S = own_SN.new_tensor([one.given.weight / processes.world for one in unread])
        mean_SN = processes.whole(own_SN * weight_S[:, None])
        values = torch.cat([mean_SN, own_SN]).tolist()
        rows, owns = values[: len(unread)], values[len(unread) :]
        seconds, self.busy = self.busy + time.perf_counter() - start, 0.0
        speed = processes.world * sum(one.line["images"] for one in unread) / max(seconds, 1e-9)
        lines = []
        for one, row, own in zip(unread, rows, owns, strict=True):
            each = zip(names, row, own, whole, strict=True)
            found = {name: (a if shared else b) for name, a, b, shared in each if name in one.means}
            balance = [found.pop(name) for name in names if name.startswith(BALANCE)]
            norm = found.pop(NORM)
            for what, value in (("loss", found["loss"]), ("gradient", norm)):
                if not abs(value) < float("inf"):
                    raise self._not_finite(what, one, math.isfinite(own[0]))
            facts = {key: value for key, value in one.line.items() if key not in ("images", "lr")}
            lines.append({**facts, **found, "balance": balance, "lr": one.line["lr"], "images_per_s": speed})
        return lines

    def _backward(self, batch: Batch, weight: float, number: int) -> dict[str, Tensor]:
        """The gradient of a part of a batch added to what is there; its losses and errors, on the device."""
        scene_B = frozen.scenes_of(self.job.model, batch)
        if self.features is None:
            varied = self.job.augmentation if self.settings.augment else UNVARIED
            batch = augmented_batch(self.job, batch, varied)
            target = Target(batch.position, batch.quaternion, scene_B)
            output, brought = self._forward(number, target, batch.images)
        else:
            target = Target(batch.position, batch.quaternion, scene_B)
            output, brought = self._forward(number, target, None, *self.features.of(batch))
        terms = self.loss(output, batch.position, batch.quaternion, scene_B)
        total = sum(brought.values(), terms.total)
        with plugins_named(self.job, f"backward at step {number}"):
            self.job.accelerator.backward(total * weight if weight != 1 else total)
        with torch.no_grad():
            return {
                "loss": total.detach(),
                "position_loss": terms.position.detach(),
                "rotation_loss": terms.rotation.detach(),
                **{f"{name}_loss": value.detach() for name, value in brought.items()},
                "position_m": torch.linalg.vector_norm(output.position - batch.position, dim=-1).mean(),
                "orientation_deg": geometry.angle_deg(output.quaternion.double(), batch.quaternion).mean(),
            }

    def _descend(self, means: dict[str, Tensor]) -> None:
        """Change the weights by the gradient that has been added up; not at all from the first that is not finite."""
        if self.job.processes.world > 1 and self.loss.balance.grad is not None:
            # the balance is not part of the wrapped network, so its gradient is averaged here
            self.loss.balance.grad = self.job.accelerator.reduce(self.loss.balance.grad, "mean")
        norm = clipped(self.job.model, self.job.config.optim.clip)
        with torch.no_grad():
            means[NORM] = norm.detach()
            bad = (norm + means["loss"]).isfinite().logical_not().float()
            self.failed = bad if self.failed is None else torch.maximum(self.failed, bad)
        if self.optimiser.defaults["fused"]:
            self.optimiser.found_inf = self.failed  # type: ignore[attr-defined] # 1: it changes nothing
        self.optimiser.step()
        means |= {f"{BALANCE}{n}": value for n, value in enumerate(self.loss.balance.detach().clone().unbind())}
        if self.job.average is not None:
            self.job.average.update_parameters(self.job.model)

    def _forward(self, number: int, *given: Any) -> tuple[PoseOutput, dict[str, Tensor]]:
        """What `_Network` gives. If a plugin's model raises, the error names it.

        Raises UsageError where a batch norm has one value of a channel, of which there is no deviation.
        """
        shared = self.job.processes.norms if self.job.config.sync_batch_norm else None
        norms = SharedBatchNorms(shared) if shared is not None else nullcontext()
        with self.autocast(), norms, plugins_named(self.job, f"forward at step {number}"):
            try:
                found: tuple[PoseOutput, dict[str, Tensor]] = self.network(*given)
            except ValueError as error:
                if "more than 1 value per channel" not in str(error):
                    raise
                what = "one image at a time is too few for the batch norms of this backbone"
                raise UsageError(what, "a larger batch_size=, or a smaller accumulate=") from None
            return found

    def _set_rates(self, done: int) -> None:
        """The schedule is a function of the step alone, so that nothing about it needs saving."""
        per_epoch = self.job.steps_per_epoch
        optim = self.settings.schedule(self.job.config.optim)
        factor = optim.factor(done - self.first_epoch * per_epoch, self.settings.epochs, per_epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_lr"] * factor

    def _not_finite(self, what: str, one: _Unread, finite: bool) -> NotFiniteError:
        # nothing is saved: dropout has drawn its numbers and batch norm has seen this batch, so a resumed run would
        # differ from one that never stopped, or even start from statistics that are not finite
        number, own = one.number, [self.job.dataset.frames.name(int(i)) for i in one.given.batch.rows]
        parts = self.job.processes.gathered([own, finite])
        # those of the processes where it began; of all, if it is the gradient alone
        found = [files for files, good in parts if not good] or [files for files, _ in parts]
        files = tuple(file for part in found for file in part)
        shown = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        return NotFiniteError(f"{what} is not finite at step {number} (batch: {shown})", "lower optim.lr", what, files)


@contextmanager
def plugins_named(job: Job, doing: str) -> Iterator[None]:
    """Around what runs the model: PluginError if a plugin's raises, LostError if another process goes meanwhile."""
    with guard.guarded(job.blueprint.known.owners, doing):
        try:
            yield
        except RuntimeError as error:
            if is_lost(error):  # the processes meet in here, and it is no plugin's fault
                what = f"another of the {job.processes.world} processes was lost ({doing})"
                raise LostError(what, "posezoo resume RUN") from error
            raise


def clipped(model: PoseModel, most: float) -> Tensor:
    """The gradient's norm before it was cut to `most`: the pose's, and on its own that of the spread.

    Together a large gradient of the spread would shorten that of the pose.
    """
    apart = {id(parameter) for parameter in model.spread.parameters()} if model.spread is not None else set()
    own = [parameter for parameter in trainable(model) if id(parameter) not in apart]
    norm = nn.utils.clip_grad_norm_(own, most)
    if apart and (rest := [parameter for parameter in trainable(model) if id(parameter) in apart]):
        norm = norm + nn.utils.clip_grad_norm_(rest, most)
    return norm


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of torch's random numbers in one step of one process."""
    return int.from_bytes(hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()[:8], "little") >> 1


def parts_of(batch: Batch, count: int, tuple_length: int) -> Iterator[tuple[Batch, float]]:
    """The batch in `count` parts of whole tuples, each with its share of the batch."""
    size = len(batch.rows) // tuple_length
    ends = [tuple_length * (size * n // count) for n in range(count + 1)]
    for start, end in pairwise(ends):
        yield Batch(*(tensor[start:end] for tensor in batch)), (end - start) / len(batch.rows)


class _Network(nn.Module):
    """What a step runs, as one module, because DistributedDataParallel must see all of it: the model's output, and
    the losses that it brings.
    """

    def __init__(self, model: PoseModel) -> None:
        super().__init__()
        self.model = model
        self.whole = frozen.acts_whole(model)
        self.brings = brings_losses(model)
        self.reads_image = self.brings and losses_read_image(model)

    def forward(
        self, target: Target, images_BCHW: Tensor | None, *features: Tensor | None
    ) -> tuple[PoseOutput, dict[str, Tensor]]:
        """Of images, or of features computed before."""
        model = self.model
        if images_BCHW is not None and not self.brings:
            return model(images_BCHW, target.scene), {}
        if images_BCHW is None:
            found = Features(*features)  # type: ignore[arg-type]
        elif self.whole:
            found, output = self._in_one_pass(images_BCHW, target.scene)
            return output, extra_losses(model, found, output, target)
        else:
            found = (model.encode if self.reads_image else model.features_for_heads)(images_BCHW, target.scene)
        output = model.pose_of(found)
        return output, extra_losses(model, found, output, target)

    def _in_one_pass(self, images_BCHW: Tensor, scene_B: Tensor | None) -> tuple[Features, PoseOutput]:
        """The features of the images and the output of the whole `forward`, which does not give them away."""
        model, seen = self.model, list[Features]()
        own = vars(model).get("features_for_heads")
        encode = model.encode if self.reads_image else model.features_for_heads

        def kept(images_BCHW: Tensor, scene_B: Tensor | None = None) -> Features:
            seen.append(encode(images_BCHW, scene_B))
            return seen[-1]

        # the encoder run once more would move batch-norm statistics twice, and draw another dropout
        model.features_for_heads = kept  # type: ignore[method-assign]
        try:
            output = model(images_BCHW, scene_B)
        finally:
            del model.features_for_heads
            if own is not None:  # of a modifier
                model.features_for_heads = own  # type: ignore[method-assign]
        # a modifier may look at the images again, turned: the first are as they are. A `forward` of a plugin's own
        # may not ask for features here
        return seen[0] if seen else encode(images_BCHW, scene_B), output
