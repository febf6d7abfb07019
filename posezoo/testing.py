"""The conformance suites: what every model of the zoo promises, with every infusion, and every data format. For
plugins' own tests. One file, though a long one, because it is what an author of a plugin reads.

    from posezoo.testing import ModelConformance

    class TestYourModel(ModelConformance):
        model = "yourmodel"

pytest runs each check with each infusion; `posezoo plugins check yourmodel` runs the same checks without pytest.
A check raises PluginError with one line that says what is wrong. Needs no network and no data: the model is built
small, from `settings`, and starts at random.

Legend: B batch, C channels, H height, W width, S scenes.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from posezoo import contract, loopback, plugins, settings, zoo
from posezoo.contract import require
from posezoo.errors import DataError, Finding, PluginError, PosezooError, UsageError
from posezoo.hyperhead import HyperHead
from posezoo.model import PoseModel
from posezoo.names import parse_data, user_path
from posezoo.publish.push import push
from posezoo.spec import Frame, ReadRequest, ReadResult
from posezoo.types import PoseOutput

SCENES = ("attic", "barn", "cellar")
SMALL: Mapping[str, Any] = {
    "backbone": "test_efficientnet.r160_in1k",
    "pretrained_backbone": False,
    "resize": 96,
    "crop": 96,
    "scenes": SCENES,
    "position_mean": (10.0, -3.0, 1.0),
    "position_std": (2.0, 3.0, 0.5),
    # `paper` has live generators: a zero start would hide what lies behind them
    "hyper": {"code_position": 8, "code_orientation": 12, "rank": 4, "init": "paper"},
}


class ModelConformance:
    """Subclass it, name the model. Every method `test_...` is a check; it is run with each of `infusions`."""

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
        """The infusions that a check is run with."""
        return cls.traced if getattr(check, "traces", False) else cls.infusions

    def build(self, infusion: str = "", seed: int = 0, **more: Any) -> PoseModel:
        """A small model, randomly started, in eval mode; `more` settings win over `settings`."""
        torch.manual_seed(seed)
        return zoo.create_model(f"{self.model}{infusion}", **settings.merged(SMALL, self.settings, more))

    def images(self, batch: int, side: int = 0, seed: int = 1) -> Tensor:
        """Random images (B, 3, side, side), as `PoseModel.prepare` would give them; `side` 0: those of the crop."""
        side = side or settings.merged(SMALL, self.settings)["crop"]
        return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))

    def test_pose(self, infusion: str) -> None:
        """Shapes, dtypes and conventions of features and poses; the name; eval mode."""
        model, images_BCHW = self.build(infusion), self.images(4)
        require(not model.training, "a built model is in training mode")
        require(model.name == f"{self.model}{infusion}", f"the model calls itself {model.name}")
        contract.check_model(model)
        with torch.no_grad():
            features, output = model.encode(images_BCHW), model(images_BCHW)
        contract.check_features(model, features, 4)
        contract.check_pose(model, output, 4)
        if output.scene_logits is not None:
            require(torch.equal(output.scene, output.scene_logits.argmax(-1)), "scene is not the arg max of its logits")

    def test_position_is_in_metres(self, infusion: str) -> None:
        """Position = position_mean + position_std * what the head says, in float64."""
        one, other = self.build(infusion), self.build(infusion, position_mean=(5e6, 0.0, 0.0), position_std=(1, 1, 1))
        with torch.no_grad():
            a_B3, b_B3 = one(self.images(3)).position, other(self.images(3)).position
        mean_3, std_3 = one.position_mean_3, one.position_std_3
        expected_B3 = (a_B3 - mean_3) / std_3 + torch.tensor([5e6, 0.0, 0.0], dtype=torch.float64)
        require(torch.allclose(b_B3, expected_B3, rtol=0, atol=1e-4), "position_mean and position_std are not applied")

    def test_other_sides(self, infusion: str) -> None:
        """Images of other sides give finite poses: position tables are interpolated."""
        model = self.build(infusion)
        for side in self.sides:
            with torch.no_grad():
                contract.check_pose(model, model(self.images(2, side)), 2)

    def test_gradients_reach_every_parameter(self, infusion: str) -> None:
        """Every parameter but those in the model's `unused` has a finite gradient that is not all zero."""
        model, scene_B = self.build(infusion), torch.arange(6) % len(SCENES)
        with torch.no_grad():  # what starts at exactly zero (biases, a first input) would hide what lies behind it
            for parameter in model.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        output, features = model(self.images(6), scene_B), model.encode(self.images(6), scene_B)
        # plain multi-scene heads read no image embedding, and the scene's logits are no part of the pose
        parts: list[Tensor] = [output.position, output.rotation, features.image]
        parts += [] if output.scene_logits is None else [output.scene_logits]
        torch.stack([(part * torch.randn_like(part)).sum() for part in parts]).sum().backward()
        dead = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
        wild = [name for name, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        require(not wild, f"gradient of {', '.join(wild[:3])} is not finite")
        missed = sorted(dead - set(model.unused))
        require(not missed, f"no gradient reaches {', '.join(missed[:3])}")
        living = sorted(set(model.unused) - dead)
        require(not living, f"{', '.join(living[:3])} in `unused` has a gradient")

    def test_the_pose_alone_reaches_both_heads(self, infusion: str) -> None:
        """Position and quaternion train every parameter of the heads."""
        model = self.build(infusion)
        output = model(self.images(6), torch.arange(6) % len(SCENES))
        (output.position.sum() + (output.quaternion * torch.randn(6, 4)).sum()).backward()
        for head in ("position_head", "orientation_head"):
            for name, p in getattr(model, head).named_parameters():
                require(p.grad is not None and p.grad.abs().max() > 0, f"the pose does not train {head}.{name}")

    def test_eval_is_deterministic(self, infusion: str) -> None:
        """The same images give the same pose to the last bit, and nothing is kept from one call to the next."""
        model = self.build(infusion)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with torch.no_grad():
            first = model(self.images(3))
            model(self.images(2, seed=9))
            second = model(self.images(3))
        _equal(first, second, "two calls in eval mode differ (a dropout that is no nn.Dropout?)")
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
        """Saved as a model folder and loaded as `local-dir:`, the model is the same, and so is what it saves again."""
        model = self.build(infusion)
        with tempfile.TemporaryDirectory() as place:
            first, second = Path(place) / "first", Path(place) / "second"
            zoo.save(model, first, "card")
            again = zoo.load(f"local-dir:{first}")
            zoo.save(again, second, "card")
            for name in (zoo.WEIGHTS, zoo.CONFIG):
                same = (first / name).read_bytes() == (second / name).read_bytes()
                require(same, f"{name} differs when a loaded model is saved again")
        require(again.config == model.config, "the configuration differs after loading")
        with torch.no_grad():
            _equal(again(self.images(3)), model(self.images(3)), "the loaded model differs")

    def test_push_and_pull(self, infusion: str) -> None:
        """Pushed to a hub (one on this machine is started for it) and loaded back by its commit, it is the same."""
        model, repository = self.build(infusion), "conformance/model"
        with tempfile.TemporaryDirectory() as place, loopback.running() as hub, loopback.used(hub, Path(place) / "hub"):
            zoo.save(model, Path(place) / "model", "card")
            commit = push(Path(place) / "model", repository)
            pushed = hub.repositories[repository][-1][1]
            again = zoo.load(f"hf-hub:{repository}@{commit}")
            for name in (zoo.WEIGHTS, zoo.CONFIG):
                require(pushed[name] == (Path(place) / "model" / name).read_bytes(), f"{name} differs on the hub")
        require(again.origin == f"hf-hub:{repository}@{commit}", f"it came from {again.origin}")
        with torch.no_grad():
            _equal(again(self.images(3)), model(self.images(3)), "the model that was pushed and pulled differs")

    def test_compile(self, infusion: str) -> None:
        """torch.compile takes the model without a graph break (backend `eager`: no compiler is needed)."""
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
        """torch.export takes the model with a batch of any size; the program, saved and loaded, says the same."""
        model = self.build(infusion)
        shapes = {"images_BCHW": {0: torch.export.Dim("batch", min=1, max=1024)}}
        with torch.no_grad():
            try:
                program = torch.export.export(_Numbers(model), (self.images(3),), dynamic_shapes=shapes, strict=False)
            except Exception as error:  # torch.export raises whatever it meets
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

    def test_the_process_is_left_alone(self, infusion: str) -> None:
        """Building seeds and prints nothing; neither building nor a pose changes what belongs to the process."""
        said, following = io.StringIO(), []
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            for seed in (1, 2, 1):
                with contract.untouched("the constructor", but=(contract.DRAWING,)):
                    model = self.build(infusion, seed)
                following.append(float(torch.rand(())))
            with torch.no_grad(), contract.untouched("forward in eval mode"):
                model(self.images(2))
        require(following[0] == following[2] != following[1], "the constructor seeds torch's random state")
        require(not said.getvalue(), f"the model prints: {said.getvalue()[:60]!a}")


class ReaderConformance:
    """What every data format promises. Subclass it, name the reader, write a small data set into `folder`.

    class TestYourFormat(ReaderConformance):
        reader = "yourformat"

        def write(self, folder: Path) -> None:
            (folder / "poses.txt").write_text("...")
    """

    reader: ClassVar[str] = ""
    data: ClassVar[str] = ""
    """A folder or file in this format, instead of what `write` makes."""
    options: ClassVar[Mapping[str, str]] = {}
    """What would stand behind the `?` of the data's name."""

    def write(self, folder: Path) -> None:
        """Write a small data set; without it an empty folder is read."""

    def read(self, **asked: Any) -> ReadResult:
        """The reader's answer for the data set; `asked` as in ReadRequest."""
        with self._place() as place:
            return self._read(place, **asked)

    def test_frames(self) -> None:
        """Frames with finite poses and image paths inside the data set, and findings; no image twice."""
        result = self.read()
        require(isinstance(result, ReadResult), f"it returned {type(result).__name__}, expected ReadResult")
        for kind, rows in ((Frame, result.frames), (Finding, result.findings)):
            strange = [type(row).__name__ for row in rows if not isinstance(row, kind)]
            require(not strange, f"{', '.join(strange[:3])} among its {kind.__name__.lower()}s")
        for frame in result.frames:
            numbers = (*frame.position, *frame.quaternion)
            require(len(numbers) == 7 and all(map(math.isfinite, numbers)), f"{frame.image}: not seven finite numbers")
            parts = PurePosixPath(frame.image).parts
            require(parts and parts[0] != "/" and ".." not in parts, f"{frame.image} is not inside the data set")
        images = [frame.image for frame in result.frames]
        require(len(set(images)) == len(images), "an image stands twice")

    def test_the_same_again(self) -> None:
        """The same folder gives the same frames and findings in the same order."""
        with self._place() as place:
            require(vars(self._read(place)) == vars(self._read(place)), "a second reading differs")

    def test_only_the_images_asked_for(self) -> None:
        """If a split file lists images, the frames are those and no others."""
        images = {frame.image for frame in self.read().frames}
        for wanted in (frozenset(sorted(images)[:1]), frozenset()):
            found = {frame.image for frame in self.read(images=wanted).frames}
            require(found == wanted, f"asked for {len(wanted)} images, it gave {len(found)}")

    def test_an_empty_folder_is_told(self) -> None:
        """No frames and a finding, or an error of posezoo."""
        with tempfile.TemporaryDirectory() as place:
            try:
                result = self._read(Path(place))
            except (PosezooError, OSError):
                return
        require(not result.frames and result.findings, "an empty folder gives no finding")

    def test_the_process_is_left_alone(self) -> None:
        """Reading prints nothing, writes nothing into the data set and changes nothing that belongs to the process."""
        said = io.StringIO()
        with self._place() as place, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            before = sorted(place.rglob("*"))
            with contract.untouched("reading"):
                self._read(place)
            require(sorted(place.rglob("*")) == before, "it writes into the data set")
        require(not said.getvalue(), f"it prints: {said.getvalue()[:60]!a}")

    def _read(self, place: Path, **asked: Any) -> ReadResult:
        return plugins.load("posezoo_readers", self.reader, "read")(ReadRequest(place, options=self.options, **asked))

    @contextlib.contextmanager
    def _place(self) -> Iterator[Path]:
        if self.data:
            yield user_path(self.data)
            return
        with tempfile.TemporaryDirectory() as folder:
            self.write(Path(folder))
            yield Path(folder)


class Outcome(NamedTuple):
    """One check, of models with one infusion; `problem` is empty if it passed."""

    check: str
    infusion: str
    problem: str


def check(
    name: str, overrides: Mapping[str, Any] = {}, progress: Callable[[int, int], None] | None = None
) -> list[Outcome]:
    """The outcome of every check on a model (`hello`, `posenet+tta`), a modifier or a data format, without pytest.

    A modifier alone (`tta`) is checked on the first of posezoo's own models, a data format on an empty folder, or on
    data (`hello-data:PATH`). `overrides` as for `posezoo.create_model`. Raises UsageError for unknown names.
    """
    suite, pairs = _suite(name, overrides)
    outcomes = []
    for method, infusions in pairs:
        outcomes.append(Outcome(_words(method.__name__), "".join(infusions), _problem(method, *infusions)))
        if progress:
            progress(len(outcomes), len(pairs))
    return outcomes


def _suite(name: str, overrides: Mapping[str, Any]) -> tuple[Any, list[tuple[Any, tuple[str, ...]]]]:
    """The suite for a name, and (check, its arguments) of all checks."""
    reader = name.partition(":")[0]
    if reader in plugins.readers() and name not in plugins.models():
        if overrides:
            raise UsageError("a data format has no settings", f"posezoo plugins check {reader}:PATH?key=value")
        data = parse_data(name)
        if data.path and not data.path.exists():
            raise DataError(f"{data.path}: no such file or folder", f"without data: posezoo plugins check {reader}")
        told = {"reader": reader, "data": str(data.path or ""), "options": data.options}
        suite: Any = type("Suite", (ReaderConformance,), told)()
        return suite, [(method, ()) for method in _checks(suite)]
    if name in plugins.modifiers():
        owners = plugins.manager().owners
        ours = [arch for arch in plugins.models() if owners["posezoo_models", arch].distribution == plugins.OURS]
        name = f"{min(ours)}+{name}"
    zoo.blueprint(name, settings.nested(overrides))
    own: dict[str, Any] = {"model": name, "settings": settings.nested(overrides)}
    if "+hyper" in name:
        own |= {"infusions": ("",), "traced": ("",)}  # it is infused already
    suite = type("Suite", (ModelConformance,), own)()
    return suite, [(method, (infusion,)) for method in _checks(suite) for infusion in suite.infusions_of(method)]


def _checks(suite: object) -> list[Any]:
    return [method for name, method in inspect.getmembers(suite, callable) if name.startswith("test_")]


def table(outcomes: Sequence[Outcome]) -> tuple[list[str], list[list[str]]]:
    """(header, rows) for a terminal: a row a check, a column an infusion."""
    infusions = list(dict.fromkeys(outcome.infusion for outcome in outcomes))
    cells = {(o.check, o.infusion): "FAILS: " + o.problem if o.problem else "ok" for o in outcomes}
    checks = dict.fromkeys(outcome.check for outcome in outcomes)
    rows = [[check, *(cells.get((check, infusion), "") for infusion in infusions)] for check in checks]
    return ["check", *(infusion or "plain" for infusion in infusions)], rows


def raise_if_failed(model: str, outcomes: Sequence[Outcome]) -> None:
    """Raise PluginError that counts the failures and shows the first."""
    failed = [outcome for outcome in outcomes if outcome.problem]
    if failed:
        first = f"{failed[0].check}, {model}{failed[0].infusion}: {failed[0].problem}"
        raise PluginError(
            f"{len(failed)} of {len(outcomes)} checks of {model} failed (first: {first[:120]})",
            "--format json shows all",
        )


def _words(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


def _problem(method: Callable[..., None], *infusion: str) -> str:
    try:
        method(*infusion)
    except (Exception, SystemExit) as error:  # a plugin may fail in any way
        return " ".join((str(error) if isinstance(error, PluginError) else repr(error)).split())
    return ""


def _failed(what: str, error: Exception) -> Exception:
    """The PluginError for a call of torch that failed: its first line says why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return PluginError(f"{what} failed: {type(error).__name__}: {' '.join(lines[:2])[:160]}")


def _equal(one: PoseOutput, other: PoseOutput, message: str) -> None:
    for name, a, b in zip(PoseOutput._fields, one, other, strict=True):
        require(a is b if a is None or b is None else torch.equal(a, b), f"{message} ({name})")


class _Numbers(nn.Module):
    """The model with a plain tuple as its output: what a file can hold."""

    def __init__(self, model: PoseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor | None, ...]:
        return tuple(self.model(images_BCHW))


def _close(one: PoseOutput, other: PoseOutput, message: str) -> None:
    """Equal within 1e-5 of the size of the numbers."""
    for name, a, b in zip(PoseOutput._fields, one, other, strict=True):
        if a is None or b is None:
            require(a is b, f"{message} ({name} is there only once)")
            continue
        a, b = a.double(), b.double()
        size = max(1.0, float(b.abs().max()))
        require(a.shape == b.shape and (a - b).abs().max() <= 1e-5 * size, f"{message} ({name})")
