import json
import socket
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

from harness import Server, dev

TOKEN = "slow-body-test-token-1234567890"
KIB = 1024


class TestSlowBody(unittest.TestCase):
    """A body that comes too slowly ends as 408, whatever kind of server reads it."""

    def _prepare(self, server):
        rpc = server.rpc
        [model_id] = rpc("ir.model", "search", [("model", "=", "res.partner")])
        vals = {
            "name": "Slow",
            "endpoint": "slow",
            "model_id": model_id,
            "http_method_ids": [(6, 0, rpc("bj.http.method", "search", []))],
            "user_id": server.find("base.user_admin"),
            "bearer_token": TOKEN,
            "line_ids": [
                (
                    0,
                    0,
                    {
                        "api_key": "code",
                        "field_path": "ref",
                        "is_record_identifier": True,
                    },
                ),
                (0, 0, {"api_key": "name", "field_path": "name"}),
            ],
        }
        rpc("bj.api.sync.config", "create", [vals])

    def _send(self, url, code, pieces, pause, length=None):
        """Send pieces of a body, and return the answer and the seconds that it took.

        :param int length: of the body, ``None`` for a chunked one
        """
        address = urlsplit(url)
        head = (
            "POST /bj_api_sync/v1/slow HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
            f"X-Request-ID: {code}\r\n"
        )
        head += (
            "Transfer-Encoding: chunked\r\n"
            if length is None
            else f"Content-Length: {length}\r\n"
        )
        begun = time.monotonic()
        with closing(
            socket.create_connection((address.hostname, address.port), timeout=90)
        ) as connection:
            connection.sendall(head.encode() + b"\r\n")
            answered = threading.Event()

            def send():
                for piece in pieces:
                    try:
                        connection.sendall(piece)
                    except OSError:
                        return
                    if answered.wait(pause):
                        return

            sender = threading.Thread(target=send)
            sender.start()
            answer = b""
            try:
                while part := connection.recv(65536):
                    answer += part
                    answered.set()
                    if length and b"201" in answer[:20]:
                        break  # a server that keeps the connection open
            finally:
                answered.set()
                sender.join(30)
        return answer.decode(), time.monotonic() - begun

    def _trickle(self, url, code, length):
        row = json.dumps({"code": code, "name": "x" * 200}).encode()
        pieces = [row[at : at + 1] for at in range(60)]
        if length is None:
            pieces = [b"1\r\n%s\r\n" % piece for piece in pieces]
        return self._send(url, code, pieces, 0.7, length and len(row))

    def _stop(self, url, code, length):
        row = json.dumps({"code": code, "name": "x"}).encode()
        first = row[:5] if length else b"5\r\n%s\r\n" % row[:5]
        return self._send(url, code, [first], 0.1, length and len(row))

    def _upload(self, url, code, length):
        """Send a body that takes longer than the grace, but comes steadily."""
        row = json.dumps({"code": code, "name": "x", "more": "y" * 700 * KIB}).encode()
        step = 16 * KIB
        pieces = [row[at : at + step] for at in range(0, len(row), step)]
        return self._send(url, code, pieces, 0.3, len(row))

    def _check(self, server, url, kind):
        calls = [
            (send, f"{kind}-{send.__name__}-{length}", length)
            for send in (self._trickle, self._stop)
            for length in (1, None)
        ]
        calls.append((self._upload, f"{kind}-honest", 1))
        with ThreadPoolExecutor(len(calls)) as pool:
            answers = list(pool.map(lambda call: call[0](url, *call[1:]), calls))
        for (send, code, _length), (answer, seconds) in zip(
            calls, answers, strict=True
        ):
            with self.subTest(code):
                head, _blank, text = answer.partition("\r\n\r\n")
                is_honest = send == self._upload
                self.assertIn(" 201 " if is_honest else " 408 ", head.split("\r\n")[0])
                rows = server.query(
                    "SELECT response_code FROM bj_api_log WHERE request_id = %s", [code]
                )
                self.assertEqual(rows, [(201 if is_honest else 408,)])
                if is_honest:
                    self.assertGreater(seconds, 10, "no test of more than the grace")
                    continue
                self.assertLess(seconds, 38, "the body would have taken 42 seconds")
                self.assertIn("did not arrive in time", json.loads(text)["message"])
                self.assertIn("connection: close", head.lower())
                self.assertFalse(
                    server.query("SELECT id FROM res_partner WHERE ref = %s", [code])
                )
        self.assertNotIn("Traceback", server.log)

    def test_processes_and_the_gevent_port(self):
        port = dev.free_port()
        with Server(workers=5, options=["--gevent-port", port]) as server:
            self._prepare(server)
            self._check(server, server.url, "prefork")
            self._check(server, f"http://127.0.0.1:{port}", "gevent")

    def test_threads(self):
        with Server() as server:
            self._prepare(server)
            self._check(server, server.url, "threaded")
