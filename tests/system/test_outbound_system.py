"""Outbound promises that only real processes can keep or break.

Numbers are of one run: nothing here compares with a time measured elsewhere.
"""

import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from harness import Receiver, Server, receiver, wait_until

SHORT = {"connect_timeout": 1, "read_timeout": 2}
# Until a delivery of SHORT whose sender is dead comes due again, and a cron looks.
LEASE = 240
LINES = {"ref": "ref", "name": "name"}
WAITING = """SELECT pid FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'"""
SENT = "SELECT count(*) FROM bj_api_sync_delivery WHERE config_id = %s AND state = %s"


def make_config(server, url, method="POST", **vals):
    """Return the id of an Out configuration of contacts whose ref begins with T."""
    lines = [
        (
            0,
            0,
            {"api_key": key, "field_path": path, "is_record_identifier": key == "ref"},
        )
        for key, path in LINES.items()
    ]
    (config_id,) = server.rpc(
        "bj.api.sync.config",
        "create",
        [
            {
                "name": f"System test {method} {time.monotonic()}",
                "request_type": "out",
                "model_id": server.find("base.model_res_partner"),
                "http_method_ids": [
                    (
                        6,
                        0,
                        [server.find(f"bj_api_sync.bj_http_method_{method.lower()}")],
                    )
                ],
                "url": url,
                "auth_type": "none",
                "filter_domain": "[('ref', '=like', 'T%')]",
                "line_ids": lines,
                **vals,
            }
        ],
    )
    return config_id


def make_rule(server, config_id):
    server.rpc("bj.api.sync.config", "action_create_rule", [config_id])


def make_partner(server, ref, **vals):
    (partner_id,) = server.rpc(
        "res.partner", "create", [{"name": f"Name of {ref}", "ref": ref, **vals}]
    )
    return partner_id


def enqueue_in_shell(server, config_id, count, then="env.cr.commit()"):
    """Create contacts and trigger a configuration with them, all in one transaction."""
    return server.shell(
        f"config = env['bj.api.sync.config'].browse({config_id})\n"
        f"vals = [{{'name': 'P', 'ref': f'T{{n}}'}} for n in range({count})]\n"
        "partners = env['res.partner'].create(vals)\n"
        "env['bj.api.sync.outbound']._trigger(config, partners, 'create')\n"
        f"{then}\n"
    )


def answer_once_open(gate, status=200):
    """Return a behaviour that answers as soon as the event is set."""

    def act(exchange):
        gate.wait(60)
        return receiver.answer(status)(exchange)

    return act


def keys(requests):
    return [request.headers["idempotency-key"] for request in requests]


class OutboundSystemCase(unittest.TestCase):
    workers = 0

    @classmethod
    def setUpClass(cls):
        cls.server = Server(workers=cls.workers).__enter__()
        cls.addClassCleanup(cls.server.__exit__)
        cls.receiver = cls.enterClassContext(Receiver())

    def setUp(self):
        self.receiver.clear()
        self.config_ids = []

    def tearDown(self):
        if self.config_ids:  # so that one test's rule does not fire in the next
            self.server.rpc("bj.api.sync.config", "unlink", self.config_ids)
        self.server.query("DELETE FROM bj_api_sync_destination")

    def make(self, path="/orders", method="POST", **vals):
        config_id = make_config(self.server, self.receiver.url(path), method, **vals)
        self.config_ids.append(config_id)
        return config_id

    def count(self, config_id, state):
        return self.server.query(SENT, [config_id, state])[0][0]

    def wait_delivered(self, config_id, count, timeout=90):
        wait_until(lambda: self.count(config_id, "delivered") >= count, timeout)


class TestTriggers(OutboundSystemCase):
    """What is sent, and what is not, by a server in threaded mode."""

    def test_a_save_is_sent_within_seconds_as_one_delivery(self):
        config_id = self.make()
        make_rule(self.server, config_id)
        make_partner(self.server, "T-1", email="a@example.com")
        (request,) = self.receiver.wait(
            1, timeout=45
        )  # a cron looks each minute anyway
        self.assertEqual(request.json(), {"ref": "T-1", "name": "Name of T-1"})
        self.wait_delivered(config_id, 1)
        time.sleep(1)
        self.assertEqual(len(self.receiver.requests), 1, "not eleven")

    def test_what_is_rolled_back_is_not_sent(self):
        config_id = self.make()
        enqueue_in_shell(self.server, config_id, 3, "env.cr.flush(); env.cr.rollback()")
        enqueue_in_shell(
            self.server,
            config_id,
            1,
            "env.cr.commit()\n"  # this one is
            "with env.cr.savepoint():\n"
            "    partners.name = 'kept'\n"
            "savepoint = env.cr.savepoint()\n"
            "new = env['res.partner'].create({'name': 'N', 'ref': 'T-rolled-back'})\n"
            "env['bj.api.sync.outbound']._trigger(config, new, 'create')\n"
            "env.cr.flush()\n"
            "savepoint.close(rollback=True)\n"
            "env.cr.commit()",
        )
        self.wait_delivered(config_id, 1)
        time.sleep(2)
        self.assertEqual([r.json()["ref"] for r in self.receiver.requests], ["T0"])

    def test_the_dry_run_of_an_import_sends_nothing(self):
        config_id = self.make()
        make_rule(self.server, config_id)
        wizard_id = self.server.rpc(
            "base_import.import",
            "create",
            {
                "res_model": "res.partner",
                "file": "name,ref\nX,T-dry\n",  # raw, in this model
                "file_name": "partners.csv",
                "file_type": "text/csv",
            },
        )
        if isinstance(wizard_id, list):
            (wizard_id,) = wizard_id
        options = {
            "has_headers": True,
            "quoting": '"',
            "separator": ",",
            "encoding": "utf-8",
        }
        columns = ["name", "ref"]
        for dryrun in (True, False):
            result = self.server.rpc(
                "base_import.import",
                "execute_import",
                [wizard_id],
                columns,
                columns,
                options,
                dryrun=dryrun,
            )
            self.assertFalse(result["messages"])
        self.wait_delivered(config_id, 1)
        time.sleep(1)
        self.assertEqual(len(self.receiver.requests), 1, "the import, not its dry run")

    def test_a_slow_receiver_does_not_slow_a_save(self):
        def measure(prefix):
            times = []
            for number in range(8):
                start = time.perf_counter()
                make_partner(self.server, f"{prefix}-{number}")
                times.append(time.perf_counter() - start)
            return sorted(times)[len(times) // 2]

        config_id = self.make()
        make_rule(self.server, config_id)
        self.receiver.on("/orders", receiver.answer(delay=10))
        make_partner(self.server, "T-warm")
        self.assertLess(measure("T"), 5, "not the 10 s of the receiver")

    def test_a_retry_comes_within_the_pass(self):
        self.receiver.on("/orders", receiver.answer(500), receiver.answer(200))
        config_id = self.make()
        enqueue_in_shell(self.server, config_id, 1)
        self.wait_delivered(config_id, 1, timeout=55)
        first, second = self.receiver.requests
        self.assertEqual(len(set(keys([first, second]))), 1)
        self.assertGreater(second.time - first.time, 3)

    def test_a_failing_script_keeps_the_evidence_of_what_it_has_sent(self):
        config_id = self.make()
        printed = self.server.shell(
            f"config = env['bj.api.sync.config'].browse({config_id})\n"
            "partner = env['res.partner'].create({'name': 'New', 'ref': 'T-new'})\n"
            "result = config._make_outbound_http_request(partner)\n"
            "print('sent', bool(result))\n"
            "env.cr.rollback()\n"
        )
        self.assertIn("sent True", printed)
        self.assertEqual(len(self.receiver.requests), 1)
        rows = self.server.query(
            """SELECT d.state, l.status FROM bj_api_sync_delivery d
               JOIN bj_api_log l ON l.delivery_id = d.id WHERE d.config_id = %s""",
            [config_id],
        )
        self.assertEqual(rows, [("delivered", "success")])

    def test_what_failed_at_once_is_cancelled_with_its_transaction(self):
        self.receiver.on("/orders", receiver.answer(503))
        config_id = self.make()
        self.server.shell(
            f"config = env['bj.api.sync.config'].browse({config_id})\n"
            "partner = env['res.partner'].create({'name': 'New', 'ref': 'T-new'})\n"
            "config._make_outbound_http_request(partner)\n"
            "env.cr.rollback()\n"
        )
        self.assertEqual(self.count(config_id, "cancelled"), 1)
        time.sleep(7)
        self.assertEqual(len(self.receiver.requests), 1)


class TestTwoServers(OutboundSystemCase):
    def test_two_servers_deliver_each_of_2000_once(self):
        config_id = self.make()
        count = 2000
        with Server(self.server.database):
            enqueue_in_shell(self.server, config_id, count)
            self.wait_delivered(config_id, count, timeout=400)
        received = self.receiver.requests
        self.assertEqual(len(received), count)
        self.assertEqual(len(set(keys(received))), count)
        refs = {request.json()["ref"] for request in received}
        self.assertEqual(refs, {f"T{number}" for number in range(count)})
        ((rows, attempts),) = self.server.query(
            """SELECT count(*), sum(attempt_count) FROM bj_api_sync_delivery
               WHERE config_id = %s""",
            [config_id],
        )
        self.assertEqual((rows, attempts), (count, count))


class TestKill(OutboundSystemCase):
    """kill -9 of the sender: nothing is lost, attempts count, one key, in order."""

    def test_after_the_claim(self):
        config_id = self.make(**SHORT)
        enqueue_in_shell(
            self.server,
            config_id,
            1,
            "env.cr.flush()\n"
            "ids = env['bj.api.sync.delivery'].search("
            f"[('config_id', '=', {config_id})]).ids\n"
            "env['bj.api.sync.delivery']._take(ids, [])\n"
            "env.cr.commit()",
        )
        self.assertFalse(self.receiver.requests)
        self.wait_delivered(config_id, 1, timeout=LEASE)
        ((attempts,),) = self.server.query(
            "SELECT attempt_count FROM bj_api_sync_delivery WHERE config_id = %s",
            [config_id],
        )
        self.assertEqual(attempts, 2, "the lost attempt is used up")

    def test_during_the_request(self):
        self.receiver.on("/orders", receiver.hang(), receiver.answer())
        config_id = self.make(method="PUT", **SHORT)
        make_rule(self.server, config_id)
        partner_id = make_partner(self.server, "T-kill")
        self.receiver.wait(1, timeout=75)
        self.restart()
        # What follows for the same record waits for the one that is on its way.
        second = make_config(self.server, self.receiver.url("/later"), "PUT")
        self.config_ids.append(second)
        make_rule(self.server, second)
        self.server.rpc("res.partner", "write", [partner_id], {"name": "Later"})
        self.wait_delivered(second, 1, timeout=LEASE)
        paths = [request.path for request in self.receiver.requests]
        self.assertEqual(paths[0], "/orders")
        self.assertEqual(paths[-1], "/later")
        self.assertGreaterEqual(paths.count("/orders"), 2)

    def test_after_the_answer(self):
        config_id = self.make(**SHORT | {"read_timeout": 10})
        gate = threading.Event()
        self.receiver.on("/orders", answer_once_open(gate), receiver.answer())
        enqueue_in_shell(self.server, config_id, 1)
        self.receiver.wait(1, timeout=75)
        with closing(self.server.connect()) as blocker, blocker.cursor() as cursor:
            # The settlement has to wait for us, so nothing of the answer is kept.
            blocker.autocommit = False
            cursor.execute(
                "SELECT FROM bj_api_sync_delivery WHERE config_id = %s FOR UPDATE",
                [config_id],
            )
            gate.set()
            wait_until(lambda: self.server.query(WAITING), timeout=60)
            self.server.kill()
        self.assertEqual(self.count(config_id, "pending"), 1)
        self.server.start()
        self.server.wait_ready()
        self.wait_delivered(config_id, 1, timeout=LEASE)
        first, second = self.receiver.requests
        self.assertEqual(len(set(keys([first, second]))), 1)

    def restart(self):
        self.server.kill()
        self.server.start()
        self.server.wait_ready()


class TestLostConnections(OutboundSystemCase):
    """PostgreSQL ends the sender's connection: nothing is lost, or sent twice."""

    ALL = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"

    def terminate(self, pids):
        return self.server.query(
            f"SELECT pg_terminate_backend(pid) FROM ({pids}) AS found"
            " WHERE pid <> pg_backend_pid()"
        )

    def assertSentOnce(self, config_id):
        self.wait_delivered(config_id, 1, timeout=LEASE)
        ((attempts,),) = self.server.query(
            "SELECT attempt_count FROM bj_api_sync_delivery WHERE config_id = %s",
            [config_id],
        )
        self.assertEqual(attempts, 1)
        self.assertEqual(len(self.receiver.requests), 1)

    def test_while_it_claims(self):
        config_id = self.make(**SHORT)
        with closing(self.server.connect()) as blocker, blocker.cursor() as cursor:
            blocker.autocommit = False
            enqueue_in_shell(
                self.server, config_id, 1, "env.cr.flush(); env.cr.commit()"
            )
            cursor.execute("LOCK TABLE bj_api_sync_delivery IN SHARE MODE")
            if not self.receiver.requests:  # else it was too late to get in between
                wait_until(lambda: self.terminate(WAITING), timeout=120)
        self.assertSentOnce(config_id)

    def test_while_it_sends(self):
        gate = threading.Event()
        self.receiver.on("/orders", answer_once_open(gate), receiver.answer())
        config_id = self.make(**SHORT | {"read_timeout": 15})
        enqueue_in_shell(self.server, config_id, 1)
        self.receiver.wait(1, timeout=75)
        self.assertTrue(self.terminate(self.ALL))
        gate.set()
        self.assertSentOnce(config_id)

    def test_while_it_settles(self):
        gate = threading.Event()
        self.receiver.on("/orders", answer_once_open(gate), receiver.answer())
        config_id = self.make(**SHORT | {"read_timeout": 15})
        enqueue_in_shell(self.server, config_id, 1)
        self.receiver.wait(1, timeout=75)
        with closing(self.server.connect()) as blocker, blocker.cursor() as cursor:
            blocker.autocommit = False
            cursor.execute(
                "SELECT FROM bj_api_sync_delivery WHERE config_id = %s FOR UPDATE",
                [config_id],
            )
            gate.set()
            wait_until(lambda: self.terminate(WAITING), timeout=60)
        self.assertSentOnce(config_id)

    def test_a_configuration_deleted_meanwhile_harms_no_other(self):
        other_receiver = self.enterContext(Receiver())
        gate = threading.Event()
        self.receiver.on("/orders", answer_once_open(gate, 410))
        config_id = self.make(**SHORT | {"read_timeout": 15})
        enqueue_in_shell(self.server, config_id, 1)
        self.receiver.wait(1, timeout=75)
        self.server.rpc("bj.api.sync.config", "unlink", [config_id])
        gate.set()
        self.config_ids.remove(config_id)
        other = make_config(self.server, other_receiver.url("/orders"))
        self.config_ids.append(other)
        enqueue_in_shell(self.server, other, 1)
        self.wait_delivered(other, 1)
        wait_until(
            lambda: self.server.query(
                "SELECT 1 FROM bj_api_log WHERE config_id IS NULL AND response_code = 410"
            )
        )
        self.assertNotIn(
            "Traceback", self.server.log.partition("deleted bj.api.sync")[2]
        )


class TestStop(OutboundSystemCase):
    def test_a_server_that_stops_settles_what_is_on_its_way(self):
        self.receiver.on("/orders", receiver.answer(delay=2))
        config_id = self.make(read_timeout=10)
        enqueue_in_shell(self.server, config_id, 3)
        self.receiver.wait(3, 60)
        self.server.stop()
        self.assertEqual(self.count(config_id, "delivered"), 3)
        self.server.start()
        self.server.wait_ready()
        self.assertEqual(len(self.receiver.requests), 3)


class TestOnePullAtATime(OutboundSystemCase):
    """Two scheduled actions that fire at the very same moment, in two processes."""

    # Both have their snapshot before either begins: they wait for a lock of ours.
    CODE = """
import time
for config_id, wait, hold in {steps}:
    env.cr.execute("SELECT pg_advisory_xact_lock_shared(%s)", [config_id])
    time.sleep(wait)
    env["bj.api.sync.config"].browse(config_id)._run_schedule()
    time.sleep(hold)
    env.cr.commit()
"""

    def _race(self, config_ids, *waits):
        """Have two processes pull, of one configuration after the other.

        :param waits: seconds of each process, ``[(before, after)]`` by configuration
        """
        with closing(self.server.connect()) as connection, ThreadPoolExecutor() as pool:
            cursor = connection.cursor()
            for config_id in config_ids:
                cursor.execute("SELECT pg_advisory_lock(%s)", [config_id])
            ends = []
            for own in waits:
                steps = [
                    (config_id, *seconds)
                    for config_id, seconds in zip(config_ids, own, strict=True)
                ]
                ends.append(
                    pool.submit(self.server.shell, self.CODE.format(steps=steps))
                )
            for config_id in config_ids:
                wait_until(lambda key=config_id: self._count_waiting(key) == 2, 120)
                cursor.execute("SELECT pg_advisory_unlock(%s)", [config_id])
            for end in ends:
                end.result()

    def _count_waiting(self, key):
        return self.server.query(
            """SELECT count(*) FROM pg_locks
               WHERE locktype = 'advisory' AND objid = %s AND NOT granted""",
            [key],
        )[0][0]

    def test_of_two_that_begin_together_one_pulls(self):
        # The crons of the server must not end a pull before the other process looks.
        self.server.query("UPDATE ir_cron SET active = false")
        config_ids = [
            self.make(f"/items/{n}", "GET", filter_domain=False) for n in range(2)
        ]
        # The second process looks while the first has not committed, and after it has.
        self._race(config_ids, [(0, 1.5), (0, 0)], [(0.5, 0), (1, 0)])
        for config_id in config_ids:
            self.assertEqual(self.count(config_id, "pending"), 1)


class TestNeutralizedCopy(OutboundSystemCase):
    def test_a_neutralized_copy_sends_nothing(self):
        config_id = self.make()
        self.server.query("UPDATE ir_cron SET active = false")
        enqueue_in_shell(self.server, config_id, 2)
        self.server.shell(
            "from odoo.modules.neutralize import neutralize_database\n"
            "neutralize_database(env.cr)\n"
            "env.cr.commit()\n"
        )
        # Somebody types the address in again and starts the scheduled actions.
        self.server.query(
            "UPDATE bj_api_sync_config SET url = %s WHERE id = %s",
            [self.receiver.url("/orders"), config_id],
        )
        self.server.query(
            "UPDATE ir_cron SET active = true WHERE cron_name LIKE %s", ["API%"]
        )
        self.server.stop()
        self.server.start()
        self.server.wait_ready()
        enqueue_in_shell(self.server, config_id, 2)
        wait_until(lambda: self.count(config_id, "cancelled") == 4, timeout=90)
        time.sleep(2)
        self.assertFalse(self.receiver.requests)
