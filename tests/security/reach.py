"""What the holder of a token of one endpoint may try: it reaches ``A*`` of company A."""

import json
from itertools import product
from urllib.parse import quote

from .attempts import Sql, call, comes, rpc, slug, table

# B1: of another company, H1: hidden by a rule, OUT1 and P1: outside the Filter Domain,
# AB and AH: inside it, but of another company and hidden.
FOREIGN = ("B1", "H1", "OUT1", "P1", "AB", "AH", "PB")
WRITES = {"GET": None, "PUT": {"name": "STOLEN"}, "DELETE": None}


def get(path, **options):
    return call("GET", f"/narrow{path}", token="narrow", **options)


def post(body, query="", **options):
    return call("POST", f"/narrow{query}", body, "narrow", **options)


def put(path, body, **options):
    return call("PUT", f"/narrow{path}", body, "narrow", **options)


BY_KEY = [
    (f"{method} {ref}", call(method, f"/narrow/{ref}", body, "narrow"), comes(404))
    for ref, (method, body) in product(FOREIGN, WRITES.items())
]
BY_ID = [
    (
        f"{method} id of {ref}",
        call(method, f"/narrow/<{ref.lower()}>", body, "narrow"),
        comes(404, 409),
    )
    for ref, (method, body) in product(FOREIGN, WRITES.items())
]
IN_BODY = [
    (
        f"put {ref} in the body",
        call("PUT", "/narrow", {"code": ref, "name": "STOLEN"}, "narrow"),
        comes(400, 404, 409),
    )
    for ref in FOREIGN
] + [
    (
        f"delete {ref} among others",
        call("DELETE", "/narrow", [{"code": ref}], "narrow"),
        comes(400, 404, 405, 409),
    )
    for ref in FOREIGN
]

# Mapped keys alone are read, filtered, sorted and asked for.
UNMAPPED = (
    *("function", "vat", "company_id", "user_id", "password", "signup_token"),
    *("create_uid", "write_uid", "user_ids.password", "parent_id.name", "bank_ids"),
    *("company_id.name", "message_ids.body", "__class__", "_name", "parent.email"),
    *("child_ids.function", "category_id.create_uid", "country.name", "credit_limit"),
)
NAMED = [
    (f"{kind} {name}", get(query.format(name)), comes(400, code="BAD_REQUEST"))
    for name, (kind, query) in product(
        UNMAPPED,
        (
            ("filter", "?{}=HIDDEN"),
            ("like", "?{}__like=H"),
            ("order", "?order={}"),
            ("fields", "?fields={}"),
        ),
    )
] + [
    (
        f"domain on {name}",
        get("?domain=" + quote(json.dumps([[name, "=", "HIDDEN"]]))),
        comes(400, code="BAD_REQUEST"),
    )
    for name in UNMAPPED
]

# Domains are parsed, never evaluated, and their values never become operators.
DOMAINS = [
    (f"domain {text[:50]}", get("?domain=" + quote(text)), comes(*status))
    for text, status in (
        ("__import__('os').system('id')", (400,)),
        ("[('name','=',open('/etc/passwd').read())]", (400,)),
        ("[(1).__class__.__mro__]", (400,)),
        ("[['id', 'in', 'SELECT id FROM res_users']]", (400,)),
        ("[['id', 'inselect', ['SELECT 1', []]]]", (400,)),
        ("[['name', '=like', '%']]", (200, 400)),
        ("[['name', 'child_of', 1]]", (400,)),
        ("[['id', 'parent_of', 1]]", (400,)),
        ("[['name', 'any', [['function', '=', 'HIDDEN']]]]", (400,)),
        ("[['parent', 'any', [['function', '=', 'HIDDEN']]]]", (400,)),
        ("[['name', '=', {'$gt': ''}]]", (400,)),
        ("[['name', '=', ['a', 'b']]]", (400,)),
        ("[['name; DROP TABLE res_partner', '=', 1]]", (400,)),
        ("[['name', '= 1 OR 1=1 --', 1]]", (400,)),
        ("['|', ['name', '=', 'x']]", (400,)),
        ("['&']", (400,)),
        ("['!', '!', '!']", (400,)),
        ("[" * 500 + "]" * 500, (400,)),
        ("[['name', '=', 'x']" + ", ['name', '=', 'x']" * 3000 + "]", (200, 400, 414)),
        ("{}", (400,)),
        ("null", (400,)),
        ("1", (400,)),
        ("[[]]", (400,)),
        ("[['name']]", (400,)),
        ("[[1, '=', 1]]", (400, 200)),
        ("[(0, '=', 1)]", (400, 200)),
        ("['|', (1, '=', 1), ('name', '=', 'B1')]", (200, 400)),
        ("lambda: 1", (400,)),
        ("[['name', '=', '\\u0000']]", (400,)),
        ("[['id', '=', 1e400]]", (400,)),
        ("[['id', '=', 9999999999999999999999]]", (200, 400)),
        ("[['id', '=', true]]", (400, 200)),
    )
]
# In a list nothing shows but what the endpoint reaches.
NONE_FOREIGN = (
    *('"B1"', '"H1"', '"OUT1"', '"AB"', '"AH"', '"PB"', '"X1"'),
    *("COMPANY-B", "HIDDEN-BY", "OUTSIDE-THE"),
)
LISTS = [
    (f"list {query[:60]}", get(query), comes(*status, lacks=NONE_FOREIGN))
    for query, status in (
        ("", (200,)),
        ("?code=B1", (200,)),
        ("?code__in=A1,B1,AB,AH,OUT1", (200,)),
        ("?code__ne=A1", (200,)),
        ("?code__like=%25", (200,)),
        ("?name__ilike=CONFIDENTIAL", (200,)),
        ("?name__like=___________________", (200,)),
        ("?active=false", (200,)),
        ("?id=<b1>", (200,)),
        ("?id__in=<b1>,<h1>,<out1>", (200,)),
        ("?id__gte=1&limit=1000", (200,)),
        ("?limit=1000000", (200, 400)),
        ("?limit=-1", (400,)),
        ("?limit=0", (200, 400)),
        ("?limit=1e3", (400,)),
        ("?limit=%00", (400,)),
        ("?limit=true", (400,)),
        ("?offset=-1", (400,)),
        ("?offset=99999999999999999999", (200, 400)),
        ("?order=name;DROP TABLE res_partner".replace(" ", "%20"), (400,)),
        ("?order=(SELECT%201)", (400,)),
        ("?order=name%20desc,name%20desc,id", (200, 400)),
        ("?order=name%20nulls%20first", (400,)),
        ("?fields=*", (400,)),
        ("?fields=name,name,name", (200, 400)),
        ("?fields=", (200, 400)),
        ("?count=exact", (200,)),
        ("?count=sql", (400,)),
        ("?dry_run=maybe", (400,)),
        ("?id__isnull=true", (200, 400)),
        ("?parent__isnull=maybe", (400,)),
        ("?write_date__gte=now()", (400,)),
        ("?write_date__gte=1970-01-01%27--", (400,)),
        ("?name=a&name=b", (200, 400)),
        ("?name[]=a", (400,)),
        ("?name[$ne]=x", (400,)),
        ("?%00=1", (400,)),
        ("?limit=1&limit=1000", (200, 400)),
        ("?allowed_company_ids=<company_b>", (400,)),
        ("?company_id=<company_b>", (400,)),
        ("?context={'active_test':False}", (400,)),
        ("?lang=../../etc", (400,)),
        ("?uid=1", (400,)),
        ("?sudo=1", (400,)),
        ("?debug=1", (400,)),
    )
]
CURSORS = [
    (
        f"cursor {name}",
        get(f"?limit=2&cursor={quote(cursor)}"),
        comes(*status, lacks=NONE_FOREIGN),
    )
    for name, cursor, status in (
        ("of letters", "AAAA", (400,)),
        ("of nothing", "", (200, 400)),
        ("of json", "eyJ2IjpbIkIxIl0sImlkIjoxfQ==", (400,)),
        ("of sql", "' OR 1=1 --", (400,)),
        ("of a pickle", "gASVCAAAAAAAAACMBHRleHSULg==", (400,)),
        ("of zeros", "0" * 5000, (400,)),
        ("of bytes", "\u00ff\u00fe", (400,)),
        ("of brackets", "W1tbW1tbW1tdXV1dXV1d", (400,)),
        ("of null", "bnVsbA", (400,)),
        ("of true", "dHJ1ZQ", (400,)),
    )
]

# A3 has a parent outside the mapping model's Filter Domain, for as long as is needed.
MOVED, BACK = (
    rpc("admin", "res.partner", "write", "<a3>", {"parent_id": parent})
    for parent in ("<x1>", False)
)
# Nested objects reach what the mapping model's Filter Domain (P*) and the rules admit.
NESTED = [
    (
        f"parent {name}",
        put("/A1", {"parent": value}),
        comes(*status),
    )
    for name, value, status in (
        ("of company b", "PB", (400, 404)),
        ("hidden", "PH", (400, 404, 409)),
        ("outside the domain", "X1", (400,)),
        ("by an object of company b", {"code": "PB", "name": "STOLEN"}, (400,)),
        ("by a hidden object", {"code": "PH", "name": "STOLEN"}, (400, 409)),
        ("by an object outside", {"code": "X1", "name": "STOLEN"}, (400,)),
        ("by odoo id", {"id": "<b1>", "name": "STOLEN"}, (400,)),
        ("by a list", ["P1"], (400,)),
        ("by a command", [[6, 0, ["<b1>"]]], (400,)),
        ("by true", True, (400,)),
        ("by a float", 1.5, (400,)),
        ("by a dict of dicts", {"code": {"$ne": None}}, (400,)),
        ("by a list in an object", {"code": ["P1", "PB"]}, (400,)),
    )
] + [
    (
        "w5 a parent outside the mapping model's domain without its identifier",
        (MOVED, put("/A3", {"parent": {"email": "stolen@example.com"}})),
        comes(400, 404, 409),
        (BACK,),
    ),
    (
        "w5 a parent outside the mapping model's domain is not read",
        (MOVED, get("/A3")),
        comes(200, lacks=("OUTSIDE-THE", "x1@example.com", '"X1"')),
        (BACK,),
    ),
    (
        "a hidden parent without its identifier",
        put("/A4", {"parent": {"email": "stolen@example.com"}}),
        comes(400, 403, 404, 409),
    ),
    ("a hidden parent is not read", get("/A4"), comes(200, lacks=("PH", "ph@"))),
    (
        "w16 a hidden parent is as good as none",
        get("?code=A4&parent__isnull=true"),
        comes(200, has='"A4"'),
    ),
    (
        "w16 and not as good as one",
        get("?code=A4&parent__isnull=false"),
        comes(200, lacks='"A4"'),
    ),
]
UNTOUCHED = (
    "SELECT name <> 'STOLEN' AND parent_id IS NULL FROM res_partner WHERE id = <{}>"
)
CHILDREN = (
    [
        (f"children {name}", put("/A1", {"children": value}), comes(*status))
        for name, value, status in (
            (
                "command create",
                [[0, 0, {"name": "x", "company_id": "<company_b>"}]],
                (400,),
            ),
            ("command link", [[4, "<b1>"]], (400,)),
            ("command set", [[6, 0, ["<b1>", "<h1>"]]], (400,)),
            ("command delete", [[2, "<out1>"]], (400,)),
            ("command clear", [[5]], (400,)),
            ("command as object", {"0": [4, "<b1>"]}, (400,)),
            ("number", 5, (400,)),
            ("text", "B1", (400,)),
            ("true", True, (400,)),
            ("list of lists", [["B1"]], (400,)),
            ("list of nulls", [None], (400,)),
        )
    ]
    + [
        (
            f"children named {ref}",
            put("/A1", {"children": [{"code": ref, "name": "STOLEN"}]}),
            # Create Missing makes a child of that name: the record itself is left alone.
            comes(
                *(200, 400, 403, 404, 409),
                changes=True,
                facts=[(UNTOUCHED.format(ref.lower()), True)],
            ),
            (Sql("DELETE FROM res_partner WHERE parent_id = <a1>"),),
        )
        for ref in ("B1", "H1", "OUT1", "AB", "AH", "PB")
    ]
    + [
        (f"tags {name}", put("/A1", {"tags": value}), comes(400))
        for name, value in (
            ("command", [[6, 0, ["<tag>"]]]),
            ("unknown", ["No such tag"]),
            ("true", [True]),
            ("object", {"name": "Tag", "x": 1}),
        )
    ]
)

# Mass assignment: keys that are not mapped change nothing, whatever their values.
MASS = [
    (
        f"unmapped {key}",
        put("/A5", {"name": "Own 5", key: value}),
        comes(200),
    )
    for key, value in (
        ("company_id", "<company_b>"),
        ("user_id", 1),
        ("active", False),
        ("function", "HIDDEN"),
        ("comment", "written"),
        ("note", "written"),
        ("country", "UA"),
        ("create_uid", 1),
        ("write_date", "2000-01-01"),
        ("message_ids", [[0, 0, {"body": "x"}]]),
        ("user_ids", [[0, 0, {"login": "intruder", "password": "x"}]]),
        ("__class__", "x"),
        ("ref", "B1"),
        ("id", "<b1>"),
        ("_sudo", True),
        ("context", {"default_function": "HIDDEN"}),
        ("parent_id", "<b1>"),
        ("child_ids", [[4, "<b1>"]]),
    )
]

ETAGS = (
    [
        (
            f"etag of {ref}",
            get(f"/{ref}", headers={"If-None-Match": "*"}),
            comes(404, lacks="ETag"),
        )
        for ref in FOREIGN
    ]
    + [
        (
            f"if match of {ref}",
            put(f"/{ref}", {"name": "STOLEN"}, headers={"If-Match": "*"}),
            comes(404, 412),
        )
        for ref in FOREIGN
    ]
    + [
        (
            "if match of an old version",
            put("/A1", {"name": "STOLEN"}, headers={"If-Match": '"old"'}),
            comes(412),
        ),
    ]
)
REPEATS = [
    (
        f"idempotency key {name}",
        post({"code": "A1", "name": "x"}, headers={"Idempotency-Key": key}),
        comes(*status),
    )
    for name, key, status in (
        ("too long", "k" * 256, (400,)),
        ("empty", "", (400, 409)),
        ("of sql", "' OR 1=1", (400, 409)),
        ("of company b", "b-key", (409,)),
    )
] + [
    (
        "the answer of another endpoint is not replayed",
        call(
            "POST",
            "/scripted",
            {"code": "A1", "name": "x"},
            "scripted",
            headers={"Idempotency-Key": "b-key"},
        ),
        comes(400, 409, lacks="Idempotent-Replayed: true"),
    ),
    (
        "one key for two bodies",
        (
            call(
                "PUT",
                "/narrow/A5",
                {"name": "Own 5"},
                "narrow",
                headers={"Idempotency-Key": "two"},
            ),
            call(
                "PUT",
                "/narrow/A5",
                {"name": "STOLEN"},
                "narrow",
                headers={"Idempotency-Key": "two"},
            ),
        ),
        comes(422, code="IDEMPOTENCY_MISMATCH"),
    ),
    (
        "a key of one token is nothing to another",
        (
            call(
                "PUT",
                "/narrow/A5",
                {"name": "Own 5"},
                "narrow",
                headers={"Idempotency-Key": "whose"},
            ),
            call(
                "PUT",
                "/narrow/A5",
                {"name": "Own 5"},
                "random",
                headers={"Idempotency-Key": "whose"},
            ),
        ),
        comes(200, lacks="Idempotent-Replayed: true"),
    ),
]
DRY_RUNS = [
    (f"dry run {name}", attempt, comes(*status, has="X-Dry-Run: true"))
    for name, attempt, status in (
        ("post", post({"code": "ADRY", "name": "x"}, "?dry_run=true"), (201,)),
        ("put", put("/A1?dry_run=1", {"name": "DRY"}), (200,)),
        ("many", post([{"code": "ADRY", "name": "x"}], "?dry_run=true"), (201,)),
    )
] + [
    (
        "a dry run deletes nothing",
        call("DELETE", "/narrow/A5?dry_run=true", token="narrow"),
        comes(200, has="X-Dry-Run: true"),
    ),
]
CROSS = (
    [
        (
            f"company b {method} {ref}",
            call(method, f"/bravo/{ref}", body, "bravo"),
            comes(404),
        )
        for ref, (method, body) in product(("A1", "P1", "H1", "AH"), WRITES.items())
    ]
    + [
        (
            f"company header {header}",
            get("?code=B1", headers={header: "<company_b>"}),
            comes(200, lacks=NONE_FOREIGN),
        )
        for header in ("X-Odoo-Company", "X-Company-Id", "Cids", "Company")
    ]
    + [
        (
            "company cookie",
            get("?code=B1", headers={"Cookie": "cids=<company_b>"}),
            comes(200, lacks=NONE_FOREIGN),
        ),
    ]
)
# W8: what a caller sent by mistake is not kept in clear.
KEPT = "SELECT count(*) FROM bj_api_log l WHERE l::text LIKE '%{}%'"
LOGGED = [
    (
        f"w8 {name}",
        attempt,
        comes(
            *status, facts=[(KEPT.format(f"<kept_{slug(name)}>".replace("-", "_")), 0)]
        ),
    )
    for name, attempt, status in (
        ("body", put("/A1?dry_run=1", {"password": "<kept_body>"}), (200,)),
        ("broken body", post(b'{"password":"<kept_broken_body>",'), (400,)),
        ("escaped key", post(b'{"pass\\u0077ord":"<kept_escaped_key>",'), (400,)),
        ("query", get("?password=<kept_query>"), (400,)),
        (
            "domain",
            get(
                "?domain="
                + quote('[["password","=","')
                + "<kept_domain>"
                + quote('"]]')
            ),
            (400,),
        ),
        (
            "filter of a like name",
            get("?x_api_key__like=<kept_filter_of_a_like_name>"),
            (400,),
        ),
        ("header", get("/A1", headers={"X-Api-Key": "<kept_header>"}), (200,)),
        ("cookie", get("/A1", headers={"Cookie": "a=<kept_cookie>"}), (200,)),
        ("proxy", get("/A1", headers={"Proxy-Authorization": "<kept_proxy>"}), (200,)),
        (
            "nested",
            put("/A1?dry_run=1", {"x": {"secret": "<kept_nested>"}}),
            (200,),
        ),
    )
] + [
    (
        "w8 the value of an In header",
        call("GET", "/plainkey/A1", headers={"X-Plain-Key": "<plain_key>"}),
        comes(200, facts=((KEPT.format("<plain_key>"), 0),)),
    ),
]

ATTEMPTS = [
    *table("objects", "token holder", BY_KEY + BY_ID + IN_BODY),
    *table("names", "token holder", NAMED),
    *table("domains", "token holder", DOMAINS),
    *table("lists", "token holder", LISTS + CURSORS),
    *table("nested", "token holder", NESTED + CHILDREN),
    *table("mass", "token holder", MASS),
    *table("etags", "token holder", ETAGS),
    *table("repeats", "token holder", REPEATS + DRY_RUNS),
    *table("companies", "token holder", CROSS),
    *table("masked", "token holder", LOGGED),
]
