from datetime import timedelta

from odoo import fields
from odoo.tests import tagged

from ..models import bj_api_sync_clock as clock
from .common import ApiCase
from .outbound_common import OutboundCase
from .receiver import answer, hang, retry_after


@tagged("post_install", "-at_install")
class TestSchedulerOff(OutboundCase):
    def setUp(self):
        super().setUp()
        self.cron = self.env.ref("bj_api_sync.ir_cron_send")
        self.config = self._make_config()

    def _get_activities(self):
        return self.env["bj.api.sync.sender"]._get_scheduler_activities()

    def test_an_archived_action_shows_on_the_form_and_tells_administrators_once(self):
        self.assertFalse(self.config.scheduler_problem)
        self.cron.active = False
        self.config.invalidate_recordset()
        self.assertIn("archived", self.config.scheduler_problem)
        delivery = self._enqueue(self.config, self._make_partner())
        self._enqueue(self._make_config(path="/other"), self._make_partner(ref="C2"))
        activities = self._get_activities()
        self.assertTrue(activities)
        self.assertEqual(len(activities.mapped("user_id")), len(activities), "once")
        self.assertIn("archived", activities[0].note)
        self.assertIn("archived", delivery.wait_reason)
        self.cron.active = True
        self.env["bj.api.sync.sender"]._cron_send()
        self.assertFalse(self._get_activities())
        self.assertFalse(self.config.scheduler_problem)

    def test_servers_without_cron_threads_are_found_out_when_something_waits(self):
        hour_ago = fields.Datetime.now() - timedelta(hours=1)
        self.cron.nextcall = hour_ago
        sender = self.env["bj.api.sync.sender"]
        self.assertFalse(sender._get_scheduler_problem(), "nothing waits")
        delivery = self._enqueue(self.config, self._make_partner())
        self.assertFalse(sender._get_scheduler_problem(), "it has only just come")
        self._make_due(delivery)
        self.assertIn("--max-cron-threads", sender._get_scheduler_problem())
        sender._watch_scheduler()
        self.assertTrue(self._get_activities())
        self.config.action_pause()
        self.assertFalse(sender._get_scheduler_problem(), "it waits for something else")

    def test_a_pass_that_lives_is_no_sign_of_it(self):
        self.cron.nextcall = fields.Datetime.now() - timedelta(hours=1)
        self._make_due(self._enqueue(self.config, self._make_partner()))
        self.env["ir.cron.progress"].create(
            {"cron_id": self.cron.id, "remaining": 1, "done": 1}
        )
        self.env.flush_all()
        self.assertFalse(self.env["bj.api.sync.sender"]._get_scheduler_problem())

    def test_a_neutralized_copy_needs_no_scheduler(self):
        self.cron.active = False
        self.env["ir.config_parameter"].set_param("database.is_neutralized", "1")
        self.assertFalse(self.env["bj.api.sync.sender"]._get_scheduler_problem())


@tagged("post_install", "-at_install")
class TestClock(OutboundCase):
    def setUp(self):
        super().setUp()
        self.cron = self.env.ref("bj_api_sync.ir_cron_send")
        self.config = self._make_config()
        self.sender = self.env["bj.api.sync.sender"]
        self.env.cr.execute("DELETE FROM bj_api_sync_delivery")

    def _count_triggers(self):
        return self.env["ir.cron.trigger"].search_count(
            [("cron_id", "=", self.cron.id)]
        )

    def _look(self, seen=None):
        self.env["ir.cron.trigger"].search([]).unlink()
        seen, pause = self.sender._look_ahead(seen)
        self.env.cr.postcommit.clear()
        return seen, pause, self._count_triggers()

    def test_it_sleeps_until_the_next_moment_and_then_has_the_senders_called(self):
        self.assertEqual(self._look()[1:], (float("inf"), 0), "nothing waits")
        self.receiver.on("/orders", answer(503))
        delivery = self._enqueue(self.config, self._make_partner())
        self._send()
        seen, pause, count = self._look()
        self.assertEqual(count, 0)
        self.assertAlmostEqual(pause, 5, delta=4)
        self._set_next(delivery, -1)
        seen, pause, count = self._look(seen - timedelta(seconds=9))
        self.assertEqual((pause, count), (float("inf"), 1))
        self.assertEqual(self._look(seen)[1:], (float("inf"), 0), "once for a moment")

    def _set_next(self, delivery, seconds):
        self.env.cr.execute(
            """UPDATE bj_api_sync_delivery SET next_attempt_date =
                   timezone('UTC', clock_timestamp()) + make_interval(secs => %s)
               WHERE id = %s""",
            [seconds, delivery.id],
        )

    def test_the_end_of_a_hold_and_of_a_lease_are_moments(self):
        self.receiver.on("/orders", retry_after("17"))
        delivery = self._enqueue(self.config, self._make_partner())
        self._send()
        self._set_next(delivery, -1)
        self.assertAlmostEqual(self._look(fields.Datetime.now())[1], 17, delta=5)
        self.env["bj.api.sync.destination"].search([]).unlink()
        self.env["bj.api.sync.delivery"]._take(delivery.ids, [])
        self.assertAlmostEqual(self._look(fields.Datetime.now())[1], 50, delta=5)

    def test_it_looks_more_often_than_the_shortest_lease_lasts(self):
        self.config.write({"connect_timeout": 1, "read_timeout": 1})
        delivery = self._enqueue(self.config, self._make_partner())
        self.env["bj.api.sync.delivery"]._take(delivery.ids, [])
        lease = (delivery.next_attempt_date - fields.Datetime.now()).total_seconds()
        self.assertLess(clock.LOOK_SECONDS + clock.START_SECONDS, lease)

    def test_an_archived_action_is_not_called(self):
        self._enqueue(self.config, self._make_partner())
        self.cron.active = False
        self.assertEqual(self._look()[2], 0)


@tagged("post_install", "-at_install")
class TestWaitReason(OutboundCase):
    def test_each_wait_says_for_what_and_until_when(self):
        self.receiver.on("/orders", answer(503))
        config = self._make_config(read_timeout=1)
        waiting = self._enqueue(config, self._make_partner())
        self.assertIn("sender", waiting.wait_reason)
        self._send()
        self.assertIn("next attempt", waiting.wait_reason)
        self.assertEqual(waiting.wait_until, waiting.next_attempt_date)
        other = self._make_config("PUT", "/other")
        later = self._enqueue(other, waiting.config_id.env["res.partner"].browse(
            waiting.res_id))  # fmt: skip
        self.assertIn("earlier delivery", later.wait_reason)
        self.assertIn(config.name, later.wait_reason)
        self.assertEqual(later.wait_until, waiting.next_attempt_date)
        config.action_pause()
        self.env.invalidate_all()
        self.assertIn("paused", waiting.wait_reason)
        self.assertFalse(waiting.wait_until)
        config.active = False
        self.env.invalidate_all()
        self.assertIn("archived", waiting.wait_reason)
        self.assertNotIn("earlier", later.wait_reason)
        self.assertFalse((waiting | later).filtered(lambda row: not row.wait_reason))

    def test_a_host_that_asked_to_wait_is_named_with_its_time(self):
        self.receiver.on("/orders", retry_after("90"))
        config = self._make_config()
        held = self._enqueue(config, self._make_partner())
        self._send()
        following = self._enqueue(config, self._make_partner(ref="C2")) - held
        host = self.env["bj.api.sync.destination"].search([])
        for delivery in held | following:
            self.assertIn("asked to wait", delivery.wait_reason)
            self.assertAlmostEqual(
                delivery.wait_until, host.hold_until, delta=timedelta(seconds=2)
            )
        same_host = self._make_config(path="/b", auth_type="basic", auth_login="x",
                                      auth_password="other-password")  # fmt: skip
        free = self._enqueue(same_host, self._make_partner(ref="C3"))
        self.assertNotIn("asked to wait", free.wait_reason)

    def test_a_paused_host_says_how_often_it_failed(self):
        self.receiver.on("/orders", answer(500))
        config = self._make_config()
        partners = self.env["res.partner"].create(
            [{"name": f"P{n}", "ref": f"C{n}"} for n in range(10)]
        )
        self._enqueue(config, partners)
        self._send()
        later = self._enqueue(config, self._make_partner(ref="L"))[-1]
        self.assertIn("10 times", later.wait_reason)
        self.assertTrue(later.wait_until)

    def test_what_is_on_its_way_and_what_waits_for_a_post_of_unknown_fate(self):
        self.receiver.on("/orders", hang())
        config = self._make_config(read_timeout=1)
        partner = self._make_partner()
        first = self._enqueue(config, partner)
        self.env["bj.api.sync.delivery"]._take(first.ids, [])
        self.env.invalidate_all()
        self.assertIn("being sent", first.wait_reason)
        self._make_due(first)
        self._send()
        second = self._enqueue(config, partner) - first
        self.assertIn("earlier delivery", second.wait_reason)

    def test_what_is_over_waits_for_nothing(self):
        delivery = self._enqueue(self._make_config(), self._make_partner())
        self._send()
        self.assertFalse(delivery.wait_reason)
        self.assertFalse(delivery.wait_until)


@tagged("post_install", "-at_install")
class TestHealth(ApiCase):
    def test_it_is_red_while_the_scheduler_is_off(self):
        self.assertEqual(self._call(path="health").status_code, 200)
        self.make_config({"name": "name"}, methods=("POST",), request_type="out",
                         url="https://example.com/x", auth_type="none")  # fmt: skip
        self.assertEqual(self._call(path="health").json()["scheduler"], "ok")
        self.env.ref("bj_api_sync.ir_cron_send").active = False
        answer = self._call(path="health")
        self.assertEqual(answer.status_code, 503)
        self.assertEqual(answer.json()["scheduler"], "error")
        anonymous = self._call(path="health", token=None)
        self.assertEqual(anonymous.status_code, 503)
        self.assertEqual(anonymous.json(), {"status": "error"})
