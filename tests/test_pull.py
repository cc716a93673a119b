import json

from odoo.tests import tagged

from .pull_common import PullCase, as_json
from .pull_shapes import CURSOR_SHAPES
from .receiver import answer


@tagged("post_install", "-at_install")
class TestPullToTheEnd(PullCase):
    def test_more_announced_than_can_be_followed_is_an_error_that_names_the_key(self):
        for name, shape in CURSOR_SHAPES.items():
            for style in ("cursor", "link", False):
                with self.subTest(name, style=style):
                    self.receiver.clear()
                    self._get_pulled().unlink()
                    shape.serve(
                        self.receiver, "/items", self.items[:2], self.items[2:4]
                    )
                    config = self._make_pull(
                        pagination_style=style, response_root=shape.root
                    )
                    _partners, report = self._pull(config)
                    self._assert_incomplete(config, report, 2, *shape.keys)
                    self.assertEqual(len(self.receiver.requests), 1)
                    counts = json.loads(report.details)
                    self.assertEqual((counts["pages"], counts["created"]), (1, 2))

    def test_an_envelope_that_nobody_has_told_how_to_open_is_no_complete_list(self):
        for name, shape in CURSOR_SHAPES.items():
            with self.subTest(name):
                self._get_pulled().unlink()
                shape.serve(self.receiver, "/items", self.items[:2], self.items[2:4])
                config = self._make_pull()
                partners, report = self._pull(config)
                self._assert_incomplete(config, report, len(partners), shape.keys[0])

    def test_counting_on_past_an_announced_cursor_leads_to_an_error_too(self):
        for name, shape in CURSOR_SHAPES.items():
            for style, size in (("offset", 2), ("page", 100)):
                with self.subTest(name, style=style):
                    self._get_pulled().unlink()
                    shape.serve(
                        self.receiver, "/items", self.items[:2], self.items[2:4]
                    )
                    config = self._make_pull(
                        pagination_style=style,
                        response_root=shape.root,
                        page_size=size,
                    )
                    _partners, report = self._pull(config)
                    self._assert_incomplete(
                        config, report, 2, "same as the one before", shape.keys[0]
                    )

    def test_a_side_that_says_there_is_no_more_is_believed(self):
        for name, shape in CURSOR_SHAPES.items():
            for style in ("cursor", "offset", False):
                with self.subTest(name, style=style):
                    self._get_pulled().unlink()
                    _first, last = shape.pages([], self.items[:2])
                    self.receiver.on("/items", as_json(last), as_json([]))
                    config = self._make_pull(
                        pagination_style=style, response_root=shape.root
                    )
                    if "totalSize" in last:
                        last["totalSize"] = 2
                    config.page_size = 100
                    _partners, report = self._pull(config, is_now=True)
                    self._assert_complete(config, report, 2)

    def test_a_capped_page_under_a_total_is_not_the_last_one(self):
        items = [{"ref": f"Q{n:03}", "name": f"Item {n}"} for n in range(107)]

        def wrap(page, style):
            return {
                "total": as_json({"items": page, "total": 107}),
                "meta": as_json({"data": page, "meta": {"total_count": 107}}),
                "pages": as_json({"data": page, "pagination": {"total_pages": 3}}),
                "X-WP-TotalPages": as_json(page, headers={"X-WP-TotalPages": "3"}),
                "X-Total-Count": as_json(page, headers={"X-Total-Count": "107"}),
            }[style]

        for style in ("offset", "page"):
            for where in ("total", "meta", "pages", "X-WP-TotalPages", "X-Total-Count"):
                with self.subTest(style, where=where):
                    self._get_pulled().unlink()

                    def choose(query, style=style, where=where):
                        start = int(query.get("offset", 0))
                        if style == "page":
                            start = (int(query["page"]) - 1) * 50
                        return wrap(items[start : start + 50], where)

                    self._serve(choose)
                    config = self._make_pull(pagination_style=style, page_size=100)
                    _partners, report = self._pull(config)
                    self._assert_complete(config, report, 107)

    def test_a_short_page_in_the_middle_does_not_end_the_list(self):
        pages = [self.items[:2], self.items[2:3], self.items[3:5], []]
        answers = [as_json({"items": page, "total": 5}) for page in pages]
        self.receiver.on("/items", *answers)
        config = self._make_pull(pagination_style="offset")
        _partners, report = self._pull(config)
        self._assert_complete(config, report, 5)
        offsets = [dict(r.query)["offset"] for r in self.receiver.requests]
        self.assertEqual(offsets, ["0", "2", "3", "5"], "by what has come")

    def test_fewer_items_than_the_total_is_an_error_with_key_and_numbers(self):
        for style in ("offset", "page", "cursor", "link", False):
            with self.subTest(style=style):
                self._get_pulled().unlink()
                page = as_json({"items": self.items[:2], "meta": {"total": 9}})
                self.receiver.on("/items", page, answer(404))
                config = self._make_pull(pagination_style=style)
                _partners, report = self._pull(config)
                self._assert_incomplete(config, report, 2, "meta.total", "9", "2")

    def test_without_a_total_a_short_page_is_the_end(self):
        self.receiver.on("/items", as_json(self.items[:2]), as_json(self.items[2:3]))
        config = self._make_pull(pagination_style="page")
        _partners, report = self._pull(config)
        self._assert_complete(config, report, 3)
        self.assertEqual(len(self.receiver.requests), 2)

    def test_a_list_whose_pages_count_from_0_loses_none(self):
        def choose(query, **extra):
            page = int(query["page"])
            items = self.items[page * 2 : page * 2 + 2] if page >= 0 else []
            return as_json({"content": items, "number": page, **extra})

        for extra in ({"totalElements": 5}, {"totalPages": 3}):
            with self.subTest(extra=extra):
                self._get_pulled().unlink()
                del self.items[5:]
                self._serve(lambda query, extra=extra: choose(query, **extra))
                config = self._make_pull(
                    pagination_style="page", response_root="content"
                )
                _partners, report = self._pull(config)
                self._assert_complete(config, report, 5)

    def test_a_side_that_counts_from_1_may_refuse_page_0(self):
        for status in (400, 404, 422, 200):
            with self.subTest(status=status):
                self._get_pulled().unlink()

                def choose(query, status=status):
                    page = int(query["page"])
                    if page < 1 and status != 200:
                        return answer(status)
                    start = max(page - 1, 0) * 2
                    return as_json(
                        {"items": self.items[:3][start : start + 2], "total": 9}
                    )

                self._serve(choose)
                config = self._make_pull(pagination_style="page")
                _partners, report = self._pull(config)
                self._assert_incomplete(config, report, 3, "total", "9", "3", "page")

    def test_past_the_end_404_and_its_like_are_the_end(self):
        end = {
            "404": answer(404, b"no such page"),
            "410": answer(410),
            "204": answer(204),
            "304": answer(304),
            "empty": answer(200, b""),
            "blank": answer(200, b" \n"),
            "null": answer(200, b"null"),
            "the last page once more": as_json(self.items[2:4]),
        }
        for name, last in end.items():
            for style in ("offset", "page"):
                with self.subTest(name, style=style):
                    self._get_pulled().unlink()
                    pages = [as_json(self.items[:2]), as_json(self.items[2:4])]
                    self.receiver.on("/items", *pages, last)
                    config = self._make_pull(pagination_style=style)
                    _partners, report = self._pull(config)
                    self._assert_complete(config, report, 4)
                    self.assertFalse(config.is_paused)
                    counts = json.loads(report.details)
                    self.assertEqual((counts["created"], counts["unchanged"]), (4, 0))

    def test_nothing_new_is_a_complete_pull(self):
        for behaviour in (
            answer(204),
            answer(200, b""),
            answer(304),
            as_json({"data": None, "total": 0}),
            as_json({"data": []}),
            as_json({"items": None}),
            as_json({"total": 0}),
            as_json({"orders": [], "page": 1}),
            as_json({}),
        ):
            for is_now in (False, True):
                for style in (False, "offset", "cursor", "link"):
                    self.receiver.on("/items", behaviour)
                    config = self._make_pull(pagination_style=style)
                    _partners, report = self._pull(config, is_now=is_now)
                    self._assert_complete(config, report, 0)
                    self.assertFalse(config.activity_ids)

    def test_null_on_the_way_to_the_list_is_an_empty_list(self):
        for body in ({"payload": None}, {"payload": {"Orders": None}}):
            self.receiver.on("/items", as_json(body))
            config = self._make_pull(response_root="payload.Orders")
            _partners, report = self._pull(config)
            self._assert_complete(config, report, 0)
        self.receiver.on("/items", as_json({"payload": {"Invoices": []}}))
        config = self._make_pull(response_root="payload.Orders")
        _partners, report = self._pull(config)
        self._assert_incomplete(config, report, 0, "payload.Orders")

    def test_404_on_page_1_and_on_an_announced_page_stays_an_error(self):
        self.receiver.on("/items", answer(404))
        config = self._make_pull(pagination_style="page")
        _partners, report = self._pull(config)
        self._assert_incomplete(config, report, 0, "404")
        page = as_json({"items": self.items[:2], "next_cursor": "x"})
        self.receiver.on("/items", page, answer(404))
        config = self._make_pull(pagination_style="cursor")
        _partners, report = self._pull(config)
        self._assert_incomplete(config, report, 2, "404")

    def _serve_circle(self, length):
        """Give new items each time, and ``length`` cursors in turn; return the requests."""
        seen = []

        def choose(query):
            seen.append(query.get("cursor"))
            item = {"ref": f"Q{len(seen)}", "name": "new each time"}
            return as_json({"items": [item], "cursor": f"c{len(seen) % length}"})

        self._serve(choose)
        return seen

    def test_a_circle_of_cursors_ends_as_an_error(self):
        for length in (1, 2, 3):
            with self.subTest(length=length):
                self._get_pulled().unlink()
                seen = self._serve_circle(length)
                config = self._make_pull(pagination_style="cursor")
                _partners, report = self._pull(config)
                self.assertLess(len(seen), 15)
                self._assert_incomplete(config, report, len(seen), "cursor", "circle")

    def test_page_2_that_is_page_1_is_fine_when_all_has_come(self):
        self.receiver.on("/items", as_json({"items": self.items[:2], "total": 2}))
        config = self._make_pull(pagination_style="offset")
        _partners, report = self._pull(config)
        self._assert_complete(config, report, 2)

    def test_a_failure_told_in_a_200_is_no_complete_pull(self):
        for body, words in [
            ({"success": False, "data": [], "errors": ["no access"]}, "no access"),
            ({"ok": False, "error": "invalid_auth"}, "invalid_auth"),
            ({"status": "error", "message": "Closed on Sundays"}, "Closed on Sundays"),
            ({"data": None, "errors": [{"message": "Throttled"}]}, "Throttled"),
            ({"status": "failed", "items": []}, "without saying why"),
        ]:
            for root in (False, "data.items"):
                with self.subTest(body=body, root=root):
                    self.receiver.on("/items", as_json(body))
                    config = self._make_pull(response_root=root)
                    _partners, report = self._pull(config)
                    self._assert_incomplete(config, report, 0, words)


@tagged("post_install", "-at_install")
class TestPullNextUrl(PullCase):
    def test_a_url_that_names_the_next_page_is_asked_itself(self):
        page = self.receiver.url("/items?p=2")
        cases = {
            "cursor": [{"next": page}, {"next": "/items?p=2"}, {"next": "?p=2"},
                       {"links": {"next": page}}],
            "link": [f"<{page}>", "</items?p=2>", "<?p=2>", "<items?p=2>"],
        }  # fmt: skip
        for style, places in cases.items():
            for place in places:
                with self.subTest(place=place):
                    self.receiver.clear()
                    self._get_pulled().unlink()
                    body, headers = {"results": self.items[:2]}, {}
                    if style == "link":
                        headers = {"Link": f'{place}; rel="next"'}
                    else:
                        body.update(place)
                    last = {"results": self.items[2:3], "next": None}
                    self.receiver.on(
                        "/items", as_json(body, headers=headers), as_json(last)
                    )
                    config = self._make_pull(pagination_style=style)
                    _partners, report = self._pull(config)
                    self._assert_complete(config, report, 3)
                    query = dict(self.receiver.requests[-1].query)
                    self.assertEqual(query, {"p": "2"})

    def test_a_page_elsewhere_is_not_asked_and_the_items_are_kept(self):
        port = self.receiver.port
        for url in (
            f"http://localhost:{port}/items?p=2",
            f"https://127.0.0.1:{port}/items?p=2",
            "http://127.0.0.1:1/items?p=2",
            f"//localhost:{port}/items?p=2",
        ):
            for style in ("link", "cursor"):
                if style == "cursor" and url.startswith("//"):
                    url = f"http:{url}"
                with self.subTest(url, style=style):
                    self.receiver.clear()
                    self._get_pulled().unlink()
                    body, headers = {"items": self.items[:2]}, {}
                    if style == "link":
                        headers = {"Link": f'<{url}>; rel="next"'}
                    else:
                        body["next"] = url
                    self.receiver.on("/items", as_json(body, headers=headers))
                    config = self._make_pull(
                        pagination_style=style,
                        auth_type="bearer",
                        bearer_token="secret-token-12345",
                    )
                    _partners, report = self._pull(config)
                    self._assert_incomplete(config, report, 2, "not asked")
                    self.assertEqual(len(self.receiver.requests), 1)

    def test_a_script_that_fails_for_page_2_costs_no_item_of_page_1(self):
        self.receiver.on("/items", as_json(self.items[:2]))
        config = self._make_pull(
            pagination_style="offset",
            request_script="params['x'] = 1 / (1 - int(params['offset']) // 2)",
        )
        _partners, report = self._pull(config)
        self._assert_incomplete(config, report, 2, "division by zero")

    def test_a_script_that_pulls_itself_is_told_the_same(self):
        self.receiver.on("/items", as_json({"data": self.items[:2], "has_more": True}))
        config = self._make_pull()
        result = config._make_outbound_http_request()
        self.assertFalse(result)
        self.assertIn("has_more", result["message"])
        self._assert_incomplete(config, self._get_report(config), 2, "has_more")

    def test_send_again_goes_on_where_the_pull_ended(self):
        page = {"items": self.items[:2], "next_cursor": "x"}
        self.receiver.on(
            "/items", as_json(page), as_json({"ok": False, "error": "busy"})
        )
        config = self._make_pull(pagination_style="cursor")
        _partners, report = self._pull(config)
        self._assert_incomplete(config, report, 2, "busy")
        self.receiver.on("/items", as_json(self.items[2:4]))
        self._get_deliveries(config)[-1].action_send_again()
        self._commit()
        self._send()
        self._assert_complete(config, self._get_report(config), 4)
