"""The contract of every model, with every infusion, as a test class for plugins' own tests.

    from posezoo.testing import ModelConformance

    class TestYourModel(ModelConformance):
        model = "yourmodel"

pytest runs each check with each infusion; `posezoo plugins check yourmodel` runs the same checks without pytest.
A check raises PluginError with one line that says what is wrong. It needs no network and no data.
Long: one check for each promise, which are read beside one another.
Legend: B batch, C channels, H height, W width, S scenes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from posezoo.base.errors import PluginError
from posezoo.catalogue import plugins, resolve, settings
from posezoo.nn import place, promises
from posezoo.nn.hyperhead import HyperHead
from posezoo.nn.model import PoseModel
from posezoo.nn.outputs import PoseOutput
from posezoo.nn.promises import require
from posezoo.testing.imports import require_public
from posezoo.zoo.blueprint import with_settings
from posezoo.zoo.build import build
from posezoo.zoo.find import CONFIG, WEIGHTS
from posezoo.zoo.saved import load, save

SCENES = ("attic", "barn", "cellar")
SMALL: Mapping[str, Any] = {
    "backbone": "test_efficientnet.r160_in1k",
    "pretrained_backbone": False,
    "resize": 96,
    "crop": 96,
    "scenes": SCENES,
    "position_mean": (10.0, -3.0, 1.0),
    "position_std": (2.0, 3.0, 0.5),
    # `paper`: a zero start would hide what comes after the generators
    "hyper": {"code_position": 8, "code_orientation": 12, "rank": 4, "init": "paper"},
}


class ModelConformance:
    """Subclass it and name the model. Every method `test_...` is a check, run with each of `infusions`."""

    model: ClassVar[str] = ""
    """ARCH, or ARCH+MODIFIER to check a modifier on it."""
    settings: ClassVar[Mapping[str, Any]] = {}
    """Settings beside `SMALL`, e.g. what makes this architecture small: `{"hidden": 16}`."""
    infusions: ClassVar[tuple[str, ...]] = ("", "+hyper=residual", "+hyper=single", "+hyper=two")
    traced: ClassVar[tuple[str, ...]] = infusions
    """The infusions with which the model is compiled and exported."""
    sides: ClassVar[tuple[int, ...]] = (64, 128)
    """Other sides of the square input that must work, beside `crop`."""

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """pytest's hook: one test for each infusion."""
        if "infusion" in metafunc.fixturenames:
            metafunc.parametrize("infusion", self.infusions_of(metafunc.function), ids=lambda name: name or "plain")

    @classmethod
    def infusions_of(cls, check: Any) -> tuple[str, ...]:
        """The infusions to run a check with."""
        return cls.traced if getattr(check, "traces", False) else cls.infusions

    def build(self, infusion: str = "", seed: int = 0, **more: Any) -> PoseModel:
        """A small model, randomly initialised, in eval mode; `more` settings override `settings`."""
        return self._built(f"{self.model}{infusion}", seed, more)

    def _built(self, name: str, seed: int = 0, more: Mapping[str, Any] = {}) -> PoseModel:
        torch.manual_seed(seed)
        known = resolve.model(name)
        absent = set(plugins.modifiers()) - {name for name, _ in known.name.modifiers}
        values = settings.nested(settings.merged(SMALL, self.settings, more))
        plan = with_settings(known, {key: value for key, value in values.items() if key not in absent})
        return build(dataclasses.replace(plan, asked=frozenset()))  # SMALL is no user who asks for a backbone

    def images(self, batch: int, side: int = 0, seed: int = 1) -> Tensor:
        """Random images (B, 3, side, side), as from `PoseModel.prepare`; `side` 0: the crop's."""
        side = side or settings.merged(SMALL, self.settings)["crop"]
        return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))

    def test_pose(self, infusion: str) -> None:
        """Shapes, dtypes and conventions of features and poses; the name; eval mode; a scene given is the one used."""
        model, images_BCHW = self.build(infusion), self.images(4)
        require(not model.training, "a built model is in training mode")
        require(model.name == f"{self.model}{infusion}", f"the model calls itself {model.name}")
        promises.check_model(model)
        with torch.no_grad():
            features, output = model.encode(images_BCHW), model(images_BCHW)
        promises.check_features(model, features, 4)
        promises.check_pose(model, output, 4)
        if output.scene_logits is not None:
            require(torch.equal(output.scene, output.scene_logits.argmax(-1)), "scene is not the arg max of its logits")
        if output.scene is not None:
            given_B = (output.scene + 1) % len(model.config.scenes)
            with torch.no_grad():
                used_B = model(images_BCHW, given_B).scene
            require(
                torch.equal(used_B, given_B), "encode chooses a scene itself although scene_B is given: use scene_B"
            )

    def test_position_is_in_metres(self, infusion: str) -> None:
        """Position = position_mean + position_std * the head's output, in float64."""
        one = self.build(infusion)
        # what a model knows of a place is in metres: positions of another spread are another place
        std = one.config.position_std if place.learners(one) else (1.0, 1.0, 1.0)
        other = self.build(infusion, position_mean=(5e6, 0.0, 0.0), position_std=std)
        with torch.no_grad():
            a_B3, b_B3 = one(self.images(3)).position, other(self.images(3)).position
            features = one.encode(self.images(3))
            head_B3 = one.position_head(features.position, features.image, features.scene).double()
        mean_3, std_3 = one.position_mean_3, one.position_std_3
        number_B3 = (a_B3 - mean_3) / std_3
        expected_B3 = number_B3 * other.position_std_3 + other.position_mean_3
        message = "position_mean and position_std are not applied"
        require(torch.allclose(b_B3, expected_B3, rtol=0, atol=1e-4), message)
        require(not place.learners(one) or torch.allclose(number_B3, head_B3, rtol=0, atol=1e-4), message)

    def test_other_sides(self, infusion: str) -> None:
        """Images of other sides give finite poses: position tables are interpolated."""
        model = self.build(infusion)
        for side in self.sides:
            with torch.no_grad():
                promises.check_pose(model, model(self.images(2, side)), 2)

    def test_gradients_reach_every_parameter(self, infusion: str) -> None:
        """Every parameter but those in the model's `unused` has a finite gradient that is not all zero: from the pose,
        what is beside it, or a loss of the model's own; in eval mode and in training mode."""
        model, scene_B = self.build(infusion), torch.arange(6) % len(SCENES)
        with torch.no_grad():  # what starts at exactly zero (biases, a first input) would hide what comes after it
            for parameter in model.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        for training in (False, True):
            model.train(training).zero_grad()
            for seed in (1, 2, 3) if training else (1,):  # a pass of training may leave out a layer at random
                _backward(model, self.images(6, seed=seed), scene_B)
            mode = " in training mode" if training else ""
            dead = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
            wild = [name for name, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
            require(not wild, f"gradient of {', '.join(wild[:3])} is not finite{mode}")
            missed = sorted(dead - set(model.unused))
            require(not missed, f"no gradient reaches {', '.join(missed[:3])}{mode}: use it, or name it in `unused`")
            living = sorted(set(model.unused) - dead)
            require(not living, f"{', '.join(living[:3])} in `unused` has a gradient{mode}: take it out of `unused`")

    def test_the_pose_alone_reaches_both_heads(self, infusion: str) -> None:
        """Position and quaternion train every parameter of the heads."""
        model = self.build(infusion)
        output = model(self.images(6), torch.arange(6) % len(SCENES))
        (output.position.sum() + (output.quaternion * torch.randn(6, 4)).sum()).backward()
        for head in ("position_head", "orientation_head"):
            for name, p in getattr(model, head).named_parameters():
                require(p.grad is not None and p.grad.abs().max() > 0, f"the pose does not train {head}.{name}")

    def test_the_spread_leaves_the_pose_alone(self, infusion: str) -> None:
        """Neither `spread_m` and `spread_deg` nor the losses of `model.spread` send a gradient to the pose."""
        model, scene_B = self.build(infusion), torch.arange(6) % len(SCENES)
        if model.spread is None:
            return
        output, features = model(self.images(6), scene_B), model.encode(self.images(6), scene_B)
        target = _target(output, scene_B)
        spread = [output.spread_m.sum(), output.spread_deg.sum()]
        spread += place.extra_losses(model.spread, features, output, target).values()
        parameters = dict(model.named_parameters())
        pose = [output.position.sum(), (output.quaternion * torch.randn(6, 4)).sum()]
        of_pose, of_spread = (_gradients(terms, parameters) for terms in (pose, spread))
        both = sorted(of_pose & of_spread)
        require(not both, f"the spread sends a gradient to {', '.join(both[:3])}: detach what it reads of the pose")

    def test_what_keeps_the_pose(self, infusion: str) -> None:
        """Without its modifiers that say `keeps_pose` the model gives the same pose, to 1e-5."""
        name = resolve.model(f"{self.model}{infusion}").name
        kept = [modifier for modifier in name.modifiers if plugins.modifiers()[modifier[0]].keeps_pose]
        if not kept:
            return
        model = self.build(infusion)
        rest = dataclasses.replace(name, modifiers=tuple(one for one in name.modifiers if one not in kept))
        base = self._built(str(rest))
        base.load_state_dict(model.state_dict(), strict=False)  # the modifiers' own parts have no place in it
        with torch.no_grad():
            output, expected = model(self.images(3)), base(self.images(3))
        message = f"another pose than {rest} has, though {kept[0][0]} says keeps_pose: leave keeps_pose out"
        _close(PoseOutput(*output[:3]), PoseOutput(*expected[:3]), message)

    def test_eval_is_deterministic(self, infusion: str) -> None:
        """The same images give the same pose to the last bit, and nothing is kept from one call to the next."""
        model = self.build(infusion)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with torch.no_grad():
            first = model(self.images(3))
            model(self.images(2, seed=9))
            second = model(self.images(3))
        _equal(first, second, "two calls in eval mode differ (a dropout that is not nn.Dropout?)")
        moved = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
        require(not moved, f"forward in eval mode changed {', '.join(moved[:3])}")

    def test_batch_order_and_size_do_not_matter(self, infusion: str) -> None:
        """A permuted batch gives permuted poses, one image at a time gives what the batch gives, to 1e-5."""
        model, images_BCHW, order_B = self.build(infusion), self.images(5), torch.tensor([3, 0, 4, 1, 2])
        with torch.no_grad():
            whole, permuted = model(images_BCHW), model(images_BCHW[order_B])
            singles = [model(image_CHW[None]) for image_CHW in images_BCHW]
        parts = (None if part[0] is None else torch.cat(part) for part in zip(*singles, strict=True))
        joined = PoseOutput(*parts)  # type: ignore[arg-type]
        _close(joined, whole, "one image at a time differs from the batch")
        turned = PoseOutput(*(None if part is None else part[order_B] for part in whole))  # type: ignore[arg-type]
        _close(permuted, turned, "a permuted batch does not give permuted poses")

    def test_weights_carry_the_model(self, infusion: str) -> None:
        """The state_dict, loaded strictly into another model of the same configuration, gives the same poses."""
        model, other = self.build(infusion), self.build(infusion, seed=7)
        other.load_state_dict(model.state_dict(), strict=True)
        with torch.no_grad():
            _equal(other(self.images(3)), model(self.images(3)), "a model with the same state_dict differs")

    def test_model_folder_round_trip(self, infusion: str) -> None:
        """Saved as a model folder and loaded as `local-dir:`, the model is the same, and so is its second save."""
        model = self.build(infusion)
        with tempfile.TemporaryDirectory() as folder:
            first, second = Path(folder) / "first", Path(folder) / "second"
            save(model, first, "card")
            again = load(f"local-dir:{first}")
            save(again, second, "card")
            for name in (WEIGHTS, CONFIG):
                same = (first / name).read_bytes() == (second / name).read_bytes()
                require(same, f"{name} differs when a loaded model is saved again")
        require(again.config == model.config, "the configuration differs after loading")
        with torch.no_grad():
            _equal(again(self.images(3)), model(self.images(3)), "the loaded model differs")

    def test_compile(self, infusion: str) -> None:
        """torch.compile accepts the model without a graph break (backend `eager`: no compiler is needed)."""
        model = self.build(infusion)
        torch._dynamo.reset()
        try:
            with torch.no_grad():
                compiled = torch.compile(model, backend="eager", fullgraph=True)
                _close(compiled(self.images(2)), model(self.images(2)), "the compiled model differs")
        except torch._dynamo.exc.TorchDynamoException as error:
            raise _failed("torch.compile(fullgraph=True)", error) from error
        finally:
            torch._dynamo.reset()

    def test_export(self, infusion: str) -> None:
        """torch.export accepts the model with any batch size; the program, saved and loaded, gives the same poses."""
        model = self.build(infusion)
        shapes = {"images_BCHW": {0: torch.export.Dim("batch", min=1, max=1024)}}
        with torch.no_grad():
            try:
                program = torch.export.export(_Numbers(model), (self.images(3),), dynamic_shapes=shapes, strict=False)
            except Exception as error:  # torch.export can raise anything
                raise _failed("torch.export with a dynamic batch", error) from error
            torch.export.save(program, file := io.BytesIO())
            file.seek(0)
            exported = torch.export.load(file).module()
            for batch in (1, 5):
                images_BCHW = self.images(batch)
                given, expected = PoseOutput(*exported(images_BCHW)), model(images_BCHW)
                _close(given, expected, f"exported, batch {batch}: it differs")

    test_compile.traces = test_export.traces = True  # type: ignore[attr-defined]

    def test_zero_start_is_the_base(self, infusion: str) -> None:
        """With hyper.init=zero, with and without a rank, the infused model is bit-equal to the one without."""
        for rank in (4, None) if infusion else ():
            model = self.build(infusion, hyper={"init": "zero", "rank": rank})
            with torch.no_grad():
                infused = model(self.images(3))
                for name in ("position_head", "orientation_head"):
                    head = getattr(model, name)
                    require(isinstance(head, HyperHead), f"{name} is not infused")
                    setattr(model, name, head.base)
                base = model(self.images(3))
            _equal(infused, base, f"rank {rank}: a zero start differs from the base")

    def test_losses_of_its_own(self, infusion: str) -> None:
        """What `extra_losses` brings are finite scalars, and each trains a parameter."""
        model, scene_B = self.build(infusion), torch.arange(6) % len(SCENES)
        features = model.encode(self.images(6), scene_B)
        output = model.pose_of(features)
        for name, value in promises.check_losses(model, features, output, _target(output, scene_B)).items():
            require(value.requires_grad, f"extra_losses: {name} has no gradient")
            found = torch.autograd.grad(value, list(model.parameters()), retain_graph=True, allow_unused=True)
            gradients = [gradient for gradient in found if gradient is not None]
            require(all(g.isfinite().all() for g in gradients), f"extra_losses: the gradient of {name} is not finite")
            require(any(g.abs().max() > 0 for g in gradients), f"extra_losses: {name} trains no parameter")

    def test_what_it_learns_of_the_place(self, infusion: str) -> None:
        """`learn_place` gives the same again, keeps shapes and types, and the state_dict carries what it learned."""
        model, same, other = self.build(infusion), self.build(infusion), self.build(infusion, seed=7)
        if not place.learners(model):
            return
        start = {name: value.clone() for name, value in model.state_dict().items()}
        known = _place(model, self.images(24, seed=5))
        learned = _learned(model, known)
        moved = [name for name, value in learned.items() if not torch.equal(value, start[name])]
        require(moved, "learn_place changes no buffer and no parameter: what it makes is not saved")
        unlike = [name for name in moved if learned[name].dtype != start[name].dtype]
        require(not unlike, f"learn_place changed the type of {', '.join(unlike[:3])}")
        wild = [name for name in moved if not learned[name].isfinite().all()]
        require(not wild, f"learn_place: {', '.join(wild[:3])} is not finite")
        again = _learned(same, known)
        require(all(torch.equal(again[name], learned[name]) for name in learned), "learn_place learns something else")
        twice = _learned(same, known)
        apart = [name for name in learned if not torch.allclose(twice[name], learned[name], rtol=1e-4, atol=1e-5)]
        require(not apart, f"learn_place a second time changes {', '.join(apart[:3])}")
        other.load_state_dict(model.state_dict(), strict=True)
        with torch.no_grad():
            promises.check_pose(model, model(self.images(3)), 3)
            _equal(other(self.images(3)), model(self.images(3)), "the state_dict does not carry what learn_place made")

    def test_imports_are_public(self, infusion: str) -> None:
        """Of posezoo the plugin imports `posezoo`, `posezoo.plugin`, `posezoo.nn` and `posezoo.testing` only."""
        require_public(resolve.model(f"{self.model}{infusion}").owners)

    def test_the_process_is_left_alone(self, infusion: str) -> None:
        """Building seeds and prints nothing; neither building nor a pose changes the state of the process."""
        printed, following = io.StringIO(), []
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            for seed in (1, 2, 1):
                with promises.process_unchanged("the constructor", but=(promises.DRAWING,)):
                    model = self.build(infusion, seed)
                following.append(float(torch.rand(())))
            with torch.no_grad(), promises.process_unchanged("forward in eval mode"):
                model(self.images(2))
        require(following[0] == following[2] != following[1], "the constructor seeds torch's random state")
        require(not printed.getvalue(), f"the model prints: {printed.getvalue()[:60]!a}")


def _backward(model: PoseModel, images_BCHW: Tensor, scene_B: Tensor) -> None:
    """Add the gradients of all that training may read: the pose, what is beside it, and the model's losses."""
    output, features = model(images_BCHW, scene_B), model.encode(images_BCHW, scene_B)
    # plain multi-scene heads read no image embedding, and the scene's logits are not part of the pose
    parts: list[Tensor] = [output.position, output.rotation, features.image]
    parts += [part for part in (output.scene_logits, output.spread_m, output.spread_deg) if part is not None]
    parts += place.extra_losses(model, features, output, _target(output, scene_B)).values()
    torch.stack([(part * torch.randn_like(part)).sum() for part in parts]).sum().backward()


def _target(output: PoseOutput, scene_B: Tensor) -> place.Target:
    """A truth that is not the answer."""
    return place.Target(output.position.detach() + 1, output.quaternion.detach().double().roll(1, 0), scene_B)


def _gradients(terms: Iterable[Tensor], parameters: Mapping[str, Tensor]) -> set[str]:
    """The names of the parameters that the sum of scalars trains."""
    total = torch.stack([term.double() for term in terms]).sum()
    if not total.requires_grad:
        return set()
    found = torch.autograd.grad(total, list(parameters.values()), retain_graph=True, allow_unused=True)
    return {name for name, one in zip(parameters, found, strict=True) if one is not None and one.abs().max() > 0}


def _place(model: PoseModel, images_NCHW: Tensor) -> place.Place:
    """A place of one pose an image, around where the model is."""
    count, random = len(images_NCHW), np.random.default_rng(0)
    quaternion_N4 = random.normal(size=(count, 4))
    quaternion_N4 /= np.linalg.norm(quaternion_N4, axis=1, keepdims=True) * np.sign(quaternion_N4[:, :1])
    position_N3 = np.array(model.config.position_mean) + random.normal(size=(count, 3)) * model.config.position_std
    scene_N = np.arange(count) % len(model.config.scenes)
    intrinsics_N4 = np.full((count, 4), np.nan)
    with torch.no_grad():
        image_NE = model.encode(images_NCHW).image
    return place.Place(position_N3, quaternion_N4, scene_N, intrinsics_N4, lambda rows: image_NE[list(rows)])


def _learned(model: PoseModel, known: place.Place) -> dict[str, Tensor]:
    """The state of the model after `learn_place`, as training calls it."""
    with torch.no_grad():
        place.learn_place(model, known)
    return {name: value.clone() for name, value in model.state_dict().items()}


def _failed(what: str, error: Exception) -> Exception:
    """The PluginError for a call of torch that failed, with the first lines of its reason, and the cure if known."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cure = "images.shape[0] instead of len(images), which fixes the batch" if "specializ" in str(error) else ""
    return PluginError(f"{what} failed: {type(error).__name__}: {' '.join(lines[:2])[:160]}", cure)


def _equal(one: PoseOutput, other: PoseOutput, message: str) -> None:
    for name, a, b in zip(PoseOutput._fields, one, other, strict=True):
        require(a is b if a is None or b is None else torch.equal(a, b), f"{message} ({name})")


class _Numbers(nn.Module):
    """The model with a plain tuple as its output, which a file can hold."""

    def __init__(self, model: PoseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor | None, ...]:
        return tuple(self.model(images_BCHW))


def _close(one: PoseOutput, other: PoseOutput, message: str) -> None:
    """Equal within 1e-5 of the size of the numbers."""
    for name, a, b in zip(PoseOutput._fields, one, other, strict=True):
        if a is None or b is None:
            require(a is b, f"{message} ({name} is missing from one)")
            continue
        a, b = a.double(), b.double()
        size = max(1.0, float(b.abs().max()))
        require(a.shape == b.shape and (a - b).abs().max() <= 1e-5 * size, f"{message} ({name})")
