"""A receiver on loopback that misbehaves on demand, for everything that is sent.

    with Receiver() as receiver:
        receiver.on("/orders", answer(500), answer(500), answer(201))
        ... send to receiver.url("/orders") ...
        receiver.wait(3)[0].json()

Behaviours of a path are used one after the other; the last one stays. A path without
behaviours answers 200. Plain Python, so that it runs as a process of its own too, with
one JSON line per request in its log and its URL on standard output:

    python receiver.py --port 0 --log requests.jsonl \
        --on '{"/orders": [["answer", {"status": 500}], ["answer"]]}'
"""

import argparse
import contextlib
import datetime
import gzip
import io
import ipaddress
import itertools
import json
import logging
import os
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

_logger = logging.getLogger("bj.api.receiver")

CHUNK = b"x" * 64 * 1024


@dataclass(frozen=True)
class Received:
    """One request; header names in lower case, ``time`` in seconds since the epoch."""

    method: str
    path: str
    query: tuple = ()
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    time: float = 0.0
    connection: int = 0
    server_name: str | None = None  # SNI
    target: str = ""

    def json(self):
        return json.loads(self.body)


# Behaviours: each returns act(exchange), which tells whether the connection is kept ---


def answer(status=200, body=b'{"received": true}', headers=None, delay=0, close=False):
    """Answer properly; with ``close``, hang up afterwards without announcing it."""

    def act(exchange):
        exchange.receiver.sleep(delay)
        exchange.send_answer(status, body, headers or {})
        return not close

    return act


def retry_after(value, status=429):
    return answer(status, headers={"Retry-After": str(value)})


def redirect(location, status=302):
    return answer(
        status, b"moved", {"Location": location, "Content-Type": "text/plain"}
    )


def html(status=200):
    body = b"<!DOCTYPE html><title>Sign in</title><p>Please sign in"
    return answer(status, body, {"Content-Type": "text/html; charset=utf-8"})


def raw(data):
    """Send these bytes (or Latin-1 text) as the whole answer and close."""

    def act(exchange):
        exchange.send(data.encode("latin-1") if isinstance(data, str) else data)
        return False

    return act


def hang(seconds=3600):
    """Read the request and say nothing."""

    def act(exchange):
        exchange.receiver.sleep(seconds)
        return False

    return act


def trickle(part="body", interval=1.0, total=3600):
    """Send one byte per ``interval``, of the ``headers`` or the ``body``."""

    def act(exchange):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
        if part == "headers":
            exchange.send(head + b"X-Slow: ")
        else:
            exchange.send(head + b"Content-Length: %d\r\n\r\n" % total)
        for _byte in range(total):
            if not exchange.receiver.sleep(interval):
                break
            exchange.send(b"a")
        return False

    return act


def drop():
    """Read the request and close without a word."""
    return lambda exchange: False


def reset():
    """Read the request, then reset the connection (RST instead of FIN)."""

    def act(exchange):
        linger = struct.pack("ii", 1, 0)
        exchange.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return False

    return act


def close_half_way(promised=1000, sent=500):
    """Announce more body than is sent, then close."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % promised
    return raw(head + b"x" * sent)


def huge(size=1 << 30, chunked=False):
    """Stream ``size`` bytes without holding them."""

    def act(exchange):
        framing = b"Content-Length: %d" % size
        if chunked:
            framing = b"Transfer-Encoding: chunked"
        exchange.send(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n" % framing)
        for _chunk in range(size // len(CHUNK)):
            frame = b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK) if chunked else CHUNK
            exchange.send(frame)
        if chunked:
            exchange.send(b"0\r\n\r\n")
        return True

    return act


def gzip_bomb(size=1 << 28):
    """Answer a small gzip body that unpacks to ``size`` zero bytes."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as file:
        for _chunk in range(size >> 16):
            file.write(bytes(1 << 16))
    return answer(body=packed.getvalue(), headers={"Content-Encoding": "gzip"})


def refuse_body(status=None):
    """Close before the body is read, after an answer if ``status`` is given."""

    def act(exchange):
        if status:
            exchange.send_answer(status, b"too large", {"Connection": "close"})
        return False

    act.before_body = True
    return act


BEHAVIOURS = {
    behaviour.__name__: behaviour
    for behaviour in (
        answer,
        retry_after,
        redirect,
        html,
        raw,
        hang,
        trickle,
        drop,
        reset,
        close_half_way,
        huge,
        gzip_bomb,
        refuse_body,
    )
}


def behaviour(name, arguments=None):
    """Return a behaviour by its name and a dict of arguments, as JSON can say it."""
    return BEHAVIOURS[name](**(arguments or {}))


class _Exchange:
    """One request on one connection, as behaviours see it."""

    def __init__(self, receiver, sock):
        self.receiver = receiver
        self.socket = sock
        self.method = ""
        self.request = None

    def send(self, data):
        self.socket.sendall(data)

    def send_answer(self, status, body, headers):
        if isinstance(body, str):
            body = body.encode()
        headers = {"Content-Type": "application/json", **headers}
        lines = [f"HTTP/1.1 {status} {_reason(status)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if status in (204, 304):
            body = b""
        else:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        self.send(head if self.method == "HEAD" else head + body)


class Receiver:
    """A threaded HTTP/1.1 server on 127.0.0.1; every request is recorded.

    :param int port: 0 takes a free one
    :param tuple tls: names in a certificate of its own making, none for plain HTTP;
        ``ca_file`` is then what a client has to trust
    :param int tls_days: how long the certificate is valid; negative for an expired one
    :param str log: path of a file that gets one JSON line per request
    :param bool is_plain_too: the port of TLS serves plain HTTP as well
    """

    def __init__(self, port=0, tls=(), tls_days=1, log=None, is_plain_too=False):
        self._port = port
        self._is_plain_too = is_plain_too
        self._tls = tuple(tls)
        self._tls_days = tls_days
        self._log_path = log
        self._log = None
        self._context = None
        self._behaviours = {}
        self._requests = []
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._connections = {}
        self._numbers = itertools.count(1)
        self.ca_file = None

    def __enter__(self):
        if self._log_path:
            self._log = open(self._log_path, "a", encoding="utf-8")
        if self._tls:
            self._context = self._make_tls_context()
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=256)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info):
        self._closing.set()
        # shutdown() wakes accept() up, which close() alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        if self._log:
            self._log.close()
        if self.ca_file:
            os.unlink(self.ca_file)

    def url(self, path="/", host="127.0.0.1"):
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{host}:{self.port}{path}"

    def on(self, path, *behaviours):
        """Set what a path does with its next requests; the last one stays."""
        with self._changed:
            self._behaviours[path] = list(behaviours)

    @property
    def requests(self):
        with self._changed:
            return list(self._requests)

    def clear(self):
        """Forget requests and behaviours."""
        with self._changed:
            self._requests.clear()
            self._behaviours.clear()

    def wait(self, count=1, timeout=10):
        """Return the requests once there are ``count``; ``TimeoutError`` otherwise."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: len(self._requests) >= count, timeout
            ):
                raise TimeoutError(f"{len(self._requests)} requests, expected {count}")
            return list(self._requests)

    def hang_up(self):
        """Close all connections, as a server does with idle ones; return how many."""
        with self._changed:
            connections = list(self._connections.values())
        for connection in connections:
            with contextlib.suppress(OSError):  # closed by the other side
                connection.shutdown(socket.SHUT_RDWR)
        return len(connections)

    def wait_closed(self, timeout=60):
        """Return once all connections are closed on this side."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._connections, timeout):
                raise TimeoutError(f"{len(self._connections)} connections are open")

    def sleep(self, seconds):
        """Wait; return False at once when the receiver is being closed."""
        return not self._closing.wait(seconds) if seconds else True

    def _accept(self):
        while not self._closing.is_set():
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(
                target=self._serve, args=(connection,), daemon=True
            ).start()

    def _serve(self, connection):
        number = next(self._numbers)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context and not (
                self._is_plain_too and connection.recv(1, socket.MSG_PEEK) != b"\x16"
            ):
                connection = self._context.wrap_socket(connection, server_side=True)
            elif connection.recv(1, socket.MSG_PEEK) == b"\x16":
                # A TLS greeting on a plain port: complain as web servers do.
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return
            with self._changed:
                self._connections[number] = connection
            with connection.makefile("rb") as file:
                while self._handle(connection, file, number):
                    pass
        except (OSError, ValueError) as error:  # gone, or does not speak HTTP
            _logger.debug("Connection %s ended: %s", number, error)
        finally:
            connection.close()
            with self._changed:
                self._connections.pop(number, None)
                self._changed.notify_all()

    def _handle(self, connection, file, number):
        """Serve one request; return whether the connection is kept."""
        line = file.readline()
        if not line:
            return False
        method, target, _version = line.decode("latin-1").split()
        headers = {}
        while (line := file.readline()) not in (b"\r\n", b""):
            name, _colon, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        parts = urlsplit(target)
        act = self._next_behaviour(parts.path)
        before_body = getattr(act, "before_body", False)
        request = Received(
            method,
            parts.path,
            tuple(parse_qsl(parts.query, keep_blank_values=True)),
            headers,
            b"" if before_body else _read_body(file, headers),
            time.time(),
            number,
            getattr(connection, "received_name", None),
            target,
        )
        self._record(request)
        exchange = _Exchange(self, connection)
        exchange.method, exchange.request = method, request
        return act(exchange) and headers.get("connection", "").lower() != "close"

    def _next_behaviour(self, path):
        with self._changed:
            behaviours = self._behaviours.get(path)
            if not behaviours:
                return answer()
            return behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]

    def _record(self, request):
        with self._changed:
            self._requests.append(request)
            if self._log:
                row = {
                    **asdict(request),
                    "body": request.body.decode("utf-8", "replace"),
                }
                self._log.write(json.dumps(row, ensure_ascii=False) + "\n")
                self._log.flush()
            self._changed.notify_all()

    def _make_tls_context(self):
        certificate, key = make_certificate(self._tls, self._tls_days)
        with tempfile.NamedTemporaryFile(suffix=".pem", delete=False) as file:
            file.write(certificate)
            self.ca_file = file.name
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(key + certificate)
            file.flush()
            context.load_cert_chain(file.name)
        context.sni_callback = _remember_name
        return context


def make_certificate(names, days=1):
    """Return a self-signed certificate for names and addresses, and its key, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    end = now + datetime.timedelta(days=days)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - datetime.timedelta(days=1))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), False
        )
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def _general_name(name):
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _remember_name(connection, name, _context):
    connection.received_name = name


def _reason(status):
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _read_body(file, headers):
    if headers.get("transfer-encoding", "").lower() == "chunked":
        chunks = []
        while size := int(file.readline(), 16):
            chunks.append(file.read(size))
            file.readline()
        file.readline()
        return b"".join(chunks)
    length = int(headers.get("content-length", 0))
    body = file.read(length) if length else b""
    if len(body) < length:
        raise ValueError("the body is incomplete")
    return body


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", help="file for one JSON line per request")
    parser.add_argument("--on", type=json.loads, default={}, help="behaviours, as JSON")
    parser.add_argument("--tls", nargs="*", default=(), help="names of a certificate")
    options = parser.parse_args()
    with Receiver(options.port, options.tls, log=options.log) as receiver:
        for path, steps in options.on.items():
            receiver.on(path, *(behaviour(*step) for step in steps))
        sys.stdout.write(receiver.url() + "\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            sys.exit(0)


if __name__ == "__main__":
    main()
