"""How a list that is fetched page by page goes on, and whether all of it has come.

Pure decisions about one page of a pull, by what its answer says (``announced``):

1. :meth:`Walk.see` tells a new page from one that was there before.
2. :meth:`Walk.go_on` says what is asked next, or that the end has come, or why this
   cannot be followed. Rather an error than a list that is cut in silence.

What has to be known of the pages before is a small ``dict`` that JSON can hold and that
does not grow, however many pages there are.
"""

import hashlib
import json
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

MAX_TAIL = 200  # items of the pages before that are remembered
MAX_EMPTY = 100  # pages without items in a row that a cursor may lead through
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Step:
    """What comes after a page: another one, the end, or an error.

    ``error`` is one of ``unfollowed`` (more is announced under ``keys``), ``missing``
    (``keys`` say ``expected`` items, ``came`` came), ``pages`` (the same of pages),
    ``origin`` (``token`` is a URL elsewhere), ``circle`` and ``same``.
    """

    token: str | None = None
    is_url: bool = False
    error: str = ""
    keys: tuple = ()
    expected: int = 0
    came: int = 0


@dataclass
class Walk:
    """The pages of one pull, one after the other.

    :param str style: ``offset``, ``page``, ``cursor``, ``link`` or ``""``
    :param int size: items that a page was asked for
    :param dict state: what the page before has left; changed in place
    """

    style: str
    size: int
    state: dict = field(default_factory=dict)
    verdict: str = "empty"
    count: int = 0

    def see(self, items, facts):
        """Take note of a page, and return what it is.

        - ``new``, ``empty``
        - ``repeated``: as the one before, after others: the other side has no more
        - ``same``: page 2 is page 1, so it does not know how a page is asked for
        - ``circle``: it was there before, with others in between

        :param list items: of the page
        """
        state = self.state
        digest = get_digest(items)
        count = self.count = len(items)
        state["number"] = state.get("number", 0) + 1
        if facts.total:
            state["total"] = [*facts.total, facts.is_vague]
        if facts.pages:
            state["pages"] = list(facts.pages)
        if state["number"] == 1 and self.style == "page":
            state["before"] = facts.before
        self.verdict = self._get_verdict(digest, count)
        if self.verdict == "new":
            state["came"] = state.get("came", 0) + self._count_new(items)
            state["filled"] = state.get("filled", 0) + 1
            state["last"] = digest
            state.setdefault("first", digest)
        state["empty"] = 0 if count else state.get("empty", 0) + 1
        return self.verdict

    def _count_new(self, items):
        """Return how many items of a page were not there just before.

        Offset goes on by what has come. A side that has left items out of a page counts
        them all the same, so it begins the next one with some that were there before.
        """
        tail = self.state.get("tail")
        is_short = len(items) < self.size
        if self.style != "offset" or not (tail or is_short):
            return len(items)
        digests = [get_digest(item)[:16] for item in items]
        self.state["tail"] = [*(tail or ()), *digests][-MAX_TAIL:]
        known = set(tail or ())
        return sum(digest not in known for digest in digests)

    def _get_verdict(self, digest, count):
        state = self.state
        if not count:
            return "empty"
        if state.get("zero"):
            # Some take 0 for the first page, some for the last one.
            known = (state.get("first"), state.get("last"))
            return "repeated" if digest in known else "new"
        if digest == state.get("last"):
            has_all = self._has_all()
            return "repeated" if state["filled"] > 1 or has_all else "same"
        return "circle" if _meets(state, "page_seen", digest) else "new"

    def go_on(self, facts, url="", token=None):
        """Return the :class:`Step` after the page that :meth:`see` has got.

        :param str url: of the page, complete
        :param str token: that asked for it
        """
        if self.verdict in ("same", "circle"):
            keys = tuple(sign.key for sign in facts.signs)
            return Step(error=self.verdict, keys=keys)
        if self.style in ("offset", "page"):
            return self._count_on(facts, token)
        if self.style == "cursor":
            return self._follow(facts, facts.cursor, url, token)
        if self.style == "link":
            found = next((s.value for s in facts.signs if s.key == "Link"), None)
            return self._follow(facts, found and ("Link", found), url, token, True)
        return self._end(facts.signs)

    def _count_on(self, facts, token):
        """Go on by Offset or Page: with a full page, or as long as more is announced."""
        if self.state.get("zero"):
            return self._end()
        here = int(token or (1 if self.style == "page" else 0))
        if not self.count or self.verdict == "repeated":
            return self._end(facts.signs)
        shortage = self._get_shortage(here if self.style == "page" else None)
        is_over = facts.is_last or (
            self.style == "page" and facts.pages and here >= facts.pages[1]
        )
        is_full = self.count >= self.size
        if (is_full and not is_over) or facts.signs or shortage:
            step = 1 if self.style == "page" else self.count
            return Step(token=str(here + step))
        return self._end()

    def _follow(self, facts, found, url, token, is_link=False):
        """Go on by a cursor or a URL that the answer has."""
        if not found:
            return self._end(facts.signs)
        key, value = found
        keys = (key,)
        if self.verdict == "repeated":
            return Step(error="same", keys=keys)
        is_url = is_link or _is_url(key, value)
        try:
            following = urljoin(url, value) if is_url else value
        except ValueError:  # a link that only looks like one
            return Step(error="origin", token=value, keys=keys)
        if is_url and get_origin(following) != get_origin(url):
            return Step(error="origin", token=following, keys=keys)
        if following in (token, url):
            # The same once more: no more when nothing came, else it leads nowhere.
            return Step(error="circle", keys=keys) if self.count else self._end()
        digest = get_digest(following)
        if (
            _meets(self.state, "token_seen", digest)
            or self.state.get("empty", 0) > MAX_EMPTY
        ):
            return Step(error="circle", keys=keys)
        return Step(token=following, is_url=is_url)

    def _end(self, signs=()):
        """Return the last step: the end, page 0, or what has not come."""
        state = self.state
        shortage = self._get_shortage()
        if (
            self.style == "page"
            and not state.get("zero")
            and (shortage or self._is_page_0_likely())
        ):
            # Nobody says from where the other side counts its pages. Asked only where
            # the pull would fail without it, so it costs the others nothing.
            state["zero"] = 1
            return Step(token="0")
        if signs and not state.get("zero"):
            return Step(error="unfollowed", keys=tuple(sign.key for sign in signs))
        return shortage or Step()

    def _is_page_0_likely(self):
        """Tell whether the other side may have something on a page 0."""
        if not self.state.get("came"):
            return bool(self.state.get("pages"))  # of which none is page 1
        return bool(self.state.get("before")) and not self._has_all()

    def _has_all(self):
        """Tell whether the answers say, without a doubt, that all has come."""
        state = self.state
        _key, expected, is_vague = state.get("total") or ("", 0, True)
        if not is_vague:
            return state.get("came", 0) >= expected
        _key, expected = state.get("pages") or ("", 0)
        return 0 < expected <= state.get("filled", 0)

    def _get_shortage(self, page=None):
        """Return the step that says what has not come yet, ``None`` if all has.

        :param int page: the page by the count of the other side, else that of the pull
        """
        state = self.state
        came = state.get("came", 0)
        if state.get("total"):
            key, expected, is_vague = state["total"]
            if came < expected:
                return Step(error="missing", keys=(key,), expected=expected, came=came)
            if not is_vague:
                return None
        if state.get("pages"):
            key, expected = state["pages"]
            seen = page or state.get("filled", 0)
            # An empty list has one page by the count of some.
            if seen < expected and (expected > 1 or page):
                return Step(error="pages", keys=(key,), expected=expected, came=seen)
        return None


def _meets(state, name, digest):
    """Tell whether a sequence has come back to where it was.

    Brent's algorithm: it remembers one place, and a later one after 1, 2, 4, 8 … steps.
    So any circle is found, of whatever length, within three times its way, and the
    memory stays the same.
    """
    known, power, steps = state.get(name) or (None, 1, 0)
    if digest == known:
        return True
    steps += 1
    if known is None or steps == power:
        power, steps, known = (power * 2 if known else 1), 0, digest
    state[name] = [known, power, steps]
    return False


def get_digest(value):
    """Return a short text that is the same for the same JSON value."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def get_origin(url):
    """Return scheme, host and port (RFC 6454), ``None`` for what is no web address.

    The host is as DNS knows it, which is what a request would be sent to.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port or PORTS.get(parts.scheme), parts.hostname or ""
        if not host.isascii():
            host = host.encode("idna").decode()
    except ValueError:  # UnicodeError is one too
        return None
    if parts.scheme not in PORTS or not host or "@" in parts.netloc:
        return None
    return parts.scheme, host, port


def _is_url(key, value):
    """Tell whether a cursor is in truth the address of the next page."""
    if value.lower().startswith(("http://", "https://")):
        return True
    # Base64 may begin with a slash, so only where the name leaves it open.
    return key.split(".")[-1] == "next" and value.startswith(("/", "?"))
