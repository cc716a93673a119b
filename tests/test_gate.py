import base64
import time
from datetime import timedelta

from odoo import fields
from odoo.tests import BaseCase, tagged

from ..models.bj_api_sync_gate import get_caller, is_in_networks, pick_language
from ..tools import credential
from .common import ApiCase
from .quick_hashes import quick_hashes


def basic(login, password):
    return {
        "Authorization": "Basic "
        + base64.b64encode(f"{login}:{password}".encode()).decode()
    }


class TestNetworks(BaseCase):
    def test_an_address_is_in_one_of_the_networks_or_not(self):
        for address, networks, expected in (
            ("10.1.2.3", ["10.0.0.0/8"], True),
            ("10.1.2.3", ["192.168.0.0/16", "10.1.2.3"], True),
            ("11.1.2.3", ["10.0.0.0/8"], False),
            ("::ffff:10.1.2.3", ["10.0.0.0/8"], True),
            ("2001:db8::1", ["10.0.0.0/8", "2001:db8::/32"], True),
            ("10.1.2.3", ["10.1.2.3/8"], True),
            ("", ["10.0.0.0/8"], False),
            ("unix:", ["10.0.0.0/8"], False),
            ("10.1.2.3", [], True),
            ("10.1.2.3", ["", " "], True),
        ):
            with self.subTest(address=address, networks=networks):
                self.assertEqual(is_in_networks(address, networks), expected)


class TestCaller(BaseCase):
    def test_the_addresses_of_one_ipv6_network_are_one_caller(self):
        self.assertEqual(get_caller("2001:db8::1"), get_caller("2001:db8::ffff:1"))
        self.assertNotEqual(get_caller("2001:db8::1"), get_caller("2001:db8:0:1::1"))
        self.assertEqual(get_caller("2001:db8::1"), "2001:db8::/64")

    def test_an_ipv4_address_is_a_caller_however_it_is_written(self):
        for address in ("203.0.113.5", "::ffff:203.0.113.5"):
            self.assertEqual(get_caller(address), "203.0.113.5")
        self.assertNotEqual(get_caller("203.0.113.5"), get_caller("203.0.113.6"))

    def test_what_is_no_address_is_a_caller_too(self):
        for text in ("", "unix:", "1:2"):
            self.assertEqual(get_caller(text), text)


class TestPickLanguage(BaseCase):
    def test_the_installed_language_that_is_liked_most_is_picked(self):
        installed = ["en_US", "uk_UA", "pt_BR"]
        for header, expected in (
            ("uk", "uk_UA"),
            ("uk-UA", "uk_UA"),
            ("UK_ua", "uk_UA"),
            ("pt-PT", "pt_BR"),
            ("de, uk;q=0.3, en;q=0.7", "en_US"),
            ("uk;q=0", None),
            ("*", None),
            ("", None),
            ("de", None),
            ("uk;q=x", None),
        ):
            with self.subTest(header=header):
                self.assertEqual(pick_language(header, installed), expected)


@tagged("post_install", "-at_install")
class TestAuthentication(ApiCase):
    def setUp(self):
        super().setUp()
        quick_hashes(self)

    def _status(self, headers=None, path="contacts?limit=1", token=None):
        return self._call("GET", path, headers=headers, token=token).status_code

    def assertRefused(self, response, scheme="Bearer"):
        self.assertEqual(response.status_code, 401)
        self.assertEqual(response.json()["message"], "Authentication failed")
        self.assertEqual(
            response.headers["WWW-Authenticate"], f'{scheme} realm="bj_api_sync"'
        )

    def test_missing_wrong_and_malformed_credentials_are_answered_alike(self):
        self.set_parameter("max_auth_failures", "0")
        seen = set()
        for value in (
            None,
            "",
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            f"Basic {self.token}",
            self.token,
            f"Token {self.token}",
            f"Bearer {self.token} x",
            f"Bearer {self.token[:-1]}",
            "Bearer " + "x" * 9000,
            "Bearer \u00ff",
            "Basic !!!",
            "Basic " + base64.b64encode(b"no colon").decode(),
        ):
            with self.subTest(value=value):
                value = value if value is None else value.encode("latin-1")
                response = self._call("GET", headers={"Authorization": value})
                self.assertRefused(response)
                body = response.json()
                body.pop("request_id")
                seen.add(str(body))
        self.assertEqual(len(seen), 1)

    def test_any_of_several_tokens_opens(self):
        second = self.make_token(self.config)
        for token in (self.token, second):
            self.assertEqual(self._status(token=token), 200)
        header = {"Authorization": f"bearer   {second}"}
        self.assertEqual(self._status(header), 200)

    def test_expired_revoked_and_foreign_tokens_are_refused(self):
        past = fields.Datetime.now() - timedelta(seconds=1)
        other = self.make_config(
            {"name": {"field_path": "name", "is_record_identifier": True}},
            endpoint="others",
            user_id=self.user.id,
        )
        revoked = self.make_token(self.config, "Revoked")
        self.assertEqual(self._status(token=revoked), 200)
        self.config.token_ids.filtered(lambda t: t.name == "Revoked").action_revoke()
        for token in (
            self.make_token(self.config, expiry_date=past),
            revoked,
            self.make_token(other),
        ):
            self.assertRefused(self._call("GET", token=token))

    def test_a_token_may_be_bound_to_networks(self):
        for networks, status in (
            ("127.0.0.0/8, ::1", 200),
            ("203.0.113.0/24 127.0.0.1", 200),
            ("203.0.113.0/24", 401),
        ):
            token = self.make_token(self.config, allowed_networks=networks)
            self.assertEqual(self._status(token=token), status)

    def test_what_is_typed_into_bearer_token_opens_with_or_without_the_word(self):
        for typed in ("Bearer typed-token-1234567", "typed-token-1234567"):
            with self.subTest(typed=typed):
                self.config.bearer_token = typed
                self.assertEqual(self._status(token="typed-token-1234567"), 200)
        self.config.token_ids.filtered("is_typed").action_revoke()
        self.assertEqual(self._status(token="typed-token-1234567"), 401)
        self.config.bearer_token = "typed-token-1234567"
        self.assertEqual(self._status(token="typed-token-1234567"), 200)
        self.config.bearer_token = False
        self.assertEqual(self._status(token="typed-token-1234567"), 401)
        self.assertEqual(self._status(token=self.token), 200)

    def test_a_token_is_kept_only_as_a_hash_and_notes_its_use(self):
        token = self.config.token_ids
        self.env.cr.execute("SELECT * FROM bj_api_sync_token")
        self.assertNotIn(self.token, str(self.env.cr.fetchall()))
        self.assertFalse(token.last_use_date)
        self._status(token=self.token)
        self.assertTrue(token.last_use_date)
        self.assertEqual(token.last_use_addr, "127.0.0.1")

    def test_basic_takes_the_login_and_the_password_only_together(self):
        self.config.write(
            {"auth_type": "basic", "auth_login": "shop", "auth_password": "pass:wörd"}
        )
        for _twice in range(2):  # the second time it is remembered
            self.assertEqual(self._status(basic("shop", "pass:wörd")), 200)
        for login, password in (
            ("shop", "pass"),
            ("Shop", "pass:wörd"),
            ("", "pass:wörd"),
            ("shop", ""),
            ("shop", "x" * 5000),
        ):
            response = self._call("GET", headers=basic(login, password))
            self.assertRefused(response, "Basic")
        self.assertEqual(self._status(token=self.token), 401)
        self.config.auth_password = "other"
        self.assertEqual(self._status(basic("shop", "pass:wörd")), 401)
        self.assertEqual(self._status(basic("shop", "other")), 200)

    def test_no_password_takes_as_long_as_a_wrong_one(self):
        self.config.write(
            {"auth_type": "basic", "auth_login": "shop", "auth_password": "right"}
        )
        gate = self.env["bj.api.sync.gate"]
        endpoint = self.config._compile_endpoint()

        def fastest(given):
            def once():
                started = time.thread_time()  # not what others take meanwhile
                checks = credential.Checks()
                self.assertIsNone(gate._check_password(endpoint, given, checks))
                return time.thread_time() - started

            return min(once() for _number in range(9))

        wrong = fastest(credential.Basic("shop", "wrong"))
        for given in (None, credential.Basic("other", "wrong")):
            self.assertLess(wrong / 2, fastest(given))

    def test_no_auth_runs_as_the_public_user(self):
        config = self.make_config(
            {"code": {"field_path": "code", "is_record_identifier": True}},
            "res.country",
            endpoint="open",
            auth_type="none",
            response_script="response_data = env.uid",
        )
        public = self.env.ref("base.public_user")
        self.assertEqual(config.user_id, public)
        response = self._call("GET", "open", token=None)
        self.assertEqual(response.json(), public.id)

    def test_custom_headers_alone_or_on_top_must_all_be_right(self):
        key = {"X-Key": "k€y-1".encode(), "X-Shop": "7"}
        rows = [
            (0, 0, {"name": "X-Key", "value": "k€y-1", "is_secret": True}),
            (0, 0, {"name": "x-shop", "value": "7"}),
        ]
        self.config.header_ids = rows
        self.assertEqual(self._status({"X-Key": "secret"}, token=self.token), 401)
        rows[0][2]["value"] = "key-1"
        key["X-Key"] = "key-1"
        self.config.header_ids = [(5, 0, 0), *rows]
        for auth, right in (
            ("bearer", {"Authorization": f"Bearer {self.token}"}),
            ("none", {}),
            ("basic", basic("shop", "secret")),
        ):
            self.config.write(
                {"auth_type": auth, "auth_login": "shop", "auth_password": "secret"}
            )
            for headers, status in (
                ({**right, **key}, 200),
                (right, 401),
                ({**right, "X-Key": "key-1"}, 401),
                ({**right, **key, "X-Key": "key-2"}, 401),
                ({**right, **key, "X-Shop": "07"}, 401),
                (key, 200 if auth == "none" else 401),
            ):
                with self.subTest(auth=auth, headers=headers):
                    self.assertEqual(self._status(headers), status)
        self.env.cr.execute("SELECT * FROM bj_api_sync_header")
        self.assertNotIn("key-1", str(self.env.cr.fetchall()))

    def test_only_allowed_networks_get_in(self):
        self.config.allowed_networks = "203.0.113.0/24"
        response = self._call("GET")
        self.assertEqual(response.status_code, 403)
        self.config.allowed_networks = "203.0.113.0/24 127.0.0.1"
        self.assertEqual(self._status(token=self.token), 200)

    def test_a_forwarded_address_is_not_believed_without_proxy_mode(self):
        self.config.allowed_networks = "203.0.113.0/24"
        for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
            headers = {name: "203.0.113.7"}
            self.assertEqual(self._status(headers, token=self.token), 403)

    def test_a_session_opens_nothing_and_none_is_made(self):
        self._use_own_sessions()
        self.authenticate("admin", "admin")
        before = self._list_sessions()
        self.assertTrue(before)
        opened = self._call("GET", token=None)
        self.assertRefused(opened)
        for response in (opened, self._call("GET"), self._call("GET", "unknown")):
            self.assertNotIn("Set-Cookie", response.headers)
        self.opener.cookies.pop("session_id")
        for token in (None, self.token):
            response = self._call("GET", token=token)
            self.assertNotIn("Set-Cookie", response.headers)
        self.assertEqual(self._list_sessions(), before)


@tagged("post_install", "-at_install")
class TestLimits(ApiCase):
    def setUp(self):
        super().setUp()
        quick_hashes(self)

    def test_calls_per_minute_and_hour_are_limited(self):
        for field, limit in (
            ("rate_limit_per_minute", 3),
            ("rate_limit_per_hour", 4),
        ):
            with self.subTest(field=field):
                self.config.write(
                    {"rate_limit_per_minute": 0, "rate_limit_per_hour": 0}
                )
                self.config[field] = limit
                left = []
                for _number in range(limit):
                    response = self._call("GET", "contacts?limit=1")
                    self.assertEqual(response.status_code, 200)
                    self.assertEqual(response.headers["X-RateLimit-Limit"], str(limit))
                    left.append(int(response.headers["X-RateLimit-Remaining"]))
                self.assertEqual(left, list(range(limit))[::-1])
                response = self._call("GET")
                self.assertEqual(response.status_code, 429)
                wait = int(response.headers["Retry-After"])
                self.assertTrue(0 < wait <= 3600)
                self.assertEqual(response.headers["X-RateLimit-Reset"], str(wait))
                self.assertEqual(len(self._logs(response)), 1)

    def test_an_error_tells_the_limits_too(self):
        self.config.rate_limit_per_minute = 5
        response = self._call("POST", json={})
        self.assertEqual(response.status_code, 400)
        self.assertEqual(response.headers["X-RateLimit-Remaining"], "4")

    def test_what_is_refused_before_does_not_count(self):
        self.config.rate_limit_per_minute = 1
        self._call("OPTIONS")
        self._call("PATCH")
        self._call("GET", token="wrong")
        self.assertEqual(self._call("GET").status_code, 200)

    def test_each_credential_has_its_own_hour(self):
        self.config.rate_limit_per_hour = 1
        other = self.make_token(self.config)
        self.assertEqual(self._call("GET").status_code, 200)
        self.assertEqual(self._call("GET").status_code, 429)
        self.assertEqual(self._call("GET", token=other).status_code, 200)

    def test_old_counters_are_vacuumed(self):
        counter = self.env["bj.api.sync.counter"]
        counter._add({"old": 60, "new": 60})
        self.env.cr.execute(
            "UPDATE bj_api_sync_counter SET start_date = start_date - INTERVAL '1 day'"
            " WHERE name = 'old'"
        )
        counter._gc_counters()
        self.assertEqual(
            counter.search([("name", "in", ("old", "new"))]).mapped("name"), ["new"]
        )
