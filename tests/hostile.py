"""Plugins that do wrong whatever a plugin can, as pip would leave them: a module and a dist-info folder."""

from __future__ import annotations

import textwrap
from pathlib import Path
from subprocess import CompletedProcess

from another_python import run_python

MODEL = """
    from posezoo.plugin import ModelSpec, hookimpl

    @hookimpl
    def posezoo_models():
        return (ModelSpec(name="{name}", build="posezoo_posenet.model:PoseNet",
                          config="posezoo_posenet.model:PoseNetConfig", summary="a model{more}),)
"""

# Two linear layers on the mean colour keep the contract; each class after it breaks the contract in one way.
MODELS = """
import os, random, signal, sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from posezoo.nn.geometry import NUMBERS
from posezoo.nn.heads import Head, MLPHead
from posezoo.nn.model import ModelConfig, PoseModel
from posezoo.nn.outputs import Features

@dataclass(frozen=True)
class Config(ModelConfig):
    pass

@dataclass(frozen=True)
class NoConfig:
    crop: int = 32

class Good(PoseModel):
    def __init__(self, config):
        super().__init__(config)
        self.image_dim = 8
        self.stem = nn.Linear(3, 8)
        self.position_head = MLPHead((8, 8, 3))
        self.orientation_head = MLPHead((8, 8, NUMBERS[config.rotation]))
    def encode(self, images, scene=None):
        x = torch.tanh(self.stem(images.mean((2, 3))))
        return Features(x, x, x)

class NoModel(nn.Module):
    def __init__(self, config):
        super().__init__()

class NoHead(Head):
    in_dim, num_layers = 8, 1
    def __init__(self, out):
        super().__init__()
        self.out_dim = out
    def layer(self, index, x, scene): return x[:, : self.out_dim]
    def activate(self, x): return x
    def deepened(self, width): return self

class Empty(PoseModel):
    def __init__(self, config):
        super().__init__(config)
        self.image_dim, self.position_head, self.orientation_head = 8, NoHead(3), NoHead(4)
    def encode(self, images, scene=None):
        x = images.mean((2, 3)).repeat(1, 3)[:, :8]
        return Features(x, x, x)

class RaisingInit(Good):
    def __init__(self, config): raise ValueError("no such width")
class ExitingInit(Good):
    def __init__(self, config): sys.exit(3)
class SeedingInit(Good):
    def __init__(self, config):
        super().__init__(config)
        np.random.seed(0)
        os.chdir("/")
class SixNumbers(Good):
    def __init__(self, config):
        super().__init__(config)
        self.orientation_head = MLPHead((8, 6))
class PlainHeads(Good):
    def __init__(self, config):
        super().__init__(config)
        self.position_head = nn.Linear(8, 3)
class NanWeight(Good):
    def __init__(self, config):
        super().__init__(config)
        with torch.no_grad(): self.stem.weight[0, 0] = float("nan")
class NonLeaf(Good):
    def __init__(self, config):
        super().__init__(config)
        self.stem._parameters["weight"] = self.stem.weight * 2
class WrongWidth(Good):
    def __init__(self, config):
        super().__init__(config)
        self.image_dim = 9
class Nan(Good):
    def encode(self, images, scene=None): return Features(*(x * float("nan") for x in super().encode(images)[:3]))
class NoFeatures(Good):
    def encode(self, images, scene=None): return images.mean((2, 3))
class OnePose(Good):
    def encode(self, images, scene=None): return super().encode(images[:1])
class Raising(Good):
    def encode(self, images, scene=None): raise RuntimeError("tables do not fit")
class Exiting(Good):
    def encode(self, images, scene=None): sys.exit(5)
class Counting(Good):
    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("calls", torch.zeros(()))
    def encode(self, images, scene=None):
        self.calls += 1
        return super().encode(images)
class Global(Good):
    def touch(self): ...
    def encode(self, images, scene=None):
        self.touch()
        return super().encode(images)
class Seeding(Global):
    def touch(self): torch.manual_seed(3)
class Drawing(Global):
    def touch(self): random.random(); np.random.rand()
class Moving(Global):
    def touch(self): os.chdir("/")
class Threads(Global):
    def touch(self): torch.set_num_threads(3)
class Dtype(Global):
    def touch(self): torch.set_default_dtype(torch.float64)
class Gradients(Global):
    def touch(self): torch.set_grad_enabled(True)
class Signals(Global):
    def touch(self): signal.signal(signal.SIGUSR1, lambda *_: None)
class Late(Good):
    calls = 0
    def encode(self, images, scene=None):
        if self.training:
            Late.calls += 1
            if Late.calls == 3: raise KeyError("row 17")
        return super().encode(images)
class Raises(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x.clone()
    @staticmethod
    def backward(ctx, gradient): raise KeyError("row 17")
class LateBackward(Good):
    calls = 0
    def encode(self, images, scene=None):
        LateBackward.calls += self.training
        found = super().encode(images)
        if self.training and LateBackward.calls == 3:
            return found._replace(position=Raises.apply(found.position))
        return found
class LateValidation(Good):
    calls = judged = 0
    def encode(self, images, scene=None):
        LateValidation.calls += self.training
        if not self.training and LateValidation.calls >= 3:
            LateValidation.judged += 1
            if LateValidation.judged == 1: raise KeyError("row 17")
        return super().encode(images)
class LateReport(Good):
    calls = judged = 0
    def encode(self, images, scene=None):
        LateReport.calls += self.training
        if not self.training and LateReport.calls >= 6:
            LateReport.judged += 1
            if LateReport.judged == 2: raise KeyError("row 17")
        return super().encode(images)
"""
HOOK = """
    from posezoo.plugin import ModelSpec, hookimpl

    @hookimpl
    def posezoo_models():
        names = {names!r}
        special = {{"no-config": "NoConfig"}}
        return tuple(ModelSpec(name, "pz_{name}_models:" + cls, "pz_{name}_models:" + special.get(name, "Config"), "x")
                     for name, cls in names.items())
"""


def _model_name(name: str) -> str:
    return "".join("-" * (letter.isupper() and n > 0) + letter.lower() for n, letter in enumerate(name))


_LINES = [line.removeprefix("class ") for line in MODELS.splitlines() if line.startswith("class ")]
_NAMES = [line.partition("(")[0].partition(":")[0] for line in _LINES] + ["NotThere"]
CLASSES = {
    _model_name(name): name for name in _NAMES if name not in ("Config", "NoConfig", "NoHead", "Global", "Raises")
}
CLASSES["no-config"] = "Good"
"""Model name -> class in `MODELS`: `six-numbers` is SixNumbers."""


def install(folder: Path, name: str, code: str, entry: str = "") -> None:
    """What `pip install` leaves behind: a module and a dist-info folder with an entry point."""
    (folder / f"pz_{name}.py").write_text(textwrap.dedent(code))
    info = folder / f"pz_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: pz-{name.replace('_', '-')}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[posezoo]\n{entry or name} = pz_{name}\n")


def install_models(folder: Path, name: str = "zoo") -> Path:
    """The plugin pz-zoo with every model of `CLASSES`."""
    install(folder, name, HOOK.format(names=CLASSES, name=name))
    (folder / f"pz_{name}_models.py").write_text(MODELS)
    return folder


def posezoo(*arguments: str, path: Path | None = None, **env: str) -> CompletedProcess[str]:
    """The real command line in a process of its own."""
    return run_python("from posezoo.cli import main; main()", *arguments, path=path, **env)


def assert_fails(done: CompletedProcess[str], code: int, *words: str) -> None:
    """One line on stderr that has all `words`, the exit code, no traceback."""
    assert done.returncode == code, done
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("posezoo: error: "), done.stderr
    assert len(done.stderr) <= 241
    assert "Traceback" not in done.stdout + done.stderr
    for word in words:
        assert word in done.stderr, (word, done.stderr)
