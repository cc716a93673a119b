"""Ways in: credentials, paths, methods, headers, sessions, and what strangers learn."""

from base64 import b64encode
from itertools import product

from .attempts import ServerLog, call, comes, rpc, table

REFUSED = comes(401, code="UNAUTHORIZED", has="WWW-Authenticate", lacks="Set-Cookie")
UNKNOWN = comes(404, lacks=("Set-Cookie", "Traceback"))


def basic(login, password):
    return "Basic " + b64encode(f"{login}:{password}".encode()).decode()


# Each of these with each guarded endpoint: none of them is a right credential there.
CREDENTIALS = {
    "none": (),
    "empty": (("Authorization", ""),),
    "empty bearer": (("Authorization", "Bearer "),),
    "bearer null": (("Authorization", "Bearer null"),),
    "token of another endpoint": (("Authorization", "Bearer <bravo_token>"),),
    "token of an archived endpoint": (("Authorization", "Bearer <gone_token>"),),
    "expired": (("Authorization", "Bearer <old_token>"),),
    "revoked": (("Authorization", "Bearer <revoked_token>"),),
    "cut": (("Authorization", "Bearer s"),),
    "percent": (("Authorization", "Bearer %"),),
    "sql": (("Authorization", "Bearer ' OR '1'='1"),),
    "wrong scheme": (("Authorization", "Token <narrow_token>x"),),
    "digest": (("Authorization", 'Digest username="shop"'),),
    "basic without password": (("Authorization", basic("shop", "")),),
    "basic of nobody": (("Authorization", basic("", "")),),
    "basic of odoo's admin": (("Authorization", basic("admin", "admin")),),
    "basic that is no base64": (("Authorization", "Basic !!!"),),
    "basic with two colons": (("Authorization", basic("shop", ":")),),
    "basic with nul": (("Authorization", basic("shop\0", "\0")),),
    "empty key": (("X-Guard-Key", ""),),
    "wrong key": (("X-Guard-Key", "guess"),),
    "empty plain key": (("X-Plain-Key", ""),),
    "blank plain key": (("X-Plain-Key", "   "),),
    "false plain key": (("X-Plain-Key", "False"),),
    "mask as key": (("X-Guard-Key", "********"), ("X-Plain-Key", "********")),
    "underscore key": (("X_Guard_Key", "guess"), ("X_Plain_Key", "guess")),
    "proxied user": (("X-Remote-User", "admin"), ("Remote-User", "admin")),
    "odoo's own header": (("X-Openerp", "1"),),
}
GUARDED = ("narrow", "basic", "guarded", "plainkey")
CROSSED = [
    (f"{endpoint} {name}", call("GET", f"/{endpoint}?limit=1", headers=given), REFUSED)
    for endpoint, (name, given) in product(GUARDED, CREDENTIALS.items())
]
WRITTEN = [
    (
        f"write {endpoint} {method}",
        call(method, f"/{endpoint}{key}", {"code": "A1", "name": "BROKEN IN"}),
        REFUSED,
    )
    for endpoint, (method, key) in product(
        GUARDED, (("POST", ""), ("PUT", "/A1"), ("DELETE", "/A1"), ("PUT", ""))
    )
]
QUERIES = [
    (f"in the query {key}", call("GET", f"/narrow?{key}=<narrow_token>"), REFUSED)
    for key in ("token", "access_token", "api_key")
]
STRANGER = (
    *CROSSED,
    *WRITTEN,
    *QUERIES,
    (
        "two authorizations of which one is right",
        call(
            "GET",
            "/narrow",
            headers=[
                ("Authorization", "Bearer wrong"),
                ("Authorization", "Bearer <narrow_token>"),
            ],
        ),
        REFUSED,
    ),
    (
        "two keys of which one is right",
        call(
            "GET",
            "/guarded",
            headers=[("X-Guard-Key", "wrong"), ("X-Guard-Key", "<guard_key>")],
        ),
        REFUSED,
    ),
    (
        "the key in a header of a like name",
        call("GET", "/guarded", headers={"X_Guard_Key": "<guard_key>x"}),
        REFUSED,
    ),
    (
        "a token in a cookie",
        call("GET", "/narrow", headers={"Cookie": "token=<narrow_token>"}),
        REFUSED,
    ),
    (
        "the right token of an archived endpoint",
        call("GET", "/gone", token="gone"),
        UNKNOWN,
    ),
)

# Whoever is logged in elsewhere is a stranger here.
BROWSERS = [
    (
        f"session {user} {method}",
        call(method, f"/narrow{key}", body, session=user),
        REFUSED,
    )
    for user, (method, key, body) in product(
        ("admin", "mgr", "alice", "emp"),
        (("GET", "", None), ("POST", "", {"code": "A9"}), ("DELETE", "/A1", None)),
    )
] + [
    (
        f"form {kind}",
        call(
            "POST",
            "/narrow",
            b'{"code": "A9", "name": "forged"}',
            session="admin",
            headers={"Content-Type": kind, "Origin": "https://evil.example"},
        ),
        REFUSED,
    )
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    )
]

# Paths: each must be unknown, or refused as any other, and never a page or a file.
NO_WAY = comes(
    *(400, 401, 404, 405),
    lacks=("Set-Cookie", "root:", "Traceback", "site-packages", "<narrow_token>"),
)
PATHS = (
    [
        (f"path {path}", call("GET", path), NO_WAY)
        for path in (
            *("", "/", "//", "//narrow", "/narrow//", "/./narrow", "/%2e/narrow"),
            *("/../v1/narrow", "/..%2fnarrow", "/%2e%2e/%2e%2e/web", "/narrow%00"),
            *(
                "/narrow%0a",
                "/narrow%0d%0aX-A:%201",
                "/Narrow",
                "/NARROW",
                "/narrow.json",
            ),
            *("/narrow;x=1", "/narrow%20", "/%6earrow", "/n%61rrow/A1", "/narrow/.."),
            *(
                "/narrow/../bravo",
                "/narrow/%2e%2e/bravo",
                "/narrow%2fA1",
                "/narrow\\A1",
            ),
            *("/narrow%c0%ae", "/narrow/%ff", "/narrow/A1/x/y"),
            *("/openapi.json/x", "/postman.json/..", "/health/x"),
            *(
                "/docs/../../etc/passwd",
                "/docs/%2e%2e/SECURITY.md",
                "/docs/security.md",
            ),
            *("/bj.api.sync.config", "/%7B%7D", "/'", "/%25", "/" + "n" * 3000),
        )
    ]
    + [
        (
            f"not ours {path}",
            call("GET", f"!{path}"),
            # Odoo's own answers, pages among them: what counts is that no file comes.
            comes(
                400, 404, 500, lacks=("root:", "import ", "_name =", "<narrow_token>")
            ),
        )
        for path in (
            *("/bj_api_sync/v2/narrow", "/bj_api_sync", "/bj_api_sync/v1narrow"),
            *(
                "/bj_api_sync/static/../models/ir_http.py",
                "/bj_api_sync/static/%2e%2e/dev",
            ),
            *("/bj_api_sync/models/ir_http.py", "/bj_api_sync/__manifest__.py"),
        )
    ]
    + [
        (f"unicode path {name}", call("GET", f"/{path}"), NO_WAY)
        for name, path in {
            "fullwidth": "%EF%BD%8Earrow",
            "cyrillic": "n%D0%B0rrow",
            "overlong slash": "narrow%C0%AFA1",
            "zero width": "nar%E2%80%8Brow",
            "combining": "narrow%CC%81",
            "bom": "%EF%BB%BFnarrow",
            "surrogate": "narrow%ED%A0%80",
        }.items()
    ]
)
METHODS = [
    (
        f"method {method}",
        call(method, "/narrow/A1", token="narrow"),
        comes(405, code="METHOD_NOT_ALLOWED", has="Allow"),
    )
    for method in ("PATCH", "LINK", "PROPFIND", "SEARCH", "X")
] + [
    (
        f"method {method}",
        call(method, "/narrow/A1", token="narrow"),
        comes(400, 405, 501),
    )
    for method in ("TRACE", "CONNECT")
]
OVERRIDES = [
    (
        f"override {header} {method}",
        call("GET", "/reading/A1", token="narrow", headers={header: method}),
        comes(200),
    )
    for header, method in product(
        ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"),
        ("DELETE", "PUT"),
    )
] + [
    (
        "override in the query",
        call("GET", "/reading/A1?_method=DELETE", token="narrow"),
        comes(400, code="BAD_REQUEST"),
    ),
    (
        "off method post",
        call("POST", "/reading", {"code": "A9"}, token="narrow"),
        comes(405),
    ),
    (
        "off method put",
        call("PUT", "/reading/A1", {"name": "x"}, token="narrow"),
        comes(405),
    ),
    ("off method delete", call("DELETE", "/reading/A1", token="narrow"), comes(405)),
]

FORWARDED = [
    (
        f"forwarded {header}",
        call("GET", "/limited", token="limited", headers={header: value}),
        comes(403, code="FORBIDDEN"),
    )
    for header, value in (
        ("X-Forwarded-For", "127.0.0.77"),
        ("X_Forwarded_For", "127.0.0.77"),
        ("X-Real-IP", "127.0.0.77"),
        ("Forwarded", "for=127.0.0.77"),
        ("Client-IP", "127.0.0.77"),
        ("True-Client-IP", "127.0.0.77"),
        ("CF-Connecting-IP", "127.0.0.77"),
    )
] + [
    (
        "host decides no link",
        call(
            "GET",
            "/openapi.json?endpoint=narrow",
            token="narrow",
            headers={"Host": "evil.example"},
        ),
        comes(200, 404, lacks="evil.example"),
    ),
    (
        "forwarded host",
        call(
            "GET",
            "/narrow?limit=1",
            token="narrow",
            headers={"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher"},
        ),
        comes(200, lacks=("evil.example", "gopher")),
    ),
]

ODD_HEADERS = [
    (
        f"header {name}",
        call("GET", "/narrow/A1", token="narrow", headers=given),
        comes(*status, lacks=("Traceback", "Set-Cookie", "X-Injected")),
    )
    for name, given, status in (
        ("long request id", {"X-Request-ID": "r" * 5000}, (200,)),
        ("html request id", {"X-Request-ID": "<script>alert(1)</script>"}, (200,)),
        ("request id with a blank", {"X-Request-ID": "a X-Injected: 1"}, (200,)),
        ("version", {"X-API-Version": "2"}, (400,)),
        ("version text", {"X-API-Version": "1' OR 1=1"}, (400,)),
        ("accept html", {"Accept": "text/html"}, (406,)),
        ("language traversal", {"Accept-Language": "../../etc/passwd"}, (200,)),
        ("language sql", {"Accept-Language": "uk'; DROP TABLE res_lang"}, (200,)),
        ("many languages", {"Accept-Language": ",".join(["xx;q=0.1"] * 900)}, (200,)),
        (
            "language nan",
            {"Accept-Language": "en_US;q=nan, uk;q=-1, x;q=1e999"},
            (200,),
        ),
        ("range", {"Range": "bytes=0-1,2-3,4-5"}, (200,)),
        ("range of a gigabyte", {"Range": "bytes=-1000000000"}, (200,)),
        ("encodings", {"Accept-Encoding": "gzip;q=1.0, *;q=0, " + "br," * 500}, (200,)),
        ("if none match anything", {"If-None-Match": "*"}, (304,)),
        ("if none match junk", {"If-None-Match": '"' * 500}, (200,)),
        ("prefer", {"Prefer": "handling=lenient; " * 200}, (200,)),
        ("upgrade", {"Connection": "Upgrade", "Upgrade": "websocket"}, (200, 400)),
        ("expect nonsense", {"Expect": "200-ok"}, (200, 417)),
        ("a hundred headers", [(f"X-{n}", "v") for n in range(60)], (200,)),
        ("a cookie of another", {"Cookie": "session_id=" + "a" * 84}, (200,)),
    )
] + [
    (
        "id of a request in the log",
        (
            call("GET", "/narrow/NOPE%0aWARNING%20forged", token="narrow"),
            ServerLog(),
        ),
        comes(200, lacks="\nWARNING"),
    ),
    (
        "a line break in a user agent is no line of the log",
        (
            call(
                "GET",
                "/narrow/NOPE",
                token="narrow",
                headers={"User-Agent": "x ERROR forged bj.api"},
            ),
            ServerLog(),
        ),
        comes(200, lacks="\nERROR forged"),
    ),
]

UNLIMITED = rpc(
    "admin", "ir.config_parameter", "set_param", "bj_api_sync.max_auth_failures", "0"
)
LIMIT = rpc(
    "admin", "ir.config_parameter", "set_param", "bj_api_sync.max_auth_failures", "20"
)
# Each guess takes as long as hashing does.
FEW = rpc(
    "admin", "ir.config_parameter", "set_param", "bj_api_sync.max_auth_failures", "5"
)


def guesses(count, source, path="/narrow"):
    wrong = call("GET", path, token="guess", source=source)
    return (wrong,) * count


GUESSING = [
    (
        "twenty guesses shut the door",
        (LIMIT, *guesses(20, "127.0.9.1"), *guesses(1, "127.0.9.1")),
        comes(429, code="RATE_LIMITED", has="Retry-After"),
        (UNLIMITED,),
    ),
    (
        "guesses at one endpoint count at the other",
        (FEW, *guesses(5, "127.0.9.2"), *guesses(1, "127.0.9.2", "/guarded")),
        comes(429, code="RATE_LIMITED"),
        (UNLIMITED,),
    ),
    (
        "forwarded addresses are no new ones",
        (
            FEW,
            *(
                call(
                    "GET",
                    "/narrow",
                    token="guess",
                    source="127.0.9.3",
                    headers={"X-Forwarded-For": f"203.0.113.{number}"},
                )
                for number in range(6)
            ),
        ),
        comes(429, code="RATE_LIMITED"),
        (UNLIMITED,),
    ),
    (
        "another address is let in meanwhile",
        (
            FEW,
            *guesses(6, "127.0.9.4"),
            call("GET", "/narrow/A1", token="narrow", source="127.0.9.5"),
        ),
        comes(200),
        (UNLIMITED,),
    ),
    (
        "w6 guesses of one client lock out no right token behind its address",
        (
            FEW,
            *guesses(6, "127.0.9.6"),
            call("GET", "/narrow/A1", token="random", source="127.0.9.6"),
        ),
        comes(200),
        (UNLIMITED,),
    ),
    (
        "a rate limit ends",
        (
            *(call("GET", "/limited?limit=1", token="limited", source="127.0.0.77"),)
            * 4,
        ),
        comes(429, code="RATE_LIMITED", has=("Retry-After", "X-RateLimit-Limit: 3")),
    ),
]

# In each window of five minutes.
STRANGERS_ROWS = """SELECT max(count) <= 101 FROM (
    SELECT count(*) FROM bj_api_log WHERE remote_addr = '{}'
    GROUP BY floor(extract(epoch FROM timestamp) / 300)) windows""".format
FLOODS = [
    (
        "a stranger cannot fill the log",
        (*(call("GET", "/nowhere", source="127.0.9.7"),) * 103,),
        comes(404, facts=[(STRANGERS_ROWS("127.0.9.7"), True)]),
    ),
    (
        "w7 refused calls of an endpoint without authorization are a stranger's",
        (
            *(call("GET", "/open?nokey=1", source="127.0.9.8"),) * 103,
            call("GET", "/open?nokey=1", source="127.0.9.8"),
        ),
        comes(400, facts=[(STRANGERS_ROWS("127.0.9.8"), True)]),
    ),
]

# H1: a header that has no value lets nobody in.
EMPTY_KEYS = [
    (
        f"h1 empty header {name}",
        call(method, f"/emptykey{key}", body, headers=given),
        comes(401, code="UNAUTHORIZED"),
    )
    for name, method, key, body, given in (
        ("read", "GET", "?limit=1", None, {"X-Empty-Key": ""}),
        ("read blank", "GET", "?limit=1", None, {"X-Empty-Key": "  "}),
        ("false", "GET", "?limit=1", None, {"X-Empty-Key": "False"}),
        ("write", "PUT", "/E1", {"name": "BROKEN IN"}, {"X-Empty-Key": ""}),
        ("delete", "DELETE", "/E2", None, {"X-Empty-Key": ""}),
        ("create", "POST", "", {"code": "E7", "name": "x"}, {"X-Empty-Key": ""}),
        ("twice", "GET", "", None, [("X-Empty-Key", ""), ("X-Empty-Key", "")]),
    )
] + [
    (
        "h1 an In header without a value is not stored",
        rpc(
            "admin",
            *("bj.api.sync.header", "create"),
            {"config_id": "<narrow>", "name": "X-New"},
        ),
        comes(400, code="ValidationError"),
    ),
    (
        "h1 nor one that is emptied",
        rpc(
            *("admin", "bj.api.sync.header", "write", "<header_guard>"),
            {"value": False},
        ),
        comes(400, code="ValidationError"),
    ),
    (
        "h1 the Secret mark does not go without a new value",
        rpc(
            *("admin", "bj.api.sync.header", "write", "<header_guard>"),
            {"is_secret": False},
        ),
        comes(400, code="ValidationError"),
    ),
    (
        "h1 and the endpoint is as shut as before",
        call("GET", "/guarded?limit=1", headers={"X-Guard-Key": ""}),
        REFUSED,
    ),
]

# Right credentials, so that the refusals above mean something.
RIGHT = [
    (
        f"right {endpoint}",
        call("GET", f"/{endpoint}?limit=1", token=token, headers=given),
        comes(200, has='"code"'),
    )
    for endpoint, token, given in (
        ("narrow", "narrow", {}),
        ("basic", None, {"Authorization": "<basic_login>"}),
        ("guarded", None, {"X-Guard-Key": "<guard_key>"}),
        ("plainkey", None, {"X-Plain-Key": "<plain_key>"}),
        ("open", None, {}),
        ("reading", "narrow", {}),
    )
]

ATTEMPTS = [
    *table("doors", "stranger", RIGHT),
    *table("doors", "stranger", STRANGER),
    *table("doors", "browser of a user", BROWSERS),
    *table("paths", "stranger", PATHS),
    *table("methods", "token holder", METHODS + OVERRIDES),
    *table("headers", "token holder", FORWARDED + ODD_HEADERS),
    *table("guessing", "stranger", GUESSING + FLOODS),
    *table("empty-keys", "stranger", EMPTY_KEYS),
]
