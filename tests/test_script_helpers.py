import datetime as dt
import logging
import types

import pytz
from freezegun import freeze_time

from ..tools import script_helpers as helpers
from ..tools.message import OutboundResponse
from .pure_case import PureCase


class TestDatetime(PureCase):
    def setUp(self):
        super().setUp()
        self.datetime = helpers.Datetime()

    @freeze_time("2025-01-31 10:00:00")
    def test_module_style_and_class_style_give_the_same(self):
        datetime, moment = self.datetime, dt.datetime(2025, 1, 31, 10)
        for name, value in [
            ("module now", datetime.datetime.now()),
            ("class now", datetime.now()),
            ("utcnow", datetime.utcnow()),
            (
                "module strptime",
                datetime.datetime.strptime("2025-01-31 10", "%Y-%m-%d %H"),
            ),
            ("class strptime", datetime.strptime("2025-01-31 10", "%Y-%m-%d %H")),
            ("fromisoformat", datetime.fromisoformat("2025-01-31T10:00:00")),
            ("combine", datetime.combine(datetime.date.today(), datetime.time(10))),
            ("call", datetime(2025, 1, 31, 10)),
            ("timedelta", datetime(2025, 1, 30, 10) + datetime.timedelta(days=1)),
        ]:
            with self.subTest(name):
                self.assertEqual(value, moment)

    def test_the_z_of_an_api_is_utc(self):
        for text in ("2025-01-31T10:00:00Z", "2025-01-31T12:00:00+02:00"):
            value = self.datetime.fromisoformat(text)
            self.assertEqual(value.timestamp(), 1738317600)

    def test_isinstance_works_with_it(self):
        self.assertIsInstance(dt.datetime.now(), self.datetime)
        self.assertNotIsInstance(dt.date.today(), self.datetime)

    def test_a_wrong_name_is_answered_with_the_right_ones(self):
        for helper in (self.datetime, helpers.Time(), helpers.Re(), helpers.Json()):
            with self.assertRaisesRegex(AttributeError, "is not available; there is "):
                _ = helper.nothing

    def test_local_midnight_becomes_utc(self):
        local = helpers.local_datetime(pytz.timezone("Europe/Kyiv"))
        value = helpers.Datetime(local).combine(dt.date(2025, 7, 1), dt.time())
        value = (value + dt.timedelta(days=1)).to_utc()
        self.assertEqual(value.strftime("%Y-%m-%d %H:%M"), "2025-07-01 21:00")


class TestRe(PureCase):
    def setUp(self):
        super().setUp()
        self.re = helpers.Re()

    def test_it_answers_as_python_does(self):
        re = self.re
        self.assertEqual(re.sub(r"\D", "", "+380 (50) 123"), "38050123")
        self.assertEqual(re.sub("a", lambda m: m[0].upper(), "aba", count=1), "Aba")
        self.assertEqual(re.findall(r"\d+", "a1b22"), ["1", "22"])
        self.assertEqual(re.split(r"[,;]\s*", "a, b;c"), ["a", "b", "c"])
        self.assertEqual(re.match("(a)(b)?", "ab").groups(), ("a", "b"))
        self.assertEqual(re.search("B", "abc", re.IGNORECASE).start(), 1)
        self.assertIsNone(re.fullmatch("a", "ab"))
        self.assertTrue(re.fullmatch(r"[\w.+-]+@([\w-]{1,60}\.){1,8}[a-z]+", "a@b.ua"))
        self.assertTrue(re.fullmatch(r"(?:\d{1,3},)*\d{3}", "12,345,678"))
        self.assertTrue(re.fullmatch(r"(?:-?\d)+", "1-23"))
        self.assertTrue(re.fullmatch(r"(?:red|blue|green)+", "redblue"))
        self.assertTrue(re.fullmatch(r"(?:[a-z]|\d)+", "a1"))
        self.assertTrue(re.fullmatch(r"'(?:\\.|[^'\\])*'", r"'a\'b'"))
        self.assertTrue(re.fullmatch(r"(?:\\.|[^\\])*", r"a\b"))

    def test_what_could_take_for_ever_is_refused(self):
        for pattern, text in [
            ("a" * 501, "a"),
            ("a", "a" * 1_000_001),
            ("x*x*x*y", "x" * 3000),
            ("x*x*y", "x" * 20_000),
            ("x*[yz]", "x" * 20_000),
            (".*a.*b", "a" * 2000),
            ("a{0,90}a{0,90}a{0,90}b", "a" * 2000),
            ("a?" * 24 + "a" * 24, "a"),
            ("(a|a)" * 24 + "b", "a"),
            (r"(a*)\1b", "a" * 2000),
            (r"(?=a*a*b)a", "a" * 2000),
            (r"\s*,?\s*\d", " " * 2000),
            (r"(a+)+$", "a"),
            (r"(a*)*", "a"),
            (r"(?:x|(\w+\s?)*)$", "a"),
            (r"((a+){2,}){3}", "a"),
            (r"(a+?)*?b", "a"),
            (r"(?=(a+)+)", "a"),
            (r"(a{1,200})+", "a"),
            (r"(a|aa)+$", "a"),
            (r"(a|a|a)*b", "a"),
            (r"(?:(?:ab|ab?)c?)+$", "a"),
            (r"(aa?)+$", "a"),
            (r"(a?){40}a{40}", "a"),
            (r"(?:,|\d{1,3}\d)+$", "a"),
            (r"(?i:a|Ab)+$", "a"),
            (r"(?:\w|_x)+$", "a"),
            (r"(?:[^x]|[^y]z)+$", "a"),
            (r"(x(?=(a|aa)+$))", "a"),
        ]:
            with self.subTest(pattern=pattern[:20]), self.assertRaises(ValueError):
                self.re.search(pattern, text)

    def test_a_text_may_be_long_where_nothing_is_read_twice(self):
        text = "ab 12, " * 20_000
        self.assertEqual(len(self.re.findall(r"\d+", text)), 20_000)
        self.assertEqual(len(self.re.sub(r"\s+", "", text)), 100_000)
        self.assertTrue(self.re.search("12", text))
        self.assertTrue(self.re.fullmatch(r"\s*(\w*)=(.*)", "a=" + "b" * 3000))
        self.assertTrue(self.re.search(r"^\s*(.*?)\s*$", " " * 180 + "a "))

    def test_what_is_found_does_not_lead_to_a_pattern_without_limits(self):
        found = self.re.search("(?P<first>a)(b)?", "xab")
        self.assertEqual(found.groupdict(), {"first": "a"})
        self.assertEqual((found[0], found["first"], found.span()), ("ab", "a", (1, 3)))
        self.assertEqual(found.expand(r"\1-\2"), "a-b")
        self.assertEqual(self.re.sub("b", lambda m: m.group() * 2, "abc"), "abbc")
        self.assertEqual(self.re.sub("(b)", r"<\1>", "abc"), "a<b>c")
        for name in ("re", "__class__.re"):
            with self.assertRaisesRegex(
                AttributeError, "is not available|no attribute"
            ):
                _ = getattr(found, name)
        with self.assertRaises(AttributeError):
            self.re.sub("b", lambda m: m.re.pattern, "abc")

    def test_flags_that_write_to_the_console_are_refused(self):
        with self.assertRaisesRegex(ValueError, "flags are"):
            self.re.search("a", "a", 128)

    def test_a_text_cannot_grow_without_limit(self):
        text = ("a" * 900 + " ") * 100
        for repl in ("x" * 10**6, r"\g<0>" * 10**3, lambda m: "x" * 10**6):
            with self.assertRaisesRegex(ValueError, "more than 10000000"):
                self.re.sub("a+", repl, text)
        with self.assertRaisesRegex(ValueError, "more than 10000000"):
            self.re.match("a+", "a" * 3000).expand(r"\g<0>" * 10**4)


class TestFunctions(PureCase):
    def test_digests_are_hexadecimal_and_take_text_or_bytes(self):
        # RFC 4231, test case 2
        expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        message = "what do ya want for nothing?"
        self.assertEqual(helpers.hmac_sha256("Jefe", message), expected)
        self.assertEqual(helpers.hmac_sha256(b"Jefe", message.encode()), expected)
        self.assertTrue(helpers.sha256("").startswith("e3b0c44298fc1c14"))

    def test_range_has_a_limit(self):
        self.assertEqual(list(helpers.limited_range(1, 7, 2)), [1, 3, 5])
        self.assertEqual(len(helpers.limited_range(10**6)), 10**6)
        for args in [(10**6 + 1,), (10**30,), (0, -(10**9), -1)]:
            with self.subTest(args=args), self.assertRaises(ValueError):
                helpers.limited_range(*args)

    def test_json_reads_and_writes(self):
        json = helpers.Json()
        self.assertEqual(json.loads('{"a": [1]}'), {"a": [1]})
        self.assertEqual(json.dumps({"b": "ї"}, ensure_ascii=False), '{"b": "ї"}')
        with self.assertRaises(TypeError):
            json.dumps({}, cls=object)

    def test_what_nests_too_deep_is_the_error_of_any_other_text(self):
        with self.assertRaises(ValueError):
            helpers.Json().loads("[" * 100_000 + "]" * 100_000)
        with self.assertRaises(ValueError):
            OutboundResponse(200, {}, b"[" * 100_000).json()

    def test_log_writes_under_its_logger(self):
        logger = logging.getLogger("bj.api.script")
        with self.assertLogs(logger, "DEBUG") as caught:
            helpers.Log(logger)("100 %")
            helpers.Log(logger)("x", level="WARNING")
            helpers.Logger(logger).error("code %s", 5)
        self.assertEqual(
            [line.split(":")[0::2] for line in caught.output],
            [["INFO", "100 %"], ["WARNING", "x"], ["ERROR", "code 5"]],
        )
        with self.assertRaisesRegex(ValueError, "none of debug"):
            helpers.Log(logger)("x", "loud")

    def test_a_line_of_the_log_cannot_be_forged(self):
        logger = logging.getLogger("bj.api.script.test")
        logger.addFilter(helpers.keep_in_one_record)
        with self.assertLogs(logger, "DEBUG") as caught:
            helpers.Log(logger)("Ann\n2026-11-25 10:00:00,000 1 CRITICAL db odoo: down")
            helpers.Logger(logger).info("%s", "a\r\nb\rc")
            helpers.Log(logger)("100 %")
        self.assertEqual(
            [record.getMessage() for record in caught.records],
            [
                "Ann\n    2026-11-25 10:00:00,000 1 CRITICAL db odoo: down",
                "a\n    b\n    c",
                "100 %",
            ],
        )

    def test_no_helper_has_a_dict_or_is_a_function_or_module(self):
        logger = logging.getLogger("bj.api.script")
        for helper in [
            *(helpers.Datetime(), helpers.Time(), helpers.Re(), helpers.Json()),
            *(helpers.Log(logger), helpers.Logger(logger), helpers.Function(len)),
            *(helpers.Timezone(pytz.timezone), helpers.Logger(logger).info),
        ]:
            with self.subTest(helper=helper):
                self.assertNotIsInstance(helper, types.ModuleType | types.FunctionType)
                for name in ("__dict__", "__globals__"):
                    with self.assertRaises(AttributeError):
                        getattr(helper, name)
