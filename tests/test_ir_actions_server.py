from odoo.exceptions import UserError, ValidationError
from odoo.tests import tagged

from .outbound_common import OutboundCase


@tagged("post_install", "-at_install")
class TestServerAction(OutboundCase):
    def _make_action(self, config, **vals):
        return self.env["ir.actions.server"].create(
            {
                "name": "Send",
                "model_id": config.model_id.id,
                "state": "bj_api_sync",
                "bj_api_config_id": config.id,
                **vals,
            }
        )

    def _make_rule(self, config, trigger="on_create_or_write", **vals):
        return self.env["base.automation"].create(
            {
                "name": "Rule",
                "model_id": config.model_id.id,
                "trigger": trigger,
                "action_server_ids": [
                    (0, 0, {"name": "Send", "model_id": config.model_id.id,
                            "state": "bj_api_sync", "bj_api_config_id": config.id,
                            "usage": "base_automation"})
                ],
                **vals,
            }
        )  # fmt: skip

    def test_the_action_menu_sends_the_chosen_records(self):
        config = self._make_config()
        action = self._make_action(config)
        partners = self._make_partner() | self._make_partner(ref="C2")
        answer = action.with_context(
            active_model="res.partner",
            active_ids=partners.ids,
            active_id=partners[0].id,
        ).run()
        self.assertEqual(answer["tag"], "display_notification")
        deliveries = self._commit(config)
        self.assertEqual(deliveries.mapped("res_id"), partners.ids)
        self.assertEqual(set(deliveries.mapped("event")), {"manual"})

    def test_deliveries_can_be_seen_in_the_transaction_that_makes_them(self):
        config = self._make_config()
        action = self._make_action(config)
        partner = self._make_partner()
        action.with_context(active_model="res.partner", active_ids=partner.ids).run()
        self.assertEqual(config.delivery_ids.res_id, partner.id)

    def test_a_rule_on_save_makes_one_delivery_however_often_it_fires(self):
        config = self._make_config()
        self._make_rule(config)
        partner = self._make_partner(email="a@example.com")
        delivery = self._commit(config)
        self.assertRecordValues(
            delivery, [{"res_id": partner.id, "event": "create", "method": "POST"}]
        )
        partner.name = "Renamed"
        partner.email = "b@example.com"
        delivery = self._commit(config) - delivery
        self.assertRecordValues(delivery, [{"event": "write"}])
        self.assertIn("b@example.com", delivery.payload)

    def test_a_rule_on_deletion_sends_what_was_there(self):
        config = self._make_config("DELETE", "/orders/{ref}")
        self._make_rule(config, "on_unlink")
        partner = self._make_partner(ref="GONE")
        partner.unlink()
        delivery = self._commit(config)
        self.assertTrue(delivery.url.endswith("/GONE"))
        self._send()
        self.assertEqual(self.receiver.requests[0].method, "DELETE")

    def test_a_scheduled_action_sends_what_matches(self):
        config = self._make_config(filter_domain="[('ref', '=like', 'S%')]")
        cron = self.env["ir.cron"].browse(config.action_create_cron()["res_id"])
        partner = self._make_partner(ref="S1")
        self._make_partner(ref="T1")
        self.env.flush_all()
        cron.ir_actions_server_id.with_context(cron_id=cron.id).run()
        delivery = self._commit(config)
        self.assertRecordValues(delivery, [{"res_id": partner.id, "event": "schedule"}])

    def test_it_works_inside_a_multi_action(self):
        config = self._make_config()
        action = self._make_action(config)
        parent = self.env["ir.actions.server"].create(
            {
                "name": "Several",
                "model_id": config.model_id.id,
                "state": "multi",
                "child_ids": [(6, 0, action.ids)],
            }
        )
        partners = self._make_partner() | self._make_partner(ref="C2")
        parent.with_context(
            active_model="res.partner",
            active_ids=partners.ids,
            active_id=partners[0].id,
        ).run()
        self.assertEqual(len(self._commit(config)), 2)

    def test_code_of_a_rule_may_send_at_once(self):
        config = self._make_config()
        self.env["base.automation"].create(
            {
                "name": "Code",
                "model_id": config.model_id.id,
                "trigger": "on_create",
                "action_server_ids": [
                    (0, 0, {"name": "Code", "model_id": config.model_id.id,
                            "state": "code", "usage": "base_automation", "code":
                            "config = env['bj.api.sync.config'].search("
                            f"[('id', '=', {config.id})], limit=1)\n"
                            "result = config._make_outbound_http_request("
                            "record, config.id, timeout=60)\n"
                            "if not result.get('success'):\n"
                            "    raise UserError('failed')\n"
                            "record.write({'comment': str(result.status_code)})"})
                ],
            }
        )  # fmt: skip
        partner = self._make_partner()
        self.assertIn("200", partner.comment)

    def test_ui_changes_cannot_send(self):
        config = self._make_config()
        with self.assertRaises(ValidationError):
            self._make_rule(config, "on_change")
        action = self._make_action(config)
        new = self.env["res.partner"].new({"name": "unsaved"})
        with self.assertRaises(UserError):
            action.with_context(active_model="res.partner", onchange_self=new).run()

    def test_the_configuration_has_to_fit(self):
        config = self._make_config()
        with self.assertRaises(ValidationError):
            self._make_action(config, bj_api_config_id=False)
        with self.assertRaises(ValidationError):
            self._make_action(config, model_id=self.env.ref("base.model_res_users").id)

    def test_uninstalling_takes_scheduled_actions_along(self):
        config = self._make_config()
        cron = self.env["ir.cron"].browse(config.action_create_cron()["res_id"])
        rule = self._make_rule(config)
        selection = self.env["ir.model.fields.selection"].search(
            [
                ("field_id.model", "=", "ir.actions.server"),
                ("value", "=", "bj_api_sync"),
            ]
        )
        selection._process_ondelete()
        self.assertFalse(cron.exists())
        self.assertFalse(rule.exists())
