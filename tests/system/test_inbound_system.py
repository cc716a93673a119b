import http.client
import json
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from harness import Server

ROUTE = "/bj_api_sync/v1"
ENDPOINT = "system"
TOKEN = "system-test-token-1234567890"
MIB = 1024 * 1024


def at_once(calls):
    """Return the results of ``calls``, which start together, in their order."""
    barrier = threading.Barrier(len(calls))

    def run(call):
        barrier.wait(30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


class TestInbound(unittest.TestCase):
    """What only several real transactions at a time can show."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(workers=4).__enter__()
        cls.addClassCleanup(cls.server.__exit__)
        rpc = cls.server.rpc
        methods = rpc("bj.http.method", "search", [])
        [model_id] = rpc("ir.model", "search", [("model", "=", "res.partner")])
        admin = cls.server.find("base.user_admin")
        vals = {
            "name": "System test",
            "endpoint": ENDPOINT,
            "model_id": model_id,
            "http_method_ids": [(6, 0, methods)],
            "user_id": admin,
            "upsert": True,
            "bearer_token": TOKEN,
            "line_ids": [
                (0, 0, {"api_key": key, "field_path": path, **more})
                for key, path, more in (
                    ("code", "ref", {"is_record_identifier": True}),
                    ("name", "name", {}),
                    ("street", "street", {}),
                )
            ],
        }
        [cls.config_id] = rpc("bj.api.sync.config", "create", [vals])

    def setUp(self):
        self.addCleanup(self.configure, rate_limit_per_hour=0, upsert=True)

    def configure(self, **vals):
        self.server.rpc("bj.api.sync.config", "write", [self.config_id], vals)

    def call(self, method, path="", body=None, server=None, token=TOKEN, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        path = f"{ROUTE}/{ENDPOINT}{path}"
        server = server or self.server
        return server.http(method, path, body, headers, token=token)

    def count(self, code):
        [(found,)] = self.server.query(
            "SELECT count(*) FROM res_partner WHERE ref = %s", [code]
        )
        return found

    def log_rows(self, answer):
        return self.server.query(
            "SELECT status, response_code FROM bj_api_log WHERE request_id = %s",
            [answer.headers["X-Request-ID"]],
        )

    def test_ten_clients_with_one_idempotency_key_create_one_record(self):
        self.configure(upsert=False)
        row = {"code": "KEY", "name": "Once"}

        def post():
            return self.call("POST", body=row, Idempotency_Key="the-same")

        answers = at_once([post] * 10)
        for answer in answers:
            with self.subTest(status=answer.status):
                if answer.status == 409:
                    self.assertEqual(answer.headers["Retry-After"], "1")
                else:
                    self.assertEqual(answer.status, 201)
                self.assertEqual(len(self.log_rows(answer)), 1)
        made = [
            answer
            for answer in answers
            if answer.status == 201 and "Idempotent-Replayed" not in answer.headers
        ]
        self.assertEqual(len(made), 1)
        self.assertEqual(self.count("KEY"), 1)
        again = post()
        self.assertEqual(again.headers["Idempotent-Replayed"], "true")
        self.assertEqual(again.text, made[0].text)

    def test_of_two_writers_with_one_etag_one_wins(self):
        self.call("POST", body={"code": "TAG", "name": "Start"})
        for number in range(5):
            tag = self.call("GET", "/TAG").headers["ETag"]
            answers = at_once(
                [
                    lambda name=name, tag=tag: self.call(
                        "PUT", "/TAG", {"name": name}, If_Match=tag
                    )
                    for name in (f"left {number}", f"right {number}")
                ]
            )
            self.assertEqual(sorted(answer.status for answer in answers), [200, 412])
            [winner] = [answer for answer in answers if answer.status == 200]
            now = json.loads(self.call("GET", "/TAG").text)
            self.assertEqual(now["name"], json.loads(winner.text)["name"])

    def test_two_posts_of_one_new_identifier_create_one_record(self):
        for upsert, statuses in ((True, [200, 201]), (False, [201, 409])):
            self.configure(upsert=upsert)
            for number in range(3):
                code = f"NEW-{upsert}-{number}"
                row = {"code": code, "name": "New"}
                answers = at_once([lambda row=row: self.call("POST", body=row)] * 2)
                with self.subTest(code=code):
                    self.assertEqual(sorted(a.status for a in answers), statuses)
                    self.assertEqual(self.count(code), 1)

    def test_two_puts_that_create_one_record_create_one_record(self):
        answers = at_once([lambda: self.call("PUT", "/PUT-NEW", {"name": "New"})] * 2)
        self.assertEqual(sorted(answer.status for answer in answers), [200, 201])
        self.assertEqual(self.count("PUT-NEW"), 1)

    def test_a_token_that_one_process_revokes_is_refused_by_all_at_once(self):
        with Server(self.server.database) as other:
            self.assertEqual(self.call("GET", server=other).status, 200)
            token_ids = self.server.rpc(
                "bj.api.sync.token", "search", [("config_id", "=", self.config_id)]
            )
            self.server.rpc("bj.api.sync.token", "action_revoke", token_ids)
            self.assertEqual(self.call("GET", server=other).status, 401)
            self.assertEqual(self.call("GET").status, 401)
            self.configure(bearer_token=TOKEN)
            self.assertEqual(self.call("GET", server=other).status, 200)

    def test_one_limit_is_shared_by_all_processes_and_delays_nobody(self):
        self.configure(rate_limit_per_hour=5)
        seen = len(self.server.log)
        answers = at_once([lambda: self.call("GET", "?limit=1")] * 12)
        self.assertEqual(
            sorted(answer.status for answer in answers), [200] * 5 + [429] * 7
        )
        left = [a.headers["X-RateLimit-Remaining"] for a in answers if a.status == 200]
        self.assertEqual(sorted(left), list("01234"))
        # what fails and what is only tried counts, too, which a rollback cannot undo
        self.server.query("DELETE FROM bj_api_sync_counter")
        self.call("POST", "?dry_run=1", {"code": "DRY", "name": "x"})
        self.call("POST", body={"code": {}})
        left = self.call("GET", "?limit=1").headers["X-RateLimit-Remaining"]
        self.assertEqual(left, "2")
        self.assertNotIn("could not serialize", self.server.log[seen:])

    def test_guesses_are_counted_by_all_processes(self):
        self.server.query("DELETE FROM bj_api_sync_counter")
        self.addCleanup(self.server.query, "DELETE FROM bj_api_sync_counter")
        statuses = [
            answer.status
            for answer in at_once([lambda: self.call("GET", token="guess")] * 10)
        ]
        self.assertEqual(statuses, [401] * 10)
        statuses = [self.call("GET", token="guess").status for _number in range(12)]
        self.assertEqual(statuses, [401] * 10 + [429] * 2)
        self.assertEqual(self.call("GET").status, 429)

    def test_a_stranger_cannot_fill_the_log(self):
        self.server.query("DELETE FROM bj_api_sync_counter")
        self.addCleanup(self.server.query, "DELETE FROM bj_api_sync_counter")
        path = f"{ROUTE}/nowhere-%s"
        for number in range(103):
            self.assertEqual(self.server.http("GET", path % number).status, 404)
        found = self.server.query(
            "SELECT count(*), max(response_code) FROM bj_api_log WHERE url LIKE %s",
            [path % "%"],
        )
        self.assertEqual(found, [(100, 404)])
        [(text,)] = self.server.query(
            "SELECT details FROM bj_api_log WHERE url LIKE %s ORDER BY id DESC LIMIT 1",
            [path % "%"],
        )
        self.assertIn("more calls of it", text)
        for _number in range(103):
            self.assertEqual(
                self.server.http("OPTIONS", f"{ROUTE}/{ENDPOINT}").status, 204
            )
        found = self.server.query(
            "SELECT count(*) FROM bj_api_log WHERE method = 'OPTIONS'"
        )
        self.assertEqual(found, [(100,)])
        # Those who prove who they are have rows as ever.
        answer = self.call("GET", "/not-here")
        self.assertEqual(self.log_rows(answer), [("error", 404)])

    def test_a_write_and_its_row_are_kept_together_or_not_at_all(self):
        self.call("POST", body={"code": "LAST-1", "name": "x"})
        self.call("POST", body={"code": "LAST-2", "name": "x"})
        self.server.query(
            "ALTER TABLE res_partner ADD CONSTRAINT bj_system_street"
            " UNIQUE (street, ref) DEFERRABLE INITIALLY DEFERRED"
        )
        drop = "ALTER TABLE res_partner DROP CONSTRAINT IF EXISTS bj_system_street"
        self.addCleanup(self.server.query, drop)
        self.server.query(
            "INSERT INTO res_partner (name, ref, street, active, type)"
            " VALUES ('other', 'LAST-1', 'One', false, 'other')"
        )
        self.addCleanup(self.server.query, "DELETE FROM res_partner WHERE name='other'")
        answer = self.call("PUT", "/LAST-2", {"street": "Two"})
        self.assertEqual(self.log_rows(answer), [("success", 200)])
        # Only the commit finds this one, when the row of the success is written.
        self.server.query("UPDATE res_partner SET ref = 'LAST-2' WHERE name = 'other'")
        self.configure(record_id_match="id")
        self.addCleanup(self.configure, record_id_match="any")
        [(record_id,)] = self.server.query(
            "SELECT id FROM res_partner WHERE ref = 'LAST-2' AND name = 'x'"
        )
        answer = self.call("PUT", f"/{record_id}", {"street": "One"})
        self.assertEqual(answer.status, 409, answer.text)
        self.assertEqual(self.log_rows(answer), [("error", 409)])
        [(street,)] = self.server.query(
            "SELECT street FROM res_partner WHERE id = %s", [record_id]
        )
        self.assertEqual(street, "Two")

    def test_a_reads_row_is_there_once_the_answer_is(self):
        for path, status in (("?limit=1", 200), ("/NONE", 404)):
            answer = self.call("GET", path)
            self.assertEqual(answer.status, status)
            kind = "success" if status == 200 else "error"
            self.assertEqual(self.log_rows(answer), [(kind, status)])

    def test_large_and_slow_bodies_get_an_answer_from_a_worker_process(self):
        body = b'{"name": "' + b"x" * (11 * MIB) + b'"}'
        self.assertEqual(self.send(body, {"Content-Length": len(body)}), 413)
        chunks = [body[at : at + 65536] for at in range(0, len(body), 65536)]
        framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
        self.assertEqual(self.send(framed, {"Transfer-Encoding": "chunked"}), 413)
        self.assertEqual(self.send(b"{", {"Content-Length": 100}), 408)

    def send(self, data, headers):
        """Return the status of a POST whose body is not waited for."""
        address = urlsplit(self.server.url)
        connection = http.client.HTTPConnection(
            address.hostname, address.port, timeout=30
        )
        connection.putrequest("POST", f"{ROUTE}/{ENDPOINT}")
        connection.putheader("Authorization", f"Bearer {TOKEN}")
        for name, value in headers.items():
            connection.putheader(name, str(value))
        connection.endheaders()
        try:
            connection.sock.sendall(data)
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            pass  # the answer may be there before all is sent
        status = connection.getresponse().status
        connection.close()
        return status
