"""What scripts get in place of operations in C that nothing could stop half-way.

A deadline ends a loop of Python; it cannot end one multiplication of numbers with a
million digits, nor one text that is repeated a billion times. So each operation whose
cost or result grows beyond its operands asks here first. The guarded ones are the
operators and methods that ``script_rewrite`` puts in the place of a script's own, and the
functions of Python in ``FUNCTIONS``.
"""

import builtins
import functools
import operator
import re

MAX_LENGTH = 10_000_000  # characters, bytes or items that one operation may make
MAX_WIDTH = 1_000_000  # characters that a format or `ljust` may fill up to
MAX_BITS = 65_536  # of whole numbers that are multiplied, divided or raised
MAX_DIGITS = 20_000  # that `round` may take off before the point
MAX_WEIGHT = 100_000_000  # characters inside what is compared, ordered or written out
NODE_WEIGHT = 100  # of each value in it: so many characters
MAX_WORK = 1_000_000_000  # steps of a search from the end
MAX_INDENT = 100  # characters between two values of JSON

_SEQUENCES = (str, bytes, list, tuple)
_CONTAINERS = (list, tuple, dict, set, frozenset)
_TEXTS = (str, bytes)
_FORMAT = re.compile(r"%(?:\(.*?\))?[-#0 +]*(\*|\d+)?(?:\.(\*|\d+))?[a-zA-Z]", re.S)


class TooLarge(ValueError):
    """The operation was not begun."""


def check_length(length):
    if length > MAX_LENGTH:
        raise TooLarge(
            f"the result would have more than {MAX_LENGTH} characters or items"
        )


def check_weight(value):
    """Refuse what holds too much, each part counted as often as it is found.

    ``x = [x, x]`` thirty times makes a billion values out of thirty lists. It is asked
    before a value is compared, ordered or written out.
    """
    left = MAX_WEIGHT
    waiting = [value] if isinstance(value, _CONTAINERS) else []
    while waiting:
        item = waiting.pop()
        left -= NODE_WEIGHT * len(item)
        parts = (*item, *item.values()) if isinstance(item, dict) else item
        for part in parts:
            if isinstance(part, _TEXTS):
                left -= len(part)
            elif isinstance(part, _CONTAINERS):
                waiting.append(part)
        if left < 0:
            raise TooLarge(
                f"the value holds more than {MAX_WEIGHT // NODE_WEIGHT} values or "
                f"{MAX_WEIGHT} characters, or itself"
            )
    return value


def _check_bits(*numbers):
    for number in numbers:
        if isinstance(number, int) and number.bit_length() > MAX_BITS:
            raise TooLarge(f"the number has more than {MAX_BITS} bits")


# -- operators -------------------------------------------------------------------------


def _check_add(left, right):
    if isinstance(left, _SEQUENCES) and isinstance(right, _SEQUENCES):
        check_length(len(left) + len(right))


def _check_multiply(left, right):
    for count, value in ((left, right), (right, left)):
        if isinstance(count, int) and isinstance(value, _SEQUENCES):
            check_length(count * len(value))
    _check_bits(left, right)


def _check_modulo(left, right):
    if isinstance(left, _TEXTS):
        _check_format(left, right)
    _check_bits(left, right)


def _check_power(base, exponent):
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1:
        _check_bits(base, exponent)
        if base.bit_length() * exponent > MAX_BITS:
            raise TooLarge(f"the number would have more than {MAX_BITS} bits")


def _check_shift(number, count):
    are_whole = isinstance(number, int) and isinstance(count, int)
    if are_whole and number.bit_length() + count > MAX_BITS:
        raise TooLarge(f"the number would have more than {MAX_BITS} bits")


def _check_format(template, values):
    """Refuse ``"%*d" % (10 ** 9, 1)``, and what repeats a long value many times."""
    if isinstance(template, bytes):
        template = template.decode("latin-1")
    places = _FORMAT.findall(template)
    widths = [int(size) for place in places for size in place if size.isdigit()]
    given = values if isinstance(values, tuple) else (values,)
    if any("*" in place for place in places):
        widths += [abs(value) for value in given if isinstance(value, int)]
    _check_widths(widths)
    if isinstance(values, dict):
        given = [max(values.values(), key=_text_length, default=None)] * len(places)
    for value in given:
        check_weight(value)
    check_length(len(template) + sum(map(_text_length, given)) + sum(widths))


def _text_length(value):
    return len(value) if isinstance(value, _TEXTS) else 0


def _check_widths(widths):
    if any(width > MAX_WIDTH for width in widths):
        raise TooLarge(f"more than {MAX_WIDTH} characters wide")


def _operation(check, operate):
    def guarded(left, right):
        check(left, right)
        return operate(left, right)

    return guarded


CHECKS = {
    "Add": (_check_add, operator.add, operator.iadd),
    "Mult": (_check_multiply, operator.mul, operator.imul),
    "Mod": (_check_modulo, operator.mod, operator.imod),
    "FloorDiv": (_check_bits, operator.floordiv, operator.ifloordiv),
    "Pow": (_check_power, operator.pow, operator.ipow),
    "LShift": (_check_shift, operator.lshift, operator.ilshift),
}


def operand(value):
    """Return what is compared with something, if that can end."""
    return check_weight(value) if isinstance(value, _CONTAINERS) else value


def member(value, items):
    """``value in items``."""
    operand(value)
    are_many = isinstance(value, _TEXTS) and isinstance(items, list | tuple)
    if are_many and len(value) * len(items) > MAX_WORK:
        raise TooLarge("the text is too long to be looked for in so many values")
    return value in items


def not_member(value, items):
    return not member(value, items)


def sized(value):
    """Return what ``[*a, *b]`` has made; the next step would be too much."""
    check_length(len(value))
    return value


# -- texts -----------------------------------------------------------------------------


def format_value(value, conversion, spec):
    """Return ``f"{value!conversion:spec}"``; the conversion is -1 or its letter's code."""
    check_weight(value)
    if conversion != -1:
        value = {"s": str, "r": repr, "a": ascii}[chr(conversion)](value)
    _check_widths(map(int, re.findall(r"\d{1,20}", spec)))
    return format(value, spec)


def fstring(*parts):
    check_length(sum(map(len, parts)))
    return "".join(parts)


def text(*args, **kwargs):
    """``str(value)``."""
    check_weight(args[0] if args else None)
    return str(*args, **kwargs)


def _replace(value, old, new, count=-1, /):
    if isinstance(old, _TEXTS) and isinstance(new, type(value)):
        found = value.count(old)
        found = min(found, count) if count >= 0 else found
        check_length(len(value) + found * (len(new) - len(old)))
    return value.replace(old, new, count)


def _translate(value, table, /, *args, **kwargs):
    if isinstance(table, dict):
        longest = max(map(_text_length, table.values()), default=0)
        check_length(len(value) * max(longest, 1))
    return value.translate(table, *args, **kwargs)


def _join(value, parts, /):
    parts = parts if isinstance(parts, list | tuple) else list(parts)
    check_length(len(value) * len(parts) + sum(map(_text_length, parts)))
    return value.join(parts)


def _expandtabs(value, tabsize=8):
    if isinstance(tabsize, int):
        _check_widths([abs(tabsize)])
        tab = "\t" if isinstance(value, str) else b"\t"
        check_length(len(value) + value.count(tab) * abs(tabsize))
    return value.expandtabs(tabsize)


def _filled(name):
    def fill(value, width, *args):
        if isinstance(width, int):
            _check_widths([width])
        return getattr(value, name)(width, *args)

    return fill


def _from_the_end(name):
    """Guard a search from the end, which may look at everything for every position."""

    def search(value, *args, **kwargs):
        needle = args[0] if args else kwargs.get("sep")
        length = len(needle) if isinstance(needle, _TEXTS) else 0
        if length > 1 and length * len(value) > MAX_WORK:
            raise TooLarge("the text is too long to be searched from its end")
        return getattr(value, name)(*args, **kwargs)

    return search


def _to_bytes(value, length=1, *args, **kwargs):
    if isinstance(length, int):
        check_length(length)
    return value.to_bytes(length, *args, **kwargs)


def _extend(value, items, /):
    if isinstance(items, _CONTAINERS):
        check_length(len(value) + len(items))
    return value.extend(items)


def _sort(value, *, key=None, reverse=False):
    return value.sort(key=_in_python(key), reverse=reverse)


METHODS = {
    **{(kind, "replace"): _replace for kind in _TEXTS},
    **{(kind, "translate"): _translate for kind in _TEXTS},
    **{(kind, "join"): _join for kind in _TEXTS},
    **{(kind, "expandtabs"): _expandtabs for kind in _TEXTS},
    **{
        (kind, name): _filled(name)
        for kind in _TEXTS
        for name in ("ljust", "rjust", "center", "zfill")
    },
    **{
        (kind, name): _from_the_end(name)
        for kind in _TEXTS
        for name in ("rfind", "rindex", "rsplit", "rpartition")
    },
    (int, "to_bytes"): _to_bytes,
    (list, "extend"): _extend,
    (list, "sort"): _sort,
}


def attribute(value, name):
    """Return an attribute of a script's value, or what stands in for the method."""
    is_type = isinstance(value, type)
    for kind in value.__mro__ if is_type else type(value).__mro__:
        guarded = METHODS.get((kind, name))
        if guarded:
            return guarded if is_type else functools.partial(guarded, value)
    return getattr(value, name)


# -- functions -------------------------------------------------------------------------


def _in_python(function):
    """Return the function so that each call passes Python, where a deadline ends it."""
    return function and (lambda *args: function(*args))


class Map:
    """``map``, but each step is one of Python's."""

    __slots__ = ("_function", "_iterators")

    def __init__(self, function, *iterables):
        if not iterables:
            raise TypeError("map() must have at least two arguments.")
        self._function = function
        self._iterators = [iter(iterable) for iterable in iterables]

    def __iter__(self):
        return self

    def __next__(self):
        values = []
        for iterator in self._iterators:
            values.append(next(iterator))
        return self._function(*values)


class Zip:
    """``zip``, but each step is one of Python's."""

    __slots__ = ("_iterators", "_strict")

    def __init__(self, *iterables, strict=False):
        self._iterators = [iter(iterable) for iterable in iterables]
        self._strict = strict

    def __iter__(self):
        return self

    def __next__(self):
        values = []
        for iterator in self._iterators:
            for value in iterator:
                values.append(value)
                break
            else:
                self._end(values)
        if not values:
            raise StopIteration
        return tuple(values)

    def _end(self, values):
        others = self._iterators[len(values) + 1 :]
        if self._strict and (values or any(True for one in others for _value in one)):
            raise ValueError("zip() arguments are not of the same length")
        raise StopIteration


class Filter:
    """``filter``, but each step is one of Python's."""

    __slots__ = ("_function", "_iterator")

    def __init__(self, function, iterable):
        self._function = function or bool
        self._iterator = iter(iterable)

    def __iter__(self):
        return self

    def __next__(self):
        for value in self._iterator:
            if self._function(value):
                return value
        raise StopIteration


def _divmod(left, right):
    _check_bits(left, right)
    return divmod(left, right)


def _round(number, ndigits=None):
    if isinstance(number, int) and isinstance(ndigits, int) and -ndigits > MAX_DIGITS:
        raise TooLarge(f"round: more than {MAX_DIGITS} digits")
    return round(number, ndigits)


def _sum(iterable, /, start=0):
    values = list(iterable)
    if all(type(value) in (int, float, bool) for value in (start, *values)):
        _check_bits(*values)
        return sum(values, start)
    total = start  # one after the other: `sum(lists, [])` copies each many times
    for value in values:
        _check_add(total, value)
        total = total + value
    return total


def _ordering(name):
    function = getattr(builtins, name)

    def ordered(*args, key=None, **kwargs):
        if len(args) == 1:
            args = (check_weight(list(args[0])),)
        return function(*args, key=_in_python(key), **kwargs)

    return ordered


def _reduce(function, *args):
    return functools.reduce(_in_python(function), *args)


def _repr(value):
    return repr(check_weight(value))


def check_json(value, indent, separators):
    """Refuse to write what is too much of JSON."""
    check_weight(value)
    for part in (indent, *(separators or ())):
        length = len(part) if isinstance(part, str) else part or 0
        if isinstance(length, int) and length > MAX_INDENT:
            raise TooLarge(f"json.dumps: more than {MAX_INDENT} characters of spacing")


def new_bytes(*args, **kwargs):
    """``bytes(...)``; ``bytes(10 ** 10)`` would be so many zeros."""
    if args and isinstance(args[0], int):
        check_length(args[0])
    return bytes(*args, **kwargs)


# By the names that scripts know them under.
FUNCTIONS = {
    "divmod": _divmod,
    "round": _round,
    "sum": _sum,
    "min": _ordering("min"),
    "max": _ordering("max"),
    "sorted": _ordering("sorted"),
    "reduce": _reduce,
    "repr": _repr,
    "map": Map,
    "zip": Zip,
    "filter": Filter,
}
# By the names that `script_rewrite` gives them; a script cannot say them.
OPERATIONS = {
    **{
        f"_bj_{name}": _operation(check, op) for name, (check, op, _i) in CHECKS.items()
    },
    **{
        f"_bj_i{name}": _operation(check, op)
        for name, (check, _o, op) in CHECKS.items()
    },
    "_bj_operand": operand,
    "_bj_In": member,
    "_bj_NotIn": not_member,
    "_bj_sized": sized,
    "_bj_format": format_value,
    "_bj_fstring": fstring,
    "_bj_str": text,
    "_bj_bytes": new_bytes,
    "_bj_attribute": attribute,
}
