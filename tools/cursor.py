"""The cursor of a keyset walk: the place after a row, as a text and as a domain."""

import base64
import binascii
import hashlib
import hmac
import json
from datetime import date, datetime

from ..exceptions import BadRequest

MAX_CURSOR_LENGTH = 8000


def digest(*parts):
    """Return a short fingerprint, to tie a cursor to the filters it was made under."""
    return hashlib.sha256(repr(parts).encode("utf-8", "replace")).hexdigest()[:16]


def encode_cursor(values, order, digest, key):
    """Return an opaque text for the place after a row; the key keeps it from forgery.

    :param values: of the order's columns in that row; ``None`` for NULL
    :param str order: ``ListQuery.order``
    :param str digest: of the filters
    :param bytes key: secret of the database
    """
    data = json.dumps(
        [order, digest, [_pack(value) for value in values]],
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()
    return base64.urlsafe_b64encode(_mac(data, key) + data).decode().rstrip("=")


def decode_cursor(text, order, digest, key):
    """Return the values of :func:`encode_cursor`.

    :raise BadRequest: altered, of another order or of other filters
    """
    refused = BadRequest(
        "The cursor is not valid for this query: keep order and filters as they were"
        " when you got it, or start again with an empty cursor.",
        details={"key": "cursor"},
    )
    if len(text) > MAX_CURSOR_LENGTH:
        raise refused
    try:
        raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (UnicodeEncodeError, binascii.Error) as error:
        raise refused from error
    mac, data = raw[:_MAC_LENGTH], raw[_MAC_LENGTH:]
    canonical = base64.urlsafe_b64encode(raw).decode().rstrip("=") == text
    if not canonical or not hmac.compare_digest(mac, _mac(data, key)):
        raise refused
    known_order, known_digest, values = json.loads(data)
    if (known_order, known_digest) != (order, digest):
        raise refused
    return [_unpack(value) for value in values]


_MAC_LENGTH = 16


def _mac(data, key):
    return hmac.new(key, b"cursor:" + data, hashlib.sha256).digest()[:_MAC_LENGTH]


def _pack(value):
    # A datetime is a date, so it goes first. The fraction is kept: pages are exact.
    if isinstance(value, datetime):
        return {"t": value.isoformat()}
    if isinstance(value, date):
        return {"d": value.isoformat()}
    return str(value) if isinstance(value, str) else value


def _unpack(value):
    if isinstance(value, dict):
        if "t" in value:
            return datetime.fromisoformat(value["t"])
        return date.fromisoformat(value["d"])
    return value


def cursor_domain(order_terms, values):
    """Return the domain of the rows after the one that had ``values``.

    For ``a, b, id`` it is ``a > A or (a = A and (b > B or (b = B and id > ID)))``, with
    NULL where PostgreSQL puts it: after everything, or first when descending.

    :param order_terms: ``ListQuery.order_terms``, the last one being ``id``
    :param values: their values in the last row; ``None`` (or ``False``, except for a
        boolean) for NULL. The ORM reads NULL in a number column as 0: ask the database
        with :func:`null_term` whether a 0 is one.
    """
    domain = []
    for term, value in reversed(list(zip(order_terms, values, strict=True))):
        null = value is None or (value is False and term.field_type != "boolean")
        after = _after(term, value, null)
        if domain:
            same = _join("&", [_equal(term, value, null), domain])
            domain = _join("|", [after, same]) if after else same
        else:
            domain = after
    return domain


def null_term(field_type, field, *, is_null=True):
    """Return the domain term for NULL, or for anything but NULL.

    ``=`` with False also finds 0 in a number and "" in a text, but a pattern that takes
    everything takes anything except NULL.
    """
    if field_type in ("date", "datetime", "selection", "reference"):
        return (field, "=" if is_null else "!=", False)
    return (field, "not like" if is_null else "like", "%")


def _after(term, value, null):
    """Return the expression for what sorts after ``value``, empty if nothing does."""
    field, field_type = term.field, term.field_type
    if field_type == "boolean":  # sorted by the ORM with NULL as false
        is_last = bool(value) != term.descending
        return [] if is_last else [(field, "=", not value)]
    if null:
        if term.descending:
            return [null_term(field_type, field, is_null=False)]
        return []
    beyond = [(field, "<" if term.descending else ">", value)]
    if not term.nullable:
        return beyond
    if not term.descending:
        return _join("|", [beyond, [null_term(field_type, field)]])
    if field_type in ("integer", "float", "monetary"):
        # The ORM lets NULL pass for 0 in comparisons of numbers.
        return _join("&", [beyond, [null_term(field_type, field, is_null=False)]])
    return beyond


def _equal(term, value, null):
    field, field_type = term.field, term.field_type
    if field_type == "boolean":
        return [(field, "=", bool(value))]
    if null:
        return [null_term(field_type, field)]
    equal = [(field, "=", value)]
    if not value and term.nullable:  # 0 or "", which NULL would pass for
        return _join("&", [equal, [null_term(field_type, field, is_null=False)]])
    return equal


def _join(operator, parts):
    """Return one expression of several; there must be one at least."""
    return [operator] * (len(parts) - 1) + [term for part in parts for term in part]
