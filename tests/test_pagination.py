import random
from urllib.parse import urlsplit

from ..tools import announced, pagination
from ..tools.announced import Facts, Sign
from ..tools.pagination import Step, Walk
from .pull_shapes import CURSOR_SHAPES
from .pure_case import PureCase

URL = "https://api.example.com/v1/items?limit=2"


def keys(answer, path=("data",), headers=None, **kwargs):
    facts = announced.read(answer, headers, path, **kwargs)
    return [sign.key for sign in facts.signs]


class TestWhatIsAnnounced(PureCase):
    def test_the_cursor_of_each_documented_shape_is_found_by_its_key(self):
        for name, shape in CURSOR_SHAPES.items():
            with self.subTest(name):
                first, last = shape.pages([{"ref": "Q0"}], [{"ref": "Q1"}])
                path = tuple(shape.root.split("."))
                self.assertEqual(sorted(keys(first, path)), sorted(shape.keys))
                self.assertEqual(keys(last, path), [])

    def test_what_else_says_that_there_is_more(self):
        url = "https://api.example.com/v1/items?page=2"
        for answer, found in [
            ({"next": url}, ["next"]),
            ({"next": 2}, ["next"]),
            ({"links": {"next": "/items?page=2"}}, ["links.next"]),
            ({"_links": {"next": {"href": url}}}, ["_links.next.href"]),
            ({"links": [{"rel": "self", "href": url}, {"rel": "next", "href": url}]},
             ["links"]),
            ({"link": [{"relation": "next", "url": url}]}, ["link"]),
            ({"meta": {"next_page": 2}}, ["meta.next_page"]),
            ({"meta": {"pagination": {"nextCursor": "x"}}}, ["meta.pagination.nextCursor"]),
            ({"meta": {"has_more": "true", "after_cursor": "x"}},
             ["meta.after_cursor", "meta.has_more"]),
            ({"pages": {"next": {"page": 2, "starting_after": "x"}}},
             ["pages.next.page", "pages.next.starting_after"]),
            ({"offset": "itrEN2TCbrcSN2BMs/rec5"}, ["offset"]),
            ({"meta": {"pagination": {"links": {"next": "?page=2"}}}},
             ["meta.pagination.links.next"]),
            ({"isLast": False}, ["isLast"]),
            ({"last": False}, ["last"]),
            ({"hasMore": 1}, ["hasMore"]),
            ({"IsTruncated": True, "NextContinuationToken": "x"},
             ["NextContinuationToken", "IsTruncated"]),
            ({"unknown": {"next_page_token": "x"}}, ["unknown.next_page_token"]),
            ({"next_page_uri": "/2010/Calls.json?Page=1"}, ["next_page_uri"]),
        ]:  # fmt: skip
            with self.subTest(answer=answer):
                self.assertEqual(keys({"data": [1], **answer}), found)
        self.assertEqual(
            keys([1], (), {"link": f'<{url}>; rel="last", <{url}>; rel="next"'}),
            ["Link"],
        )

    def test_empty_words_and_those_of_other_things_announce_nothing(self):
        for answer in [
            {}, {"next": None}, {"next": ""}, {"next": False}, {"next_cursor": "0"},
            {"next_cursor": 0}, {"next_cursor": " "}, {"next_cursor": "null"},
            {"has_more": False}, {"has_more": None}, {"has_more": "no"}, {"done": True},
            {"paging": {"next": {}}}, {"paging": None}, {"links": {"next": None}},
            {"links": {"next": {"href": None}}}, {"links": []},
            {"paging": {"cursors": {"before": "a", "after": "b"}}},
            {"cursor": "x", "has_more": False}, {"after": "2026-01-01"},
            {"links": {"last": "/items?page=9", "self": "/items"}},
            {"pageInfo": {"endCursor": "x", "hasNextPage": False}},
            {"offset": 2}, {"offset": "2"}, {"pageInfo": {"endCursor": "x"}}, {"shop": {"next": "x", "done": False}},
        ]:  # fmt: skip
            with self.subTest(answer=answer):
                self.assertEqual(keys({"data": [1], **answer}), [])

    def test_the_keys_of_an_only_item_are_its_own(self):
        for item in [
            {"id": 1, "done": False, "next": "/posts/2", "total": 99, "last": False},
            {"id": 1, "links": {"next": "/posts/2"}, "lines": {"has_more": True}},
            {"id": 1, "page": {"total": 9}},
        ]:
            with self.subTest(item=item):
                facts = announced.read(item, {}, (), is_item=True)
                self.assertEqual(facts, Facts())
                answer = {"data": item}
                facts = announced.read(answer, {}, ("data",), is_item=True)
                self.assertEqual(facts, Facts())

    def test_how_many_there_are_is_found_in_body_and_headers(self):
        for answer, headers, total, pages in [
            ({"total": 7}, {}, ("total", 7), None),
            ({"total_count": "7"}, {}, ("total_count", 7), None),
            ({"meta": {"total": 7}}, {}, ("meta.total", 7), None),
            ({"meta": {"pagination": {"total": 7, "total_pages": 4}}}, {},
             ("meta.pagination.total", 7), ("meta.pagination.total_pages", 4)),
            ({"page": {"totalElements": 7, "totalPages": 4}}, {},
             ("page.totalElements", 7), ("page.totalPages", 4)),
            ({"last_page": 4}, {}, None, ("last_page", 4)),
            ({"@odata.count": 7}, {}, ("@odata.count", 7), None),
            ({"count": 7}, {}, ("count", 7), None),
            ({"count": 2, "total": 7}, {}, ("total", 7), None),
            ({}, {"x-total-count": "7"}, ("X-Total-Count", 7), None),
            ({}, {"x-wp-total": "7", "x-wp-totalpages": "4"}, ("X-WP-Total", 7),
             ("X-WP-TotalPages", 4)),
            ({}, {"content-range": "items 0-1/7"}, ("Content-Range", 7), None),
            ({"total": {"value": 7, "relation": "eq"}}, {}, ("total", 7), None),
            # No numbers of items
            ({"total": "12.50", "total_pages": None}, {}, None, None),
            ({"total": 12.5}, {"x-total-count": "10000+"}, None, None),
            ({"total": -1, "totalCount": True}, {}, None, None),
        ]:  # fmt: skip
            with self.subTest(answer=answer, headers=headers):
                facts = announced.read({"data": [1], **answer}, headers, ("data",))
                self.assertEqual((facts.total, facts.pages), (total, pages))
                self.assertEqual(facts.is_vague, bool(total) and total[0] == "count")


class WalkCase(PureCase):
    def _walk(self, style, pages, size=2, url=URL):
        """Walk through ``[(items, facts)]`` by their tokens; return steps and state."""
        state, token, steps = {}, None, []
        for items, facts in pages:
            walk = Walk(style, size, state)
            walk.see(items, facts)
            step = walk.go_on(facts, url, token)
            steps.append(step)
            if not step.token or step.error:
                break
            token = step.token
        return steps


def total(number):
    return Facts(total=("total", number))


class TestGoingOn(WalkCase):
    def test_without_a_total_a_short_page_is_the_last_one(self):
        pages = [([1, 2], Facts()), ([3, 4], Facts()), ([5], Facts())]
        for style, tokens in [("offset", ["2", "4", None]), ("page", ["2", "3", None])]:
            steps = self._walk(style, pages)
            self.assertEqual([step.token for step in steps], tokens)
            self.assertFalse(steps[-1].error)

    def test_a_short_page_under_a_total_is_not_the_end(self):
        for style, tokens in [("offset", ["2", "3", None]), ("page", ["2", "3", None])]:
            for facts in (total(5), Facts(pages=("pages", 3))):
                with self.subTest(style, facts=facts):
                    pages = [([1, 2], facts), ([3], facts), ([4, 5], facts)]
                    steps = self._walk(style, pages, size=100)
                    self.assertEqual([step.token for step in steps], tokens)
                    self.assertFalse(steps[-1].error)

    def test_fewer_items_than_the_total_is_an_error_with_both_numbers(self):
        for style in ("offset", "cursor", "link", ""):
            steps = self._walk(style, [([1, 2], total(5)), ([], total(5))])
            self.assertEqual(
                steps[-1], Step(error="missing", keys=("total",), expected=5, came=2)
            )
        facts = Facts(pages=("X-WP-TotalPages", 3))
        self.assertEqual(
            self._walk("", [([1, 2], facts)])[-1],
            Step(error="pages", keys=("X-WP-TotalPages",), expected=3, came=1),
        )

    def test_page_0_is_asked_where_something_is_missing_without_it(self):
        pages = [
            ([3, 4], total(5)),
            ([5], total(5)),
            ([], total(5)),
            ([1, 2], total(5)),
        ]
        steps = self._walk("page", pages)
        self.assertEqual([step.token for step in steps], ["2", "3", "0", None])
        self.assertFalse(steps[-1].error)
        # It is page 1 once more: this side counts from 1, and something is missing.
        pages[3] = pages[0]
        steps = self._walk("page", pages)
        self.assertEqual((steps[-1].error, steps[-1].came), ("missing", 3))
        # Page 1 says that another one was before it.
        before = Facts(before="previous_page_uri")
        pages = [
            ([3, 4], before),
            ([5], Facts()),
            ([1, 2], Facts(signs=(Sign("n", 1),))),
        ]
        steps = self._walk("page", pages)
        self.assertEqual([step.token for step in steps], ["2", "0", None])
        self.assertFalse(steps[-1].error)

    def test_a_repeated_page_is_the_end_after_others_and_an_error_at_first(self):
        one, two = ([1, 2], Facts()), ([3, 4], Facts())
        for style in ("offset", "page"):
            self.assertEqual(self._walk(style, [one, two, two])[-1], Step())
            self.assertEqual(self._walk(style, [one, one])[-1].error, "same")
            has_all = ([1, 2], total(2))
            self.assertEqual(self._walk(style, [has_all, has_all])[-1], Step())
            # Only the number of items on this page, perhaps.
            vague = ([1, 2], Facts(total=("count", 2), is_vague=True))
            self.assertEqual(self._walk(style, [vague, vague])[-1].error, "same")
            lacks = ([1, 2], total(4))
            self.assertEqual(self._walk(style, [lacks, lacks])[-1].error, "same")

    def test_a_page_0_is_never_asked_of_a_list_that_is_complete(self):
        for facts in (Facts(), total(3)):
            steps = self._walk("page", [([1, 2], facts), ([3], facts)])
            self.assertEqual([step.token for step in steps], ["2", None])

    def test_more_is_announced_than_can_be_followed(self):
        more = Facts(signs=(Sign("has_more", True),))
        for style in ("", "cursor", "link"):
            steps = self._walk(style, [([1, 2], more)])
            self.assertEqual(steps, [Step(error="unfollowed", keys=("has_more",))])
        for style in ("offset", "page"):  # they go on, and fail if that leads nowhere
            steps = self._walk(style, [([1], more), ([1], more)])
            self.assertEqual(steps[-1], Step(error="same", keys=("has_more",)))
            steps = self._walk(style, [([1], more), ([2], more), ([], more)])
            self.assertEqual(steps[-1].error, "unfollowed")

    def test_no_more_in_so_many_words_is_the_end_of_a_full_page(self):
        facts = Facts(is_last=True)
        self.assertEqual(self._walk("offset", [([1, 2], facts)]), [Step()])
        facts = Facts(pages=("pages", 1))
        self.assertEqual(self._walk("page", [([1, 2], facts)]), [Step()])


class TestFollowing(WalkCase):
    def _follow(self, cursor, url=URL, key="next"):
        facts = Facts(signs=(Sign(key, cursor),), cursor=(key, cursor))
        return self._walk("cursor", [([1], facts)], url=url)[0]

    def test_a_url_in_the_place_of_the_cursor_is_asked_as_it_is(self):
        for cursor, token in [
            ("https://api.example.com/v1/items?page=2", None),
            ("HTTPS://API.example.com:443/v1/x", None),
            ("/v1/items?page=2", "https://api.example.com/v1/items?page=2"),
            ("?page=2", "https://api.example.com/v1/items?page=2"),
        ]:
            with self.subTest(cursor=cursor):
                step = self._follow(cursor)
                expected = token or cursor.replace("HTTPS", "https")
                self.assertEqual(step, Step(token=expected, is_url=True))
        self.assertEqual(self._follow("/wEA==", key="next_cursor"), Step("/wEA=="))
        self.assertEqual(self._follow("2"), Step("2"))

    def test_credentials_stay_with_the_origin(self):
        for url in [
            "http://api.example.com/v1/items?page=2",
            "https://api.example.com:8443/v1/items",
            "https://example.com/v1/items",
            "https://api.example.com.evil.org/",
            "https://api.example.com@evil.org/",
            "https://user:pw@api.example.com/",
        ]:
            with self.subTest(url=url):
                self.assertEqual(self._follow(url).error, "origin")
                self.assertEqual(self._follow(url).token, url)
        self.assertIsNone(pagination.get_origin("ftp://a/"))
        self.assertIsNone(pagination.get_origin("https://a:x/"))
        self.assertEqual(
            pagination.get_origin("https://A/"),
            pagination.get_origin("https://a:443/x"),
        )

    def test_tricks_in_a_link_lead_nowhere_else(self):
        good = "https://api.example.com/v1/items"
        for link in [
            "https:\\\\evil.org/", "\\\\evil.org/", "/\\evil.org/", "\\/evil.org",
            "https://api.example.com\\@evil.org/", "https://api.example.com\\.evil.org/",
            "https://evil.org\\@api.example.com/", "https://evil.org#@api.example.com/",
            "https://evil.org?@api.example.com/", "ht\ttps://evil.org/",
            "\nhttps://evil.org/", "\x01//evil.org", "/\t/evil.org/", "/\n/evil.org",
            "https://api.example.com\n.evil.org/", "https://api.example.com%2eevil.org/",
            "https://api.example.com:443@evil.org/", "https://@api.example.com/",
            "https://:@api.example.com/", "https://api.example.com:80/", "//evil.org",
            "http://api.example.com:443/", "https://api.example.com\x00.evil.org/",
            "https://\u0430pi.example.com/", "https://api.example.com;@evil.org/",
            "https://api.example.com\r\nX: y/", "https://api.example.com./",
            "https://[::1]/", "https://[/", "file:///etc/passwd", "data:text/plain,x",
            "https://api.example.com:99999/", "https://api.example.com:x/",
        ]:  # fmt: skip
            with self.subTest(link=link):
                facts = Facts(signs=(Sign("Link", link),))
                (step,) = self._walk("link", [([1], facts)], url=good)
                if not step.error:
                    # Whatever the link was, this is what would be asked.
                    self.assertEqual(urlsplit(step.token).netloc, "api.example.com")
                    self.assertRegex(step.token, r"[\\]", "which the transport refuses")
                else:
                    self.assertEqual(step.error, "origin")

    def test_one_origin_is_known_in_all_its_spellings(self):
        for url, others in [
            (
                "https://api.example.com/v1",
                [
                    "HTTPS://API.Example.COM:443/x",
                    "//api.example.com:0443/",
                    "///x",
                    "x",
                ],
            ),
            (
                "https://b\u00fccher.example/v1",
                ["https://xn--bcher-kva.example/", "https://B\u00dcCHER.example:443/"],
            ),
            ("http://[::1]:80/", ["http://[::1]/x"]),
        ]:
            for other in others:
                with self.subTest(other):
                    facts = Facts(signs=(Sign("Link", other),))
                    (step,) = self._walk("link", [([1], facts)], url=url)
                    self.assertTrue(step.is_url, step)

    def test_a_relative_link_is_resolved_against_what_was_asked(self):
        for link, token in [
            ("/items?p=2", "https://api.example.com/items?p=2"),
            ("?p=2", "https://api.example.com/v1/items?p=2"),
            ("items?p=2", "https://api.example.com/v1/items?p=2"),
            ("../v2/items", "https://api.example.com/v2/items"),
            ("//other.example.com/", None),
        ]:
            with self.subTest(link=link):
                facts = Facts(signs=(Sign("Link", link),))
                (step,) = self._walk("link", [([1], facts)])
                if token:
                    self.assertEqual(step, Step(token=token, is_url=True))
                else:
                    self.assertEqual(step.error, "origin")

    def test_a_circle_of_any_length_ends_within_three_times_its_way(self):
        for tail in (0, 1, 5):
            for length in (1, 2, 3, 7, 20):
                with self.subTest(tail=tail, length=length):
                    pages = []
                    for number in range(1000):
                        cursor = number if number < tail else (
                            tail + (number - tail) % length)  # fmt: skip
                        found = ("next_cursor", f"c{cursor}")
                        facts = Facts(signs=(Sign(*found),), cursor=found)
                        pages.append(([number], facts))  # new items each time
                    steps = self._walk("cursor", pages)
                    self.assertEqual(steps[-1].error, "circle")
                    self.assertLessEqual(len(steps), 3 * (tail + length) + 2)

    def test_pages_that_come_again_in_turn_are_a_circle_too(self):
        for style in ("offset", "page"):
            pages = [([n % 3, "x"], Facts()) for n in range(100)]
            steps = self._walk(style, pages)
            self.assertEqual(steps[-1].error, "circle")
            self.assertLess(len(steps), 12)

    def test_the_memory_does_not_grow(self):
        state, sizes = {}, set()
        for number in range(5000):
            found = ("next_cursor", f"c{number}")
            facts = Facts(cursor=found, total=("total", 10**6))
            walk = Walk("cursor", 1, state)
            walk.see([number], facts)
            self.assertFalse(walk.go_on(facts, URL, f"c{number - 1}").error)
            sizes.add(len(repr(state)) // 100)
        self.assertLess(max(sizes), 6)

    def test_the_same_cursor_again_ends_a_list_that_has_no_more(self):
        facts = Facts(signs=(Sign("cursor", "A"),), cursor=("cursor", "A"))
        steps = self._walk("cursor", [([1], facts), ([], facts)])
        self.assertEqual(steps[-1], Step())
        steps = self._walk("cursor", [([1], facts), ([2], facts)])
        self.assertEqual(steps[-1].error, "circle")

    def test_empty_pages_are_followed_but_not_for_ever(self):
        pages = []
        for number in range(1000):
            found = ("cursor", f"c{number}")
            pages.append(([], Facts(signs=(Sign(*found),), cursor=found)))
        self.assertEqual(self._walk("cursor", [*pages[:9], ([1], Facts())])[-1], Step())
        steps = self._walk("cursor", pages)
        self.assertEqual(steps[-1].error, "circle")
        self.assertLess(len(steps), 200)


class Side:
    """A list on the other side, with habits drawn by a seed."""

    def __init__(self, rng):
        self.items = list(range(1000, 1000 + rng.randrange(40)))
        self.style = rng.choice(["offset", "page"])
        self.size = rng.randrange(1, 12)  # that is asked for
        self.says = rng.choice(["", "total", "pages", "more", "total and pages"])
        # Without a word about it nobody can know these.
        self.cap = rng.randrange(1, 12) if self.says else self.size
        self.base = rng.choice([0, 1]) if self.says not in ("", "more") else 1
        self.hidden = self.items[:0]
        if "total" in self.says and rng.random() < 0.3:
            self.hidden = rng.sample(self.items, min(len(self.items), 3))
        self.past = rng.choice(["empty", "404", "repeat"])

    def answer(self, token):
        """Return the items and facts of a page, no items for an answer like 404."""
        step = min(self.size, self.cap)
        if self.style == "offset":
            start = int(token or 0)
        else:
            start = (int(token or 1) - self.base) * step
        last = max(len(self.items) - 1, 0) // step * step
        if start < 0 or start >= max(len(self.items), 1):
            if self.past == "404":
                return [], Facts()
            start = start if self.past == "empty" and start > 0 else last
        page = [i for i in self.items[start : start + step] if i not in self.hidden]
        has_more = start + step < len(self.items)
        return page, Facts(
            total=("total", len(self.items)) if "total" in self.says else None,
            pages=("pages", last // step + 1) if "pages" in self.says else None,
            signs=(Sign("more", True),) if self.says == "more" and has_more else (),
            is_last=self.says == "more" and not has_more,
        )


class TestGreenIsComplete(PureCase):
    def _pull(self, side):
        state, token, came = {}, None, set()
        for number in range(400):
            items, facts = side.answer(token)
            if not number and not items and side.past == "404" and side.items:
                return came, "404", number
            walk = Walk(side.style, side.size, state)
            if walk.see(items, facts) == "new":
                came.update(items)
            step = walk.go_on(facts, URL, token)
            if step.error or step.token is None:
                return came, step.error, number
            token = step.token
        raise AssertionError("it does not end")

    def test_a_pull_without_an_error_has_all_there_is(self):
        for seed in range(4000):
            side = Side(random.Random(seed))
            came, error, _pages = self._pull(side)
            with self.subTest(seed=seed, **vars(side), came=len(came)):
                missing = set(side.items) - came
                if not error:
                    self.assertFalse(missing)
                elif not side.hidden and not (error == "same" and not side.says):
                    self.assertTrue(missing, error)
