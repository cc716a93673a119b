"""How who needs the rows of scheduled actions gets them from senders at work.

Odoo keeps the row of a scheduled action locked as long as it runs, and refuses to install
an app, or to change the action, meanwhile. Under steady traffic a sender always runs. So
who needs the rows asks: a lock in PostgreSQL says so, which senders look at with each
claim. They then end their pass as soon as what is on its way is settled, and none begins.
"""

import logging
import time
from contextlib import ExitStack, contextmanager, suppress

from odoo.modules import module
from odoo.modules.registry import Registry
from odoo.tools import SQL
from psycopg2 import errors

from .bj_api_sync_counter import own_transaction
from .bj_api_sync_transaction import LOST, set_lock_timeout

_logger = logging.getLogger("bj.api.sender")

LOCK = "bj_api_sync:give_way"
WAIT_SECONDS = 20  # also a worker that loads Odoo anew after an app was installed
LOOK_SECONDS = 0.05  # between two tries to have the rows


@contextmanager
def asking(env):
    """Have senders end their passes, and begin none, until this ends.

    In a transaction of its own, so that it ends with whoever asks. Another one that asks
    waits; whoever cannot ask in time goes on as if this were not.
    """
    if module.current_test:  # all are in one transaction, and no sender beside it
        yield
        return
    stack = ExitStack()
    try:
        cr = stack.enter_context(own_transaction(Registry(env.cr.dbname)))
        set_lock_timeout(cr, WAIT_SECONDS)
        cr.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [LOCK])
    except LOST as error:
        _logger.info("Senders cannot be asked to give way: %s", error)
        with suppress(*LOST):
            stack.close()
    try:
        yield
    finally:
        with suppress(*LOST):
            stack.close()


def is_asked(cr):
    """Tell whether somebody asks; the answer holds as long as this transaction."""
    cr.execute(
        "SELECT pg_try_advisory_xact_lock_shared(hashtextextended(%s, 0))", [LOCK]
    )
    return not cr.fetchone()[0]


def lock_rows(env, condition, strength):
    """Lock rows of ``ir_cron`` in the transaction of who has asked, once they are free.

    What a sender has changed since that transaction began cannot be locked in it, so it
    begins anew with each try. One that has done something already cannot; it finds out
    by itself whether the rows are free.

    :param SQL condition: which rows
    :param SQL strength: ``UPDATE`` or ``NO KEY UPDATE``
    """
    if module.current_test or not is_untouched(env):
        return
    deadline = time.monotonic() + WAIT_SECONDS
    statement = SQL("SELECT FROM ir_cron WHERE %s FOR %s NOWAIT", condition, strength)
    while True:
        env.cr.rollback()
        try:
            env.cr.execute(statement, log_exceptions=False)
            return
        except (errors.LockNotAvailable, errors.SerializationFailure):
            env.cr.rollback()
            if time.monotonic() > deadline:
                return
            time.sleep(LOOK_SECONDS)


def is_untouched(env):
    """Tell whether nothing is lost if this transaction begins anew."""
    env.flush_all()
    env.cr.execute("SELECT txid_current_if_assigned() IS NULL")
    hooks = (env.cr.precommit, env.cr.postcommit)
    return env.cr.fetchone()[0] and not any(hook._funcs or hook.data for hook in hooks)
