import itertools
import json

from odoo import fields
from odoo.modules.neutralize import get_neutralization_queries
from odoo.tests import TransactionCase, tagged
from odoo.tools import SQL

from ..models.bj_api_sync_gate import is_open
from .common import ApiCase
from .outbound_common import OutboundCase
from .quick_hashes import quick_hashes

PLANTED = "planted-"
# Texts that a neutralized copy keeps: they let nobody in and are no secret of anybody.
KEPT = {
    "bj.http.method": {"name"},  # GET, POST, ...
    "bj.api.sync.config": {
        "name", "description", "model_name", "filter_domain", "endpoint",
        "auth_login",  # of no use without the password
        "cors_origins", "allowed_networks",
        "response_field_path", "response_key", "response_root",
        "request_script", "response_script",  # code, of which nobody knows what is secret
    },
    "bj.api.sync.config.line": {
        "api_key", "field_path",
        "constant_value",  # unless its key says that it is secret, see below
        "script", "read_script",
    },
    "bj.api.sync.header": {"name"},
    "bj.api.sync.param": {
        "name", "field_path",
        "value_clear",  # of In only, where it is a filter
    },
    "bj.api.sync.claim": {"name"},  # hashes
    "bj.api.sync.counter": {"name"},  # addresses and ids of callers
    "bj.api.sync.delivery": {
        "uuid", "model", "res_ids", "method", "lang", "tz",
        "destination",  # a host
        "pull_counts",  # numbers
        "last_error",  # ours, on what was cancelled
    },
    "bj.api.log": {
        "name", "method", "model", "request_id", "remote_addr", "action",
    },
}  # fmt: skip


@tagged("post_install", "-at_install")
class TestNeutralize(OutboundCase):
    def _neutralize(self):
        self.env.flush_all()
        for query in get_neutralization_queries(["base", "bj_api_sync"]):
            self.env.cr.execute(query)
        self.env.invalidate_all()
        self.env.registry.clear_all_caches()

    def test_a_copy_sends_nothing_and_knows_no_secret(self):
        config = self._make_config(
            auth_type="bearer",
            bearer_token="secret-token-12345",
            header_ids=[
                (0, 0, {"name": "X-Key", "value": "hidden", "is_secret": True})
            ],
        )
        delivery = self._enqueue(config, self._make_partner())
        self._neutralize()
        self.assertEqual(delivery.state, "cancelled")
        self.assertFalse(config.bearer_token)
        self.assertFalse(config.header_ids.value)
        self.assertNotIn("127.0.0.1", config.url)
        # Even if somebody types the address in again.
        config.url = self.receiver.url("/orders")
        later = self._enqueue(config, self._make_partner(ref="C2")) - delivery
        self.assertEqual(later.state, "cancelled")
        self.assertEqual(self._send(), 0)
        self.assertFalse(config._make_outbound_http_request(self._make_partner()))
        self.assertFalse(self.receiver.requests)

    def test_tokens_of_callers_are_gone(self):
        tokens = self.env["bj.api.sync.token"]
        config = self.env["bj.api.sync.config"].create(
            {
                "name": "In",
                "model_id": self.env.ref("base.model_res_partner").id,
                "http_method_ids": [
                    (6, 0, self.env.ref("bj_api_sync.bj_http_method_get").ids)
                ],
            }
        )
        tokens._generate(config, "test")
        self._neutralize()
        self.assertFalse(tokens.with_context(active_test=False).search([]))


@tagged("post_install", "-at_install")
class TestNeutralizedColumns(TransactionCase):
    """Every text column of every table of ours, those of later versions included."""

    def setUp(self):
        super().setUp()
        self.count = itertools.count()
        self.ids = {}

    def test_no_column_keeps_a_secret_but_those_that_hold_none(self):
        models = [
            model
            for name, model in self.env.items()
            if model._auto
            and not model._abstract
            and name.startswith(("bj.api.", "bj.http."))
        ]
        configs = self.env["bj.api.sync.config"]
        for model in sorted(models, key=lambda model: model._name != configs._name):
            self._plant(model)
        self._neutralize()
        kept = {model._name: self._find_planted(model) for model in models}
        kept["bj.api.sync.delivery"].add("last_error")  # pinned below
        self.assertEqual({name: found for name, found in kept.items() if found}, KEPT)
        self.env.cr.execute("SELECT DISTINCT last_error FROM bj_api_sync_delivery")
        self.assertEqual(
            {text for (text,) in self.env.cr.fetchall()} - {None},
            {"This database is a neutralized copy."},
        )

    def test_constants_and_parameters_go_when_they_are_secrets(self):
        config = self.env["bj.api.sync.config"].create(
            {"name": "Body", "model_id": self.env["ir.model"]._get_id("res.partner")}
        )
        line = {"config_id": config.id, "value_type": "constant"}
        for key, kept in (("auth.api-Key", False), ("Token", False), ("kind", True)):
            with self.subTest(key=key):
                record = self.env["bj.api.sync.config.line"].create(
                    {**line, "api_key": key, "constant_value": "planted"}
                )
                self._neutralize()
                expected = "planted" if kept else "neutralized"
                self.assertEqual(record.constant_value, expected)

    def _neutralize(self):
        self.env.flush_all()
        for query in get_neutralization_queries(["bj_api_sync"]):
            self.env.cr.execute(query)
        self.env.invalidate_all()

    def _plant(self, model):
        """Insert rows with a text of our own in each column that takes one.

        One row for each choice that a neutralization may look at, and for each
        configuration that was made by that.
        """
        columns = {
            name: field
            for name, field in model._fields.items()
            if field.store and field.column_type and name != "id"
        }
        choices = {
            name: [value for value in field.get_values(self.env) if value]
            for name, field in columns.items()
            if field.type == "selection"
        }
        if "config_id" in columns:
            choices["config_id"] = self.ids["bj.api.sync.config"]
        self.ids[model._name] = []
        for name, values in choices.items() or [("id", [])]:
            for value in values:
                self._insert(
                    model,
                    columns,
                    {n: v[0] for n, v in choices.items()} | {name: value},
                )
        if not choices:
            self._insert(model, columns, {})
        self.env.cr.execute(
            SQL("SELECT count(*) FROM %s", SQL.identifier(model._table))
        )
        self.assertTrue(self.env.cr.fetchone()[0], model._name)

    def _insert(self, model, columns, chosen):
        values = {}
        for name, field in columns.items():
            if name in chosen:
                values[name] = chosen[name]
            elif field.type in ("char", "text", "html"):
                values[name] = f"{PLANTED}{next(self.count)}"
            elif field.type == "json":
                values[name] = json.dumps([f"{PLANTED}{next(self.count)}"])
            elif field.required and field.type == "many2one":
                values[name] = self._get_any_id(field.comodel_name)
            elif field.required and field.type == "datetime":
                values[name] = fields.Datetime.now()
            elif field.required:
                values[name] = 1
        self.env.cr.execute(
            SQL(
                "INSERT INTO %s (%s) VALUES (%s) RETURNING id",
                SQL.identifier(model._table),
                SQL(", ").join(map(SQL.identifier, values)),
                SQL(", ").join(SQL("%s", value) for value in values.values()),
            )
        )
        self.ids[model._name].append(self.env.cr.fetchone()[0])

    def _get_any_id(self, model):
        if not self.ids.get(model):
            table = SQL.identifier(self.env[model]._table)
            self.env.cr.execute(SQL("SELECT id FROM %s LIMIT 1", table))
            row = self.env.cr.fetchone()
            if not row:
                self._plant(self.env[model])
                return self.ids[model][0]
            self.ids[model] = [row[0]]
        return self.ids[model][0]

    def _find_planted(self, model):
        """Return the columns of a table that still hold what was planted."""
        self.env.cr.execute(
            """SELECT column_name FROM information_schema.columns
               WHERE table_name = %s AND table_schema = current_schema""",
            [model._table],
        )
        found = set()
        for (column,) in self.env.cr.fetchall():
            self.env.cr.execute(
                SQL(
                    "SELECT 1 FROM %s WHERE %s::text LIKE %s LIMIT 1",
                    SQL.identifier(model._table),
                    SQL.identifier(column),
                    f"%{PLANTED}%",
                )
            )
            if self.env.cr.fetchone():
                found.add(column)
        return found


@tagged("post_install", "-at_install")
class TestNeutralizedEndpoints(ApiCase):
    def setUp(self):
        super().setUp()
        quick_hashes(self)

    def test_no_credential_opens_an_endpoint_of_a_copy_nor_does_none(self):
        self.set_parameter("max_auth_failures", "0")
        rows = [("X-Key", "hidden-1", True), ("X-Shop", "shown-1", False)]
        for auth_type in ("none", "basic", "bearer"):
            with self.subTest(auth_type=auth_type):
                self.config.write(
                    {
                        "auth_type": auth_type,
                        "auth_login": "shop",
                        "auth_password": "s3cret-enough",
                        "bearer_token": "typed-token-1234567",
                        "user_id": self.user.id,
                        "header_ids": [(5, 0, 0)]
                        + [
                            (0, 0, {"name": name, "value": value, "is_secret": secret})
                            for name, value, secret in rows
                        ],
                    }
                )
                for query in get_neutralization_queries(["bj_api_sync"]):
                    self.env.flush_all()
                    self.env.cr.execute(query)
                self.env.invalidate_all()
                self.env.registry.clear_all_caches()
                endpoint = self.env["bj.api.sync.config"]._get_endpoint("contacts")
                self.assertFalse(is_open(endpoint))
                for first, second in (
                    (None, None),
                    ("", ""),
                    ("hidden-1", "shown-1"),
                    ("False", "None"),
                ):
                    for options in (
                        {"token": None},
                        {"token": self.token},
                        {"token": "typed-token-1234567"},
                    ):
                        headers = {"X-Key": first, "X-Shop": second}
                        response = self._call("GET", headers=headers, **options)
                        self.assertEqual(response.status_code, 401)
