"""What an answer says about its list: is there more, under which key, and how many.

:func:`read` finds it by the names that APIs use, beside the list and in the places where
they put such things; ``pagination`` decides by it how a pull goes on.
"""

import re
from dataclasses import dataclass

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
                key not in path
                and depth < 3
                and (is_holder or not (is_item or depth > 1))
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
