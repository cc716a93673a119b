"""Bytes as no client would send them: framing, headers, pipelines, slow bodies."""

from .attempts import ROUTE, Wire, comes, table

HEAD = "Host: 127.0.0.1\r\nAuthorization: Bearer <narrow_token>\r\n"
ROW = '{"code": "A9", "name": "SMUGGLED"}'
INNER = f"DELETE {ROUTE}/narrow/A1 HTTP/1.1\r\n{HEAD}Content-Length: 0\r\n\r\n"


def request(line, headers="", body=""):
    return Wire((f"{line}\r\n{HEAD}{headers}\r\n{body}".encode("latin-1"),))


def post(headers, body=ROW):
    return request(f"POST {ROUTE}/narrow?dry_run=1 HTTP/1.1", headers, body)


def get(line=f"GET {ROUTE}/narrow/A1 HTTP/1.1", headers=""):
    return request(line, headers)


# Whatever comes: one answer, nothing written, no trace of the server's inside.
LACKS = ("Traceback", "site-packages")
ANY = comes(
    0, 100, 200, 201, 400, 401, 404, 405, 408, 411, 413, 414, 415, 431, 501, lacks=LACKS
)
BAD = comes(0, 400, 408, 411, 413, 501, lacks=LACKS)
FRAMING = [
    (name, post(headers, body), outcome)
    for name, headers, body, outcome in (
        (
            "chunked and a length",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            "0\r\n\r\n" + INNER,
            BAD,
        ),
        (
            "a length and chunked",
            f"Content-Length: {len(INNER)}\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n" + INNER,
            BAD,
        ),
        (
            "two lengths",
            f"Content-Length: 2\r\nContent-Length: {len(ROW)}\r\n",
            ROW,
            ANY,
        ),
        ("a length list", f"Content-Length: 2, {len(ROW)}\r\n", ROW, ANY),
        ("a length below zero", "Content-Length: -1\r\n", ROW, ANY),
        ("a length with a sign", f"Content-Length: +{len(ROW)}\r\n", ROW, ANY),
        ("a length in hexadecimal", "Content-Length: 0x22\r\n", ROW, ANY),
        ("a length of letters", "Content-Length: many\r\n", ROW, ANY),
        ("a length in full width digits", "Content-Length: \xb2\r\n", ROW, ANY),
        ("a length of 2^64", "Content-Length: 18446744073709551616\r\n", ROW, BAD),
        ("a length too short", "Content-Length: 5\r\n", ROW + INNER, BAD),
        ("no length", "", ROW + INNER, ANY),
        ("odd chunked", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n" + INNER, ANY),
        ("chunked twice", "Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n", ANY),
        (
            "chunked with a blank",
            "Transfer-Encoding : chunked\r\n",
            "0\r\n\r\n" + INNER,
            ANY,
        ),
        (
            "chunked by a tab",
            "Transfer-Encoding:\tchunked\r\n",
            "0\r\n\r\n" + INNER,
            ANY,
        ),
        ("a chunk of letters", "Transfer-Encoding: chunked\r\n", "zz\r\nab\r\n", BAD),
        ("a chunk below zero", "Transfer-Encoding: chunked\r\n", "-1\r\nab\r\n", BAD),
        (
            "a chunk of 2^64",
            "Transfer-Encoding: chunked\r\n",
            "ffffffffffffffff\r\nab\r\n",
            BAD,
        ),
        (
            "a chunk with an extension",
            "Transfer-Encoding: chunked\r\n",
            f"{len(ROW):x};a={'b' * 70000}\r\n{ROW}\r\n0\r\n\r\n",
            ANY,
        ),
        (
            "trailers",
            "Transfer-Encoding: chunked\r\n",
            f"{len(ROW):x}\r\n{ROW}\r\n0\r\nAuthorization: Bearer x\r\n\r\n",
            ANY,
        ),
        ("expect continue", "Expect: 100-continue\r\nContent-Length: 2\r\n", "{}", ANY),
    )
]
PIPELINED = [
    (
        f"pipelined {name}",
        request(line, headers, body + INNER),
        comes(0, 200, 201, 204, 400, 401, 404, 405, 408, 413, lacks=LACKS),
    )
    for name, line, headers, body in (
        ("after a head", f"HEAD {ROUTE}/narrow/A1 HTTP/1.1", "", ""),
        ("after a preflight", f"OPTIONS {ROUTE}/narrow HTTP/1.1", "", ""),
        (
            "after a body of a get",
            f"GET {ROUTE}/narrow/A1 HTTP/1.1",
            "Content-Length: 10\r\n",
            "",
        ),
    )
]
LINES = [
    (name, get(line), ANY)
    for name, line in (
        ("http 0.9", f"GET {ROUTE}/narrow/A1"),
        ("http 2", "PRI * HTTP/2.0"),
        ("http 9", f"GET {ROUTE}/narrow/A1 HTTP/9.9"),
        ("an absolute address", f"GET http://evil.example{ROUTE}/narrow/A1 HTTP/1.1"),
        ("an absolute address of a file", "GET file:///etc/passwd HTTP/1.1"),
        ("a proxy's connect", "CONNECT 127.0.0.1:5432 HTTP/1.1"),
        ("a star", "OPTIONS * HTTP/1.1"),
        ("no path", "GET  HTTP/1.1"),
        ("a blank in the path", f"GET {ROUTE}/narrow /A1 HTTP/1.1"),
        ("a tab in the path", f"GET\t{ROUTE}/narrow/A1\tHTTP/1.1"),
        ("bytes in the path", f"GET {ROUTE}/narrow/\xff\xfe HTTP/1.1"),
        ("a nul in the path", f"GET {ROUTE}/narrow/\0 HTTP/1.1"),
        ("bytes in the query", f"GET {ROUTE}/narrow?\xff=\xfe HTTP/1.1"),
        ("a long path", f"GET {ROUTE}/{'n' * 70000} HTTP/1.1"),
        ("a long query", f"GET {ROUTE}/narrow?name={'n' * 70000} HTTP/1.1"),
        ("a fragment", f"GET {ROUTE}/narrow/A1#x HTTP/1.1"),
        ("a long method", f"{'G' * 5000} {ROUTE}/narrow HTTP/1.1"),
        ("backslashes", "GET \\bj_api_sync\\v1\\narrow HTTP/1.1"),
        ("two slashes", f"GET /{ROUTE}/narrow/A1 HTTP/1.1"),
    )
]
HEADERS = [
    (f"header {name}", get(headers=headers), ANY)
    for name, headers in (
        ("of 70000 bytes", f"X-Long: {'v' * 70000}\r\n"),
        ("folded", "X-A: 1\r\n X-B: 2\r\n"),
        ("with a nul", "X-A: a\0b\r\n"),
        ("with a bare line feed", "X-A: a\nX-B: b\r\n"),
        ("with a bare carriage return", "X-A: a\rX-B: b\r\n"),
        ("without a colon", "X-A\r\n"),
        ("without a name", ": v\r\n"),
        ("with a blank before the colon", "X-A : v\r\n"),
        ("two hosts", "Host: evil.example\r\n"),
        ("of bytes", "X-A: \xff\xfe\xfd\r\n"),
        ("request id with a line feed", "X-Request-ID: a\nSet-Cookie: x=1\r\n"),
        ("authorization folded", "Authorization:\r\n Bearer x\r\n"),
        (
            "upgrade to http 2",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
        ),
        ("keep alive", "Connection: keep-alive\r\nKeep-Alive: timeout=99999\r\n"),
        ("proxy", "Proxy: http://127.0.0.1:9/\r\n"),
        ("hop by hop authorization", "Connection: Authorization\r\n"),
    )
]
SPLIT = [
    (
        f"split answer {name}",
        get(f"GET {ROUTE}/narrow/{path} HTTP/1.1"),
        comes(0, 400, 404, lacks="\r\nX-Injected: 1"),
    )
    for name, path in (
        ("by the key", "A%0d%0aX-Injected:%201"),
        ("by a line feed", "A%0aX-Injected:%201"),
        ("by unicode", "A%E5%98%8A%E5%98%8DX-Injected:%201"),
    )
]
SLOW = [
    (
        "w13 slow body of a right token",
        Wire(
            (
                f"POST {ROUTE}/narrow?dry_run=1 HTTP/1.1\r\n{HEAD}"
                "Content-Length: 400\r\n\r\n{".encode(),
                *(b" " for _byte in range(60)),
            ),
            pause=1.0,
        ),
        comes(408, changes=True),
    ),
    (
        "w13 slow body of a wrong token",
        Wire(
            (
                f"POST {ROUTE}/narrow HTTP/1.1\r\nHost: a\r\n"
                "Content-Length: 400\r\n\r\n{".encode(),
                *(b" " for _byte in range(20)),
            ),
            pause=0.5,
        ),
        comes(401, changes=True),
    ),
]

ATTEMPTS = [
    *table(
        "wire", "stranger with a socket", FRAMING + PIPELINED + LINES + HEADERS + SPLIT
    ),
    *table("slow", "stranger with a socket", SLOW),
]
