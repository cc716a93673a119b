from unittest.mock import patch

from odoo.exceptions import ValidationError
from odoo.fields import Command
from odoo.tests import Form, TransactionCase, new_test_user, tagged

from ..models.bj_api_sync_config import MASK
from ..models.bj_api_sync_gate import is_open
from ..tools import credential
from .common import PARTNER_LINES, ApiCase, ConfigMixin
from .quick_hashes import quick_hashes


class HeaderCase(ConfigMixin, TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.config = cls.make_config(
            PARTNER_LINES, endpoint="guarded", auth_type="none"
        )

    def setUp(self):
        super().setUp()
        quick_hashes(self)

    def make_header(self, config=None, **vals):
        vals = {"config_id": (config or self.config).id, "name": "X-Key", **vals}
        return self.env["bj.api.sync.header"].create(vals)

    def make_old(self, **columns):
        """Return a header as an older version could leave it."""
        header = self.make_header(value="typed")
        self.env.flush_all()
        columns = {"value_clear": None, "value_secret": None, **columns}
        names = ", ".join(f"{name} = %s" for name in columns)
        self.env.cr.execute(
            f"UPDATE bj_api_sync_header SET {names} WHERE id = %s",
            [*columns.values(), header.id],
        )
        self.env.invalidate_all()
        return header

    def read_columns(self, header):
        self.env.flush_all()
        self.env.cr.execute(
            "SELECT value_clear, value_secret FROM bj_api_sync_header WHERE id = %s",
            [header.id],
        )
        return self.env.cr.fetchone()


class TestHeaderValues(HeaderCase):
    def test_a_header_without_a_value_matches_nothing_and_not_even_nothing(self):
        for is_secret in (True, False):
            for value in (None, "", " ", "\t "):
                header = self.make_old(is_secret=is_secret, value_clear=value)
                for received in (None, "", " ", "\t", "False", "None", "x", "\udcff"):
                    with self.subTest(value=value, received=received):
                        self.assertFalse(header._matches(received))

    def test_a_hash_of_nothing_matches_nothing(self):
        for stored in (credential.hash_token(""), credential.hash_typed(" ")):
            header = self.make_old(is_secret=True, value_secret=stored)
            for received in (None, "", " ", "Bearer", "Bearer "):
                with self.subTest(stored=stored, received=received):
                    self.assertFalse(header._matches(received))

    def test_only_the_value_matches(self):
        for is_secret in (True, False):
            header = self.make_header(value="clé-1", is_secret=is_secret)
            self.assertTrue(header._matches("clé-1"))
            for received in ("clé-", "clé-1,clé-1", "CLÉ-1", "cl\u00c3\u00a9-1", MASK):
                with self.subTest(is_secret=is_secret, received=received):
                    self.assertFalse(header._matches(received))

    def test_blanks_around_a_value_are_not_part_of_it_as_servers_take_them_away(self):
        for is_secret in (True, False):
            header = self.make_header(value=" abc\t", is_secret=is_secret)
            self.assertTrue(header._matches("abc"))

    def test_an_endpoint_takes_no_header_without_a_value(self):
        for vals in (
            {},
            {"value": False},
            {"value": ""},
            {"value": "  "},
            {"value": "Bearer "},
            {"is_secret": False},
            {"value": "\t", "is_secret": False},
            {"value_clear": " "},
        ):
            with self.subTest(vals=vals):
                with self.assertRaises(ValidationError) as caught:
                    self.make_header(**vals)
                words = 'Header "X-Key" of guarded has no value'
                self.assertIn(words, str(caught.exception))
            with self.subTest(x2many=vals), self.assertRaises(ValidationError):
                self.config.header_ids = [Command.create({"name": "X-Key", **vals})]
            with self.subTest(with_config=vals), self.assertRaises(ValidationError):
                self.make_config(
                    PARTNER_LINES,
                    endpoint="another",
                    header_ids=[Command.create({"name": "X-Key", **vals})],
                )

    def test_a_value_cannot_be_taken_away_from_a_header_of_an_endpoint(self):
        for is_secret in (True, False):
            header = self.make_header(value="abc", is_secret=is_secret)
            for vals in ({"value": False}, {"value": " "}, {"value": "Bearer "}):
                with self.subTest(vals=vals), self.assertRaises(ValidationError):
                    header.write(vals)
                with self.subTest(x2many=vals), self.assertRaises(ValidationError):
                    self.config.header_ids = [Command.update(header.id, vals)]

    def test_the_mark_goes_only_with_the_value_typed_anew(self):
        header = self.make_header(value="abc")
        for value in ({}, {"value": MASK}, {"value": False}):
            with self.assertRaises(ValidationError) as caught:
                header.write({"is_secret": False, **value})
            self.assertIn("type it anew", str(caught.exception))
        self.env.invalidate_all()
        self.assertTrue(header._matches("abc"))
        header.write({"is_secret": False, "value": "new"})
        self.assertEqual(header.value, "new")
        self.assertTrue(header._matches("new"))

    def test_an_old_header_without_a_value_can_be_changed_otherwise(self):
        header = self.make_old(is_secret=False)
        self.assertFalse(is_open(self.config._compile_endpoint()))
        self.config.write({"description": "x", "limit": 7})
        header.name = "X-Other"
        self.config.header_ids = [Command.update(header.id, {"name": "X-Third"})]
        self.assertEqual((header.name, header.value), ("X-Third", False))
        self.assertFalse(header._matches(""))
        header.value = "typed"
        self.assertTrue(header._matches("typed"))

    def test_a_mapping_may_have_one_until_it_becomes_an_endpoint(self):
        self.make_header(value="abc")
        copy = self.config.copy()
        self.assertFalse(copy.header_ids.value)
        self.assertTrue(copy.header_ids.is_secret)
        with self.assertRaises(ValidationError):
            copy.endpoint = "copied"
        copy.write(
            {
                "endpoint": "copied",
                "header_ids": [Command.update(copy.header_ids.id, {"value": "mine"})],
            }
        )
        self.assertTrue(copy.header_ids._matches("mine"))
        with self.assertRaises(ValidationError):
            self.config.copy({"endpoint": "another"})

    def test_a_change_of_direction_asks_for_the_values_of_an_endpoint(self):
        out = self.make_config(
            PARTNER_LINES,
            request_type="out",
            methods=("POST",),
            url="http://localhost/",
            auth_type="none",
            header_ids=[Command.create({"name": "X-Key", "value": "abc"})],
        )
        self.assertFalse(out.header_ids.is_secret)
        out.header_ids.is_secret = True
        with self.assertRaises(ValidationError):
            out.write({"request_type": "in", "endpoint": "turned"})
        out.write({"request_type": "in"})
        self.assertFalse(out.header_ids.value)

    def test_an_endpoint_that_nobody_can_call_is_shut_and_says_so(self):
        self.assertTrue(self.config.is_public)
        self.assertFalse(self.config.has_empty_header)
        header = self.make_old(is_secret=False)
        self.assertTrue(self.config.has_empty_header)
        self.assertFalse(self.config.is_public)
        user = new_test_user(self.env, "bj_reader", "bj_api_sync.group_bj_api_user")
        self.assertTrue(self.config.with_user(user).has_empty_header)
        header.value = "typed"
        self.assertFalse(self.config.has_empty_header)


class TestHeaderSecrets(HeaderCase):
    def test_what_callers_send_is_secret_unless_somebody_says_otherwise(self):
        header = self.make_header(name="X-Shop", value="s3cret-value")
        self.assertTrue(header.is_secret)
        self.assertEqual(header.value, MASK)
        self.assertNotIn("s3cret-value", str(self.read_columns(header)))
        header = self.make_header(name="X-Shop", value="main", is_secret=False)
        self.assertEqual(header.value, "main")

    def test_a_new_line_of_the_form_is_secret_where_callers_send_it(self):
        out = self.make_config(
            PARTNER_LINES,
            request_type="out",
            methods=("POST",),
            url="http://localhost/",
            auth_type="none",
        )
        for config, expected in ((self.config, True), (out, False)):
            with Form(config) as form, form.header_ids.new() as line:
                self.assertEqual(line.is_secret, expected)
                line.name = "X-Shop"
                line.value = "main"
            self.assertEqual(config.header_ids.is_secret, expected)
            self.assertEqual(config.header_ids.value, MASK if expected else "main")

    def test_a_name_that_says_secret_seals_without_the_mark(self):
        out = self.make_config(
            PARTNER_LINES,
            request_type="out",
            methods=("POST",),
            url="http://localhost/",
            auth_type="none",
        )
        user = new_test_user(self.env, "bj_reader", "bj_api_sync.group_bj_api_user")
        for config in (self.config, out):
            for name in ("X-Api-Key", "X-Auth-TOKEN", "authorization", "Cookie"):
                with self.subTest(name=name, direction=config.request_type):
                    header = self.make_header(
                        config, name=name, value="s3cret-value", is_secret=False
                    )
                    self.assertEqual(header.with_user(user).value, MASK)
                    self.assertNotIn("s3cret-value", str(self.read_columns(header)))
                    self.assertIn(name.lower(), config._get_secret_header_names())
                    if config == out:
                        self.assertEqual(header._get_value(), "s3cret-value")
                    else:
                        self.assertTrue(header._matches("s3cret-value"))
        header = self.make_header(out, name="X-Shop", value="main")
        self.assertEqual(header.value, "main")
        header.name = "X-Shop-Token"
        self.assertEqual(self.read_columns(header)[0], None)
        self.assertEqual(header._get_value(), "main")
        names = self.env["bj.api.sync.outbound"]._get_draft(out).headers
        self.assertEqual(names, {})

    def test_a_value_in_clear_of_before_works_and_is_sealed_by_the_nightly_job(self):
        old = self.make_old(
            name="X-Api-Key", is_secret=False, value_clear="s3cret-value"
        )
        self.assertEqual(old.value, MASK)
        self.assertTrue(old._matches("s3cret-value"))
        self.env["bj.api.sync.secret"]._renew_old_hashes()
        self.assertNotIn("s3cret-value", str(self.read_columns(old)))
        self.assertTrue(old._matches("s3cret-value"))

    def test_a_bare_hash_of_before_works_and_is_renewed_without_the_value(self):
        bare = credential.hash_token("s3cret-value")
        header = self.make_old(is_secret=True, value_secret=bare)
        self.config.write({"auth_type": "bearer"})
        tokens = self.env["bj.api.sync.token"]
        tokens._set_typed(self.config, "typed-token-1234567")
        token = self.config.token_ids.sudo()
        token.token_hash = credential.hash_token("typed-token-1234567")
        blank = self.make_old(is_secret=True, value_secret=credential.hash_token(""))
        generated = credential.hash_token(self.make_token(self.config))
        self.assertTrue(header._matches("s3cret-value"))
        self.assertFalse(header._matches("s3cret-valu"))
        with patch.object(credential, "hash_token", side_effect=AssertionError):
            for record in (header.sudo(), token):
                record._renew_hashes()
        self.env["bj.api.sync.secret"]._renew_old_hashes()
        for stored in (header.sudo().value_secret, token.token_hash):
            self.assertRegex(stored, r"\A\$pbkdf2-sha512\$")
        self.assertTrue(header._matches("Bearer s3cret-value"))
        self.assertFalse(header._matches("s3cret-valu"))
        self.assertFalse(blank._matches(""))
        self.assertIn(generated, self.config.token_ids.sudo().mapped("token_hash"))

    def test_equal_values_are_stored_differently(self):
        headers = self.make_header(value="same") | self.make_header(value="same")
        stored = headers.sudo().mapped("value_secret")
        self.assertEqual(len(set(stored)), 2)
        self.assertFalse(any(map(credential.is_digest, stored)))


@tagged("post_install", "-at_install")
class TestHeadersOverHttp(ApiCase):
    def setUp(self):
        super().setUp()
        quick_hashes(self)

    def _status(self, headers=None, token=None):
        return self._call("GET", headers=headers, token=token).status_code

    def test_a_header_without_a_value_lets_nobody_in(self):
        self.set_parameter("max_auth_failures", "0")
        self.config.write({"auth_type": "none", "user_id": self.user.id})
        self.config.header_ids = [Command.create({"name": "X-Key", "value": "abc"})]
        self.assertEqual(self._status({"X-Key": "abc"}), 200)
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE bj_api_sync_header SET value_clear = NULL, value_secret = NULL"
        )
        self.env.invalidate_all()
        for is_secret in (True, False):
            self.config.header_ids.is_secret = is_secret
            for value in (None, "", "abc"):
                with self.subTest(is_secret=is_secret, value=value):
                    self.assertEqual(self._status({"X-Key": value}), 401)

    def test_a_header_that_is_sent_twice_is_another_value(self):
        self.config.header_ids = [
            Command.create({"name": "X-Key", "value": "abc"}),
            Command.create({"name": "X-Shop", "value": "main", "is_secret": False}),
        ]
        for pairs, expected in (
            ([("X-Key", "abc"), ("X-Shop", "main")], 200),
            ([("X-Key", "abc"), ("X-Key", "abc"), ("X-Shop", "main")], 401),
            ([("X-Key", ""), ("X-Key", "abc"), ("X-Shop", "main")], 401),
            ([("X-Key", "abc"), ("X-Shop", "main"), ("X-Shop", "x")], 401),
        ):
            with self.subTest(pairs=pairs):
                target = "/bj_api_sync/v1/contacts?limit=1"
                status, _headers, _body = self._call_raw("GET", target, headers=pairs)
                self.assertEqual(status, expected)

    def test_headers_of_another_company_guard_all_the_same(self):
        company = self.env["res.company"].create({"name": "Other"})
        self.user.company_ids |= company
        self.config.company_id = company
        self.config.header_ids = [Command.create({"name": "X-Key", "value": "abc"})]
        self.assertEqual(self._status(token=self.token), 401)
        self.assertEqual(self._status({"X-Key": "abc"}, self.token), 200)

    def test_what_callers_send_is_masked_in_logs_with_the_mark_or_without(self):
        self.config.header_ids = [
            Command.create({"name": "X-Shop", "value": "main-7", "is_secret": False})
        ]
        for value, status in (("main-7", 200), ("main-8", 401)):
            response = self._call("GET", headers={"X-Shop": value})
            self.assertEqual(response.status_code, status)
            self.assertNotIn(value, str(self._logs(response).read()))

    def test_passwords_and_logins_of_nothing_open_nothing(self):
        self.set_parameter("max_auth_failures", "0")
        self.config.write(
            {"auth_type": "basic", "auth_login": "shop", "auth_password": "abc"}
        )
        with self.assertRaises(ValidationError):
            self.config.auth_password = "  "
        for column, value in (
            ("auth_password_secret", None),
            ("auth_password_secret", ""),
            ("auth_login", None),
        ):
            self.env.flush_all()
            self.env.cr.execute(
                f"UPDATE bj_api_sync_config SET {column} = %s WHERE id = %s",
                [value, self.config.id],
            )
            self.env.invalidate_all()
            self.env.registry.clear_cache()
            for pair in ("c2hvcDo=", "Og==", "OmFiYw==", "c2hvcDphYmM="):
                with self.subTest(column=column, pair=pair):
                    headers = {"Authorization": f"Basic {pair}"}
                    expected = 401
                    self.assertEqual(self._status(headers), expected)
