import json

from odoo.tests import tagged
from odoo.tools import mute_logger

from ..exceptions import ApiError
from ..tools.message import Call
from .common import ConfigMixin
from .outbound_common import OutboundCase

NOISY = 0.1 + 0.2


@tagged("post_install", "-at_install")
class TestFloatsOut(ConfigMixin, OutboundCase):
    def _get_payload(self, lines, records, **vals):
        config = self._make_config(
            model_id=self.env["ir.model"]._get_id(records._name), lines=lines, **vals
        )
        delivery = self._enqueue(config, records)
        if delivery.state == "failed":
            return delivery.last_error
        return json.loads(delivery.payload)

    def _make_field(self, model, name, **vals):
        self.env["ir.model.fields"].create(
            {
                "name": name,
                "model_id": self.env["ir.model"]._get_id(model),
                "field_description": name,
                **vals,
            }
        )

    def setUp(self):
        super().setUp()
        # Fields of a test are taken back with its transaction.
        self.addCleanup(self.registry.reset_changes)

    def test_a_computed_float_without_digits_loses_its_noise(self):
        self._make_field(
            "res.partner",
            "x_total",
            ttype="float",
            depends="color",
            compute="for one in self:\n    one['x_total'] = one.color * 1.7",
            store=False,
        )
        self._make_field("res.partner", "x_plain", ttype="float")
        partner = self._make_partner(color=3, x_plain=NOISY)
        lines = {
            "total": "x_total",
            "plain": "x_plain",
            "path": "child_ids.x_total",
            "own": "commercial_partner_id.x_plain",
        }
        self._make_partner(ref="C2", parent_id=partner.id, color=3)
        self.assertEqual(
            self._get_payload(lines, partner),
            {"total": 5.1, "plain": 0.3, "path": [5.1], "own": 0.3},
        )

    def test_written_and_not_read_back_is_rounded_to_digits_and_currency(self):
        self._make_field(
            "res.partner", "x_cur", ttype="many2one", relation="res.currency"
        )
        self._make_field(
            "res.partner", "x_money", ttype="monetary", currency_field="x_cur"
        )
        lines = {"money": "x_money", "latitude": "partner_latitude"}
        yen = self.env.ref("base.JPY")
        euro = self.env.ref("base.EUR")
        partner = self._make_partner(
            x_cur=euro.id, x_money=1.7 * 3.003, partner_latitude=1.234567891234
        )
        self.assertEqual(
            self._get_payload(lines, partner), {"money": 5.11, "latitude": 1.2345679}
        )
        partner.write({"x_money": 7.777, "x_cur": yen.id, "partner_latitude": NOISY})
        self.assertEqual(
            self._get_payload(lines, partner), {"money": 8.0, "latitude": 0.3}
        )
        partner.write({"x_cur": euro.id, "x_money": 7.777})
        self.assertEqual(self._get_payload(lines, partner)["money"], 7.78)

    def test_scripts_are_rounded_and_constants_are_not(self):
        script = {"value_type": "python_plain"}
        payload = self._get_payload(
            {
                "line": {**script, "script": "0.1 + 0.2"},
                "nested": {**script, "script": "{'a': [1.1 * 1.1, {'b': 1.7 * 3}]}"},
                "constant": {
                    "value_type": "constant",
                    "constant_value": "0.30000000000000004",
                },
            },
            self._make_partner(),
            request_script="request_data['late'] = [1.1 + 2.2]",
        )
        self.assertEqual(
            payload,
            {
                "line": 0.3,
                "nested": {"a": [1.21, {"b": 5.1}]},
                "constant": NOISY,
                "late": [3.3],
            },
        )

    def test_a_result_of_the_request_script_is_rounded(self):
        payload = self._get_payload(
            {"name": "name"},
            self._make_partner(),
            request_script="result = {'rows': [{'price': 1.7 * 3}]}",
        )
        self.assertEqual(payload, {"rows": [{"price": 5.1}]})

    def test_what_is_no_number_is_an_error_that_names_the_line(self):
        script = {"value_type": "python_plain"}
        for source in ("float('nan')", "float('inf')", "[{'a': -float('inf')}]"):
            with self.subTest(source), mute_logger("bj.api.outbound"):
                error = self._get_payload(
                    {"total": {**script, "script": source}}, self._make_partner()
                )
                self.assertIn("total", error)
                self.assertIn("not a number", error)
        with mute_logger("bj.api.outbound"):
            error = self._get_payload(
                {"name": "name"},
                self._make_partner(),
                request_script="request_data['late'] = float('nan')",
            )
        self.assertIn("Request Script", error)
        self.assertIn("not a number", error)

    def test_an_answer_to_a_get_is_rounded_too(self):
        config = self.make_config(
            {
                "ref": {"field_path": "ref", "is_record_identifier": True},
                "total": {
                    "value_type": "python_plain",
                    "script": "0",
                    "read_script": "{'a': [0.1 + 0.2]}",
                },
            }
        )
        plan = config._get_plan(config.id)
        (found,) = self.env["bj.api.sync.reader"]._read_payloads(
            plan, self._make_partner(), Call(config.id, "in", "GET")
        )
        self.assertEqual(found["total"], {"a": [0.3]})

    def test_a_response_script_of_an_endpoint_is_rounded_and_what_was_there_is_not(
        self,
    ):
        config = self.make_config(
            {"ref": {"field_path": "ref", "is_record_identifier": True}},
            endpoint="floats",
            response_script="response_data['sum'] = 0.1 + 0.2 + record.color",
        )
        inbound = self.env["bj.api.sync.inbound"]
        endpoint = config._get_endpoint("floats")
        call = Call(config.id, "in", "GET")
        value = {"constant": 1.1 * 1.1}
        partner = self._make_partner(color=1)
        self.assertEqual(
            inbound._run_response_script(endpoint, call, value, partner),
            {"constant": 1.1 * 1.1, "sum": 1.3},
        )
        config.response_script = "response_data['sum'] = float('inf')"
        endpoint = config._get_endpoint("floats")
        with self.assertRaisesRegex(ApiError, "Infinity is not a number"):
            inbound._run_response_script(endpoint, call, value, partner)
