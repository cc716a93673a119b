from unittest.mock import patch

from odoo.tests import TransactionCase

from ..compat import notify_progress

# What the table constraints are called in the database, whatever declares them.
CONSTRAINTS = {
    "bj_http_method_name_unique",
    "bj_api_sync_claim_name_unique",
    "bj_api_sync_counter_name_unique",
    "bj_api_sync_destination_name_unique",
    "bj_api_sync_replay_name_unique",
    "bj_api_sync_token_hash_unique",
}


class TestCompat(TransactionCase):
    def test_constraints_are_in_the_database(self):
        self.env.cr.execute(
            "SELECT conname FROM pg_constraint WHERE conname IN %s",
            [tuple(CONSTRAINTS)],
        )
        self.assertEqual({name for (name,) in self.env.cr.fetchall()}, CONSTRAINTS)

    def test_a_scheduled_action_tells_how_many_it_has_done_since_it_began(self):
        cron = self.env.ref("bj_api_sync.ir_cron_send")
        cron, progress = cron._add_progress()
        env = cron.with_context(cron_id=cron.id).env
        with patch.object(self.env.cr, "commit"):
            for done, remaining in ((5, 9), (5, 4), (12, 0)):
                notify_progress(env, done, remaining)
                told = progress.done, progress.remaining
                self.assertEqual(told, (done, remaining))

    def test_groups_stand_under_a_heading_of_their_own(self):
        category = self.env.ref("bj_api_sync.module_category_bj_api_sync")
        for name in ("user", "manager"):
            group = self.env.ref(f"bj_api_sync.group_bj_api_{name}")
            holder = group if "category_id" in group._fields else group.privilege_id
            self.assertEqual(holder.category_id, category)

    def test_a_server_action_for_managers_is_for_them_alone(self):
        action = self.env.ref("bj_api_sync.bj_api_sync_config_action_rotate_secrets")
        groups = "groups_id" if "groups_id" in action._fields else "group_ids"
        manager = self.env.ref("bj_api_sync.group_bj_api_manager")
        self.assertEqual(action[groups], manager)
