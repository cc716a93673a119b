import re
import time
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

from ..tools import conditional
from .pure_case import PureCase

TAG = '"abc"'
BASE = "https://odoo.example.com/bj_api_sync/v1/partners"


class TestEtag(PureCase):
    def test_a_tag_is_strong_quoted_and_stable(self):
        parts = ("res.partner", 7, datetime(2025, 1, 31), {"a": [1, "ї"]}, b"x")
        self.assertRegex(conditional.etag(*parts), r'^"[0-9a-f]{32}"$')
        self.assertEqual(conditional.etag(*parts), conditional.etag(*parts))

    def test_different_parts_give_different_tags(self):
        tags = [
            conditional.etag(*parts)
            for parts in [
                (),
                (1,),
                ("1",),
                (1, 2),
                (12,),
                ("a", "b"),
                ("ab",),
                ("a,b",),
            ]
        ]
        self.assertEqual(len(set(tags)), len(tags))

    def test_headers_name_tags_as_the_rfc_says(self):
        for header, none_match, match in [
            (None, False, False),
            ("", False, False),
            ("*", True, True),
            (" * ", True, True),
            ('"abc"', True, True),
            ('W/"abc"', True, False),
            ('"x", W/"y" ,"abc"', True, True),
            ('"x",W/"abc"', True, False),
            ('"abcd"', False, False),
            ("abc", False, False),
            ('"x*", "*"', False, False),
            ('w/"abc"', True, False),
            ('"', False, False),
        ]:
            with self.subTest(header=header):
                self.assertIs(conditional.matches(header, TAG), none_match)
                self.assertIs(conditional.strong_matches(header, TAG), match)

    def test_nothing_matches_what_does_not_exist(self):
        for header in ("*", '"abc"', None):
            with self.subTest(header=header):
                self.assertFalse(conditional.matches(header, None))
                self.assertFalse(conditional.strong_matches(header, None))

    def test_a_hostile_header_takes_linear_time(self):
        start = time.process_time()
        for header in ('"' * 10**5, 'W/"' * 10**5, '"' + "x" * 10**5):
            conditional.matches(header, TAG)
        self.assertLess(time.process_time() - start, 1)


def links(header):
    """Return ``{rel: {parameter: value}}`` of a Link header."""
    return {
        relation: dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
        for url, relation in re.findall(r'<([^<>]*)>; rel="(\w+)"', header)
    }


class TestLinks(PureCase):
    def test_pages_that_exist_are_linked(self):
        for limit, offset, total, count, expected in [
            (10, 0, 25, 10, {"first": 0, "next": 10, "last": 20}),
            (10, 10, 25, 10, {"first": 0, "prev": 0, "next": 20, "last": 20}),
            (10, 20, 25, 5, {"first": 0, "prev": 10, "last": 20}),
            (10, 5, 25, 10, {"first": 0, "prev": 0, "next": 15, "last": 20}),
            (10, 10, 20, 10, {"first": 0, "prev": 0, "last": 10}),
            (10, 0, 0, 0, {"first": 0, "last": 0}),
            (10, 90, 25, 0, {"first": 0, "prev": 20, "last": 20}),
            (10, 0, None, 10, {"first": 0, "next": 10}),
            (10, 10, None, 3, {"first": 0, "prev": 0}),
        ]:
            with self.subTest(limit=limit, offset=offset, total=total):
                header = conditional.link_header(BASE, (), limit, offset, total, count)
                self.assertEqual(
                    links(header),
                    {
                        relation: {"limit": str(limit), "offset": str(start)}
                        for relation, start in expected.items()
                    },
                )

    def test_other_parameters_are_kept_and_escaped(self):
        query = (
            ("name", 'a&b "ї" <x>\r\nX: 1'),
            ("offset", "7"),
            ("tag", "1"),
            ("tag", "2"),
            ("limit", "9"),
        )
        header = conditional.link_header(BASE, query, 10, 0, 11, 10)
        self.assertNotRegex(header, r"[\r\n]")
        self.assertTrue(header.isascii())
        url = re.search(r'<([^<>]*)>; rel="next"', header)[1]
        self.assertTrue(url.startswith(BASE + "?"))
        self.assertEqual(
            parse_qsl(urlsplit(url).query),
            [
                ("name", 'a&b "ї" <x>\r\nX: 1'),
                ("tag", "1"),
                ("tag", "2"),
                ("limit", "10"),
                ("offset", "10"),
            ],
        )

    def test_a_strange_base_cannot_break_the_header(self):
        header = conditional.link_header("https://x/ї>\r\nX: 1", (), 10, 0, 1, 1)
        self.assertIn("<https://x/%D1%97%3E%0D%0AX:%201?", header)

    def test_a_cursor_walk_links_its_next_page(self):
        query = (("cursor", "old"), ("offset", "3"), ("limit", "5"))
        self.assertEqual(
            links(conditional.link_next(BASE, query, "new")),
            {
                "first": {"limit": "5", "cursor": ""},
                "next": {"limit": "5", "cursor": "new"},
            },
        )
        self.assertEqual(
            links(conditional.link_next(BASE, query, None)),
            {"first": {"limit": "5", "cursor": ""}},
        )
