import base64
import json
import math
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytz
from markupsafe import Markup

from ..tools import convert
from ..tools.message import Rule
from .pure_case import PureCase


def rule(field_type, **kwargs):
    return Rule(
        line_id=1, api_key="k", key_path=("k",), field_type=field_type, **kwargs
    )


STATES = ("draft", "done", "1")


def typed_rule(field_type):
    """Return a rule with choices, which only a selection and a reference look at."""
    models = ("res.partner",)
    return rule(field_type, selection=models if field_type == "reference" else STATES)


JAN_31 = datetime(2025, 1, 31, 10, 0)


class TestToField(PureCase):
    def test_fitting_values_become_what_the_orm_takes(self):
        for field_type, value, expected in [
            ("char", "ї", "ї"),
            ("char", "", ""),
            ("text", 12, "12"),
            ("html", 12.5, "12.5"),
            ("integer", 12, 12),
            ("integer", "12", 12),
            ("integer", " -12 ", -12),
            ("integer", "12.0", 12),
            ("integer", 12.0, 12),
            ("integer", 0, 0),
            ("integer", 2**31 - 1, 2**31 - 1),
            ("integer", -(2**31), -(2**31)),
            ("float", 12, 12.0),
            ("float", "12.50", 12.5),
            ("float", "-.5e1", -5.0),
            ("monetary", 0.1, 0.1),
            ("monetary", 10**30, 1e30),
            ("boolean", True, True),
            ("boolean", 0, False),
            ("boolean", "1", True),
            ("boolean", "FALSE", False),
            ("date", "2025-01-31", date(2025, 1, 31)),
            ("date", date(2025, 1, 31), date(2025, 1, 31)),
            ("selection", "done", "done"),
            ("selection", 1, "1"),
            ("binary", "aGk=", "aGk="),
            ("binary", "aG\r\nk=", "aGk="),
            ("binary", b"aGk=", "aGk="),
            ("binary", "", ""),
            ("many2one", 7, 7),
            ("many2one", "7", 7),
            ("many2one_reference", 7, 7),
            ("one2many", [1, "2", 1], [1, 2]),
            ("many2many", [], []),
            ("reference", "res.partner,7", "res.partner,7"),
            ("json", {"a": [1]}, {"a": [1]}),
            ("properties", [{"name": "x"}], [{"name": "x"}]),
        ]:
            with self.subTest(field_type=field_type, value=value):
                result = convert.to_field(typed_rule(field_type), value)
                self.assertEqual(result, expected)
                self.assertIs(type(result), type(expected))

    def test_null_clears_every_type(self):
        for field_type in convert.WRITERS:
            with self.subTest(field_type=field_type):
                self.assertIs(convert.to_field(rule(field_type), None), False)

    def test_values_that_do_not_fit_are_refused_with_expected_and_got(self):
        for field_type, value, message in [
            ("char", True, "expected a text, got true"),
            ("text", {"a": 1}, "expected a text, got an object"),
            ("html", ["a"], "expected a text, got an array"),
            ("integer", True, "expected a whole number, got true"),
            ("integer", "abc", 'expected a whole number, got "abc"'),
            ("integer", "", 'expected a whole number, got ""'),
            ("integer", "1_000", 'expected a whole number, got "1_000"'),
            ("integer", "１２", 'expected a whole number, got "１２"'),
            ("integer", 12.5, "expected a whole number, got 12.5"),
            ("integer", math.inf, "expected a whole number, got Infinity"),
            (
                "integer",
                2**31,
                "expected a whole number from -2147483648 to 2147483647, got 2147483648",
            ),
            ("float", "abc", 'expected a number, got "abc"'),
            ("float", "12,5", 'expected a number, got "12,5"'),
            ("float", "nan", 'expected a number, got "nan"'),
            ("float", "1e999", 'expected a number, got "1e999"'),
            ("float", -1e308, "expected a number up to 1e+200, got -1e+308"),
            ("float", math.nan, "expected a number, got NaN"),
            ("float", 10**400, "expected a number, got 1" + "0" * 39),
            ("monetary", False, "expected a number, got false"),
            ("boolean", "yes", 'expected true or false, got "yes"'),
            ("boolean", 2, "expected true or false, got 2"),
            ("boolean", "", 'expected true or false, got ""'),
            ("boolean", [], "expected true or false, got an array"),
            ("date", "31.01.2025", 'expected a date YYYY-MM-DD, got "31.01.2025"'),
            ("date", "20250131", 'expected a date YYYY-MM-DD, got "20250131"'),
            ("date", "2025-02-30", 'expected a date YYYY-MM-DD, got "2025-02-30"'),
            ("date", 20250131, "expected a date YYYY-MM-DD, got 20250131"),
            (
                "date",
                "2025-01-31T10:00:00Z",
                'expected a date YYYY-MM-DD without a time, got "2025-01-31T10:00:00Z"',
            ),
            ("selection", "x", 'expected one of "draft", "done", "1", got "x"'),
            ("selection", True, 'expected one of "draft", "done", "1", got true'),
            ("binary", "a", 'expected base64 text, got "a"'),
            ("binary", "aG!!k=", 'expected base64 text, got "aG!!k="'),
            ("binary", "aGk", 'expected base64 text, got "aGk"'),
            ("binary", "a-_=", 'expected base64 text, got "a-_="'),
            ("binary", "їїїї", 'expected base64 text, got "їїїї"'),
            ("binary", 5, "expected base64 text, got 5"),
            ("many2one", True, "expected an id (a whole number above 0), got true"),
            ("many2one", 1.0, "expected an id (a whole number above 0), got 1.0"),
            ("many2one", 0, "expected an id (a whole number above 0), got 0"),
            ("many2one", "x", 'expected an id (a whole number above 0), got "x"'),
            ("many2one", 2**31, "expected an id (a whole number above 0), got 2147483648"),
            ("many2one", {"id": 1}, "expected an id (a whole number above 0), got an object"),
            ("many2many", 1, "expected a list of ids, got 1"),
            (
                "one2many",
                [[0, 0, {"name": "x"}]],
                "expected an id (a whole number above 0), got an array",
            ),
            ("reference", "7", 'expected a reference "model,id", got "7"'),
            ("reference", 7, 'expected a reference "model,id", got 7'),
            ("reference", "res.users,7", 'expected a reference to one of "res.partner", got "res.users,7"'),
        ]:  # fmt: skip
            with self.subTest(field_type=field_type, value=value):
                with self.assertRaises(convert.ConvertError) as caught:
                    convert.to_field(typed_rule(field_type), value)
                self.assertEqual(caught.exception.message, message)
                self.assertIsInstance(caught.exception, ValueError)

    def test_a_long_value_is_shown_cut_and_a_long_selection_too(self):
        with self.assertRaisesRegex(convert.ConvertError, '"x{40}…"$'):
            convert.to_field(rule("integer"), "x" * 10**6)
        many = tuple(f"v{index}" for index in range(100))
        with self.assertRaisesRegex(convert.ConvertError, '"v19", …, got "x"$'):
            convert.to_field(rule("selection", selection=many), "x")

    def test_a_selection_without_known_values_takes_any_text(self):
        self.assertEqual(convert.to_field(rule("selection"), "any"), "any")

    def test_a_text_longer_than_the_field_is_refused_not_cut(self):
        self.assertEqual(convert.to_field(rule("char", size=3), "abc"), "abc")
        with self.assertRaisesRegex(
            convert.ConvertError, "at most 3 characters, got 4"
        ):
            convert.to_field(rule("char", size=3), "abcd")

    def test_datetimes_become_naive_utc_without_fraction(self):
        for value, expected in [
            ("2025-01-31T10:00:00Z", JAN_31),
            ("2025-01-31t10:00:00z", JAN_31),
            ("2025-01-31 10:00:00", JAN_31),
            ("2025-01-31T10:00", JAN_31),
            ("2025-01-31T12:00:00+02:00", JAN_31),
            ("2025-01-31T12:00:00 +0200", JAN_31),
            ("2025-01-31T04:30:00-05:30", JAN_31),
            ("2025-01-31T12+02", None),
            ("2025-01-31T12:00+02", JAN_31),
            ("2025-01-31T10:00:00.5Z", JAN_31),
            ("2025-01-31T10:00:00,123456789Z", JAN_31),
            ("2025-01-31", datetime(2025, 1, 31)),
            ("2025-01-01T00:30:00+01:00", datetime(2024, 12, 31, 23, 30)),
            (datetime(2025, 1, 31, 10, 0, 0, 999), JAN_31),
            (JAN_31.replace(tzinfo=timezone(timedelta(0))), JAN_31),
            (date(2025, 1, 31), datetime(2025, 1, 31)),
            ("0001-01-01T00:00:00+14:00", None),
            ("2025-02-30T10:00:00Z", None),
            ("2025-01-31T24:00:00Z", None),
            ("2025-01-31T10:00:60Z", None),
            ("2025-01-31T10:00:00+24:00", None),
            ("2025-01-31T10:00:00+02:60", None),
            ("2025-W05-5", None),
            ("20250131T100000Z", None),
            ("1738317600", None),
            (1738317600, None),
            ("", None),
            (True, None),
        ]:
            with self.subTest(value=value):
                if expected is None:
                    with self.assertRaisesRegex(convert.ConvertError, "ISO 8601"):
                        convert.to_field(rule("datetime"), value)
                else:
                    result = convert.to_field(rule("datetime"), value)
                    self.assertEqual(result, expected)

    def test_a_datetime_without_offset_is_of_the_given_time_zone(self):
        for zone in (ZoneInfo("Europe/Kiev"), pytz.timezone("Europe/Kiev")):
            for value, expected in [
                ("2025-01-31T12:00:00", JAN_31),
                ("2025-07-31T12:00:00", datetime(2025, 7, 31, 9)),
                ("2025-01-31T12:00", JAN_31),
                ("2025-01-31T12:00:00Z", datetime(2025, 1, 31, 12)),
                ("2025-01-31T12:00:00+00:00", datetime(2025, 1, 31, 12)),
                ("0001-01-01", None),
            ]:
                with self.subTest(zone=type(zone), value=value):
                    if expected is None:
                        with self.assertRaises(convert.ConvertError):
                            convert.to_field(rule("datetime"), value, tz=zone)
                    else:
                        result = convert.to_field(rule("datetime"), value, tz=zone)
                        self.assertEqual(result, expected)


class TestToJson(PureCase):
    def test_orm_values_become_json(self):
        for field_type, value, expected in [
            ("char", "x", "x"),
            ("char", "", ""),
            ("char", False, None),
            ("text", False, None),
            ("html", Markup("<p>x</p>"), "<p>x</p>"),
            ("html", False, None),
            ("selection", "draft", "draft"),
            ("selection", False, None),
            ("integer", 0, 0),
            ("integer", 5, 5),
            ("integer", False, None),
            ("float", 0.0, 0.0),
            ("monetary", 1.5, 1.5),
            ("boolean", False, False),
            ("boolean", True, True),
            ("boolean", None, False),
            ("date", date(2025, 1, 31), "2025-01-31"),
            ("date", date(33, 1, 1), "0033-01-01"),
            ("date", False, None),
            ("datetime", JAN_31, "2025-01-31T10:00:00Z"),
            ("datetime", datetime(2025, 1, 31, 10, 0, 0, 999999), "2025-01-31T10:00:00Z"),
            ("datetime", False, None),
            ("binary", b"aGk=", "aGk="),
            ("binary", "aGk=", "aGk="),
            ("binary", False, None),
            ("many2one", 7, 7),
            ("many2one", False, None),
            ("one2many", [1, 2], [1, 2]),
            ("many2many", (1, 2), [1, 2]),
            ("many2many", [], []),
            ("many2many", False, []),
            ("reference", "res.partner,7", "res.partner,7"),
            ("reference", False, None),
            ("many2one_reference", 0, None),
            ("many2one_reference", 7, 7),
            ("json", {"a": 1}, {"a": 1}),
            ("json", False, None),
            ("properties", [{"name": "x", "value": 1}], [{"name": "x", "value": 1}]),
            ("", None, None),
        ]:  # fmt: skip
            with self.subTest(field_type=field_type, value=value):
                result = convert.to_json(field_type, value)
                self.assertEqual(result, expected)
                self.assertIs(type(result), type(expected))
                json.dumps(result, allow_nan=False)

    def test_what_is_read_can_be_written(self):
        for field_type, value in [
            ("char", "x"),
            ("integer", 5),
            ("float", 1.5),
            ("boolean", False),
            ("date", date(2025, 1, 31)),
            ("datetime", JAN_31),
            ("selection", "draft"),
            ("binary", base64.b64encode(bytes(range(256))).decode()),
            ("many2one", 7),
            ("many2many", [1, 2]),
            ("reference", "res.partner,7"),
            ("char", False),
        ]:
            with self.subTest(field_type=field_type, value=value):
                shown = convert.to_json(field_type, value)
                self.assertEqual(convert.to_field(rule(field_type), shown), value)


class TestToDomainValue(PureCase):
    def test_text_and_literals_are_typed_by_the_field(self):
        for field_type, operator, value, expected in [
            ("char", "=", "x", "x"),
            ("char", "=", 12, "12"),
            ("char", "like", "a%", "a%"),
            ("char", "=", False, False),
            ("char", "!=", None, False),
            ("char", "in", ["a", None], ["a", False]),
            ("integer", ">", "12", 12),
            ("integer", "in", ["1", 2], [1, 2]),
            ("float", "<=", "1.5", 1.5),
            ("boolean", "=", "true", True),
            ("boolean", "=", False, False),
            ("boolean", "=", "0", False),
            ("date", ">=", "2025-01-31", date(2025, 1, 31)),
            ("datetime", ">=", "2025-01-31", datetime(2025, 1, 31)),
            ("datetime", "<", "2025-01-31T12:00:00+02:00", JAN_31),
            ("selection", "=", "draft", "draft"),
            ("selection", "like", "dr", "dr"),
            ("many2one", "=", "7", 7),
            ("many2one", "ilike", "name", "name"),
            ("many2one", "child_of", "7", 7),
            ("many2one", "child_of", ["7", 8], [7, 8]),
            ("many2one", "child_of", "All", "All"),
            ("many2one", "=", False, False),
            ("many2many", "=", "7", 7),
            ("many2many", "in", [7], [7]),
            ("reference", "=", "res.partner,7", "res.partner,7"),
            ("json", "!=", False, False),
        ]:
            with self.subTest(field_type=field_type, operator=operator, value=value):
                subject = typed_rule(field_type)
                for target in (subject, field_type):
                    result = convert.to_domain_value(target, operator, value)
                    self.assertEqual(result, expected)
                    self.assertIs(type(result), type(expected))

    def test_type_confusion_is_refused(self):
        for field_type, operator, value in [
            ("integer", "=", True),
            ("integer", "=", {"$gt": 0}),
            ("integer", "=", [1]),
            ("integer", "=", "1 or 1=1"),
            ("integer", "=", "1e3"),
            ("integer", "=", "99999999999"),
            ("integer", "in", "1"),
            ("integer", "in", [[1]]),
            ("integer", "in", list(range(1001))),
            ("integer", ">", None),
            ("char", "=", ["|"]),
            ("char", "=", True),
            ("char", "like", False),
            ("char", "in", {"a": 1}),
            ("many2one", "=", True),
            ("many2one", "=", 1e3),
            ("many2one", "=", "name"),
            ("many2one", "child_of", True),
            ("boolean", "=", "maybe"),
            ("boolean", "=", ""),
            ("date", "=", ""),
            ("date", "=", "2025-01-31T10:00:00Z"),
            ("datetime", ">", "yesterday"),
            ("selection", "=", "other"),
            ("binary", "=", "aGk="),
            ("json", "=", "x"),
        ]:
            with (
                self.subTest(field_type=field_type, operator=operator, value=value),
                self.assertRaises(convert.ConvertError),
            ):
                convert.to_domain_value(typed_rule(field_type), operator, value)


NOISY = 0.1 + 0.2
ROUND = [
    (NOISY, 0.3),
    (0.7400000000000002, 0.74),
    (1.7 * 3, 5.1),
    (-1.7 * 3, -5.1),
    (1.1 + 2.2, 3.3),
    (19.99 * 100, 1999.0),
    (3.0, 3.0),
    (0.0, 0.0),
    (-0.0, -0.0),
    (0.1, 0.1),
    (1 / 3, 0.333333333333333),
    (123456789.123456, 123456789.123456),
    (999999999999.99, 999999999999.99),
    (1e-30 * 3, 3e-30),
    (2.0**53, 2.0**53),
    (1e15 + 0.3, 1e15 + 0.3),
    (1e22 / 3, 1e22 / 3),
    (1e200, 1e200),
]


class TestFloats(PureCase):
    def test_noise_goes_and_what_a_person_can_have_typed_stays(self):
        for value, expected in ROUND:
            with self.subTest(value=value):
                found = convert.round_float(value)
                self.assertEqual(repr(found), repr(expected))
                for field_type in ("float", "monetary"):
                    self.assertEqual(convert.to_json(field_type, value), expected)

    def test_every_decimal_of_fifteen_digits_comes_back(self):
        for digits in range(1, 16):
            for scale in (0, 2, digits):
                text = f"{'123456789987654'[:digits]}e-{scale}"
                with self.subTest(text):
                    self.assertEqual(convert.round_float(float(text)), float(text))

    def test_integers_that_stand_in_a_float_column_are_left_alone(self):
        self.assertIs(type(convert.to_json("float", 3)), int)
        self.assertIsNone(convert.to_json("float", None))

    def test_floats_are_found_wherever_a_script_puts_them(self):
        value = {
            "a": NOISY,
            "b": [NOISY, {"c": (NOISY, 1, True, "0.30000000000000004", None)}],
        }
        expected = {"a": 0.3, "b": [0.3, {"c": [0.3, 1, True, str(NOISY), None]}]}
        self.assertEqual(convert.round_floats(value), expected)
        self.assertIs(convert.round_floats(True), True)

    def test_those_that_were_there_before_are_kept(self):
        before = {"constant": NOISY, "rows": [{"price": 1.1}]}
        keep = convert.get_floats(before)
        self.assertEqual(keep, {NOISY, 1.1})
        after = {**before, "new": 1.7 * 3}
        self.assertEqual(convert.round_floats(after, keep), {**before, "new": 5.1})
        for value in (None, "1.5", 3, True, [], {}):
            self.assertEqual(convert.get_floats(value), set())

    def test_what_is_no_number_is_refused(self):
        for value in (math.nan, math.inf, -math.inf):
            for holder in (value, [value], {"a": ({"b": value},)}):
                with (
                    self.subTest(holder=holder),
                    self.assertRaisesRegex(convert.ConvertError, "NaN|Infinity"),
                ):
                    convert.round_floats(holder)
