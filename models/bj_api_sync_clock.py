"""The moment at which something becomes due is kept by a thread of each server process.

Odoo looks for scheduled actions once a minute, or when PostgreSQL notifies it; a trigger
for a later moment notifies nobody. So that a retry, the end of a pause or the lease of a
sender that has died does not wait for the minute, a thread sleeps until then and has the
scheduled action called. It looks at least every half minute, which is less than the
shortest lease: whichever process dies, another one knows in time.
"""

import logging
import os
import threading
import time

import odoo
from odoo import SUPERUSER_ID, api, models, tools
from odoo.modules.registry import Registry
from odoo.service import server as odoo_server
from odoo.tools import SQL

from .bj_api_sync_delivery import NOW
from .bj_api_sync_scheduler import CRON

_logger = logging.getLogger("bj.api.clock")

LOOK_SECONDS = 25  # at most between two looks; a lease lasts 32 s at least
START_SECONDS = 2  # until the first look of a process, which has better things to do
RECALL_SECONDS = 1  # until senders are called that have given way to somebody
LEAST_SECONDS = 0.2  # between two looks

_clocks = {}  # database: its clock in this process, None in one that only has children


class Clock:
    """Has the senders of a database called when something becomes due."""

    def __init__(self, dbname):
        self.dbname = dbname
        self.seen = None  # moments up to here have been dealt with
        self.kicked = threading.Event()
        self.recalled_at = None  # monotonic; when senders are to be called anyway
        self.thread = threading.Thread(
            target=self._run, name=f"bj.api.clock.{dbname}", daemon=True
        )

    def start(self):
        self.thread.start()
        return self

    def _run(self):
        self.thread.dbname = self.dbname  # for the server log
        self.kicked.wait(START_SECONDS)
        while True:
            self.kicked.clear()
            try:
                pause = self._look()
            except KeyError:  # the registry has gone, with its database or its model
                _clocks.pop(self.dbname, None)
                return
            except Exception as error:
                _logger.info("%s: %s", self.dbname, error)
                pause = LOOK_SECONDS
            self.kicked.wait(min(max(pause, LEAST_SECONDS), LOOK_SECONDS))

    def _look(self):
        """Return the seconds until the next moment.

        :raise KeyError: there is nothing to look at any more
        """
        registry = Registry.registries[self.dbname]
        recalled_at, left = self.recalled_at, float("inf")
        if recalled_at is not None:
            left = recalled_at - time.monotonic()
        with registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            sender = env["bj.api.sync.sender"]
            if left <= 0:
                self.recalled_at = None
                sender._call_senders()
            self.seen, pause = sender._look_ahead(self.seen)
        return min(pause, left) if left > 0 else pause


def start(dbname):
    """Start the clock of a database in this process, if it is one that serves."""
    if tools.config["stop_after_init"] or tools.config["test_enable"] or odoo.evented:
        return
    server = odoo_server.server
    if server is None:  # a command that is none
        return
    if isinstance(server, odoo_server.PreforkServer) and server.pid == os.getpid():
        _clocks.setdefault(dbname, None)  # its workers do it
    elif _clocks.get(dbname) is None:
        _clocks[dbname] = Clock(dbname).start()


def kick(dbname):
    """Have the clock look again: what is due next may have changed."""
    clock = _clocks.get(dbname)
    if clock:
        clock.kicked.set()


def recall(dbname):
    """Have senders called in a moment, whatever is due; tell whether that is possible."""
    clock = _clocks.get(dbname)
    if not clock:
        return False
    clock.recalled_at = time.monotonic() + RECALL_SECONDS
    clock.kicked.set()
    return True


def _start_in_child():
    # Threads are not inherited.
    for dbname in list(_clocks):
        _clocks[dbname] = None
        start(dbname)


os.register_at_fork(after_in_child=_start_in_child)


class BjApiSyncSender(models.AbstractModel):
    _inherit = "bj.api.sync.sender"

    def _register_hook(self):
        super()._register_hook()
        start(self.env.cr.dbname)

    @api.model
    def _send_due(self, *args, **kwargs):
        try:
            return super()._send_due(*args, **kwargs)
        finally:
            kick(self.env.cr.dbname)

    @api.model
    def _wake_again(self, run):
        # At once it would only find that it has to give way again, over and over.
        if not (run.gives_way and recall(self.env.cr.dbname)):
            super()._wake_again(run)

    @api.model
    def _look_ahead(self, seen=None):
        """Have the senders called if something has become due since ``seen``.

        :param datetime seen: naive UTC, ``None`` at first
        :return: until when this has looked, and the seconds to the next moment or
            infinity
        """
        now, moment = self._get_next_moment(seen)
        if moment is not None and moment <= now:
            self._call_senders()
            self._watch_scheduler()
            seen = now
            now, moment = self._get_next_moment(seen)
        elif seen is not None:
            self._watch_scheduler()
        pause = (moment - now).total_seconds() if moment else float("inf")
        return seen or now, pause

    @api.model
    def _get_next_moment(self, seen):
        """Return now, and when something becomes due next after ``seen``.

        A delivery by its own date, which is its lease while it is being sent; or a host
        that has something to be sent, by the end of its pause.
        """
        after = SQL("TIMESTAMP '-infinity'") if seen is None else SQL("%s", seen)
        # One look-up a host, in the index that claims use; see _get_due_destinations.
        self.env.cr.execute(
            SQL(
                """WITH RECURSIVE hosts(name) AS (
                       (SELECT destination FROM bj_api_sync_delivery
                        WHERE state = 'pending' ORDER BY destination LIMIT 1)
                       UNION ALL
                       SELECT (SELECT d.destination FROM bj_api_sync_delivery d
                               WHERE d.state = 'pending'
                                 AND d.destination > hosts.name
                               ORDER BY d.destination LIMIT 1)
                       FROM hosts WHERE hosts.name IS NOT NULL)
                   SELECT %(now)s, LEAST(
                       (SELECT min(d.next_attempt_date)
                        FROM hosts CROSS JOIN LATERAL (
                            SELECT next_attempt_date FROM bj_api_sync_delivery
                            WHERE state = 'pending' AND destination = hosts.name
                              AND next_attempt_date > %(after)s
                            ORDER BY next_attempt_date LIMIT 1) AS d),
                       (SELECT min(until.moment) FROM bj_api_sync_destination h
                        CROSS JOIN LATERAL (
                            VALUES (h.hold_until), (h.opened_until)) AS until(moment)
                        WHERE until.moment > %(after)s AND EXISTS (
                            SELECT FROM bj_api_sync_delivery d
                            WHERE d.state = 'pending' AND d.destination = h.name)))""",
                now=NOW,
                after=after,
            )
        )
        return self.env.cr.fetchone()

    @api.model
    def _call_senders(self):
        """Have the scheduled action called at once; many processes ask for it."""
        cron = self.env.ref(CRON, raise_if_not_found=False)
        if not cron or not cron.active:
            return
        self.env.cr.execute(
            """SELECT 1 FROM ir_cron_trigger
               WHERE cron_id = %s AND call_at <= now() AT TIME ZONE 'UTC' LIMIT 1""",
            [cron.id],
        )
        if self.env.cr.fetchone():
            self.env.cr.postcommit.add(cron._notifydb)
        else:
            cron._trigger()

    @api.model
    def _watch_scheduler(self):
        """Tell administrators if nobody calls the senders though something waits."""
        if not self._is_something_overdue():
            return
        problem = self._get_scheduler_problem()
        if problem:
            self.env.cr.execute(
                """SELECT config_id FROM bj_api_sync_delivery WHERE state = 'pending'
                   ORDER BY next_attempt_date LIMIT 1"""
            )
            for (config_id,) in self.env.cr.fetchall():
                config = self.env["bj.api.sync.config"].browse(config_id)
                self._tell_scheduler_problem(config, problem)
