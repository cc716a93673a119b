"""Measure the API against the ways into Odoo that are used today.

The peers' requests are sent in turn, one of each in an order that changes, so that
whatever else the machine does for a moment meets all of them; with many clients the peers
take turns in parts of a second. What takes seconds (1,000 records) is measured peer by
peer, each round starting with another one. A ratio is the median of the rounds' ratios to
``raw``, the bare controller.
"""

import argparse
import json
import os
import sys
import time

import inbound
import outbound
import targets
from peers import PEERS
from server import Database, Server, Settings, durable_commits, install_oca

# What bench/profiled.py can do.
PROFILED = (
    "list",
    "get",
    "create",
    "update",
    "delete",
    "bulk",
    "nested",
    "bulk_update",
)


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    peers = [peer.name for peer in PEERS]
    parser.add_argument("--quick", action="store_true", help="about three minutes")
    parser.add_argument("--rounds", type=int, help="5, with --quick 2")
    parser.add_argument(
        "--samples",
        type=int,
        help="requests a cell, four times as many reads: 24, or 8",
    )
    parser.add_argument("--minutes", type=float, help="end after so many: 14, or 2.5")
    parser.add_argument(
        "--only", type=split, default=peers, metavar="PEERS", help=",".join(peers)
    )
    parser.add_argument(
        "--ops",
        type=split,
        default=[*inbound.OPERATIONS, "outbound"],
        metavar="OPERATIONS",
        help=",".join([*inbound.OPERATIONS, "outbound"]),
    )
    parser.add_argument("--clients", type=split, default=["4", "16"])
    parser.add_argument(
        "--cpu", action="store_true", help="compare CPU times in one process instead"
    )
    parser.add_argument(
        "--profile", metavar="OPERATION", help="the same for one, with its profile"
    )
    parser.add_argument("--json", metavar="FILE", help="write all numbers to it")
    parser.add_argument("--markdown", action="store_true", help="tables for a document")
    parser.add_argument("--port", type=int, default=8150)
    parser.add_argument("--keep", action="store_true", help="keep the database")
    args = parser.parse_args()
    args.rounds = args.rounds or (2 if args.quick else 5)
    args.samples = args.samples or (8 if args.quick else 24)
    args.seconds = 0.6 if args.quick else 1.2
    args.minutes = args.minutes or (2.5 if args.quick else 14)
    args.clients = [int(count) for count in args.clients if count]
    if args.quick:
        args.clients = args.clients[-1:]
    for name, known in (("only", peers), ("ops", [*inbound.OPERATIONS, "outbound"])):
        if unknown := set(getattr(args, name)) - set(known):
            parser.error(f"--{name}: unknown {', '.join(sorted(unknown))}")
    if args.profile not in (None, *PROFILED):
        parser.error(f"--profile: one of {', '.join(PROFILED)}")
    return args


def split(text):
    return [part for part in text.split(",") if part]


def main():
    args = parse_arguments()
    settings = Settings()
    results = {"machine": describe_machine(), "arguments": vars(args)}
    show_table = show_markdown if args.markdown else show_text
    oca = install_oca(settings, find_oca(args))
    with Database(settings, oca, args.keep) as database:
        if args.cpu or args.profile:
            return database.profile(find_profiled(args), bool(args.profile))
        with durable_commits():
            measure(args, database, oca, results, show_table)
    targets.show(results, show_table)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(results, file, indent=1)


def measure(args, database, oca, results, show_table):
    deadline = time.monotonic() + args.minutes * 60
    operations = [name for name in inbound.OPERATIONS if name in args.ops]
    if operations:
        with Server(database, args.port, "--max-cron-threads=0") as server:
            results["inbound"] = inbound.measure(
                server, args, operations, oca, deadline
            )
        inbound.show(results["inbound"], show_table)
    if "outbound" in args.ops:
        results["outbound"] = outbound.measure(database, args, oca)
        outbound.show(results["outbound"], show_table)


def find_profiled(args):
    if args.profile:
        return [args.profile]
    return [name for name in PROFILED if name in args.ops]


def find_oca(args):
    """Return the OCA servers to compare with: they make every request dearer."""
    if args.cpu or args.profile:
        return []
    with_jobs = "outbound" in args.ops and not args.quick
    return [*args.only, *(["queue_job"] if with_jobs else [])]


def show_text(title, heads, rows):
    """Print a table; the first text of a row is its name, the others are figures."""
    print(f"\n{title}")
    width = max(12, *(len(row[0]) + 1 for row in rows))
    for name, *texts in [["", *heads], *rows]:
        print(f"{name:<{width}}" + "".join(f" {text:>10}" for text in texts))


def show_markdown(title, heads, rows):
    print(f"\n**{title}**\n")
    for texts in [["", *heads], ["---", *(["---:"] * len(heads))], *rows]:
        print(f"| {' | '.join(texts)} |")


def describe_machine():
    return {
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "python": sys.version.split()[0],
        "date": time.strftime("%Y-%m-%d %H:%M"),
    }


if __name__ == "__main__":
    sys.exit(main())
