import re

from ..tools import openapi
from ..tools.message import Plan
from .contract_facts import COUNTRY, make_contract, rule
from .json_schema import faults, resolve, walk
from .pure_case import PureCase

SERVER = "https://odoo.example.com/bj_api_sync/v1"
FORMATS = ("bare", "status", "success")
VARIANTS = [
    {},
    *({"response_format": name, "is_paginated": True} for name in FORMATS),
    {"has_request_script": True, "has_response_script": True},
    {"upsert": True, "delete_mode": "archive", "is_rate_limited": True},
    {"methods": ("GET",), "auth_type": "none"},
    {"auth_type": "none", "headers": ("X-Api-Key", "X-Odd'Name")},
]


def build(*contracts, **vals):
    return openapi.build(list(contracts) or [make_contract(**vals)], SERVER)


def operations(document):
    """Return ``[(path, method, operation)]``."""
    return [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]


def contents(document):
    """Return ``[(where, media type object)]`` of all bodies and answers."""
    found = []
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        if "requestBody" in operation:
            found.append((where, operation["requestBody"]["content"]))
        for status, response in operation["responses"].items():
            content = resolve(document, response).get("content")
            if content:
                found.append((f"{where} {status}", content))
    return [(where, content["application/json"]) for where, content in found]


def parameters(document, path, method="get"):
    """Return ``{name: parameter}`` of an operation."""
    found = [
        resolve(document, parameter)
        for parameter in document["paths"][path][method]["parameters"]
    ]
    return {parameter["name"]: parameter for parameter in found}


class TestDocument(PureCase):
    def test_every_reference_leads_somewhere_and_every_component_is_used(self):
        for vals in VARIANTS:
            with self.subTest(vals=vals):
                document = build(**vals)
                used = {node["$ref"] for node in walk(document) if "$ref" in node}
                for reference in used:
                    resolve(document, {"$ref": reference})
                for kind, parts in document["components"].items():
                    if kind == "securitySchemes" or "has_response_script" in vals:
                        continue  # named without $ref; unknown after a script
                    for name in parts:
                        self.assertRegex(name, r"^[A-Za-z0-9._-]+$")
                        self.assertIn(f"#/components/{kind}/{name}", used)

    def test_operations_have_names_of_their_own_and_declare_what_they_use(self):
        document = build(make_contract(), make_contract(**other_endpoint()))
        names = [operation["operationId"] for _p, _m, operation in operations(document)]
        self.assertEqual(len(set(names)), len(names))
        schemes = document["components"]["securitySchemes"]
        for path, _method, operation in operations(document):
            declared = [
                *document["paths"][path].get("parameters", ()),
                *operation["parameters"],
            ]
            declared = [resolve(document, parameter) for parameter in declared]
            pairs = [(parameter["in"], parameter["name"]) for parameter in declared]
            self.assertEqual(len(set(pairs)), len(pairs))
            for name in re.findall(r"{(\w+)}", path):
                self.assertIn(("path", name), pairs)
            for needed in operation["security"]:
                self.assertLessEqual(set(needed), set(schemes))

    def test_examples_fit_their_schemas(self):
        for vals in VARIANTS:
            document = build(**vals)
            for where, content in contents(document):
                if "example" not in content:
                    continue
                with self.subTest(vals=vals, where=where):
                    found = faults(document, content["schema"], content["example"])
                    self.assertEqual(found, [])

    def test_nothing_to_see_gives_a_document_without_paths(self):
        document = openapi.build([], SERVER)
        self.assertEqual(document["paths"], {})
        self.assertEqual(document["servers"], [{"url": SERVER}])


class TestSchemas(PureCase):
    def test_a_record_is_read_in_external_keys(self):
        schemas = build()["components"]["schemas"]
        for key, expected in {
            "number": {"type": ["string", "null"], "maxLength": 20},
            "state": {"type": ["string", "null"], "enum": ["draft", "sale", None]},
            "total": {"type": "number", "format": "double"},
            "ordered": {"type": ["string", "null"], "format": "date-time"},
            "confirmed": {"type": "boolean"},
            "source": {"const": "odoo"},
            "lines": {"type": "array", "items": ref("OrderLine")},
            "emails": {"type": "array", "items": {"type": ["string", "null"]}},
        }.items():
            with self.subTest(key=key):
                properties = schemas["SaleOrders"]["properties"]
                self.assertEqual(properties[key], expected)
        nested = schemas["SaleOrders"]["properties"]
        self.assertEqual(
            nested["customer"]["properties"]["name"], {"type": ["string", "null"]}
        )
        self.assertEqual(
            nested["ship_to"]["properties"]["country"],
            {"anyOf": [ref("Mapping20"), {"type": "null"}]},
        )
        self.assertNotIn("secret", nested)

    def test_what_is_written_leaves_out_what_cannot_be(self):
        schemas = build()["components"]["schemas"]
        for name in ("SaleOrdersCreate", "SaleOrdersUpdate"):
            keys = set(schemas[name]["properties"])
            self.assertEqual(
                keys,
                {"number", "state", "ordered", "ship_to", "lines", "tags", "secret"}
                | {"confirmed"},
            )
        self.assertEqual(schemas["SaleOrdersCreate"]["required"], ["number", "ship_to"])
        self.assertNotIn("required", schemas["SaleOrdersUpdate"])
        # A required key may be left out of an update, but never emptied.
        number = schemas["SaleOrdersUpdate"]["properties"]["number"]
        self.assertEqual(number["type"], "string")

    def test_a_related_record_is_named_by_its_identifier_or_written_as_an_object(self):
        schemas = build()["components"]["schemas"]
        ship_to = schemas["SaleOrdersCreate"]["properties"]["ship_to"]
        self.assertEqual(
            ship_to["properties"]["country"],
            {"anyOf": [{"type": "string"}, ref("Mapping20Write")]},
        )

    def test_a_model_that_leads_back_to_itself_refers_to_itself(self):
        line = build()["components"]["schemas"]["OrderLineWrite"]
        self.assertEqual(line["properties"]["parts"]["items"], ref("OrderLineWrite"))

    def test_unknown_keys_are_closed_out_where_they_are_refused(self):
        plan = Plan(1, "x", "x", make_contract().plan.rules, reject_unknown_keys=True)
        schemas = build(plan=plan)["components"]["schemas"]
        self.assertIs(schemas["SaleOrdersCreate"]["additionalProperties"], False)
        self.assertNotIn("additionalProperties", schemas["SaleOrders"])

    def test_long_selections_are_not_listed(self):
        zones = tuple(f"zone{number}" for number in range(600))
        key = rule(1, "tz", "tz", "selection", selection=zones, is_identifier=True)
        plan = Plan(1, "x", "x", (key,), key)
        schema = build(plan=plan)["components"]["schemas"]["SaleOrders"]
        self.assertEqual(schema["properties"]["tz"], {"type": ["string", "null"]})

    def test_names_never_clash(self):
        same = Plan(99, "Sale orders", "res.country", COUNTRY.rules, COUNTRY.identifier)
        close = Plan(98, "Sale orders create", "res.country", COUNTRY.rules)
        document = build(
            make_contract(),
            make_contract(endpoint="sale_orders", plan=same),
            make_contract(endpoint="sale-orders-create", plan=close),
        )
        schemas = document["components"]["schemas"]
        self.assertIn("number", schemas["SaleOrders"]["properties"])
        self.assertIn("code", schemas["SaleOrders99"]["properties"])
        self.assertIn("number", schemas["SaleOrdersCreate"]["properties"])
        self.assertIn("code", schemas["SaleOrdersCreate98"]["properties"])


class TestOperations(PureCase):
    def test_methods_that_are_not_ticked_are_not_there(self):
        found = {
            (method, path) for path, method, _o in operations(build(methods=("PUT",)))
        }
        self.assertEqual(
            found, {("put", "/sale-orders"), ("put", "/sale-orders/{record_id}")}
        )

    def test_list_parameters(self):
        found = parameters(build(), "/sale-orders")
        self.assertEqual(
            found["order"]["schema"]["items"]["enum"],
            ["id", "id desc", "number", "number desc"],
        )
        self.assertEqual(
            found["fields"]["schema"]["items"]["enum"], ["number", "customer", "state"]
        )
        for name, schema in {
            "limit": {"type": "integer", "minimum": 1, "default": 100},
            "state": {"type": "string", "enum": ["draft", "sale"]},
            "number__isnull": {"type": "boolean"},
            "number__startswith": {"type": "string", "minLength": 1},
            "q": {"type": "string", "minLength": 1},
            "id__gt": {"type": "integer", "format": "int32"},
        }.items():
            with self.subTest(name=name):
                self.assertEqual(found[name]["schema"], schema)
        self.assertEqual(found["state__in"]["schema"]["type"], "array")
        self.assertIs(found["state__in"]["explode"], False)
        for name in ("cursor", "count", "domain", "offset", "X-Request-ID"):
            self.assertIn(name, found)
        # A filter that the query string can never reach, and one that makes no sense.
        self.assertNotIn("limit__gt", found)
        self.assertNotIn("id__isnull", found)

    def test_headers_stand_where_they_have_an_effect(self):
        document = build()
        one = "/sale-orders/{record_id}"
        self.assertIn("If-None-Match", parameters(document, one))
        self.assertIn("If-Match", parameters(document, one, "put"))
        self.assertIn("If-Match", parameters(document, one, "delete"))
        for method in ("post", "put", "delete"):
            names = parameters(document, "/sale-orders", method)
            for name in ("Idempotency-Key", "dry_run", "partial", "X-API-Version"):
                self.assertIn(name, names)
        self.assertNotIn("Idempotency-Key", parameters(document, "/sale-orders"))

    def test_each_status_is_documented(self):
        table = {400, 401, 403, 404, 405, 406, 408, 409, 412, 413, 415, 422, 429, 500}
        statuses = {
            int(status)
            for _path, _method, operation in operations(build(upsert=True))
            for status in operation["responses"]
        }
        self.assertEqual(statuses, table | {200, 201, 207, 304, 503})

    def test_creating_answers_201_and_updating_only_with_upsert(self):
        for upsert in (False, True):
            paths = build(upsert=upsert)["paths"]
            one = paths["/sale-orders/{record_id}"]["put"]["responses"]
            self.assertEqual("201" in one, upsert)
            self.assertIn("201", paths["/sale-orders"]["post"]["responses"])

    def test_answers_have_the_format_of_the_configuration(self):
        for name, keys in {
            "bare": None,
            "status": {"status", "data", "pagination"},
            "success": {"success", "data", "message", "pagination"},
        }.items():
            document = build(response_format=name, is_paginated=True)
            operation = document["paths"]["/sale-orders"]["get"]
            schema = operation["responses"]["200"]["content"]["application/json"]
            with self.subTest(name=name):
                if keys is None:
                    self.assertEqual(schema["schema"]["type"], "array")
                else:
                    self.assertEqual(set(schema["schema"]["properties"]), keys)
                error = resolve(document, operation["responses"]["404"])
                self.assertEqual(
                    error["content"]["application/json"]["schema"],
                    ref(f"Error{name.capitalize()}"),
                )

    def test_all_credentials_are_needed_at_once(self):
        for vals, expected in [
            ({"auth_type": "none"}, {}),
            ({"auth_type": "basic"}, {"basicAuth": []}),
            (
                {"auth_type": "bearer", "headers": ("X-Api-Key",)},
                {"bearerAuth": [], "X-Api-Key": []},
            ),
        ]:
            with self.subTest(vals=vals):
                document = build(**vals)
                operation = document["paths"]["/sale-orders"]["get"]
                self.assertEqual(operation["security"], [expected])
                self.assertEqual("401" in operation["responses"], bool(expected))


def ref(name):
    return {"$ref": f"#/components/schemas/{name}"}


def other_endpoint():
    return {"endpoint": "countries", "plan": COUNTRY, "headers": ("X-Api-Key",)}
