"""What the other side may answer, and what it may have us write or call."""

import json

from .attempts import Pull, Received, comes, rpc, table

OWN = '[{"ref": "A5", "name": "Own 5"}]'


def items(*rows):
    return {"body": json.dumps(rows)}


def pull(behaviour, host="receiver"):
    """Return a fetch that is answered so."""
    name, arguments = behaviour
    return Pull((("/pull", name, arguments),), host)


# H3: what is fetched is written as Run As, inside the Filter Domain (A*).
WRITTEN = [
    (f"h3 {name}", pull(("answer", items(*rows))), comes(200, 400))
    for name, rows in (
        ("a record of company b", [{"ref": "B1", "name": "PULLED"}]),
        ("a hidden record", [{"ref": "H1", "name": "PULLED"}]),
        ("a record outside the filter domain", [{"ref": "OUT1", "name": "PULLED"}]),
        ("a hidden one inside it", [{"ref": "AH", "name": "PULLED"}]),
        ("one of company b inside it", [{"ref": "AB", "name": "PULLED"}]),
        ("a new one outside it", [{"ref": "NEW1", "name": "PULLED"}]),
        ("one among others", [{"ref": "B1", "name": "PULLED"}, {"ref": "H1"}]),
    )
] + [
    (
        f"h3 unmapped {key}",
        pull(("answer", items({"ref": "A5", "name": "Own 5", key: value}))),
        comes(200, 400),
    )
    for key, value in (
        ("company_id", "<company_b>"),
        ("email", "stolen@example.com"),
        ("active", False),
        ("id", "<b1>"),
        ("user_ids", [[0, 0, {"login": "x"}]]),
    )
]
ODD = [
    (f"answer {name}", pull(behaviour), comes(200, 400))
    for name, behaviour in (
        ("html", ("html", {})),
        ("no json", ("answer", {"body": "<script>alert(1)</script>"})),
        ("depth", ("answer", {"body": "[" * 100000 + "]" * 100000})),
        ("a number", ("answer", {"body": "1"})),
        ("null", ("answer", {"body": "null"})),
        ("text rows", ("answer", {"body": '["a", 1, null, []]'})),
        ("wrong types", ("answer", items({"ref": {"a": 1}, "name": ["x"]}))),
        ("commands", ("answer", items({"ref": "A5", "name": [[6, 0, [1]]]}))),
        ("nan", ("answer", {"body": '[{"ref": NaN, "name": "x"}]'})),
        ("a bomb", ("gzip_bomb", {"size": 1 << 26})),
        ("a giant", ("huge", {"size": 1 << 26})),
        ("a giant in chunks", ("huge", {"size": 1 << 26, "chunked": True})),
        ("a cookie", ("answer", {"headers": {"Set-Cookie": "a=b"}, "body": "[]"})),
        ("smuggled", ("raw", {"data": "HTTP/1.1 200 OK\r\nX: a\nY\r\n\r\n[]"})),
        ("no http", ("raw", {"data": "SSH-2.0-OpenSSH_9.6\r\n"})),
        ("a false length", ("close_half_way", {})),
        ("gone", ("drop", {})),
        ("refused", ("answer", {"status": 403})),
        ("retry in a year", ("retry_after", {"value": "31536000"})),
    )
]
LEADING = [
    (
        f"{name}",
        (Received(), pull(("answer", first)), Received("/stolen")),
        comes(404, lacks=("authorization", "Bearer")),
    )
    for name, first in (
        (
            "next page on another host",
            {"body": OWN, "headers": {"Link": '<<other_host>/stolen>; rel="next"'}},
        ),
        (
            "next page on a like host",
            {
                "body": OWN,
                "headers": {"Link": '<<receiver>@localhost/stolen>; rel="next"'},
            },
        ),
        (
            "next page of a file",
            {"body": OWN, "headers": {"Link": '<file:///stolen>; rel="next"'}},
        ),
    )
] + [
    (
        f"redirect {status} {name}",
        (
            Received(),
            pull(("redirect", {"location": where, "status": status})),
            Received("/stolen"),
        ),
        comes(404, lacks=("authorization", "Bearer")),
    )
    for status in (301, 302, 303, 307, 308)
    for name, where in (("to another host", "<other_host>/stolen"),)
]
METADATA = [
    (
        f"next page {address}",
        (
            pull(
                (
                    "answer",
                    {
                        "body": OWN,
                        "headers": {"Link": f'<http://{address}/latest>; rel="next"'},
                    },
                )
            ),
        ),
        comes(200, 400),
    )
    for address in ("169.254.169.254", "[fd00:ec2::254]")
]
DOWNGRADED = [
    (
        f"h4 {name} to plain http",
        (Received(), pull(behaviour, "secure"), Received("/stolen")),
        comes(404, lacks=("authorization", "Bearer")),
    )
    for name, behaviour in (
        (
            "next page",
            (
                "answer",
                {"body": OWN, "headers": {"Link": '<<plain>/stolen>; rel="next"'}},
            ),
        ),
        ("redirect", ("redirect", {"location": "<plain>/stolen", "status": 307})),
    )
]
# Addresses that no request may go to, in every disguise: asked by a Manager.
METADATA_FORMS = (
    *("169.254.169.254", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376"),
    *("[::ffff:169.254.169.254]", "[::169.254.169.254]", "[::ffff:0:169.254.169.254]"),
    *("[64:ff9b::169.254.169.254]", "[64:ff9b:1::169.254.169.254]"),
    *("[2002:a9fe:a9fe::]", "[fd00:ec2::254]", "[fe80::1]"),
    *("[2001:0:a9fe:a9fe::]", "169.254.1.1", "169.16689662"),
)
BLOCKED = [
    (
        f"no request goes to {address}",
        (
            rpc(
                *("mgr", "bj.api.sync.config", "write", ["<probe>"]),
                {"url": f"http://{address}/latest"},
            ),
            rpc("mgr", "bj.api.sync.config", "action_test_connection", ["<probe>"]),
        ),
        comes(200, has="blocked"),
    )
    for address in METADATA_FORMS
]

ATTEMPTS = [
    *table("pulled", "other side", WRITTEN),
    *table("answers", "other side", ODD),
    *table("leading", "other side", LEADING + METADATA + DOWNGRADED),
    *table("blocked", "manager", BLOCKED),
]
