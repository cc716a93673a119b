import json
import re

from ..tools import postman
from ..tools.message import Plan
from .contract_facts import make_contract, rule
from .pure_case import PureCase

BASE_URL = "https://odoo.example.com"
ROUTE = "/bj_api_sync/v1"


def build(*contracts, **vals):
    return postman.build(list(contracts) or [make_contract(**vals)], BASE_URL, ROUTE)


def folder(collection, name):
    return next(item for item in collection["item"] if item["name"] == name)


def request(collection, *names):
    node = collection
    for name in names:
        node = folder(node, name)
    return node["request"]


def script(collection, *names, listen="test"):
    node = collection
    for name in names:
        node = folder(node, name)
    return "\n".join(
        line
        for event in node["event"]
        if event["listen"] == listen
        for line in event["script"]["exec"]
    )


class TestCollection(PureCase):
    def test_variables_and_folders_have_the_names_that_users_know(self):
        collection = build()
        self.assertEqual(collection["info"]["name"], "BJET API Synchronization Module")
        self.assertEqual(collection["info"]["schema"], postman.SCHEMA)
        variables = {item["key"]: item["value"] for item in collection["variable"]}
        self.assertEqual(
            variables,
            {
                "base_url": BASE_URL,
                "bearer_token": "",
                "basic_auth_user": "",
                "basic_auth_password": "",
                "endpoint_name": "sale-orders",
                "value_ship_to_country": "",
                "record_id": "",
            },
        )
        self.assertEqual(
            [item["name"] for item in collection["item"]],
            ["Authentication Examples", "sale-orders", "Error Scenarios"],
        )

    def test_every_variable_that_is_used_is_declared(self):
        for vals in [{}, {"headers": ("X-Api-Key",)}, {"auth_type": "basic"}]:
            collection = build(**vals)
            declared = {item["key"] for item in collection["variable"]}
            used = set(re.findall(r"{{(\w+)}}", json.dumps(collection)))
            with self.subTest(vals=vals):
                self.assertLessEqual(used, declared)

    def test_every_request_tests_its_status_and_that_it_is_json(self):
        for item in build()["item"]:
            for entry in item["item"]:
                with self.subTest(folder=item["name"], name=entry["name"]):
                    tests = script(item, entry["name"])
                    self.assertIn("pm.response.code", tests)
                    is_lines = entry["name"] == "List as NDJSON"
                    kind = "JSON.parse" if is_lines else "to.be.json"
                    self.assertIn(kind, tests)

    def test_nothing_is_changed_or_deleted_but_what_the_run_has_created(self):
        collection = build()
        for name in ("Read one", "Update", "Delete", "Try to delete several"):
            before = script(collection, "sale-orders", name, listen="prerequest")
            self.assertIn("skipRequest", before)
        self.assertIn("record_id", script(collection, "sale-orders", "Create"))
        self.assertIn("unset", script(collection, "sale-orders", "Delete"))

    def test_error_scenarios(self):
        collection = build()
        for name, status in {
            "401 without credentials": 401,
            "404 unknown endpoint": 404,
            "404 unknown record": 404,
            "405 PATCH": 405,
            "400 bad JSON": 400,
        }.items():
            with self.subTest(name=name):
                self.assertIn(
                    f"[{status}]", script(collection, "Error Scenarios", name)
                )
        bad = request(collection, "Error Scenarios", "400 bad JSON")["body"]["raw"]
        with self.assertRaises(ValueError):
            json.loads(bad)

    def test_what_an_endpoint_does_not_offer_is_not_tried(self):
        collection = build(methods=("GET",), auth_type="none")
        names = [item["name"] for item in folder(collection, "sale-orders")["item"]]
        self.assertEqual(names, ["List", "List as NDJSON", "Read one"])
        names = [item["name"] for item in folder(collection, "Error Scenarios")["item"]]
        self.assertNotIn("401 without credentials", names)
        self.assertIn("400 bad limit", names)

    def test_each_kind_of_credentials_has_its_example(self):
        collection = build(
            make_contract(),
            make_contract(endpoint="other", auth_type="basic"),
            make_contract(endpoint="third", auth_type="basic"),
            make_contract(endpoint="open", auth_type="none", methods=("POST",)),
            make_contract(endpoint="key", auth_type="none", headers=("X-Api-Key",)),
        )
        examples = "Authentication Examples"
        names = [item["name"] for item in folder(collection, examples)["item"]]
        self.assertEqual(
            names, ["Bearer Token", "Basic Auth", "No Auth", "No Auth and X-Api-Key"]
        )
        self.assertEqual(
            request(collection, examples, "Bearer Token")["auth"],
            {
                "type": "bearer",
                "bearer": [
                    {"key": "token", "value": "{{bearer_token}}", "type": "string"}
                ],
            },
        )
        # Without GET the credentials are right and the method is not.
        self.assertIn("[405]", script(collection, examples, "No Auth"))
        sent = request(collection, examples, "No Auth and X-Api-Key")["header"]
        self.assertEqual(sent, [{"key": "X-Api-Key", "value": "{{header_x_api_key}}"}])

    def test_nothing_to_see_gives_an_empty_collection(self):
        collection = postman.build([], BASE_URL, ROUTE)
        self.assertEqual(collection["item"], [])


class TestBodies(PureCase):
    def body(self, name, **vals):
        return request(build(**vals), "sale-orders", name)["body"]["raw"]

    def test_what_is_created_is_new_each_time_and_names_nothing_made_up(self):
        body = json.loads(self.body("Create"))
        self.assertEqual(body["number"], "PM-{{$timestamp}}-{{$randomInt}}")
        self.assertEqual(body["state"], "draft")
        # Required, so it is a variable; the others would only be refused.
        self.assertEqual(body["ship_to"]["country"], "{{value_ship_to_country}}")
        self.assertNotIn("tags", body)
        self.assertNotIn("lines", body)

    def test_an_update_leaves_the_identifier_alone(self):
        self.assertNotIn("number", json.loads(self.body("Update")))

    def test_what_needs_a_record_that_exists_waits_until_it_is_filled_in(self):
        collection = build()
        for name in ("Try to create", "Create", "Update"):
            before = script(collection, "sale-orders", name, listen="prerequest")
            self.assertIn('pm.variables.get("value_ship_to_country")', before)
        before = script(collection, "sale-orders", "Read one", listen="prerequest")
        self.assertNotIn("value_", before)

    def test_a_related_record_is_named_by_the_type_of_its_identifier(self):
        key = rule(1, "code", "name", is_identifier=True)
        company = {"field_type": "many2one", "required": True}
        tags = {"field_type": "many2many", "required": True, "mapping_config_id": 20}
        rules = (
            key,
            rule(2, "company", "company_id", **company),
            rule(3, "tags", "tag_ids", value_type="relational_mapping", **tags),
        )
        example = {"code": "A", "company": 1, "tags": ["A"]}
        plan = Plan(1, "x", "x", rules, key)
        body = self.body("Create", plan=plan, create_example=example)
        self.assertIn('"company": {{value_company}}', body)
        self.assertIn('"{{value_tags}}"', body)

    def test_an_identifier_fits_into_a_short_field(self):
        key = rule(1, "code", "code", is_identifier=True, size=16)
        plan = Plan(1, "x", "x", (key,), key)
        body = json.loads(self.body("Create", plan=plan, create_example={"code": "A"}))
        self.assertEqual(body, {"code": "PM-{{$timestamp}}"})

    def test_a_number_is_no_text(self):
        key = rule(1, "code", "code", "integer", is_identifier=True)
        plan = Plan(1, "x", "x", (key,), key)
        body = self.body("Create", plan=plan, create_example={"code": 1})
        self.assertIn('"code": {{$timestamp}}', body)
