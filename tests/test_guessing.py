from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.tests import tagged
from odoo.tools import config as odoo_config

from ..models import bj_api_sync_gate as gate_module
from ..tools import credential
from ..tools.message import InboundRequest
from ..tools.proxy import SILENCE, ProxyWatch
from .common import PARTNER_LINES, ApiCase
from .pure_case import PureCase
from .quick_hashes import ROUNDS, quick_hashes
from .test_gate import basic

TYPED = "typed-token-1234567"


class Counting:
    """Stands for passlib's context and counts what it verifies."""

    def __init__(self, context):
        self.context = context
        self.count = 0

    def verify(self, *args):
        self.count += 1
        return self.context.verify(*args)

    def __getattr__(self, name):
        return getattr(self.context, name)


class GuessingCase(ApiCase):
    def setUp(self):
        super().setUp()
        quick_hashes(self)
        self.slow = Counting(credential._passwords)
        self.patch(credential, "_passwords", self.slow)
        for name in ("_right", "_wrong"):
            self.patch(credential, name, set())

    def _status(self, token=None, headers=None, path="contacts?limit=1"):
        return self._call("GET", path, headers=headers, token=token).status_code

    def _count_slow(self, *args, **options):
        """Return ``(status, number of slow checks)`` of a call."""
        before = self.slow.count
        status = self._status(*args, **options)
        return status, self.slow.count - before

    def _lock(self):
        """Note too many wrong tries, as the rollback of a test's call forgets them."""
        self.set_parameter("max_auth_failures", "3")
        self.env["bj.api.sync.gate"]._note_failure("127.0.0.1", 3)

    def _make_basic(self, config, **vals):
        config.write(
            {"auth_type": "basic", "auth_login": "shop", "auth_password": "right"}
            | vals
        )


@tagged("post_install", "-at_install")
class TestLockedOut(GuessingCase):
    def test_a_right_generated_token_passes_and_nothing_else(self):
        self.config.bearer_token = TYPED
        self.assertEqual(self._status(TYPED), 200)
        past = fields.Datetime.now() - timedelta(seconds=1)
        others = [
            None,
            "wrong",
            credential.new_token(),
            self.token[:-1],
            TYPED,  # somebody has made it up, so it can be guessed
            self.make_token(self.config, expiry_date=past),
            self.make_token(self.config, allowed_networks="203.0.113.0/24"),
            self.make_token(self.make_other()),
        ]
        revoked = self.make_token(self.config, "Revoked")
        self.config.token_ids.filtered(lambda t: t.name == "Revoked").action_revoke()
        self._lock()
        self.assertEqual(self._status(self.token), 200)
        before = self.slow.count
        answers = set()
        for token in (*others, revoked):
            response = self._call("GET", token=token)
            self.assertEqual(response.status_code, 429)
            self.assertTrue(0 < int(response.headers["Retry-After"]) <= 300)
            # a flood of guesses does not become a flood of rows
            self.assertFalse(self._logs(response))
            answers.add(response.json()["message"])
        self.assertEqual(len(answers), 1)
        self.assertEqual(self.slow.count, before)  # nor does it cost anything
        self.env["bj.api.sync.counter"].search([]).sudo().unlink()
        self.assertEqual(self._status(TYPED), 200)

    def make_other(self):
        return self.make_config(PARTNER_LINES, endpoint="other", user_id=self.user.id)

    def test_a_header_or_a_password_can_be_guessed_and_waits(self):
        self.config.header_ids = [(0, 0, {"name": "X-Key", "value": "k-1"})]
        right = {"X-Key": "k-1"}
        self.assertEqual(self._status(self.token, right), 200)
        self._lock()
        for headers in (right, {"X-Key": "k-2"}, {}):
            self.assertEqual(self._status(self.token, headers), 429)
        self.config.auth_type = "none"
        self.assertEqual(self._status(headers=right), 429)
        self.config.header_ids.unlink()
        self._make_basic(self.config)
        self.assertEqual(self._status(headers=basic("shop", "right")), 429)

    def test_the_documents_are_open_to_a_generated_token_too(self):
        self.make_other()
        self._make_basic(self.make_config(PARTNER_LINES, endpoint="third"))
        self._lock()
        for path in ("openapi.json", "postman.json", "health?max_queue_age=9999999"):
            self.assertEqual(self._status(self.token, path=path), 200)
            for headers in ({"Authorization": "Bearer x"}, basic("shop", "right")):
                self.assertEqual(self._status(headers=headers, path=path), 429)

    def test_an_ordinary_call_takes_no_more_statements(self):
        gate = self.env["bj.api.sync.gate"]
        endpoint = self.config._compile_endpoint()
        self.config.token_ids.last_use_date = fields.Datetime.now()
        request = InboundRequest(
            "GET",
            "contacts",
            headers={"authorization": f"Bearer {self.token}"},
            remote_addr="127.0.0.1",
        )
        self.env.flush_all()
        for typed in (False, TYPED):
            self.config.bearer_token = typed
            self.env.flush_all()
            with self.assertQueryCount(1):
                gate._authenticate(endpoint, request)
            self.assertEqual(self.slow.count, 0)


@tagged("post_install", "-at_install")
class TestSlowChecks(GuessingCase):
    def test_a_typed_token_is_slow_once_and_a_wrong_one_each_time(self):
        self.set_parameter("max_auth_failures", "0")
        self.config.bearer_token = TYPED
        stored = self.config.token_ids.sudo().filtered("is_typed").token_hash
        self.assertFalse(credential.is_digest(stored))
        self.assertEqual(self._count_slow(TYPED), (200, 1))
        self.assertEqual(self._count_slow(TYPED), (200, 0))
        self.assertEqual(self._count_slow(self.token), (200, 0))
        for token in (None, "wrong", credential.new_token(), stored, TYPED + "8"):
            self.assertEqual(self._count_slow(token), (401, 1))
        self.config.token_ids.filtered("is_typed").expiry_date = "2020-01-01"
        self.assertEqual(self._count_slow(TYPED), (401, 1))
        self.config.token_ids.filtered("is_typed").action_revoke()
        self.assertEqual(self._status(TYPED), 401)
        self.config.bearer_token = "another-token-7654321"
        self.assertEqual(self._count_slow(TYPED), (401, 1))
        self.assertEqual(self._count_slow("another-token-7654321"), (200, 1))

    def test_a_refusal_costs_the_same_whichever_part_was_wrong(self):
        self.set_parameter("max_auth_failures", "0")
        self.config.bearer_token = TYPED
        self.config.header_ids = [(0, 0, {"name": "X-Key", "value": "k-1"})]
        self.assertEqual(self._count_slow(TYPED, {"X-Key": "k-1"}), (200, 2))
        self.assertEqual(self._count_slow(TYPED, {"X-Key": "k-1"}), (200, 0))
        for token in (TYPED, "wrong", None):
            for value in ("k-2", None):
                self.assertEqual(self._count_slow(token, {"X-Key": value}), (401, 2))
        self.assertEqual(self._count_slow("wrong", {"X-Key": "k-1"}), (401, 2))
        self.config.header_ids.unlink()
        self._make_basic(self.config)
        self.assertEqual(self._count_slow(headers=basic("shop", "right")), (200, 1))
        self.assertEqual(self._count_slow(headers=basic("shop", "right")), (200, 0))
        for login in ("shop", "other"):
            for password in ("right", "wrong", ""):
                if (login, password) != ("shop", "right"):
                    headers = basic(login, password)
                    self.assertEqual(self._count_slow(headers=headers), (401, 1))
        self.assertEqual(self._count_slow(), (401, 1))

    def test_documents_remember_where_a_known_token_is_wrong(self):
        self.config.bearer_token = TYPED
        for name in ("second", "third"):
            self.make_config(
                PARTNER_LINES, endpoint=name, bearer_token=f"{name}-{TYPED}"
            )
        status, count = self._count_slow(TYPED, path="openapi.json")
        self.assertEqual(status, 200)
        self.assertGreaterEqual(count, 3)
        self.assertEqual(self._count_slow(TYPED, path="openapi.json"), (200, 0))
        self.assertGreaterEqual(self._count_slow("guess", path="openapi.json")[1], 3)

    def test_documents_try_no_header_that_was_not_sent(self):
        for name in ("second", "third"):
            self.make_config(
                PARTNER_LINES,
                endpoint=name,
                auth_type="none",
                header_ids=[(0, 0, {"name": f"X-{name}", "value": "abc"})],
            )
        self.assertEqual(self._count_slow(self.token, path="openapi.json"), (200, 0))
        headers = {"X-second": "abc"}
        self.assertEqual(self._count_slow(headers=headers, path="docs"), (200, 0))
        self.assertEqual(
            self._count_slow(headers=headers, path="openapi.json"), (200, 1)
        )

    def test_a_password_of_before_works_and_is_kept_at_todays_cost(self):
        self._make_basic(self.config)
        config = self.config.sudo()
        self.env.flush_all()
        context = self.slow.context.copy(pbkdf2_sha512__rounds=60)
        cheap = context.hash("right")
        self.env.cr.execute(
            "UPDATE bj_api_sync_config SET auth_password_secret = %s WHERE id = %s",
            [cheap, config.id],
        )
        self.env.invalidate_all()
        self.assertEqual(self._status(headers=basic("shop", "wrong")), 401)
        self.assertEqual(config.auth_password_secret, cheap)
        self.assertEqual(self._status(headers=basic("shop", "right")), 200)
        self.assertIn(f"${ROUNDS}$", config.auth_password_secret)
        self.assertEqual(self._status(headers=basic("shop", "right")), 200)
        self.assertEqual(self._status(headers=basic("shop", "wrong")), 401)

    def test_a_short_typed_token_is_kept_slow_and_pointed_out(self):
        self.config.bearer_token = "ab"
        self.assertTrue(self.config.has_short_token)
        self.assertEqual(self._status("ab"), 200)


class TestProxyWatch(PureCase):
    def test_only_what_a_proxy_said_in_vain_is_a_fault(self):
        forwarded = {"x-forwarded-for": "203.0.113.7"}
        host = {"x-forwarded-host": "odoo.example.com"}
        for headers, is_proxy_mode, words in (
            ({}, False, ""),
            (host, False, ""),
            (forwarded, False, "proxy_mode = True"),
            (forwarded | host, False, "proxy_mode = True"),
            (forwarded, True, "X-Forwarded-Host"),
            (forwarded | host, True, ""),
        ):
            with self.subTest(headers=headers, is_proxy_mode=is_proxy_mode):
                fault = ProxyWatch().find_fault(headers, is_proxy_mode)
                self.assertIn(words, fault)
                self.assertEqual(bool(fault), bool(words))

    def test_it_is_news_once_in_a_while(self):
        watch = ProxyWatch()
        self.assertEqual(
            [watch.is_news(now) for now in (5, 6, SILENCE, SILENCE + 5, SILENCE + 6)],
            [True, False, False, True, False],
        )


@tagged("post_install", "-at_install")
class TestProxyWarning(GuessingCase):
    def test_an_unheeded_proxy_is_told_once_in_the_log_and_in_health(self):
        self.patch(gate_module, "proxy_watch", ProxyWatch())
        headers = {"X-Forwarded-For": "203.0.113.7"}
        with self.assertLogs("bj.api.http", "WARNING") as logs:
            for _time in range(3):
                self.assertEqual(self._status(self.token, headers), 200)
        self.assertEqual(len(logs.output), 1)
        self.assertIn("proxy_mode = True", logs.output[0])
        self.assertIn("127.0.0.1", logs.output[0])
        self.assertNotIn("203.0.113.7", logs.output[0])
        for sent, expected in ((headers, "error"), ({}, "ok")):
            health = self._call(path="health", headers=sent)
            self.assertEqual(
                (health.status_code, health.json()["proxy"]), (200, expected)
            )
        stranger = self._call(path="health", headers=headers, token=None)
        self.assertEqual(stranger.json(), {"status": "ok"})

    def test_a_proxy_that_is_heeded_is_no_news(self):
        self.patch(gate_module, "proxy_watch", ProxyWatch())
        headers = {
            "X-Forwarded-For": "203.0.113.7",
            "X-Forwarded-Host": "odoo.example.com",
        }
        with (
            patch.dict(odoo_config.options, {"proxy_mode": True}),
            self.assertNoLogs("bj.api.http", "WARNING"),
        ):
            self.assertEqual(self._status(self.token, headers), 200)
