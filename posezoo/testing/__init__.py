"""The contract of models and readers, as test classes for plugins: subclass them in a test file.

class TestMine(posezoo.testing.ModelConformance):
    model = "mine"
"""

from posezoo.testing.models import ModelConformance
from posezoo.testing.readers import ReaderConformance

__all__ = ["ModelConformance", "ReaderConformance"]
