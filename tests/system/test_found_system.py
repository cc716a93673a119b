"""Small repetitions of what the deliveries' machine has found."""

import contextlib

from harness import dev, receiver, wait_until
from test_outbound_system import OutboundSystemCase, make_partner, make_rule

# A pass whose own connection ends while one answer waits to be noted down, and another
# is still to come.
LOST_PASS = """
import threading, time
import psycopg2
from odoo.addons.bj_api_sync.models import bj_api_sync_sender
bj_api_sync_sender.SETTLE_SECONDS = 60
for config in env["bj.api.sync.config"].browse({ids}):
    partner = env["res.partner"].create({{"name": "P", "ref": "T%s" % config.id}})
    env["bj.api.sync.outbound"]._trigger(config, partner, "create")
cron = env.ref("bj_api_sync.ir_cron_send")
progress = env["ir.cron.progress"].create({{"cron_id": cron.id, "done": 0, "remaining": 0}})
env.cr.execute("SELECT pg_backend_pid()")
(pid,) = env.cr.fetchone()
env.cr.commit()
def cut():
    time.sleep(1)
    with env.registry.cursor() as cr:
        cr.execute("SELECT pg_terminate_backend(%s)", [pid])
threading.Thread(target=cut).start()
try:
    sender = env["bj.api.sync.sender"].with_context(ir_cron_progress_id=progress.id)
    sender._send_due()
except psycopg2.Error:
    pass
"""


class TestFoundByTheMachine(OutboundSystemCase):
    PENDING = "SELECT count(*) FROM bj_api_sync_delivery WHERE state = 'pending'"

    def test_a_record_deleted_before_its_answer_is_created_once(self):
        """The answer has no record to be written to, so the Filter Domain still lets the
        second POST through, which was written while the first was on its way."""
        self.receiver.on("/pair", receiver.answer(201, b'{"id": "7"}', delay=2))
        config_id = self.make(
            "/pair",
            response_key="id",
            response_field_path="barcode",
            filter_domain="[('ref', '=like', 'T%'), ('barcode', '=', False)]",
        )
        make_rule(self.server, config_id)
        partner_id = make_partner(self.server, "T-pair")
        self.receiver.wait(1, timeout=75)
        self.server.rpc("res.partner", "write", [partner_id], {"name": "Later"})
        self.server.rpc("res.partner", "unlink", [partner_id])
        wait_until(lambda: self.server.query(self.PENDING) == [(0,)], 90)
        self.assertEqual(len(self.receiver.requests), 1)

    def test_what_is_answered_is_noted_though_the_sender_loses_its_own_connection(self):
        self.server.query("UPDATE ir_cron SET active = false")
        self.receiver.on("/slow", receiver.answer(delay=5))
        ids = [self.make(path, read_timeout=15) for path in ("/fast", "/slow")]
        with contextlib.suppress(dev.Failure):  # the shell cannot end well either
            self.server.shell(LOST_PASS.format(ids=ids))
        rows = self.server.query(
            """SELECT state, attempt_count FROM bj_api_sync_delivery
               WHERE config_id = ANY(%s)""",
            [ids],
        )
        self.assertEqual(rows, [("delivered", 1)] * 2)
