"""A client that costs next to nothing: bytes out, bytes in, a new connection a call.

Odoo's prefork workers end the connection after each answer whatever a client asks for,
so that all peers are measured alike.
"""

import json
import socket
import statistics
import threading
import time
from dataclasses import dataclass


class BadAnswer(Exception):
    pass


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict
    body: bytes = b""

    def encode(self, port):
        headers = {"Host": f"127.0.0.1:{port}", "Connection": "close", **self.headers}
        if self.body or self.method in ("POST", "PUT"):
            headers["Content-Length"] = str(len(self.body))
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{self.method} {self.path} HTTP/1.1\r\n{head}\r\n".encode() + self.body


def json_request(method, path, value=None, headers=()):
    body = b"" if value is None else json.dumps(value).encode()
    content = {"Content-Type": "application/json"} if body else {}
    return Request(method, path, {**content, **dict(headers)}, body)


def exchange(port, data):
    """Send encoded bytes; return ``(seconds, status, body)``."""
    start = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        connection.sendall(data)
        chunks = []
        while chunk := connection.recv(262144):
            chunks.append(chunk)
    seconds = time.perf_counter() - start
    head, _separator, body = b"".join(chunks).partition(b"\r\n\r\n")
    return seconds, int(head[9:12] or 0), body


def call(port, request):
    """Send one request outside of any measurement; return the parsed answer."""
    _seconds, status, body = exchange(port, request.encode(port))
    if status not in (200, 201):
        raise BadAnswer(f"{request.method} {request.path}: {status} {body[:500]}")
    return json.loads(body)


def run_one_by_one(port, requests, check):
    """Return the seconds of each request, sent by one client."""
    times = []
    for request in requests:
        seconds, status, body = exchange(port, request.encode(port))
        check(request, status, body)
        times.append(seconds)
    return times


def run_together(port, requests, check, clients, limit):
    """Send requests from several clients at once, for at most ``limit`` seconds.

    Answers are checked afterwards: the clients share the cores with what is measured.

    :return: ``(requests, seconds)``, of those that were answered
    """
    encoded = [(request, request.encode(port)) for request in requests]
    waiting = iter(encoded)
    guard = threading.Lock()
    done, answers, failures = [], [], []
    start = time.perf_counter()

    def work():
        try:
            while time.perf_counter() - start < limit:
                with guard:
                    item = next(waiting, None)
                if item is None:
                    return
                _seconds, status, body = exchange(port, item[1])
                done.append(time.perf_counter())
                answers.append((item[0], status, body))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        check(*answer)
    if failures:
        raise failures[0]
    return len(done), max(done) - start


def median(values):
    return statistics.median(values) if values else None


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
