"""Models and readers that break the contract in one way each, and those that keep it."""

from __future__ import annotations

from collections.abc import Iterator

import hostile
import pytest

from posezoo.catalogue import plugins

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
class Idle(Good):
    def encode(self, images, scene=None):
        return Features(*(x * (not self.training) if x is not None else x for x in super().encode(images)))
class Choosing(Good):
    def __init__(self, config):
        super().__init__(config)
        self.scene_of = nn.Linear(8, len(config.scenes))
    def encode(self, images, scene=None):
        found = super().encode(images)
        logits = self.scene_of(found.image)
        return found._replace(scene_logits=logits, scene=logits.argmax(-1))
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
class Lossy(Good):
    def extra_losses(self, features, output, target):
        return {"wild": output.position.sum() * float("inf")}
class Constant(Good):
    def extra_losses(self, features, output, target):
        return {"still": target.position.sum()}
class Useless(Good):
    def extra_losses(self, features, output, target):
        return {"nought": (output.position * 0).sum()}
class Learning(Good):
    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("middle", torch.zeros(3))
    def forward(self, images, scene=None):
        output = super().forward(images, scene)
        return output._replace(position=output.position + 0 * self.middle.sum())
    def learn_place(self, place):
        self.middle.copy_(torch.from_numpy(place.position.mean(0)))
class Forgetful(Learning):
    def learn_place(self, place):
        self.centre = torch.from_numpy(place.position.mean(0))
class Hoarding(Learning):
    found = None
    def learn_place(self, place):
        super().learn_place(place)
        self.found = torch.from_numpy(place.position.mean(0))
    def forward(self, images, scene=None):
        output = super().forward(images, scene)
        return output if self.found is None else output._replace(position=output.position + self.found)
class Adding(Learning):
    def learn_place(self, place):
        self.middle += torch.from_numpy(place.position.mean(0))
class Rolling(Learning):
    def learn_place(self, place):
        self.middle.copy_(torch.rand(3))
class Growing(Learning):
    def learn_place(self, place):
        self.middle = torch.from_numpy(place.position).float()
class Widening(Learning):
    def learn_place(self, place):
        self.middle = torch.from_numpy(place.position.mean(0))
class Dividing(Learning):
    def learn_place(self, place):
        self.middle.copy_(torch.from_numpy(place.intrinsics.mean(0))[:3])
class Metric(Learning):
    def forward(self, images, scene=None):
        output = super().forward(images, scene)
        return output._replace(position=output.position - self.position_mean_3)
class Scaled(Learning):
    def forward(self, images, scene=None):
        output = super().forward(images, scene)
        return output._replace(position=output.position + 0.1 * self.position_std_3)
"""


MODIFIER_HOOK = """
    from posezoo.plugin import ModifierSpec, hookimpl

    @hookimpl
    def posezoo_modifiers():
        keep = ("turn", "leak", "leaky", "still")
        code = "pz_broken_modifiers:"
        return tuple(ModifierSpec(n, code + n, code + "Config", "x", keeps_pose=n in keep) for n in (*keep, "aux"))
"""


MODIFIERS = """
from dataclasses import dataclass

import torch
from torch import nn

@dataclass(frozen=True)
class Config:
    weight: float = 1.0

class Aux(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(width, 3)
    def extra_losses(self, features, output, target):
        return {"aux": (self.layer(features.position) - target.position.float()).abs().mean()}
class Still(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(width, 2)
    def forward(self, features):
        two = self.layer(features.position.detach()).exp()
        return two[:, 0], two[:, 1]
class Leak(Still):
    def forward(self, features):
        two = self.layer(features.position).exp()
        return two[:, 0], two[:, 1]
class Leaky(Still):
    def extra_losses(self, features, output, target):
        return {"leaky": ((output.position - target.position).norm(dim=-1) / output.spread_m).mean()}

def turn(model, config):
    flip = torch.tensor([1.0, -1.0, -1.0, -1.0])
    model.register_forward_hook(lambda m, given, output: output._replace(quaternion=output.quaternion * flip))
def aux(model, config):
    model.aux = Aux(model.position_head.in_dim)
def still(model, config):
    model.spread = Still(model.position_head.in_dim)
def leak(model, config):
    model.spread = Leak(model.position_head.in_dim)
def leaky(model, config):
    model.spread = Leaky(model.position_head.in_dim)
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
PARTS = {"a.png": {"scene": "attic", "sequence": "seq-01"}, "b.png": {"scene": "yard", "sequence": "seq-02"}}
def GOOD(request, before=""):
    if not (request.root / "p.txt").exists():
        return ReadResult([], [Finding("p.txt", 0, "no such file")])
    names = [before + n for n in (request.root / "p.txt").read_text().split()]
    names = [n for n in names if request.images is None or n in request.images]
    return ReadResult([Frame(n, (0.0,) * 3, (1.0, 0.0, 0.0, 0.0), **PARTS.get(n, {})) for n in names])
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
    ("choosing", "test_pose", "", "although scene_B is given"),
    ("metres", "test_position_is_in_metres", "", "are not applied"),
    ("sides", "test_other_sides", "", "shape"),
    ("unreached", "test_gradients_reach_every_parameter", "", "no gradient reaches spare.bias, spare.weight"),
    ("idle", "test_gradients_reach_every_parameter", "", "no gradient reaches .* in training mode"),
    ("declared", "test_gradients_reach_every_parameter", "", "stem.weight in `unused` has a gradient"),
    ("heads", "test_the_pose_alone_reaches_both_heads", "", "does not train orientation_head"),
    ("good+leak", "test_the_spread_leaves_the_pose_alone", "", "the spread sends a gradient to stem.bias, stem.weight"),
    ("good+leaky", "test_the_spread_leaves_the_pose_alone", "", "the spread sends a gradient to position_head"),
    ("good+turn", "test_what_keeps_the_pose", "", "another pose than good has, though turn says keeps_pose"),
    ("good+turn", "test_what_keeps_the_pose", "+hyper=two", "another pose than good.hyper=two has"),
    ("dropping", "test_eval_is_deterministic", "", "two calls in eval mode differ"),
    ("counting", "test_eval_is_deterministic", "", "changed calls"),
    ("batch", "test_batch_order_and_size_do_not_matter", "", "one image at a time differs from the batch"),
    ("hidden", "test_weights_carry_the_model", "", "same state_dict differs"),
    ("hidden", "test_model_folder_round_trip", "", "the loaded model differs"),
    ("branching", "test_compile", "", r"torch.compile\(fullgraph=True\) failed"),
    ("branching", "test_export", "", "torch.export with a dynamic batch failed"),
    ("odd", "test_zero_start_is_the_base", "+hyper=single", "a zero start differs from the base"),
    ("metric", "test_position_is_in_metres", "", "position_mean and position_std are not applied"),
    ("scaled", "test_position_is_in_metres", "", "position_mean and position_std are not applied"),
    ("lossy", "test_losses_of_its_own", "", "wild is not finite"),
    ("constant", "test_losses_of_its_own", "", "still has no gradient"),
    ("useless", "test_losses_of_its_own", "", "nought trains no parameter"),
    ("forgetful", "test_what_it_learns_of_the_place", "", "learn_place changes no buffer"),
    ("hoarding", "test_what_it_learns_of_the_place", "", "the state_dict does not carry"),
    ("adding", "test_what_it_learns_of_the_place", "", "a second time changes middle"),
    ("rolling", "test_what_it_learns_of_the_place", "", "learns something else"),
    ("growing", "test_what_it_learns_of_the_place", "", "changed the shape of middle"),
    ("widening", "test_what_it_learns_of_the_place", "", "changed the type of middle"),
    ("dividing", "test_what_it_learns_of_the_place", "", "middle is not finite"),
    ("nosy", "test_imports_are_public", "", r"pz_nosy.py, line \d: posezoo\.zoo\.build is not public"),
    ("printing", "test_the_process_is_left_alone", "", "the model prints: 'now"),
    ("seeds", "test_the_process_is_left_alone", "", "seeds torch's random state"),
    ("drawing", "test_the_process_is_left_alone", "", "changed Python's random state"),
]


READER_CASES = [
    ("other-type", "test_frames", "returned list, expected ReadResult"),
    ("no-frames", "test_frames", "tuple among its frames"),
    ("not-finite", "test_frames", "not seven finite numbers"),
    (
        "four-numbers",
        "test_frames",
        r"a Frame whose position is \(0.0, 0.0, 0.0, 1.0\): a pose is tuples of 3 \+ 4 numbers",
    ),
    ("no-scene", "test_frames", "a Frame whose scene is None"),
    ("no-time", "test_frames", "a Frame whose timestamp is 'now'"),
    ("zero", "test_frames", "posezoo refuses a frame: a.png: zero quaternion"),
    ("long", "test_frames", "posezoo refuses a frame: a.png: quaternion is not unit"),
    ("capital", "test_frames", "posezoo refuses a frame: a.png: split 'Train' is not one of"),
    ("nothing", "test_frames", r"nothing was read, no frame came \(p.txt: no such file\)"),
    ("outside", "test_frames", "not inside the data set"),
    ("counting", "test_the_same_again", "a second reading differs"),
    ("deaf", "test_only_the_images_asked_for", "asked for 1 images, it returned 2"),
    ("dotted", "test_only_the_images_asked_for", "asked for 1 images, it returned 0"),
    ("scenes", "test_the_scene_or_sequence_asked_for", "asked for scene yard, it returned 0 of its 1 frames"),
    ("sequences", "test_the_scene_or_sequence_asked_for", "asked for sequence seq-02, it returned 0 of its 1 frames"),
    ("silent", "test_an_empty_folder_is_told", "gives no finding"),
    ("raising", "test_an_empty_folder_is_told", "KeyError: 'p.txt'"),
    ("nosy-reader", "test_imports_are_public", r"pz_nosy.py, line \d: posezoo\.zoo\.build is not public"),
    ("writing", "test_the_process_is_left_alone", "writes into the data set"),
    ("appending", "test_the_process_is_left_alone", "writes into the data set: p.txt"),
    ("appending", "test_frames", "writes into the data set: p.txt"),
    ("printing", "test_the_process_is_left_alone", "prints: 'reading"),
    ("seeding", "test_the_process_is_left_alone", "changed Python's random state"),
]


READERS = {
    "kept": "return GOOD(request)",
    "other-type": "return []",
    "no-frames": "return ReadResult([('a.png', 0)])",
    "not-finite": "return ReadResult([Frame('a.png', (0.0, float('nan'), 0.0), (1.0, 0.0, 0.0, 0.0))])",
    "four-numbers": "return ReadResult([Frame('a.png', (0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0))])",
    "no-scene": "return ReadResult([Frame('a.png', (0.0,) * 3, (1.0, 0.0, 0.0, 0.0), scene=None)])",
    "no-time": "return ReadResult([Frame('a.png', (0.0,) * 3, (1.0, 0.0, 0.0, 0.0), timestamp='now')])",
    "zero": "return ReadResult([Frame('a.png', (0.0,) * 3, (0.0,) * 4)])",
    "long": "return ReadResult([Frame('a.png', (0.0,) * 3, (2.0, 0.0, 0.0, 0.0))])",
    "capital": "return ReadResult([Frame('a.png', (0.0,) * 3, (1.0, 0.0, 0.0, 0.0), split='Train')])",
    "nothing": "return ReadResult([], [Finding('p.txt', 0, 'no such file')])",
    "dotted": "return GOOD(request, './')",
    "scenes": "return GOOD(request) if not request.scenes else ReadResult()",
    "sequences": "return GOOD(request) if not request.sequences else ReadResult()",
    "appending": "(place / 'p.txt').write_text('a.png b.png '); return GOOD(request)",
    "outside": "return ReadResult([Frame('../a.png', (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))])",
    "counting": "COUNT.append(1); return ReadResult([Frame(f'{len(COUNT)}.png', (0.0,) * 3, (1.0, 0.0, 0.0, 0.0))])",
    "deaf": "return GOOD(ReadRequest(place))",
    "silent": "return ReadResult()",
    "raising": "raise KeyError('p.txt')",
    "writing": "(place / 'cache').write_text('x'); return GOOD(request)",
    "printing": "print('reading'); return GOOD(request)",
    "seeding": "import random; random.seed(0); return GOOD(request)",
}


@pytest.fixture(scope="module", autouse=True)
def zoo_of_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The plugin pz-zoo with models that keep and break the contract."""
    site = hostile.install_models(tmp_path_factory.mktemp("site"))
    names = {name: name.title() for name, *_ in CASES if f"class {name.title()}(" in BROKEN}
    hostile.install(site, "broken", hostile.HOOK.format(names=names, name="broken"))
    hostile.install(site, "nosy", NOSY)
    hostile.install(site, "modifiers", MODIFIER_HOOK)
    (site / "pz_broken_modifiers.py").write_text(MODIFIERS)
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
