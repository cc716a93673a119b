"""A long list whose process is killed is not taken for a whole one."""

import http.client
import json
import socket
import unittest
from contextlib import suppress
from urllib.parse import urlsplit

import psutil
from harness import Server, wait_until

PATH = "/bj_api_sync/v1/broken"
TOKEN = "broken-stream-token-1234567890"
LINES = "application/x-ndjson"
ROWS = 40_000
CLOSING = {"Accept": LINES, "Prefer": "handling=lenient, closing-line"}
FILL = """INSERT INTO res_partner (name, ref, function, active, type)
          SELECT 'Broken ' || n, 'B' || n, repeat('x', 300), true, 'contact'
          FROM generate_series(1, %s) AS n"""


class TestBrokenStream(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(workers=2).__enter__()
        cls.addClassCleanup(cls.server.__exit__)
        cls.server.query(FILL, [ROWS])
        rpc = cls.server.rpc
        [model_id] = rpc("ir.model", "search", [("model", "=", "res.partner")])
        vals = {
            "name": "Broken",
            "endpoint": "broken",
            "model_id": model_id,
            "http_method_ids": [
                (6, 0, [cls.server.find("bj_api_sync.bj_http_method_get")])
            ],
            "user_id": cls.server.find("base.user_admin"),
            "bearer_token": TOKEN,
            "max_limit": 2 * ROWS,
            "filter_domain": "[('ref', '=like', 'B%')]",
            "line_ids": [
                (0, 0, {"api_key": key, "field_path": path, **more})
                for key, path, more in (
                    ("code", "ref", {"is_record_identifier": True}),
                    ("text", "function", {}),
                )
            ],
        }
        rpc("bj.api.sync.config", "create", [vals])

    def open(self, url, headers=(), version=11):
        """Begin to read a list with a small buffer; return its connection and answer."""
        address = urlsplit(url)
        connection = http.client.HTTPConnection(address.hostname, address.port, 120)
        connection.sock = socket.socket()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sock.settimeout(120)
        connection.sock.connect((address.hostname, address.port))
        connection._http_vsn = version
        connection._http_vsn_str = f"HTTP/1.{version % 10}"
        self.addCleanup(connection.close)
        headers = {
            "Authorization": f"Bearer {TOKEN}",
            "Host": address.netloc,  # which HTTP/1.0 does not send by itself
            **dict(headers),
        }
        connection.request("GET", f"{PATH}?limit={ROWS}", headers=headers)
        answer = connection.getresponse()
        self.assertEqual(answer.status, 200)
        return connection, answer

    def kill(self, url):
        """Kill whoever may be serving at this port."""
        is_gevent = url == self.server.gevent_url
        for child in psutil.Process(self.server.pid).children():
            with suppress(psutil.NoSuchProcess):
                if ("gevent" in child.cmdline()) == is_gevent:
                    child.kill()

    def test_a_client_of_http_1_1_meets_an_error_by_itself(self):
        for url in (self.server.url, self.server.gevent_url):
            for accept in ("application/json", LINES):
                with self.subTest(url=url, accept=accept):
                    _connection, answer = self.open(url, {"Accept": accept})
                    begun = answer.read(20_000)
                    self.assertTrue(begun)
                    self.kill(url)
                    with self.assertRaises(
                        (http.client.IncompleteRead, ConnectionError)
                    ):
                        answer.read()
                    self.wait_served(url)

    def test_the_last_line_tells_a_client_of_http_1_0(self):
        for url in (self.server.url, self.server.gevent_url):
            with self.subTest(url=url):
                _connection, answer = self.open(url, CLOSING, version=10)
                self.assertEqual(answer.headers["Preference-Applied"], "closing-line")
                begun = answer.read(20_000)
                self.kill(url)
                with suppress(ConnectionError, http.client.IncompleteRead):
                    begun += answer.read()
                *_lines, last = begun.splitlines()
                self.assertNotIn(b'"success":true', last)
                self.wait_served(url)
                _connection, answer = self.open(url, CLOSING, version=10)
                *lines, last = answer.read().splitlines()
                self.assertEqual(json.loads(last), {"success": True, "rows": ROWS})
                self.assertEqual(len(lines), ROWS)

    def test_who_does_not_ask_gets_rows_and_nothing_else(self):
        for url in (self.server.url, self.server.gevent_url):
            _connection, answer = self.open(url, {"Accept": LINES})
            self.assertIsNone(answer.headers["Preference-Applied"])
            lines = answer.read().splitlines()
            self.assertEqual(len(lines), ROWS)
            self.assertIn("code", json.loads(lines[-1]))

    def wait_served(self, url):
        wait_until(lambda: is_served(url))


def is_served(url):
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    try:
        connection.request("GET", "/bj_api_sync/v1/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
