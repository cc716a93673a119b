import json
import unittest
from concurrent.futures import ThreadPoolExecutor

from harness import Server, wait_until

PARTNERS = "/bj_api_sync/v1/partners"
DEMO = "bj_api_sync.config_partner_in_demo"


class TestServers(unittest.TestCase):
    """One database behind several processes."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(workers=2).__enter__()
        cls.addClassCleanup(cls.server.__exit__)
        cls.token = cls.server.token(DEMO)

    def call(self, server, method, path="", body=None, **options):
        return server.http(method, PARTNERS + path, body, token=self.token, **options)

    def test_a_change_by_one_server_is_effective_in_the_other_at_once(self):
        with Server(self.server.database) as other:
            for limit in (1, 2, 3):
                config_ids = [other.find(DEMO)]
                for server in (self.server, other):  # both have it in their caches
                    self.assertEqual(self.call(server, "GET").status, 200)
                other.rpc("bj.api.sync.config", "write", config_ids, {"limit": limit})
                answer = self.call(self.server, "GET")
                self.assertEqual(len(json.loads(answer.text)), limit)

    def test_two_puts_at_a_time_on_one_record_both_succeed_and_are_logged_once(self):
        body = {"customer_id": "S-1", "name": "Start"}
        self.assertEqual(self.call(self.server, "POST", body=body).status, 201)
        requests = [{"X-Request-ID": f"put-{number}"} for number in range(8)]

        def put(headers):
            name = {"name": headers["X-Request-ID"]}
            return self.call(self.server, "PUT", "/S-1", name, headers=headers).status

        with ThreadPoolExecutor(2) as pool:
            self.assertEqual(list(pool.map(put, requests)), [200] * len(requests))
        for headers in requests:
            with self.subTest(**headers):
                logged = self.server.query(
                    "SELECT status FROM bj_api_log WHERE request_id = %s",
                    [headers["X-Request-ID"]],
                )
                self.assertEqual(logged, [("success",)])

    def test_a_killed_worker_is_replaced(self):
        before = set(self.server.worker_pids())
        self.assertTrue(before)
        victim = (before - set(self.server.cron_pids())).pop()
        self.server.kill(victim)
        wait_until(lambda: set(self.server.worker_pids()) - before)
        self.assertEqual(self.call(self.server, "GET").status, 200)
