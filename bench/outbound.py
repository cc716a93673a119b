"""Calls out of Odoo: deliveries a second to a receiver on this machine."""

import http.client
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from client import call, exchange, json_request, median
from server import Server, sql

DELAYS = (0.0, 0.05)  # seconds that the receiver takes
PATIENCE = 60  # seconds until a way that does not get on is given up
# way -> what it is
WAYS = {
    "ours": "outbox, one cron worker",
    "ours_2": "outbox, two cron workers",
    "webhook": "core's Send Webhook Notification, inside the transaction",
    "queue_job": "OCA queue_job, one push a job, four channels",
}


def measure(database, args, oca):
    """Return ``{"rates": {way: {delay: [a second]}}, "steady": ..., "enqueue": {...}}``.

    ``steady`` is the same as ``rates`` for our ways, without the beginning and the end.
    """
    rounds = 1 if args.quick else 3
    result = {"rates": {}, "steady": {}, "enqueue": {}}
    with receiver() as target:
        with Server(database, args.port, "--max-cron-threads=1") as server:
            run(server, "set_up", target, url=target.url)
            result["enqueue"] = enqueue(server, target, rounds)
            result["rates"]["ours"], result["steady"]["ours"] = drain(
                server, target, "ours", rounds, args.quick
            )
            result["rates"]["webhook"] = push(server, target, rounds, args.quick)
        with Server(database, args.port, "--max-cron-threads=2") as server:
            result["rates"]["ours_2"], result["steady"]["ours_2"] = drain(
                server, target, "ours", rounds, args.quick
            )
        if "queue_job" in oca:
            options = ["--max-cron-threads=0", "--load=base,web,queue_job"]
            environment = {
                "ODOO_QUEUE_JOB_CHANNELS": "root:4",
                "ODOO_QUEUE_JOB_HOST": "127.0.0.1",
                "ODOO_QUEUE_JOB_PORT": str(args.port),
            }
            with Server(database, args.port, *options, env=environment) as server:
                result["rates"]["queue_job"], _steady = drain(
                    server, target, "queue_job", 1, args.quick
                )
    return result


class Target:
    def __init__(self, port):
        self.port = port
        self.url = f"http://127.0.0.1:{port}/contacts"

    def reset(self, delay):
        request = json_request("GET", f"/reset?delay={delay}")
        _exchange_kept(self.port, request)

    def stats(self):
        return _exchange_kept(self.port, json_request("GET", "/stats"))

    def steady_rate(self):
        """Return the arrivals a second from half of all to nine tenths.

        A second sender is woken when the first one finds a backlog, which takes Odoo about
        a second, and the last arrivals do not keep two of them busy.
        """
        arrivals = _exchange_kept(self.port, json_request("GET", "/arrivals"))
        begin, end = len(arrivals) // 2, len(arrivals) * 9 // 10
        return round((end - begin) / (arrivals[end] - arrivals[begin]), 1)


def _exchange_kept(port, request):
    """Ask the receiver, which does not close connections by itself."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(request.method, request.path)
    value = json.loads(connection.getresponse().read())
    connection.close()
    return value


@contextmanager
def receiver():
    command = [sys.executable, Path(__file__).with_name("receiver.py")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield Target(int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait()


def run(server, way, target, **values):
    """Run one way in a request; return the seconds that it took inside of Odoo."""
    job = {"way": way, "url": target.url, **values}
    return call(server.port, json_request("POST", "/bj_bench/outbound", job))


def drain(server, target, way, rounds, is_quick):
    """Return ``(rates, steady rates)`` of a queue.

    The first are from the first arrival until all is settled.
    """
    rates, steady = {}, {}
    for delay in DELAYS:
        count = (
            (2000 if is_quick else 4000) if way == "ours" else (200, 600)[not is_quick]
        )
        rates[delay], steady[delay] = [], []
        for _round in range(rounds):
            settle(server, way)
            target.reset(delay)
            run(server, way, target, count=count)
            rate = wait(server, target, way, count)
            if rate:
                rates[delay].append(rate)
                steady[delay].append(target.steady_rate())
    return rates, steady


def wait(server, target, way, count):
    deadline = time.monotonic() + PATIENCE
    name = server.database.name
    while time.monotonic() < deadline:
        time.sleep(0.1)
        stats = target.stats()
        if stats["count"] >= count:
            while way == "ours" and time.monotonic() < deadline:
                # A delivery counts when its outbox row and its log row say so.
                [(done,)] = sql(
                    name,
                    "SELECT count(*) FROM bj_api_sync_delivery AS d"
                    " JOIN bj_api_log AS l ON l.delivery_id = d.id"
                    " WHERE d.state = 'delivered' AND d.attempt_count = 1",
                )
                if done >= count:
                    return round(count / (time.time() - stats["first"]), 1)
                time.sleep(0.02)
            return round(count / (stats["last"] - stats["first"]), 1)
    print(f"{way}: {target.stats()['count']} of {count} arrived in {PATIENCE} s")
    return None


def settle(server, way):
    """Start from an empty queue."""
    name = server.database.name
    if way == "ours":
        sql(name, "DELETE FROM bj_api_log", "DELETE FROM bj_api_sync_delivery")
    if way == "queue_job":
        sql(name, "DELETE FROM queue_job")


def push(server, target, rounds, is_quick):
    """Return the rates of core's webhook action, which sends while it is run."""
    rates = {}
    for delay in DELAYS:
        count = 60 if delay else (300 if is_quick else 1000)
        target.reset(delay)
        rates[delay] = [
            round(count / run(server, "webhook", target, count=count), 1)
            for _round in range(rounds)
        ]
    return rates


def enqueue(server, target, rounds):
    """Return the seconds of one write of 1,000 records, without and with our rule."""
    seconds = {"write": [], "write_and_enqueue": []}
    for number in range(rounds + 1):  # the first one only warms up
        for name, active in (("write", False), ("write_and_enqueue", True)):
            run(server, "rule", target, active=active)
            time.sleep(0.2)
            job = {"way": "write", "url": f"{name} {number}", "count": 1000}
            request = json_request("POST", "/bj_bench/outbound", job)
            for _worker in range(2):  # finds the rule in both workers
                exchange(
                    server.port, json_request("GET", "/web/health").encode(server.port)
                )
            taken = call(server.port, request)
            if number:
                seconds[name].append(round(taken, 3))
            wait_idle(server)
    run(server, "rule", target, active=False)
    return seconds


def wait_idle(server):
    deadline = time.monotonic() + PATIENCE
    query = "SELECT count(*) FROM bj_api_sync_delivery WHERE state = 'pending'"
    while time.monotonic() < deadline:
        if sql(server.database.name, query) == [(0,)]:
            return
        time.sleep(0.1)


def show(result, show_table):
    heads = [f"{delay * 1000:.0f} ms" for delay in DELAYS]
    rows = []
    for way, rates in result["rates"].items():
        found = [rates.get(delay) for delay in DELAYS]
        texts = [f"{median(values):.0f}" if values else "-" for values in found]
        rows.append([way, *texts, WAYS[way]])
    for way, rates in result["steady"].items():
        texts = [
            f"{median(rates[delay]):.0f}" if rates[delay] else "-" for delay in DELAYS
        ]
        rows.append([f"{way} steady", *texts, "from half of all to nine tenths"])
    title = "outbound: one small JSON a record, calls a second by the receiver's time"
    show_table(title, [*heads, "what it is"], rows)
    if result["enqueue"]:
        alone, both = map(median, result["enqueue"].values())
        print(
            f"\nOne write of 1,000 records: {alone:.2f} s, with a rule that enqueues"
            f" each: {both:.2f} s ({both / alone:.2f} x)"
        )
