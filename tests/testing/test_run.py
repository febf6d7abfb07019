"""The conformance suite: a model that keeps the contract passes, and each check finds the model that breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hostile
import pytest
from naming import naming

from posezoo.base.errors import DataError, PluginError, UsageError
from posezoo.catalogue import plugins
from posezoo.testing import ModelConformance, ReaderConformance, run
from posezoo.testing.run import raise_if_failed, table

BROKEN = """
import torch
from torch import nn
from torch.nn import functional as F
from pz_zoo_models import Config, Good, MLPHead, PoseModel, Features

class Metres(Good):
    def forward(self, images, scene=None):
        output = super().forward(images, scene)
        return output._replace(position=output.position - self.position_mean_3)
class Sides(Good):
    def encode(self, images, scene=None):
        return super().encode(images.reshape(len(images), 3, 96, 96))
class Unreached(Good):
    def __init__(self, config):
        super().__init__(config)
        self.spare = nn.Linear(2, 2)
class Declared(Good):
    unused = ("stem.weight",)
class Heads(Good):
    def forward(self, images, scene=None):
        output = super().forward(images, scene)
        return output._replace(quaternion=output.quaternion.detach())
class Dropping(Good):
    def encode(self, images, scene=None):
        return Features(*(F.dropout(x, 0.5) if x is not None else x for x in super().encode(images)))
class Batch(Good):
    def encode(self, images, scene=None):
        return super().encode(images - images.mean(0, keepdim=True))
class Hidden(Good):
    def __init__(self, config):
        super().__init__(config)
        self.factor = torch.rand(3, 1, 1)
    def encode(self, images, scene=None):
        return super().encode(images * self.factor)
class Branching(Good):
    def encode(self, images, scene=None):
        return super().encode(images * 2 if images.sum() > 0 else images)
class OddHead(MLPHead):
    def forward(self, latent, image=None, scene=None):
        return super().forward(latent, image, scene) + 1
class Odd(Good):
    def __init__(self, config):
        super().__init__(config)
        self.position_head = OddHead((8, 8, 3))
class Printing(Good):
    def encode(self, images, scene=None):
        print("now")
        return super().encode(images)
class Seeds(Good):
    def __init__(self, config):
        torch.manual_seed(4)
        super().__init__(config)
class Training(Good):
    def eval(self):
        return self.train()
"""
READER_HOOK = """
    from posezoo.plugin import ReaderSpec, hookimpl

    @hookimpl
    def posezoo_readers():
        return tuple(ReaderSpec(n, "pz_readers_code:" + n.replace("-", "_"), "x") for n in {names!r})
"""
READER_CODE = """
from posezoo.plugin import Finding, Frame, ReadRequest, ReadResult

COUNT = []
def GOOD(request):
    if not (request.root / "p.txt").exists():
        return ReadResult([], [Finding("p.txt", 0, "no such file")])
    names = (request.root / "p.txt").read_text().split()
    names = [n for n in names if request.images is None or n in request.images]
    return ReadResult([Frame(n, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)) for n in names])
"""
NOSY = """
    import posezoo.zoo.build
    from posezoo.plugin import ModelSpec, ReaderSpec, hookimpl

    @hookimpl
    def posezoo_models():
        return (ModelSpec("nosy", "pz_zoo_models:Good", "pz_zoo_models:Config", "x"),)

    @hookimpl
    def posezoo_readers():
        return (ReaderSpec("nosy-reader", "pz_readers_code:kept", "x"),)
"""
CASES = [
    ("training", "test_pose", "", "in training mode"),
    ("six-numbers", "test_pose", "", r"rotation has shape \(4, 6\)"),
    ("metres", "test_position_is_in_metres", "", "are not applied"),
    ("sides", "test_other_sides", "", "shape"),
    ("unreached", "test_gradients_reach_every_parameter", "", "no gradient reaches spare.bias, spare.weight"),
    ("declared", "test_gradients_reach_every_parameter", "", "stem.weight in `unused` has a gradient"),
    ("heads", "test_the_pose_alone_reaches_both_heads", "", "does not train orientation_head"),
    ("dropping", "test_eval_is_deterministic", "", "two calls in eval mode differ"),
    ("counting", "test_eval_is_deterministic", "", "changed calls"),
    ("batch", "test_batch_order_and_size_do_not_matter", "", "one image at a time differs from the batch"),
    ("hidden", "test_weights_carry_the_model", "", "same state_dict differs"),
    ("hidden", "test_model_folder_round_trip", "", "the loaded model differs"),
    ("branching", "test_compile", "", r"torch.compile\(fullgraph=True\) failed"),
    ("branching", "test_export", "", "torch.export with a dynamic batch failed"),
    ("odd", "test_zero_start_is_the_base", "+hyper=single", "a zero start differs from the base"),
    ("nosy", "test_imports_are_public", "", r"pz_nosy.py, line \d: posezoo\.zoo\.build is not public"),
    ("printing", "test_the_process_is_left_alone", "", "the model prints: 'now"),
    ("seeds", "test_the_process_is_left_alone", "", "seeds torch's random state"),
    ("drawing", "test_the_process_is_left_alone", "", "changed Python's random state"),
]


@pytest.fixture(scope="module", autouse=True)
def zoo_of_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The plugin pz-zoo with models that keep and break the contract."""
    site = hostile.install_models(tmp_path_factory.mktemp("site"))
    names = {name: name.title() for name, *_ in CASES if f"class {name.title()}(" in BROKEN}
    hostile.install(site, "broken", hostile.HOOK.format(names=names, name="broken"))
    hostile.install(site, "nosy", NOSY)
    hostile.install(site, "readers", READER_HOOK.format(names=list(READERS)))
    functions = [
        f"def {n.replace('-', '_')}(request):\n    place = request.root\n    {c}\n" for n, c in READERS.items()
    ]
    (site / "pz_readers_code.py").write_text(READER_CODE + "".join(functions))
    (site / "pz_broken_models.py").write_text(BROKEN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        plugins.manager.cache_clear()
        yield
    plugins.manager.cache_clear()


class TestGood(ModelConformance):
    """A model that keeps the contract, through pytest, as a plugin's own test does it."""

    model = "good"
    traced = ("+hyper=two",)


@pytest.mark.parametrize(("name", "check", "infusion", "problem"), CASES, ids=[f"{n}-{c}" for n, c, *_ in CASES])
def test_each_check_finds_what_it_looks_for(name: str, check: str, infusion: str, problem: str) -> None:
    suite = type("Suite", (ModelConformance,), {"model": name})()
    raised = RuntimeError if name == "sides" else PluginError
    with pytest.raises(raised, match=problem):
        getattr(suite, check)(infusion)


def test_every_check_has_a_case() -> None:
    checks = {name for name in dir(ModelConformance) if name.startswith("test_")}
    assert {check for _, check, *_ in CASES} == checks


READERS = {
    "kept": "return GOOD(request)",
    "other-type": "return []",
    "no-frames": "return ReadResult([('a.png', 0)])",
    "not-finite": "return ReadResult([Frame('a.png', (0.0, float('nan'), 0.0), (1.0, 0.0, 0.0, 0.0))])",
    "outside": "return ReadResult([Frame('../a.png', (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))])",
    "counting": "COUNT.append(1); return ReadResult([Frame(f'{len(COUNT)}.png', (0.0,) * 3, (1.0, 0.0, 0.0, 0.0))])",
    "deaf": "return GOOD(ReadRequest(place))",
    "silent": "return ReadResult()",
    "raising": "raise KeyError('p.txt')",
    "writing": "(place / 'cache').write_text('x'); return GOOD(request)",
    "printing": "print('reading'); return GOOD(request)",
    "seeding": "import random; random.seed(0); return GOOD(request)",
}
READER_CASES = [
    ("other-type", "test_frames", "returned list, expected ReadResult"),
    ("no-frames", "test_frames", "tuple among its frames"),
    ("not-finite", "test_frames", "not seven finite numbers"),
    ("outside", "test_frames", "not inside the data set"),
    ("counting", "test_the_same_again", "a second reading differs"),
    ("deaf", "test_only_the_images_asked_for", "asked for 1 images, it gave 2"),
    ("silent", "test_an_empty_folder_is_told", "gives no finding"),
    ("raising", "test_an_empty_folder_is_told", "p.txt"),
    ("nosy-reader", "test_imports_are_public", r"pz_nosy.py, line \d: posezoo\.zoo\.build is not public"),
    ("writing", "test_the_process_is_left_alone", "writes into the data set"),
    ("printing", "test_the_process_is_left_alone", "prints: 'reading"),
    ("seeding", "test_the_process_is_left_alone", "changed Python's random state"),
]


def reader_suite(name: str) -> ReaderConformance:
    def write(self: object, folder: Path) -> None:
        (folder / "p.txt").write_text("a.png\nb.png\n")

    return type("Suite", (ReaderConformance,), {"reader": name, "write": write})()


def test_a_reader_that_keeps_its_promises_passes() -> None:
    for name in (name for name in dir(ReaderConformance) if name.startswith("test_")):
        getattr(reader_suite("kept"), name)()


@pytest.mark.parametrize(("name", "check", "problem"), READER_CASES, ids=[n for n, *_ in READER_CASES])
def test_each_check_of_readers_finds_what_it_looks_for(name: str, check: str, problem: str) -> None:
    with pytest.raises(KeyError if name == "raising" else PluginError, match=problem):
        getattr(reader_suite(name), check)()


def test_readers_and_modifiers_without_pytest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checks = {name for name in dir(ReaderConformance) if name.startswith("test_")}
    assert {check for _, check, _ in READER_CASES} == checks
    # of posezoo's own: on an empty folder, and on data
    (tmp_path / "x.csv").write_text(
        "scene,split,img_path,t1,t2,t3,q1,q2,q3,q4\nyard,train,a.png,0,0,0,1,0,0,0\nyard,train,b.png,0,0,0,1,0,0,0\n"
    )
    for name in ("folder", "colmap", "7scenes", f"csv:{tmp_path / 'x.csv'}?convention=camera-to-world"):
        outcomes = run.check(name)
        assert [outcome.problem for outcome in outcomes] == [""] * len(checks), name
    assert {outcome.problem for outcome in run.check("silent") if outcome.problem} == {
        "an empty folder gives no finding"
    }
    with pytest.raises(UsageError, match=naming("csv")):
        run.check("csv", {"x": 1})
    with pytest.raises(DataError, match=naming("nowhere")):
        run.check("folder:nowhere")
    for name in [name for name in dir(ModelConformance) if name.startswith("test_") and name != "test_pose"]:
        monkeypatch.delattr(ModelConformance, name)
    # a modifier alone: on the first of posezoo's own architectures
    assert [(o.infusion, o.problem) for o in run.check("hyper", {"feature": 8})] == [("", "")]


def test_without_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelConformance, "traced", ())
    seen: list[tuple[int, int]] = []
    outcomes = run.check("dropping", progress=lambda done, total: seen.append((done, total)))
    failed = {outcome.check for outcome in outcomes if outcome.problem}
    assert {"eval is deterministic", "batch order and size do not matter"} <= failed
    assert "other sides" not in failed
    assert {outcome.infusion for outcome in outcomes} == set(ModelConformance.infusions)
    assert seen[-1] == (len(outcomes), len(outcomes))
    header, rows = table(outcomes)
    assert header == ["check", "plain", "+hyper=residual", "+hyper=single", "+hyper=two"]
    assert dict(zip(header, rows[0], strict=True))["check"] == "batch order and size do not matter"
    with pytest.raises(PluginError, match=naming("dropping")):
        raise_if_failed("dropping", outcomes)


def test_names_and_settings_are_told() -> None:
    with pytest.raises(UsageError, match=naming("zzz")):
        run.check("zzz")
    with pytest.raises(UsageError, match="hiden"):
        run.check("posenet", {"hiden": 3})


def test_importing_posezoo_needs_no_pytest(tmp_path: Path) -> None:
    done = hostile.run_python("import sys; sys.modules['pytest'] = None; import posezoo.testing.models")
    assert (done.returncode, done.stderr) == (0, "")
