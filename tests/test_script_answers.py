"""What callers and deliveries get when a script gives what is no data."""

import json

from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import ApiCase, ConfigMixin
from .outbound_common import OutboundCase

NO_DATA = [
    "lambda x: x",
    "env",
    "float('nan')",
    "1.5e308 * 10",
    "timedelta(1)",
    "'\\ud800'",
    "(lambda a: a.append(a) or a)([])",
    "{'a': map(str, [1])}",
    "{(1, 2): 3}",
    "10 ** 999",
]
DATA = {
    "{3}": [3],
    "record.browse(7)": 7,
    "b'a'": "a",
    "{5: 'a'}": {"5": "a"},
    "datetime.date(2025, 1, 31)": "2025-01-31",
}


@tagged("post_install", "-at_install")
class TestAnswers(ApiCase):
    def assertScriptError(self, response, line_id=None):
        self.assertEqual(response.status_code, 400, response.text)
        self.assertEqual(response.json().get("line_id"), line_id)
        self.assertIn("Script", response.text)

    def test_a_read_script_is_400_with_its_line(self):
        line = self.config.line_ids.filtered(lambda line: line.api_key == "email")
        line.write({"value_type": "python_plain", "script": "None"})
        for source in NO_DATA:
            line.read_script = source
            with self.subTest(source), mute_logger("bj.api"):
                self.assertScriptError(self._call("GET", "contacts/T-ann"), line.id)
                self.assertScriptError(self._call("GET"), line.id)
        for source, expected in DATA.items():
            line.read_script = source
            with self.subTest(source):
                response = self._call("GET", "contacts/T-ann")
                self.assertEqual(response.json()["email"], expected)

    def test_a_script_that_writes_is_400_with_its_line(self):
        line = self.config.line_ids.filtered(lambda line: line.api_key == "email")
        line.write({"value_type": "python_plain", "script": "None"})
        for source in NO_DATA:
            line.script = source
            with self.subTest(source), mute_logger("bj.api"):
                row = {"customer_id": "T-new", "name": "New", "email": "x"}
                response = self._call("POST", json=row)
                self.assertScriptError(response, line.id)

    def test_scripts_of_a_request_and_its_answer_are_400(self):
        for name, variable in [
            ("request_script", "request_data"),
            ("response_script", "response_data"),
        ]:
            for source in NO_DATA:
                self.config.write({"request_script": False, "response_script": False})
                self.config[name] = f"{variable}['email'] = {source}"
                with self.subTest(f"{name}: {source}"), mute_logger("bj.api"):
                    row = {"customer_id": "T-new", "name": "New"}
                    self.assertScriptError(self._call("POST", json=row))


@tagged("post_install", "-at_install")
class TestDeliveries(ConfigMixin, OutboundCase):
    def _get_delivery(self, source, **vals):
        config = self._make_config(**{"request_script": source, **vals})
        return self._enqueue(config, self._make_partner())

    def test_a_delivery_fails_and_says_why(self):
        for source in NO_DATA:
            for script in (f"result = {source}", f"request_data['a'] = {source}"):
                with self.subTest(script), mute_logger("bj.api"):
                    delivery = self._get_delivery(script)
                    self.assertEqual(delivery.state, "failed")
                    self.assertIn("Request Script", delivery.last_error)

    def test_a_line_fails_and_says_which(self):
        for source in NO_DATA:
            line = {"value_type": "python_plain", "script": source}
            with self.subTest(source), mute_logger("bj.api"):
                delivery = self._get_delivery(False, lines={"total": line})
                self.assertEqual(delivery.state, "failed")
                self.assertIn("Script total", delivery.last_error)

    def test_sets_records_and_bytes_in_a_payload_are_written_as_in_an_answer(self):
        for source, expected in DATA.items():
            with self.subTest(source):
                delivery = self._get_delivery(f"request_data = {{'a': {source}}}")
                self.assertNotEqual(delivery.state, "failed", delivery.last_error)
                self.assertEqual(json.loads(delivery.payload), {"a": expected})
