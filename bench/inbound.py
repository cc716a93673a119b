"""Calls into Odoo: latency, throughput, SQL queries and memory of each operation."""

import http.client
import itertools
import json
import random
import statistics
import time
from collections import defaultdict
from importlib.util import module_from_spec, spec_from_file_location

from client import call, json_request, median, percentile, run_one_by_one, run_together
from peers import PEERS
from server import OCA, sql

# operation -> what one request is; `list` answers rows only, `list_total` their number
# in all as well, which only some offer
OPERATIONS = {
    "list": "100 of 10,000 contacts, 8 keys",
    "list_total": "the same with the number of all contacts",
    "list1000": "1,000 contacts, 8 keys",
    "get": "one contact, another one each time",
    "create": "one contact of 7 values",
    "update": "3 values of a contact",
    "delete": "a contact",
    "bulk": "1,000 contacts of 7 values in one request",
    "nested": "1,000 contacts with a country by code and two tags by name",
    "bulk_update": "3 values of 1,000 contacts in one request, other ones for each",
}
BULK = ("bulk", "nested", "bulk_update")
MAX_TOGETHER = {"delete": 100, "create": 120, "update": 150}
HEAVY = (*BULK, "list1000")
# They take so little time that what else the machine does shows, so there are more of them.
READS = ("list", "list_total", "get")
MORE = 4  # times as many requests one by one
PART = 0.3  # seconds of a peer's turn with several clients


def measure(server, args, operations, oca, deadline):
    """Return ``{"cells": [one dict a peer, operation, number of clients and round]}``."""
    facts = get_facts(server)
    peers = [
        peer(facts)
        for peer in PEERS
        if peer.name in args.only and (peer.name in oca or peer.name not in OCA)
    ]
    bench = Bench(server, facts)
    for peer, operation in itertools.product(peers, operations):
        bench.warm_up(peer, operation)
    cells = []
    for round_number in range(args.rounds):
        started = time.monotonic()
        shift = round_number % len(peers)
        turn = [*peers[shift:], *peers[:shift]]
        for operation in operations:
            if time.monotonic() > deadline:
                print(
                    f"The time is up in round {round_number + 1}, before {operation}."
                )
                return {"cells": cells}
            if operation in HEAVY:
                found = [bench.latency(peer, operation, args.samples) for peer in turn]
            else:
                is_read = operation in READS
                samples = args.samples * MORE if is_read else args.samples
                seconds = args.seconds * 2 if is_read else args.seconds
                found = bench.latencies(turn, operation, samples)
                for clients in args.clients:
                    found += bench.throughputs(turn, operation, clients, seconds)
            cells += [{**cell, "round": round_number} for cell in found if cell]
        taken = time.monotonic() - started
        print(f"round {round_number + 1} of {args.rounds}: {taken:.0f} s", flush=True)
    return {"cells": cells}


def get_facts(server):
    """Return credentials and ids, read from the database and by one login."""
    path = server.database.settings.addons / "bj_bench" / "facts.py"
    spec = spec_from_file_location("bj_bench_facts", path)
    spec.loader.exec_module(known := module_from_spec(spec))
    name = server.database.name
    login = {"db": name, "login": known.LOGIN, "password": known.PASSWORD}
    body = {"jsonrpc": "2.0", "method": "call", "params": login, "id": 1}
    session_id, user_id = open_session(server.port, body)
    return {
        "database": name,
        "user_id": user_id,
        "password": known.PASSWORD,
        "token": known.TOKEN,
        "session_id": session_id,
        "countries": dict(sql(name, "SELECT code, id FROM res_country")),
        "tags": dict(sql(name, "SELECT name->>'en_US', id FROM res_partner_category")),
        "partners": sql(
            name, "SELECT id, ref FROM res_partner WHERE ref LIKE 'K%' ORDER BY id"
        ),
    }


def open_session(port, body):
    """Return ``(session id, user id)`` of a login."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/web/session/authenticate", json.dumps(body), headers)
    answer = connection.getresponse()
    result = json.loads(answer.read())["result"]
    cookie = answer.headers["Set-Cookie"]
    return cookie.split("session_id=")[1].split(";")[0], result["uid"]


class Bench:
    """Makes the requests of a cell, measures them, and removes what they made."""

    def __init__(self, server, facts):
        self.server = server
        self.facts = facts
        self.number = itertools.count(1)
        self.partner = itertools.cycle(facts["partners"][1000:])
        self.last_id = sql(facts["database"], "SELECT max(id) FROM res_partner")[0][0]
        self.country_codes = sorted(facts["countries"])[:20]
        self.tag_names = sorted(facts["tags"])[:20]

    def warm_up(self, peer, operation):
        count = 2 if operation in BULK else 6
        requests = self.make_requests(peer, operation, count, rows=100)
        if requests:
            self._run(peer, operation, requests)
            self.clean_up(operation)

    def latencies(self, peers, operation, samples):
        """Return a cell of each peer, whose requests are sent in turn.

        What else the machine does for a moment then meets all peers, not one of them.
        """
        offers = [
            (peer, requests)
            for peer in peers
            if (requests := self.make_requests(peer, operation, samples + 2))
        ]
        order = []  # of (peer's name, seconds, CPU seconds)
        with self.server.watch() as seen:
            for number in range(samples + 2):
                for peer, requests in random.sample(offers, len(offers)):
                    cpu = self.server.cpu_seconds()
                    [seconds] = self._run(
                        peer, operation, requests[number : number + 1]
                    )
                    cpu = self.server.cpu_seconds() - cpu
                    order.append((peer.name, seconds, cpu))
        self.clean_up(operation)
        counts = seen["counts"]  # in the order of the requests, as far as all are there
        if len(counts) != len(order):
            counts = [None] * len(order)
        # The first two find what others have pushed out of the caches of both workers.
        rows = list(zip(order, counts, strict=True))[2 * len(offers) :]
        cells = []
        for peer, _requests in offers:
            mine = [row for row in rows if row[0][0] == peer.name]
            cells.append(
                {
                    "peer": peer.name,
                    "operation": operation,
                    "clients": 1,
                    "ms": [round(seconds * 1000, 3) for (_, seconds, _), _ in mine],
                    "cpu_ms": round(median([cpu * 1000 for (_, _, cpu), _ in mine]), 2),
                    "queries": median(
                        [count for _, count in mine if count is not None]
                    ),
                    "mib": None,
                }
            )
        return cells

    def latency(self, peer, operation, samples):
        """Return the cell of a peer for an operation that takes so long as to be rare."""
        if operation in BULK:
            samples = max(samples // 12, 1)
        else:
            samples = max(samples // 4, 2)
        requests = self.make_requests(peer, operation, samples + 2)
        if not requests:
            return None
        # The first two find what others have pushed out of the caches of both workers.
        unmeasured = 0 if operation in BULK else 2
        self._run(peer, operation, requests[:unmeasured])
        with self.server.watch() as seen:
            times = self._run(peer, operation, requests[unmeasured:][:samples])
        seen["cpu_ms"] = round(seen["cpu"] * 1000 / len(times), 2)
        self.clean_up(operation)
        return {
            "peer": peer.name,
            "operation": operation,
            "clients": 1,
            "ms": [round(seconds * 1000, 3) for seconds in times],
            **seen,
        }

    def throughputs(self, peers, operation, clients, seconds):
        """Return a cell of each peer, which several clients call for so many seconds.

        They take turns in parts of a second, for the same reason as in `latencies`.
        """
        count = MAX_TOGETHER.get(operation, 3000)
        offers = [
            (peer, requests)
            for peer in peers
            if (requests := self.make_requests(peer, operation, count))
        ]
        answered = defaultdict(list)  # peer's name -> [(requests, seconds, MiB)]
        parts = max(round(seconds / PART), 1)
        for part in range(parts):
            for peer, requests in random.sample(offers, len(offers)):
                with self.server.watch() as seen:
                    found = run_together(
                        self.server.port,
                        requests[part::parts],
                        self._check(peer, operation),
                        clients,
                        seconds / parts,
                    )
                answered[peer.name].append((*found, seen["mib"]))
        self.clean_up(operation)
        cells = []
        for peer, _requests in offers:
            counts, times, mibs = zip(*answered[peer.name], strict=True)
            cells.append(
                {
                    "peer": peer.name,
                    "operation": operation,
                    "clients": clients,
                    "rate": round(sum(counts) / sum(times), 1),
                    "mib": max((mib for mib in mibs if mib), default=None),
                }
            )
        return cells

    def _run(self, peer, operation, requests):
        check = self._check(peer, operation)
        return run_one_by_one(self.server.port, requests, check)

    def _check(self, peer, operation):
        def check(request, status, body):
            peer.check(request, status, body)
            rows = {"list": 100, "list_total": 100, "list1000": 1000, "get": 1}
            if operation in rows:
                peer.check_rows(body, rows[operation])

        return check

    # -- requests --------------------------------------------------------------------

    def make_requests(self, peer, operation, count, rows=1000):
        """Return the requests of a cell, none if the peer does not offer that.

        :param int rows: of a request that has many
        """
        if operation == "list1000":
            return [peer.list(1000 + n * 100, 1000) for n in range(count)]
        make = getattr(peer, operation)
        if make is None:
            return []
        if operation in ("list", "list_total"):
            return [make(1000 + n % 80 * 100) for n in range(count)]
        if operation == "get":
            return [make(next(self.partner)) for _n in range(count)]
        if operation == "create":
            return [make(self._row()) for _n in range(count)]
        if operation == "update":
            return [make(next(self.partner), self._change()) for _n in range(count)]
        if operation == "delete":
            return [make(partner) for partner in self._spare_partners(count)]
        if operation == "bulk_update":
            return [
                make([(next(self.partner), self._change()) for _r in range(rows)])
                for _n in range(count)
            ]
        if operation == "bulk":
            return [make([self._row() for _r in range(rows)]) for _n in range(count)]
        return [make([self._nested_row() for _r in range(rows)]) for _n in range(count)]

    def _row(self):
        number = next(self.number)
        return {
            "ref": f"N{number:08}",
            "name": f"New contact {number}",
            "email": f"new{number}@example.com",
            "phone": f"+380 67 {number:07}",
            "street": f"{number % 200} Side Street",
            "city": f"Town {number % 500}",
            "zip": f"{number % 90000 + 10000}",
        }

    def _nested_row(self):
        row = self._row()
        number = int(row["ref"][1:])
        row["country"] = self.country_codes[number % len(self.country_codes)]
        row["tags"] = [
            self.tag_names[(number + n) % len(self.tag_names)] for n in (0, 7)
        ]
        return row

    def _change(self):
        number = next(self.number)
        return {
            "street": f"{number} New Street",
            "city": f"New Town {number}",
            "phone": f"+380 50 {number:07}",
        }

    def _spare_partners(self, count):
        """Return contacts that nobody minds losing."""
        rows = [self._row() for _n in range(count)]
        request = json_request("POST", "/bj_bench/partners", rows)
        ids = call(self.server.port, request)
        return list(zip(ids, (row["ref"] for row in rows), strict=True))

    def clean_up(self, operation):
        """Leave the tables as they were for the next one, and PostgreSQL without work.

        Autovacuum would come some time later, while something else is measured.
        """
        if operation in (*BULK, "create", "delete"):
            made = f"> {self.last_id}"
            sql(
                self.facts["database"],
                "DELETE FROM mail_message WHERE model = 'res.partner' AND res_id "
                + made,
                "DELETE FROM mail_followers WHERE res_model = 'res.partner'"
                f" AND res_id {made}",
                f"DELETE FROM res_partner WHERE id {made}",
            )
        if operation in (*BULK, *MAX_TOGETHER):
            # Updates scatter the contacts, and a list with an offset reads all before it.
            cluster = "CLUSTER res_partner USING res_partner_pkey"
            sql(self.facts["database"], cluster, "VACUUM ANALYZE")


# Tables ---------------------------------------------------------------------------------


def summarize(result):
    """Return ``{operation: {peer: figures}}`` of the cells."""
    cells = defaultdict(list)  # (operation, peer) -> cells
    for cell in result["cells"]:
        cells[cell["operation"], cell["peer"]].append(cell)
    tables = defaultdict(dict)
    for (operation, peer), found in cells.items():
        single = [cell for cell in found if "ms" in cell]
        together = [cell for cell in found if "rate" in cell]
        raw = {
            cell["round"]: statistics.median(cell["ms"])
            for cell in cells.get((operation, "raw"), ())
            if "ms" in cell
        }
        medians = {cell["round"]: statistics.median(cell["ms"]) for cell in single}
        times = [ms for cell in single for ms in cell["ms"]]
        tables[operation][peer] = {
            "median_ms": median(list(medians.values())),
            "p95_ms": percentile(times, 0.95),
            "ratio": median([ms / raw[n] for n, ms in medians.items() if n in raw]),
            "cpu_ms": median([c["cpu_ms"] for c in single]),
            "queries": median([c["queries"] for c in single if c["queries"]]),
            "mib": max((c["mib"] for c in found if c["mib"]), default=None),
            "rates": {
                clients: median(
                    [c["rate"] for c in together if c["clients"] == clients]
                )
                for clients in sorted({c["clients"] for c in together})
            },
        }
    return tables


def show(result, show_table):
    for operation, peers in summarize(result).items():
        rates = sorted({n for figures in peers.values() for n in figures["rates"]})
        heads = ["median ms", "p95 ms", "x raw", "CPU ms", "queries"]
        heads += [f"req/s c{clients}" for clients in rates] + ["MiB"]
        rows = []
        for peer in sorted(peers, key=[peer.name for peer in PEERS].index):
            figures = peers[peer]
            values = [
                shown(figures["median_ms"], 1),
                shown(figures["p95_ms"], 1),
                shown(figures["ratio"], 2),
                shown(figures["cpu_ms"], 1),
                shown(figures["queries"], 0),
                *(shown(figures["rates"].get(clients), 0) for clients in rates),
                shown(figures["mib"], 0),
            ]
            rows.append([peer, *values])
        show_table(f"{operation}: {OPERATIONS[operation]}", heads, rows)


def shown(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"
