"""What strangers and pages of other sites may learn of the API."""

from itertools import product

from .attempts import call, comes, table

CORS = [
    (
        f"origin {origin}",
        call("OPTIONS", "/page", headers={"Origin": origin}),
        comes(204, lacks="Access-Control-Allow-Origin"),
    )
    for origin in (
        *("https://evil.example", "null", "https://shop.example.com.evil.example"),
        *("http://shop.example.com", "https://shop.example.com:8443", "*"),
        *("https://SHOP.example.com.", "https://shop_example.com", "file://"),
    )
] + [
    (
        "origin that is allowed gets no cookies",
        call("OPTIONS", "/page", headers={"Origin": "https://shop.example.com"}),
        comes(
            204,
            has="Access-Control-Allow-Origin: https://shop.example.com",
            lacks="Allow-Credentials",
        ),
    ),
    (
        "a preflight of narrow tells no origin",
        call("OPTIONS", "/narrow", headers={"Origin": "https://shop.example.com"}),
        comes(204, lacks="Access-Control-Allow-Origin"),
    ),
]

# What the documents tell: nothing to strangers, to the others their own endpoints.
VISIBLE = (
    [
        (
            f"{document} {who}",
            call("GET", f"/{document}", **options),
            comes(status, has=has, lacks=lacks),
        )
        for document, (who, options, status, has, lacks) in product(
            ("openapi.json", "postman.json"),
            (
                ("stranger", {}, 200, (), ("narrow", "bravo", "guarded", "scripted")),
                (
                    "holder",
                    {"token": "narrow"},
                    200,
                    "narrow",
                    ("bravo", "scripted", "/gone"),
                ),
                (
                    "browser",
                    {"session": "admin"},
                    200,
                    (),
                    ("narrow", "bravo", "guarded"),
                ),
                ("wrong", {"token": "guess"}, 401, (), ("narrow", "bravo", "guarded")),
            ),
        )
    ]
    + [
        (
            f"document of {endpoint}",
            call("GET", f"/openapi.json?endpoint={endpoint}", token="narrow"),
            comes(200, 404, lacks=('"/bravo', '"/gone', '"/scripted', "/v1/bravo")),
        )
        for endpoint in ("bravo", "gone", "scripted", "%00", "../narrow")
    ]
    + [
        (
            "health tells a stranger nothing",
            call("GET", "/health"),
            comes(
                200, lacks=("queue", "pending", "oldest", "version", "database_name")
            ),
        ),
        (
            "docs of a stranger",
            call("GET", "/docs"),
            comes(200, 404, lacks=("narrow", "bravo", "guarded")),
        ),
        ("a write to the document", call("POST", "/openapi.json", {}), comes(405)),
        ("a write to health", call("DELETE", "/health"), comes(405)),
    ]
    + [
        (
            f"the manual {user or 'stranger'} {path[:30]}",
            call("GET", f"!{path}", session=user),
            comes(*status, lacks=("root:", "Traceback (", "import odoo")),
        )
        for user, path, status in (
            (None, "/bj_api_sync/docs/security", (303,)),
            ("emp", "/bj_api_sync/docs/security", (404,)),
            ("alice", "/bj_api_sync/docs/../../etc/passwd", (404,)),
            ("alice", "/bj_api_sync/docs/%2e%2e%2fmodels", (404,)),
            ("alice", "/bj_api_sync/docs/en/..%2f..%2fdev", (404,)),
            ("alice", "/bj_api_sync/docs/xx/security", (404,)),
        )
    ]
    + [
        (
            f"download {user or 'stranger'} {kind} {config}",
            call("GET", f"!/bj_api_sync/contract/<{config}>/{kind}.json", session=user),
            comes(*status, lacks="<typed_secret>"),
        )
        for kind in ("openapi", "postman")
        for user, config, status in (
            (None, "narrow", (303,)),
            ("emp", "narrow", (403,)),
            ("alice", "bravo", (403,)),
            ("mgr", "bravo", (403,)),
        )
    ]
)

# Alike for what is there and what is not: a path that is unknown, archived, or refused.
ALIKE = [
    (
        f"unknown {path}",
        call("GET", path, token=token),
        comes(404, lacks=("Set-Cookie", "archived", "bravo")),
    )
    for path, token in (("/nowhere", None), ("/nowhere", "narrow"), ("/gone", "narrow"))
]

ATTEMPTS = [
    *table("cors", "page of another site", CORS),
    *table("documents", "whoever asks", VISIBLE + ALIKE),
]
