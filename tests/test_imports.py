"""Importing posezoo changes nothing of the process: it may be part of somebody else's."""

from __future__ import annotations

from another_python import run_python

# the libraries come first: what they set for the process is not ours
CODE = """
import importlib, pkgutil, sys, warnings
import accelerate, jinja2, matplotlib.figure, pydantic, PIL.Image, roma, timm, torch, torchvision.transforms.v2, typer

def everything(name):
    module = importlib.import_module(name)
    yield module
    for found in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{name}."):
        if not found.name.endswith("__main__"):
            yield from everything(found.name)

plugins = [found.name for found in pkgutil.iter_modules() if found.name.startswith("posezoo_")]
own = [name for name in sys.modules if name.startswith("posezoo")]
assert plugins and not own, (plugins, own)
before, streams = list(warnings.filters), (sys.stdout, sys.stderr, sys.excepthook)
modules = [module.__name__ for name in ("posezoo", *plugins) for module in everything(name)]
assert len(modules) > 100, modules
print([each for each in warnings.filters if each not in before], warnings.filters == before)
print((sys.stdout, sys.stderr, sys.excepthook) == streams)
"""


def test_no_import_changes_the_process() -> None:
    ended = run_python(CODE)
    assert (ended.returncode, ended.stdout) == (0, "[] True\nTrue\n"), ended
