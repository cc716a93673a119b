"""When to send again: pure decisions about one attempt and its destination.

Times are seconds, except moments of the circuit breaker, which are datetimes as the
caller keeps them (all naive or all aware).
"""

import json
import math
import random
import re
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
LONGEST_THROTTLE_DELAY = 1800  # between two tries where nobody says how long to wait
FREE_SECONDS = 24 * 3600  # that an attempt which met a limit is not counted

DELIVERED, RETRY, FINAL, PAUSE = "delivered", "retry", "final", "pause"

# Nothing changes by itself here: an administrator has to mend the configuration.
FINAL_KINDS = frozenset({"tls", "blocked", "invalid"})
RETRY_STATUSES = frozenset({408, 425, 429})
# What a gateway says that has passed the request on and got no answer (504, 502), and
# what a proxy of Cloudflare says then (520, 524).
UNSURE_STATUSES = frozenset({502, 504, 520, 524})
UNSURE_KINDS = frozenset({"timeout", "reset"})


def classify(status, error_kind="", attempt_409=1, *, method="", wait=None):
    """Return what an answer means for its delivery.

    - ``delivered``: 2xx, and 404 or 410 to a DELETE: what was to go is gone.
    - ``retry``: no answer for a reason that may pass, 408, 425, 429, 5xx, a 403 that says
      how long to wait, and the first 409, by which many APIs say that the same thing is
      still in progress.
    - ``pause``: 410, the receiver is gone for good; final, and the configuration stops.
    - ``final``: anything else. A redirect belongs here because credentials and payload
      go only where the configuration says.

    :param int status: HTTP status, ``None`` without an answer
    :param str error_kind: see ``OutboundResponse``, used without an answer
    :param int attempt_409: which 409 of this delivery this is, from 1
    :param str method: HTTP method of the request
    :param float wait: what the answer asks to wait, see :func:`get_wait`
    """
    if status is None:
        return FINAL if error_kind in FINAL_KINDS else RETRY
    if 200 <= status < 300 or (method == "DELETE" and status in (404, 410)):
        return DELIVERED
    if status in RETRY_STATUSES or 500 <= status < 600 or is_throttled(status, wait):
        return RETRY
    if status == 409 and attempt_409 <= 1:
        return RETRY
    return PAUSE if status == 410 else FINAL


def is_throttled(status, wait):
    """Tell whether an answer means that the other side gets too much, and nothing else.

    Google and GitHub say so by 403; what tells it from a refusal is how long to wait.
    """
    return status == 429 or (status == 403 and wait is not None)


def is_unsure(status, error_kind=""):
    """Tell whether the other side may have processed a request that was not answered."""
    if status is None:
        return error_kind in UNSURE_KINDS
    return status in UNSURE_STATUSES


def delay(
    attempt,
    status=None,
    error_kind="",
    retry_after=None,
    rng=random.random,
    *,
    throttled_for=0,
):
    """Return the seconds to wait after a failed attempt.

    What the other side asked for itself; after any failure but a limit that was met, at
    least the schedule with its jitter; a minute for a destination that shows overload
    and does not say how long it lasts. Jitter never shortens what is asked for.

    :param int attempt: attempts made so far, from 1; the last step stays
    :param float retry_after: from :func:`get_wait`; 24 h count at most
    :param rng: returns a number from 0 to 1
    :param float throttled_for: seconds since it first met the limit that it meets still
    """
    asked = min(retry_after or 0, MAX_RETRY_AFTER)
    if is_throttled(status, retry_after):
        if asked:
            return asked
        # It has waited so long in vain already: that long again.
        return min(max(OVERLOAD_DELAY, throttled_for), LONGEST_THROTTLE_DELAY)
    step = SCHEDULE[min(max(attempt, 1), len(SCHEDULE)) - 1]
    seconds = step * (1 - JITTER + 2 * JITTER * rng())
    return max(seconds, OVERLOAD_DELAY if error_kind == "timeout" else 0, asked)


# What an answer asks to wait ----------------------------------------------------------

_RESETS = ("ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset")
_REMAINING = ("ratelimit-remaining", "x-ratelimit-remaining", "x-rate-limit-remaining")
_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms")
_BODY_KEYS = ("retry_after", "retryAfter", "retry_after_seconds")
_NEAR = 366 * 24 * 3600  # seconds around now in which a large number is a moment
_LIMIT_FIELD = re.compile(r"(?:^|[;,\s])(r|remaining|t|reset)\s*=\s*([0-9.]+)")
_SHOPIFY_LIMIT = "x-shopify-shop-api-call-limit"
SHOPIFY_SECONDS = (
    1  # in which a full bucket of calls leaks two, or more on larger plans
)


def get_wait(status, headers, body, now):
    """Return the seconds that an answer asks to wait before the next request.

    A refusal (403, 429, 5xx) by ``Retry-After``, its millisecond forms, the moment at
    which a limit is reset, or ``retry_after`` in a JSON body. Any answer by a limit of
    which nothing remains: ``RateLimit`` and its older names, Shopify's call limit.

    RFC 9110, section 10.2.3; draft-ietf-httpapi-ratelimit-headers.

    :param dict headers: names in lower case
    :param bytes body: as received; only looked into for a refusal
    :param datetime now: moment of the answer, aware, UTC
    :return: whole seconds, ``None`` if it asks for nothing
    """
    is_refusal = status in (403, 429) or (status is not None and 500 <= status < 600)
    if is_refusal:
        wait = parse_retry_after(headers.get("retry-after"), now)
        if wait is not None:
            return wait
        for name in _MILLISECONDS:
            text = headers.get(name, "").strip()
            if text.isascii() and text.isdigit():
                return math.ceil(int(text[:12]) / 1000)
        wait = _get_body_wait(body, now)
        if wait is not None:
            return wait
    return _get_limit_wait(status, headers, now)


def parse_retry_after(value, now):
    """Return the seconds that a ``Retry-After`` header asks to wait.

    A number of seconds, also with decimals, or an HTTP date (RFC 9110, section 10.2.3);
    or, as some send it, the moment in seconds or milliseconds since 1970.

    :param str value: the header as received
    :param datetime now: moment of the answer, aware, UTC
    :return: whole seconds, at least 0, or ``None`` for a header that makes no sense
    """
    value = (value or "").strip()
    if re.fullmatch(r"[0-9]+(?:\.[0-9]*)?", value, re.ASCII):
        # More digits than this are beyond any use.
        return _from_number(float(value[:18]), now) if len(value) <= 18 else 10**18
    try:
        date = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if date.tzinfo is None:  # "-0000": UTC, from a place unknown
        date = date.replace(tzinfo=timezone.utc)
    return max(0, math.ceil((date - now).total_seconds()))


def _from_number(number, now):
    """Return whole seconds for a span, or for a moment since 1970 if it is one."""
    for moment in (number, number / 1000):
        left = moment - now.timestamp()
        if abs(left) < _NEAR:
            return max(0, math.ceil(left))
    return math.ceil(number)


def _get_body_wait(body, now):
    """Return the wait in a JSON body: at its top, or one level below."""
    try:
        answer = json.loads(body or b"")
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict):
        return None
    for place in (answer, *(v for v in answer.values() if isinstance(v, dict))):
        for key in _BODY_KEYS:
            wait = _parse_body_wait(place.get(key), now)
            if wait is not None:
                return wait
    return None


def _parse_body_wait(value, now):
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    return parse_retry_after(str(value), now)


def _get_limit_wait(status, headers, now):
    """Return the wait until a limit is reset of which nothing remains."""
    combined = dict(_LIMIT_FIELD.findall(headers.get("ratelimit", "")))
    left = combined.get("r", combined.get("remaining"))
    reset = combined.get("t", combined.get("reset"))
    for name in _REMAINING:
        left = headers.get(name) if left is None else left
    for name in _RESETS:
        reset = headers.get(name) if reset is None else reset
    if reset is None:
        reset = headers.get("x-ratelimit-reset-after")
    if (left or "").strip() in ("0", "0.0") or status == 429:
        wait = parse_retry_after(reset, now)
        if wait is not None:
            return wait
    used, _slash, limit = headers.get(_SHOPIFY_LIMIT, "").partition("/")
    is_full = used.isdigit() and limit.isdigit() and int(used) >= int(limit)
    return SHOPIFY_SECONDS if is_full else None


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
