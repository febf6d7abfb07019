"""A model with `+route` keeps what every model of the zoo promises, with every infusion."""

from posezoo.testing import ModelConformance


class TestRoute(ModelConformance):
    model = "posenet+route"
