from unittest.mock import patch

from odoo.exceptions import AccessError
from odoo.tests import new_test_user, tagged

from ..models import bj_api_sync_config_outbound as config_module
from .outbound_common import OutboundCase

MAKERS = "base.group_user,base.group_partner_manager"


class ActionCase(OutboundCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.editor = new_test_user(cls.env, "bj_send_editor", groups=MAKERS)
        cls.manager = new_test_user(
            cls.env,
            "bj_send_manager",
            groups=f"{MAKERS},bj_api_sync.group_bj_api_manager",
        )

    def setUp(self):
        super().setUp()
        self.config = self._make_config(filter_domain="[('ref', '=like', 'WHOLE%')]")
        self.partners = self._make_partner(ref="WHOLE-1")
        self.partners |= self._make_partner(ref="WHOLE-2")
        self.env.flush_all()

    def _make_action(self, **vals):
        return self.env["ir.actions.server"].create(
            {
                "name": "Send",
                "model_id": self.config.model_id.id,
                "state": "bj_api_sync",
                "bj_api_config_id": self.config.id,
                **vals,
            }
        )

    def _make_cron(self, **vals):
        cron = self.env["ir.cron"].browse(self.config.action_create_cron()["res_id"])
        cron.write(vals)
        self.env.flush_all()
        return cron

    def _hide(self, partners):
        self.env["ir.rule"].create(
            {
                "name": "hidden",
                "model_id": self.env.ref("base.model_res_partner").id,
                "domain_force": f"[('id', 'not in', {partners.ids})]",
            }
        )

    def _count(self):
        return len(self._commit(self.config))


@tagged("post_install", "-at_install")
class TestSendWithoutRecords(ActionCase):
    def test_who_may_only_edit_the_model_begins_no_run(self):
        self._hide(self.partners[1])
        cron = self._make_cron()
        for action in (self._make_action(), cron.ir_actions_server_id):
            for context in (
                {},
                {"cron_id": cron.id},
                {"cron_id": cron.id, "lastcall": "2020-01-01 00:00:00"},
                {"active_model": "res.partner"},
            ):
                with self.subTest(action=action.name, context=context):
                    called = action.with_user(self.editor).with_context(**context)
                    with self.assertRaisesRegex(AccessError, "without a record"):
                        called.run()
                    self.assertEqual(self._count(), 0)
                    self.assertFalse(self.config.last_sync_date)

    def test_an_action_of_several_begins_none_for_anybody(self):
        parent = self._make_action(
            name="Several", state="multi", bj_api_config_id=False,
            child_ids=[(6, 0, self._make_action().ids)],
        )  # fmt: skip
        for context in (
            {},
            {"active_model": "res.users", "active_ids": self.editor.ids},
            {"active_model": "res.users", "active_id": self.editor.id},
        ):
            with self.subTest(context=context):
                parent.with_user(self.editor).with_context(**context).run()
                self.assertEqual(self._count(), 0)

    def test_no_record_chosen_is_nothing_to_send_for_anybody(self):
        action = self._make_action()
        for user in (self.editor, self.manager, self.env.user):
            for context in (
                {"active_model": "res.partner", "active_ids": []},
                {"active_model": "res.partner", "active_id": False},
                {"active_model": "res.users", "active_ids": self.env.user.ids},
            ):
                with self.subTest(user=user.login, context=context):
                    called = action.with_user(user).with_context(**context)
                    self.assertFalse(called.run())
                    self.assertEqual(self._count(), 0)

    def test_chosen_records_go_as_before(self):
        action = self._make_action().with_user(self.editor)
        chosen = self.partners[0]
        action.with_context(active_model="res.partner", active_ids=chosen.ids).run()
        self.assertEqual(self._commit(self.config).res_id, chosen.id)

    def test_a_group_on_the_action_lets_nobody_send_what_he_may_not_read(self):
        groups = (
            "group_ids" if "group_ids" in self.env["ir.actions.server"] else "groups_id"
        )
        action = self._make_action(
            **{groups: [(6, 0, self.env.ref("base.group_partner_manager").ids)]}
        )
        self._hide(self.partners[1])
        called = action.with_user(self.editor).with_context(
            active_model="res.partner", active_ids=self.partners.ids
        )
        with self.assertRaises(AccessError):
            called.run()
        self.assertEqual(self._count(), 0)

    def test_a_manager_begins_a_run_of_his_company_only(self):
        action = self._make_action().with_user(self.manager)
        action.run()
        self.assertEqual(self._count(), 2)
        self.config.company_id = self.env["res.company"].create({"name": "Other"})
        with self.assertRaises(AccessError):
            action.run()

    def test_a_scheduled_action_runs_whoever_it_runs_as(self):
        cron = self._make_cron(user_id=self.editor.id).with_user(self.editor)
        self._run_cron(cron)
        self.assertEqual(self._count(), 2)

    def test_what_a_run_leaves_marks_nothing_that_comes_after(self):
        cron = self._make_cron()
        self._run_cron(cron)
        self._commit()
        with self.assertRaises(AccessError):
            cron.ir_actions_server_id.with_user(self.editor).run()


@tagged("post_install", "-at_install")
class TestRunManually(ActionCase):
    def test_an_administrator_runs_a_scheduled_action_by_hand(self):
        administrator = new_test_user(
            self.env, "bj_send_admin", groups=f"{MAKERS},base.group_system"
        )
        cron = self._make_cron(user_id=administrator.id)
        # As the form has it when it was opened from the list of triggers.
        cron = cron.with_user(administrator).with_context(
            active_model="bj.api.sync.config",
            active_id=self.config.id,
            active_ids=self.config.ids,
        )
        cron.method_direct_trigger()
        self.assertEqual(self._count(), 2)


@tagged("post_install", "-at_install")
class TestForgedCron(ActionCase):
    def test_a_made_up_scheduled_action_is_not_woken(self):
        cron = self.env.ref("base.autovacuum_job")
        triggers = self.env["ir.cron.trigger"].sudo()
        before = triggers.search_count([("cron_id", "=", cron.id)])
        config = self.config.with_user(self.manager).with_context(cron_id=cron.id)
        with patch.object(config_module, "CHUNK", 1):
            config.sudo()._run_step(seconds=-1)
            self.assertTrue(self.config.sync_start_date, "it has not come to its end")
            config.action_run_now()
        self.assertEqual(triggers.search_count([("cron_id", "=", cron.id)]), before)
