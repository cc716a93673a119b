import json
from datetime import timedelta
from unittest.mock import patch

import psycopg2
from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import TransactionCase, new_test_user, tagged
from odoo.tools import mute_logger

from ..models import bj_api_log
from .common import ApiCase, ConfigMixin


class SerializationFailure(psycopg2.errors.SerializationFailure):
    pgcode = "40001"  # which only the driver can set


@tagged("post_install", "-at_install")
class TestLoggedExchanges(ApiCase):
    def test_each_exchange_has_one_row_with_its_status(self):
        etag = self._call("GET", "contacts/T-ann").headers["ETag"]
        row = {"customer_id": "T-1", "name": "x"}
        for status, method, path, options in (
            (200, "GET", "contacts", {}),
            (200, "GET", "contacts/T-ann", {}),
            (304, "GET", "contacts/T-ann", {"headers": {"If-None-Match": etag}}),
            (200, "HEAD", "contacts", {}),
            (204, "OPTIONS", "contacts", {}),
            (201, "POST", "contacts?dry_run=true", {"json": row}),
            (201, "POST", "contacts", {"json": row}),
            (409, "POST", "contacts", {"json": row}),
            (207, "POST", "contacts?partial=1", {"json": [row]}),
            (200, "PUT", "contacts/T-1", {"json": {"name": "y"}}),
            (412, "PUT", "contacts/T-1", {"json": {}, "headers": {"If-Match": '"x"'}}),
            (200, "DELETE", "contacts/T-1", {}),
            (400, "POST", "contacts", {"data": b"{"}),
            (415, "POST", "contacts", {"data": b"a=1"}),
            (401, "GET", "contacts", {"token": None}),
            (404, "GET", "contacts/T-none", {}),
            (404, "GET", "unknown", {}),
            (405, "PATCH", "contacts", {}),
            (406, "GET", "contacts", {"headers": {"Accept": "text/html"}}),
        ):
            with self.subTest(status=status, method=method, path=path):
                before = self.env["bj.api.log"].search_count([])
                if "data" in options and status == 415:
                    options["headers"] = {"Content-Type": "text/plain"}
                response = self._call(method, path, **options)
                self.assertEqual(response.status_code, status, response.text)
                self.assertEqual(self.env["bj.api.log"].search_count([]), before + 1)
                log = self._logs(response)
                self.assertEqual((log.method, log.response_code), (method, status))
                self.assertEqual(log.status, "success" if status < 400 else "error")
                self.assertEqual(bool(log.error_message), status >= 400)
                self.assertFalse(log.traceback)

    def test_a_row_tells_the_whole_exchange(self):
        body = {"customer_id": "T-1", "name": "Ім'я"}
        response = self._call("POST", "contacts?partial=0", body)
        record = self.env["res.partner"].search([("ref", "=", "T-1")])
        log = self._logs(response)
        self.assertRecordValues(
            log,
            [
                {
                    "name": "POST contacts",
                    "config_id": self.config.id,
                    "company_id": self.env.company.id,
                    "user_id": self.user.id,
                    "direction": "in",
                    "status": "success",
                    "method": "POST",
                    "url": "/bj_api_sync/v1/contacts?partial=0",
                    "response_code": 201,
                    "model": "res.partner",
                    "record_id": record.id,
                    "record_count": 1,
                    "remote_addr": "127.0.0.1",
                    "action": "create",
                    "error_message": False,
                }
            ],
        )
        self.assertEqual(json.loads(log.request_data), body)
        self.assertEqual(json.loads(log.response_data), response.json())
        self.assertGreater(log.duration, 0)
        headers = json.loads(log.response_headers)
        self.assertEqual(headers["Location"], response.headers["Location"])
        self.assertEqual(self._logs(self._call("GET")).action, "list")

    def test_an_unknown_endpoint_has_a_row_without_configuration(self):
        log = self._logs(self._call("GET", "un\u043anown/x"))
        self.assertFalse(log.config_id or log.user_id)
        self.assertEqual(log.response_code, 404)

    def test_secrets_are_masked_wherever_they_are(self):
        self.config.header_ids = [
            (0, 0, {"name": "X-Shop", "value": "hush-1", "is_secret": True})
        ]
        self.config.line_ids = self.make_lines({"password": "comment"})
        self.opener.cookies["session_id"] = "hush-3"
        response = self._call(
            "POST",
            "contacts",
            {"customer_id": "T-1", "name": "x", "password": "hush-2"},
            headers={
                "X-Shop": "hush-1",
                "X-Api-Key": "hush-4",
            },
        )
        self.assertEqual(response.status_code, 201)
        failed = self._call(
            "GET", "contacts?access_token=hush-5", headers={"X-Shop": "hush-1"}
        )
        self.assertEqual(failed.status_code, 400)
        for log in self._logs(response) + self._logs(failed):
            text = str(log.read())
            self.assertNotIn("hush-", text)
            self.assertNotIn(self.token, text)
        self.set_parameter("redacted_keys", "name")
        log = self._logs(self._call("PUT", "contacts/T-ann", {"name": "hush-6"}))
        self.assertNotIn("hush-6", log.request_data or "")

    def test_the_level_decides_what_is_kept(self):
        for level, ok_rows, ok_bodies, error_rows, error_bodies in (
            ("full", 1, True, 1, True),
            ("metadata", 1, False, 1, False),
            ("errors", 0, False, 1, True),
            ("none", 0, False, 0, False),
        ):
            with self.subTest(level=level):
                self.config.log_level = level
                good = self._call("PUT", "contacts/T-ann", {"name": "Ann"})
                read = self._call("GET", "contacts/T-ann")
                bad = self._call("PUT", "contacts/T-ann", {"email": {"a": 1}})
                self.assertEqual(bad.status_code, 400)
                self.assertEqual(len(self._logs(good)), ok_rows)
                self.assertEqual(len(self._logs(read)), ok_rows)
                self.assertEqual(bool(self._logs(good).request_data), ok_bodies)
                self.assertEqual(bool(self._logs(good).response_headers), ok_bodies)
                self.assertEqual(len(self._logs(bad)), error_rows)
                self.assertEqual(bool(self._logs(bad).request_data), error_bodies)

    def test_bodies_are_cut_with_a_mark(self):
        self.set_parameter("log_body_bytes", "100")
        response = self._call(
            "POST", json={"customer_id": "T-1", "name": "x", "email": "x" * 5000}
        )
        log = self._logs(response)
        self.assertLess(len(log.request_data), 200)
        self.assertIn("…", log.request_data)
        self.set_parameter("log_body_bytes", "nonsense")
        response = self._call("PUT", "contacts/T-1", {"email": "y"})
        self.assertEqual(response.status_code, 200)
        self.assertIn('"y"', self._logs(response).request_data)

    def test_a_failing_script_leaves_its_traceback_in_the_log_only(self):
        self.config.request_script = "x = request_data['missing-key']"
        response = self._call("POST", json={"customer_id": "T-1", "name": "x"})
        self.assertEqual(response.status_code, 400)
        self.assertIn("missing-key", response.json()["message"])
        self.assertNotIn("Traceback", response.text)
        self.assertIn("Traceback", self._logs(response).traceback)

    def test_a_failing_script_of_a_line_leaves_its_traceback_too(self):
        line = self.config.line_ids.filtered(lambda line: line.api_key == "email")
        line.write(
            {"value_type": "python_plain", "script": "request_data['missing-key']"}
        )
        row = {"customer_id": "T-1", "name": "x"}
        for body in (row, [row, {**row, "customer_id": "T-2"}]):
            response = self._call("POST", json=body)
            self.assertEqual(response.status_code, 400)
            self.assertEqual(response.json()["line_id"], line.id)
            self.assertNotIn("Traceback", response.text)
            self.assertIn("KeyError: 'missing-key'", self._logs(response).traceback)
        line.value_type = "plain"
        response = self._call("POST", json={"customer_id": "T-1", "name": True})
        self.assertFalse(self._logs(response).traceback)  # it explains itself

    def test_an_unexpected_error_is_a_500_that_tells_only_its_request_id(self):
        reader = self.registry["bj.api.sync.reader"]
        error = ZeroDivisionError("an inner secret of Odoo")
        with (
            patch.object(reader, "_read_payloads", side_effect=error),
            mute_logger("bj.api.http"),
        ):
            for format in ("bare", "status", "success"):
                self.config.response_format = format
                response = self._call("GET")
                self.assertEqual(response.status_code, 500)
                self.assertIn(response.headers["X-Request-ID"], response.text)
                self.assertNotIn("inner secret", response.text)
                self.assertNotIn("Traceback", response.text)
                log = self._logs(response)
                self.assertEqual(len(log), 1)
                self.assertIn("an inner secret of Odoo", log.traceback)

    def test_what_odoo_repeats_is_counted_and_logged_once(self):
        self.config.rate_limit_per_minute = 1000
        reader = self.registry["bj.api.sync.reader"]
        counter = self.registry["bj.api.sync.counter"]
        read, add = reader._read_payloads, counter._add
        failures = [SerializationFailure()] * 2

        def fail_twice(*args, **kwargs):
            if failures:
                raise failures.pop()
            return read(*args, **kwargs)

        with (
            patch.object(reader, "_read_payloads", fail_twice),
            patch.object(counter, "_add", autospec=True, side_effect=add) as counted,
            patch("odoo.service.model.time.sleep"),
            mute_logger("odoo.service.model"),
        ):
            response = self._call("PUT", "contacts/T-ann", {"name": "x"})
        self.assertEqual(response.status_code, 200)
        self.assertFalse(failures)
        self.assertEqual(counted.call_count, 1)
        self.assertEqual(response.headers["X-RateLimit-Remaining"], "999")
        self.assertEqual(len(self._logs(response)), 1)

    def test_what_stays_locked_is_a_503_to_be_repeated(self):
        error = SerializationFailure()
        with (
            patch.object(
                self.registry["bj.api.sync.writer"], "_write_rows", side_effect=error
            ),
            patch("odoo.service.model.time.sleep"),
            mute_logger("odoo.service.model"),
        ):
            response = self._call("PUT", "contacts/T-ann", {"name": "x"})
        self.assertEqual(response.status_code, 503)
        self.assertEqual(response.headers["Retry-After"], "1")
        self.assertEqual(len(self._logs(response)), 1)
        self.assertEqual(self.ann.name, "Ann")

    def test_an_answer_does_not_fail_because_of_its_row(self):
        log = self.registry["bj.api.log"]
        with (
            patch.object(log, "_insert_many", side_effect=ValueError),
            mute_logger("bj.api.log"),
        ):
            self.assertEqual(self._call("GET").status_code, 200)
            self.assertEqual(self._call("GET", "contacts/T-none").status_code, 404)


@tagged("post_install", "-at_install")
class TestLogModel(ConfigMixin, TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        groups = "base.group_user,bj_api_sync.group_bj_api_%s"
        cls.reader = new_test_user(cls.env, "bj_log_reader", groups=groups % "user")
        cls.manager = new_test_user(
            cls.env, "bj_log_manager", groups=groups % "manager"
        )
        cls.config = cls.make_config(
            {"name": {"field_path": "name", "is_record_identifier": True}},
            user_id=cls.manager.id,
        )

    def _make_rows(self, count, days, **vals):
        then = fields.Datetime.now() - timedelta(days=days)
        return self.env["bj.api.log"].create(
            [{"timestamp": then, **vals} for _number in range(count)]
        )

    def test_nobody_writes_rows_by_a_remote_call(self):
        row = self._make_rows(1, 0)
        for user in (self.reader, self.manager, self.env.ref("base.user_admin")):
            log = row.with_user(user)
            with self.subTest(user=user.login):
                self.assertTrue(log.read(["name"]))
                for change in (
                    lambda log=log: log.create({"name": "x"}),
                    lambda log=log: log.write({"name": "x"}),
                    lambda log=log: log.unlink(),
                    lambda log=log: log.copy(),
                ):
                    with self.assertRaises(AccessError), mute_logger("odoo.models"):
                        change()
        employee = new_test_user(self.env, "bj_log_employee")
        with self.assertRaises(AccessError):
            row.with_user(employee).read(["name"])

    def test_scripts_and_server_actions_write_rows_of_their_own(self):
        source = "env['bj.api.log'].create({'name': 'mine', 'status': 'success'})"
        employee = new_test_user(self.env, "bj_log_employee")
        script = self.env(user=employee)["bj.api.sync.script"]
        context = script._make_context(self.config.sudo(), direction="in", records=None)
        script._run(source, "execute", context, name="test")
        action = self.env["ir.actions.server"].create(
            {
                "name": "log",
                "model_id": self.env["ir.model"]._get_id("res.partner"),
                "state": "code",
                "code": source,
            }
        )
        action.with_user(self.env.ref("base.user_admin")).run()
        rows = self.env["bj.api.log"].search([("name", "=", "mine")])
        self.assertEqual(len(rows), 2)
        with self.assertRaises(AccessError):  # the right ends with the script
            script.env["bj.api.log"].create({"name": "x"})

    def test_old_rows_go_in_batches_and_by_their_configuration(self):
        self.config.log_retention_days = 60
        log = self.env["bj.api.log"]
        log.search([]).unlink()
        self._make_rows(5, 61, config_id=self.config.id)
        self._make_rows(2, 59, config_id=self.config.id, status="error")
        self._make_rows(3, 31)
        self._make_rows(1, 29)
        with patch.object(bj_api_log, "VACUUM_BATCH", 2):
            log._gc_logs()
        self.assertEqual(len(log.search([("config_id", "=", self.config.id)])), 2)
        self.assertEqual(len(log.search([("config_id", "=", False)])), 1)


@tagged("post_install", "-at_install")
class TestLogWithMoreFields(TransactionCase):
    def test_a_field_that_another_module_requires_has_its_default(self):
        logs = self.env["bj.api.log"]
        logs.search([]).unlink()
        field = self.env["ir.model.fields"].create(
            {
                "name": "x_team",
                "field_description": "Team",
                "model_id": self.env["ir.model"]._get_id("bj.api.log"),
                "ttype": "char",
            }
        )
        self.env["ir.default"].set("bj.api.log", "x_team", "North")
        field.required = True
        log_id = logs._record("full", {"name": "GET contacts", "status": "success"})
        self.assertEqual(logs.browse(log_id).x_team, "North")
