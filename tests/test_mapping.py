from ..tools import mapping
from ..tools.mapping import ABSENT
from ..tools.message import Rule
from .pure_case import PureCase


def rules(*keys):
    return [Rule(n, key, mapping.split_key(key)) for n, key in enumerate(keys)]


class TestSplitKey(PureCase):
    def test_dots_nest_and_escaped_dots_do_not(self):
        for key, expected in [
            ("name", ("name",)),
            ("address.city", ("address", "city")),
            (r"address.geo\.lat", ("address", "geo.lat")),
            (r"a\.b\.c", ("a.b.c",)),
            ("місто", ("місто",)),
        ]:
            with self.subTest(key=key):
                self.assertEqual(mapping.split_key(key), expected)

    def test_empty_parts_are_refused(self):
        for key in ("", ".", "a.", ".a", "a..b", " ", "a. "):
            with self.subTest(key=key), self.assertRaises(ValueError):
                mapping.split_key(key)


class TestTake(PureCase):
    def test_a_value_is_found_or_absent(self):
        row = {"a": {"b": 1, "n": None}, "n": None, "list": [1], "zero": 0}
        for path, expected in [
            (("a", "b"), 1),
            (("a",), {"b": 1, "n": None}),
            (("a", "x"), ABSENT),
            (("x", "y"), ABSENT),
            (("a", "n"), None),
            (("n", "deep", "er"), None),
            (("list", "0"), ABSENT),
            (("zero",), 0),
            (("zero", "x"), ABSENT),
        ]:
            with self.subTest(path=path):
                self.assertEqual(mapping.take(row, path), expected)


class TestKeys(PureCase):
    def test_keys_that_no_rule_maps_are_unknown(self):
        known = rules("name", "address.city", "tags", r"a\.b")
        for row, expected in [
            ({"name": 1, "address": {"city": 2}, "a.b": 3}, []),
            ({"nam": 1, "address": {"zip": 2, "city": 3}}, ["address.zip", "nam"]),
            ({"address": "Lviv"}, []),
            ({"tags": [{"x": 1}]}, []),
            ({"a": {"b": 1}}, ["a"]),
            ({}, []),
        ]:
            with self.subTest(row=row):
                self.assertEqual(mapping.unknown_keys(row, known), expected)

    def test_values_where_objects_belong_are_misshapen(self):
        known = rules("name", "address.city", "address.geo.lat")
        for row, expected in [
            ({"address": {"city": 1, "geo": {"lat": 2}}}, {}),
            ({"address": "Lviv"}, {"address": "Lviv"}),
            ({"address": {"geo": [1]}}, {"address.geo": [1]}),
            ({"address": None}, {}),
            ({"address": {"geo": None}}, {}),
            ({"name": {"a": 1}}, {}),
            ({}, {}),
        ]:
            with self.subTest(row=row):
                self.assertEqual(mapping.misshapen_keys(row, known), expected)


class TestAssemble(PureCase):
    def test_columns_become_payloads_in_the_order_of_the_keys(self):
        paths = [("name",), ("address", "city"), ("address", "zip"), ("x",)]
        columns = [["A", "B"], ["L", None], [1, 2], [ABSENT, 3]]
        payloads = mapping.assemble(paths, columns, 2)
        self.assertEqual(
            payloads,
            [
                {"name": "A", "address": {"city": "L", "zip": 1}},
                {"name": "B", "address": {"city": None, "zip": 2}, "x": 3},
            ],
        )
        self.assertEqual(list(payloads[1]), ["name", "address", "x"])

    def test_without_keys_or_records(self):
        self.assertEqual(mapping.assemble([], [], 2), [{}, {}])
        self.assertEqual(mapping.assemble([("a",)], [[]], 0), [])
        self.assertEqual(mapping.assemble([("a",)], [[1, 2]], 2), [{"a": 1}, {"a": 2}])

    def test_what_is_assembled_can_be_taken_apart(self):
        paths = [("a",), ("b", "c"), ("b", "d", "e")]
        [row] = mapping.assemble(paths, [[1], [2], [3]], 1)
        self.assertEqual([mapping.take(row, path) for path in paths], [1, 2, 3])


class TestTakePath(PureCase):
    def test_answers_are_followed_through_objects_and_lists(self):
        answer = {"data": {"items": [{"id": 7}], "a.b": 1}}
        for path, expected in [
            ("", answer),
            ("data.items.0.id", 7),
            (r"data.a\.b", 1),
            ("data.items.1", ABSENT),
            ("data.items.id", ABSENT),
            ("data.items.0.id.x", ABSENT),
            ("nothing", ABSENT),
        ]:
            with self.subTest(path=path):
                self.assertEqual(mapping.take_path(answer, path), expected)
