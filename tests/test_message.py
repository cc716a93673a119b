from ..tools.message import loads_foreign
from .pure_case import PureCase


class TestLoadsForeign(PureCase):
    def test_it_reads_as_python_does(self):
        self.assertEqual(loads_foreign('{"a": [1.0, "b"]}'), {"a": [1.0, "b"]})
        self.assertEqual(loads_foreign(b"[1]"), [1])

    def test_what_nests_too_deep_for_python_is_no_json_either(self):
        for text in ("[" * 100_000 + "]" * 100_000, '{"a":' * 100_000, "{"):
            with self.subTest(text[:5]), self.assertRaises(ValueError):
                loads_foreign(text)
