"""Fed to `odoo-bin shell` by `./dev bench --profile OPERATION`: where the time goes.

Requests go straight into Odoo's WSGI application, in one process and one thread, so that
a profile has everything but the sockets. CPU times and their ratio come first, measured
without the profiler, then the SQL statements of one request, then the profiles.
"""

import cProfile
import itertools
import json
import os
import pstats
import statistics
import time

import odoo.http
from odoo.addons.bj_bench.facts import TOKEN
from odoo.addons.bj_bench.hooks import KEYS
from odoo.sql_db import Cursor
from odoo.tools import SQL
from werkzeug.test import EnvironBuilder, run_wsgi_app

STATEMENT_LENGTH = 150
env = globals()["env"]
numbers = itertools.count(int(time.time()))
partners = env["res.partner"].search([("ref", "like", "K%")], order="id")
known = itertools.cycle([(partner.id, partner.ref) for partner in partners])
columns = {field: key for key, field in KEYS.items()}
env.cr.commit()


def send(method, path, value=None):
    body = None if value is None else json.dumps(value).encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    path, _mark, query = path.partition("?")
    environ = EnvironBuilder(
        method=method,
        path=path,
        query_string=query,
        data=body,
        headers=headers,
        environ_base={"REMOTE_ADDR": "127.0.0.1"},
    ).get_environ()
    answer, status, _headers = run_wsgi_app(odoo.http.root, environ, buffered=True)
    text = b"".join(answer)
    assert status.startswith("2"), (method, path, status, text[:400])
    return json.loads(text)


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


def change():
    number = next(numbers)
    return {"street": f"{number} New Street", "city": f"New Town {number}"}


def named(values):
    return {columns.get(field, field): value for field, value in values.items()}


def nested():
    number = next(numbers)
    tags = [f"Tag {(number + step) % 20}" for step in (0, 7)]
    return {**row(), "country": "UA", "tags": tags}


def delete(is_ours):
    values = row()
    [partner_id] = send("POST", RAW, values)
    send("DELETE", f"{OURS}/{values['ref']}" if is_ours else f"{RAW}/{partner_id}")


OURS, RAW = "/bj_api_sync/v1/bench", "/bj_bench/partners"
PAGE = "?limit=100&offset=1000"
OPERATIONS = {  # ours, raw; each delete makes the contact first, in both
    "list": (
        lambda: send("GET", f"{OURS}{PAGE}&order=id&count=none"),
        lambda: send("GET", f"{RAW}{PAGE}"),
    ),
    "get": (
        lambda: send("GET", f"{OURS}/{next(known)[1]}"),
        lambda: send("GET", f"{RAW}/{next(known)[0]}"),
    ),
    "create": (
        lambda: send("POST", OURS, named(row())),
        lambda: send("POST", RAW, row()),
    ),
    "update": (
        lambda: send("PUT", f"{OURS}/{next(known)[1]}", named(change())),
        lambda: send("PUT", f"{RAW}/{next(known)[0]}", change()),
    ),
    "delete": (lambda: delete(True), lambda: delete(False)),
    "bulk": (
        lambda: send("POST", OURS, [named(row()) for _n in range(1000)]),
        lambda: send("POST", RAW, [row() for _n in range(1000)]),
    ),
    "nested": (
        lambda: send("POST", f"{OURS}-nested", [named(nested()) for _n in range(1000)]),
        lambda: send("POST", "/bj_bench/nested", [nested() for _n in range(1000)]),
    ),
}


def cpu_ms(request, count):
    start = time.process_time()
    for _number in range(count):
        request()
    return (time.process_time() - start) / count * 1000


def show_statements(title, request):
    """Print what one request asks the database, the start of each statement."""
    execute = Cursor.execute
    seen = []

    def note(cursor, query, *args, **options):
        start = time.perf_counter()
        try:
            return execute(cursor, query, *args, **options)
        finally:
            text = " ".join(
                query.code.split() if isinstance(query, SQL) else query.split()
            )
            seen.append((time.perf_counter() - start, text))

    Cursor.execute = note
    try:
        request()
    finally:
        Cursor.execute = execute
    print(f"\n{title}, {len(seen)} statements of one request")
    for seconds, text in seen:
        print(f"{seconds * 1000:8.2f} ms  {text[:STATEMENT_LENGTH]}")


def profile(title, request, count):
    profiler = cProfile.Profile()
    profiler.enable()
    for _number in range(count):
        request()
    profiler.disable()
    print(f"\n{title}, {count} requests")
    statistics_of_calls = pstats.Stats(profiler)
    statistics_of_calls.strip_dirs().sort_stats("cumulative").print_stats(60)
    statistics_of_calls.sort_stats("tottime").print_stats(25)


def main():
    operation = os.environ["BJ_BENCH_PROFILE"]
    ours, raw = OPERATIONS[operation]
    count = 1 if operation in ("bulk", "nested") else 40
    for request in (ours, raw):
        cpu_ms(request, min(count, 8))  # warms up
    pairs = [(cpu_ms(ours, count), cpu_ms(raw, count)) for _round in range(5)]
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{operation}: {mine:.1f} ms CPU, raw {theirs:.1f}, {ratio:.2f} x")
    show_statements("ours", ours)
    show_statements("raw", raw)
    profile("ours", ours, count)
    profile("raw", raw, count)


main()
