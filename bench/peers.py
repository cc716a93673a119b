"""The ways into Odoo that are compared: one class each, one method an operation.

Values are given by Odoo field; each peer writes them as its clients have to.
"""

import xmlrpc.client

from client import BadAnswer, Request, json_request

TEXTS = ["ref", "name", "email", "phone", "street", "city", "zip"]
FIELDS = [*TEXTS, "country_id"]
# What the mapping of our endpoints calls them, as bench/addons/bj_bench/hooks.py has it.
EXTERNAL = {
    "ref": "customer_id",
    "phone": "contact_phone",
    "city": "town",
    "zip": "postcode",
}


class Peer:
    """How to ask; ``partner`` is ``(id, ref)``, ``rows`` are field values.

    An operation that a peer does not offer is ``None``.
    """

    name = ""
    headers = {}
    list_total = None
    bulk_update = None

    def __init__(self, facts):
        self.facts = facts

    def check(self, request, status, body):
        if status not in (200, 201):
            raise BadAnswer(
                f"{self.name}: {request.method} {request.path}: {status} {body[:400]}"
            )

    def check_rows(self, body, count):
        if body.count(b"@example.com") != count:
            raise BadAnswer(f"{self.name}: not {count} rows: {body[:400]}")

    def _json(self, method, path, value=None):
        return json_request(method, path, value, self.headers)


class Raw(Peer):
    name = "raw"
    root = "/bj_bench/partners"

    def list(self, offset, limit=100):
        return self._json("GET", f"{self.root}?limit={limit}&offset={offset}")

    def list_total(self, offset, limit=100):
        return self._json("GET", f"{self.root}?limit={limit}&offset={offset}&total=1")

    def get(self, partner):
        return self._json("GET", f"{self.root}/{partner[0]}")

    def create(self, row):
        return self._json("POST", self.root, row)

    def update(self, partner, row):
        return self._json("PUT", f"{self.root}/{partner[0]}", row)

    def delete(self, partner):
        return self._json("DELETE", f"{self.root}/{partner[0]}")

    def bulk(self, rows):
        return self._json("POST", self.root, rows)

    def nested(self, rows):
        return self._json("POST", "/bj_bench/nested", rows)

    def bulk_update(self, changes):
        changes = [(partner_id, row) for (partner_id, _ref), row in changes]
        return self._json("PUT", self.root, changes)


class RawUser(Raw):
    """The same as a plain user: with access rights and rules."""

    name = "raw_user"
    headers = {"X-Bench-User": "1"}


class Ours(Peer):
    name = "ours"
    endpoint = "bench"

    def __init__(self, facts):
        super().__init__(facts)
        self.root = f"/bj_api_sync/v1/{self.endpoint}"
        self.nested_root = (
            f"/bj_api_sync/v1/{self.endpoint.replace('bench', 'bench-nested')}"
        )
        self.headers = {"Authorization": f"Bearer {facts['token']}"}

    def list(self, offset, limit=100):
        return self._json(
            "GET", f"{self.root}?limit={limit}&offset={offset}&order=id&count=none"
        )

    def list_total(self, offset, limit=100):
        return self._json("GET", f"{self.root}?limit={limit}&offset={offset}&order=id")

    def get(self, partner):
        return self._json("GET", f"{self.root}/{partner[1]}")

    def create(self, row):
        return self._json("POST", self.root, rename(row))

    def update(self, partner, row):
        return self._json("PUT", f"{self.root}/{partner[1]}", rename(row))

    def delete(self, partner):
        return self._json("DELETE", f"{self.root}/{partner[1]}")

    def bulk(self, rows):
        return self._json("POST", self.root, [rename(row) for row in rows])

    def nested(self, rows):
        return self._json("POST", self.nested_root, [rename(row) for row in rows])

    def bulk_update(self, changes):
        rows = [rename({"ref": ref, **row}) for (_id, ref), row in changes]
        return self._json("PUT", self.root, rows)


class OursNoLog(Ours):
    name = "ours_nolog"
    endpoint = "bench-nolog"


class Rpc(Peer):
    """Remote calls of model methods: ids of related records are the client's business."""

    def execute(self, method, args, options):
        raise NotImplementedError

    def list(self, offset, limit=100):
        options = {"offset": offset, "limit": limit, "order": "id"}
        return self.execute("search_read", [[], FIELDS], options)

    def get(self, partner):
        return self.execute("read", [[partner[0]], FIELDS], {})

    def create(self, row):
        return self.execute("create", [row], {})

    def update(self, partner, row):
        return self.execute("write", [[partner[0]], row], {})

    def delete(self, partner):
        return self.execute("unlink", [[partner[0]]], {})

    def bulk(self, rows):
        return self.execute("create", [rows], {})

    def nested(self, rows):
        return self.execute("create", [[self._resolve(row) for row in rows]], {})

    def _resolve(self, row):
        row = dict(row)
        row["country_id"] = self.facts["countries"][row.pop("country")]
        tags = [self.facts["tags"][name] for name in row.pop("tags")]
        return {**row, "category_id": [(6, 0, tags)]}


class JsonRpc(Rpc):
    name = "jsonrpc"

    def execute(self, method, args, options):
        login = [self.facts[key] for key in ("database", "user_id", "password")]
        parameters = {
            "service": "object",
            "method": "execute_kw",
            "args": [*login, "res.partner", method, args, options],
        }
        body = {"jsonrpc": "2.0", "method": "call", "params": parameters, "id": 1}
        return self._json("POST", "/jsonrpc", body)

    def check(self, request, status, body):
        super().check(request, status, body)
        if b'"error"' in body[:200]:
            raise BadAnswer(f"{self.name}: {body[:400]}")


class CallKw(JsonRpc):
    """What the web client sends, with the cookie of a login."""

    name = "call_kw"

    def __init__(self, facts):
        super().__init__(facts)
        self.headers = {"Cookie": f"session_id={facts['session_id']}"}

    def execute(self, method, args, options):
        parameters = {
            "model": "res.partner",
            "method": method,
            "args": args,
            "kwargs": options,
        }
        body = {"jsonrpc": "2.0", "method": "call", "params": parameters, "id": 1}
        return self._json("POST", f"/web/dataset/call_kw/res.partner/{method}", body)

    def list_total(self, offset, limit=100):
        specification = {name: {} for name in TEXTS}
        specification["country_id"] = {"fields": {"display_name": {}}}
        options = {
            "offset": offset,
            "limit": limit,
            "order": "id",
            "count_limit": 10**6,
        }
        return self.execute("web_search_read", [[], specification], options)


class XmlRpc(Rpc):
    name = "xmlrpc"

    def execute(self, method, args, options):
        login = [self.facts[key] for key in ("database", "user_id", "password")]
        body = xmlrpc.client.dumps(
            (*login, "res.partner", method, args, options), "execute_kw"
        )
        headers = {"Content-Type": "text/xml"}
        return Request("POST", "/xmlrpc/2/object", headers, body.encode())

    def check(self, request, status, body):
        super().check(request, status, body)
        if b"<fault>" in body[:200]:
            raise BadAnswer(f"{self.name}: {body[:400]}")


class FastApi(Peer):
    name = "fastapi"
    root = "/bj_bench_fastapi"

    def __init__(self, facts):
        super().__init__(facts)
        self.headers = {"Api-Key": facts["token"]}

    def list(self, offset, limit=100):
        return self._json("GET", f"{self.root}/partners?limit={limit}&offset={offset}")

    def get(self, partner):
        return self._json("GET", f"{self.root}/partners/{partner[0]}")

    def create(self, row):
        return self._json("POST", f"{self.root}/partners", row)

    def update(self, partner, row):
        return self._json("PUT", f"{self.root}/partners/{partner[0]}", row)

    def delete(self, partner):
        return self._json("DELETE", f"{self.root}/partners/{partner[0]}")

    def bulk(self, rows):
        return self._json("POST", f"{self.root}/bulk", rows)

    def nested(self, rows):
        rows = [self._resolve(row) for row in rows]
        return self._json("POST", f"{self.root}/nested", rows)

    def _resolve(self, row):
        row = dict(row)
        row["country_id"] = self.facts["countries"][row.pop("country")]
        row["category_ids"] = [self.facts["tags"][name] for name in row.pop("tags")]
        return row


class BaseRest(FastApi):
    name = "base_rest"
    root = "/bj_bench_rest"

    def bulk(self, rows):
        return self._json("POST", f"{self.root}/partners/create_many", {"rows": rows})

    def nested(self, rows):
        return self.bulk([self._resolve(row) for row in rows])


def rename(row):
    return {EXTERNAL.get(name, name): value for name, value in row.items()}


PEERS = [Raw, RawUser, Ours, OursNoLog, CallKw, JsonRpc, XmlRpc, FastApi, BaseRest]
