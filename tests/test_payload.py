import json
import random
import time

from ..exceptions import BadRequest, UnsupportedMediaType
from ..tools import payload
from .pure_case import PureCase


class TestLoads(PureCase):
    def test_json_values_are_read_as_they_are(self):
        for value in [
            {"a": 1, "b": [1.5, None, True, "ї"]},
            [],
            {},
            "text",
            0,
            -12,
            1e300,
            {"name": 'emoji 😀 and \\u0000 spelt out, quote " and \\ [ { } ]'},
            "[" * 100,
            {'"': ["\\", '\\"[' * 90]},
        ]:
            for ensure_ascii in (True, False):
                with self.subTest(value=value, ensure_ascii=ensure_ascii):
                    body = json.dumps(value, ensure_ascii=ensure_ascii, indent=1)
                    self.assertEqual(payload.loads(body.encode()), value)

    def test_a_byte_order_mark_is_skipped(self):
        self.assertEqual(payload.loads(b'\xef\xbb\xbf{"a":1}'), {"a": 1})

    def test_what_is_not_strict_json_is_refused_with_its_place(self):
        for body, words, line, column in [
            (b'{"a": 1', "not valid JSON", 1, 8),
            (b'{"a": 1,}', "not valid JSON", 1, 9),
            (b"{'a': 1}", "not valid JSON", 1, 2),
            (b"[1] x", "Extra data", 1, 5),
            (b'{"a":\n "x\ty"}', "control character", 2, 4),
            (b'{"a":\n  NaN}', "NaN is not JSON", 2, 3),
            (b'["NaN", -Infinity]', "-Infinity is not JSON", 1, 9),
            (b"[1, 1e999]", "out of range", 1, 5),
            (b"[1, -1e999]", "out of range", 1, 5),
            (b'{"a": "1e999",\n"n": 1e999}', "out of range", 2, 6),
            (b"[1, " + b"9" * 31 + b"]", "30 digits", 1, 5),
            (b"[1, -" + b"9" * 5000 + b"]", "30 digits", 1, 5),
            (b'{"a": 1,\n "b": {"a": 2},\n "a": 3}', '"a" is there twice', 3, 2),
            (b'[{"a": {"k": 1, "k" : 2}}]', '"k" is there twice', 1, 17),
            (b'{"a": 1, "\\u0061": 2}', '"a" is there twice', 1, 10),
            (b'{"a":\n "x\\u0000"}', "NUL", 2, 4),
            (b'{"x\\u0000": 1}', "NUL", 1, 4),
            (b'["\\\\\\u0000"]', "NUL", 1, 5),
            (b'["\\ud800"]', "surrogate", 1, 3),
            (b'["\\udc00"]', "surrogate", 1, 3),
            (b'{"\\uD83D\\uDE00\\uD83D": 1}', "surrogate", 1, 15),
            (b'["\\uD83D\\\\uDE00"]', "surrogate", 1, 3),
            (b'{"a":\n"\xff"}', "not UTF-8", 2, 2),
            ('["ї", "'.encode() + b'\xed\xa0\x80"]', "not UTF-8", 1, 8),
            ("[1]".encode("utf-16"), "not UTF-8", 1, 1),
        ]:
            with self.subTest(body=body[:60]):
                with self.assertRaises(BadRequest) as caught:
                    payload.loads(body)
                self.assertIn(words, caught.exception.description)
                self.assertEqual(
                    caught.exception.details, {"line": line, "column": column}
                )
                self.assertIn(
                    f"line {line}, column {column}", caught.exception.description
                )

    def test_an_empty_body_says_what_to_send(self):
        for body in (b"", b" \n", b"\xef\xbb\xbf"):
            with self.subTest(body=body), self.assertRaisesRegex(BadRequest, "empty"):
                payload.loads(body)

    def test_nesting_is_measured_outside_strings(self):
        deep = b"[" * 64 + b"]" * 64
        self.assertTrue(payload.loads(deep))
        self.assertTrue(payload.loads(b'{"a":' * 64 + b"1" + b"}" * 64))
        for body, column in [
            (b"[" + deep + b"]", 65),
            (b'{"a":' * 65 + b"1" + b"}" * 65, 321),
            (b'["]",' * 65 + b"1" + b',"["]' * 65, 321),
            (b'["\\"]",' * 65 + b"1" + b',"["]' * 65, 449),
            (b"[" * 100_000, 65),
            (b"[" * 100_000 + b"]" * 100_000, 65),
        ]:
            with self.subTest(body=body[:20]):
                with self.assertRaisesRegex(BadRequest, "deeper than 64") as caught:
                    payload.loads(body)
                self.assertEqual(caught.exception.details["column"], column)

    def test_random_nesting_is_judged_as_a_walk_of_the_value_would(self):
        draw = random.Random(7)

        def value(depth):
            if not depth:
                return draw.choice(["[", "]{", '"', "\\", '\\"[', 1, None])
            inner = [value(depth - 1), "]"]
            draw.shuffle(inner)
            return inner if draw.random() < 0.5 else {'k"[': inner[0], "]": inner[1]}

        for depth in (3, 5, 6, 7, 9):
            body = json.dumps(value(depth)).encode()
            with self.subTest(depth=depth):
                if depth > 6:
                    with self.assertRaises(BadRequest):
                        payload.loads(body, max_depth=6)
                else:
                    payload.loads(body, max_depth=6)

    def test_hostile_bodies_take_linear_time(self):
        size = 200_000
        for body in [
            b"[" * size,
            b'"' * size,
            b'"' + b"\\" * size,
            b'["' + b"\\ud83d" * (size // 6) + b'"]',
            b'["\\u0000' + b"\\\\" * (size // 2) + b'"]',
            b"[" + b"9" * size + b"]",
            b'{"a":1,"a":' + b'"' * size,
            b'{"a":1,"a":1' + b',"b":1' * (size // 6) + b"}",
            b" " * size + b"x",
            b'{"k"' + b" " * size + b":NaN}",
        ]:
            with self.subTest(body=body[:12]):
                start = time.process_time()
                with self.assertRaises(BadRequest):
                    payload.loads(body)
                self.assertLess(time.process_time() - start, 1)

    def test_ndjson_gives_a_list_and_names_the_line_that_is_wrong(self):
        self.assertEqual(
            payload.loads_ndjson(b'{"a":1}\r\n\n{"a":2}\n'), [{"a": 1}, {"a": 2}]
        )
        self.assertEqual(payload.loads_ndjson(b""), [])
        for body, words, line in [
            (b'{"a":1}\n[1]', "Line 2 is not a JSON object", 2),
            (b'{"a":1}\n\n{"a":', "line 3, column 6", 3),
            (b'{"a":NaN}', "line 1, column 6", 1),
        ]:
            with self.subTest(body=body):
                with self.assertRaisesRegex(BadRequest, words) as caught:
                    payload.loads_ndjson(body)
                self.assertEqual(caught.exception.details["line"], line)


class TestDumps(PureCase):
    def test_json_is_compact_utf8_without_nan(self):
        self.assertEqual(
            payload.dumps({"a": [1, "ї"], "b": None}),
            '{"a":[1,"ї"],"b":null}'.encode(),
        )
        with self.assertRaises(ValueError):
            payload.dumps(float("nan"))


class TestContentType(PureCase):
    def test_json_types_are_taken_and_a_missing_one_is_tolerated(self):
        for header, has_body, expected in [
            (None, True, "json"),
            ("", True, "json"),
            ("application/json", True, "json"),
            ("Application/JSON; charset=UTF-8", True, "json"),
            ('application/json;charset="utf-8"', True, "json"),
            ("application/vnd.api+json; version=1", True, "json"),
            ("application/x-ndjson", True, "ndjson"),
            ("text/plain", False, "json"),
        ]:
            with self.subTest(header=header):
                self.assertEqual(payload.check_content_type(header, has_body), expected)

    def test_other_types_of_a_body_are_refused_with_advice(self):
        for header in [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/json",
            "text/plain",
            "application/jsonp",
            "application/json; charset=windows-1251",
            ";",
        ]:
            with (
                self.subTest(header=header),
                self.assertRaisesRegex(UnsupportedMediaType, "JSON|UTF-8"),
            ):
                payload.check_content_type(header, True)

    def test_a_compressed_body_is_refused_by_its_encoding(self):
        for encoding, has_body in ((None, True), ("Identity", True), ("gzip", False)):
            found = payload.check_content_type("application/json", has_body, encoding)
            self.assertEqual(found, "json")
        for content_type in ("application/json", None):
            with self.assertRaisesRegex(UnsupportedMediaType, "encoding gzip is not"):
                payload.check_content_type(content_type, True, "gzip")

    def test_an_accept_header_admits_json_or_does_not(self):
        for accept, expected in (
            (None, True),
            (" ", True),
            ("*/*", True),
            ("text/html, application/*;q=0.1", True),
            ("APPLICATION/JSON; charset=utf-8", True),
            ("application/problem+json", True),
            ("text/html", False),
            ("application/json;q=0, text/html", False),
            ("application/jsonp", False),
        ):
            with self.subTest(accept=accept):
                self.assertIs(payload.accepts_json(accept), expected)


class TestContentTypeOfABody(PureCase):
    def test_json_is_known_by_its_names(self):
        for content_type, expected in [
            ("application/json", True),
            (" Application/JSON ; charset=utf-8", True),
            ("application/vnd.api+json", True),
            ("application/jsonp", False),
            ("text/json", False),
            ("text/plain; note=application/json", False),
            ("", False),
        ]:
            with self.subTest(content_type):
                self.assertIs(payload.is_json_type(content_type), expected)

    def test_the_charset_is_utf_8_unless_it_is_said(self):
        for content_type, expected in [
            ("text/xml", "utf-8"),
            ("text/xml; charset=", "utf-8"),
            ('text/xml; a=b; Charset="Windows-1251"', "windows-1251"),
            ("charset=x", "utf-8"),
        ]:
            with self.subTest(content_type):
                self.assertEqual(payload.get_charset(content_type), expected)


class TestForm(PureCase):
    def test_an_object_becomes_fields_and_back(self):
        for value, body in [
            ({"a": "1", "b": "x y&z"}, b"a=1&b=x+y%26z"),
            ({"a": {"b": {"c": "ї"}}}, b"a%5Bb%5D%5Bc%5D=%D1%97"),
            ({"l": [{"q": "1"}, {"q": "2"}]}, b"l%5B0%5D%5Bq%5D=1&l%5B1%5D%5Bq%5D=2"),
        ]:
            with self.subTest(value=value):
                self.assertEqual(payload.dumps_form(value), body)
                self.assertEqual(payload.loads_form(body), value)

    def test_json_values_become_text(self):
        self.assertEqual(
            payload.dumps_form({"a": True, "b": None, "c": 1.5, "d": 2}),
            b"a=true&b=&c=1.5&d=2",
        )

    def test_repeated_fields_become_a_list(self):
        for body in (b"c=1&c=2", b"c[]=1&c[]=2"):
            with self.subTest(body=body):
                self.assertEqual(payload.loads_form(body), {"c": ["1", "2"]})

    def test_a_form_that_makes_no_sense_is_refused(self):
        for body in [
            b"a=1&a[b]=2",
            b"a[b]=2&a=1",
            b"a=%ff",
            b"\xff=1",
            b"a=1&" * 1001,
            b"a" + b"[b]" * 100 + b"=1",
        ]:
            with self.subTest(body=body[:20]), self.assertRaises(BadRequest):
                payload.loads_form(body)
