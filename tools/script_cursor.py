"""The transaction while a script runs: it can be used, and neither left nor passed by.

An error of psycopg2 carries its cursor, and that the connection, on which a script could
say ROLLBACK and COMMIT. So errors get to it without, and the methods that end or pass by
the transaction are out of order on the cursor meanwhile, whoever calls them.
"""

import functools
from contextlib import contextmanager
from types import SimpleNamespace

import psycopg2
from psycopg2.extensions import STATUS_BEGIN, TRANSACTION_STATUS_IDLE

# What ends the transaction, or goes round `execute`, which is looked after here.
REFUSED = (
    *("commit", "rollback", "close", "executemany", "callproc", "copy_expert"),
    *("copy_from", "copy_to"),
)
REASON = (
    "the transaction cannot be committed or rolled back, nor the database be reached past "
    "the ORM, while a script runs; call nothing that does so"
)


class TransactionError(Exception):
    """Something tried to end the transaction that the script runs in."""


class Guard:
    """What :func:`guarded` has seen; ``is_broken`` tells that the transaction is gone."""

    def __init__(self, cr):
        self._connection = cr.connection
        self._began = self._connection.status == STATUS_BEGIN
        self._execute = cr.execute

    def execute(self, *args, **kwargs):
        if self.is_broken():
            # The next statement would be committed by itself.
            raise TransactionError(REASON)
        try:
            return self._execute(*args, **kwargs)
        except psycopg2.Error as raised:
            error = without_cursor(raised)
        # Outside of the handler: `__context__` would be the error with the cursor.
        raise error

    def is_broken(self):
        """Tell whether the transaction has been ended behind psycopg2's back, or by it.

        Read from what the driver knows already, so at no cost.
        """
        is_open = self._connection.status == STATUS_BEGIN
        idle = self._connection.info.transaction_status == TRANSACTION_STATUS_IDLE
        was_open, self._began = self._began, self._began or is_open
        return (was_open and not is_open) or (is_open and idle)


@contextmanager
def guarded(cr):
    """Look after the cursor of an environment during the block; yield a :class:`Guard`.

    Inside another such block, that one's holds for both.
    """
    own = vars(cr)
    outer = getattr(own.get("execute"), "__self__", None)
    if isinstance(outer, Guard):
        yield outer
        return
    guard = Guard(cr)
    methods = {**dict.fromkeys(REFUSED, _refuse), "execute": guard.execute}
    before = {name: own[name] for name in methods if name in own}
    own.update(methods)
    try:
        yield guard
    finally:
        for name in methods:
            del own[name]
        own.update(before)


def _refuse(*_args, **_kwargs):
    raise TransactionError(REASON)


def without_cursor(error):
    """Return an error of the same class, with all that can be asked but its cursor."""
    diag = {
        name: getattr(error.diag, name)
        for name in dir(type(error.diag))
        if not name.startswith("_")
    }
    clean = _bare(type(error))(*error.args)
    clean.__setstate__({"pgerror": error.pgerror, "pgcode": error.pgcode})
    clean.diag = SimpleNamespace(**diag)
    clean.__traceback__ = error.__traceback__
    return clean


@functools.lru_cache(maxsize=256)
def _bare(kind):
    """Return a subclass whose errors have no cursor and remember what was asked."""
    names = {"cursor": None, "diag": None, "__module__": kind.__module__}
    return type(kind.__name__, (kind,), names)
