from unittest.mock import patch

from cryptography.fernet import Fernet
from odoo import Command, tools
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests.common import TransactionCase, new_test_user
from odoo.tools import mute_logger
from psycopg2 import IntegrityError

from ..models.bj_api_sync_config import MASK
from .common import METHODS, ConfigMixin
from .test_writer import REF, nested, script

SECRET = "S3cret-of-the-other-side"


class ConfigCase(ConfigMixin, TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.configs = cls.env["bj.api.sync.config"]
        cls.manager = new_test_user(
            cls.env, "config_manager", groups="bj_api_sync.group_bj_api_manager"
        )
        cls.reader = new_test_user(
            cls.env, "config_reader", groups="bj_api_sync.group_bj_api_user"
        )

    def make_endpoint(self, lines=None, **vals):
        vals = {"endpoint": "things", "auth_type": "none", **vals}
        return self.make_config({"ref": REF, **(lines or {})}, **vals)

    def make_out(self, lines=None, **vals):
        vals = {
            "name": "Push",
            "request_type": "out",
            "url": "http://localhost/x",
            "methods": ["POST"],
            **vals,
        }
        return self.make_config(lines or {"name": "name"}, **vals)

    def get_columns(self, record):
        """Return everything that the record's row in PostgreSQL holds, as one text."""
        self.env.flush_all()
        self.env.cr.execute(
            f"SELECT row_to_json(t)::text FROM {record._table} t WHERE id = %s",
            [record.id],
        )
        return self.env.cr.fetchone()[0]

    def assertInvalid(self, text, make, *args, **vals):
        with self.assertRaisesRegex(ValidationError, text), self.env.cr.savepoint():
            make(*args, **vals)


class TestChecks(ConfigCase):
    def test_allowed_networks_are_networks(self):
        config = self.make_endpoint(allowed_networks="203.0.113.0/24, ::1 127.0.0.1")
        self.make_token(config, allowed_networks="203.0.113.0/24 127.0.0.1")
        for text in ("office", "203.0.113.0/99", "203.0.113.0/24, 10.0.0"):
            message = "Allowed Networks: .* is no network such as"
            with self.subTest(text=text):
                self.assertInvalid(message, config.write, {"allowed_networks": text})
                self.assertInvalid(
                    message, self.make_token, config, allowed_networks=text
                )

    def test_cors_origins_are_origins(self):
        config = self.make_endpoint(cors_origins="https://a.example/, null, *")
        for text in ("a.example", "https://a.example/app", "*, https://*.a.example"):
            with self.subTest(text=text):
                self.assertInvalid(
                    "CORS Origins: .* is no origin such as",
                    config.write,
                    {"cors_origins": text},
                )

    def test_the_answer_is_written_to_a_field_that_exists(self):
        for path in ("ref", "parent_id.ref"):
            self.make_out(response_field_path=path)
        for path in ("nonsense", "ref.name", "parent_id."):
            self.assertInvalid(
                "Write Answer To: res.partner has no field",
                self.make_out,
                response_field_path=path,
            )

    def test_an_endpoint_is_a_slug_and_not_reserved(self):
        for endpoint in ("a", "0", "res-partner", "a_b-c9"):
            self.make_endpoint(endpoint=endpoint)
        for endpoint in ("A", "-a", "_a", "a b", "a/b", "a.b", "ї", "a\n"):
            with self.subTest(endpoint=endpoint):
                self.assertInvalid(
                    "must consist of", self.make_endpoint, endpoint=endpoint
                )
        for endpoint in ("health", "docs"):
            self.assertInvalid("reserved", self.make_endpoint, endpoint=endpoint)

    def test_an_endpoint_is_unique_among_active_in_configurations(self):
        first = self.make_endpoint(name="First")
        self.assertInvalid("already used by First", self.make_endpoint)
        first.active = False
        second = self.make_endpoint(name="Second")
        self.assertInvalid("already used by Second", first.write, {"active": True})
        second.endpoint = "others"
        first.active = True

    def test_two_who_save_the_same_endpoint_at_once_cannot_both(self):
        self.make_endpoint()
        other = self.make_endpoint(endpoint="other")
        with (
            self.assertRaisesRegex(IntegrityError, "endpoint_unique"),
            self.env.cr.savepoint(),
            mute_logger("odoo.sql_db"),
        ):
            # What the check of the other one does not see.
            self.env.cr.execute(
                "UPDATE bj_api_sync_config SET endpoint = 'things' WHERE id = %s",
                [other.id],
            )

    def test_an_endpoint_has_methods_and_one_identifier(self):
        for text, lines, vals in [
            ("at least one HTTP method", {}, {"methods": []}),
            ("mark one line", {"ref": "ref"}, {}),
            (
                "only one line can be the record identifier, not ref, code",
                {"code": {"field_path": "barcode", "is_record_identifier": True}},
                {},
            ),
        ]:
            with self.subTest(text=text):
                self.assertInvalid(text, self.make_endpoint, lines, **vals)
        self.make_config(
            {"name": "name"}, methods=[]
        )  # a mapping for others needs none

    def test_an_out_configuration_has_one_method_and_a_url(self):
        self.make_out()
        for text, vals in [
            ("exactly one HTTP method", {"methods": ["POST", "PUT"]}),
            ("exactly one HTTP method", {"methods": []}),
            ("Request URL", {"url": False}),
            ("Request URL", {"url": "ftp://localhost/"}),
            ("Request URL", {"url": "localhost/x"}),
        ]:
            with self.subTest(vals=vals):
                self.assertInvalid(text, self.make_out, **vals)

    def test_numbers_have_limits(self):
        for name, value in [
            ("limit", 0),
            ("max_limit", -1),
            ("page_size", 0),
            ("connect_timeout", 61),
            ("read_timeout", 301),
            ("read_timeout", 0),
            ("max_attempts", 0),
            ("log_retention_days", 0),
            ("rate_limit_per_minute", -1),
        ]:
            with self.subTest(name=name, value=value):
                self.assertInvalid("must be from", self.make_endpoint, **{name: value})

    def test_a_filter_domain_must_work(self):
        for domain in (
            "[('name', '=', 'x')]",
            "[('user_id', '=', uid), ('company_id', '=', company_id)]",
            "[('create_date', '>', datetime.datetime.now() - timedelta(days=1))]",
            False,
        ):
            self.make_endpoint(filter_domain=domain, endpoint=False)
        for domain in (
            "[('nothing', '=', 1)]",
            "[('name', '=', ",
            "{}",
            "[('name', 'equals', 'x')]",
            "[('name', '=', unknown)]",
            "[('name', '=', __import__('os'))]",
        ):
            with self.subTest(domain=domain):
                self.assertInvalid(
                    "Filter Domain", self.make_endpoint, filter_domain=domain
                )

    def test_the_user_of_an_endpoint(self):
        other = self.env["res.company"].create({"name": "Other"})
        for text, vals in [
            ("OdooBot", {"user_id": self.env.ref("base.user_root").id}),
            ("not allowed in Other", {"company_id": other.id}),
        ]:
            with self.subTest(text=text):
                self.assertInvalid(text, self.make_endpoint, auth_type="bearer", **vals)
        self.assertInvalid(
            "Login and a Password", self.make_endpoint, auth_type="basic"
        )
        public = self.make_endpoint()
        self.assertEqual(public.user_id, self.env.ref("base.public_user"))
        config = self.make_endpoint(endpoint="own", auth_type="bearer")
        self.assertEqual(config.user_id, self.env.ref("base.user_admin"))
        config = self.configs.with_user(self.env.ref("base.user_admin")).create(
            {"name": "x", "model_id": self.env["ir.model"]._get_id("res.partner")}
        )
        self.assertEqual(config.user_id, self.env.ref("base.user_admin"))

    def test_a_model_has_records_of_its_own(self):
        self.assertInvalid(
            "model with records", self.make_config, {}, "mail.thread", methods=[]
        )


class TestLineChecks(ConfigCase):
    def test_each_check_names_the_line(self):
        country = self.make_config({"code": "code"}, "res.country", name="Countries")
        text_line = {"field_path": "city", "value_type": "python_plain"}

        def identifier(path, **vals):
            return {"field_path": path, "is_record_identifier": True, **vals}

        def constant(path, value):
            return {
                "field_path": path,
                "value_type": "constant",
                "constant_value": value,
            }

        for text, line in [
            ("has no field nothing", "nothing"),
            ("has no field country_id.nothing", "country_id.nothing"),
            ("has no field name.code", "name.code"),
            ("has no field name.", "name."),
            ("choose a Field", {}),
            (
                "cannot be written; map the relation",
                {"field_path": "country_id.code", "access": "write"},
            ),
            ("write a Script", text_line),
            ("cannot identify", identifier("country_id.code")),
            ("cannot identify", identifier("category_id")),
            ("cannot identify", identifier("image_1920")),
            (
                "must be a plain value",
                identifier("ref", value_type="constant") | {"constant_value": "1"},
            ),
            ("readable and plain", identifier("ref", access="write")),
            ("needs a Constant Value", constant("city", False)),
            ("expected a whole number", constant("color", "red")),
            ("expected one of", constant("type", "home")),
            ("expected an id", constant("country_id", "UA")),
            ("choose a Mapping Model", nested("country_id", self.configs)),
            ("about res.country", nested("parent_id", country)),
            ("is no relation", nested("name", country)),
            (
                "has no record identifier",
                nested("country_id", country, nested_format="identifier"),
            ),
            ("Line 1", {**text_line, "script": "import os"}),
            ("Line 2", {**text_line, "script": "1\n2 +", "script_mode": "execute"}),
            (
                "json",
                {**text_line, "script": "import json", "script_mode": "execute"},
            ),
            ("__class__", {**text_line, "script": "record.__class__"}),
            ("", {**text_line, "script": "'{}'.format(1)"}),
            ("", {**text_line, "read_script": "env.cr.commit()"}),
        ]:
            with self.subTest(text=text, line=line):
                self.assertInvalid(
                    f'(?s)Named: line "wrong": .*{text}',
                    self.make_config,
                    {"wrong": line},
                    name="Named",
                )

    def test_keys_do_not_collide(self):
        for first, second in [
            ("name", "name"),
            ("address", "address.city"),
            ("address.city", "address"),
            ("a.b.c", "a.b"),
        ]:
            with self.subTest(first=first, second=second):
                commands = [
                    Command.create({"api_key": key, "field_path": "name"})
                    for key in (first, second)
                ]
                self.assertInvalid(
                    "collides with", self.make_config, {}, line_ids=commands
                )
        self.make_config({r"address\.city": "city", "address.zip": "zip"})
        self.make_config(
            {},
            line_ids=[
                Command.create({"api_key": "x", "field_path": path, "access": access})
                for path, access in [("name", "read"), ("city", "write")]
            ],
        )

    def test_empty_parts_of_a_key_are_refused(self):
        for key in ("a..b", ".a", "a.", " "):
            with self.subTest(key=key):
                self.assertInvalid("empty part", self.make_config, {key: "name"})

    def test_a_change_of_one_line_is_checked_against_the_others(self):
        config = self.make_endpoint({"name": "name", "city": "city"})
        ref, name, city = config.line_ids
        for text, change in [
            ("collides", lambda: city.write({"api_key": "name"})),
            ("mark one line", ref.unlink),
            ("only one line", lambda: name.write({"is_record_identifier": True})),
            ("has no field", lambda: name.write({"field_path": "nothing"})),
        ]:
            with self.subTest(text=text):
                self.assertInvalid(text, change)
        config.line_ids = [  # through a state with two identifiers, or none
            Command.update(ref.id, {"is_record_identifier": False}),
            Command.update(name.id, {"is_record_identifier": True}),
        ]
        self.assertTrue(name.is_record_identifier)

    def test_a_line_that_moves_is_checked_where_it_arrives(self):
        source = self.make_config({"name": "name", "x": "city"})
        target = self.make_config({"name": "name"})
        self.assertInvalid(
            "collides", source.line_ids[0].write, {"config_id": target.id}
        )

    def test_mapping_models_of_another_company_are_refused(self):
        other = self.env["res.company"].create({"name": "Other"})
        country = self.make_config({"code": "code"}, "res.country", company_id=other.id)
        lines = {"country": nested("country_id", country)}
        self.assertInvalid("another company, Other", self.make_config, lines)
        country.company_id = False
        self.make_config(lines)
        self.assertInvalid("another company", country.write, {"company_id": other.id})

    def test_a_change_of_the_mapping_model_is_checked_against_its_users(self):
        country = self.make_config(
            {"code": {"field_path": "code", "is_record_identifier": True}},
            "res.country",
        )
        line = nested("country_id", country, nested_format="identifier")
        self.make_config({"country": line}, name="Contacts")
        for change in (
            lambda: country.line_ids.write({"is_record_identifier": False}),
            country.line_ids.unlink,
            lambda: country.write(
                {"model_id": self.env["ir.model"]._get_id("res.bank")}
            ),
        ):
            self.assertInvalid("", change)


class TestDepth(ConfigCase):
    def make_chain(self, length):
        """Return configurations, each the mapping model of the one before it."""
        chain = [self.make_config({"name": "name"}, name="C0")]
        for number in range(1, length):
            lines = {"parent": nested("parent_id", chain[0])}
            chain.insert(0, self.make_config(lines, name=f"C{number}"))
        return chain

    def test_eight_levels_below_a_configuration_and_no_more(self):
        chain = self.make_chain(9)
        lines = {"parent": nested("parent_id", chain[0])}
        self.assertInvalid("deeper than 8 levels", self.make_config, lines)

    def test_a_level_added_at_the_bottom_counts_for_those_far_above(self):
        chain = self.make_chain(9)
        leaf = self.make_config({"name": "name"})
        line = Command.create({"api_key": "more", **nested("parent_id", leaf)})
        self.assertInvalid(
            r'C8: line "parent": mapping models nest deeper',
            chain[-1].write,
            {"line_ids": [line]},
        )

    def test_cycles_are_refused_unless_an_identifier_ends_them(self):
        config = self.make_config({"ref": REF})
        other = self.make_config({"ref": REF, "parent": nested("parent_id", config)})
        for target in (config, other):
            line = {"api_key": "up", **nested("parent_id", target)}
            with self.subTest(target=target):
                self.assertInvalid(
                    "deeper than 8 .*…",
                    config.write,
                    {"line_ids": [Command.create(line)]},
                )
                line["nested_format"] = "identifier"
                config.write({"line_ids": [Command.create(line)]})
                config.line_ids.filtered("mapping_config_id").unlink()

    def test_wide_mappings_are_checked_fast(self):
        config = self.make_config({"ref": REF})
        for _level in range(8):
            lines = {f"p{n}": nested("parent_id", config) for n in range(10)}
            config = self.make_config({"ref": REF, **lines})  # 10^8 ways down
        self.assertTrue(config)


class TestSecrets(ConfigCase):
    def make_in(self, **vals):
        return self.make_endpoint(
            auth_type="basic",
            auth_login="me",
            auth_password=SECRET,
            bearer_token=SECRET + "-token",
            header_ids=[
                Command.create({"name": "X-Key", "value": SECRET, "is_secret": True})
            ],
            **vals,
        )

    def make_sealed_out(self):
        return self.make_out(
            auth_type="basic",
            auth_login="me",
            auth_password=SECRET,
            bearer_token=SECRET,
            signing_secret=SECRET,
            header_ids=[
                Command.create({"name": "X-Key", "value": SECRET, "is_secret": True})
            ],
        )

    def test_rotation_seals_every_sent_secret_under_the_first_key(self):
        old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
        with patch.dict(tools.config.options, {"bj_api_sync_key": old}):
            config = self.make_sealed_out()
            before = config.sudo().auth_password_secret
        with patch.dict(tools.config.options, {"bj_api_sync_key": f"{new},{old}"}):
            config.action_rotate_secrets()
        self.assertNotEqual(config.sudo().auth_password_secret, before)
        with patch.dict(tools.config.options, {"bj_api_sync_key": new}):
            for name in ("auth_password", "bearer_token", "signing_secret"):
                self.assertEqual(config._get_secret(name), SECRET)
            self.assertEqual(config.header_ids._get_value(), SECRET)

    def test_what_is_typed_is_in_no_column(self):
        for config in (self.make_in(), self.make_sealed_out()):
            for record in (config, config.header_ids, *config.token_ids):
                self.assertNotIn(SECRET, self.get_columns(record))

    def test_secrets_are_read_as_a_mask_and_their_columns_by_nobody(self):
        for config in (self.make_in(), self.make_sealed_out()):
            records = config.with_user(self.env.ref("base.user_admin"))
            self.assertNotIn(SECRET, str(records.read()))
            self.assertNotIn(SECRET, str(records.header_ids.read()))
            self.assertNotIn(SECRET, str(records.token_ids.read()))
            self.assertEqual(records.auth_password, MASK)
            self.assertEqual(records.bearer_token, MASK)
            self.assertEqual(records.header_ids.value, MASK)
            for name in ("auth_password_secret", "bearer_token_secret"):
                with self.subTest(name=name), self.assertRaises(AccessError):
                    records.read([name])
                with self.subTest(name=name), self.assertRaises(AccessError):
                    records.search([(name, "!=", False)])
            with self.assertRaises(AccessError):
                records.header_ids.read(["value_secret"])

    def test_secrets_are_not_exported(self):
        config = self.make_in().with_user(self.env.ref("base.user_admin"))
        names = ["name", "auth_password", "bearer_token", "signing_secret"]
        try:
            data = config.export_data([*names, "header_ids/value"])["datas"]
        except UserError:
            return
        self.assertNotIn(SECRET, str(data))
        exportable = config.fields_get(names, ["exportable"])
        for name in names[1:]:
            self.assertFalse(exportable[name].get("exportable", True))

    def test_a_copy_has_no_secrets(self):
        for config in (self.make_in(), self.make_sealed_out()):
            if config.request_type == "in":
                config.endpoint = False  # a copy has none, and needs no password then
            copy = config.copy()
            self.assertFalse(copy.auth_password)
            self.assertFalse(copy.bearer_token)
            self.assertFalse(copy.signing_secret)
            self.assertFalse(copy.token_ids)
            self.assertFalse(copy.header_ids.value)
            self.assertTrue(copy.header_ids.is_secret)

    def test_the_mask_written_back_changes_nothing(self):
        config = self.make_in()
        columns = config.sudo().auth_password_secret
        config.write({"auth_password": MASK, "bearer_token": MASK, "name": "x"})
        self.assertEqual(config.sudo().auth_password_secret, columns)
        self.assertEqual(len(config.token_ids), 1)

    def test_a_secret_can_be_changed_and_taken_away(self):
        config = self.make_sealed_out()
        self.assertEqual(config._get_secret("auth_password"), SECRET)
        config.auth_password = "other"
        config.invalidate_recordset()
        self.assertEqual(config._get_secret("auth_password"), "other")
        self.assertEqual(config.auth_password, MASK)
        config.write({"auth_password": False, "bearer_token": ""})
        self.assertFalse(config.auth_password)
        self.assertEqual(config._get_secret("bearer_token"), "")

    def test_a_manager_sets_and_changes_every_secret(self):
        # As on the form: the superuser of other tests passes every check of access.
        configs = self.configs.with_user(self.manager)
        for made in (self.make_endpoint(user_id=self.manager.id), self.make_out()):
            config = configs.browse(made.id)
            header = {"name": "X-Key", "value": SECRET, "is_secret": True}
            secrets = dict.fromkeys(
                ("auth_password", "bearer_token", "signing_secret"), SECRET
            )
            config.write({**secrets, "header_ids": [Command.create(header)]})
            for vals in ({"value": "other"}, {"is_secret": False, "value": "clear"}):
                config.header_ids = [Command.update(config.header_ids.id, vals)]
            config.write({"auth_type": "basic", "auth_login": "me"})
            self.assertEqual(config.auth_password, MASK)
            self.assertEqual(config.header_ids.value, "clear")
            config.header_ids = [Command.create(header)]
            if config.request_type == "out":
                self.assertEqual(config._get_secret("signing_secret"), SECRET)
                config.with_user(self.manager).action_rotate_secrets()
                config.request_type = "in"
            else:
                self.assertTrue(config.header_ids[-1]._matches(SECRET))
                post = config.http_method_ids[0].ids
                vals = {"request_type": "out", "http_method_ids": [Command.set(post)]}
                config.write({**vals, "url": "http://localhost/"})
            self.assertFalse(config.auth_password)

    def test_a_change_of_direction_drops_the_secrets(self):
        config = self.make_sealed_out()
        config.write({"request_type": "in"})
        self.assertFalse(config.sudo().auth_password_secret)
        self.assertFalse(config.signing_secret)
        self.assertFalse(config.header_ids.value)
        config = self.make_in()
        config.write(
            {
                "request_type": "out",
                "url": "http://localhost/",
                "http_method_ids": [Command.set(config.http_method_ids[0].ids)],
            }
        )
        self.assertFalse(config.auth_password)
        self.assertFalse(config.token_ids)
        self.assertFalse(config.sudo().header_ids.value_secret)

    def test_values_that_are_given_are_not_changed_by_a_create(self):
        vals = {
            "name": "x",
            "model_id": self.env["ir.model"]._get_id("res.partner"),
            "auth_password": SECRET,
        }
        before = dict(vals)
        self.configs.create(vals)
        self.assertEqual(vals, before)


class TestRights(ConfigCase):
    def test_users_read_configurations_and_no_secret(self):
        config = self.make_endpoint(
            auth_type="basic", auth_login="me", auth_password=SECRET
        )
        mine = config.with_user(self.reader)
        self.assertEqual(mine.name, config.name)
        self.assertTrue(mine.line_ids.api_key)
        values = mine.read()[0]
        for name in ("auth_password", "bearer_token", "signing_secret"):
            self.assertNotIn(name, values)
            with self.subTest(name=name), self.assertRaises(AccessError):
                mine.read([name])
        for change in (
            lambda: mine.write({"name": "x"}),
            lambda: mine.line_ids.write({"api_key": "x"}),
            mine.unlink,
            mine.copy,
        ):
            with self.assertRaises(AccessError):
                change()

    def test_others_read_nothing(self):
        config = self.make_endpoint()
        plain = new_test_user(self.env, "config_plain", groups="base.group_user")
        with self.assertRaises(AccessError):
            config.with_user(plain).read(["name"])

    def test_scripts_are_changed_by_settings_administrators_only(self):
        admin = self.env.ref("base.user_admin")
        config = self.make_endpoint({"x": script("1", "city")}, request_script="x = 1")
        mine = config.with_user(self.manager)
        line = mine.line_ids.filtered("script")
        mine.write({"name": "Renamed", "request_script": "x = 1"})
        line.write({"api_key": "y", "script": "1", "read_script": False})
        for change in (
            lambda: mine.write({"request_script": "x = 2"}),
            lambda: mine.write({"request_script": False}),
            lambda: mine.write({"response_script": "x = 2"}),
            lambda: line.write({"script": "2"}),
            lambda: line.write({"script": False}),
            lambda: line.write({"read_script": "2"}),
            lambda: mine.write(
                {"line_ids": [Command.update(line.id, {"script": "3"})]}
            ),
            lambda: mine.write(
                {"line_ids": [Command.create({"api_key": "z", **script("3", "zip")})]}
            ),
            mine.copy,
        ):
            with self.assertRaisesRegex(AccessError, "Settings administrators"):
                change()
        config.with_user(admin).write({"request_script": "x = 2"})
        self.assertEqual(config.request_script, "x = 2")

    def test_configurations_stay_in_their_company(self):
        other = self.env["res.company"].create({"name": "Other"})
        theirs = self.make_config(
            {"name": "name"},
            company_id=other.id,
            header_ids=[Command.create({"name": "X-A", "value": "1"})],
            param_ids=[
                Command.create({"name": "q", "field_path": "name", "operator": "="})
            ],
        )
        shared = self.make_config({"name": "name"}, company_id=False)
        for records in (theirs, theirs.line_ids, theirs.header_ids, theirs.param_ids):
            mine = records.with_user(self.manager)
            self.assertFalse(mine.search([("id", "in", records.ids)]))
            with self.assertRaises(AccessError):
                mine.read(["name" if "name" in mine else "company_id"])
        self.assertEqual(shared.with_user(self.manager).name, shared.name)


class TestCompiled(ConfigCase):
    def get_plan(self, config):
        return self.configs._get_plan(config.id)

    def test_a_plan_is_kept_until_something_it_is_made_of_changes(self):
        config = self.make_config({"name": "name", "city": "city"})
        plan = self.get_plan(config)
        self.assertIs(self.get_plan(config), plan)
        name = config.line_ids[0]
        for change, check in [
            (
                lambda: name.write({"api_key": "title"}),
                lambda plan: plan.rules[0].api_key == "title",
            ),
            (
                lambda: name.write({"required": True}),
                lambda plan: plan.rules[0].required,
            ),
            (
                lambda: config.write({"reject_unknown_keys": True}),
                lambda plan: plan.reject_unknown_keys,
            ),
            (
                lambda: config.write({"filter_domain": "[('id', '>', 1)]"}),
                lambda plan: plan.filter_domain == "[('id', '>', 1)]",
            ),
            (config.line_ids[1].unlink, lambda plan: len(plan.rules) == 1),
            (
                lambda: name.create(
                    {"config_id": config.id, "api_key": "z", "field_path": "zip"}
                ),
                lambda plan: len(plan.rules) == 2,
            ),
        ]:
            change()
            self.assertTrue(check(self.get_plan(config)))

    def test_other_workers_are_told(self):
        config = self.make_config({"name": "name"})
        self.registry.cache_invalidated.clear()
        config.line_ids.api_key = "title"
        self.assertIn("default", self.registry.cache_invalidated)

    def test_a_field_that_is_gone_is_named(self):
        config = self.make_config({"name": "name"}, name="Broken")
        self.env.cr.execute(
            "UPDATE bj_api_sync_config_line SET field_path = 'gone' WHERE id = %s",
            [config.line_ids.id],
        )
        config.line_ids.invalidate_recordset()
        self.registry.clear_cache()
        with self.assertRaisesRegex(ValidationError, 'Broken: line "name".*field gone'):
            self.get_plan(config)

    def test_what_a_line_may_do_is_what_odoo_lets_it(self):
        config = self.make_config({"x": "name"})
        line = config.line_ids
        for path, access, reads, writes in [
            ("name", "read_write", True, True),
            ("name", "read", True, False),
            ("name", "write", False, True),
            ("create_date", "read_write", True, False),
            ("create_date", "write", False, False),
            ("contact_address", "read_write", True, False),
            ("country_id.code", "read_write", True, False),
            ("tz_offset", "write", False, False),
        ]:
            with self.subTest(path=path, access=access):
                line.write({"field_path": path, "access": access})
                [rule] = self.get_plan(config).rules
                self.assertEqual((rule.reads, rule.writes), (reads, writes))

    def test_an_archived_configuration_serves_no_endpoint(self):
        config = self.make_endpoint()
        self.assertEqual(self.configs._get_endpoint("things").config_id, config.id)
        self.assertEqual(
            set(self.configs._get_endpoint("things").methods), set(METHODS)
        )
        config.active = False
        self.assertIsNone(self.configs._get_endpoint("things"))

    def test_a_copy_is_a_configuration_of_its_own(self):
        country = self.make_config({"code": "code"}, "res.country")
        config = self.make_endpoint(
            {"country": nested("country_id", country)},
            param_ids=[
                Command.create({"name": "q", "field_path": "name", "operator": "="})
            ],
        )
        copy = config.copy()
        self.assertEqual(copy.name, "things (copy)")
        self.assertFalse(copy.endpoint)
        self.assertEqual(copy.line_ids.mapped("api_key"), ["ref", "country"])
        self.assertEqual(copy.line_ids.mapping_config_id, country)
        self.assertEqual(copy.param_ids.name, "q")
        self.assertFalse(copy.line_ids & config.line_ids)

    def test_a_mapping_model_in_use_cannot_be_deleted_alone(self):
        country = self.make_config({"code": "code"}, "res.country")
        contact = self.make_config(
            {"home.country": nested("country_id", country)}, name="Contacts"
        )
        message = f"{country.name} is the Mapping Model of home.country in Contacts"
        with self.assertRaisesRegex(UserError, message):
            country.unlink()
        both = country | contact
        both.unlink()
        self.assertFalse(both.exists())
