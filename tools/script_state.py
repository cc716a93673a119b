"""Whether a script of an administrator is running in this thread right now."""

from contextlib import contextmanager
from contextvars import ContextVar

_running = ContextVar("bj_api_sync_script", default=False)


@contextmanager
def running():
    """Mark the block as a script's: rows that it logs are written for it."""
    token = _running.set(True)
    try:
        yield
    finally:
        _running.reset(token)


def is_running():
    return _running.get()
