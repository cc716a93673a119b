"""What becomes of a delivery when the other side misbehaves, on a real server.

Each fault has a receiver, and so a host, of its own. All of them are at work at the same
time; the waits between attempts are cut short in the database, as hours cannot be waited.
"""

import contextlib
import tempfile
import unittest
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

from harness import Receiver, Server, receiver, wait_until
from test_outbound_system import SHORT, keys, make_config

ROWS = """
    SELECT d.state, d.attempt_count, d.last_status_code, d.last_error,
           EXTRACT(epoch FROM d.next_attempt_date - timezone('UTC', clock_timestamp())),
           (SELECT count(*) FROM bj_api_log l WHERE l.delivery_id = d.id),
           (SELECT max(length(l.response_data)) FROM bj_api_log l
            WHERE l.delivery_id = d.id)
    FROM bj_api_sync_delivery d WHERE d.config_id = %s ORDER BY d.id
"""


class Fault:
    """One receiver with one Out configuration that sends one contact to it."""

    def __init__(self, server, other, url=None):
        self.server = server
        self.receiver = other
        self.config_id = make_config(
            server,
            url or other.url("/orders"),
            auth_type="bearer",
            bearer_token="token-of-the-faults",
            **SHORT,
        )

    @property
    def row(self):
        ((state, attempts, status, error, seconds, logs, length),) = self.server.query(
            ROWS, [self.config_id]
        )
        return {
            "state": state,
            "attempts": attempts,
            "status": status,
            "error": error or "",
            "seconds": None if seconds is None else float(seconds),
            "logs": logs,
            "length": length,
        }

    def wait(self, attempts, timeout=90):
        """Return the row once so many attempts are over and logged."""
        wait_until(lambda: self.row["logs"] >= attempts, timeout)
        return self.row

    def let_wait_pass(self):
        self.server.query(
            """UPDATE bj_api_sync_delivery SET next_attempt_date = '2020-01-01'
               WHERE config_id = %s AND state = 'pending'""",
            [self.config_id],
        )
        self.server.query("DELETE FROM bj_api_sync_destination")


class TestReceiverFaults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.elsewhere = cls.enterClassContext(Receiver())
        cls.wrong_name = cls.enterClassContext(Receiver(tls=("other.example",)))
        cls.expired = cls.enterClassContext(Receiver(tls=("localhost",), tls_days=-1))
        trusted = cls.enterClassContext(tempfile.NamedTemporaryFile("w", suffix=".pem"))
        for other in (cls.wrong_name, cls.expired):
            with open(other.ca_file, encoding="utf-8") as file:
                trusted.write(file.read())
        trusted.flush()
        server = cls.server = Server(env={"SSL_CERT_FILE": trusted.name}).__enter__()
        cls.addClassCleanup(server.__exit__)
        cls.faults = {}
        later = datetime.now(timezone.utc) + timedelta(minutes=20)
        for name, behaviours in {
            "500 twice": [receiver.answer(500), receiver.answer(500)],
            "429 seconds": [receiver.retry_after(600)],
            "429 date": [receiver.retry_after(format_datetime(later, usegmt=True))],
            "hang": [receiver.hang()],
            "trickle": [receiver.trickle("body", interval=1)],
            "reset": [receiver.reset()],
            "redirect": [receiver.redirect(cls.elsewhere.url("/orders", "localhost"))],
            "410": [receiver.answer(410)],
            "html": [receiver.html()],
            "gibibyte": [receiver.huge()],
        }.items():
            other = cls.enterClassContext(Receiver())
            other.on("/orders", *behaviours, receiver.answer())
            cls.faults[name] = Fault(server, other)
        for name, other in {"name": cls.wrong_name, "expired": cls.expired}.items():
            cls.faults[name] = Fault(server, other, other.url("/orders", "localhost"))
        ids = [fault.config_id for fault in cls.faults.values()]
        server.shell(
            "partner = env['res.partner'].create({'name': 'P', 'ref': 'T-fault'})\n"
            f"for config in env['bj.api.sync.config'].browse({ids}):\n"
            "    env['bj.api.sync.outbound']._trigger(config, partner, 'create')\n"
            "env.cr.commit()\n"
        )
        # Looked at together, before the wait for a second attempt is over.
        cls.first = {name: fault.wait(1) for name, fault in cls.faults.items()}

    def assertRow(self, row, **expected):
        self.assertEqual({name: row[name] for name in expected}, expected, row)

    def assertRecovers(self, name, attempts):
        """What waits is sent under the same key once its time has come."""
        fault = self.faults[name]
        fault.let_wait_pass()
        row = fault.wait(attempts, timeout=150)
        self.assertRow(row, state="delivered", attempts=attempts, logs=attempts)
        requests = fault.receiver.requests
        self.assertEqual(len(requests), attempts)
        self.assertEqual(len(set(keys(requests))), 1)

    def test_500_twice_then_200_is_delivered_by_the_third_attempt(self):
        row = self.faults["500 twice"].wait(2)
        self.assertRow(row, state="pending", attempts=2, status=500)
        self.assertRecovers("500 twice", 3)

    def test_429_holds_the_host_for_the_seconds_it_asks(self):
        row = self.first["429 seconds"]
        self.assertRow(row, state="pending", attempts=1, status=429)
        self.assertGreater(row["seconds"], 540)
        self.assertRecovers("429 seconds", 2)

    def test_429_holds_the_host_until_the_date_it_asks(self):
        row = self.first["429 date"]
        self.assertRow(row, state="pending", attempts=1, status=429)
        self.assertGreater(row["seconds"], 1020)
        self.assertRecovers("429 date", 2)

    def test_silence_ends_at_the_read_timeout_and_waits_a_minute(self):
        row = self.first["hang"]
        self.assertRow(row, state="pending", attempts=1, status=None)
        self.assertRegex(row["error"], "(?i)time|answer")
        self.assertGreater(row["seconds"], 20)
        self.assertRecovers("hang", 2)

    def test_one_byte_a_second_ends_at_the_total_time(self):
        row = self.first["trickle"]
        self.assertRow(row, state="pending", attempts=1, status=None)
        ((duration,),) = self.server.query(
            "SELECT duration FROM bj_api_log WHERE config_id = %s ORDER BY id LIMIT 1",
            [self.faults["trickle"].config_id],
        )
        self.assertLess(duration, 60, "of 3600")
        self.assertRecovers("trickle", 2)

    def test_a_reset_after_the_request_was_read_is_tried_again(self):
        fault = self.faults["reset"]
        if fault.row["state"] == "pending":
            fault.let_wait_pass()
        row = fault.wait(2, timeout=150)
        self.assertRow(row, state="delivered", attempts=2)
        self.assertEqual(len(fault.receiver.requests), 2)
        self.assertEqual(len(set(keys(fault.receiver.requests))), 1)

    def test_another_host_is_never_visited_by_a_redirect(self):
        row = self.first["redirect"]
        self.assertRow(row, state="failed", attempts=1, status=302, logs=1)
        self.assertIn("make it the Request URL", row["error"])
        self.assertEqual(self.elsewhere.requests, [])

    def test_410_fails_at_once_and_pauses_the_configuration(self):
        fault = self.faults["410"]
        self.assertRow(
            self.first["410"], state="failed", attempts=1, status=410, logs=1
        )
        ((is_paused,),) = self.server.query(
            "SELECT is_paused FROM bj_api_sync_config WHERE id = %s", [fault.config_id]
        )
        self.assertTrue(is_paused)

    def test_an_html_page_with_status_200_is_delivered_and_logged(self):
        row = self.first["html"]
        self.assertRow(row, state="delivered", attempts=1, status=200, logs=1)

    def test_a_gibibyte_is_read_up_to_the_limit_and_logged_in_part(self):
        row = self.first["gibibyte"]
        self.assertRow(row, state="delivered", attempts=1, status=200, logs=1)
        self.assertLess(row["length"], 70_000)

    def test_a_certificate_for_another_name_gets_no_request(self):
        row = self.first["name"]
        self.assertRow(row, state="failed", attempts=1, status=None, logs=1)
        self.assertIn("certificate", row["error"].lower())
        self.assertEqual(self.wrong_name.requests, [])

    def test_an_expired_certificate_gets_no_request(self):
        row = self.first["expired"]
        self.assertRow(row, state="failed", attempts=1, status=None, logs=1)
        self.assertIn("expired", row["error"])
        self.assertEqual(self.expired.requests, [])

    def test_nothing_is_stuck_and_no_secret_is_in_a_log(self):
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not self.claimed(), timeout=90)
        self.assertEqual(self.claimed(), [])
        self.assertNotIn("token-of-the-faults", self.server.log)
        rows = self.server.query(
            """SELECT id FROM bj_api_log
               WHERE concat(request_headers, request_data, response_headers,
                            response_data, error_message, traceback)
                     LIKE '%token-of-the-faults%'"""
        )
        self.assertEqual(rows, [])

    def claimed(self):
        return self.server.query(
            """SELECT id, config_id FROM bj_api_sync_delivery
               WHERE is_claimed AND state = 'pending'"""
        )
