"""Whether what a script gives can be JSON, or what a field takes; and if not, why."""

import json
import math
from datetime import date

MAX_DEPTH = 64  # as of a body
MAX_VALUES = 1_000_000
MAX_NUMBER = 2**1024  # beyond it other languages read a whole number as infinite

_PLAIN = (bool, bytes, date, type(None))  # `datetime` is a `date`
_MANY = (dict, list, tuple, set, frozenset)


class NoData(ValueError):
    """``str()`` tells which value it is, and what to give instead."""


class NoNumber(NoData):
    """NaN, Infinity, or a number that is too large; ``got`` is how it is shown."""

    def __init__(self, got):
        super().__init__(got)
        self.got = got


def check(name, value, records=()):
    """Refuse a value that is no data.

    :param str name: the variable that holds it
    :param tuple records: further classes that are taken, recordsets
    :raise NoData: functions, environments, what contains itself, ...
    """
    left = MAX_VALUES
    waiting = [((None, name), value, 0)]
    while waiting:
        place, item, depth = waiting.pop()
        if isinstance(item, str):
            _check_text(place, item)
        elif isinstance(item, float | int) and not isinstance(item, bool):
            _check_number(item)
        elif isinstance(item, (*_PLAIN, *records)):
            continue
        elif isinstance(item, _MANY):
            left -= len(item)
            if depth >= MAX_DEPTH or left < 0:
                raise NoData(
                    f"`{name}` is nested deeper than {MAX_DEPTH} levels, holds more than "
                    f"{MAX_VALUES} values, or contains itself; give a copy without that"
                )
            waiting += _inner(place, item, depth + 1)
        else:
            raise NoData(f"`{_shown(place)}` is {_kind(item)}, {_advice(item)}")


def _shown(place):
    """Return a place, ``((None, "result"), "a")``, as it is written: ``result['a']``."""
    outer, key = place
    return f"{_shown(outer)}[{key!r}]" if outer else key


def _inner(place, item, depth):
    """Return ``[(place, value, depth)]`` of what a list or an object holds."""
    if not isinstance(item, dict):
        return [((place, n), value, depth) for n, value in enumerate(item)]
    for key in item:
        if not isinstance(key, str | int) or isinstance(key, bool):
            raise NoData(
                f"a key of `{_shown(place)}` is {_kind(key)}; keys are texts: use "
                "`str(key)`"
            )
        if isinstance(key, str):
            _check_text(place, key)
    return [((place, key), value, depth) for key, value in item.items()]


def _check_text(place, text):
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        raise NoData(
            f"`{_shown(place)}` holds half of a character, {text[error.start]!r}, which "
            "is no text; leave it out, e.g. `value.encode('utf-8', 'ignore').decode()`"
        ) from None


def _check_number(number):
    if isinstance(number, float):
        if not math.isfinite(number):
            raise NoNumber(json.dumps(number))  # NaN, Infinity
    elif abs(number) >= MAX_NUMBER:
        raise NoNumber(f"a number of {number.bit_length()} bits")


def _kind(value):
    name = type(value).__name__.lower().removeprefix("_")
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _advice(value):
    if hasattr(value, "__next__") or isinstance(value, range):
        return "which JSON does not have; use `list(...)`"
    if hasattr(value, "total_seconds"):
        return "which JSON does not have; use `.total_seconds()`"
    return (
        "which JSON does not have; give texts, numbers, booleans, None, dates, records, "
        "and lists and dicts of them"
    )
