import json
import time

from ..tools import lenient
from .pure_case import PureCase


def read(body, content_type="application/json"):
    """Return the value, and ``[(place, kind)]`` of what was odd."""
    value, notes = lenient.loads(body, content_type)
    return value, [(".".join(map(str, note.path)), note.kind) for note in notes]


class TestLenientReading(PureCase):
    def test_what_is_right_is_not_touched(self):
        value = {"a": ["é", 1, 2.5, None, True, "\ufdd0", "tab\tnew\nline"], "b": {}}
        for indent in (None, 2):
            body = json.dumps(value, indent=indent).encode()
            self.assertEqual(read(body), (value, []))
        self.assertEqual(read(b'"\\ud83d\\ude00"'), ("😀", []), "a whole pair")

    def test_one_odd_value_is_repaired_and_told_with_its_place(self):
        for body, value, notes in [
            (rb'[{"n": "a"}, {"n": "b\ud83d"}]', [{"n": "a"}, {"n": "b\ufffd"}],
             [("1.n", "surrogate")]),
            (rb'[{"n": "\udc80x"}]', [{"n": "\ufffdx"}], [("0.n", "surrogate")]),
            (rb'[{"n": "x\u0000y\u0000"}]', [{"n": "xy"}], [("0.n", "nul")]),
            (b'[{"n": "x\0y"}]', [{"n": "xy"}], [("0.n", "nul")]),
            (b'[{"n": "x\ty\nz\x1f"}, {"m": "\\t"}]',
             [{"n": "x\ty\nz\x1f"}, {"m": "\t"}], [("0.n", "control")]),
            (b'{"d": [{"p": NaN}, {"q": -Infinity}]}',
             {"d": [{"p": None}, {"q": None}]}, [("d.0.p", "nan"), ("d.1.q", "nan")]),
            (b'[{"n": 1, "m": 2, "n": 3}]', [{"n": 3, "m": 2}], [("0.n", "twice")]),
            (b'{"a": {"n": 1, "n": {"n": NaN, "n": 2}}}', {"a": {"n": {"n": 2}}},
             [("a.n", "twice"), ("a.n.n", "twice")]),
            (rb'[{"k\u0000": 1}]', [{"k": 1}], [("0.k", "nul")]),
            (b"[1e999, -1e999, 1]", [None, None, 1], [("0", "range"), ("1", "range")]),
            (b"[" + b"9" * 5000 + b"]", [None], [("0", "range")]),
            (b"[" + b"9" * 31 + b"]", [None], [("0", "range")]),
            (b"[" + b"9" * 30 + b"]", [int("9" * 30)], []),
            (b'[{"n": "caf\xe9"}, {"n": "\xc3\xa9"}]', [{"n": "caf\ufffd"}, {"n": "é"}],
             [("0.n", "bytes")]),
        ]:  # fmt: skip
            with self.subTest(body=body[:60]):
                self.assertEqual(read(body), (value, notes))

    def test_the_charset_is_that_of_the_mark_or_the_header(self):
        text = '[{"n": "Кава é"}]'
        plain = "application/json"
        for name, content_type, mark in [
            ("utf-8", plain, b""),
            ("utf-8", plain, b"\xef\xbb\xbf"),
            ("utf-8", plain + ";charset=UTF8", b""),
            ("utf-8", plain + "; charset=nonsense", b""),
            ("utf-8", plain + "; charset=base64", b""),
            ("utf-8", plain + "; charset=punycode", b""),
            ("utf-8", plain + "; charset=unicode_escape", b""),
            ("utf-16-le", plain, b"\xff\xfe"),
            ("utf-16-be", plain, b"\xfe\xff"),
            ("utf-16-le", plain, b""),
            ("utf-16-be", plain + "; charset=utf-16", b""),
            ("utf-32-le", plain, b"\xff\xfe\0\0"),
            # A mark is right whatever the header says.
            ("utf-8", plain + "; charset=windows-1251", b"\xef\xbb\xbf"),
        ]:
            with self.subTest(name, content_type=content_type, mark=mark):
                body = mark + text.encode(name)
                self.assertEqual(read(body, content_type), (json.loads(text), []))
        for name, word in [("windows-1251", "Кава"), ("koi8-u", "Їжак"),
                           ("latin-1", "café"), ("shift_jis", "日本")]:  # fmt: skip
            body = json.dumps([word], ensure_ascii=False).encode(name)
            for content_type in (f'text/json; charset="{name}"', f"a/b;CHARSET={name}"):
                self.assertEqual(read(body, content_type), ([word], []))

    def test_what_is_no_json_stays_an_error(self):
        for body, content_type, reason in [
            (b"", "", "empty"),
            (b" \n", "", "empty"),
            (b"<html>", "", "line 1, column 1"),
            (b'{"a": \t"x\ty", }', "", "line 1"),
            (b'[{"a": 1}', "", "column"),
            (b"[" * 65 + b"]" * 65, "", "deeper than 64"),
            (b'["' + b"[" * 9 + b"] ", "", "column"),
            (b'["\x81"]', "a/b; charset=cp1252", "0x81 is not cp1252"),
        ]:
            with (
                self.subTest(body=body[:40]),
                self.assertRaisesRegex(lenient.Unreadable, reason),
            ):
                lenient.loads(body, content_type)

    def test_a_hostile_answer_is_refused_in_no_time(self):
        started = time.monotonic()
        for body in (
            b"[" * 99 + b'"\t","' + rb"\"" * 200_000,
            b"[" * 99 + b'"\t","' + rb"\"" * 200_000 + b"\\",
            b"[" * 500_000,
            b'{"a":' * 200_000,
            b'["\t' + b"\\u0000" * 200_000,
        ):
            with self.assertRaises(lenient.Unreadable):
                lenient.loads(body)
        self.assertLess(time.monotonic() - started, 5)


class TestFailureInAnAnswer(PureCase):
    def test_a_failure_is_told_in_the_words_of_the_other_side(self):
        for answer, message in [
            ({"success": False, "data": [], "errors": ["no access"]}, "no access"),
            ({"ok": False, "error": "ratelimited"}, "ratelimited"),
            ({"success": "false", "message": "expired"}, "expired"),
            ({"success": 0, "Message": "expired"}, "expired"),
            ({"status": "error", "message": "closed"}, "closed"),
            ({"status": "FAILED"}, ""),
            ({"status": False, "reason": "closed"}, "closed"),
            ({"error": {"code": 190, "message": "Bad token"}}, "Bad token"),
            ({"error": {"code": 190}}, "190"),
            ({"data": None, "errors": [{"message": "a"}, {"message": "b"}]}, "a; b"),
            ({"errors": {"name": ["is empty"]}}, "name: is empty"),
            ({"error": True, "error_description": "closed"}, "closed"),
        ]:
            with self.subTest(answer=answer):
                self.assertEqual(lenient.get_failure(answer), message)

    def test_what_went_well_is_none(self):
        for answer in [
            {}, [], None, "error", {"data": []}, {"success": True, "errors": []},
            {"ok": True, "error": None, "items": []}, {"error": "", "errors": {}},
            {"error": False}, {"error": "0"}, {"status": "ok"}, {"status": 200},
            {"error": {"code": 0, "message": ""}}, {"success": None},
            {"success": True, "data": [], "errors": ["deprecated"]},
        ]:  # fmt: skip
            with self.subTest(answer=answer):
                self.assertIsNone(lenient.get_failure(answer))

    def test_the_status_of_an_item_is_its_own(self):
        order = {"id": 5, "status": "failed"}
        self.assertIsNone(lenient.get_failure(order, is_list=False))
        self.assertEqual(lenient.get_failure({"ok": False}, is_list=False), "")
