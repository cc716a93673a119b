"""Conditional requests (RFC 9110, section 13) and ``Link`` headers (RFC 8288)."""

import hashlib
import re
from urllib.parse import quote, urlencode

_TAG = re.compile(r'([Ww]/)?("[\x21\x23-\x7e\x80-\xff]*")')
_URL_SAFE = "/:?#[]@!$&'()*+,;=%~"


def etag(*parts):
    """Return the strong entity tag of ``parts``: any values with a stable ``repr``."""
    digest = hashlib.sha256()
    for part in parts:
        data = (
            part if isinstance(part, bytes) else repr(part).encode("utf-8", "replace")
        )
        # With its length in front, a part cannot run into the next one.
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return f'"{digest.hexdigest()[:32]}"'


def matches(header, etag):
    """Return whether ``If-None-Match`` names ``etag``, a weak tag of it included.

    :param str header: ``None`` without one; ``*`` names anything that exists
    :param str etag: of the current representation, ``None`` if there is none
    """
    return _named(header, etag, weak=True)


def strong_matches(header, etag):
    """Return whether ``If-Match`` names ``etag``; a weak tag never matches."""
    return _named(header, etag, weak=False)


def page_urls(base_url, query, limit, offset, total, count):
    """Return ``{"first", "prev", "next", "last": url}``, without those that do not exist.

    :param str base_url: absolute, without query string
    :param query: ``(name, value)`` pairs of the request; all but the page are kept
    :param int total: rows in all, ``None`` if not counted: ``last`` is then missing
    :param int count: rows on this page
    """
    offsets = {"first": 0}
    last = None if total is None else max(total - 1, 0) // limit * limit
    if offset > 0:
        previous = max(offset - limit, 0)
        offsets["prev"] = previous if last is None else min(previous, last)
    if count >= limit if total is None else offset + count < total and count:
        offsets["next"] = offset + count
    if last is not None:
        offsets["last"] = last
    return {
        relation: _url(base_url, query, limit=limit, offset=start)
        for relation, start in offsets.items()
    }


def link_header(base_url, query, limit, offset, total, count):
    """Return the ``Link`` header of a page; the parameters are :func:`page_urls`'s."""
    return _join(page_urls(base_url, query, limit, offset, total, count))


def walk_urls(base_url, query, cursor):
    """Return ``{"first", "next": url}`` of a page of a cursor walk.

    :param str cursor: of the next page, ``None`` on the last one
    """
    urls = {"first": _url(base_url, query, cursor="")}
    if cursor:
        urls["next"] = _url(base_url, query, cursor=cursor)
    return urls


def link_next(base_url, query, cursor):
    """Return the ``Link`` header of a page; the parameters are :func:`walk_urls`'s."""
    return _join(walk_urls(base_url, query, cursor))


def _named(header, etag, weak):
    if not header or etag is None:
        return False
    if header.strip() == "*":
        return True
    return any(
        tag == etag and (weak or not is_weak) for is_weak, tag in _TAG.findall(header)
    )


def _url(base_url, query, **page):
    # cursor and offset exclude each other: what the page says replaces all three
    replaced = {*page, "offset", "cursor"}
    pairs = [(name, value) for name, value in query if name not in replaced]
    return f"{quote(base_url, safe=_URL_SAFE)}?{urlencode([*pairs, *page.items()])}"


def _join(urls):
    return ", ".join(f'<{url}>; rel="{relation}"' for relation, url in urls.items())
