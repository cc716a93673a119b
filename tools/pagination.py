"""How a list that is fetched page by page goes on, and whether all of it has come.

Pure decisions about one page of a pull:

1. :func:`read` finds what an answer announces: more to come, and how many in all.
2. :meth:`Walk.see` tells a new page from one that was there before.
3. :meth:`Walk.go_on` says what is asked next, or that the end has come, or why this
   cannot be followed. Rather an error than a list that is cut in silence.

What has to be known of the pages before is a small ``dict`` that JSON can hold and that
does not grow, however many pages there are.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

# Names are compared without case, "_", "-", "@", "." and "$": ``next_page_token`` is
# ``nextPageToken``. Each of these names something that is only there if there is more.
TOKENS = frozenset(
    "nextcursor nextpagetoken nexttoken nextpagecursor nextcursormark nextmarker"
    " nextcontinuationtoken continuationtoken nextkey nextpageid nextoffset nextstart"
    " nextpagestart nextpagenumber aftercursor lastevaluatedkey resumptiontoken"
    " nextpage".split()
)
URLS = frozenset(
    "nextlink odatanextlink iotnextlink nextrecordsurl nexturl nexturi nexthref"
    " nextpageurl nextpageuri nextpagelink nextpagehref".split()
)
MORE = frozenset(
    "hasmore hasmoreitems hasmoreresults hasmorerecords hasmorepages hasnext"
    " hasnextpage morerecords moreresults moreitems moreavailable exceededtransferlimit"
    " istruncated".split()
)
LAST = frozenset("done islast islastpage lastpage endofstream endoflist last".split())
# Words with other meanings; they count beside the list and in the places named below.
VAGUE_TOKENS = frozenset("next cursor after bookmark continuation".split())
VAGUE_MORE = frozenset(("more", "truncated"))
INSIDE_NEXT = frozenset(
    "after startingafter cursor token page href url uri link".split()
)
HOLDERS = frozenset(
    "pagination paging pageinfo page pages meta metadata links link info cursors"
    " responsemetadata responsecontext payload result resultset resultinfo listinfo"
    " paginginfo paginationinfo pagemeta header data response".split()
)
TOTALS = frozenset(
    "total totalcount totalitems totalitemscount totalresults totalrecords totalelements"
    " totalsize totalhits totalrows totalentries totalobjects totalnumber totalfound"
    " numfound nbhits recordsfiltered odatacount hydratotalitems".split()
)
PAGES = frozenset(
    "totalpages totalpagecount pagecount pagestotal pages lastpage numpages nbpages"
    " numberofpages maxpage".split()
)
BEFORE = frozenset(
    "hasprevious hasprev haspreviouspage hasprevpage previous prev previouspageuri"
    " previouspageurl previouspage prevpageurl previouslink".split()
)
HEADER_TOTALS = (
    "x-total-count",
    "x-wp-total",
    "x-total",
    "x-pagination-total-count",
    "x-total-items",
)
HEADER_PAGES = ("x-wp-totalpages", "x-total-pages", "x-pagination-page-count")
# Where a pull of style Cursor takes its cursor from.
CURSORS = (
    "next_cursor",
    "nextCursor",
    "cursor",
    "next",
    "next_page_token",
    "nextPageToken",
)
CURSOR_HOLDERS = ("", "pagination", "paging", "meta", "page_info", "pageInfo", "links")
NO_TOKENS = ("", "0", "null", "none", "false", "undefined")
MAX_KEY = 200  # characters of a key that are told and remembered
MAX_EMPTY = 100  # pages without items in a row that a cursor may lead through
PORTS = {"http": 80, "https": 443}
_ODD = re.compile(r"[^a-z0-9]")


@dataclass(frozen=True)
class Sign:
    """Something in an answer that says there is more: where it stands, and what."""

    key: str
    value: object


@dataclass(frozen=True)
class Facts:
    """What an answer says about the list that it has a page of.

    :param tuple signs: of :class:`Sign`; without any, nothing more is announced
    :param tuple total: ``(key, number of items in all)`` or ``None``
    :param bool is_vague: the total may be the number of items on this page
    :param tuple pages: ``(key, number of pages in all)`` or ``None``
    :param str before: key that tells of a page before this one, ``""`` without one
    :param bool is_last: it says in so many words that nothing follows
    :param tuple cursor: ``(key, value)`` that style Cursor goes on with, or ``None``
    """

    signs: tuple = ()
    total: tuple | None = None
    is_vague: bool = False
    pages: tuple | None = None
    before: str = ""
    is_last: bool = False
    cursor: tuple | None = None


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


# -- what an answer says ---------------------------------------------------------------


def read(answer, headers=None, path=(), is_item=False):
    """Return the :class:`Facts` about a list.

    :param answer: parsed JSON
    :param dict headers: of the answer, names in lower case
    :param path: keys that lead from the answer to the list
    :param bool is_item: no list is there but the only item, whose keys mean something
        else
    """
    found = _Found()
    places = _places(answer, path)
    if is_item and path and len(places) > len(path):
        places.pop()
        is_item = False
    for trail, place in reversed(places):
        _look(found, place, trail, is_item, path=path[len(trail) :][:1])
    _look_at_headers(found, headers or {})
    signs = list(found.signs)
    if any(found.flags.values()):
        signs += [Sign(key, True) for key, is_more in found.flags.items() if is_more]
        signs += found.companions
    elif found.flags:
        signs = []  # "no more" in so many words, whatever else stands there
    is_last = bool(found.flags) and not signs
    return Facts(
        signs=tuple(signs),
        total=found.total or found.header_total or found.vague_total,
        is_vague=bool(found.vague_total and not (found.total or found.header_total)),
        pages=found.pages or found.header_pages,
        before=found.before,
        is_last=is_last,
        cursor=None if is_last or is_item else _get_cursor(answer),
    )


class _Found:
    """What is gathered on the way through an answer."""

    def __init__(self):
        self.signs = []
        self.companions = []  # cursors that are there on the last page as well
        self.flags = {}  # key: whether it says that there is more
        self.total = self.vague_total = self.header_total = None
        self.pages = self.header_pages = None
        self.before = ""


def _places(answer, path):
    """Return ``[(trail, object)]`` of the objects on the way to the list."""
    places, trail, value = [], (), answer
    for step in (*path, None):
        if isinstance(value, dict):
            places.append((trail, value))
            value = value.get(step)
        elif isinstance(value, list) and str(step).isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            break
        trail = (*trail, step)
    return places


def _look(found, place, trail, is_item, path=(), depth=0, is_named=True):
    """Gather what an object beside or around the list says.

    :param path: its key that leads to the list, which is looked at elsewhere
    :param bool is_named: its name says that it is about pages; in others only words
        count that mean nothing else
    """
    for key, value in place.items():
        name, where = _plain(key), ".".join((*trail, str(key)))[:MAX_KEY]
        if isinstance(value, dict) and name in ("next", "nextpage") and is_named:
            _look_inside_next(found, value, where)
        elif isinstance(value, dict):
            is_holder = name in HOLDERS
            if name in TOTALS:
                _note_total(found, where, value.get("value"), name)
            elif (
                key not in path and depth < 3 and (is_holder or not (is_item or depth))
            ):
                _look(
                    found,
                    value,
                    (*trail, str(key)),
                    is_item,
                    depth=depth + 1,
                    is_named=is_holder and is_named and not is_item,
                )
        elif isinstance(value, list):
            if name in ("links", "link"):
                _look_at_links(found, value, where)
        else:
            _note(found, name, where, value, is_named and not (is_item and not depth))


def _note(found, name, where, value, is_named):
    if name in MORE or (is_named and name in VAGUE_MORE):
        flag = _truth(value)
        if flag is not None:
            found.flags[where] = flag
    elif name in LAST and is_named and _is_said(value):
        found.flags[where] = not _truth(value)
    elif name in PAGES and is_named:
        number = _number(value)
        if number:
            found.pages = found.pages or (where, number)
    elif name == "endcursor":
        if _is_token(value):
            found.companions.append(Sign(where, value))
    elif name == "offset" and is_named:
        # A number says where this page is, a word where the next one is (Airtable).
        if isinstance(value, str) and _is_token(value) and _number(value) is None:
            found.signs.append(Sign(where, value))
    elif name in TOKENS or name in URLS or (is_named and name in VAGUE_TOKENS):
        # At the top "after" is what was asked for, under "cursors" (Meta) it is always
        # there.
        is_other = name == "after" and ("." not in where or ".cursors." in where)
        if _is_token(value) and not is_other:
            found.signs.append(Sign(where, value))
    elif is_named and (name in BEFORE or name == "first"):
        if (name == "first" and value is False) or (
            name != "first" and (value is True or _is_address(value))
        ):
            found.before = found.before or where
    elif is_named:
        _note_total(found, where, value, name)


def _note_total(found, where, value, name):
    number = _number(value)
    if number is None:
        return
    if name in TOTALS:
        found.total = found.total or (where, number)
    elif name in ("count", "itemcount", "resultcount"):
        # Some mean this page by it; that is never more than has come.
        found.vague_total = found.vague_total or (where, number)


def _look_inside_next(found, value, where):
    """Look at ``{"next": {"after": "2", "link": …}}``."""
    for key, inner in value.items():
        if _plain(key) in INSIDE_NEXT and _is_token(inner):
            found.signs.append(Sign(f"{where}.{key}", inner))


def _look_at_links(found, links, where):
    """Look at ``[{"rel": "next", "href": …}]``."""
    for link in links:
        if isinstance(link, dict):
            relation = link.get("rel") or link.get("relation")
            url = link.get("href") or link.get("url") or link.get("uri")
            if relation == "next" and _is_token(url):
                found.signs.append(Sign(where, url))


def _look_at_headers(found, headers):
    for names, attribute in (
        (HEADER_TOTALS, "header_total"),
        (HEADER_PAGES, "header_pages"),
    ):
        for name in names:
            number = _number(headers.get(name))
            if number is not None and getattr(found, attribute) is None:
                setattr(found, attribute, (_title(name), number))
    content_range = re.search(r"/\s*(\d+)\s*$", headers.get("content-range", ""))
    if content_range and found.header_total is None:
        found.header_total = ("Content-Range", int(content_range[1]))
    links = headers.get("link", "")
    if get_link(links, "next"):
        found.signs.append(Sign("Link", get_link(links, "next")))
    if get_link(links, "prev") or get_link(links, "previous"):
        found.before = found.before or "Link"


def _get_cursor(answer):
    if not isinstance(answer, dict):
        return None
    for holder in CURSOR_HOLDERS:
        place = answer.get(holder) if holder else answer
        for name in CURSORS if isinstance(place, dict) else ():
            value = place.get(name)
            if isinstance(value, str | int) and _is_token(value):
                return (f"{holder}.{name}" if holder else name), str(value)
    return None


def get_link(header, relation="next"):
    """Return the URL of a relation in a ``Link`` header (RFC 8288), or ``None``."""
    for match in re.finditer(r"<([^<>]*)>([^<]*)", header or ""):
        if re.search(rf';\s*rel\s*=\s*"?[^";]*\b{relation}\b', match[2], re.IGNORECASE):
            return match[1]
    return None


# -- how the list goes on --------------------------------------------------------------


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

    def see(self, digest, count, facts):
        """Take note of a page, and return what it is.

        - ``new``, ``empty``
        - ``repeated``: as the one before, after others: the other side has no more
        - ``same``: page 2 is page 1, so it does not know how a page is asked for
        - ``circle``: it was there before, with others in between

        :param str digest: of its items, see :func:`get_digest`
        """
        state = self.state
        self.count = count
        state["number"] = state.get("number", 0) + 1
        if facts.total:
            state["total"] = [*facts.total, facts.is_vague]
        if facts.pages:
            state["pages"] = list(facts.pages)
        if state["number"] == 1 and self.style == "page":
            state["before"] = facts.before
        self.verdict = self._get_verdict(digest, count)
        if self.verdict == "new":
            state["came"] = state.get("came", 0) + count
            state["filled"] = state.get("filled", 0) + 1
            state["last"] = digest
            state.setdefault("first", digest)
        state["empty"] = 0 if count else state.get("empty", 0) + 1
        return self.verdict

    def _get_verdict(self, digest, count):
        state = self.state
        if not count:
            return "empty"
        if state.get("zero"):
            return "repeated" if digest == state.get("first") else "new"
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
        following = urljoin(url, value) if is_url else value
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
            and state.get("came")
            and (shortage or (state.get("before") and not self._has_all()))
        ):
            # Nobody says from where the other side counts its pages. Asked only where
            # the pull would fail without it, so it costs the others nothing.
            state["zero"] = 1
            return Step(token="0")
        if signs and not state.get("zero"):
            return Step(error="unfollowed", keys=tuple(sign.key for sign in signs))
        return shortage or Step()

    def _has_all(self):
        """Tell whether a total says, without a doubt, that all items have come."""
        _key, expected, is_vague = self.state.get("total") or ("", 0, True)
        return not is_vague and self.state.get("came", 0) >= expected

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
            if seen < expected:
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
    """Return scheme, host and port (RFC 6454), ``None`` for what is no web address."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return None
    if parts.scheme not in PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port


# -- words -----------------------------------------------------------------------------


def _plain(name):
    return _ODD.sub("", str(name).lower())


def _title(name):
    """Return the usual spelling of a header."""
    return name.title().replace("Wp", "WP").replace("Totalpages", "TotalPages")


def _is_said(value):
    return isinstance(value, bool) or (
        isinstance(value, str) and value.strip().lower() in ("true", "false")
    )


def _truth(value):
    """Return what a flag says, ``None`` if it says nothing."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in ("true", "1", "yes", "y"):
        return True
    return False if text in ("false", "0", "no", "n") else None


def _number(value):
    """Return a count of zero or more, ``None`` for anything else."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value.strip()[:18])
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return value


def _is_token(value):
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    return str(value).strip().lower() not in NO_TOKENS and str(value).strip() != "-1"


def _is_address(value):
    return isinstance(value, str) and value.startswith(
        ("http://", "https://", "/", "?")
    )


def _is_url(key, value):
    """Tell whether a cursor is in truth the address of the next page."""
    if value.lower().startswith(("http://", "https://")):
        return True
    # Base64 may begin with a slash, so only where the name leaves it open.
    return key.split(".")[-1] == "next" and value.startswith(("/", "?"))
