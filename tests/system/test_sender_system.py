"""What a sender owes to others: it waits for nobody's row, is never late, knows the
Odoo of now, and says when nobody calls it."""

import json
import threading
import time
from contextlib import closing

from harness import receiver, wait_until
from test_outbound_system import (
    SHORT,
    OutboundSystemCase,
    answer_once_open,
    enqueue_in_shell,
    keys,
    make_config,
    make_partner,
    make_rule,
)

NEXT = """SELECT extract(epoch FROM next_attempt_date AT TIME ZONE 'UTC')
          FROM bj_api_sync_delivery WHERE config_id = %s AND state = 'pending'"""


def created(number):
    return receiver.answer(201, json.dumps({"id": number}).encode())


class TestHeldRecord(OutboundSystemCase):
    def test_a_long_transaction_of_a_user_holds_up_its_own_record_alone(self):
        config_id = self.make("/held", response_field_path="barcode", response_key="id")
        other_id = self.make("/other")
        partner_id = make_partner(self.server, "T-held")
        self.receiver.on("/held", created(9))
        with closing(self.server.connect()) as holder, holder.cursor() as cursor:
            holder.autocommit = False
            cursor.execute(
                "UPDATE res_partner SET color = 3 WHERE id = %s", [partner_id]
            )
            self.trigger(config_id, partner_id)
            self.receiver.wait(1, timeout=45)
            began = time.monotonic()
            enqueue_in_shell(self.server, other_id, 3)
            self.wait_delivered(other_id, 3, timeout=60)
            wait_until(lambda: self.get_error(config_id), timeout=30)
            self.assertIn("another transaction", self.get_error(config_id))
            # The lease of the attempt (50 s) runs out, and it is not sent again.
            time.sleep(max(0, 55 - (time.monotonic() - began)))
            self.assertEqual(len(self.of("/held")), 1)
            holder.rollback()
        self.wait_delivered(config_id, 1, timeout=70)
        self.assertEqual(len(self.of("/held")), 1)
        (partner,) = self.server.rpc("res.partner", "read", [partner_id], ["barcode"])
        self.assertEqual(partner["barcode"], "9")

    def trigger(self, config_id, partner_id):
        self.server.shell(
            f"config = env['bj.api.sync.config'].browse({config_id})\n"
            f"partner = env['res.partner'].browse({partner_id})\n"
            "env['bj.api.sync.outbound']._trigger(config, partner, 'write')\n"
            "env.cr.commit()\n"
        )

    def get_error(self, config_id):
        ((error,),) = self.server.query(
            "SELECT last_error FROM bj_api_sync_delivery WHERE config_id = %s",
            [config_id],
        )
        return error

    def of(self, path):
        return [r for r in self.receiver.requests if r.path == path]


class TestMoments(OutboundSystemCase):
    """Two processes for HTTP, one for crons besides: as in production."""

    workers = 2

    def make_busy(self):
        """Return a configuration for another host, so that it leaves threads to others."""
        url = self.receiver.url("/busy").replace("127.0.0.1", "localhost")
        config_id = make_config(self.server, url)
        self.config_ids.append(config_id)
        return config_id

    def test_the_end_of_a_hold_is_not_waited_for_till_the_minute(self):
        self.receiver.on("/orders", receiver.retry_after("17"), receiver.answer())
        config_id = self.make()
        enqueue_in_shell(self.server, config_id, 40)
        self.wait_delivered(config_id, 40, timeout=90)
        refused = self.receiver.requests[0].time
        later = [r.time for r in self.receiver.requests if r.time > refused + 10]
        self.assertTrue(later)
        self.assertGreaterEqual(min(later) - refused, 16.5)
        self.assertLess(min(later) - refused, 35)

    def test_a_lease_of_a_killed_worker_is_taken_over_when_it_ends(self):
        gate = threading.Event()
        self.receiver.on("/orders", answer_once_open(gate), receiver.answer())
        config_id = self.make(**SHORT)
        enqueue_in_shell(self.server, config_id, 1)
        self.receiver.wait(1, timeout=75)
        ((ends,),) = self.server.query(NEXT, [config_id])
        for pid in self.server.cron_pids():
            self.server.kill(pid)
        gate.set()
        self.wait_delivered(config_id, 1, timeout=90)
        first, second = self.receiver.requests
        self.assertEqual(len(set(keys([first, second]))), 1)
        self.assertGreater(second.time, float(ends) - 0.1)
        self.assertLess(second.time - float(ends), 2.5)

    def test_a_running_pass_sends_by_the_lines_of_now(self):
        config_id = self.make("/pull", "GET")
        busy_id = self.make_busy()
        self.receiver.on("/busy", receiver.answer(delay=2))
        items = [{"ref": "T-line", "name": "By the old line", "title": "By the new"}]
        self.receiver.on("/pull", receiver.answer(200, json.dumps(items).encode()))
        self.server.rpc("bj.api.sync.config", "action_run_now", [config_id])
        self.wait_delivered(config_id, 1)
        enqueue_in_shell(self.server, busy_id, 1200)  # keeps a pass alive
        wait_until(lambda: self.count(busy_id, "delivered") > 10)
        (line_id,) = self.server.rpc(
            "bj.api.sync.config.line",
            "search",
            [("config_id", "=", config_id), ("api_key", "=", "name")],
        )
        self.server.rpc(
            "bj.api.sync.config.line", "write", [line_id], {"api_key": "title"}
        )
        self.server.rpc("bj.api.sync.config", "action_run_now", [config_id])
        self.wait_delivered(config_id, 2, timeout=25)
        self.assertGreater(self.count(busy_id, "pending"), 0, "the pass goes on")
        names = self.server.rpc(
            "res.partner", "search_read", [("ref", "=", "T-line")], ["name"]
        )
        self.assertEqual([found["name"] for found in names], ["By the new"])

    def test_a_running_pass_writes_answers_to_a_field_that_is_new(self):
        busy_id = self.make_busy()
        self.receiver.on("/busy", receiver.answer(delay=2))
        enqueue_in_shell(self.server, busy_id, 1200)  # keeps a pass alive
        wait_until(lambda: self.count(busy_id, "delivered") > 10)
        model_id = self.server.find("base.model_res_partner")
        self.server.rpc(
            "ir.model.fields",
            "create",
            [{"model_id": model_id, "name": "x_crm_id", "ttype": "char"}],
        )
        self.receiver.on("/new", created("N-1"))
        config_id = self.make("/new", response_field_path="x_crm_id", response_key="id")
        make_rule(self.server, config_id)
        partner_id = make_partner(self.server, "T-new-field")
        self.wait_delivered(config_id, 1, timeout=40)
        (found,) = self.server.rpc("res.partner", "read", [partner_id], ["x_crm_id"])
        self.assertEqual(found["x_crm_id"], "N-1")
        self.assertEqual(self.count(config_id, "failed"), 0)


class TestNobodySends(OutboundSystemCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.stop()
        cls.server.options += ["--max-cron-threads", "0"]
        cls.server.start()
        cls.server.wait_ready()

    def test_a_server_without_cron_threads_shows_and_tells_it(self):
        self.assertEqual(self.health(), 200)
        config_id = self.make()
        make_rule(self.server, config_id)
        make_partner(self.server, "T-nobody")
        self.server.query(
            """UPDATE bj_api_sync_delivery SET next_attempt_date = '2020-01-01'
               WHERE state = 'pending'"""
        )
        self.server.query("UPDATE ir_cron SET nextcall = '2020-01-01'")
        # What the server with cron threads has left behind a moment ago.
        self.server.query("DELETE FROM ir_cron_progress")
        self.assertEqual(self.health(), 503)
        (config,) = self.server.rpc(
            "bj.api.sync.config", "read", [config_id], ["scheduler_problem"]
        )
        self.assertIn("--max-cron-threads", config["scheduler_problem"])
        wait_until(self.count_activities, timeout=60)
        time.sleep(1)
        self.assertEqual(self.count_activities(), self.count_administrators())

    def health(self):
        return self.server.http("GET", "/bj_api_sync/v1/health").status

    def count_activities(self):
        type_id = self.server.find("bj_api_sync.mail_activity_type_scheduler")
        return self.server.rpc(
            "mail.activity", "search_count", [("activity_type_id", "=", type_id)]
        )

    def count_administrators(self):
        return self.server.query(
            """SELECT count(DISTINCT u.id) FROM res_users u
               JOIN res_groups_users_rel r ON r.uid = u.id
               JOIN ir_model_data d ON d.res_id = r.gid AND d.model = 'res.groups'
               WHERE d.module = 'base' AND d.name = 'group_system' AND u.active"""
        )[0][0]
