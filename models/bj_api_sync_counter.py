from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

from odoo import api, fields, models
from odoo.modules import module
from odoo.sql_db import Cursor

from ..compat import name_flusher
from .bj_api_sync_transaction import open_cursor


class BjApiSyncCounter(models.Model):
    """Counts per caller and time window, shared by all workers through PostgreSQL."""

    _name = "bj.api.sync.counter"
    _description = "API Counter"
    _log_access = False

    name = fields.Char(required=True)
    start_date = fields.Datetime(required=True, index=True)
    count = fields.Integer(required=True)

    _sql_constraints = [
        ("name_unique", "UNIQUE(name, start_date)", "One counter a window.")
    ]

    @api.model
    def _add(self, windows, times=1):
        """Count more in each window, at once and whatever becomes of the caller.

        In a transaction of its own: a request that is rolled back has counted, and a
        counter is never locked for longer than this statement.

        :param dict windows: ``{name: seconds}``
        :return: ``{name: (count with this one, seconds until the window ends)}``
        """
        with own_transaction(self.env.registry) as cr:
            return self._count_in(cr, windows, times)

    @api.model
    def _add_instead(self, windows, times=1):
        """Count likewise, in place of what a call that is refused has done so far.

        What strangers cause thus takes one connection, and not a second one at the price
        of others.
        """
        cr = self.env.cr
        if cr.readonly or module.current_test:  # which must not commit
            return self._add(windows, times)
        cr.rollback()
        prepare(cr)
        counted = self._count_in(cr, windows, times)
        name_flusher(self.env)
        cr.commit()  # pylint: disable=invalid-commit
        return counted

    @api.model
    def _count_in(self, cr, windows, times=1):
        counted = {}
        # In the order of their names: two callers never wait for each other in a ring.
        for name, seconds in sorted(windows.items()):
            start, left = self._get_window(seconds)
            cr.execute(
                """INSERT INTO bj_api_sync_counter AS c (name, start_date, count)
                   VALUES (%s, %s, %s)
                   ON CONFLICT (name, start_date)
                   DO UPDATE SET count = c.count + EXCLUDED.count
                   RETURNING count""",
                [name, start, times],
            )
            counted[name] = (cr.fetchone()[0], left)
        return counted

    @api.model
    def _peek(self, name, seconds):
        """Return ``(count, seconds until the window ends)`` without counting."""
        start, left = self._get_window(seconds)
        self.env.cr.execute(
            "SELECT count FROM bj_api_sync_counter WHERE name = %s AND start_date = %s",
            [name, start],
        )
        row = self.env.cr.fetchone()
        return (row[0] if row else 0), left

    @api.model
    def _get_window(self, seconds):
        """Return ``(start, seconds left)`` of the window of this length we are in."""
        return window(datetime.now(timezone.utc).replace(tzinfo=None), seconds)

    @api.autovacuum
    def _gc_counters(self):
        before = fields.Datetime.now() - timedelta(hours=2)
        self.env.cr.execute(
            "DELETE FROM bj_api_sync_counter WHERE start_date < %s", [before]
        )


@contextmanager
def own_transaction(registry, seconds=0):
    """Open a cursor for a note that is kept whatever becomes of the request.

    :param float seconds: to wait for a connection at most
    """
    with open_cursor(registry, seconds) as cr:
        prepare(cr)
        yield cr


def prepare(cr):
    """Make the transaction that begins one for a note.

    Under REPEATABLE READ, which Odoo's cursors have, two calls that count at the same
    time make one of them fail, and Odoo would repeat the whole request for it. The
    commit does not wait for the disk: a count may be lost in a crash of PostgreSQL.
    """
    if isinstance(cr, Cursor):  # the cursor of a test is in a transaction already
        cr.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    cr.execute("SET LOCAL synchronous_commit TO OFF")


def window(now, seconds):
    """Return the start of the fixed window that ``now`` is in, and what is left of it."""
    epoch = int(now.replace(tzinfo=timezone.utc).timestamp())
    start = epoch - epoch % seconds
    return datetime.fromtimestamp(start, timezone.utc).replace(tzinfo=None), (
        start + seconds - epoch
    )
