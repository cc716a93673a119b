"""Fed to `odoo-bin shell` by `./dev bench --cpu` and `--profile OPERATION`.

Requests go straight into Odoo's WSGI application, in one process and one thread, so that
a profile has everything but the sockets, and what else the machine does hardly disturbs
the CPU times. Those come first, without the profiler; a profile adds the SQL statements
of one request and where the time goes.
"""

import cProfile
import itertools
import json
import os
import pstats
import time
from dataclasses import dataclass, field
from functools import partial

import odoo.http
from odoo.addons.bj_bench.facts import TOKEN
from odoo.addons.bj_bench.hooks import KEYS
from odoo.sql_db import Cursor
from odoo.tools import SQL
from werkzeug.test import EnvironBuilder, run_wsgi_app

STATEMENT_LENGTH = 150
BULK = ("bulk", "nested", "bulk_update")
env = globals()["env"]
numbers = itertools.count(int(time.time() * 1000))
partners = env["res.partner"].search([("ref", "like", "K%")], order="id")
known = itertools.cycle([(partner.id, partner.ref) for partner in partners])
columns = {name: key for key, name in KEYS.items()}
env.cr.commit()


@dataclass
class Peer:
    """A way into Odoo: ``keys`` are what it calls the fields."""

    name: str
    root: str
    nested_root: str
    list_query: str = ""
    headers: dict = field(default_factory=dict)
    keys: dict = field(default_factory=dict)

    def send(self, method, path, value=None):
        body = None if value is None else json.dumps(value).encode()
        path, _mark, query = path.partition("?")
        environ = EnvironBuilder(
            method=method,
            path=path,
            query_string=query,
            data=body,
            headers={"Content-Type": "application/json", **self.headers},
            environ_base={"REMOTE_ADDR": "127.0.0.1"},
        ).get_environ()
        answer, status, _headers = run_wsgi_app(odoo.http.root, environ, buffered=True)
        text = b"".join(answer)
        assert status.startswith("2"), (method, path, status, text[:400])
        return json.loads(text)

    def record(self, record_id, ref):
        return f"{self.root}/{ref if self.keys else record_id}"

    def named(self, values):
        return {self.keys.get(name, name): value for name, value in values.items()}


RAW = Peer("raw", "/bj_bench/partners", "/bj_bench/nested")
RAW_USER = Peer("raw_user", RAW.root, RAW.nested_root, headers={"X-Bench-User": "1"})
OURS, OURS_NOLOG = (
    Peer(
        name,
        f"/bj_api_sync/v1/{endpoint}",
        "/bj_api_sync/v1/bench-nested",
        "&order=id&count=none",
        {"Authorization": f"Bearer {TOKEN}"},
        columns,
    )
    for name, endpoint in (("ours", "bench"), ("ours_nolog", "bench-nolog"))
)
PEERS = (RAW, RAW_USER, OURS, OURS_NOLOG)


# Each returns a request that is ready to be sent; what it needs is made before.


def make_list(peer):
    path = f"{peer.root}?limit=100&offset=1000{peer.list_query}"
    return partial(peer.send, "GET", path)


def make_get(peer):
    return partial(peer.send, "GET", peer.record(*next(known)))


def make_create(peer):
    return partial(peer.send, "POST", peer.root, peer.named(row()))


def make_update(peer):
    number = next(numbers)
    values = {"street": f"{number} New Street", "city": f"New Town {number}"}
    return partial(peer.send, "PUT", peer.record(*next(known)), peer.named(values))


def make_delete(peer):
    values = row()
    [partner_id] = RAW.send("POST", RAW.root, values)
    return partial(peer.send, "DELETE", peer.record(partner_id, values["ref"]))


def make_bulk(peer):
    rows = [peer.named(row()) for _n in range(1000)]
    return partial(peer.send, "POST", peer.root, rows)


def make_nested(peer):
    rows = []
    for number in range(1000):
        tags = [f"Tag {(number + step) % 20}" for step in (0, 7)]
        rows.append(peer.named({**row(), "country": "UA", "tags": tags}))
    return partial(peer.send, "POST", peer.nested_root, rows)


def make_bulk_update(peer):
    changes = []
    for _number in range(1000):
        number = next(numbers)
        values = {"street": f"{number} New Street", "city": f"New Town {number}"}
        changes.append((*next(known), values))
    if peer.keys:
        rows = [peer.named({"ref": ref, **values}) for _id, ref, values in changes]
    else:
        rows = [(partner_id, values) for partner_id, _ref, values in changes]
    return partial(peer.send, "PUT", peer.root, rows)


def row():
    number = next(numbers)
    return {
        "ref": f"P{number}",
        "name": f"Profile {number}",
        "email": f"profile{number}@example.com",
        "phone": f"+380 67 {number % 10**7:07}",
        "street": "Side Street",
        "city": "Town",
        "zip": "10000",
    }


def measure(operation):
    """Return ``{peer: CPU ms of a request}``, of requests in turn.

    Of many the 20th percentile is taken: what disturbs a request only ever adds to it.
    """
    make = globals()[f"make_{operation}"]
    rounds = 5 if operation in BULK else 60
    times = {peer.name: [] for peer in PEERS}
    for number in range(-3, rounds):  # the first ones only warm up
        for peer in PEERS[:: -1 if number % 2 else 1]:
            request = make(peer)
            start = time.process_time()
            request()
            if number >= 0:
                times[peer.name].append((time.process_time() - start) * 1000)
    return {name: sorted(found)[len(found) // 5] for name, found in times.items()}


def show_cpu(operations):
    print("\nCPU ms of a request, without sockets (x raw)")
    print(f"{'':<12}" + "".join(f"{peer.name:>18}" for peer in PEERS))
    for operation in operations:
        times = measure(operation)
        texts = [f"{ms:.1f} ({ms / times['raw']:.2f} x)" for ms in times.values()]
        print(f"{operation:<12}" + "".join(f"{t:>18}" for t in texts), flush=True)


def show_statements(title, request):
    """Print what one request asks the database, the start of each statement."""
    execute = Cursor.execute
    seen = []

    def note(cursor, query, *args, **options):
        start = time.perf_counter()
        try:
            return execute(cursor, query, *args, **options)
        finally:
            text = query.code if isinstance(query, SQL) else query
            seen.append((time.perf_counter() - start, " ".join(text.split())))

    Cursor.execute = note
    try:
        request()
    finally:
        Cursor.execute = execute
    print(f"\n{title}, {len(seen)} statements of one request")
    for seconds, text in seen:
        print(f"{seconds * 1000:8.2f} ms  {text[:STATEMENT_LENGTH]}")


def profile(title, make, count):
    profiler = cProfile.Profile()
    for _number in range(count):
        request = make()
        profiler.enable()
        request()
        profiler.disable()
    print(f"\n{title}, {count} requests")
    statistics_of_calls = pstats.Stats(profiler)
    statistics_of_calls.strip_dirs().sort_stats("cumulative").print_stats(60)
    statistics_of_calls.sort_stats("tottime").print_stats(25)


def main():
    operations = os.environ["BJ_BENCH_CPU"].split(",")
    show_cpu(operations)
    if os.environ["BJ_BENCH_PROFILE"]:
        make = globals()[f"make_{operations[0]}"]
        for peer in (OURS, RAW):
            show_statements(peer.name, make(peer))
        for peer in (OURS, RAW):
            profile(peer.name, partial(make, peer), 1 if operations[0] in BULK else 40)


main()
