from unittest.mock import patch

from odoo import fields
from odoo.tests import tagged
from odoo.tools import mute_logger

from ..models import ir_http
from .common import GROUPS, ROUTE, ApiCase


@tagged("post_install", "-at_install")
class TestVerbs(ApiCase):
    def test_get_reads_one_record(self):
        response = self._call("GET", "contacts/T-ann")
        self.assertEqual(response.status_code, 200)
        self.assertEqual(
            response.json(),
            {
                "customer_id": "T-ann",
                "name": "Ann",
                "email": None,
                "address": {"city": "Lviv"},
            },
        )
        self.assertEqual(
            response.headers["Content-Type"], "application/json; charset=utf-8"
        )
        for name in ("ETag", "X-Request-ID"):
            self.assertIn(name, response.headers)

    def test_post_creates_and_says_where(self):
        response = self._call("POST", json={"customer_id": "T-1", "name": "Іван"})
        self.assertEqual(response.status_code, 201)
        record = self.env["res.partner"].search([("ref", "=", "T-1")])
        self.assertEqual(record.name, "Іван")
        self.assertEqual(record.create_uid, self.user)
        self.assertEqual(response.json()["id"], record.id)
        self.assertEqual(response.json()["name"], "Іван")
        self.assertEqual(
            response.headers["Location"],
            f"{self.base_url()}{ROUTE}/contacts/T-1",
        )
        self.assertEqual(self._call("GET", "contacts/T-1").status_code, 200)

    def test_location_of_any_identifier_can_be_followed(self):
        for identifier in ("a/b", "50%25", "a b?c#d", "ключ", "+", "a%2Fb"):
            with self.subTest(identifier=identifier):
                row = {"customer_id": identifier, "name": "x"}
                created = self._call("POST", json=row)
                location = created.headers["Location"]
                path = location.split(f"{ROUTE}/")[1]
                self.assertEqual(
                    self._call("GET", path).json()["customer_id"], identifier
                )

    def test_an_identifier_too_long_for_a_header_is_given_no_location(self):
        for size, is_told in ((2000, True), (70_000, False)):
            row = {"customer_id": "x" * size, "name": "x"}
            response = self._call("POST", json=row)
            self.assertEqual(response.status_code, 201)
            self.assertEqual("Location" in response.headers, is_told)

    def test_post_of_a_known_identifier_is_a_conflict_unless_upsert_is_on(self):
        row = {"customer_id": "T-ann", "email": "ann@example.com"}
        response = self._call("POST", json={**row, "name": "Ann"})
        self.assertEqual(response.status_code, 409)
        self.assertFalse(self.ann.email)
        self.config.upsert = True
        response = self._call("POST", json=row)
        self.assertEqual(response.status_code, 200)
        self.assertNotIn("Location", response.headers)
        self.assertEqual(self.ann.email, "ann@example.com")

    def test_post_and_put_of_an_array_write_all_rows(self):
        rows = [{"customer_id": f"T-{n}", "name": f"N{n}"} for n in range(3)]
        created = self._call("POST", json=rows)
        self.assertEqual(created.status_code, 201)
        self.assertEqual([row["name"] for row in created.json()], ["N0", "N1", "N2"])
        rows = [{"customer_id": f"T-{n}", "name": f"M{n}"} for n in range(3)]
        updated = self._call("PUT", json=rows)
        self.assertEqual(updated.status_code, 200)
        self.assertEqual([row["name"] for row in updated.json()], ["M0", "M1", "M2"])

    def test_partial_keeps_the_rows_that_work(self):
        rows = [{"customer_id": "T-1", "name": "x"}, {"customer_id": "T-2"}]
        for path, headers in (
            ("contacts?partial=true", {}),
            ("contacts", {"Prefer": "respond-async, handling=lenient"}),
        ):
            with self.subTest(path=path):
                response = self._call("POST", path, rows, headers=headers)
                self.assertEqual(response.status_code, 207)
                self.assertEqual(
                    [(row["index"], row["status"]) for row in response.json()],
                    [(0, "created"), (1, "error")],
                )
                rows[0]["customer_id"] = "T-3"
        self.assertIn("name", response.json()[1]["message"])
        self.assertTrue(response.json()[1]["errors"][0]["line_id"])
        response = self._call("POST", json=[{**rows[0], "customer_id": "T-4"}, rows[1]])
        self.assertEqual(response.status_code, 400)
        [error] = response.json()["details"]["errors"]
        self.assertEqual((error["index"], error["key"]), (1, "name"))
        self.assertFalse(self.env["res.partner"].search([("ref", "=", "T-4")]))

    def test_a_row_that_names_nothing_or_is_no_object_fails_alone(self):
        rows = [
            {"customer_id": "T-ann", "name": "Anna"},
            {"name": "x"},
            7,
            {"customer_id": "T-bob", "name": True},
        ]
        for upsert in (False, True):
            self.config.upsert = upsert
            with self.subTest(upsert=upsert):
                response = self._call("PUT", "contacts", rows)
                self.assertEqual(response.status_code, 400)
                errors = response.json()["details"]["errors"]
                self.assertEqual([error["index"] for error in errors], [1, 2, 3])
                self.assertEqual(errors[0]["key"], "customer_id")
                self.assertEqual(errors[1]["message"], "expected an object, got 7.")
                self.assertEqual(self.ann.name, "Ann")
                path = "contacts?partial=true&dry_run=true"
                response = self._call("PUT", path, rows)
                self.assertEqual(response.status_code, 207)
                self.assertEqual(
                    [row["status"] for row in response.json()],
                    ["updated", "error", "error", "error"],
                )
        response = self._call("POST", "contacts?partial=true", [rows[1], None])
        self.assertEqual([row["code"] for row in response.json()], [201, 400])

    def test_partial_tells_what_became_of_each_row(self):
        self.config.upsert = True
        rows = [
            {"customer_id": "T-new", "name": "New"},
            {"customer_id": "T-ann", "name": "Anna"},
            {"customer_id": "T-bob", "name": "Bob"},
        ]
        response = self._call("PUT", "contacts?partial=true", rows)
        self.assertEqual(response.status_code, 207)
        new = self.env["res.partner"].search([("ref", "=", "T-new")])
        self.assertEqual(
            [
                (row["status"], row["code"], row["id"], row["identifier"])
                for row in response.json()
            ],
            [
                ("created", 201, new.id, "T-new"),
                ("updated", 200, self.ann.id, "T-ann"),
                ("unchanged", 200, self.bob.id, "T-bob"),
            ],
        )

    def test_put_changes_only_the_keys_sent(self):
        response = self._call("PUT", "contacts/T-ann", {"email": "a@example.com"})
        self.assertEqual(response.status_code, 200)
        self.assertRecordValues(
            self.ann, [{"name": "Ann", "city": "Lviv", "email": "a@example.com"}]
        )
        self._call("PUT", "contacts/T-ann", {"address": None})
        self.assertFalse(self.ann.city)

    def test_put_without_a_record_in_the_path_goes_by_the_body(self):
        response = self._call("PUT", json={"customer_id": "T-bob", "name": "Robert"})
        self.assertEqual(response.status_code, 200)
        self.assertEqual(self.bob.name, "Robert")
        response = self._call("PUT", json={"customer_id": "T-none", "name": "x"})
        self.assertEqual(response.status_code, 404)

    def test_put_creates_what_is_missing_only_with_upsert(self):
        self.assertEqual(
            self._call("PUT", "contacts/T-new", {"name": "New"}).status_code, 404
        )
        self.config.upsert = True
        response = self._call("PUT", "contacts/T-new", {"name": "New"})
        self.assertEqual(response.status_code, 201)
        self.assertEqual(response.json()["customer_id"], "T-new")
        response = self._call(
            "PUT", "contacts/T-other", {"customer_id": "T-else", "name": "x"}
        )
        self.assertEqual(response.status_code, 409)
        response = self._call("PUT", "contacts/T%00", {"name": "New"})
        self.assertEqual(response.status_code, 404)

    def test_delete_removes_or_archives(self):
        response = self._call("DELETE", "contacts/T-ann")
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.json(), {"customer_id": "T-ann", "id": self.ann.id})
        self.assertFalse(self.ann.exists())
        self.assertEqual(self._call("DELETE", "contacts/T-ann").status_code, 404)
        self.config.delete_mode = "archive"
        response = self._call("DELETE", "contacts/T-bob")
        self.assertEqual(response.json()["customer_id"], "T-bob")
        self.assertFalse(self.bob.active)
        self.assertEqual(self._call("GET", "contacts/T-bob").status_code, 200)

    def test_delete_of_several_removes_all_or_none(self):
        for query in ("", "?identifier__in=", "?identifier__in=,", "?dry_run=true"):
            response = self._call("DELETE", f"contacts{query}")
            self.assertEqual(response.status_code, 400)
        for query in ("?name__in=Ann", "?customer_id=T-ann", "?identifier__in=a&x=1"):
            self.assertEqual(self._call("DELETE", f"contacts{query}").status_code, 400)
        path = "contacts?customer_id__in=T-ann,T-none,T-never"
        response = self._call("DELETE", path)
        self.assertEqual(response.status_code, 404)
        errors = response.json()["details"]["errors"]
        self.assertEqual(
            [(error["index"], error["key"]) for error in errors],
            [(1, "customer_id"), (2, "customer_id")],
        )
        self.assertTrue(self.ann.exists())
        path = "contacts?identifier__in=T-ann,T-bob,T-ann"
        response = self._call("DELETE", f"{path}&dry_run=true")
        self.assertEqual(response.headers["X-Dry-Run"], "true")
        self.assertTrue(self.ann.exists())
        response = self._call("DELETE", path)
        self.assertEqual(
            [row["customer_id"] for row in response.json()], ["T-ann", "T-bob"]
        )
        self.assertFalse((self.ann + self.bob).exists())

    def test_delete_of_several_keeps_to_the_record_id_in_the_url(self):
        path = f"contacts?identifier__in={self.ann.id}"
        response = self._call("DELETE", path)
        self.assertEqual(response.status_code, 409)
        self.assertIn("T-ann", response.json()["message"])
        # what is wrong in two ways has no better status than this
        response = self._call("DELETE", f"{path},T-none")
        self.assertEqual(response.status_code, 400)
        self.assertEqual(len(response.json()["details"]["errors"]), 2)
        nameless = self.env["res.partner"].create({"name": "Nameless"})
        self.config.filter_domain = "[('name', '!=', 'Bob')]"
        path = f"contacts?identifier__in={nameless.id},T-bob&partial=true"
        response = self._call("DELETE", path)
        self.assertEqual(response.status_code, 207)
        self.assertEqual(
            [(row["status"], row["code"]) for row in response.json()],
            [("deleted", 200), ("error", 404)],
        )
        self.assertFalse(nameless.exists())
        self.assertTrue(self.bob.exists())

    def test_delete_of_several_with_partial_keeps_what_cannot_be_deleted(self):
        lines = {"name": {"field_path": "name", "is_record_identifier": True}}
        countries = self.env["res.country"].create(
            [{"name": f"Land {n}", "code": f"X{n}"} for n in range(5)]
        )
        self.env["res.country.state"].create(
            {"name": "s", "code": "s", "country_id": countries[3].id}
        )
        admin = self.env.ref("base.user_admin")
        config = self.make_config(
            lines, "res.country", endpoint="countries", user_id=admin.id
        )
        token = self.make_token(config)
        path = "countries?identifier__in=" + ",".join(countries.mapped("name"))
        with mute_logger("odoo.sql_db"):
            response = self._call("DELETE", path, token=token)
            self.assertEqual(response.status_code, 409)
            [error] = response.json()["details"]["errors"]
            self.assertEqual(error["index"], 3)
            self.assertEqual(len(countries.exists()), 5)
            response = self._call("DELETE", f"{path}&partial=true", token=token)
        self.assertEqual(response.status_code, 207)
        self.assertEqual(
            [(row["status"], row["code"]) for row in response.json()],
            [("deleted", 200)] * 3 + [("error", 409)] + [("deleted", 200)],
        )
        self.assertEqual(countries.exists(), countries[3])

    def test_delete_of_several_is_repeated_safely_and_has_a_limit(self):
        made = self.env["res.partner"].create(
            [{"name": f"N{n}", "ref": f"D-{n:02}"} for n in range(40)]
        )
        names = ",".join(made.mapped("ref"))
        with mute_logger("odoo.models.unlink"):
            response = self._call(
                "DELETE",
                f"contacts?identifier__in={names}",
                headers={"Idempotency-Key": "many"},
            )
        self.assertEqual(len(response.json()), 40)
        again = self._call(
            "DELETE",
            f"contacts?identifier__in={names}",
            headers={"Idempotency-Key": "many"},
        )
        self.assertEqual(again.headers["Idempotent-Replayed"], "true")
        self.set_parameter("max_bulk", "2")
        path = "contacts?identifier__in=a,b,c"
        self.assertEqual(self._call("DELETE", path).status_code, 413)

    def test_delete_of_what_is_referred_to_is_a_conflict(self):
        lines = {"name": {"field_path": "name", "is_record_identifier": True}}
        country = self.env["res.country"].create({"name": "Testland", "code": "X9"})
        self.env["res.country.state"].create(
            {"name": "s", "code": "s", "country_id": country.id}
        )
        admin = self.env.ref("base.user_admin")
        config = self.make_config(
            lines, "res.country", endpoint="countries", user_id=admin.id
        )
        token = self.make_token(config)
        with mute_logger("odoo.sql_db"):
            response = self._call("DELETE", "countries/Testland", token=token)
        self.assertEqual(response.status_code, 409)
        self.assertIn("another model requires", response.json()["message"])
        self.assertTrue(country.exists())

    def test_unique_violation_is_a_conflict_in_the_words_of_the_constraint(self):
        lines = {
            "name": {"field_path": "name", "is_record_identifier": True},
            "code": "code",
        }
        admin = self.env.ref("base.user_admin")
        config = self.make_config(
            lines, "res.country", endpoint="countries", user_id=admin.id
        )
        token = self.make_token(config)
        row = {"name": "Second Ukraine", "code": "UA"}
        with mute_logger("odoo.sql_db"):
            response = self._call("POST", "countries", row, token=token)
        self.assertEqual(response.status_code, 409)
        self.assertIn("unique", response.json()["message"])

    def test_head_answers_the_headers_of_get(self):
        for path in ("contacts/T-ann", "contacts?limit=1", "contacts/T-none"):
            with self.subTest(path=path):
                get = self._call("GET", path)
                head = self._call("HEAD", path)
                self.assertEqual(head.status_code, get.status_code)
                self.assertEqual(head.content, b"")
                for name in ("Content-Type", "ETag", "Link", "X-Total-Count"):
                    self.assertEqual(head.headers.get(name), get.headers.get(name))
                if get.status_code == 200:  # an error's body has its request id
                    self.assertEqual(
                        head.headers["Content-Length"], str(len(get.content))
                    )

    def test_options_names_the_methods_without_asking_who_calls(self):
        for path, allowed in (
            ("contacts", "GET, HEAD, POST, PUT, DELETE, OPTIONS"),
            ("contacts/T-ann", "GET, HEAD, PUT, DELETE, OPTIONS"),
        ):
            response = self._call("OPTIONS", path, token=None)
            self.assertEqual(response.status_code, 204)
            self.assertEqual(response.headers["Allow"], allowed)
            self.assertEqual(response.content, b"")

    def test_a_method_that_is_off_or_unknown_is_405(self):
        self.config.http_method_ids = self.env.ref("bj_api_sync.bj_http_method_get")
        for method, path in (
            ("POST", "contacts"),
            ("DELETE", "contacts/T-ann"),
            ("PATCH", "contacts/T-ann"),
            ("BREW", "contacts"),
        ):
            with self.subTest(method=method):
                response = self._call(method, path)
                self.assertEqual(response.status_code, 405)
                self.assertEqual(response.headers["Allow"], "GET, HEAD, OPTIONS")
        self.assertEqual(self._call("POST", "contacts", token="x").status_code, 401)

    def test_post_to_a_record_is_405(self):
        response = self._call("POST", "contacts/T-ann", {"name": "x"})
        self.assertEqual(response.status_code, 405)
        self.assertNotIn("POST", response.headers["Allow"])

    def test_inactive_and_unknown_endpoints_are_404_under_every_method(self):
        self.config.active = False
        for path in ("contacts", "unknown", "", "/", "contacts/T-ann"):
            for method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"):
                with self.subTest(path=path, method=method):
                    response = self._call(method, path)
                    self.assertEqual(response.status_code, 404)
                    if method != "HEAD":
                        self.assertIn("message", response.json())


@tagged("post_install", "-at_install")
class TestReplica(ApiCase):
    """Reads go to a read-only cursor; whatever wrote there would be done all over."""

    readonly_enabled = _registry_readonly_enabled = True

    def test_a_read_writes_nothing_through_its_own_cursor(self):
        # which would be noted by a second cursor, and a test cannot have one here
        self.config.token_ids.last_use_date = fields.Datetime.now()
        for method, path in (
            ("GET", "contacts"),
            ("GET", "contacts/T-ann"),
            ("HEAD", "contacts"),
            ("GET", "contacts?cursor=&limit=1"),
        ):
            with self.subTest(method=method, path=path), self.assertNoLogs("odoo.http"):
                response = self._call(method, path)
                self.assertEqual(response.status_code, 200)
                self.assertEqual(len(self._logs(response)), 1)


@tagged("post_install", "-at_install")
class TestFormats(ApiCase):
    def assertShape(self, value, shape):
        self.assertEqual(set(value), set(shape))
        for key, expected in shape.items():
            if expected is not ...:
                self.assertEqual(value[key], expected)

    def test_object_list_and_error_in_each_format(self):
        ann = {
            "customer_id": "T-ann",
            "name": "Ann",
            "email": None,
            "address": {"city": "Lviv"},
        }
        for format, wrapped, error in (
            ("bare", None, {"message": ..., "request_id": ...}),
            (
                "status",
                {"status": "success"},
                {"status": "error", "message": ..., "code": 404, "request_id": ...},
            ),
            (
                "success",
                {"success": True, "message": "Success"},
                {"success": False, "error": ..., "request_id": ...},
            ),
        ):
            with self.subTest(format=format):
                self.config.response_format = format
                one = self._call("GET", "contacts/T-ann").json()
                many = self._call("GET", "contacts?customer_id=T-ann").json()
                if wrapped is None:
                    self.assertEqual((one, many), (ann, [ann]))
                else:
                    self.assertShape(one, {**wrapped, "data": ann})
                    self.assertShape(many, {**wrapped, "data": [ann]})
                failed = self._call("GET", "contacts/T-none").json()
                self.assertShape(failed, error)
        self.assertEqual(failed["error"]["code"], "NOT_FOUND")
        self.assertIn("T-none", failed["error"]["message"])

    def test_a_failed_line_is_named_in_each_format(self):
        line = self.config.line_ids.filtered(lambda line: line.api_key == "email")
        body = {"email": {"a": 1}}
        bare = self._call("PUT", "contacts/T-ann", body).json()
        self.assertEqual(bare["line_id"], line.id)
        self.assertEqual(bare["status_code"], "VALIDATION_ERROR")
        self.assertIn("email", bare["error"])
        self.config.response_format = "status"
        status = self._call("PUT", "contacts/T-ann", body).json()
        self.assertEqual((status["code"], status["line_id"]), (400, line.id))
        self.config.response_format = "success"
        success = self._call("PUT", "contacts/T-ann", body).json()
        self.assertEqual(success["error"]["details"]["line_id"], line.id)
        self.assertEqual(success["error"]["details"]["key"], "email")

    def test_errors_before_and_in_authentication_have_the_format_too(self):
        self.config.response_format = "status"
        response = self._call("GET", token="wrong")
        self.assertEqual(response.json()["code"], 401)

    def test_a_paginated_envelope_tells_the_pages(self):
        self.config.write(
            {"is_paginated": True, "page_size": 1, "response_format": "success"}
        )
        path = "contacts?customer_id__in=T-ann,T-bob"
        first = self._call("GET", path).json()
        pagination = first["pagination"]
        self.assertEqual(
            {key: pagination[key] for key in ("total", "limit", "offset", "previous")},
            {"total": 2, "limit": 1, "offset": 0, "previous": None},
        )
        second = self._call("GET", pagination["next"].split(f"{ROUTE}/")[1]).json()
        self.assertNotEqual(first["data"], second["data"])
        self.assertIsNone(second["pagination"]["next"])
        self.config.response_format = "bare"
        self.assertIsInstance(self._call("GET", path).json(), list)

    def test_written_records_carry_the_id_unless_a_line_maps_it(self):
        response = self._call("PUT", "contacts/T-ann", {"name": "Ann"})
        self.assertEqual(response.json()["id"], self.ann.id)
        self.config.line_ids = self.make_lines({"id": "create_date"})
        response = self._call("PUT", "contacts/T-ann", {"name": "Ann"})
        self.assertIn("T", response.json()["id"])


@tagged("post_install", "-at_install")
class TestHeaders(ApiCase):
    def test_the_request_id_is_echoed_or_made(self):
        response = self._call("GET", headers={"X-Request-ID": "abc-123"})
        self.assertEqual(response.headers["X-Request-ID"], "abc-123")
        self.assertEqual(len(self._logs(request_id="abc-123")), 1)
        seen = set()
        for garbage in ("", "a b", "x" * 129, "\u00e9"):
            response = self._call(
                "GET", headers={"X-Request-ID": garbage.encode("latin-1")}
            )
            seen.add(response.headers["X-Request-ID"])
        self.assertEqual(len(seen), 4)
        self.assertEqual({len(text) for text in seen}, {36})

    def test_errors_carry_the_request_id_in_the_body_too(self):
        response = self._call("GET", "contacts/T-none", headers={"X-Request-ID": "r-1"})
        self.assertEqual(response.json()["request_id"], "r-1")

    def test_only_json_can_be_asked_for(self):
        for accept, status in (
            ("application/json", 200),
            ("text/html, */*;q=0.1", 200),
            ("application/*", 200),
            ("application/problem+json", 200),
            ("text/html", 406),
            ("application/xml;q=0.9", 406),
            ("application/json;q=0, text/html", 406),
        ):
            with self.subTest(accept=accept):
                response = self._call("GET", headers={"Accept": accept})
                self.assertEqual(response.status_code, status)

    def test_only_version_one_is_known(self):
        for version, status in (("1", 200), ("1.0", 200), ("2", 400), ("", 400)):
            with self.subTest(version=version):
                response = self._call("GET", headers={"X-API-Version": version})
                self.assertEqual(response.status_code, status)

    def test_the_type_of_a_body_may_be_missing_but_not_another(self):
        body = b'{"name": "Ann"}'
        for content_type, status in (
            (None, 200),
            ("application/json; charset=utf-8", 200),
            ("application/x-www-form-urlencoded", 415),
            ("multipart/form-data; boundary=x", 415),
            ("text/plain", 415),
        ):
            with self.subTest(content_type=content_type):
                response = self._call(
                    "PUT",
                    "contacts/T-ann",
                    data=body,
                    headers={"Content-Type": content_type},
                )
                self.assertEqual(response.status_code, status)

    def test_answers_come_in_the_language_asked_for(self):
        self.env["res.lang"]._activate_lang("uk_UA")
        country = self.env.ref("base.ua")
        country.with_context(lang="uk_UA").name = "Україна"
        lines = {
            "code": {"field_path": "code", "is_record_identifier": True},
            "name": "name",
        }
        config = self.make_config(
            lines, "res.country", endpoint="countries", user_id=self.user.id
        )
        token = self.make_token(config)
        for header, name, language in (
            (None, "Ukraine", None),
            ("uk", "Україна", "uk-UA"),
            ("uk-UA,en;q=0.5", "Україна", "uk-UA"),
            ("en;q=0.2, uk;q=0.9", "Україна", "uk-UA"),
            ("xx", "Ukraine", "en-US"),
            (";;q=,,=", "Ukraine", "en-US"),
        ):
            with self.subTest(header=header):
                response = self._call(
                    "GET",
                    "countries/UA",
                    headers={"Accept-Language": header},
                    token=token,
                )
                self.assertEqual(response.json()["name"], name)
                self.assertEqual(response.headers.get("Content-Language"), language)

    def test_what_is_done_for_pages_is_spared_unless_another_module_adds_to_it(self):
        others = [name for name in ir_http.PAGE_MODULES if name != "web"]
        with patch.object(self.registry["ir.http"], "_handle_debug") as hook:
            row = {"customer_id": "T-1", "name": "more than nine bytes"}
            self.assertEqual(self._call("POST", json=row).status_code, 201)
            hook.assert_not_called()
            with patch.object(ir_http, "PAGE_MODULES", others):
                self.assertEqual(self._call("GET").status_code, 200)
            hook.assert_called_once()

    def test_pages_of_configured_origins_may_read_every_answer(self):
        self.config.cors_origins = "https://a.example, https://B.example/"
        origin = {"Origin": "https://b.example"}
        preflight = self._call("OPTIONS", headers=origin, token=None)
        self.assertEqual(preflight.status_code, 204)
        for name, expected in (
            ("Access-Control-Allow-Origin", "https://b.example"),
            ("Access-Control-Max-Age", "600"),
            ("Vary", "Origin"),
        ):
            self.assertEqual(preflight.headers[name], expected)
        self.assertIn("DELETE", preflight.headers["Access-Control-Allow-Methods"])
        self.assertIn("If-Match", preflight.headers["Access-Control-Allow-Headers"])
        self.assertNotIn("Access-Control-Allow-Credentials", preflight.headers)
        for token in (self.token, "wrong"):
            response = self._call("GET", headers=origin, token=token)
            self.assertEqual(
                response.headers["Access-Control-Allow-Origin"], "https://b.example"
            )
            self.assertIn("ETag", response.headers["Access-Control-Expose-Headers"])
        response = self._call("GET", headers={"Origin": "https://evil.example"})
        self.assertNotIn("Access-Control-Allow-Origin", response.headers)
        self.config.cors_origins = False
        response = self._call("GET", headers=origin)
        self.assertNotIn("Access-Control-Allow-Origin", response.headers)


@tagged("post_install", "-at_install")
class TestConditions(ApiCase):
    def test_an_unchanged_record_is_not_sent_again(self):
        etag = self._call("GET", "contacts/T-ann").headers["ETag"]
        for tag, status in (
            (etag, 304),
            (f"W/{etag}", 304),
            (f'"x", {etag}', 304),
            ("*", 304),
            ('"x"', 200),
        ):
            with self.subTest(tag=tag):
                response = self._call(
                    "GET", "contacts/T-ann", headers={"If-None-Match": tag}
                )
                self.assertEqual(response.status_code, status)
        self.assertNotIn("Content-Type", self._call_304(etag).headers)
        self.ann.city = "Odesa"
        self.assertEqual(
            self._call(
                "GET", "contacts/T-ann", headers={"If-None-Match": etag}
            ).status_code,
            200,
        )

    def _call_304(self, etag):
        response = self._call("GET", "contacts/T-ann", headers={"If-None-Match": etag})
        self.assertEqual((response.status_code, response.content), (304, b""))
        self.assertEqual(response.headers["ETag"], etag)
        return response

    def test_a_changed_record_is_not_overwritten(self):
        etag = self._call("GET", "contacts/T-ann").headers["ETag"]
        self.ann.city = "Odesa"
        for method, body in (("PUT", {"name": "x"}), ("DELETE", None)):
            response = self._call(
                method, "contacts/T-ann", body, headers={"If-Match": etag}
            )
            self.assertEqual(response.status_code, 412)
        self.assertEqual(self.ann.name, "Ann")
        new = response.headers["ETag"]
        self.assertNotEqual(new, etag)
        response = self._call(
            "PUT", "contacts/T-ann", {"name": "x"}, headers={"If-Match": new}
        )
        self.assertEqual(response.status_code, 200)
        # the answer's tag is good for the next write, and the one GET gives
        get = self._call("GET", "contacts/T-ann")
        self.assertEqual(get.headers["ETag"], response.headers["ETag"])
        response = self._call("DELETE", "contacts/T-ann", headers={"If-Match": "*"})
        self.assertEqual(response.status_code, 200)

    def test_a_weak_tag_never_allows_a_write(self):
        etag = self._call("GET", "contacts/T-ann").headers["ETag"]
        response = self._call(
            "PUT", "contacts/T-ann", {"name": "x"}, headers={"If-Match": f"W/{etag}"}
        )
        self.assertEqual(response.status_code, 412)

    def test_preconditions_of_an_upsert_say_whether_the_record_may_exist(self):
        self.config.upsert = True
        row = {"name": "x"}
        response = self._call("PUT", "contacts/T-1", row, headers={"If-Match": "*"})
        self.assertEqual(response.status_code, 412)
        only_new = {"If-None-Match": "*"}
        response = self._call("PUT", "contacts/T-1", row, headers=only_new)
        self.assertEqual(response.status_code, 201)
        response = self._call("PUT", "contacts/T-1", row, headers=only_new)
        self.assertEqual(response.status_code, 412)

    def test_if_match_without_a_record_in_the_path_is_refused(self):
        row = {"customer_id": "T-ann", "name": "x"}
        for method, path in (
            ("PUT", "contacts"),
            ("POST", "contacts"),
            ("DELETE", "contacts?identifier__in=T-ann"),
        ):
            response = self._call(method, path, row, headers={"If-Match": '"x"'})
            self.assertEqual(response.status_code, 400)
        self.assertEqual(self.ann.name, "Ann")


@tagged("post_install", "-at_install")
class TestRepeats(ApiCase):
    def _post(self, key, row, path="contacts", method="POST", **kwargs):
        return self._call(method, path, row, headers={"Idempotency-Key": key}, **kwargs)

    def test_the_first_answer_is_replayed(self):
        first = self._post("k1", {"customer_id": "T-1", "name": "x"})
        again = self._post("k1", {"customer_id": "T-1", "name": "x"})
        self.assertEqual((first.status_code, again.status_code), (201, 201))
        self.assertNotIn("Idempotent-Replayed", first.headers)
        self.assertEqual(again.headers["Idempotent-Replayed"], "true")
        self.assertEqual(again.content, first.content)
        for name in ("Location", "ETag"):
            self.assertEqual(again.headers[name], first.headers[name])
        self.assertEqual(self.env["res.partner"].search_count([("ref", "=", "T-1")]), 1)
        self.assertEqual(self._logs(again).action, "replay")

    def test_delete_is_replayed_instead_of_404(self):
        first = self._post("k1", None, "contacts/T-ann", "DELETE")
        again = self._post("k1", None, "contacts/T-ann", "DELETE")
        self.assertEqual((first.status_code, again.status_code), (200, 200))

    def test_another_request_under_the_same_key_is_422(self):
        self._post("k1", {"customer_id": "T-1", "name": "x"})
        for method, path, row in (
            ("POST", "contacts", {"customer_id": "T-2", "name": "x"}),
            ("PUT", "contacts/T-1", {"customer_id": "T-1", "name": "x"}),
        ):
            response = self._post("k1", row, path, method)
            self.assertEqual(response.status_code, 422)

    def test_a_running_request_is_409_with_retry_after(self):
        # Its lock is per transaction; this connection of ours stands for the other one.
        with self.env.registry._db.cursor() as other:
            replay = self.env["bj.api.sync.replay"]
            row = {"customer_id": "T-1", "name": "x"}
            token = self.env["bj.api.sync.token"].search(
                [("config_id", "=", self.config.id)]
            )
            replay.with_env(self.env(cr=other))._lock(
                self.config.id, replay._get_name(f"token:{token.id}", "k1")
            )
            response = self._post("k1", row)
            self.assertEqual(response.status_code, 409)
            self.assertEqual(response.headers["Retry-After"], "1")
            other.rollback()
        self.assertEqual(self._post("k1", row).status_code, 201)

    def test_a_failure_is_not_kept(self):
        self.assertEqual(self._post("k1", {"customer_id": "T-1"}).status_code, 400)
        response = self._post("k1", {"customer_id": "T-1", "name": "x"})
        self.assertEqual(response.status_code, 201)

    def test_keys_of_two_credentials_are_two_keys(self):
        other = self.make_token(self.config)
        self._post("k1", {"customer_id": "T-1", "name": "x"})
        response = self._post("k1", {"customer_id": "T-2", "name": "x"}, token=other)
        self.assertEqual(response.status_code, 201)

    def test_a_key_is_forgotten_after_a_day(self):
        row = {"customer_id": "T-1", "name": "x"}
        self._post("k1", row)
        self.env.cr.execute(
            "UPDATE bj_api_sync_replay SET create_date = create_date - INTERVAL '25 hours'"
        )
        self.assertEqual(self._post("k1", row).status_code, 409)
        self.env["bj.api.sync.replay"]._gc_replays()
        self.assertFalse(self.env["bj.api.sync.replay"].search([]))

    def test_a_key_that_is_none_is_refused(self):
        for key in ("", "x" * 256, "\u00e9"):
            with self.subTest(key=key):
                response = self._call(
                    "POST",
                    json={"customer_id": "T-1", "name": "x"},
                    headers={"Idempotency-Key": key.encode("latin-1")},
                )
                self.assertEqual(response.status_code, 400)
        self.assertEqual(self._post("x" * 255, {}).status_code, 400)
        row = {"customer_id": "T-1", "name": "x"}
        self.assertEqual(self._post("x" * 255, row).status_code, 201)

    def test_reads_ignore_the_key(self):
        self._call("GET", headers={"Idempotency-Key": "k1"})
        self.assertFalse(self.env["bj.api.sync.replay"].search([]))


@tagged("post_install", "-at_install")
class TestDryRun(ApiCase):
    def test_nothing_stays_of_a_dry_run(self):
        count = self.env["res.partner"].search_count([])
        for method, path, row, status in (
            ("POST", "contacts", {"customer_id": "T-1", "name": "x"}, 201),
            ("POST", "contacts", [{"customer_id": "T-1", "name": "x"}], 201),
            ("PUT", "contacts/T-ann", {"name": "x"}, 200),
            ("DELETE", "contacts/T-ann", None, 200),
            ("DELETE", "contacts?identifier__in=T-ann", None, 200),
        ):
            with self.subTest(method=method, path=path):
                mark = "&" if "?" in path else "?"
                response = self._call(
                    method,
                    f"{path}{mark}dry_run=true",
                    row,
                    headers={"Idempotency-Key": "k1"},
                )
                self.assertEqual(response.status_code, status)
                self.assertEqual(response.headers["X-Dry-Run"], "true")
                self.assertEqual(self.env["res.partner"].search_count([]), count)
                self.assertEqual(self.ann.name, "Ann")
                log = self._logs(response)
                self.assertEqual((log.status, log.details), ("success", "dry run"))
        self.assertFalse(self.env["bj.api.sync.replay"].search([]))

    def test_a_dry_run_finds_what_the_real_run_would(self):
        response = self._call(
            "POST", "contacts?dry_run=1", {"customer_id": "T-ann", "name": "x"}
        )
        self.assertEqual(response.status_code, 409)
        self.assertEqual(
            self._call("PUT", "contacts/T-ann?dry_run=maybe", {}).status_code, 400
        )

    def test_an_error_of_a_dry_run_says_that_it_was_one(self):
        for path, row, status in (
            ("contacts?dry_run=true", {"customer_id": "T-1"}, 400),
            ("contacts?dry_run=1", [{"customer_id": "T-1"}], 400),
            ("contacts?dry_run=TRUE", {"customer_id": "T-ann", "name": "x"}, 409),
        ):
            with self.subTest(path=path):
                response = self._call("POST", path, row)
                self.assertEqual(response.status_code, status)
                self.assertEqual(response.headers["X-Dry-Run"], "true")
                log = self._logs(response)
                self.assertEqual((log.status, log.details), ("error", "dry run"))
        for method, path in (
            ("POST", "contacts"),
            ("POST", "contacts?dry_run=false"),
            ("GET", "contacts/nobody"),
        ):
            response = self._call(method, path, {"customer_id": "T-1"})
            self.assertNotIn("X-Dry-Run", response.headers)


@tagged("post_install", "-at_install")
class TestRecordId(ApiCase):
    def _status(self, path, method="GET", body=None):
        return self._call(method, path, body).status_code

    def test_any_prefers_the_identifier_and_then_takes_the_id(self):
        other = self.env["res.partner"].create(
            {"name": "Named like an id", "ref": str(self.ann.id)}
        )
        response = self._call("GET", f"contacts/{self.ann.id}")
        self.assertEqual(response.json()["name"], other.name)
        response = self._call("GET", f"contacts/{self.bob.id}")
        self.assertEqual(response.json()["name"], "Bob")

    def test_any_refuses_to_write_by_id_what_has_another_identifier(self):
        path = f"contacts/{self.ann.id}"
        self.assertEqual(self._status(path, "PUT", {"name": "x"}), 409)
        self.assertEqual(self._status(path, "DELETE"), 409)
        self.assertEqual(self.ann.name, "Ann")
        self.ann.ref = False
        self.assertEqual(self._status(path, "PUT", {"name": "x"}), 200)
        self.assertEqual(self._status(path, "DELETE"), 200)

    def test_identifier_and_id_take_only_their_own(self):
        self.config.record_id_match = "identifier"
        self.assertEqual(self._status(f"contacts/{self.ann.id}"), 404)
        self.assertEqual(self._status("contacts/T-ann"), 200)
        self.config.record_id_match = "id"
        self.assertEqual(self._status("contacts/T-ann"), 404)
        path = f"contacts/{self.ann.id}"
        self.assertEqual(self._status(path), 200)
        self.assertEqual(self._status(path, "PUT", {"name": "x"}), 200)
        response = self._call("POST", json={"customer_id": "T-1", "name": "x"})
        new = self.env["res.partner"].search([("ref", "=", "T-1")])
        self.assertTrue(response.headers["Location"].endswith(f"/{new.id}"))
        self.config.upsert = True
        path = f"contacts/{new.id + 1000}"
        self.assertEqual(self._status(path, "PUT", {"name": "x"}), 404)

    def test_numbers_that_are_no_id_are_404(self):
        long = "0" * 12 + "9" * 12
        for text in (
            long,
            "0",
            "-1",
            "99999999999999999999",
            "1.0",
            "1e3",
            "\u0661",
            " 1",
        ):
            with self.subTest(text=text):
                self.assertEqual(self._status(f"contacts/{text}"), 404)

    def test_an_identifier_that_two_records_have_is_a_conflict(self):
        self.bob.ref = "T-ann"
        for method in ("GET", "PUT", "DELETE"):
            response = self._call(method, "contacts/T-ann", {"name": "x"})
            self.assertEqual(response.status_code, 409)
            self.assertIn("T-ann", response.json()["message"])

    def test_archived_records_are_found_but_not_listed(self):
        self.ann.active = False
        self.assertEqual(self._status("contacts/T-ann"), 200)
        self.assertEqual(self._call("GET", "contacts?customer_id=T-ann").json(), [])
        response = self._call("GET", "contacts?customer_id=T-ann&active=false")
        self.assertEqual(len(response.json()), 1)
        self.assertEqual(self._status("contacts/T-ann", "PUT", {"name": "x"}), 200)


@tagged("post_install", "-at_install")
class TestRunAs(ApiCase):
    def test_the_filter_domain_hides_what_is_outside_of_it(self):
        self.config.filter_domain = "[('city', '=', 'Kyiv')]"
        refs = [row["customer_id"] for row in self._call("GET").json()]
        self.assertIn("T-bob", refs)
        self.assertNotIn("T-ann", refs)
        for method in ("GET", "PUT", "DELETE"):
            response = self._call(method, "contacts/T-ann", {"name": "x"})
            self.assertEqual(response.status_code, 404)
        path = 'contacts?domain=[["address.city","=","Lviv"]]'
        self.assertEqual(self._call("GET", path).json(), [])
        self.assertEqual(self.ann.name, "Ann")

    def test_the_filter_domain_knows_the_user_and_the_time(self):
        self.config.filter_domain = (
            "[('create_uid', '=', uid), ('company_id', 'in', [False, company_id]),"
            " ('create_date', '>', datetime.datetime.now() - timedelta(days=1))]"
        )
        self.assertEqual(self._call("GET").json(), [])
        self._call("POST", json={"customer_id": "T-1", "name": "x"})
        [row] = self._call("GET").json()
        self.assertEqual(row["customer_id"], "T-1")

    def test_a_walk_goes_on_although_the_filter_domain_moves_with_the_time(self):
        self.config.filter_domain = "[('create_date', '<=', datetime.datetime.now())]"
        self.env["res.partner"].create([{"name": "x"}, {"name": "y"}])
        first = self._call("GET", "contacts?cursor=&limit=1")
        path = f"contacts?limit=1&cursor={first.headers['X-Next-Cursor']}"
        self.assertEqual(self._call("GET", path).status_code, 200)

    def test_record_rules_hide_and_access_rights_refuse(self):
        self.env["ir.rule"].create(
            {
                "name": "bj_api no Lviv",
                "model_id": self.env["ir.model"]._get_id("res.partner"),
                "domain_force": "[('city', '!=', 'Lviv')]",
            }
        )
        self.assertEqual(self._call("GET", "contacts/T-ann").status_code, 404)
        self.assertEqual(
            self._call("PUT", "contacts/T-ann", {"name": "x"}).status_code, 404
        )
        # a write that leaves the rule behind is refused, and says nothing of the record
        response = self._call(
            "PUT", "contacts/T-bob", {"address": {"city": "Lviv"}, "name": "Secret"}
        )
        self.assertEqual(response.status_code, 403)
        self.assertEqual(self.bob.city, "Kyiv")
        for word in ("Secret", "Bob", "bj_api no Lviv", self.user.name):
            self.assertNotIn(word, response.text)
        self.assertIn(self.user.name, self._logs(response).error_message)

    def test_a_user_without_rights_is_refused(self):
        self.user[GROUPS] -= self.env.ref("base.group_partner_manager")
        for method, path in (
            ("POST", "contacts"),
            ("PUT", "contacts/T-ann"),
            ("DELETE", "contacts/T-ann"),
        ):
            row = {"customer_id": "T-1", "name": "x"}
            if method == "PUT":
                row = {"name": "x"}
            response = self._call(method, path, row)
            self.assertEqual(response.status_code, 403)
            self.assertEqual(set(response.json()), {"message", "request_id"})
        self.assertEqual(self._call("GET", "contacts/T-ann").status_code, 200)

    def test_the_language_time_zone_and_company_are_the_users(self):
        company = self.env["res.company"].create({"name": "BJ second"})
        self.env["res.lang"]._activate_lang("uk_UA")
        self.user.write(
            {"company_ids": [(4, company.id)], "lang": "uk_UA", "tz": "Asia/Tokyo"}
        )
        seen = "[env.lang, env.context.get('tz'), env.company.id, env.su, env.uid]"
        self.config.write(
            {
                "company_id": company.id,
                "response_script": f"response_data = {seen}",
            }
        )
        self.assertEqual(
            self._call("GET").json(),
            ["uk_UA", "Asia/Tokyo", company.id, False, self.user.id],
        )

    def test_a_rule_that_asks_for_the_company_reads_nothing_of_it(self):
        endpoint = self.env["bj.api.sync.config"]._get_endpoint("contacts")
        self.env.flush_all()
        self.env.invalidate_all()
        self.env["bj.api.sync.gate"]._spare_company(endpoint)
        company = self.env["res.company"].browse(endpoint.company_id)
        with self.assertQueryCount(0):
            self.assertEqual(company.parent_ids, company)

    def test_records_of_another_company_stay_hidden(self):
        company = self.env["res.company"].create({"name": "BJ second"})
        self.env.ref("base.res_partner_rule").active = True
        self.user.company_ids = [(4, company.id)]
        self.ann.company_id = company
        self.assertEqual(self._call("GET", "contacts/T-ann").status_code, 404)
        self.config.company_id = company
        self.assertEqual(self._call("GET", "contacts/T-ann").status_code, 200)

    def test_an_archived_user_serves_nobody(self):
        self.user.active = False
        self.assertEqual(self._call("GET").status_code, 403)

    def test_a_page_costs_the_same_number_of_queries_for_10_and_100_records(self):
        nested = self.make_config(
            {
                "code": {"field_path": "code", "is_record_identifier": True},
                "name": "name",
            },
            "res.country",
        )
        child = self.make_config(
            {"name": {"field_path": "name", "is_record_identifier": True}}
        )
        category = self.make_config(
            {"name": {"field_path": "name", "is_record_identifier": True}},
            "res.partner.category",
        )
        relations = {
            "country": ("country_id", nested),
            "children": ("child_ids", child),
            "tags": ("category_id", category),
        }
        plain = ("phone", "function", "street", "street2", "zip")
        self.config.line_ids = self.make_lines(
            {
                **dict(zip(plain, plain, strict=True)),
                **{
                    key: {
                        "field_path": field,
                        "value_type": "relational_mapping",
                        "mapping_config_id": config.id,
                    }
                    for key, (field, config) in relations.items()
                },
            }
        )
        self.assertEqual(len(self.config.line_ids), 12)
        tags = self.env["res.partner.category"].create(
            [{"name": f"tag {number}"} for number in range(5)]
        )
        countries = self.env["res.country"].search([], limit=10)
        self.env["res.partner"].create(
            [
                {
                    "name": f"Q{number}",
                    "ref": f"Q{number:03}",
                    "country_id": countries[number % 10].id,
                    "category_id": [(6, 0, tags[: number % 5].ids)],
                    "child_ids": [(0, 0, {"name": f"child of {number}"})],
                }
                for number in range(100)
            ]
        )
        counts = {}
        for limit in (10, 100):
            path = f"contacts?customer_id__like=Q&limit={limit}&order=customer_id"
            self._call("GET", path)  # fills the caches of the registry
            before = self.env.cr.sql_log_count
            response = self._call("GET", path)
            counts[limit] = self.env.cr.sql_log_count - before
            self.assertEqual(len(response.json()), limit)
            self.assertEqual(response.json()[7]["children"], [{"name": "child of 7"}])
        self.assertEqual(counts[10], counts[100])
        self.assertLessEqual(counts[100], 16)

    def test_a_response_script_sees_what_was_sent(self):
        self.config.write(
            {
                "request_script": "request_data['name'] = request_data['name'].upper()",
                "response_script": "response_data['was'] = request_data",
            }
        )
        row = {"customer_id": "T-1", "name": "n", "more": 1}
        answer = self._call("POST", json=row).json()
        self.assertEqual(answer["was"], {**row, "name": "N"})
        answer = self._call("PUT", "contacts/T-1", {"name": "m"}).json()
        self.assertEqual(answer["was"], {"name": "M"})
        self.assertEqual(self._call("GET", "contacts/T-1").json()["was"], {})

    def test_request_and_response_scripts_change_what_goes_through(self):
        self.config.write(
            {
                "request_script": "request_data['name'] = request_data['name'].upper()",
                "response_script": "response_data['extra'] = method",
            }
        )
        response = self._call("POST", json={"customer_id": "T-1", "name": "x"})
        self.assertEqual(response.json()["name"], "X")
        self.assertEqual(response.json()["extra"], "POST")

    def test_a_read_that_writes_is_answered_and_logged_once(self):
        self.config.response_script = "record.write({'comment': 'seen'})"
        response = self._call("GET", "contacts/T-ann")
        # the user may write contacts, so the script may, too
        self.assertEqual(response.status_code, 200)
        self.assertIn("seen", self.ann.comment)
        self.assertEqual(len(self._logs(response)), 1)
        self.assertLess(self._logs(response).timestamp, fields.Datetime.now().max)
