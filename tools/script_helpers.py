"""Small objects that scripts get instead of modules.

Each is an instance with ``__slots__`` and offers what is listed, nothing else: a function
or a module in the context would lead to the globals of its module. A wrong attribute
answers with what there is.
"""

import datetime as dt
import functools
import hashlib
import hmac
import json
import logging
import re
import sys
import time
from itertools import combinations

if sys.version_info >= (3, 11):
    from re import _parser
else:
    import sre_parse as _parser

MAX_RANGE = 1_000_000  # numbers, as the lint has it for constants
MAX_PATTERN = 500  # characters
LAST_LETTER = 0x7FF  # stands for all after it when patterns are judged
MANY = 10  # repetitions, above which each choice must be definite
MAX_INPUT = 50_000  # characters; a quadratic pattern takes some seconds on that

LOG_LEVELS = ("debug", "info", "warning", "error")


class _Helper:
    """Base of the objects below: slots, and errors that say what can be used."""

    __slots__ = ()

    def __getattr__(self, name):
        offered = sorted(key for key in dir(type(self)) if not key.startswith("_"))
        raise AttributeError(
            f"`{type(self).__name__.lower()}.{name}` is not available; "
            f"there is {', '.join(offered)}"
        )

    def __repr__(self):
        return f"<{type(self).__name__.lower()}>"


class Function(_Helper):
    """A function without a way to its module: ``__globals__`` is not an attribute."""

    __slots__ = ("_call", "_name")

    def __init__(self, call, name=""):
        self._call = call
        self._name = name or call.__name__

    def __call__(self, *args, **kwargs):
        return self._call(*args, **kwargs)

    def __repr__(self):
        return f"<function {self._name}>"


class Datetime(_Helper):
    """``datetime`` as the module and as the class, whichever the author has in mind.

    ``datetime.date`` and ``datetime.time`` are the classes of the module. The class is
    looked up on each use, so that a frozen clock is honoured.
    """

    __slots__ = ("_class",)

    def __init__(self, datetime_class=None):
        self._class = datetime_class

    @property
    def datetime(self):
        return self._class or dt.datetime

    date = property(lambda self: dt.date)
    time = property(lambda self: dt.time)
    timedelta = property(lambda self: dt.timedelta)
    timezone = property(lambda self: dt.timezone)
    tzinfo = property(lambda self: dt.tzinfo)
    min = property(lambda self: dt.datetime.min)
    max = property(lambda self: dt.datetime.max)
    MINYEAR = dt.MINYEAR
    MAXYEAR = dt.MAXYEAR

    now = property(lambda self: self.datetime.now)
    utcnow = property(lambda self: self.datetime.utcnow)
    today = property(lambda self: self.datetime.today)
    strptime = property(lambda self: self.datetime.strptime)
    fromtimestamp = property(lambda self: self.datetime.fromtimestamp)
    combine = property(lambda self: self.datetime.combine)

    def fromisoformat(self, text):
        # Python 3.10 does not read the `Z` that most APIs write.
        return self.datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))

    def __call__(self, *args, **kwargs):
        return self.datetime(*args, **kwargs)

    def __instancecheck__(self, value):
        return isinstance(value, dt.datetime)


class Time(_Helper):
    """``time`` without ``sleep``."""

    __slots__ = ()

    time = property(lambda self: time.time)
    strftime = property(lambda self: time.strftime)
    strptime = property(lambda self: time.strptime)
    gmtime = property(lambda self: time.gmtime)
    localtime = property(lambda self: time.localtime)


class Timezone(_Helper):
    """``timezone("Europe/Kyiv")`` as in Odoo, and ``timezone.utc`` as in Python."""

    __slots__ = ("_find",)

    def __init__(self, find):
        self._find = find

    def __call__(self, name):
        return self._find(name)

    utc = property(lambda self: dt.timezone.utc)


class Json(_Helper):
    __slots__ = ()

    def loads(self, text):
        return json.loads(text)

    def dumps(
        self, value, *, indent=None, ensure_ascii=True, sort_keys=False, **options
    ):
        allowed = {"separators", "default"}
        if set(options) - allowed:
            raise TypeError(f"json.dumps takes no {', '.join(set(options) - allowed)}")
        return json.dumps(
            value,
            indent=indent,
            ensure_ascii=ensure_ascii,
            sort_keys=sort_keys,
            **options,
        )


class Re(_Helper):
    """``re`` with limits, because a search in C cannot be interrupted.

    Patterns and inputs have a maximal length, and what takes exponential time on 30
    characters already is refused: a repetition inside a repetition, as in ``(a+)+``, and
    a repeated choice of which more than one may fit, as in ``(a|aa)+`` and ``(aa?)+``.
    """

    __slots__ = ()

    IGNORECASE = I = re.IGNORECASE  # noqa: E741
    MULTILINE = M = re.MULTILINE
    DOTALL = S = re.DOTALL
    ASCII = A = re.ASCII
    VERBOSE = X = re.VERBOSE

    def match(self, pattern, string, flags=0):
        return _compile(pattern, flags).match(_text(string))

    def fullmatch(self, pattern, string, flags=0):
        return _compile(pattern, flags).fullmatch(_text(string))

    def search(self, pattern, string, flags=0):
        return _compile(pattern, flags).search(_text(string))

    def findall(self, pattern, string, flags=0):
        return _compile(pattern, flags).findall(_text(string))

    def split(self, pattern, string, maxsplit=0, flags=0):
        return _compile(pattern, flags).split(_text(string), maxsplit)

    def sub(self, pattern, repl, string, count=0, flags=0):
        return _compile(pattern, flags).sub(repl, _text(string), count)

    def escape(self, text):
        return re.escape(text)


def _text(string):
    if len(string) > MAX_INPUT:
        raise ValueError(
            f"re: the text has {len(string)} characters, at most {MAX_INPUT} are searched"
        )
    return string


@functools.lru_cache(maxsize=256)
def _compile(pattern, flags):
    if not isinstance(pattern, str | bytes):
        raise TypeError("re: the pattern must be a string")
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"re: the pattern is longer than {MAX_PATTERN} characters")
    parsed = _parser.parse(pattern, flags)
    if _repeats_in_repeat(parsed):
        raise ValueError(
            f"re: {pattern!r} repeats a repetition, as (a+)+ does, which can take for "
            "ever; split the text first, or repeat only once"
        )
    if _repeats_a_choice(parsed):
        raise ValueError(
            f"re: {pattern!r} repeats a choice of which more than one may fit, as "
            "(a|aa)+ and (aa?)+ do, which can take for ever; split the text first, or "
            "let each alternative begin with another character"
        )
    return re.compile(pattern, flags)


def _repeats_in_repeat(parsed, inside=False):
    """Tell whether an unbounded repetition stands inside another one."""
    if isinstance(parsed, _parser.SubPattern):
        return any(_repeats_in_repeat(item, inside) for item in parsed)
    if isinstance(parsed, list):
        return any(_repeats_in_repeat(item, inside) for item in parsed)
    if not isinstance(parsed, tuple):
        return False
    operator, *arguments = parsed
    if operator in (_parser.MAX_REPEAT, _parser.MIN_REPEAT):
        (_least, most, repeated) = arguments[0]
        unbounded = most == _parser.MAXREPEAT or most > 100
        if unbounded and inside:
            return True
        return _repeats_in_repeat(repeated, inside or unbounded)
    return any(_repeats_in_repeat(argument, inside) for argument in parsed)


def _repeats_a_choice(parsed):
    """Tell whether what is repeated often can be matched in more than one way."""
    for operator, argument in parsed:
        if operator in (_parser.MAX_REPEAT, _parser.MIN_REPEAT):
            _least, most, repeated = argument
            if most > MANY and not _is_definite(repeated, repeated):
                return True
        if any(map(_repeats_a_choice, _parts(operator, argument))):
            return True
    return False


def _is_definite(parsed, following):
    """Tell whether each step is decided by the next character alone.

    :param following: what may come after ``parsed``
    """
    items = list(parsed)
    for position, (operator, argument) in enumerate(items):
        rest = items[position + 1 :] or following
        if operator in (_parser.MAX_REPEAT, _parser.MIN_REPEAT):
            least, most, repeated = argument
            if least != most and not _are_apart(repeated, rest):
                return False
            rest = [*repeated, *rest]
        if operator is _parser.BRANCH and not all(
            _are_apart(one, other) for one, other in combinations(argument[1], 2)
        ):
            return False
        parts = _parts(operator, argument)
        if not all(_is_definite(part, rest) for part in parts):
            return False
    return True


def _parts(operator, argument):
    """Return the sequences inside one item of a parsed pattern."""
    if operator is _parser.BRANCH:
        return argument[1]
    found = argument if isinstance(argument, tuple) else (argument,)
    return [part for part in found if isinstance(part, _parser.SubPattern)]


def _are_apart(one, other):
    """Tell whether no character can begin both sequences; in doubt they are not apart."""
    starts = [next(iter(items), (None, None)) for items in (one, other)]
    return not any(
        all(_may_match(start, letter) for start in starts)
        for letter in range(LAST_LETTER + 1)
    )


def _may_match(node, letter):
    operator, argument = node
    if operator is _parser.LITERAL:
        argument = [node]
    elif operator is _parser.NOT_LITERAL:
        argument = [(_parser.NEGATE, None), (_parser.LITERAL, argument)]
    elif operator is not _parser.IN:
        return True
    cases = {letter, ord(chr(letter).lower()[0]), ord(chr(letter).upper()[0])}
    if argument[0][0] is _parser.NEGATE:
        return not any(_is_in_set(item, letter, False) for item in argument[1:])
    return any(_is_in_set(item, case, True) for item in argument for case in cases)


def _is_in_set(item, letter, in_doubt):
    operator, argument = item
    if operator is _parser.LITERAL:
        return min(argument, LAST_LETTER) == letter
    if operator is _parser.RANGE:
        first, last = argument
        return min(first, LAST_LETTER) <= letter <= last
    test = _CATEGORIES.get(argument)
    return test(chr(letter)) if test else in_doubt


_CATEGORIES = {
    _parser.CATEGORY_DIGIT: str.isdecimal,
    _parser.CATEGORY_SPACE: str.isspace,
    _parser.CATEGORY_WORD: lambda letter: letter.isalnum() or letter == "_",
}


def keep_in_one_record(record):
    """Indent what follows a line break, for a logger's ``addFilter``.

    Scripts log what callers send, which could look like lines of the server itself.
    """
    text = record.getMessage()
    lines = text.splitlines()
    if len(lines) > 1 or "\r" in text:
        record.msg, record.args = "%s", ("\n    ".join(lines),)
    return True


class Log(_Helper):
    """``log(message, level)``: a line in the server log, under ``bj.api.script``."""

    __slots__ = ("_logger",)

    def __init__(self, logger):
        self._logger = logger

    def __call__(self, message, level="info"):
        level = str(level).lower()
        if level not in LOG_LEVELS:
            raise ValueError(f"log: {level!r} is none of {', '.join(LOG_LEVELS)}")
        self._logger.log(getattr(logging, level.upper()), "%s", message)


class Logger(_Helper):
    """``_logger`` with the methods that write, and without handlers and levels."""

    __slots__ = ("_logger",)

    def __init__(self, logger):
        self._logger = logger

    debug = property(lambda self: Function(self._logger.debug, "debug"))
    info = property(lambda self: Function(self._logger.info, "info"))
    warning = property(lambda self: Function(self._logger.warning, "warning"))
    error = property(lambda self: Function(self._logger.error, "error"))
    exception = property(lambda self: Function(self._logger.exception, "exception"))


def _bytes(value):
    return value.encode() if isinstance(value, str) else bytes(value)


def hmac_sha256(key, message):
    """Return the HMAC-SHA256 in hexadecimal; strings are taken as UTF-8."""
    return hmac.new(_bytes(key), _bytes(message), hashlib.sha256).hexdigest()


def sha256(message):
    """Return the SHA-256 in hexadecimal; a string is taken as UTF-8."""
    return hashlib.sha256(_bytes(message)).hexdigest()


def limited_range(*args):
    """``range``, but not of more numbers than a script can count in its time."""
    numbers = range(*args)
    if numbers and abs((numbers[-1] - numbers[0]) // numbers.step) >= MAX_RANGE:
        raise ValueError(f"range: more than {MAX_RANGE} numbers")
    return numbers


@functools.lru_cache(maxsize=32)
def local_datetime(zone):
    """Return a ``datetime`` class whose naive values are moments in ``zone``.

    The domain editor writes ``datetime.datetime.combine(context_today(), ...).to_utc()``,
    which the browser understands and Python does not.

    :param zone: a pytz time zone
    """

    class LocalDatetime(dt.datetime):
        def __add__(self, other):
            # The sum keeps this class, also while a test has frozen the clock.
            total = super().__add__(other)
            return LocalDatetime.combine(total.date(), total.timetz())

        def to_utc(self):
            naive = self.replace(tzinfo=None)
            return zone.localize(naive).astimezone(dt.timezone.utc).replace(tzinfo=None)

    return LocalDatetime
