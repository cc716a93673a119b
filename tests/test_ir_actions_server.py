from odoo.exceptions import UserError, ValidationError
from odoo.tests import new_test_user, tagged

from .outbound_common import OutboundCase
from .receiver import answer

# Code as administrators have it from the documentation of the compatible product, for
# each place that runs code. Only CONFIG, an id, is put in.
RULE_CODE = """
# Send the contact as soon as it is saved
config = env['bj.api.sync.config'].browse(CONFIG)
if record.email:
    response = config._make_outbound_http_request(record, config.id, timeout=60)
    if response.status_code not in (200, 201):
        env['bj.api.log'].create({
            'config_id': config.id,
            'name': 'Contact was refused: %s' % record.name,
            'status': 'error',
            'model': 'res.partner',
            'record_id': record.id,
            'response_code': response.status_code,
            'error_message': response.text,
            'timestamp': datetime.datetime.now(),
        })
    else:
        record.write({'comment': 'sent'})
"""
CRON_CODE = """
# Send what changed within the last day
yesterday = datetime.datetime.now() - datetime.timedelta(days=1)
records = env['res.partner'].search([
    ('write_date', '>=', yesterday),
    ('ref', '=like', 'SEED%'),
])
if records:
    result = env['bj.api.sync.config']._make_outbound_http_request(
        record_ids=records, config_id_ref=CONFIG
    )
    if result.get('success'):
        _logger.info('%s contacts sent', len(records))
    else:
        log('Sending failed: %s' % result.get('message'), level='error')
"""
MENU_CODE = """
config = env['bj.api.sync.config'].browse(CONFIG)
failed = []
for partner in records:
    result = config._make_outbound_http_request(partner)
    if not result.get('success'):
        failed.append(partner.name)
if failed:
    raise UserError('Not sent: %s' % ', '.join(failed))
action = {
    'type': 'ir.actions.client',
    'tag': 'display_notification',
    'params': {'message': '%d sent' % len(records), 'type': 'success'},
}
"""


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
        self._run_cron(cron)
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


@tagged("post_install", "-at_install")
class TestWatchedFields(OutboundCase):
    """Which fields the rule watches that *When a record is saved* makes."""

    def _make_rule(self, **vals):
        config = self._make_config("PUT", **vals)
        action = config.action_create_rule()
        return config, self.env["base.automation"].browse(action["res_id"])

    def _get_watched(self, **vals):
        _config, rule = self._make_rule(**vals)
        return set(rule.trigger_field_ids.mapped("name"))

    def _script(self, source, **vals):
        return {"value_type": "python_plain", "script": source, **vals}

    def test_those_of_lines_scripts_and_domain_are_watched(self):
        watched = self._get_watched(
            lines={
                "ref": {"field_path": "ref", "is_record_identifier": True},
                "country": "country_id.code",
                "phone": self._script("record.phone or record['vat']"),
                "many": self._script(
                    "a = record.mapped('category_id.name')\nresult = no_field(a)",
                    script_mode="execute",
                ),
                "unread": {
                    "field_path": "street",
                    "value_type": "python_plain",
                    "script": "record[line.api_key]",
                    "read_script": "record.city",
                },
            },
            request_script="request_data['zip'] = record.zip\nheaders['comment'] = 'x'",
            filter_domain="['|', ('function', '!=', False), ('parent_id.lang', '=', 'x')]",
        )
        self.assertLessEqual(
            {"ref", "country_id", "phone", "vat", "category_id", "street", "zip"}
            | {"function", "parent_id"},
            watched,
        )
        self.assertFalse({"city", "comment", "id", "write_date", "mobile"} & watched)

    def test_a_change_of_what_a_script_reads_is_sent(self):
        config, _rule = self._make_rule(
            lines={"ref": "ref", "phone": self._script("record.phone")}
        )
        partner = self._make_partner()
        self._commit()
        for values, count in (
            ({"phone": "1"}, 1),
            ({"comment": "x"}, 0),
            ({"phone": "2"}, 1),
        ):
            before = len(self._get_deliveries(config))
            partner.write(values)
            self._commit()
            self.assertEqual(len(self._get_deliveries(config)), before + count)

    def test_a_record_that_enters_the_domain_is_sent(self):
        config, _rule = self._make_rule(filter_domain="[('function', '=', 'done')]")
        partner = self._make_partner()
        self.assertFalse(self._commit(config))
        partner.function = "done"
        self.assertEqual(len(self._commit(config)), 1)

    def test_a_record_that_comes_into_the_company_is_sent(self):
        company = self.env["res.company"].create({"name": "Other"})
        config, _rule = self._make_rule(company_id=company.id)
        partner = self._make_partner(company_id=self.env.company.id)
        self.assertFalse(self._commit(config))
        partner.company_id = company
        self.assertEqual(len(self._commit(config)), 1)

    def test_what_a_field_is_computed_from_is_watched_where_it_is_not_stored(self):
        config, rule = self._make_rule(
            lines={"ref": "ref", "label": "display_name", "own": "contact_address"}
        )
        self.assertIn("street", rule.trigger_field_ids.mapped("name"))
        partner = self._make_partner()
        self._commit()
        for values in ({"name": "Other"}, {"street": "There"}):
            before = len(self._get_deliveries(config))
            partner.write(values)
            self._commit()
            self.assertEqual(len(self._get_deliveries(config)), before + 1)


@tagged("post_install", "-at_install")
class TestCodeOfTheCompatibleProduct(OutboundCase):
    """Code that was written for another product runs as it is, in Odoo's sandbox."""

    def _make_code(self, code, config, **vals):
        return {
            "name": "Code",
            "model_id": config.model_id.id,
            "state": "code",
            "code": code.replace("CONFIG", str(config.id)),
            **vals,
        }

    def _add_rule(self, config, code, trigger="on_create_or_write", **vals):
        action = self._make_code(code, config, usage="base_automation")
        return self.env["base.automation"].create(
            {
                "name": "Rule",
                "model_id": config.model_id.id,
                "trigger": trigger,
                "action_server_ids": [(0, 0, action)],
                **vals,
            }
        )

    def test_code_of_a_rule_sends_a_record_that_is_saved(self):
        config = self._make_config()
        email = self.env.ref("base.field_res_partner__email")
        self._add_rule(config, RULE_CODE, trigger_field_ids=[(6, 0, email.ids)])
        partner = self._make_partner(email="ada@example.com")
        self.assertIn("sent", partner.comment)
        self.receiver.on("/orders", answer(422, b"no such customer"))
        partner.email = "other@example.com"
        log = self.env["bj.api.log"].search([("name", "like", "Contact was refused")])
        self.assertRecordValues(
            log[:1],
            [{"config_id": config.id, "status": "error", "response_code": 422,
              "record_id": partner.id, "error_message": "no such customer"}],
        )  # fmt: skip

    def test_code_of_a_rule_sends_a_record_that_is_deleted(self):
        config = self._make_config("DELETE", "/orders/{ref}")
        code = "env['bj.api.sync.config'].browse(CONFIG)._make_outbound_http_request(record)"
        self._add_rule(config, code, "on_unlink")
        self._make_partner(ref="GONE").unlink()
        self.assertEqual(
            [(r.method, r.path) for r in self.receiver.requests],
            [("DELETE", "/orders/GONE")],
        )

    def test_code_of_a_scheduled_action_sends_what_it_finds(self):
        config = self._make_config(is_paginated=True, page_size=50)
        cron = self.env["ir.cron"].create(
            {
                **self._make_code(CRON_CODE, config),
                "interval_number": 1,
                "interval_type": "days",
                "user_id": self.env.uid,
            }
        )
        run = cron.ir_actions_server_id.with_context(cron_id=cron.id).run
        run()
        self.assertFalse(self.receiver.requests, "nothing to send")
        self._make_partner(ref="SEED1")
        self._make_partner(ref="SEED2")
        self.env.flush_all()
        run()
        (body,) = self._bodies()
        self.assertEqual({item["ref"] for item in body}, {"SEED1", "SEED2"})

    def test_code_of_an_action_menu_sends_the_chosen_records(self):
        config = self._make_config()
        action = self.env["ir.actions.server"].create(
            self._make_code(MENU_CODE, config)
        )
        action.create_action()
        partners = self._make_partner() | self._make_partner(name="Bob", ref="C2")
        run = action.with_context(
            active_model="res.partner",
            active_ids=partners.ids,
            active_id=partners[0].id,
        ).run
        self.assertEqual(run()["params"]["message"], "2 sent")
        self.assertEqual([body["ref"] for body in self._bodies()], ["C1", "C2"])
        self.receiver.on("/orders", answer(), answer(400))
        with self.assertRaisesRegex(UserError, "Not sent: Bob"):
            run()

    def test_code_of_an_action_menu_runs_for_users_without_rights_on_configurations(
        self,
    ):
        user = new_test_user(
            self.env, "clerk", groups="base.group_user,base.group_partner_manager"
        )
        config = self._make_config()
        action = self.env["ir.actions.server"].create(
            self._make_code(MENU_CODE, config)
        )
        partner = self._make_partner()
        answer = (
            action.with_user(user)
            .with_context(
                active_model="res.partner", active_ids=partner.ids, active_id=partner.id
            )
            .run()
        )
        self.assertEqual(answer["params"]["message"], "1 sent")

    def test_every_calling_form_runs_as_code(self):
        config = self._make_config()
        self.env["ir.model.data"].create(
            {"module": "seed", "name": "out", "model": config._name,
             "res_id": config.id}
        )  # fmt: skip
        partners = self._make_partner() | self._make_partner(ref="C2")
        start = "config = env['bj.api.sync.config'].browse(CONFIG)\n"
        for call, count in [
            ("config._make_outbound_http_request(record, config.id, timeout=60)", 1),
            ("config._make_outbound_http_request(record, config.id)", 1),
            ("config._make_outbound_http_request(record)", 1),
            ("config._make_outbound_http_request(records)", 2),
            ("config._make_outbound_http_request(record.id)", 1),
            ("config._make_outbound_http_request(records.ids)", 2),
            ("config._make_outbound_http_request(records, timeout=(5, 30))", 2),
            ("env['bj.api.sync.config']._make_outbound_http_request("
             "record_ids=records, config_id_ref=CONFIG)", 2),
            ("env['bj.api.sync.config']._make_outbound_http_request("
             "record_ids=records, config_id_ref=config)", 2),
            ("env['bj.api.sync.config']._make_outbound_http_request("
             "record_ids=records, config_id_ref='seed.out')", 2),
            ("model.env['bj.api.sync.config']._make_outbound_http_request("
             "records, 'CONFIG', 30)", 2),
        ]:  # fmt: skip
            code = (
                f"{start}result = {call}\n"
                "if not (result and result.get('success') and result['success']\n"
                "        and result.status_code == 200 and result.ok\n"
                "        and result['status_code'] == 200 and result.get('message')\n"
                "        and result.json() == result['data'] == {'received': True}\n"
                "        and 'received' in result.text and result.headers\n"
                f"        and len(result['delivery_ids']) == {count}):\n"
                "    raise UserError('unexpected: %s' % result)"
            )
            with self.subTest(call):
                self.receiver.clear()
                action = self.env["ir.actions.server"].create(
                    self._make_code(code, config)
                )
                action.with_context(
                    active_model="res.partner",
                    active_ids=partners.ids,
                    active_id=partners[0].id,
                ).run()
                self.assertEqual(len(self.receiver.requests), count)
