"""Log rows in a transaction of their own, which a rollback cannot take along."""

import logging
import threading
import time

from odoo import SUPERUSER_ID, api

from .bj_api_log import is_wanted
from .bj_api_sync_counter import own_transaction
from .bj_api_sync_gate import is_open
from .bj_api_sync_transaction import LOST

_logger = logging.getLogger("bj.api.log")

CONNECTION_SECONDS = 1  # that the row of a known caller waits for a connection
WARNING_SECONDS = 60  # between two lines about rows that got none
LAST_ROW = (
    "Last row for this address: more calls of it without a right credential are not"
    " logged until five minutes begin anew."
)


def record_apart(registry, level, vals, stranger=None):
    """Write one row, whatever becomes of anything else; never raise.

    To be called when the call has given its connection back: whoever needs a second one
    while it holds the first would wait for others that do the same. Losing the last rows
    in a crash of PostgreSQL is better than making each call wait for the disk, so the
    commit is not synchronous.

    :param str level: ``log_level`` of the configuration
    :param dict vals: as for ``bj.api.log._record``
    :param str stranger: address of a caller whom no credential proves: no more rows are
        written for it than tell what is wrong, and none waits for a connection
    """
    if not is_wanted(level, vals):
        return
    seconds = CONNECTION_SECONDS if stranger is None else 0
    try:
        with own_transaction(registry, seconds) as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            left = 1
            stranger = get_stranger(env, vals, stranger)
            if stranger is not None:
                gate = env["bj.api.sync.gate"]
                left = gate._count_row(stranger, vals["status"])
            if not left:
                vals["details"] = LAST_ROW
            if left >= 0:
                env["bj.api.log"]._record(level, vals)
    except LOST as error:
        missing.tell(registry.db_name, error)
    except Exception:
        _logger.exception("Request %s could not be logged", vals.get("request_id"))


def get_stranger(env, vals, stranger):
    """Return the address to count a row for, ``None`` for a caller who is known.

    Where nobody has to prove anything, a caller is known by nothing: what he does is kept
    in full, but not any number of calls that come to nothing.
    """
    is_refused = (vals.get("direction"), vals["status"]) == ("in", "error")
    if stranger is None and is_refused:
        endpoints = env["bj.api.sync.config"]._get_endpoints().values()
        config_id = vals.get("config_id")
        if any(is_open(e) for e in endpoints if e.config_id == config_id):
            return vals.get("remote_addr") or ""
    return stranger


class Missing:
    """Tells of rows that could not be written, without filling the server log."""

    def __init__(self):
        self.lock = threading.Lock()
        self.count = 0
        self.told_at = None  # monotonic

    def tell(self, dbname, error):
        now = time.monotonic()
        with self.lock:
            self.count += 1
            if self.told_at is not None and now - self.told_at < WARNING_SECONDS:
                return
            count, self.count, self.told_at = self.count, 0, now
        _logger.warning(
            "%s: no connection to PostgreSQL was free for the log rows of %s calls "
            "(%s); raise db_maxconn, or have fewer calls at a time",
            dbname,
            count,
            str(error).strip(),
        )


missing = Missing()
