import importlib.util
import sys
import unittest
from pathlib import Path

from .pure_case import PureCase

FOLDER = Path(__file__).resolve().parents[1] / "devtools"


@unittest.skipUnless(importlib.util.find_spec("hypothesis"), "a tool of development")
class TestFuzz(PureCase):
    """`./dev fuzz` for a moment, so that it goes on working."""

    def test_each_property_holds_for_some_values(self):
        spec = importlib.util.spec_from_file_location(
            "bj_fuzz_pure", FOLDER / "fuzz_pure.py"
        )
        fuzz = sys.modules["bj_fuzz_pure"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(fuzz)
        package = __package__.rpartition(".")[0]
        properties = fuzz.properties(package)
        self.assertGreater(len(properties), 12)
        for name, prove in properties.items():
            with self.subTest(name):
                self.assertEqual(fuzz.play(prove, seed=1, number=0, examples=4), "")

    def test_a_failure_is_told_with_the_value(self):
        spec = importlib.util.spec_from_file_location(
            "bj_fuzz_pure", FOLDER / "fuzz_pure.py"
        )
        fuzz = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(fuzz)

        def fails(value):
            assert "o" not in value

        for number in (0, 1):
            text = fuzz.play((fuzz.words, fails), seed=1, number=number)
            self.assertIn("fails(\n    value=", text)
