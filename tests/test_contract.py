import base64
import json
from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tests.common import new_test_user
from psycopg2 import OperationalError

from ..exceptions import Unauthorized
from ..tools.message import InboundRequest
from .common import PARTNER_LINES, ApiCase
from .json_schema import faults, resolve

PASSWORD = "correct horse battery"
BASIC = "Basic " + base64.b64encode(f"shop:{PASSWORD}".encode()).decode()


class ContractCase(ApiCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # What the database holds already is not of interest.
        others = cls.env["bj.api.sync.config"].search([("id", "!=", cls.config.id)])
        others.active = False
        country = cls.make_config(
            {
                "code": {"field_path": "code", "is_record_identifier": True},
                "name": "name",
            },
            model="res.country",
            methods=("GET",),
            endpoint="countries",
            auth_type="none",
        )
        cls.make_config(
            {
                "code": {"field_path": "ref", "is_record_identifier": True},
                "name": {"field_path": "name", "required": True},
                "kind": "type",
                "changed": "write_date",
                "country": {
                    "field_path": "country_id",
                    "value_type": "relational_mapping",
                    "mapping_config_id": country.id,
                },
                "emails": "child_ids.email",
                "parent.country": "parent_id.country_id.code",
            },
            endpoint="customers",
            user_id=cls.user.id,
            auth_type="basic",
            auth_login="shop",
            auth_password=PASSWORD,
            response_format="success",
            is_paginated=True,
        )

    def paths(self, response):
        self.assertEqual(response.status_code, 200)
        return {path.split("/")[1] for path in response.json()["paths"]}


@tagged("post_install", "-at_install")
class TestDocuments(ContractCase):
    def test_the_documents_are_only_read(self):
        for path in ("openapi.json", "postman.json", "docs", "health"):
            with self.subTest(path=path):
                response = self._call("OPTIONS", path, token=None)
                self.assertEqual((response.status_code, response.text), (204, ""))
                self.assertEqual(response.headers["Allow"], "GET, HEAD, OPTIONS")
                self.assertEqual(self._call("HEAD", path, token=None).status_code, 200)
                response = self._call("POST", path, {}, token=None)
                self.assertEqual(response.status_code, 405)
                self.assertEqual(response.headers["Allow"], "GET, HEAD, OPTIONS")
                self.assertIn("message", response.json())

    def test_a_credential_shows_what_it_opens_and_what_is_public(self):
        for headers, expected in [
            ({}, {"countries"}),
            ({"Authorization": f"Bearer {self.token}"}, {"countries", "contacts"}),
            ({"Authorization": BASIC}, {"countries", "customers"}),
        ]:
            with self.subTest(headers=headers):
                response = self._call(path="openapi.json", token=None, headers=headers)
                self.assertEqual(self.paths(response), expected)

    def test_a_session_shows_nothing(self):
        self.authenticate("admin", "admin")
        response = self._call(path="openapi.json", token=None)
        self.assertEqual(self.paths(response), {"countries"})

    def test_a_wrong_credential_is_refused(self):
        for authorization in ("Bearer nope", "Basic c2hvcDpub3Bl", "Basic eDp5"):
            for path in ("openapi.json", "postman.json", "health"):
                with self.subTest(authorization=authorization, path=path):
                    response = self._call(
                        path=path, headers={"Authorization": authorization}
                    )
                    self.assertEqual(response.status_code, 401)
                    self.assertIn("WWW-Authenticate", response.headers)

    def test_wrong_credentials_are_counted_and_too_many_are_too_many(self):
        contract = self.env["bj.api.sync.contract"]
        self.set_parameter("max_auth_failures", "1")
        self.assertEqual(self._call(path="openapi.json").status_code, 200)
        request = InboundRequest(
            "GET", "", headers={"authorization": "Bearer x"}, remote_addr="127.0.0.1"
        )
        try:  # not assertRaises, which rolls back, the count included
            contract._get_visible(request)
        except Unauthorized:
            pass
        else:
            self.fail("The wrong token was taken.")
        wrong = self._call(path="openapi.json", token="wrong")
        self.assertEqual(wrong.status_code, 429)
        for token in (self.token, None):  # a generated one, and no credential at all
            response = self._call(path="openapi.json", token=token)
            self.assertEqual(response.status_code, 200)

    def test_a_guess_counts_for_each_endpoint_that_it_is_tried_at(self):
        second = self.make_config(
            PARTNER_LINES, endpoint="second", user_id=self.user.id
        )
        self.make_token(second)
        contract = self.env["bj.api.sync.contract"]
        request = InboundRequest(
            "GET", "", headers={"authorization": "Bearer x"}, remote_addr="192.0.2.1"
        )
        bearers = [e for e in contract._get_endpoints() if e.auth_type == "bearer"]
        self.assertGreater(len(bearers), 1)
        try:
            contract._get_visible(request)
        except Unauthorized:
            counter = self.env["bj.api.sync.counter"]
            count, _left = counter._peek("failure:192.0.2.1", 300)
            self.assertEqual(count, len(bearers))
        else:
            self.fail("The wrong token was taken.")

    def test_a_header_is_a_credential_too(self):
        self.config.write(
            {
                "auth_type": "none",
                "user_id": self.user.id,
                "header_ids": [
                    (0, 0, {"name": "X-Api-Key", "value": "k", "is_secret": True})
                ],
            }
        )
        for value, status in [("k", 200), ("x", 401)]:
            with self.subTest(value=value):
                response = self._call(
                    path="openapi.json", token=None, headers={"X-Api-Key": value}
                )
                self.assertEqual(response.status_code, status)
        document = self._call(
            path="openapi.json", token=None, headers={"X-Api-Key": "k"}
        ).json()
        self.assertEqual(
            document["paths"]["/contacts"]["get"]["security"], [{"X-Api-Key": []}]
        )
        self.assertNotIn('"k"', json.dumps(document))

    def test_an_endpoint_is_asked_for_by_name(self):
        for path in (
            "openapi.json?endpoint=contacts",
            "openapi.json?endpoint=,contacts,",
        ):
            self.assertEqual(self.paths(self._call(path=path)), {"contacts"})
        for name in ("customers", "nothing"):  # hidden and unknown alike
            response = self._call(path=f"openapi.json?endpoint={name}")
            self.assertEqual(response.status_code, 404)
            self.assertIn(name, response.json()["message"])

    def test_other_networks_and_archived_configurations_see_nothing(self):
        self.config.allowed_networks = "203.0.113.0/24"
        self.assertEqual(self._call(path="openapi.json").status_code, 401)
        self.config.allowed_networks = False
        self.config.active = False
        self.assertEqual(self._call(path="openapi.json").status_code, 401)

    def test_answers_are_as_the_document_says(self):
        partner = self.env["res.partner"].create(
            {
                "name": "Hub",
                "ref": "T-hub",
                "country_id": self.env.ref("base.ua").id,
                "child_ids": [(0, 0, {"name": "x", "email": "x@example.com"})],
            }
        )
        self.env["res.partner"].create(
            {"name": "Sub", "ref": "T-sub", "parent_id": partner.id}
        )
        basic = {"Authorization": BASIC}
        document = self._call(path="openapi.json", headers=basic).json()
        row = {"code": "T-new", "name": "New", "country": "UA"}
        for method, path, target, body in [
            ("GET", "/customers", "customers?code__startswith=T-", None),
            ("GET", "/customers/{record_id}", "customers/T-sub", None),
            ("GET", "/customers/{record_id}", "customers/T-hub", None),
            ("GET", "/countries", "countries?limit=2", None),
            ("POST", "/customers", "customers", row),
            ("POST", "/customers", "customers", row),  # a conflict
            ("POST", "/customers", "customers", [{**row, "code": "T-2"}]),
            ("POST", "/customers", "customers?partial=true", [row, {}]),
            ("PUT", "/customers/{record_id}", "customers/T-new", {"country": None}),
            ("PUT", "/customers", "customers", {"code": "T-new", "kind": "x"}),
            ("DELETE", "/customers/{record_id}", "customers/T-new", None),
            ("DELETE", "/customers", "customers?identifier__in=T-2", None),
        ]:
            with self.subTest(method=method, target=target, body=body):
                options = {} if body is None else {"json": body}
                headers = basic if path.startswith("/customers") else None
                response = self._call(method, target, headers=headers, **options)
                operation = document["paths"][path][method.lower()]
                answer = operation["responses"][str(response.status_code)]
                schema = resolve(document, answer)["content"]["application/json"]
                found = faults(document, schema["schema"], response.json())
                self.assertEqual(found, [])
                if body is not None and response.status_code < 300:
                    content = operation["requestBody"]["content"]["application/json"]
                    if response.status_code != 207:
                        self.assertEqual(faults(document, content["schema"], body), [])

    def test_a_record_id_may_have_a_line_break_as_the_document_allows(self):
        row = {"customer_id": "a\nb", "name": "x"}
        location = self._call("POST", json=row).headers["Location"]
        response = self._call(path=location.split("/v1/")[1])
        self.assertEqual(response.json()["customer_id"], "a\nb")
        self.assertEqual(self._call(path="contacts/x%0Ay").status_code, 404)

    def test_every_documented_filter_and_order_is_understood(self):
        inbound = self.env["bj.api.sync.inbound"]
        endpoint = self.env["bj.api.sync.config"]._get_endpoint("customers")
        document = self.env["bj.api.sync.contract"]._build_document(
            "openapi", [endpoint], "https://odoo.example.com"
        )
        for parameter in document["paths"]["/customers"]["get"]["parameters"]:
            if parameter.get("in") != "query":
                continue
            name, schema = parameter["name"], parameter["schema"]
            values = schema.get("items", schema)
            for value in values.get("enum", [sample(parameter, values)]):
                with self.subTest(name=name, value=value):
                    request = InboundRequest("GET", "", query=((name, value),))
                    plan = inbound._get_plan(endpoint)
                    listing = inbound._parse_query(endpoint, plan, request)
                    self.env["res.partner"].search(
                        listing.domain, order=listing.order, limit=1
                    )

    def test_the_public_validator_agrees_with_what_is_served(self):
        import openapi_spec_validator  # brought by ./dev; takes a second

        for headers in ({}, {"Authorization": BASIC}):
            document = self._call(path="openapi.json", headers=headers).json()
            openapi_spec_validator.validate(document)

    def test_choices_that_are_computed_are_listed_and_shown(self):
        line = {"field_path": "parent_id.lang", "api_key": "parent_lang"}
        self.config.line_ids = [(0, 0, {"field_path": "lang", "api_key": "lang"})]
        self.config.line_ids = [(0, 0, line)]
        document = self._call(path="openapi.json").json()
        record = document["components"]["schemas"]["Contacts"]["properties"]
        languages = [code for code, _name in self.env["res.lang"].get_installed()]
        for key in ("lang", "parent_lang"):
            self.assertEqual(record[key]["enum"], [*languages, None])
        example = document["paths"]["/contacts"]["post"]["requestBody"]["content"]
        self.assertIn(example["application/json"]["example"]["lang"], languages)

    def test_fields_closed_to_the_user_cannot_be_filtered_by(self):
        name = self.env["res.partner"]._fields["email"]
        with patch.object(name, "groups", "base.group_system"):
            document = self._call(path="openapi.json").json()
        names = {
            p.get("name") for p in document["paths"]["/contacts"]["get"]["parameters"]
        }
        self.assertIn("name", names)
        self.assertNotIn("email", names)

    def test_postman_and_the_index(self):
        collection = self._call(path="postman.json").json()
        self.assertEqual(
            [item["name"] for item in collection["item"]],
            ["Authentication Examples", "contacts", "countries", "Error Scenarios"],
        )
        index = self._call(path="docs", token=None).json()
        self.assertEqual(set(index), {"openapi", "postman", "health"})

    def test_the_contract_is_not_logged_but_a_refusal_is(self):
        self.assertFalse(self._logs(self._call(path="openapi.json")))
        self.assertFalse(self._logs(self._call(path="health", token=None)))
        self.assertTrue(self._logs(self._call(path="health", token="nope")))


@tagged("post_install", "-at_install")
class TestHealth(ContractCase):
    def test_strangers_learn_whether_it_is_well_and_nothing_else(self):
        response = self._call(path="health", token=None)
        self.assertEqual(
            (response.status_code, response.json()), (200, {"status": "ok"})
        )
        self.assertEqual(response.headers["Cache-Control"], "no-store")

    def test_a_credential_is_told_about_the_queue(self):
        details = self._call(path="health").json()
        self.assertEqual(details["status"], "ok")
        self.assertEqual(details["database"], "ok")
        self.assertEqual(
            set(details["queue"]), {"pending", "due", "oldest_due_seconds"}
        )

    def test_a_queue_that_waits_too_long_is_an_error_if_asked(self):
        self.assertEqual(self._call(path="health?max_queue_age=60").status_code, 200)
        # Ages that are far apart: for the server it is when the transaction began.
        now = fields.Datetime.now()
        for name, seconds, state in [
            ("late", -3000, "pending"),
            ("due", -1000, "pending"),
            ("later", 6000, "pending"),
            ("sent", -9000, "delivered"),
        ]:
            self.env["bj.api.sync.delivery"].sudo().create(
                {
                    "uuid": name,
                    "config_id": self.config.id,
                    "state": state,
                    "next_attempt_date": now + timedelta(seconds=seconds),
                }
            )
        response = self._call(path="health?max_queue_age=600")
        self.assertEqual(response.status_code, 503)
        queue = response.json()["queue"]
        self.assertEqual((queue["pending"], queue["due"]), (3, 2))
        self.assertAlmostEqual(queue["oldest_due_seconds"], 3000, delta=600)
        self.assertEqual(self._call(path="health?max_queue_age=6000").status_code, 200)
        self.assertEqual(self._call(path="health").status_code, 200)
        self.assertEqual(self._call(path="health?max_queue_age=x").status_code, 400)
        response = self._call(path="health?max_queue_age=60", token=None)
        self.assertEqual(response.status_code, 401)

    def test_a_database_that_cannot_be_used_answers_503(self):
        def fail(readonly=False):
            raise OperationalError("gone")

        contract = self.env["bj.api.sync.contract"]
        with patch.object(self.env.registry, "cursor", fail):
            self.assertIsNone(contract._measure_queue())
        model = self.env.registry["bj.api.sync.contract"]
        with patch.object(model, "_measure_queue", lambda self: None):
            response = self._call(path="health", token=None)
        self.assertEqual(
            (response.status_code, response.json()), (503, {"status": "error"})
        )


@tagged("post_install", "-at_install")
class TestDownload(ContractCase):
    def test_users_of_the_api_download_a_configuration(self):
        new_test_user(self.env, "api_reader", groups="bj_api_sync.group_bj_api_user")
        self.authenticate("api_reader", "api_reader")
        for kind, key in [("openapi", "paths"), ("postman", "item")]:
            action = getattr(self.config, f"action_download_{kind}")()
            response = self.url_open(action["url"])
            self.assertEqual(response.status_code, 200)
            self.assertIn(
                f"contacts.{kind}.json", response.headers["Content-Disposition"]
            )
            self.assertTrue(response.json()[key])

    def test_nobody_else_does(self):
        url = self.config.action_download_openapi()["url"]
        self.assertIn("/web/login", self.url_open(url).url)
        self.authenticate("bj_api_caller", "bj_api_caller")
        self.assertEqual(self.url_open(url).status_code, 403)
        with self.assertRaises(AccessError):
            self.config.with_user(self.user)._get_contract_document("openapi")

    def test_a_mapping_model_has_no_contract(self):
        mapping = self.make_config({"name": "name"})
        with self.assertRaises(UserError):
            mapping.action_download_postman()


def sample(parameter, schema):
    """Return a query value that fits a parameter."""
    if parameter["name"] == "cursor":
        return ""
    if schema.get("format") == "date-time":
        return "2025-01-31T10:00:00Z"
    value = "true" if schema["type"] == "boolean" else "1"
    return parameter.get("example", value)
