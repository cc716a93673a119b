"""Strangers may call as often as they like: Odoo goes on for everybody else."""

import collections
import http.client
import json
import os
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from harness import Receiver, Server
from test_outbound_system import make_config, make_partner, make_rule

CALLS = int(os.environ.get("BJ_TEST_HOSTILE", 500))  # of each server; 10000 by hand
AT_A_TIME = 64
DEMO = "bj_api_sync.config_partner_in_demo"
PARTNERS = "/bj_api_sync/v1/partners"
REFUSED = {400, 401, 404, 429, 503}


class HostileCase(unittest.TestCase):
    """Bursts of calls of four kinds, from two hundred addresses."""

    options = ()
    workers = 0

    @classmethod
    def setUpClass(cls):
        cls.server = Server(workers=cls.workers, options=cls.options).__enter__()
        cls.addClassCleanup(cls.server.__exit__)
        cls.receiver = cls.enterClassContext(Receiver())
        cls.token = cls.server.token(DEMO)
        make_rule(cls.server, make_config(cls.server, cls.receiver.url("/out")))

    def get_url(self):
        return self.server.url

    def call(self, number):
        """Make one call; return its status, and whether its answer is JSON."""
        address = urlsplit(self.get_url())
        path, token, body = (
            ("/bj_api_sync/v1/nothing", None, None),
            (PARTNERS, "wrong", b'{"name":"x"}'),
            (PARTNERS, self.token, b'{"name": '),
            (f"{PARTNERS}/nobody-{number}", self.token, None),
        )[number % 4]
        headers = {"Content-Type": "application/json"} if body else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        for _try in range(20):
            connection = http.client.HTTPConnection(
                address.hostname,
                address.port,
                timeout=120,
                source_address=(f"127.0.0.{2 + number % 200}", 0),
            )
            try:
                connection.request("POST" if body else "GET", path, body, headers)
                response = connection.getresponse()
                text = response.read()
                break
            except ConnectionError:  # too many wait for the server to take them
                time.sleep(0.2)
            finally:
                connection.close()
        else:
            return 0, False
        is_json = "json" in response.headers["Content-Type"] and bool(json.loads(text))
        if response.status == 503 and not response.headers["Retry-After"]:
            return 503, False
        return response.status, is_json

    def check(self):
        self.call(0)  # a process that has not loaded the database knows no API yet
        statuses = collections.Counter()
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            for status, is_json in pool.map(self.call, range(CALLS)):
                statuses[status] += 1
                self.assertTrue(is_json, status)
        print(type(self).__name__, dict(statuses))
        self.assertEqual(set(statuses) - REFUSED, set())
        self.assertGreater(sum(statuses.values()) - statuses[503], 0)
        for _number in range(10):
            self.assertEqual(self.server.http("GET", "/web/login").status, 200)
        answer = self.server.http("GET", PARTNERS, token=self.token)
        self.assertEqual(answer.status, 200)
        make_partner(self.server, "T-after")
        (request,) = self.receiver.wait(1, timeout=90)
        self.assertEqual(request.json()["ref"], "T-after")
        self.assertNotIn("Cursor not closed", self.server.log)
        self.assertNotIn("could not be logged", self.server.log)


class TestThreads(HostileCase):
    """Odoo's default: one process, one pool for all."""

    def test_bursts_of_strangers_leave_threads_as_they_were(self):
        self.check()


class TestFewConnections(HostileCase):
    options = ("--db_maxconn", 8)

    def test_bursts_of_strangers_leave_a_small_pool_as_it_was(self):
        self.check()


class TestLongPollingPort(HostileCase):
    """The process that is not there for calls but takes them."""

    workers = 2

    def get_url(self):
        return self.server.gevent_url

    def test_bursts_of_strangers_leave_the_long_polling_port_as_it_was(self):
        self.check()
