from odoo.exceptions import AccessError, UserError
from odoo.tests import TransactionCase, new_test_user

from ..models import bj_api_sync_config_outbound as config_outbound
from ..models import bj_api_sync_delivery_buttons as delivery_module
from ..models import bj_api_sync_progress as progress_module
from .common import PARTNER_LINES, ConfigMixin
from .outbound_common import OutboundCase


class ProgressMixin:
    """Steps that end after one chunk, and the screen that asks for the next one."""

    def setUp(self):
        super().setUp()
        self.patch(progress_module, "STEP_SECONDS", -1)
        self.patch(config_outbound, "STEP_SECONDS", -1)
        self.patch(config_outbound, "CHUNK", 2)
        self.patch(delivery_module, "STEP_ROWS", 2)

    def _follow(self, action, most=100):
        """Call again as the screen does; return ``(bars, last action)``."""
        bars = []
        while action["tag"] == "bj_api_sync_progress" and len(bars) < most:
            params = action["params"]
            bars.append((params["done"], params["total"]))
            again = params["again"]
            records = self.env[again["model"]].browse(again["ids"])
            action = getattr(records, again["method"])(progress=again["progress"])
        return bars, action

    def _message(self, action):
        self.assertEqual(action["tag"], "display_notification")
        return action["params"]["message"]


class TestDeliveryProgress(ProgressMixin, OutboundCase):
    def setUp(self):
        super().setUp()
        self.config = self._make_config()
        self.partners = self.env["res.partner"].create(
            [{"name": f"P{number}", "ref": f"R{number}"} for number in range(5)]
        )
        self.deliveries = self._enqueue(self.config, self.partners)

    def test_many_are_changed_step_by_step_and_counted_at_the_end(self):
        bars, action = self._follow(self.deliveries.action_cancel())
        self.assertEqual(bars, [(2, 5), (4, 5)])
        self.assertIn("5 deliveries", self._message(action))
        self.assertEqual(set(self.deliveries.mapped("state")), {"cancelled"})
        bars, action = self._follow(self.deliveries.action_send_again())
        self.assertEqual(len(bars), 2)
        self.assertIn("5 deliveries", self._message(action))
        self.assertEqual(set(self.deliveries.mapped("state")), {"pending"})

    def test_what_is_done_stays_done_when_it_is_stopped(self):
        action = self.deliveries.action_cancel()
        self.assertIn("2 deliveries", self._message(action["params"]["stopped"]))
        states = sorted(self.deliveries.mapped("state"))
        self.assertEqual(states, ["cancelled"] * 2 + ["pending"] * 3)

    def test_few_need_no_bar(self):
        self.patch(progress_module, "STEP_SECONDS", 60)
        self.assertIn("5 deliveries", self._message(self.deliveries.action_cancel()))

    def test_of_many_those_that_cannot_be_built_again_are_left_and_counted(self):
        self.partners[0].unlink()
        self.partners[1].name = "Renamed"
        with self.assertRaisesRegex(UserError, "does not exist"):
            self.deliveries[0].action_rebuild_and_send()
        _bars, action = self._follow(self.deliveries.action_rebuild_and_send())
        self.assertRegex(self._message(action), "^4 deliveries.* 1 were left")
        states = self.deliveries.mapped("state")
        self.assertEqual(states, ["pending"] + ["superseded"] * 4)
        newest = self._get_deliveries(self.config) - self.deliveries
        self.assertEqual(len(newest), 4)
        self.assertIn("Renamed", newest[0].payload)


class TestSendNowProgress(ProgressMixin, OutboundCase):
    def setUp(self):
        super().setUp()
        self.config = self._make_config(filter_domain="[('ref', 'like', 'Run-%')]")
        self.env["res.partner"].create(
            [{"name": f"P{number}", "ref": f"Run-{number}"} for number in range(5)]
        )

    def test_a_long_run_shows_how_far_it_is(self):
        bars, action = self._follow(self.config.action_run_now())
        self.assertEqual(bars, [(2, 5), (4, 5)])
        self.assertIn("5 records", self._message(action))
        self.assertEqual(len(self._get_deliveries(self.config)), 5)
        self.assertTrue(self.config.last_sync_date)

    def test_a_run_that_was_stopped_is_gone_on_with(self):
        action = self.config.action_run_now()
        self.assertIn("goes on", self._message(action["params"]["stopped"]))
        bars, action = self._follow(self.config.action_run_now())
        self.assertEqual(bars, [(2, 3)])
        self.assertIn("3 records", self._message(action))
        self.assertEqual(len(self._get_deliveries(self.config)), 5)

    def test_another_caller_than_the_button_does_it_whole(self):
        self.assertEqual(self.config._run_schedule(), 5)


class TestReplayMany(ProgressMixin, ConfigMixin, TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.config = cls.make_config(
            PARTNER_LINES,
            endpoint="replayed",
            user_id=cls.env.ref("base.user_admin").id,
        )

    def _log(self, method, body=None, **vals):
        return self.env["bj.api.log"].create(
            {
                "config_id": self.config.id,
                "direction": "in",
                "status": "error",
                "method": method,
                "url": "/bj_api_sync/v1/replayed",
                "request_data": body,
                **vals,
            }
        )

    def test_the_oldest_is_done_first_and_each_leaves_a_row(self):
        logs = self._log("POST", '{"customer_id": "Re-1", "name": "First"}')
        logs |= self._log(
            "PUT", '{"name": "Second"}', url="/bj_api_sync/v1/replayed/Re-1"
        )
        bars, action = self._follow(
            logs.sorted("id", reverse=True).action_replay_many()
        )
        self.assertEqual(bars, [(1, 2)])
        self.assertEqual(self._message(action), "2 done again.")
        partner = self.env["res.partner"].search([("ref", "=", "Re-1")])
        self.assertEqual(partner.name, "Second")
        rows = self.env["bj.api.log"].search(
            [("config_id", "=", self.config.id), ("action", "=", "replay")]
        )
        self.assertEqual(rows.mapped("response_code"), [200, 201])

    def test_one_that_fails_leaves_nothing_behind_and_the_others_go_on(self):
        logs = self._log("POST", '{"customer_id": "Re-2", "name": "A", "email": []}')
        logs |= self._log("POST", '{"customer_id": "Re-3", "name": "B"}')
        _bars, action = self._follow(logs.action_replay_many())
        self.assertIn("1 done again. 1 failed again", self._message(action))
        found = self.env["res.partner"].search([("ref", "in", ["Re-2", "Re-3"])])
        self.assertEqual(found.mapped("name"), ["B"])

    def test_reads_and_what_is_masked_are_left_out(self):
        logs = self._log("GET") | self._log("POST", '{"name": "***"}')
        logs |= self._log("POST", '{"name": "C"}', config_id=False)
        _bars, action = self._follow(logs.action_replay_many())
        self.assertIn("0 done again. 3 left out", self._message(action))

    def test_only_managers_replay(self):
        user = new_test_user(
            self.env, "bj_replay_user", groups="bj_api_sync.group_bj_api_user"
        )
        with self.assertRaises(AccessError):
            self._log("POST", "{}").with_user(user).action_replay_many()


class TestReplayManyOut(ProgressMixin, OutboundCase):
    def test_the_deliveries_of_attempts_are_sent_again(self):
        config = self._make_config()
        [delivery] = self._enqueue(config, self._make_partner())
        self._send()
        self.assertEqual(delivery.state, "delivered")
        action = delivery.log_ids.action_replay_many()
        self.assertEqual(self._message(action), "1 done again.")
        self.assertEqual(delivery.state, "pending")
