import http.client
import json
import os
import socket
import threading
import unittest
import urllib.request
from urllib.parse import urlsplit

import psutil
from harness import Server, wait_until

ROUTE = "/bj_api_sync/v1"
TOKEN = "scale-test-token-1234567890"
ROWS = int(os.environ.get("BJ_TEST_ROWS", 2000))  # 100000 is the whole measurement
CALL = 1000  # rows of a bulk call
MIB = 1024 * 1024
LINES = "application/x-ndjson"


class TestScale(unittest.TestCase):
    """Many records in, and out again; `BJ_TEST_ROWS=100000` measures at full size."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(workers=2).__enter__()
        cls.addClassCleanup(cls.server.__exit__)
        rpc = cls.server.rpc
        [model_id] = rpc("ir.model", "search", [("model", "=", "res.partner")])
        cls.config_ids = {}
        for endpoint, response_format in (
            ("scale", "bare"),
            ("scale-status", "status"),
            ("scale-success", "success"),
        ):
            vals = {
                "name": endpoint,
                "endpoint": endpoint,
                "model_id": model_id,
                "http_method_ids": [(6, 0, rpc("bj.http.method", "search", []))],
                "user_id": cls.server.find("base.user_admin"),
                "response_format": response_format,
                "bearer_token": TOKEN,
                "is_paginated": endpoint == "scale-success",
                "max_limit": 10 * ROWS,
                "filter_domain": "[('ref', '=like', 'S%')]",
                "line_ids": [
                    (0, 0, {"api_key": key, "field_path": path, **more})
                    for key, path, more in (
                        ("code", "ref", {"is_record_identifier": True}),
                        ("name", "name", {}),
                        ("email", "email", {}),
                        ("comment", "function", {}),
                    )
                ],
            }
            [cls.config_ids[endpoint]] = rpc("bj.api.sync.config", "create", [vals])
        cls.memory = []
        for start in range(0, ROWS, CALL):
            body = [make_row(n) for n in range(start, start + CALL)]
            answer = cls.call("POST", body=body)
            assert answer.status == 201, answer.text[:400]
            cls.memory.append(cls.get_memory())
        cls.codes = {make_row(n)["code"] for n in range(ROWS)}

    @classmethod
    def call(cls, method, path="", body=None, headers=(), endpoint="scale"):
        path = f"{ROUTE}/{endpoint}{path}"
        return cls.server.http(method, path, body, headers, TOKEN, timeout=300)

    @classmethod
    def get_memory(cls):
        """Return the MiB of the largest process that serves."""
        pids = cls.server.worker_pids()
        return max(psutil.Process(pid).memory_info().rss for pid in pids) / MIB

    def configure(self, endpoint="scale", **vals):
        config_ids = [self.config_ids[endpoint]]
        self.server.rpc("bj.api.sync.config", "write", config_ids, vals)

    def get_log(self, request_id):
        """Return the row of a call, which is written when its last byte is sent."""
        statement = """SELECT status, response_code, record_count, error_message,
                              response_headers
                       FROM bj_api_log WHERE request_id = %s"""
        [row] = wait_until(lambda: self.server.query(statement, [request_id]))
        return row

    def open(self, path, accept="application/json", method="GET", endpoint="scale"):
        """Return ``(connection, response)`` of a GET whose body is not read yet."""
        address = urlsplit(self.server.url)
        connection = http.client.HTTPConnection(
            address.hostname, address.port, timeout=120
        )
        self.addCleanup(connection.close)
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept": accept}
        connection.request(method, f"{ROUTE}/{endpoint}{path}", headers=headers)
        return connection, connection.getresponse()

    # -- bulk and cursor -------------------------------------------------------------

    def test_bulk_calls_leave_the_memory_of_a_worker_flat(self):
        warm = max(self.memory[: max(len(self.memory) // 5, 1)])
        print(f"{ROWS} rows posted: {warm:.0f} MiB, at last {self.memory[-1]:.0f} MiB")
        self.assertLess(self.memory[-1] - warm, 64)

    def test_a_walk_loses_and_repeats_nothing_while_another_client_writes(self):
        done, failed = threading.Event(), []

        def disturb():
            number = 0
            while not done.is_set():
                number += 1
                rows = [make_row(f"x{number}-{n}") for n in range(5)]
                names = ",".join(row["code"] for row in rows)
                for answer in (
                    self.call("POST", body=rows),
                    self.call("DELETE", f"?identifier__in={names}"),
                ):
                    if answer.status not in (200, 201):
                        failed.append(answer.text)

        other = threading.Thread(target=disturb)
        other.start()
        try:
            for order in ("", "&order=name%20desc"):
                seen, cursor = [], ""
                while cursor is not None:
                    path = f"?limit={ROWS // 7}&cursor={cursor}{order}"
                    answer = self.call("GET", path)
                    self.assertEqual(answer.status, 200, answer.text[:400])
                    seen += [row["code"] for row in json.loads(answer.text)]
                    cursor = answer.headers.get("X-Next-Cursor")
                stable = [code for code in seen if "x" not in code]
                self.assertEqual(len(seen), len(set(seen)))
                self.assertEqual(len(stable), ROWS)
                self.assertEqual(set(stable), self.codes)
        finally:
            done.set()
            other.join()
        self.assertEqual(failed, [])

    # -- streams ---------------------------------------------------------------------

    def test_a_long_list_is_whole_in_each_response_format(self):
        for endpoint in self.config_ids:
            with self.subTest(endpoint=endpoint):
                answer = self.call("GET", f"?limit={ROWS}", endpoint=endpoint)
                value = json.loads(answer.text)
                rows = value if endpoint == "scale" else value["data"]
                self.assertEqual(len(rows), ROWS)
                self.assertEqual({row["code"] for row in rows}, self.codes)
                self.assertEqual(answer.headers["X-Total-Count"], str(ROWS))
                self.assertIn('rel="last"', answer.headers["Link"])
                self.assertNotIn("Content-Length", answer.headers)
                log = self.get_log(answer.headers["X-Request-ID"])
                self.assertEqual(log[:4], ("success", 200, ROWS, None))
        self.assertEqual(value["success"], True)
        self.assertEqual(value["pagination"]["total"], ROWS)

    def test_a_streamed_page_continues_where_the_one_before_ended(self):
        limit = ROWS * 3 // 4
        for accept in ("application/json", LINES):
            codes, cursor = [], ""
            while cursor is not None:
                path = f"?limit={limit}&cursor={cursor}&order=name%20desc"
                answer = self.call("GET", path, headers={"Accept": accept})
                text = answer.text
                if accept == LINES:
                    text = "[" + ",".join(text.splitlines()) + "]"
                codes += [row["code"] for row in json.loads(text)]
                cursor = answer.headers.get("X-Next-Cursor")
            self.assertEqual((len(codes), set(codes)), (ROWS, self.codes))

    def test_ndjson_gives_an_object_a_line_up_to_the_maximum(self):
        answer = self.call("GET", headers={"Accept": LINES}, endpoint="scale-success")
        self.assertEqual(answer.headers["Content-Type"], LINES)
        rows = [json.loads(line) for line in answer.text.splitlines()]
        self.assertEqual({row["code"] for row in rows}, self.codes)
        answer = self.call("GET", "?limit=3&fields=code", headers={"Accept": LINES})
        lines = answer.text.splitlines()
        self.assertEqual([list(json.loads(line)) for line in lines], [["code"]] * 3)
        answer = self.call("GET", "?code=S-none", headers={"Accept": LINES})
        self.assertEqual((answer.status, answer.text), (200, ""))

    def test_errors_before_the_first_row_are_answered_as_any_other(self):
        for path in ("?nonsense=1", "?cursor=broken"):
            answer = self.call("GET", path, headers={"Accept": LINES})
            self.assertEqual(answer.status, 400)
            self.assertIn("message", json.loads(answer.text))

    def test_head_of_a_long_list_reads_no_rows(self):
        answer = self.call("HEAD", f"?limit={ROWS}")
        self.assertEqual((answer.status, answer.text), (200, ""))
        self.assertEqual(answer.headers["X-Total-Count"], str(ROWS))
        log = self.get_log(answer.headers["X-Request-ID"])
        self.assertEqual(log[:3], ("success", 200, None))

    def test_a_response_script_sees_the_whole_list(self):
        self.configure(response_script="response_data = [len(response_data)]")
        self.addCleanup(self.configure, response_script=False)
        answer = self.call("GET", f"?limit={ROWS}")
        self.assertEqual(json.loads(answer.text), [ROWS])
        answer = self.call("GET", headers={"Accept": LINES})
        self.assertEqual(answer.text, f"{ROWS}\n")

    def test_a_stream_that_breaks_off_cannot_be_taken_for_a_whole_list(self):
        # a value that no JSON number can hold, in the last row of all
        self.server.query(
            "UPDATE res_partner SET partner_latitude = 'NaN' WHERE id ="
            " (SELECT max(id) FROM res_partner WHERE ref LIKE %s)",
            ["S%"],
        )
        line = {"api_key": "latitude", "field_path": "partner_latitude"}
        self.configure(line_ids=[(0, 0, line)])
        [line_id] = self.server.rpc(
            "bj.api.sync.config.line", "search", [("api_key", "=", "latitude")]
        )
        self.addCleanup(self.server.rpc, "bj.api.sync.config.line", "unlink", [line_id])
        answer = self.call("GET", "?order=id", headers={"Accept": LINES})
        *rows, last = [json.loads(text) for text in answer.text.splitlines()]
        self.assertEqual(last["error"]["code"], "INTERNAL_ERROR")
        self.assertLess(len(rows), ROWS)
        self.assertEqual(self.get_log(answer.headers["X-Request-ID"])[0], "error")
        _connection, response = self.open(f"?order=id&limit={ROWS}")
        request_id = response.headers["X-Request-ID"]
        with self.assertRaises((ConnectionResetError, http.client.IncompleteRead)):
            response.read()
        self.assertEqual(self.get_log(request_id)[0], "error")
        self.assertIn("A list broke off", self.server.log)

    def test_a_caller_that_leaves_is_logged_and_leaves_no_connection_behind(self):
        address = urlsplit(self.server.url)
        request_id = "caller-that-leaves"
        with socket.create_connection((address.hostname, address.port)) as caller:
            caller.sendall(
                f"GET {ROUTE}/scale?limit={ROWS}&order=id HTTP/1.1\r\nHost: odoo\r\n"
                f"Authorization: Bearer {TOKEN}\r\n"
                f"X-Request-ID: {request_id}\r\n\r\n".encode()
            )
            caller.recv(1000)
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0" * 2)
        status, *_rest = self.get_log(request_id)
        self.assertIn(status, ("error", "success"))  # a short list fits the buffers
        held = """SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database()
                    AND state = 'idle in transaction'"""
        wait_until(lambda: self.server.query(held) == [(0,)])

    def test_streaming_takes_no_more_memory_for_more_rows(self):
        self.call("GET", "?limit=1001")  # both workers have all they need
        self.call("GET", "?limit=1001")
        before, peak, size = self.get_memory(), 0, 0
        for accept in ("application/json", LINES):
            _connection, response = self.open(f"?limit={ROWS}", accept)
            while chunk := response.read(MIB):
                size += len(chunk)
                peak = max(peak, self.get_memory())
            self.get_log(response.headers["X-Request-ID"])
        print(
            f"{ROWS} rows streamed twice, {size / MIB:.0f} MiB: worker +"
            f"{peak - before:.1f} MiB"
        )
        self.assertLess(peak - before, 50)

    def test_ndjson_bodies_write_many(self):
        lines = "\n".join(json.dumps(make_row(f"n{number}")) for number in range(3))
        request = urllib.request.Request(
            f"{self.server.url}{ROUTE}/scale?dry_run=true",
            lines.encode(),
            {"Authorization": f"Bearer {TOKEN}", "Content-Type": LINES},
        )
        with urllib.request.urlopen(request) as answer:
            self.assertEqual((answer.status, len(json.load(answer))), (201, 3))


def make_row(number):
    return {
        "code": f"S{number}",
        "name": f"Scale {number}",
        "email": f"scale{number}@example.com",
        "comment": "x" * 40,
    }
