from datetime import datetime, timedelta, timezone

from ..tools import retry
from ..tools.retry import Breaker
from .pure_case import PureCase

NEW_YEAR = datetime(2025, 1, 1, tzinfo=timezone.utc)
NEW_YEAR_EPOCH = int(NEW_YEAR.timestamp())
NEW_YEAR_0030 = "Wed, 01 Jan 2025 00:00:30 GMT"


class TestClassify(PureCase):
    def test_a_status_decides_what_comes_next(self):
        for statuses, expected in [
            ((200, 201, 202, 204, 207, 299), "delivered"),
            ((408, 409, 425, 429, 500, 501, 502, 503, 504, 507, 599), "retry"),
            ((300, 301, 302, 303, 304, 307, 308), "final"),
            ((400, 401, 403, 404, 405, 406, 412, 413, 415, 422, 451), "final"),
            ((101, 199, 600, 999), "final"),
            ((410,), "pause"),
        ]:
            for status in statuses:
                with self.subTest(status=status):
                    self.assertEqual(retry.classify(status), expected)

    def test_without_an_answer_only_the_network_is_tried_again(self):
        for kinds, expected in [
            (("dns", "connect", "timeout", "reset", ""), "retry"),
            (("tls", "blocked", "invalid"), "final"),
        ]:
            for kind in kinds:
                with self.subTest(kind=kind):
                    self.assertEqual(retry.classify(None, kind), expected)

    def test_a_conflict_is_tried_again_once(self):
        self.assertEqual(retry.classify(409, attempt_409=1), "retry")
        self.assertEqual(retry.classify(409, attempt_409=2), "final")

    def test_what_was_to_go_and_is_gone_is_deleted(self):
        for method, status, expected in [
            ("DELETE", 404, "delivered"),
            ("DELETE", 410, "delivered"),
            ("DELETE", 403, "final"),
            ("DELETE", 500, "retry"),
            ("PUT", 404, "final"),
            ("PUT", 410, "pause"),
        ]:
            with self.subTest(method=method, status=status):
                self.assertEqual(retry.classify(status, method=method), expected)

    def test_a_403_that_says_how_long_waits(self):
        self.assertEqual(retry.classify(403, wait=30), "retry")
        self.assertEqual(retry.classify(403, wait=0), "retry")
        self.assertEqual(retry.classify(403), "final")
        self.assertEqual(retry.classify(404, wait=30), "final")

    def test_only_what_may_have_been_processed_is_unsure(self):
        for status, kind, expected in [
            (None, "timeout", True),
            (None, "reset", True),
            (None, "connect", False),
            (None, "dns", False),
            (502, "", True),
            (504, "", True),
            (500, "", False),
            (503, "", False),
            (429, "", False),
        ]:
            with self.subTest(status=status, kind=kind):
                self.assertEqual(retry.is_unsure(status, kind), expected)


class TestGetWait(PureCase):
    def test_each_usual_place_is_read(self):
        in_30 = str(NEW_YEAR_EPOCH + 30)
        for name, status, headers, body, expected in [
            ("seconds", 429, {"retry-after": "30"}, b"", 30),
            ("Shopify", 429, {"retry-after": "2.0"}, b"", 2),
            ("moment", 429, {"retry-after": in_30}, b"", 30),
            ("date", 503, {"retry-after": NEW_YEAR_0030}, b"", 30),
            ("quota", 403, {"retry-after": "60"}, b"", 60),
            ("Azure", 429, {"x-ms-retry-after-ms": "1500"}, b"", 2),
            ("OpenAI", 429, {"retry-after-ms": "20"}, b"", 1),
            ("GitHub", 403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": in_30},
             b"", 30),
            ("reset alone", 429, {"x-ratelimit-reset": in_30}, b"", 30),
            ("Discord", 429, {"x-ratelimit-reset-after": "1.2"}, b"", 2),
            ("HubSpot's older name", 429, {"x-rate-limit-reset": "9"}, b"", 9),
            ("draft 7", 429, {"ratelimit": "limit=100, remaining=0, reset=50"}, b"", 50),
            ("draft 8", 429, {"ratelimit": '"default";r=0;t=12'}, b"", 12),
            ("nothing left", 200, {"ratelimit-remaining": "0", "ratelimit-reset": "8"},
             b"", 8),
            ("some left", 200, {"ratelimit-remaining": "3", "ratelimit-reset": "8"},
             b"", None),
            ("left, by the draft", 200, {"ratelimit": '"default";r=3;t=12'}, b"", None),
            ("bucket full", 200, {"x-shopify-shop-api-call-limit": "40/40"}, b"", 1),
            ("bucket not full", 200, {"x-shopify-shop-api-call-limit": "39/40"}, b"",
             None),
            ("Telegram", 429, {}, b'{"ok": false, "parameters": {"retry_after": 30}}', 30),
            ("body", 429, {}, b'{"retry_after": 0.4}', 1),
            ("body of a 503", 503, {}, b'{"error": {"retryAfter": "7"}}', 7),
            ("header before body", 429, {"retry-after": "3"}, b'{"retry_after": 9}', 3),
            ("nonsense, then body", 429, {"retry-after": "soon"}, b'{"retry_after": 9}',
             9),
            ("true is no number", 429, {}, b'{"retry_after": true}', None),
            ("a list", 429, {}, b"[1]", None),
            ("no JSON", 429, {}, b"<html>", None),
            ("nothing", 429, {}, b"", None),
            ("202 that is polled", 202, {"retry-after": "5"}, b"", None),
            ("a good body", 200, {}, b'{"retry_after": 9}', None),
            ("no such record", 404, {"retry-after": "5"}, b"", None),
            ("no answer", None, {}, b"", None),
        ]:  # fmt: skip
            with self.subTest(name):
                self.assertEqual(
                    retry.get_wait(status, headers, body, NEW_YEAR), expected
                )


class TestDelay(PureCase):
    def test_the_schedule_is_followed_and_its_last_step_stays(self):
        hours = [2, 5, 10, 14, 20, 24, 24, 24]
        expected = [5, 5, 300, 1800] + [hour * 3600 for hour in hours]
        for attempt, seconds in enumerate(expected):
            with self.subTest(attempt=attempt):
                self.assertEqual(retry.delay(attempt, rng=lambda: 0.5), seconds)
        self.assertEqual(sum(retry.SCHEDULE), 75 * 3600 + 35 * 60 + 5)

    def test_jitter_stays_within_a_fifth_and_spreads(self):
        delays = [retry.delay(2, status=500) for _draw in range(1000)]
        self.assertGreaterEqual(min(delays), 240)
        self.assertLessEqual(max(delays), 360)
        self.assertGreater(len(set(delays)), 900)
        self.assertLess(min(delays), 260)
        self.assertGreater(max(delays), 340)

    def test_overload_and_the_wish_of_the_destination_are_never_undercut(self):
        day = 24 * 3600
        for arguments, expected in [
            ({"attempt": 1, "status": 429}, 60),
            ({"attempt": 1, "error_kind": "timeout"}, 60),
            ({"attempt": 1, "status": 503}, 4),
            ({"attempt": 1, "error_kind": "reset"}, 4),
            ({"attempt": 1, "status": 503, "retry_after": 120}, 120),
            ({"attempt": 1, "status": 429, "retry_after": 1}, 1),
            ({"attempt": 1, "status": 429, "retry_after": 0}, 60),
            ({"attempt": 3, "status": 429, "retry_after": 120}, 120),
            ({"attempt": 1, "status": 403, "retry_after": 7}, 7),
            ({"attempt": 3, "status": 503, "retry_after": 120}, 1440),
            ({"attempt": 1, "error_kind": "timeout", "retry_after": 2}, 60),
            ({"attempt": 1, "status": 429, "throttled_for": 240}, 240),
            ({"attempt": 1, "status": 429, "throttled_for": 9000}, 1800),
            ({"attempt": 1, "status": 503, "retry_after": 10**12}, day),
        ]:
            with self.subTest(arguments):
                self.assertEqual(retry.delay(**arguments, rng=lambda: 0), expected)


class TestParseRetryAfter(PureCase):
    def test_seconds_and_dates_are_understood_and_nonsense_is_not(self):
        for value, expected in [
            ("120", 120),
            (" 0 ", 0),
            (NEW_YEAR_0030, 30),
            ("Wednesday, 01-Jan-25 00:00:30 GMT", 30),
            ("Wed, 01 Jan 2025 00:00:30 -0000", 30),
            ("Wed, 01 Jan 2025 02:00:30 +0200", 30),
            ("Tue, 31 Dec 2024 23:59:00 GMT", 0),
            ("1000000000000", 10**12),
            ("9" * 5000, 10**18),
            ("soon", None),
            ("-5", None),
            ("1.5", 2),
            ("2.0", 2),
            ("0.5", 1),
            ("3.", 3),
            (".5", None),
            ("1.5.2", None),
            ("1e3", None),
            (str(NEW_YEAR_EPOCH + 30), 30),
            (f"{NEW_YEAR_EPOCH + 30}.25", 31),
            (str((NEW_YEAR_EPOCH + 30) * 1000), 30),
            (str(NEW_YEAR_EPOCH - 30), 0),
            ("١٢", None),
            ("Wed, 99 Jan 2025 00:00:30 GMT", None),
            ("", None),
            (None, None),
        ]:
            with self.subTest(value=value and value[:40]):
                self.assertEqual(retry.parse_retry_after(value, NEW_YEAR), expected)


class TestBreaker(PureCase):
    def _failed(self, times, breaker=None, now=NEW_YEAR):
        breaker = breaker or Breaker()
        for _failure in range(times):
            breaker = breaker.record(False, now)
        return breaker

    def test_it_opens_at_the_tenth_failure_in_a_row(self):
        self.assertEqual(self._failed(9).allows(NEW_YEAR), "yes")
        recovered = self._failed(9).record(True, NEW_YEAR)
        self.assertEqual(self._failed(9, recovered).allows(NEW_YEAR), "yes")
        self.assertEqual(self._failed(10).allows(NEW_YEAR), "no")

    def test_after_the_pause_one_probe_is_let_through(self):
        breaker = self._failed(10)
        almost, over = (NEW_YEAR + timedelta(seconds=s) for s in (59.9, 60))
        self.assertEqual(breaker.allows(almost), "no")
        self.assertEqual(breaker.allows(over), "probe")
        probing = breaker.probe(over, lease=45)
        self.assertEqual(probing.allows(over), "no")
        self.assertEqual(probing.allows(over + timedelta(seconds=45)), "probe")

    def test_a_probe_that_succeeds_closes_it_completely(self):
        over = NEW_YEAR + timedelta(seconds=60)
        closed = self._failed(10).probe(over, 45).record(True, over)
        self.assertEqual(closed, Breaker())

    def test_each_probe_that_fails_doubles_the_pause_up_to_an_hour(self):
        breaker, now, pauses = self._failed(10), NEW_YEAR, []
        for _opening in range(40):
            pauses.append((breaker.opened_until - now).total_seconds())
            now = breaker.opened_until
            breaker = breaker.probe(now, 45).record(False, now)
        self.assertEqual(pauses[:7], [60, 120, 240, 480, 960, 1920, 3600])
        self.assertEqual(set(pauses[7:]), {3600})

    def test_answers_that_come_late_do_not_lengthen_the_pause(self):
        breaker = self._failed(10)
        later = NEW_YEAR + timedelta(seconds=5)
        self.assertEqual(self._failed(20, breaker, later), breaker)
        self.assertEqual(breaker.record(True, later), Breaker())

    def test_naive_moments_as_the_orm_keeps_them_work_too(self):
        now = NEW_YEAR.replace(tzinfo=None)
        self.assertEqual(self._failed(10, now=now).allows(now), "no")
