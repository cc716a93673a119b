"""Under steady traffic apps can be installed, and the scheduled actions be changed."""

import configparser
import os
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from harness import SETUP, Receiver, Server, dev, receiver, wait_until
from psycopg2 import errors
from test_outbound_system import OutboundSystemCase, keys, make_partner, make_rule

APPS = int(os.environ.get("BJ_TEST_INSTALLS", 3))
CRON = "bj_api_sync.ir_cron_send"
LOCKED = "SELECT FROM ir_cron WHERE id = %s FOR UPDATE NOWAIT"


def make_apps(folder):
    """Write apps that do nothing; return an addons path with them."""
    for number in range(APPS):
        app = Path(folder, f"bj_tiny_{number}")
        app.mkdir()
        (app / "__init__.py").touch()
        (app / "__manifest__.py").write_text(
            f"{{'name': 'Tiny {number}', 'license': 'LGPL-3', 'depends': ['base']}}"
        )
    configuration = configparser.ConfigParser(interpolation=None)
    configuration.read(SETUP.configuration)
    return f"{configuration['options']['addons_path']},{folder}"


class TestGiveWay(OutboundSystemCase):
    """Steady saves, one answer in ten a 500, on a server that runs two senders."""

    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        options = ["--addons-path", make_apps(folder), "--max-cron-threads", 2]
        cls.server = Server(workers=2, options=options).__enter__()
        cls.addClassCleanup(cls.server.__exit__)
        cls.receiver = cls.enterClassContext(Receiver())
        cls.server.rpc("ir.module.module", "update_list")

    @contextmanager
    def traffic(self):
        """Save one contact after the other, all the time; check what became of it."""
        config_id = self.make("/steady")
        make_rule(self.server, config_id)
        count = {"asked": 0}

        def act(exchange):
            count["asked"] += 1
            failed = count["asked"] % 10 == 0
            return receiver.answer(500 if failed else 200)(exchange)

        self.receiver.on("/steady", act)
        ids = [make_partner(self.server, f"T-{n}") for n in range(8)]
        client = dev.Client(self.server.url, self.server.database)
        ended = threading.Event()
        newest, refused = {}, []

        def save():
            number = 0
            while not ended.wait(0.05):
                partner_id = ids[number % len(ids)]
                number += 1
                try:
                    client.call(
                        "res.partner", "write", [partner_id], {"name": f"{number}"}
                    )
                    newest[partner_id] = f"{number}"
                except Exception as error:  # the registry is being replaced
                    refused.append(error)

        thread = threading.Thread(target=save)
        thread.start()
        try:
            wait_until(lambda: len(self.receiver.requests) > 20)
            yield
        finally:
            ended.set()
            thread.join()
        wait_until(lambda: not self.count(config_id, "pending"), 120)
        sent = [r for r in self.receiver.requests if r.path == "/steady"]
        last = {request.json()["ref"]: request.json()["name"] for request in sent}
        self.assertEqual(
            last, {f"T-{n}": newest[partner_id] for n, partner_id in enumerate(ids)}
        )
        self.assertEqual(self.count(config_id, "failed"), 0)
        again = len(sent) - len(set(keys(sent)))
        self.assertLessEqual(again, count["asked"] // 10, "sent twice after a 200")

    def test_every_app_is_installed_at_the_first_try(self):
        with self.traffic():
            for number in range(APPS):
                name = f"bj_tiny_{number}"
                with self.subTest(app=name):
                    ids = self.server.rpc(
                        "ir.module.module", "search", [("name", "=", name)]
                    )
                    self.server.rpc("ir.module.module", "button_immediate_install", ids)
                    (app,) = self.server.rpc("ir.module.module", "read", ids, ["state"])
                    self.assertEqual(app["state"], "installed")

    def test_the_scheduled_action_can_be_changed_and_others_can_lock_it_at_times(self):
        cron_id = self.server.find(CRON)
        with self.traffic():
            for priority in (4, 5, 6, 7, 8, 9, 10, 2, 1, 3):
                self.server.rpc("ir.cron", "write", [cron_id], {"priority": priority})
                time.sleep(0.1)
            self.assertEqual(
                self.server.rpc("ir.cron", "method_direct_trigger", [cron_id]), True
            )
            # Somebody who does not know how to ask finds the row free now and then.
            wait_until(lambda: self.is_free(cron_id), 60, 0.02)

    def is_free(self, cron_id):
        try:
            self.server.query(LOCKED, [cron_id])
        except errors.LockNotAvailable:
            return False
        return True
