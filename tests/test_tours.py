from odoo.tests import HttpCase, tagged

from .common import PARTNER_LINES, ConfigMixin


@tagged("post_install", "-at_install")
class TestTours(ConfigMixin, HttpCase):
    """The ways through the screens that each administrator takes, in a browser."""

    readonly_enabled = False

    def test_an_endpoint_is_made_and_called(self):
        self.start_tour(
            "/odoo/api-configurations?debug=1", "bj_api_sync_in_tour", login="admin"
        )
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
        self.start_tour(
            "/odoo/api-configurations?debug=1",
            "bj_api_sync_preview_tour",
            login="admin",
        )
        self.assertEqual(self.env["res.partner"].search_count([]), before)

    def test_a_rule_makes_a_delivery(self):
        self.start_tour(
            "/odoo/api-configurations?debug=1", "bj_api_sync_out_tour", login="admin"
        )
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
