"""Whether the address of a caller can be believed behind a reverse proxy."""

SILENCE = 3600  # seconds between two warnings of a process


class ProxyWatch:
    """Notices calls that a proxy passed on without Odoo heeding what it says.

    All callers then seem to have the proxy's address: limits, networks and wrong guesses
    of one are everybody's. Nobody sees that from inside until it hurts.
    """

    def __init__(self):
        self._warned = None

    def find_fault(self, headers, is_proxy_mode):
        """Return what to do about the address of a call, ``""`` if nothing.

        :param dict headers: of the call, names in lower case
        :param bool is_proxy_mode: Odoo's option ``proxy_mode``
        """
        if "x-forwarded-for" not in headers:
            return ""
        if not is_proxy_mode:
            return "set proxy_mode = True in odoo.conf and restart"
        if "x-forwarded-host" not in headers:
            return (
                "let the proxy send X-Forwarded-Host too, else proxy_mode does nothing"
            )
        return ""

    def is_news(self, now):
        """Tell whether it is time to warn (again), and take it for done.

        :param float now: seconds of a clock that never goes back
        """
        if self._warned is not None and now - self._warned < SILENCE:
            return False
        self._warned = now
        return True
