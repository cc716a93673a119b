"""When to send again: pure decisions about one attempt and its destination.

Times are seconds, except moments of the circuit breaker, which are datetimes as the
caller keeps them (all naive or all aware).
"""

import math
import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

# Standard Webhooks 1.0.0, "Retry schedule": 75 h 35 min in all.
SCHEDULE = (
    5,
    5 * 60,
    30 * 60,
    2 * 3600,
    5 * 3600,
    10 * 3600,
    14 * 3600,
    20 * 3600,
    24 * 3600,
)
JITTER = 0.2  # share of the delay, both ways
OVERLOAD_DELAY = 60  # least wait after 429 or a timeout
MAX_RETRY_AFTER = 24 * 3600

DELIVERED, RETRY, FINAL, PAUSE = "delivered", "retry", "final", "pause"

# Nothing changes by itself here: an administrator has to mend the configuration.
FINAL_KINDS = frozenset({"tls", "blocked", "invalid"})
RETRY_STATUSES = frozenset({408, 425, 429})


def classify(status, error_kind="", attempt_409=1):
    """Return what an answer means for its delivery.

    - ``delivered``: 2xx.
    - ``retry``: no answer for a reason that may pass, 408, 425, 429, 5xx, and the first
      409, by which many APIs say that the same thing is still in progress.
    - ``pause``: 410, the receiver is gone for good; final, and the configuration stops.
    - ``final``: anything else. A redirect belongs here because credentials and payload
      go only where the configuration says.

    :param int status: HTTP status, ``None`` without an answer
    :param str error_kind: see ``OutboundResponse``, used without an answer
    :param int attempt_409: which 409 of this delivery this is, from 1
    """
    if status is None:
        return FINAL if error_kind in FINAL_KINDS else RETRY
    if 200 <= status < 300:
        return DELIVERED
    if status in RETRY_STATUSES or 500 <= status < 600:
        return RETRY
    if status == 409 and attempt_409 <= 1:
        return RETRY
    return PAUSE if status == 410 else FINAL


def delay(attempt, status=None, error_kind="", retry_after=None, rng=random.random):
    """Return the seconds to wait after a failed attempt.

    The longest of three: the schedule with its jitter, a minute for a destination that
    shows overload, and what it asked for itself. Jitter never shortens the last two.

    :param int attempt: attempts made so far, from 1; the last step stays
    :param float retry_after: from :func:`parse_retry_after`; 24 h count at most
    :param rng: returns a number from 0 to 1
    """
    step = SCHEDULE[min(max(attempt, 1), len(SCHEDULE)) - 1]
    seconds = step * (1 - JITTER + 2 * JITTER * rng())
    overload = OVERLOAD_DELAY if status == 429 or error_kind == "timeout" else 0
    return max(seconds, overload, min(retry_after or 0, MAX_RETRY_AFTER))


def parse_retry_after(value, now):
    """Return the seconds that a ``Retry-After`` header asks to wait.

    RFC 9110, section 10.2.3: a number of seconds or an HTTP date.

    :param str value: the header as received
    :param datetime now: moment of the answer, aware, UTC
    :return: seconds, at least 0, or ``None`` for a header that makes no sense
    """
    value = (value or "").strip()
    if value.isascii() and value.isdigit():
        # More digits than this are refused by int(), and beyond any use.
        return int(value) if len(value) <= 18 else 10**18
    try:
        date = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if date.tzinfo is None:  # "-0000": UTC, from a place unknown
        date = date.replace(tzinfo=timezone.utc)
    return max(0, math.ceil((date - now).total_seconds()))


@dataclass(frozen=True)
class Breaker:
    """Circuit breaker of one destination; every change gives a new one.

    - closed (``opened_until`` empty): all is sent; ten failures in a row open it.
    - open: nothing is sent until ``opened_until``.
    - half-open (``opened_until`` is over): one probe is sent. Its success closes the
      breaker, its failure opens it again for twice as long, up to an hour.
    """

    failures: int = 0  # in a row
    openings: int = 0  # in a row
    opened_until: datetime | None = None
    probing: bool = False

    THRESHOLD = 10
    FIRST_PAUSE = 60
    LONGEST_PAUSE = 3600

    def allows(self, now):
        """Return ``yes``, ``probe`` (one may be sent, see :meth:`probe`) or ``no``."""
        if self.opened_until is None:
            return "yes"
        return "no" if now < self.opened_until else "probe"

    def probe(self, now, lease):
        """Return the breaker while a probe is on its way: closed to all others.

        :param float lease: seconds after which the probe counts as lost
        """
        until = now + timedelta(seconds=lease)
        return replace(self, opened_until=until, probing=True)

    def record(self, ok, now):
        """Return the breaker after an attempt that ended ``now``.

        Only what says something about the destination belongs here: a 404 is an answer
        and so a success, no answer or a status to retry is a failure.
        """
        if ok:
            return Breaker()
        if self.allows(now) == "no" and not self.probing:
            # Sent before the breaker opened. A pass of many threads would otherwise
            # lengthen the pause with each of its answers.
            return self
        failures = self.failures + 1
        if failures < self.THRESHOLD:
            return Breaker(failures)
        pause = min(self.FIRST_PAUSE * 2 ** min(self.openings, 16), self.LONGEST_PAUSE)
        until = now + timedelta(seconds=pause)
        return Breaker(failures, self.openings + 1, until)
