"""The architecture `hello` keeps what every model of the zoo promises, with every infusion."""

from posezoo.testing import ModelConformance


class TestHello(ModelConformance):
    model = "hello"
