"""Transactions of our own, beside that of who calls."""

import contextlib
import logging
import random
import threading
import time

import psycopg2
from odoo import SUPERUSER_ID, api
from odoo.modules.registry import Registry
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from psycopg2 import errorcodes
from psycopg2.pool import PoolError

_logger = logging.getLogger("bj.api.sender")

RETRIED = (
    errorcodes.SERIALIZATION_FAILURE,
    errorcodes.DEADLOCK_DETECTED,
    errorcodes.FOREIGN_KEY_VIOLATION,  # a configuration was deleted meanwhile
)
MAX_TRIES = 10
# Also: overtaken too often; or all connections of this process are taken.
LOST = (psycopg2.OperationalError, psycopg2.InterfaceError, PoolError)
ROLLBACK_SECONDS = 60  # that a thread waits for a connection after a rollback
WAIT_SECONDS = 0.05  # at most between two tries to have a connection


class Busy(Exception):
    """Another transaction holds a row that is needed, and may hold it for long."""


def open_cursor(registry, seconds=0):
    """Return a cursor of a connection of its own, to be closed by who asks for it.

    :param float seconds: to wait for one, if all are taken or PostgreSQL refuses more
    :raise: one of ``LOST``
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return registry.cursor()
        except LOST:
            if time.monotonic() >= deadline:
                raise
            time.sleep(random.uniform(0.01, WAIT_SECONDS))  # nosec B311 - no secret


def after_rollback(registry, function, *args):
    """Call ``function(cursor, *args)`` in a hook of a transaction that is rolled back.

    Odoo calls such hooks before it gives the connection back, so an error that leaves
    one loses that connection for good. None does; and for a connection of its own that
    cannot be had at once, a thread waits in place of the caller, who holds one.
    """
    try:
        with open_cursor(registry) as cr:
            function(cr, *args)
    except LOST:
        threading.Thread(
            target=_repeat, args=(registry, function, *args), name="bj.api.rollback"
        ).start()
    except Exception:
        _logger.exception("%s%s failed", function.__name__, args)


def _repeat(registry, function, *args):
    threading.current_thread().dbname = registry.db_name  # for the server log
    try:
        with open_cursor(registry, ROLLBACK_SECONDS) as cr:
            function(cr, *args)
    except Exception:
        _logger.exception("%s%s failed", function.__name__, args)


def in_own_cursor(service, method, *args, lock_timeout=None):
    """Call a method of an Odoo service in a transaction of its own, and commit it.

    Repeated when PostgreSQL finds that it was overtaken, or has gone away for a moment,
    so the method must have no effect elsewhere.

    :param float lock_timeout: seconds to wait for a row that somebody else holds, by
        default as long as it takes
    :raise Busy: somebody holds it longer
    """
    for attempt in range(1, MAX_TRIES + 1):
        try:
            # The registry of now, which another process may have changed meanwhile.
            with Registry(service.env.cr.dbname).cursor() as cr:
                if lock_timeout:
                    set_lock_timeout(cr, lock_timeout)
                # Kept in a variable: environments are only weakly known to their
                # transaction, and one that is gone is not flushed.
                env = api.Environment(cr, SUPERUSER_ID, {})
                return getattr(env[service._name], method.__name__)(*args)
        except (*LOST, psycopg2.IntegrityError) as error:
            if lock_timeout and error.pgcode == errorcodes.LOCK_NOT_AVAILABLE:
                raise Busy from error
            is_repeated = error.pgcode in RETRIED or is_lost(error)
            if not is_repeated or attempt == MAX_TRIES:
                raise
            _logger.debug("%s is repeated: %s", method.__name__, error.pgcode)
            # Only to spread the tries in time.
            time.sleep(random.uniform(0, 0.01 * 2**attempt))  # nosec B311


def set_lock_timeout(cr, seconds):
    """Have statements of this transaction fail that wait longer for a lock."""
    cr.execute("SET LOCAL lock_timeout TO %s", [f"{int(seconds * 1000)}ms"])


@contextlib.contextmanager
def lock_timeout(cr, seconds):
    """Do so for the statements within, in a transaction that goes on afterwards."""
    cr.execute("SELECT current_setting('lock_timeout')")
    (before,) = cr.fetchone()
    set_lock_timeout(cr, seconds)
    yield
    # After an error a savepoint brings the former one back.
    cr.execute("SET LOCAL lock_timeout TO %s", [before])


def is_lost(error):
    """Tell whether an error of psycopg2 says that the connection is gone."""
    # 08: connection exception; 57: operator intervention, such as a restart.
    return isinstance(error, LOST) and (error.pgcode or "08")[:2] in ("08", "57")


def is_busy(error):
    """Tell whether the same call may do well a moment later.

    Odoo has repeated it in vain, or PostgreSQL or a connection to it is not to be had, or
    a statement has taken longer than the database allows.
    """
    return isinstance(error, PG_CONCURRENCY_EXCEPTIONS_TO_RETRY) or is_lost(error)
