"""Makes calls while the connections of a process run out; run by `odoo shell`.

Prints, as JSON, one entry a call: what it was, after how many connections there was none
to be had, the status, and how many connections were in use before and after it.
"""

import gc
import json
import time
from unittest.mock import patch

import psycopg2
from odoo import http, sql_db
from odoo.addons.bj_api_sync.models import bj_api_log_apart, bj_api_sync_transaction
from odoo.tools import config
from psycopg2.pool import PoolError
from werkzeug.test import Client

env = globals()["env"]
# Nothing is given back meanwhile, so that all waits are in vain.
bj_api_log_apart.CONNECTION_SECONDS = 0.1
bj_api_sync_transaction.MAX_TRIES = 2
bj_api_sync_transaction.ROLLBACK_SECONDS = 0.1
LINES = "application/x-ndjson"
URL = "/bj_api_sync/v1/partners"
CONFIG = env.ref("bj_api_sync.config_partner_in_demo")
OUT = env.ref("bj_api_sync.config_partner_out_demo")
TOKEN = env["bj.api.sync.token"]._generate(CONFIG, "pool")
CONFIG.rate_limit_per_hour = 100000
OUT.write({"url": "http://127.0.0.1:9/closed/", "is_paused": False})
RECORD = env["res.partner"].search([("is_company", "=", True)], limit=1)
DATABASE = env.cr.dbname
env.cr.commit()
POOL = sql_db._Pool
config["db_name"] = DATABASE
found = []


class Borrowing:
    """Lets the pool lend so many connections more, then none: as a full one, or as one
    that PostgreSQL refuses any more."""

    def __init__(self, count, error):
        self.count = count
        self.error = error
        self.borrow = POOL.borrow
        POOL.borrow = self

    def __call__(self, info):
        if self.count <= 0:
            raise self.error("no connection")
        self.count -= 1
        return self.borrow(info)

    def end(self):
        del POOL.borrow


def is_used(place):
    """Tell whether a place of the pool is taken: 18.0 has tuples there."""
    return place[1] if isinstance(place, tuple | list) else place._pool_in_use


def used(expected=None):
    """Count the connections in use; the clock's thread may use one for a moment."""
    for _try in range(50):
        count = sum(map(is_used, POOL._connections))
        if expected is None or count <= expected:
            break
        if gc.isenabled():
            gc.collect()
        time.sleep(0.05)
    return count


def call(method, path, token=TOKEN, body=None, read=None, headers=()):
    headers = dict(headers)
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if body is not None:
        headers["Content-Type"] = "application/json"
    response = Client(http.root).open(
        path, method=method, headers=headers, data=body, buffered=read is None
    )
    if read is not None:
        for _chunk, _number in zip(response.response, range(read), strict=False):
            pass
        response.close()
    text = "" if read is not None else response.get_data(as_text=True)
    return response.status_code, response.headers.get("Content-Type", ""), text


def send_and_roll_back():
    """Send at once in a transaction that does not happen; nobody listens there."""
    try:
        with env.registry.cursor() as cr:
            own = env(cr=cr)
            own["bj.api.sync.config"]._make_outbound_http_request(
                RECORD.with_env(own), OUT.id
            )
            cr.rollback()
    except (PoolError, psycopg2.OperationalError):
        return 503, "", ""
    return 200, "", ""


def save_and_wake():
    """Have a rule's delivery wake the senders when its transaction is committed."""
    try:
        cr = env.registry.cursor()
    except (PoolError, psycopg2.OperationalError):
        return 503, "", ""
    with cr:
        env(cr=cr)["bj.api.sync.outbound"]._wake_senders()
    return 200, "", ""


def fail_late():
    """Have a call fail when its stream is ready, which is then never sent."""
    gc.disable()  # the stream knows its answer and the answer the stream
    with patch.object(type(env["ir.http"]), "_post_dispatch", side_effect=KeyError):
        status, kind, text = call("GET", URL, headers={"Accept": LINES})
    return {500: 400}.get(status, status), kind, text


NEW = json.dumps({"customer_id": "P-1", "name": "Pool"})
CALLS = {
    "unknown endpoint": lambda: call("GET", "/bj_api_sync/v1/nothing"),
    "no token": lambda: call("GET", URL, token=None),
    "wrong token": lambda: call("POST", URL, token="wrong", body=NEW),
    "bad JSON": lambda: call("POST", URL, body='{"name": '),
    "wrong field": lambda: call("POST", URL, body='{"name": 1.5, "customer_id": []}'),
    "dry run": lambda: call("POST", f"{URL}?dry_run=true", body=NEW),
    "preflight": lambda: call("OPTIONS", URL, token=None),
    "list": lambda: call("GET", f"{URL}?limit=1"),
    "head": lambda: call("HEAD", URL),
    "lines": lambda: call("GET", URL, headers={"Accept": LINES}),
    "lines left": lambda: call("GET", URL, read=1, headers={"Accept": LINES}),
    "lines unread": lambda: call("GET", URL, read=0, headers={"Accept": LINES}),
    "lines, failed late": fail_late,
    "openapi": lambda: call("GET", "/bj_api_sync/v1/openapi.json"),
    "openapi, wrong token": lambda: call(
        "GET", "/bj_api_sync/v1/openapi.json", token="wrong"
    ),
    "health": lambda: call("GET", "/bj_api_sync/v1/health"),
    "write": lambda: call("POST", f"{URL}?partial=1", body=f"[{NEW}]"),
    "write, woken": save_and_wake,
    "sent and rolled back": send_and_roll_back,
}
for name, function in CALLS.items():
    for error in (PoolError, psycopg2.OperationalError):
        for free in (*range(6), 100):
            # What is noted once a minute or counted is to be noted again.
            env.cr.execute(
                """DELETE FROM bj_api_sync_counter;
                   UPDATE bj_api_sync_token SET last_use_date = NULL"""
            )
            env.cr.commit()
            before = used()
            borrowing = Borrowing(free, error)
            try:
                status, kind, text = function()
            except Exception as raised:
                status, kind, text = 0, "", repr(raised)
            finally:
                borrowing.end()
            entry = {
                "call": name,
                "error": error.__name__,
                "free": free,
                "status": status,
                "type": kind,
                "text": text[:200],
                "before": before,
                "after": used(before),
            }
            gc.enable()
            found.append(entry)
            env.cr.rollback()
print("FOUND " + json.dumps(found))
