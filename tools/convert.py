"""One value, between its JSON form and the form that the ORM takes or gives.

Small functions, one per field type and direction, in three tables: :data:`WRITERS` for
``create`` and ``write``, :data:`READERS` for what ``read(load=None)`` returns, and
:func:`to_domain_value` for search domains, which uses the writers' casts.
"""

import base64
import binascii
import json
import math
import re
from datetime import date, datetime, time, timedelta

MAX_INTEGER = 2**31 - 1
MAX_FLOAT = 1e200  # Odoo divides by the rounding, which must not overflow
MAX_ROUNDED = 1e15  # floats from there on have no digits after the point to speak of
MIN_INTEGER = -(2**31)
MAX_IN_VALUES = 1000
SHOWN_LENGTH = 40
SHOWN_CHOICES = 20


TEXT_TYPES = ("char", "text", "html")
X2MANY_TYPES = ("one2many", "many2many")
LIKE_OPERATORS = ("like", "not like", "ilike", "not ilike", "=like", "=ilike")
LIST_OPERATORS = ("in", "not in")
HIERARCHY_OPERATORS = ("child_of", "parent_of")

# The character classes are ASCII on purpose: \d would take other scripts' digits.
_INTEGER = re.compile(r"\s*([+-]?[0-9]{1,30})(?:\.0*)?\s*")
_NUMBER = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?\s*")
_DIGITS = re.compile(r"[0-9]{1,10}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_UTC_SECONDS = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}Z?")
_DATETIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?"
    r" ?([Zz]|([+-])([0-9]{2}):?([0-5][0-9])?)?)?"
)
_REFERENCE = re.compile(r"[a-z0-9_.]{1,128},[0-9]{1,10}")
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
# An odd number of backslashes: the last one escapes nothing, which LIKE does not take.
_ENDS_ESCAPING = re.compile(r"(?<!\\)(?:\\\\)*\\\Z")
_WHITESPACE = str.maketrans("", "", " \t\r\n")


class Phrase(str):
    """English words of a message: ``template % params``.

    Models translate the template; this module knows no languages. Written as ``_lt``, by
    which Odoo's export of terms finds it.
    """

    __slots__ = ("params", "template")

    def __new__(cls, template, **params):
        phrase = super().__new__(cls, template % params if params else template)
        phrase.template, phrase.params = template, params
        return phrase


_lt = Phrase
_A_DATE = _lt("a date YYYY-MM-DD")
_A_DATETIME = _lt("an ISO 8601 datetime such as 2025-01-31T10:00:00Z")


class ConvertError(ValueError):
    """A value that does not fit its field.

    :param str expected: what would fit, e.g. ``a number``; a :class:`Phrase` mostly
    :param str got: the value as :func:`describe` shows it
    """

    def __init__(self, expected, got):
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got

    @property
    def message(self):
        return str(self)


def describe(value):
    """Return ``value`` as an error message shows it: short, and never a whole object."""
    if isinstance(value, dict):
        return _lt("an object")
    if isinstance(value, list | tuple):
        return _lt("an array")
    if isinstance(value, bytes):
        return _lt("%(count)s bytes", count=len(value))
    if isinstance(value, str):
        if len(value) > SHOWN_LENGTH:
            value = value[:SHOWN_LENGTH] + "…"
        return json.dumps(value, ensure_ascii=False)
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)[:SHOWN_LENGTH]
    return type(value).__name__


# ------------------------------------------------------------------- JSON to ORM


def to_field(rule, value, tz=None):
    """Return ``value`` as ``create`` and ``write`` take it for the field of ``rule``.

    ``None`` clears: it gives ``False`` whatever the type. Dates and datetimes come back
    as ``date`` and naive UTC ``datetime`` without fraction, x2many as a list of ids.

    :param Rule rule: ``field_type``, ``selection`` and ``size`` are used
    :param tzinfo tz: of datetimes without an offset; UTC if not given
    :raise ConvertError: the value does not fit
    """
    if value is None:
        return False
    if rule.field_type == "datetime":
        return to_datetime(value, tz).replace(microsecond=0)
    writer = WRITERS.get(rule.field_type)
    return value if writer is None else writer(rule, value)


def to_datetime(value, tz=None):
    """Return the naive UTC ``datetime`` of an ISO 8601 text; a date is its midnight.

    :param tzinfo tz: of a text without an offset; UTC if not given
    """
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime.combine(value, time.min)
    elif not isinstance(value, str):
        raise ConvertError(_A_DATETIME, describe(value))
    elif _UTC_SECONDS.fullmatch(value):
        moment = _from_iso(value[:19], value)
        if len(value) > 19:
            return moment
    else:
        moment, offset = _parse_datetime(value)
        if offset is not None:
            return _shift(moment, offset, value)
    if moment.tzinfo is None and tz is not None:
        moment = _localize(moment, tz, value)
    if moment.tzinfo is None:
        return moment
    return _shift(moment.replace(tzinfo=None), moment.utcoffset(), value)


def _localize(moment, tz, value):
    # pytz zones, which Odoo uses, need localize() to choose the right offset.
    localize = getattr(tz, "localize", None)
    try:
        return localize(moment) if localize else moment.replace(tzinfo=tz)
    except OverflowError as error:
        raise ConvertError(_A_DATETIME, describe(value)) from error


def _parse_datetime(value):
    """Return ``(naive datetime, offset or None)``.

    ``datetime.fromisoformat`` does not see the whole text: Python 3.10 knows neither
    ``Z`` nor most fractions, and later versions take week dates.
    """
    match = _DATETIME.fullmatch(value)
    if match is None:
        raise ConvertError(_A_DATETIME, describe(value))
    day, clock, second, fraction, zone, sign, hours, minutes = match.groups()
    moment = _from_iso(f"{day}T{clock or '00:00'}:{second or '00'}", value)
    if fraction:
        moment = moment.replace(microsecond=int(fraction[:6].ljust(6, "0")))
    if not zone:
        return moment, None
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    if offset >= timedelta(days=1):
        raise ConvertError(_A_DATETIME, describe(value))
    return moment, -offset if sign == "-" else offset


def _from_iso(text, value):
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ConvertError(_A_DATETIME, describe(value)) from error


def _shift(moment, offset, value):
    try:
        return moment - offset
    except OverflowError as error:
        raise ConvertError(_A_DATETIME, describe(value)) from error


def _text(rule, value):
    if isinstance(value, str):
        text = value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        text = str(value)
    else:
        raise ConvertError(_lt("a text"), describe(value))
    size = getattr(rule, "size", 0)
    if size and len(text) > size:
        # The ORM would cut it and say nothing.
        raise ConvertError(
            _lt("at most %(count)s characters", count=size), f"{len(text)}"
        )
    return text


def _integer(_rule, value):
    number = None
    if isinstance(value, bool):
        pass
    elif isinstance(value, int):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, str) and (match := _INTEGER.fullmatch(value)):
        number = int(match[1])
    if number is None:
        raise ConvertError(_lt("a whole number"), describe(value))
    if not MIN_INTEGER <= number <= MAX_INTEGER:
        raise ConvertError(
            _lt(
                "a whole number from %(lowest)s to %(highest)s",
                lowest=MIN_INTEGER,
                highest=MAX_INTEGER,
            ),
            describe(value),
        )
    return number


def _float(_rule, value):
    number = math.nan
    if isinstance(value, bool):
        pass
    elif isinstance(value, int | float) or (
        isinstance(value, str) and _NUMBER.fullmatch(value)
    ):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    if not math.isfinite(number):
        raise ConvertError(_lt("a number"), describe(value))
    if abs(number) > MAX_FLOAT:
        raise ConvertError(
            _lt("a number up to %(highest)s", highest=format(MAX_FLOAT, "g")),
            describe(value),
        )
    return number


def _boolean(_rule, value):
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and 0 <= value <= 1:
        return bool(value)
    if isinstance(value, str) and (found := _BOOLEANS.get(value.lower())) is not None:
        return found
    raise ConvertError(_lt("true or false"), describe(value))


def _date(_rule, value):
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        expected = _A_DATE
        if isinstance(value, datetime) or (
            isinstance(value, str) and _DATETIME.fullmatch(value)
        ):
            # Which day it is depends on the time zone, so the caller must say it.
            expected = _lt("a date YYYY-MM-DD without a time")
        raise ConvertError(expected, describe(value))
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise ConvertError(_A_DATE, describe(value)) from error


def _datetime(_rule, value):
    return to_datetime(value)


def _selection(rule, value):
    choices = getattr(rule, "selection", ())
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or (choices and value not in choices):
        raise ConvertError(_one_of(choices), describe(value))
    return value


def _one_of(choices):
    if not choices:
        return _lt("a text")
    return _lt("one of %(choices)s", choices=_list(choices))


def _list(choices):
    shown = ", ".join(describe(choice) for choice in choices[:SHOWN_CHOICES])
    return shown + (", …" if len(choices) > SHOWN_CHOICES else "")


def _binary(_rule, value):
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        text = value.translate(_WHITESPACE) if _has_whitespace(value) else value
        try:
            base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            pass
        else:
            return text
    raise ConvertError(_lt("base64 text"), describe(value))


def _has_whitespace(text):
    return any(space in text for space in " \t\r\n")


def _id(_rule, value):
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or not 0 < value <= MAX_INTEGER
    ):
        raise ConvertError(_lt("an id (a whole number above 0)"), describe(value))
    return value


def _ids(rule, value):
    if not isinstance(value, list | tuple):
        raise ConvertError(_lt("a list of ids"), describe(value))
    # The same id twice means the same as once; the order is kept.
    return list(dict.fromkeys(_id(rule, item) for item in value))


def _reference(rule, value):
    if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
        raise ConvertError(_lt('a reference "model,id"'), describe(value))
    models = getattr(rule, "selection", ())
    if models and value.split(",")[0] not in models:
        raise ConvertError(
            _lt("a reference to one of %(models)s", models=_list(models)),
            describe(value),
        )
    return value


def _as_is(_rule, value):
    return value


#: ``{field type: function(rule, value)}``; ``datetime`` has a time zone besides.
WRITERS = {
    "char": _text,
    "text": _text,
    "html": _text,
    "integer": _integer,
    "float": _float,
    "monetary": _float,
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
    "selection": _selection,
    "binary": _binary,
    "many2one": _id,
    "one2many": _ids,
    "many2many": _ids,
    "reference": _reference,
    "many2one_reference": _id,
    "json": _as_is,
    "properties": _as_is,
    "properties_definition": _as_is,
}


# ------------------------------------------------------------------- ORM to JSON


def to_json(field_type, value):
    """Return a value of ``read(load=None)`` as JSON shows it, ``None`` for "empty"."""
    return json_converter(field_type)(value)


def json_converter(field_type):
    """Return the function of one argument that converts a whole column fast.

    It is :func:`none_if_false` for types whose values are JSON already, so that a caller
    whose empty values are ``None`` may leave these columns alone.
    """
    return READERS.get(field_type, none_if_false)


def none_if_false(value):
    """Return ``None`` for ``False``; 0 and empty text are values."""
    return None if value is False else value


def round_float(value):
    """Return a float without the noise of binary arithmetic: 0.74 for 0.7400000000000002.

    A float keeps 15 significant digits of any decimal number, so whatever a person can
    have typed stays. Larger ones are whole numbers, which have no such noise.
    """
    return float(f"{value:.15g}") if -MAX_ROUNDED < value < MAX_ROUNDED else value


def round_floats(value, keep=frozenset()):
    """Return a JSON value whose floats are rounded, but for those in ``keep``.

    :raise ConvertError: NaN or Infinity, which JSON does not have
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConvertError(_lt("a number"), describe(value))
        return value if value in keep else round_float(value)
    if isinstance(value, dict):
        return {key: round_floats(inner, keep) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [round_floats(inner, keep) for inner in value]
    return value


def get_floats(value):
    """Return all floats in a JSON value, as a set."""
    if isinstance(value, float):
        return {value}
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return set()
    return set().union(*map(get_floats, value))


def _float_to_json(value):
    return round_float(value) if isinstance(value, float) else none_if_false(value)


def _html_to_json(value):
    # Markup is a str whose methods escape what they are given: leave it behind.
    return str(value) if value else none_if_false(value)


def _date_to_json(value):
    return value.isoformat() if value else None


def _datetime_to_json(value):
    return value.isoformat("T", "seconds") + "Z" if value else None


def _binary_to_json(value):
    if isinstance(value, bytes):
        return value.decode("ascii")
    return value or None


def _id_to_json(value):
    return value or None


def _ids_to_json(value):
    return list(value) if value else []


#: ``{field type: function(value)}``
READERS = {
    "boolean": bool,
    "float": _float_to_json,
    "monetary": _float_to_json,
    "html": _html_to_json,
    "date": _date_to_json,
    "datetime": _datetime_to_json,
    "binary": _binary_to_json,
    "many2one": _id_to_json,
    "many2one_reference": _id_to_json,
    "one2many": _ids_to_json,
    "many2many": _ids_to_json,
}


# ---------------------------------------------------------------- text to domain


def to_domain_value(rule_or_type, operator, value):
    """Return ``value`` as the right side of a domain term, typed by the field.

    What a client sends must be typed before it meets a domain: the ORM gives a list, a
    boolean or a text on a relation a meaning of its own.

    :param rule_or_type: a field type, or an object with ``field_type``, ``selection``
    :param str operator: as in a domain; a list is taken only by ``in``, ``not in`` and
        the hierarchy operators
    :param value: text of a query string or a JSON literal; ``None`` and ``False`` mean
        "empty" with ``=``, ``!=``, ``in`` and ``not in``
    :raise ConvertError: the value does not fit the field or the operator
    """
    if operator in LIST_OPERATORS:
        if not isinstance(value, list | tuple):
            raise ConvertError(_lt("a list of values"), describe(value))
        if len(value) > MAX_IN_VALUES:
            raise ConvertError(
                _lt("at most %(count)s values", count=MAX_IN_VALUES), str(len(value))
            )
        return [_domain_scalar(rule_or_type, "=", item) for item in value]
    if operator in HIERARCHY_OPERATORS and isinstance(value, list | tuple):
        return _ids(None, value)
    return _domain_scalar(rule_or_type, operator, value)


def _domain_scalar(rule_or_type, operator, value):
    rule = None if isinstance(rule_or_type, str) else rule_or_type
    field_type = rule_or_type if rule is None else rule.field_type
    if isinstance(value, list | tuple | dict):
        raise ConvertError(_lt("one value"), describe(value))
    if value is None or (value is False and field_type != "boolean"):
        if operator not in ("=", "!="):
            raise ConvertError(_lt("a value"), describe(value))
        return False
    if operator in LIKE_OPERATORS:
        text = _text(None, value)
        if operator[0] == "=" and _ENDS_ESCAPING.search(text):
            raise ConvertError(_lt("a pattern that ends in no lone \\"), describe(text))
        return text
    if operator in HIERARCHY_OPERATORS:
        # A name is searched for by the ORM, as in its own search bar.
        is_name = isinstance(value, str) and not _DIGITS.fullmatch(value)
        return _text(None, value) if is_name else _id(None, value)
    if field_type in X2MANY_TYPES:
        return _id(None, value)
    if field_type in TEXT_TYPES:
        return _text(None, value)
    writer = WRITERS.get(field_type)
    if writer is None or writer in (_as_is, _binary):
        raise ConvertError(
            _lt("no value: this field is only empty or not"), describe(value)
        )
    return writer(rule, value)
