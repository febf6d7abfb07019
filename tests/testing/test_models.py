"""The suite of models: one that keeps the contract passes, and each check finds the model that breaks it."""

from __future__ import annotations

import pytest
from broken_suites import CASES

from posezoo.base.errors import PluginError
from posezoo.testing import ModelConformance


class TestGood(ModelConformance):
    """A model that keeps the contract, through pytest, as a plugin's own test does it."""

    model = "good"
    traced = ("+hyper=two",)


class TestAux(ModelConformance):
    """A part that only a loss of its own reads."""

    model = "good+aux"
    infusions = ("", "+hyper=two")
    traced = ()


class TestStill(ModelConformance):
    """A spread that leaves the pose alone, as its modifier says."""

    model = "good+still"
    infusions = ("", "+hyper=two")
    traced = ()


@pytest.mark.parametrize(("name", "check", "infusion", "problem"), CASES, ids=[f"{n}-{c}" for n, c, *_ in CASES])
def test_each_check_finds_what_it_looks_for(name: str, check: str, infusion: str, problem: str) -> None:
    suite = type("Suite", (ModelConformance,), {"model": name})()
    raised = RuntimeError if name == "sides" else PluginError
    with pytest.raises(raised, match=problem):
        getattr(suite, check)(infusion)


def test_every_check_has_a_case() -> None:
    checks = {name for name in dir(ModelConformance) if name.startswith("test_")}
    assert {check for _, check, *_ in CASES} == checks


def test_a_batch_that_torch_fixed_comes_with_the_cure() -> None:
    from posezoo.testing import models

    told = str(models._failed("torch.export", ValueError("batch: the code specialized it to be a constant (3)")))
    assert "images.shape[0] instead of len(images)" in told
    assert "shape[0]" not in str(models._failed("torch.export", ValueError("something else")))
