"""Bodies and keys that are not what they should be: types, sizes, bytes."""

from .attempts import call, comes, table
from .reach import NONE_FOREIGN, get, post, put

# Types: what is no text, number or object of the right kind is refused, not guessed.
TYPES = [
    (
        f"name as {name}",
        put("/A5", {"name": value}),
        comes(400, code="VALIDATION_ERROR"),
    )
    for name, value in (
        ("object", {"a": 1}),
        ("list", ["a"]),
        ("list of lists", [[0, 0, {}]]),
        ("true", True),
        ("null", None),
        ("operator", {"$set": "x"}),
    )
] + [
    (f"code as {name}", post({"code": value, "name": "x"}), comes(400, 409))
    for name, value in (
        ("object", {"a": 1}),
        ("list", ["A1"]),
        ("true", True),
        ("nul", "A\0"),
        ("object of object", {"code": {"code": "A1"}}),
    )
]
BODIES = [
    (f"body {name}", post(body), comes(*status, lacks="Traceback"))
    for name, body, status in (
        ("nan", b'{"code": NaN}', (400,)),
        ("infinity", b'{"code": Infinity, "name": "x"}', (400,)),
        ("1e999", b'{"code": 1e999, "name": "x"}', (400,)),
        ("5000 digits", b'{"code": ' + b"9" * 5000 + b"}", (400,)),
        ("depth", b'{"code":' + b"[" * 5000 + b"]" * 5000 + b"}", (400,)),
        ("depth of objects", b'{"a":' * 3000 + b"1" + b"}" * 3000, (400,)),
        ("surrogate", b'{"code": "\\ud800", "name": "x"}', (400,)),
        ("nul", b'{"code": "A\\u0000", "name": "x"}', (400,)),
        ("latin 1", b'{"code": "\xff", "name": "x"}', (400,)),
        ("utf 16", '{"code": "A9"}'.encode("utf-16"), (400,)),
        ("two values", b'{"code": "A9"} {"code": "A8"}', (400,)),
        ("empty", b"", (400,)),
        ("blank", b"   ", (400,)),
        ("text", b'"A1"', (400,)),
        ("number", b"1", (400,)),
        ("null", b"null", (400,)),
        ("array of arrays", b"[[]]", (400,)),
        ("array of nothing", b"[]", (200, 201, 400)),
        ("array of nulls", b"[null, null]", (400,)),
        ("form", b"code=A9&name=x", (400,)),
        (
            "xml",
            b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///x">]>',
            (400,),
        ),
        ("pickle", b"\x80\x04\x95", (400,)),
        ("too many rows", [{"code": "A1"}] * 1001, (413,)),
        ("100000 keys", {f"k{n}": n for n in range(30000)}, (400, 413)),
        (
            "w1 a text that no index takes",
            {
                "code": "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(6000)),
                "name": "x",
            },
            (400,),
        ),
        (
            "w2 four thousand children in one row",
            {
                "code": "A6",
                "name": "x",
                "children": [{"name": str(n)} for n in range(12000)],
            },
            (400, 413),
        ),
    )
] + [
    (
        "w1 one such text in many rows",
        post(
            [
                {"code": "".join(chr(0x4E00 + n * 7907 % 20000) for n in range(6000))},
                {"code": "A1", "name": "x"},
            ],
            "?partial=true",
        ),
        comes(207, 400, lacks="INTERNAL_ERROR"),
    ),
    (
        "compressed",
        post(b"\x1f\x8b\x08\x00" * 9, headers={"Content-Encoding": "gzip"}),
        comes(400, 415),
    ),
    (
        "compressed twice",
        post(b"x", headers={"Content-Encoding": "gzip, gzip, gzip, br"}),
        comes(415),
    ),
    (
        "another type",
        post(b"<a/>", headers={"Content-Type": "text/xml"}),
        comes(415),
    ),
    (
        "another charset",
        post(
            '{"code": "A9", "name": "x"}'.encode("utf-7"),
            headers={"Content-Type": "application/json; charset=utf-7"},
        ),
        comes(400, 415, 201, changes=True),
        (call("DELETE", "/narrow/A9", token="narrow"),),
    ),
]
KEYS = [
    (f"record id {name}", get(f"/{path}"), comes(400, 404, lacks=NONE_FOREIGN))
    for name, path in {
        "sql": "1%20OR%201=1",
        "float": "1e0",
        "hexadecimal": "0x1",
        "minus": "-1",
        "list": "[1]",
        "star": "*",
        "percent": "%25",
        "blank": "%20",
        "null": "null",
        "true": "true",
        "huge": "9" * 300,
        "arabic digits": "%D9%A1",
        "dotted": "A1.json",
        "fullwidth": "%EF%BC%A11",
        "comma": "A1,B1",
    }.items()
]

ATTEMPTS = [
    *table("types", "token holder", TYPES + KEYS),
    *table("bodies", "token holder", BODIES),
]
