"""Which scheduled action runs in this thread right now."""

from contextlib import contextmanager
from contextvars import ContextVar

_cron_id = ContextVar("bj_api_sync_cron", default=0)


@contextmanager
def running(cron_id):
    """Mark the block as the run of a scheduled action.

    Odoo's own ``cron_id`` is in the context, which any caller over RPC makes up.
    """
    token = _cron_id.set(cron_id)
    try:
        yield
    finally:
        _cron_id.reset(token)


def get_cron_id():
    """Return the id of the scheduled action, 0 for none."""
    return _cron_id.get()
