"""What the figures of a run are to be: `./dev bench` ends with those it has measured."""

from client import median
from inbound import summarize

HEADS = ["found", "target", ""]


def check(results):
    """Return ``[(what, found, limit, whether the limit is the most)]``."""
    tables = summarize(results["inbound"]) if "inbound" in results else {}
    found = [
        ("list of 100, x raw", ratio(tables, "list"), 1.5, True),
        ("list without a log, x raw", ratio(tables, "list", "ours_nolog"), 1.3, True),
        ("list, queries", figure(tables, "list", "queries"), 7, True),
        ("list, 16 clients, x JSON-RPC", rate_ratio(tables, "list"), 1.4, False),
        ("list of 1,000, x list of 100", compare(tables, "list1000", "list"), 9, True),
        ("get, x raw", ratio(tables, "get"), 1.6, True),
        ("create, x raw", ratio(tables, "create"), 1.25, True),
        ("update, x raw", ratio(tables, "update"), 1.15, True),
        ("delete, x raw", ratio(tables, "delete"), 1.2, True),
        ("bulk of 1,000 flat, x raw", ratio(tables, "bulk"), 1.1, True),
        ("bulk nested, x flat", compare(tables, "nested", "bulk"), 1.5, True),
        *check_outbound(results.get("outbound", {"rates": {}, "enqueue": {}})),
    ]
    return [target for target in found if target[1] is not None]


def check_outbound(result):
    rates = {
        (way, delay): median(found)
        for way, by_delay in result["rates"].items()
        for delay, found in by_delay.items()
    }
    yield "outbound, instant receiver, a second", rates.get(("ours", 0)), 500, False
    yield "outbound, 50 ms receiver, a second", rates.get(("ours", 0.05)), 200, False
    # Where they wait: two that compute share the cores with PostgreSQL and the receiver.
    one, two = (
        median(result.get("steady", {}).get(way, {}).get(0.05, []))
        for way in ("ours", "ours_2")
    )
    what = "two senders, 50 ms receiver, x one"
    yield what, two / one if one and two else None, 1.6, False
    if result["enqueue"]:
        alone, both = map(median, result["enqueue"].values())
        most = alone * 1.5 + 0.3
        yield "one write that enqueues 1,000, seconds", both, most, True


def figure(tables, operation, name, peer="ours"):
    return tables.get(operation, {}).get(peer, {}).get(name)


def ratio(tables, operation, peer="ours"):
    return figure(tables, operation, "ratio", peer)


def compare(tables, operation, other):
    mine = figure(tables, operation, "median_ms")
    theirs = figure(tables, other, "median_ms")
    return mine / theirs if mine and theirs else None


def rate_ratio(tables, operation, clients=16):
    mine, theirs = (
        (figure(tables, operation, "rates", peer) or {}).get(clients)
        for peer in ("ours", "jsonrpc")
    )
    return mine / theirs if mine and theirs else None


def show(results, show_table):
    rows = []
    for what, found, limit, is_most in check(results):
        holds = found <= limit if is_most else found >= limit
        bound = f"{'<=' if is_most else '>='} {limit:.4g}"
        rows.append([what, f"{found:.4g}", bound, "holds" if holds else "missed"])
    if rows:
        show_table("targets", HEADS, rows)
