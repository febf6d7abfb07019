"""Every study that is declared exists, and its settings have defaults."""

from __future__ import annotations

from importlib import import_module

import pytest
from naming import naming

from posezoo.base.errors import UsageError
from posezoo.catalogue import entries
from posezoo.studies.declared import STUDIES, declared


@pytest.mark.parametrize("name", STUDIES)
def test_declared_studies_exist(name: str) -> None:
    study = declared(name)
    module, _, function = study.run.partition(":")
    place = import_module(module)
    assert callable(getattr(place, function))
    assert place.Options()
    assert entries.grid(study.grid).rows


def test_an_unknown_one_has_near_names() -> None:
    with pytest.raises(UsageError, match=naming("occlusion")):
        declared("oclusion")
