"""The only module that opens connections: one request out, one answer or reason back.

    send(OutboundRequest) -> OutboundResponse       never raises for the network

    send      headers and URL are checked, then requests' Session.send
    _Adapter  a kept-alive connection, else a new one; bytes out, answer up to its limit
    _connect  the name is resolved once, every address judged, one of them connected
    _Bounded  the socket: each single read or write gets what is left of the time

``requests`` is the door, because ``Session.send`` is what Odoo's tests guard. Behind it
stands an adapter over ``http.client`` and not the one over urllib3, which has no total
time limit, no say in the address that is connected to, and no answer to the question
whether a failed request may have been processed.
"""

import concurrent.futures
import contextlib
import http.client
import ipaddress
import os
import re
import socket
import ssl
import struct
import threading
import time
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import quote, urlsplit

import requests

from .address import address_faces
from .message import OutboundResponse

try:
    import fcntl
    import termios
except ImportError:  # not on Windows
    fcntl = None

# Link-local and cloud metadata. Loopback and private networks stay open: that is where
# the ERP's neighbours are.
DEFAULT_BLOCKED = (
    "169.254.0.0/16",
    "fe80::/10",
    "fd00:ec2::254/128",  # AWS
    "fd20:ce::254/128",  # Google
    "100.100.100.200/32",  # Alibaba
    "192.0.0.192/32",  # Oracle
    "168.63.129.16/32",  # Azure
)

# Node, Apache and uvicorn close a connection after 5 s without a request. One that is
# closed while a request is on its way to it costs an attempt, a new one costs little.
IDLE_SECONDS = 4
IDLE_CONNECTIONS = 32  # per destination

_CHUNK = 64 * 1024
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_URL_SAFE = "!$%&'()*+,/:;=?@[]~-._"  # not quoted again: also the % of what is quoted


class Headers(dict):
    """Response headers: names in lower case, looked up in any."""

    def __getitem__(self, name):
        return super().__getitem__(name.lower())

    def __contains__(self, name):
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name, default=None):
        return super().get(name.lower(), default)


class _SendError(Exception):
    """What stood in the way; ``kind`` as in ``OutboundResponse``."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


class _NotProcessed(Exception):
    """A kept-alive connection was gone before the request was completely received."""


def send(request):
    """Send an ``OutboundRequest`` and return an ``OutboundResponse``.

    Nothing is followed, kept or added on the way: no redirect, cookie, proxy of the
    environment or ``.netrc``. Safe to call from many threads.
    """
    return _send(request, _Attempt(request))


def probe(request):
    """Try a destination step by step over a new connection, for a person to look at.

    Sends the headers of ``request`` with HEAD, or OPTIONS, or GET, whichever the other
    side knows, and no body.

    :return: a dict that JSON can hold. ``steps`` ends with the one that failed; ``ms``
        are milliseconds; ``tls`` may have a ``certificate``, accepted or not::

            {"ok": True, "method": "HEAD", "status": 200, "error_kind": "", "error": "",
             "ms": 31.5, "headers": {"server": "nginx"},
             "steps": [{"name": "dns", "ok": True, "ms": 1.2, "detail": "192.0.2.1"},
                       {"name": "connect", ...},
                       {"name": "tls", ..., "certificate": {
                           "subject": "CN=api.example.com", "issuer": "CN=...",
                           "names": ["api.example.com"], "expires": "2030-01-31"}},
                       {"name": "http", ...}]}
    """
    steps = None
    for method in ("HEAD", "OPTIONS", "GET"):
        request = replace(request, method=method, body=b"")
        attempt = _Attempt(request, fresh=steps is None)
        response = _send(request, attempt)
        steps = steps or attempt.steps
        if response.status not in (405, 501):
            break
    ok = response.status is not None and response.status < 400
    ms = round(response.duration * 1000, 1)
    detail = response.error or f"{method} answered {response.status}"
    if not steps or steps[-1]["ok"]:
        steps.append({"name": "http", "ok": ok, "ms": ms, "detail": detail})
    for step in steps:
        if step["name"] == "tls":
            der = step.pop("certificate", None) or _unverified_certificate(request)
            step["certificate"] = _describe_certificate(der) if der else {}
    return {
        "ok": ok,
        "method": method,
        "status": response.status,
        "error_kind": response.error_kind,
        "error": response.error,
        "ms": ms,
        "headers": dict(response.headers),
        "steps": steps,
    }


def reset():
    """Forget connections and trusted certificates, as for another set of either."""
    global _pool
    old, _pool = _pool, _Pool()
    old.close()
    _tls_context.cache_clear()


def _send(request, attempt):
    start = time.monotonic()
    try:
        prepared = _Prepared(request, attempt)
        response = _session.send(prepared, proxies={}, stream=True).outbound
    except _SendError as error:
        response = OutboundResponse(error_kind=error.kind, error=str(error))
    except requests.RequestException as error:  # the guard of Odoo's tests
        response = OutboundResponse(error_kind="blocked", error=str(error))
    return replace(response, url=request.url, duration=time.monotonic() - start)


# Checks before anything is opened -----------------------------------------------------


@dataclass(frozen=True)
class _Target:
    """A request URL in parts; it is parsed once, and only the parts are used."""

    scheme: str
    host: str  # ASCII, without brackets
    port: int
    path: str  # with the query, percent-encoded

    @property
    def authority(self):
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = {"http": 80, "https": 443}[self.scheme]
        return host if self.port == default else f"{host}:{self.port}"

    @property
    def origin(self):
        return self.scheme, self.host, self.port

    def __str__(self):
        return f"{self.host}:{self.port}"


def _parse_url(url):
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise _SendError(
            "invalid", "The URL contains a space, a backslash or a control character."
        )
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
        if not host.isascii():
            host = host.encode("idna").decode()
    except ValueError as error:  # UnicodeError is one too
        raise _SendError("invalid", f"The URL is not well formed: {error}.") from None
    if parts.scheme not in ("http", "https"):
        raise _SendError("invalid", "The URL must start with https:// or http://.")
    if "@" in parts.netloc:
        raise _SendError("invalid", "The URL must not contain a login or password.")
    if not re.fullmatch(r"[0-9A-Za-z._-]+|[0-9A-Fa-f:.]+", host):
        raise _SendError("invalid", f"The URL has no valid host: '{host}'.")
    path = quote(parts.path or "/", safe=_URL_SAFE)
    if parts.query:
        path += "?" + quote(parts.query, safe=_URL_SAFE)
    default = 443 if parts.scheme == "https" else 80
    return _Target(parts.scheme, host, port or default, path)


def _head(request, target):
    """Return request line and headers as bytes."""
    if not _TOKEN.fullmatch(request.method):
        raise _SendError("invalid", f"'{request.method}' is not an HTTP method.")
    lines = []
    names = set()
    for name, value in request.headers.items():
        _check_header(name, value)
        names.add(name.lower())
        lines.append(f"{name}: {value.strip()}")
    framing = names & {"content-length", "transfer-encoding"}
    if framing:
        raise _SendError(
            "invalid", f"The header {min(framing)} follows from the body: remove it."
        )
    if "host" not in names:
        lines.insert(0, f"Host: {target.authority}")
    if "accept-encoding" not in names:
        lines.append("Accept-Encoding: gzip, deflate")
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(request.body)}")
    lines = [f"{request.method} {target.path} HTTP/1.1", *lines, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _check_header(name, value):
    """Refuse what would not arrive as one header; the value may be a credential and so
    is not repeated."""
    if not _TOKEN.fullmatch(name):
        raise _SendError(
            "invalid",
            f"The header name {name!r} is not valid: use letters, digits and '-'.",
        )
    if not isinstance(value, str) or re.search(r"[\r\n\0]", value):
        raise _SendError(
            "invalid",
            f"The value of the header {name} is not text on a single line. "
            "Remove line breaks from it.",
        )
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise _SendError(
            "invalid",
            f"The value of the header {name} has characters outside Latin-1, which "
            "HTTP headers cannot carry. Percent-encode it or send it in the body.",
        ) from None


# Time and addresses -------------------------------------------------------------------


class _Attempt:
    """The clock of one attempt, a limit for each wait and one for all; and its steps.

    ``fresh`` asks for a new connection. ``steps`` are those of opening it, see
    :func:`probe`.
    """

    def __init__(self, request, fresh=False):
        self.connect = request.connect_timeout
        self.read = request.read_timeout
        self.total = request.total_timeout
        self.fresh = fresh
        self.steps = []
        self._end = time.monotonic() + request.total_timeout

    @property
    def is_over(self):
        return time.monotonic() >= self._end

    def left(self, limit):
        """Return the seconds that the next wait may take; raise once time is up."""
        left = min(limit, self._end - time.monotonic())
        if left <= 0:
            raise TimeoutError
        return left

    @contextlib.contextmanager
    def step(self, name):
        step = {"name": name, "ok": False, "ms": 0.0, "detail": ""}
        self.steps.append(step)
        start = time.monotonic()
        try:
            yield step
            step["ok"] = True
        except _SendError as error:
            step["detail"] = str(error)
            raise
        finally:
            step["ms"] = round((time.monotonic() - start) * 1000, 1)


class _Bounded:
    """Socket that never waits longer than the attempt in hand allows.

    A socket's own timeout starts again with every byte, so one byte a second would last
    for ever. Here each read and write asks for what is left. ``http.client`` reads
    through ``recv_into``, lines of the header included.
    """

    attempt = None  # none while a TLS handshake runs under its own timeout

    def _bound(self):
        if self.attempt is not None:
            self.settimeout(self.attempt.left(self.attempt.read))

    def recv_into(self, *args, **kwargs):
        self._bound()
        return super().recv_into(*args, **kwargs)

    def send(self, *args, **kwargs):
        self._bound()
        return super().send(*args, **kwargs)

    def sendall(self, *args, **kwargs):
        self._bound()
        return super().sendall(*args, **kwargs)


class _Socket(_Bounded, socket.socket):
    pass


class _TLSSocket(_Bounded, ssl.SSLSocket):
    pass


@lru_cache(maxsize=2)
def _tls_context(verify):
    """Return the context for HTTPS: what the system trusts and what requests brings."""
    context = ssl.create_default_context()
    context.load_verify_locations(requests.certs.where())
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.sslsocket_class = _TLSSocket
    return context


@lru_cache(maxsize=64)
def _networks(cidrs):
    try:
        return tuple(ipaddress.ip_network(cidr, strict=False) for cidr in cidrs)
    except ValueError as error:
        # Fail closed: a typo must not open what was meant to be blocked.
        raise _SendError(
            "blocked",
            f"bj_api_sync.blocked_networks is not a list of networks: {error}.",
        ) from None


def is_blocked(address, cidrs):
    """Tell whether an IP address is in one of the networks, as itself or in disguise."""
    networks = _networks(tuple(cidrs))
    return any(face in net for face in address_faces(address) for net in networks)


def _resolve(target, attempt):
    """Return ``[(family, address)]`` of the host, resolved within the connect limit.

    The C library's resolver has its own, much longer, patience and cannot be told of
    ours, so it runs in a thread that is left behind when time is up.
    """
    future = concurrent.futures.Future()

    def look_up():
        try:
            future.set_result(
                socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            )
        except (OSError, UnicodeError) as error:
            future.set_exception(error)

    threading.Thread(target=look_up, name="bj.api.dns", daemon=True).start()
    try:
        found = future.result(attempt.left(attempt.connect))
    except (concurrent.futures.TimeoutError, TimeoutError):
        reason = "no name server answered in time"
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a valid name"
    else:
        return [(family, address) for family, _type, _proto, _name, address in found]
    raise _SendError(
        "dns",
        f"The name {target.host} could not be resolved: {reason}. Check the host in "
        "the Request URL and the name servers of this machine.",
    )


def _judge(target, addresses, cidrs):
    for _family, address in addresses:
        if is_blocked(address[0], cidrs):
            raise _SendError(
                "blocked",
                f"{target.host} leads to {address[0]}, which is in a blocked network. "
                "If requests may go there, change the system parameter "
                "bj_api_sync.blocked_networks.",
            )


def _open_socket(target, addresses, attempt):
    """Return a socket connected to the first address that accepts."""
    reason = None
    for family, address in addresses:
        try:
            sock = _Socket(family, socket.SOCK_STREAM)
        except OSError as error:  # e.g. no IPv6 on this machine
            reason = error
            continue
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(attempt.left(attempt.connect))
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            reason = error
    if isinstance(reason, TimeoutError):
        raise _SendError(
            "timeout",
            f"{target} did not accept a connection within {attempt.connect:g} s. Check "
            "that the host is up and that no firewall is in between.",
        )
    raise _SendError(
        "connect",
        f"{target} could not be connected to: {reason.strerror}. Check host and port, "
        "and that the service runs.",
    )


def _start_tls(sock, target, attempt, verify):
    """Return the socket with TLS on it; the name asked for is the URL's."""
    try:
        sock.settimeout(attempt.left(attempt.connect))
        return _tls_context(verify).wrap_socket(sock, server_hostname=target.host)
    except TimeoutError:
        raise _SendError(
            "timeout",
            f"{target} did not finish the TLS handshake within {attempt.connect:g} s.",
        ) from None
    except ssl.SSLCertVerificationError as error:
        raise _SendError(
            "tls",
            f"The certificate of {target} is not accepted: "
            f"{error.verify_message.rstrip('.')}. Mend it there, or add its authority "
            "to the certificates that this machine trusts.",
        ) from None
    except (ssl.SSLEOFError, ConnectionError):
        raise _SendError(
            "reset", f"{target} closed the connection during the TLS handshake."
        ) from None
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise _SendError(
            "tls",
            f"No TLS with {target}: {reason}. Check the port, and whether the URL "
            "should start with http://.",
        ) from None
    finally:
        # Closes the plain socket after a failure; wrapped, it is detached already.
        sock.close()


def _connect(request, attempt, target):
    with attempt.step("dns") as step:
        addresses = _resolve(target, attempt)
        step["detail"] = ", ".join(address[0] for _family, address in addresses)
        _judge(target, addresses, request.blocked_networks)
    with attempt.step("connect") as step:
        sock = _open_socket(target, addresses, attempt)
        step["detail"] = sock.getpeername()[0]
    if target.scheme == "https":
        with attempt.step("tls") as step:
            sock = _start_tls(sock, target, attempt, request.verify_tls)
            step["detail"] = sock.version()
            step["certificate"] = sock.getpeercert(binary_form=True)
    return sock


# Connections that are kept ------------------------------------------------------------


class _Pool:
    """Open connections that nobody uses, by destination and by what was checked.

    ``verify_tls`` and ``blocked_networks`` are part of the key, so that a connection is
    only used again where its opening would have passed the same checks.
    """

    def __init__(self):
        self._idle = {}  # key: [(socket, moment it became idle)], the latest last
        self._lock = threading.Lock()

    def take(self, key):
        """Return a connection that is still open, or ``None``."""
        while True:
            with self._lock:
                kept = self._idle.get(key)
                if not kept:
                    return None
                sock, since = kept.pop()
            if time.monotonic() - since < IDLE_SECONDS and _is_quiet(sock):
                return sock
            sock.close()

    def give(self, key, sock):
        now = time.monotonic()
        late = []
        with self._lock:
            self._idle.setdefault(key, []).append((sock, now))
            for other, kept in list(self._idle.items()):
                while kept and (
                    now - kept[0][1] >= IDLE_SECONDS or len(kept) > IDLE_CONNECTIONS
                ):
                    late.append(kept.pop(0)[0])
                if not kept:
                    del self._idle[other]
        for sock in late:
            sock.close()

    def close(self):
        with self._lock:
            idle, self._idle = self._idle, {}
        for kept in idle.values():
            for sock, _since in kept:
                sock.close()


_pool = _Pool()


def _forget_connections():
    """Leave the parent's connections to the parent; closes only this process's side."""
    global _pool
    old, _pool = _pool, _Pool()
    # Its lock may be held by a thread that the fork did not copy.
    old._lock = threading.Lock()
    old.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_connections)


def _is_quiet(sock):
    """Tell whether an idle connection is open: nothing to read, not even its end."""
    try:
        sock.settimeout(0)
        socket.socket.recv(sock, 1, socket.MSG_PEEK)  # beneath TLS
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _was_not_received(sock):
    """Tell whether the other side had closed before all of the request was there.

    To be asked after the end of the stream was read. The segment that closes a stream
    acknowledges all that had been received by then, and the kernel counts what has not
    been acknowledged. A number above 0 thus proves that the request was not complete
    when the other side closed, so it cannot have been processed. 0 proves nothing.
    """
    if fcntl is None:
        return False
    count = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    return struct.unpack("i", count)[0] > 0


# One exchange -------------------------------------------------------------------------


class _Prepared(requests.PreparedRequest):
    """A request for ``Session.send`` that needs no preparing: its bytes are final."""

    def __init__(self, outbound, attempt):
        super().__init__()
        self.outbound = outbound
        self.attempt = attempt
        self.target = _parse_url(outbound.url)
        self.head = _head(outbound, self.target)
        networks = tuple(outbound.blocked_networks)
        self.key = (self.target.origin, outbound.verify_tls, networks)
        self.method = outbound.method
        self.url = outbound.url
        self.hooks = requests.hooks.default_hooks()


class _Answer(requests.Response):
    """An answer for ``Session.send``: without headers and stream there is no redirect
    that it could follow, with our credentials to wherever, and no cookie to keep."""

    def __init__(self, outbound):
        super().__init__()
        self.outbound = outbound
        self.status_code = outbound.status


class _Adapter(requests.adapters.BaseAdapter):
    """Carries a request over a pooled connection, within its own limits.

    The limits come with the request and not as ``timeout``: Odoo's tests compare that
    argument with a number, which fails for a pair, and raise it to ten seconds.
    """

    def send(self, request, **_kwargs):
        return _Answer(_exchange(request))

    def close(self):
        _pool.close()


_session = requests.Session()
_session.trust_env = False
_session.mount("http://", _Adapter())
_session.mount("https://", _session.get_adapter("http://"))


def _exchange(prepared):
    kept = None if prepared.attempt.fresh else _pool.take(prepared.key)
    if kept is not None:
        # Once, and not in a loop: the second connection is new, and what happens on a
        # new one is news about the destination.
        with contextlib.suppress(_NotProcessed):
            return _talk(kept, prepared, reused=True)
    sock = _connect(prepared.outbound, prepared.attempt, prepared.target)
    return _talk(sock, prepared, reused=False)


def _talk(sock, prepared, reused):
    """Send the request over an open connection and return the answer.

    :raise _NotProcessed: only with ``reused``, and only when that is certain
    """
    target, attempt = prepared.target, prepared.attempt
    sock.attempt = attempt
    keep = False
    try:
        answer = _request_answer(sock, prepared, reused)
        with contextlib.closing(answer):
            limit = prepared.outbound.max_response_bytes
            body, truncated = _read_body(answer, limit)
            keep = not truncated and not answer.will_close
    except TimeoutError:
        if attempt.is_over:
            reason = f"was not complete within {attempt.total:g} s"
        else:
            reason = f"did not come within {attempt.read:g} s"
        raise _SendError(
            "timeout",
            f"The answer of {target} {reason}. It may have processed the request.",
        ) from None
    except (OSError, http.client.HTTPException, zlib.error, ValueError) as error:
        # ValueError: what http.client lets through, as a chunk of negative size.
        raise _SendError("reset", _explain(target, error)) from None
    finally:
        if keep:
            _pool.give(prepared.key, sock)
        else:
            sock.close()
    return OutboundResponse(
        status=answer.status,
        headers=_headers(answer),
        body=body,
        truncated=truncated,
    )


class _HTTPResponse(http.client.HTTPResponse):
    def _read_status(self):
        # http.client waits for the final answer after 100 only, and RFC 9110, 15.2,
        # demands it after any other that is interim, as 103.
        version, status, reason = super()._read_status()
        is_interim = 100 <= status < 200 and status != http.client.SWITCHING_PROTOCOLS
        return version, http.client.CONTINUE if is_interim else status, reason


def _request_answer(sock, prepared, reused):
    """Write the request and return the ``HTTPResponse`` with its headers read."""
    write_error = None
    try:
        sock.sendall(prepared.head + prepared.outbound.body)
    except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        # The last bytes never left this machine, and a request without its end is not
        # processed. The other side may still have said why it closed, e.g. 413.
        write_error = error
    answer = _HTTPResponse(sock, method=prepared.method)
    try:
        answer.begin()
    except (OSError, http.client.HTTPException) as error:
        answer.close()
        if reused and not isinstance(error, TimeoutError):
            ended = isinstance(error, http.client.RemoteDisconnected)
            if write_error or (ended and _was_not_received(sock)):
                raise _NotProcessed from None
        raise (write_error or error) from None
    if write_error:
        answer.will_close = True
    return answer


def _explain(target, error):
    if isinstance(error, http.client.IncompleteRead | http.client.RemoteDisconnected):
        reason = "closed the connection before its answer was complete"
    elif isinstance(error, ssl.SSLError):
        reason = f"broke the TLS connection ({error.reason})"
    elif isinstance(error, OSError):
        reason = f"broke the connection ({error.strerror})"
    elif isinstance(error, zlib.error):
        reason = "sent an answer that cannot be unpacked"
    else:
        reason = f"sent an answer that is not HTTP ({type(error).__name__})"
    return f"{target} {reason}. It may have processed the request."


def _headers(answer):
    headers = Headers()
    for name, value in answer.getheaders():
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _read_body(answer, limit):
    """Return the unpacked body up to ``limit`` bytes, and whether there was more.

    :raise http.client.IncompleteRead: the connection ended before the body
    """
    unpack = _Unpacker(answer.getheader("Content-Encoding", ""))
    body = bytearray()
    while chunk := answer.read(_CHUNK):
        # One byte above the limit tells "more" from "just that much", and bounds the
        # memory that a small answer can claim by unpacking to a large one.
        body += unpack(chunk, limit + 1 - len(body))
        if len(body) > limit:
            return bytes(body[:limit]), True
    if answer.length or not unpack.is_complete:  # read() does not mind
        raise http.client.IncompleteRead(bytes(body), answer.length)
    return bytes(body), False


class _Unpacker:
    """Undoes gzip and deflate, up to what is asked for; leaves others alone."""

    def __init__(self, encoding):
        encoding = encoding.strip().lower()
        self._packed = encoding in ("gzip", "x-gzip", "deflate")
        # 32: gzip or zlib, whichever the first bytes say. Some send raw deflate.
        self._inflate = zlib.decompressobj(32 + zlib.MAX_WBITS)
        self._raw_allowed = encoding == "deflate"
        self._began = False

    def __call__(self, data, limit):
        """Return at most ``limit`` unpacked bytes; call with a limit above 0 only."""
        if not self._packed:
            return data[:limit]
        self._began = True
        try:
            unpacked = self._inflate.decompress(data, limit)
        except zlib.error:
            if not self._raw_allowed:
                raise
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            unpacked = self._inflate.decompress(data, limit)
        self._raw_allowed = False
        return unpacked

    @property
    def is_complete(self):
        return self._inflate.eof or not self._began


# Certificates, for people -------------------------------------------------------------


def _unverified_certificate(request):
    """Return the certificate that was not accepted, read without sending anything."""
    request = replace(request, verify_tls=False)
    attempt = _Attempt(request)
    with contextlib.suppress(_SendError):
        _connect(request, attempt, _parse_url(request.url)).close()
    return attempt.steps[-1].get("certificate")


def _describe_certificate(der):
    from cryptography import x509

    try:
        certificate = x509.load_der_x509_certificate(der)
    except ValueError:
        return {}
    try:
        extension = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        names = [str(name.value) for name in extension.value]
    except x509.ExtensionNotFound:
        names = []
    end = getattr(certificate, "not_valid_after_utc", None)
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "names": names,
        "expires": (end or certificate.not_valid_after).date().isoformat(),
    }
