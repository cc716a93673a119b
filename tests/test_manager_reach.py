"""What a Manager reaches through dialogs and buttons is what he may read himself."""

from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, TransactionCase, new_test_user

from .common import PARTNER_LINES, ConfigMixin, enter_test_mode
from .outbound_common import OutboundCase

MANAGER = "base.group_user,base.group_partner_manager,bj_api_sync.group_bj_api_manager"
BODY = '{"customer_id": "CB1", "name": "CONFIDENTIAL"}'


class TestLoggedRequest(ConfigMixin, TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.manager = new_test_user(cls.env, "bj_reach_manager", groups=MANAGER)
        cls.company = cls.env["res.company"].create({"name": "Other"})
        cls.own = cls.make_config(PARTNER_LINES, endpoint="reach-own")
        cls.other = cls.make_config(PARTNER_LINES, endpoint="reach-other")
        cls.other.user_id.company_ids += cls.company
        cls.other.company_id = cls.company
        cls.foreign = cls._log(cls.other, company_id=cls.company.id)
        cls.misplaced = cls._log(cls.own, company_id=cls.company.id)
        cls.sibling = cls._log(cls.make_config(PARTNER_LINES, endpoint="reach-third"))
        cls.right = cls._log(cls.own)

    @classmethod
    def _log(cls, config, **vals):
        return cls.env["bj.api.log"].create(
            {
                "config_id": config.id,
                "direction": "in",
                "method": "PUT",
                "url": f"/bj_api_sync/v1/{config.endpoint}/CB1?secret=CONFIDENTIAL",
                "request_data": BODY,
                **vals,
            }
        )

    def setUp(self):
        super().setUp()
        enter_test_mode(self)
        self.env.flush_all()
        self.env.invalidate_all()
        self.previews = self.env["bj.api.sync.preview"].with_user(self.manager)

    def test_a_request_that_he_may_not_read_is_not_taken_over(self):
        for log in (self.foreign, self.misplaced):
            for config in (self.own, self.other):
                vals = {"config_id": config.id, "log_id": log.id}
                context = {f"default_{name}": value for name, value in vals.items()}
                with self.subTest(log=log.id, config=config.name):
                    with self.assertRaises(AccessError):
                        self.previews.create(vals)
                    with self.assertRaises(AccessError):
                        self.previews.with_context(**context).create({})
                    preview = self.previews.create({"config_id": self.own.id})
                    with self.assertRaises(AccessError):
                        preview.write({"log_id": log.id})

    def test_nor_does_a_form_show_it_before_it_is_saved(self):
        spec = {name: {} for name in ("body", "query", "record_key", "method")}
        for log in (self.foreign, self.misplaced):
            with self.subTest(log=log.id), self.assertRaises(AccessError):
                self.previews.onchange(
                    {"config_id": self.own.id, "log_id": log.id},
                    ["log_id"],
                    {**spec, "config_id": {}, "log_id": {}},
                )

    def test_one_of_another_configuration_is_explained(self):
        with self.assertRaisesRegex(UserError, "is not about reach-own"):
            self.previews.create({"config_id": self.own.id, "log_id": self.sibling.id})

    def test_one_of_its_own_is_taken_over(self):
        action = self.right.with_user(self.manager).action_replay()
        form = Form(self.previews.with_context(**action["context"]))
        self.assertIn("CONFIDENTIAL", form.body)
        preview = form.save()
        self.assertEqual(preview.record_key, "CB1")
        preview.action_preview()
        self.assertTrue(preview.status_code)

    def test_a_dialog_is_for_who_has_opened_it(self):
        second = new_test_user(self.env, "bj_reach_second", groups=MANAGER)
        preview = self.previews.create({"config_id": self.own.id})
        wizard = self.env["bj.api.sync.wizard"].with_user(self.manager)
        wizard = wizard.create({"name": "W", "model_id": self.own.model_id.id})
        tokens = self.env["bj.api.sync.wizard.token"].with_user(self.manager)
        preview.line_ids.create({"preview_id": preview.id, "raw": "CONFIDENTIAL"})
        for record in (
            preview,
            preview.line_ids,
            wizard,
            tokens.create({"config_id": self.own.id}),
        ):
            with self.subTest(model=record._name):
                self.env.invalidate_all()
                self.assertTrue(record.read(["display_name"]))
                theirs = record.with_user(second)
                self.assertFalse(theirs.search([("id", "in", record.ids)]))
                with self.assertRaises(AccessError):
                    theirs.read(["display_name"])

    def test_an_example_names_no_record_that_is_hidden(self):
        tags = self.make_config(
            {"name": {"field_path": "name", "is_record_identifier": True}},
            model="res.partner.category",
        )
        self.env["res.partner.category"].search([]).unlink()
        hidden = self.env["res.partner.category"].create({"name": "CONFIDENTIAL-TAG"})
        self.own.line_ids = self.make_lines(
            {
                "tags": {
                    "field_path": "category_id",
                    "value_type": "relational_mapping",
                    "mapping_config_id": tags.id,
                    "nested_format": "identifier",
                }
            }
        )
        preview = self.previews.create({"config_id": self.own.id, "method": "POST"})
        self.assertIn("CONFIDENTIAL-TAG", preview.body)
        rule = {
            "name": "hidden",
            "model_id": self.env["ir.model"]._get_id("res.partner.category"),
            "domain_force": f"[('id', '!=', {hidden.id})]",
        }
        self.env["ir.rule"].create(rule)
        self.env.flush_all()
        preview = self.previews.create({"config_id": self.own.id, "method": "POST"})
        self.assertNotIn("CONFIDENTIAL-TAG", preview.body)

    def test_every_stored_compute_of_a_dialog_is_of_who_opens_it(self):
        for name, model in self.env.registry.items():
            if not (name.startswith("bj.api.") and model._transient):
                continue
            for field in self.env[name]._fields.values():
                if field.compute and field.store and not field.related:
                    with self.subTest(field=str(field)):
                        # These say nothing of a record: a date, and the name of a model.
                        is_harmless = field.name in ("expiry_date", "name", "endpoint")
                        self.assertTrue(not field.compute_sudo or is_harmless)


class TestHiddenRecord(OutboundCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.manager = new_test_user(cls.env, "bj_reach_manager", groups=MANAGER)

    def setUp(self):
        super().setUp()
        self.config = self._make_config()
        self.hidden = self._make_partner("Hidden", "H1")
        self.shown = self._make_partner("Shown", "S1")

    def _hide(self):
        self.env["ir.rule"].create(
            {
                "name": "hidden",
                "model_id": self.env.ref("base.model_res_partner").id,
                "domain_force": f"[('id', '!=', {self.hidden.id})]",
            }
        )
        self.env.flush_all()
        self.env.invalidate_all()

    def _preview(self, record_id):
        previews = self.env["bj.api.sync.preview"].with_user(self.manager)
        return previews.create({"config_id": self.config.id, "res_id": record_id})

    def test_send_for_real_is_refused_as_the_preview_is(self):
        self._hide()
        preview = self._preview(self.hidden.id)
        for button in ("action_run", "action_preview"):
            refused = self.assertRaisesRegex(AccessError, "You may not read the record")
            with self.subTest(button=button), refused:
                getattr(preview, button)()
        self.assertFalse(self.receiver.requests)
        self.assertFalse(self._get_deliveries(self.config))
        preview.res_id = self.shown.id
        preview.action_run()
        self.assertEqual(self._bodies()[0]["ref"], "S1")

    def test_a_record_that_is_gone_is_explained(self):
        gone = self._make_partner("Gone").id
        self.env["res.partner"].browse(gone).unlink()
        for button in ("action_run", "action_preview"):
            with self.assertRaisesRegex(UserError, "does not exist any more"):
                getattr(self._preview(gone), button)()

    def test_the_record_that_is_proposed_is_one_that_he_may_read(self):
        newest = self.hidden = self._make_partner("Newest", "N1")
        self._hide()
        preview = self.env["bj.api.sync.preview"].with_user(self.manager)
        preview = preview.create({"config_id": self.config.id})
        self.assertTrue(preview.res_id)
        self.assertNotEqual(preview.res_id, newest.id)

    def test_rebuild_is_refused_for_one_and_leaves_it_out_among_many(self):
        hidden = self._enqueue(self.config, self.hidden)
        both = hidden | self._enqueue(self.config, self.shown)
        both -= both.filtered(lambda delivery: delivery.state != "pending")
        self._hide()
        with self.assertRaisesRegex(AccessError, "You may not read all records"):
            hidden.with_user(self.manager).action_rebuild_and_send()
        action = both.with_user(self.manager).action_rebuild_and_send()
        self.assertIn("1 deliveries were made anew", action["params"]["message"])
        self.assertIn("1 were left as they are", action["params"]["message"])
        self._commit()
        self.assertEqual(hidden.state, "pending")

    def test_rebuild_of_a_batch_needs_each_of_its_records(self):
        self.config.is_paginated = True
        batch = self._enqueue(self.config, self.hidden | self.shown)
        self.assertEqual(len(batch.res_ids), 2)
        self._hide()
        with self.assertRaises(AccessError):
            batch.with_user(self.manager).action_rebuild_and_send()

    def test_a_delivery_of_another_company_is_not_replayed_by_a_row_of_nobodys(self):
        company = self.env["res.company"].create({"name": "Other"})
        delivery = self._enqueue(self.config, self.shown)
        self._send()
        self.env.cr.execute(
            "UPDATE bj_api_sync_delivery SET company_id = %s WHERE id = %s",
            [company.id, delivery.id],
        )
        log = self.env["bj.api.log"].create(
            {
                "config_id": self.config.id,
                "direction": "out",
                "delivery_id": delivery.id,
            }
        )
        self.env.invalidate_all()
        with self.assertRaises(AccessError):
            log.with_user(self.manager).action_replay_many()


class TestEmptyChoice(OutboundCase):
    def test_no_button_takes_no_record_for_all_of_them(self):
        config = self._make_config()
        partner = self._make_partner()
        delivery = self._enqueue(config, partner)
        before = delivery.read()
        for name, model in self.env.registry.items():
            if not name.startswith("bj.api.") or model._abstract:
                continue
            for button in filter(lambda key: key.startswith("action_"), dir(model)):
                if button.startswith(("action_archive", "action_unarchive")):
                    continue
                with self.subTest(model=name, button=button):
                    try:
                        getattr(self.env[name].browse(), button)()
                    except (TypeError, ValueError, UserError):
                        pass  # one record is needed, or an argument
                    self.env.flush_all()
                    self.env.invalidate_all()
                    self.assertEqual(delivery.read(), before)
                    self.assertEqual(self._commit(config), delivery)
                    self.assertFalse(config.last_sync_date)
