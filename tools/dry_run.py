"""Whether what happens in this thread right now is only tried, and undone afterwards.

Not in the context of an environment, which a script may leave behind.
"""

from contextlib import contextmanager
from contextvars import ContextVar

_is_marked = ContextVar("bj_api_sync_dry_run", default=False)


@contextmanager
def marked(is_dry=True):
    """Mark the block, if ``is_dry``: nothing may leave this server meanwhile."""
    token = _is_marked.set(is_dry or _is_marked.get())
    try:
        yield
    finally:
        _is_marked.reset(token)


def is_marked():
    return _is_marked.get()
