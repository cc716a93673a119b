"""Pulls by real processes: what a test in one transaction cannot tell."""

import json

from harness import receiver
from test_outbound_system import OutboundSystemCase


class TestPullFromAScript(OutboundSystemCase):
    CODE = """
env['res.partner'].search_count([])  # from here on, what others commit is not seen
config = env['bj.api.sync.config'].browse(%s)
result = config._make_outbound_http_request()
env.cr.commit()
print('message:', result['message'])
"""

    def test_what_is_told_of_a_pull_may_be_about_a_delivery_committed_since(self):
        items = [{"ref": "T0", "name": "Good"}, {"ref": "T1", "name": ["no", "text"]}]
        body = json.dumps(items).replace("Good", r"Good\u0000")
        self.receiver.on("/items", receiver.answer(200, body))
        config_id = self.make("/items", "GET")
        self.server.shell(self.CODE % config_id)
        self.assertEqual(
            self.server.query("SELECT name FROM res_partner WHERE ref IN ('T0', 'T1')"),
            [("Good",)],
        )
        self.assertEqual(
            self.server.query(
                """SELECT source_event, state FROM bj_api_sync_event
                   WHERE config_id = %s""",
                [config_id],
            ),
            [("T1", "failed")],
        )
        report = self.server.query(
            """SELECT error_message, details FROM bj_api_log
               WHERE config_id = %s AND name LIKE 'Pull: %%'""",
            [config_id],
        )
        self.assertEqual(len(report), 1, report)
        self.assertIn("1 items", report[0][0])
        self.assertIn("repairs", report[0][1])
        self.assertEqual(self.count(config_id, "delivered"), 1)
