from odoo.tests import HttpCase, tagged

from ..models import bj_api_sync_delivery_buttons as delivery_module
from ..models import bj_api_sync_progress as progress_module
from .common import PARTNER_LINES, ConfigMixin
from .receiver import Receiver

START = "/odoo/api-configurations?debug=1"
GRAPH_TOUR = "bj_api_sync_graph_tour"
PROGRESS_TOUR = "bj_api_sync_progress_tour"


@tagged("post_install", "-at_install")
class TestTours(ConfigMixin, HttpCase):
    """The ways through the screens that each administrator takes, in a browser."""

    readonly_enabled = _registry_readonly_enabled = False

    def test_an_endpoint_is_made_and_called(self):
        self.start_tour(START, "bj_api_sync_in_tour", login="admin")
        config = self.env["bj.api.sync.config"].search(
            [("endpoint", "=", "tour-contacts")]
        )
        self.assertEqual(len(config.token_ids), 1)
        self.assertTrue(config.last_success_date)

    def test_a_request_is_previewed_and_nothing_stays(self):
        self.make_config(
            PARTNER_LINES, endpoint="tour-preview", name="Previewed by tour"
        )
        before = self.env["res.partner"].search_count([])
        self.start_tour(START, "bj_api_sync_preview_tour", login="admin")
        self.assertEqual(self.env["res.partner"].search_count([]), before)

    def test_a_record_is_previewed_and_then_sent(self):
        receiver = self.enterContext(Receiver())
        config = self.make_config(
            PARTNER_LINES,
            name="Sent by preview",
            request_type="out",
            methods=("POST",),
            auth_type="none",
            url=receiver.url("/contacts"),
            filter_domain="[('ref', '=', 'T-ada')]",
            header_ids=[(0, 0, {"name": "X-Key", "value": "k", "is_secret": True})],
        )
        self.env["res.partner"].create({"name": "Ada", "ref": "T-ada"})
        self.start_tour(START, "bj_api_sync_preview_out_tour", login="admin")
        [request] = receiver.requests
        self.assertEqual(request.json()["name"], "Ada")
        self.assertEqual(config.delivery_ids.state, "delivered")

    def test_a_token_is_shown_once_and_revoked(self):
        config = self.make_config(
            PARTNER_LINES, endpoint="tour-token", name="Called with tokens"
        )
        self.start_tour(START, "bj_api_sync_token_tour", login="admin")
        tokens = config.with_context(active_test=False).token_ids
        self.assertEqual(tokens.mapped("state"), ["revoked"])

    def test_a_sample_becomes_a_nested_endpoint(self):
        self.start_tour(START, "bj_api_sync_json_tour", login="admin")
        config = self.env["bj.api.sync.config"].search([("endpoint", "=", "tour-json")])
        mappings = config.line_ids.mapping_config_id
        self.assertLessEqual(
            {"res.country", "res.partner"}, set(mappings.mapped("model_name"))
        )
        country = mappings.filtered(lambda m: m.model_name == "res.country").line_ids
        named = country.filtered("is_record_identifier")
        self.assertEqual((named.api_key, named.field_path), ("iso", "code"))

    def _make_deliveries(self, name, count):
        """Return an Out configuration with so many deliveries that wait."""
        config = self.make_config(
            PARTNER_LINES,
            name=name,
            request_type="out",
            methods=("POST",),
            auth_type="none",
            url="https://shop.example.com/contacts",
        )
        partners = self.env["res.partner"].create(
            [{"name": f"P{number}", "ref": f"T-{number}"} for number in range(count)]
        )
        self.env["bj.api.sync.outbound"]._enqueue(config, partners, "manual")
        return config

    def test_a_long_run_shows_a_bar_and_can_be_stopped(self):
        self.patch(progress_module, "STEP_SECONDS", -1)
        self.patch(delivery_module, "STEP_ROWS", 1)
        config = self._make_deliveries("Stopped by tour", 300)
        deliveries = config.delivery_ids
        self.start_tour("/odoo/api-deliveries?debug=1", PROGRESS_TOUR, login="admin")
        deliveries.invalidate_recordset()
        cancelled = deliveries.filtered(lambda row: row.state == "cancelled")
        self.assertTrue(0 < len(cancelled) < 300, len(cancelled))

    def test_graphs_show_failures_in_red(self):
        config = self._make_deliveries("Drawn by tour", 3)
        states = ("delivered", "failed", "pending")
        for delivery, state in zip(config.delivery_ids, states, strict=True):
            delivery.state = state
        self.start_tour("/odoo/api-deliveries?debug=1", GRAPH_TOUR, login="admin")

    def test_a_rule_makes_a_delivery(self):
        self.start_tour(START, "bj_api_sync_out_tour", login="admin")
        config = self.env["bj.api.sync.config"].search([("name", "=", "Sent by tour")])
        self.assertEqual(config.server_action_ids.base_automation_id.name, config.name)
        self.assertEqual(config.delivery_ids.state, "pending")
        icon = ".o_automation_actions i.fa-exchange[title='Send with BJ API']"
        self.browser_js(
            "/odoo/automations",
            f"""const look = setInterval(() => {{
                if (!document.querySelector("{icon}")) return;
                clearInterval(look);
                console.log("test successful");
            }}, 100)""",
            login="admin",
        )
