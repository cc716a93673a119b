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
import time

from . import message, script_limits
from . import script_patterns as patterns

MAX_RANGE = 1_000_000  # numbers, as the lint has it for constants

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
        return message.loads_foreign(text)

    def dumps(
        self, value, *, indent=None, ensure_ascii=True, sort_keys=False, **options
    ):
        script_limits.check_json(value, indent, options.get("separators"))
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

    How long a text may be depends on the pattern, see :mod:`.script_patterns`.
    """

    __slots__ = ()

    IGNORECASE = I = re.IGNORECASE  # noqa: E741
    MULTILINE = M = re.MULTILINE
    DOTALL = S = re.DOTALL
    ASCII = A = re.ASCII
    VERBOSE = X = re.VERBOSE

    def match(self, pattern, string, flags=0):
        compiled = patterns.prepare(pattern, flags, string, anchored=True)
        return Match.of(compiled.match(string))

    def fullmatch(self, pattern, string, flags=0):
        compiled = patterns.prepare(pattern, flags, string, anchored=True)
        return Match.of(compiled.fullmatch(string))

    def search(self, pattern, string, flags=0):
        return Match.of(patterns.prepare(pattern, flags, string).search(string))

    def findall(self, pattern, string, flags=0):
        return patterns.prepare(pattern, flags, string).findall(string)

    def split(self, pattern, string, maxsplit=0, flags=0):
        return patterns.prepare(pattern, flags, string).split(string, maxsplit)

    def sub(self, pattern, repl, string, count=0, flags=0):
        left = script_limits.MAX_LENGTH
        # A text without a backslash is no template: reading it would take time.
        backslash = b"\\" if isinstance(repl, bytes) else "\\"
        is_plain = isinstance(repl, str | bytes) and backslash not in repl

        def replace(found):
            nonlocal left
            if is_plain:
                new = repl
            else:
                new = repl(Match(found)) if callable(repl) else found.expand(repl)
            left -= len(new)
            script_limits.check_length(script_limits.MAX_LENGTH - left)
            return new

        return patterns.prepare(pattern, flags, string).sub(replace, string, count)

    def escape(self, text):
        return re.escape(text)


class Match(_Helper):
    """What a pattern has found; it does not lead back to a pattern without limits."""

    __slots__ = ("_match",)

    def __init__(self, match):
        self._match = match

    @classmethod
    def of(cls, match):
        return match and cls(match)

    group = property(lambda self: self._match.group)
    groups = property(lambda self: self._match.groups)
    groupdict = property(lambda self: self._match.groupdict)
    start = property(lambda self: self._match.start)
    end = property(lambda self: self._match.end)
    span = property(lambda self: self._match.span)
    pos = property(lambda self: self._match.pos)
    endpos = property(lambda self: self._match.endpos)
    lastindex = property(lambda self: self._match.lastindex)
    lastgroup = property(lambda self: self._match.lastgroup)
    string = property(lambda self: self._match.string)

    def expand(self, template):
        longest = max(map(len, (self._match[0], *filter(None, self._match.groups()))))
        script_limits.check_length(len(template) * max(longest, 1))
        return self._match.expand(template)

    def __getitem__(self, key):
        return self._match[key]

    def __repr__(self):
        return repr(self._match)


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
