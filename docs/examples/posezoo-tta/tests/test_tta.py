"""A model with `+tta` keeps what every model of the zoo promises, with every infusion."""

from posezoo.testing import ModelConformance


class TestTta(ModelConformance):
    model = "posenet+tta"
