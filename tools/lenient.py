"""Answers of others, read leniently; what callers send in stays strict (``payload``).

One odd character must not cost a page of a hundred items. Nothing is altered in silence
though: each repair is told with its place, and what would be a guess is a fault, by which
only the item that it stands in is refused.
"""

import codecs
import json
import math
import re
from dataclasses import dataclass

MAX_DEPTH = 64
MAX_DIGITS = 30  # of an integer, as in what callers send in
MAX_NOTES = 1000

# What became of a value: the first ones are repairs, the others faults.
SURROGATE, NUL, CONTROL, NAN, TWICE = "surrogate", "nul", "control", "nan", "twice"
BYTES, RANGE = "bytes", "range"
FAULTS = (BYTES, RANGE)

BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, which begins with the same
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s;\"']+)", re.IGNORECASE)
# Python's names of what is an encoding of characters and not UTF-8, by their beginnings;
# it knows others under which a body would be unpacked or deciphered.
_CHARACTERS = re.compile(
    r"iso8859|iso2022|cp\d|koi8|kz1048|mac|ptcp154|tis-620|hp-roman8|big5|gb|hz|euc_"
    r"|shift_jis|johab|utf-(16|32)-(le|be)"
)
_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
# One that does not end is taken to the end: else it would be looked for at each quote.
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f]")
# U+FDD0 to U+FDEF are no characters (Unicode 23.7): for the time of parsing they stand
# for control characters that are not escaped.
_RAW = 0xFDD0
_ODD = re.compile("[\x00\ud800-\udfff]")
_ODD_OR_RAW = re.compile("[\x00\ud800-\udfff\ufdd0-\ufdef]")
_BRACKETS = re.compile(rf"{_STRING.pattern}|[\[\]{{}}]", re.DOTALL)


class Unreadable(ValueError):
    """No JSON can be made of the bytes; ``str()`` says why."""


@dataclass(frozen=True)
class Note:
    """What was found at one place: ``path`` are the keys and indices that lead there."""

    path: tuple
    kind: str

    @property
    def is_fault(self):
        return self.kind in FAULTS


class _Twice(dict):
    """An object that has had a key more than once."""

    keys_twice = ()


class _Odd:
    """A number that is none: null takes its place."""

    def __init__(self, kind):
        self.kind = kind


def loads(body, content_type=""):
    """Return ``(value, notes)``: the JSON value of an answer and what was odd in it.

    :param str content_type: header of the answer, for its charset
    :return: notes are :class:`Note`, at most 1000
    :raise Unreadable: there is no JSON in it
    """
    text, is_mixed, is_odd = _decode(body, content_type)
    if not text.strip():
        raise Unreadable("it is empty")
    if _get_depth(text) > MAX_DEPTH:
        raise Unreadable(f"it is nested deeper than {MAX_DEPTH} levels")
    repair = _Repair(is_mixed)
    parser = _Parser()
    try:
        value = parser.decode(text)
    except json.JSONDecodeError as error:
        repair.odd = _ODD_OR_RAW
        is_odd = True
        try:
            value = parser.decode(_STRING.sub(_mark_controls, text))
        except json.JSONDecodeError:
            # The first place is the right one: nothing was moved yet.
            raise Unreadable(
                f"{error.msg} (line {error.lineno}, column {error.colno})"
            ) from error
    if not (is_odd or parser.is_odd or _ESCAPE.search(text)):
        return value, []
    return repair.value(value, ()), repair.notes


def get_charset(body, content_type=""):
    """Return the encoding of an answer, and how many bytes of it are a mark.

    A byte order mark is right whatever is declared. Without either it is UTF-8, unless
    the zeros at the beginning show UTF-16 or UTF-32 (RFC 4627, section 3).
    """
    for mark, name in BOMS:
        if body.startswith(mark):
            return name, len(mark)
    declared = _CHARSET.search(content_type or "")
    if declared:
        try:
            name = codecs.lookup(declared[1]).name
            if _CHARACTERS.match(name):
                return name, 0
        except LookupError:
            pass
    return json.detect_encoding(body[:4]).removesuffix("-sig"), 0


def _decode(body, content_type):
    """Return the text, whether bytes that are none were kept in it as surrogates, and
    whether there may be other surrogates in it."""
    name, skipped = get_charset(body, content_type)
    body = body[skipped:]
    try:
        return body.decode(name), False, False
    except UnicodeDecodeError as error:
        if name not in ("utf-8", "utf-16-le", "utf-16-be"):
            bad = body[error.start]
            raise Unreadable(f"byte 0x{bad:02x} is not {name}") from error
    if name == "utf-8":
        return body.decode(name, "surrogateescape"), True, True
    how = "surrogatepass" if len(body) % 2 == 0 else "replace"
    return body.decode(name, how), False, True


def _get_depth(text):
    depth = deepest = 0
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return 0
    for match in _BRACKETS.finditer(text):
        if match[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in "]}":
            depth -= 1
    return deepest


def _mark_controls(match):
    return _CONTROL.sub(lambda found: chr(_RAW + ord(found[0])), match[0])


class _Repair:
    """Makes a parsed value one that can be stored, and notes what was changed."""

    def __init__(self, is_mixed):
        self.is_mixed = is_mixed
        self.odd = _ODD
        self.notes = []

    def value(self, value, path):
        if isinstance(value, str):
            return self.text(value, path)
        if isinstance(value, list):
            return [self.value(item, (*path, i)) for i, item in enumerate(value)]
        if isinstance(value, dict):
            for key in getattr(value, "keys_twice", ()):
                self._note((*path, self._clean(key)), TWICE)
            found = {}
            for key, item in value.items():
                key = self.text(key, (*path, self._clean(key)))
                found[key] = self.value(item, (*path, key))
            return found
        if isinstance(value, _Odd):
            self._note(path, value.kind)
            return None
        return value

    def text(self, text, path):
        if not self.odd.search(text):
            return text
        kinds = {self._get_kind(ord(char)) for char in self.odd.findall(text)}
        for kind in sorted(kinds):
            self._note(path, kind)
        return self._clean(text)

    def _clean(self, text):
        return self.odd.sub(lambda match: self._get_instead(ord(match[0])), text)

    def _get_kind(self, code):
        if code in (0, _RAW):
            return NUL
        if code >= _RAW:
            return CONTROL
        return BYTES if self.is_mixed and code >= 0xDC80 else SURROGATE

    def _get_instead(self, code):
        if code in (0, _RAW):
            return ""
        return chr(code - _RAW) if code >= _RAW else "\ufffd"

    def _note(self, path, kind):
        # Faults are all kept: each of them refuses an item.
        if len(self.notes) < MAX_NOTES or kind in FAULTS:
            self.notes.append(Note(path, kind))


class _Parser:
    """Takes what is nearly JSON, and tells whether there was anything like that."""

    def __init__(self):
        self.is_odd = False
        self.decode = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_int=self._integer,
            parse_float=self._float,
            parse_constant=self._constant,
        ).decode

    def _object(self, pairs):
        result = dict(pairs)
        if len(result) == len(pairs):
            return result
        self.is_odd = True
        result = _Twice(result)
        seen, twice = set(), {}
        for key, _value in pairs:
            if key in seen:
                twice[key] = True
            seen.add(key)
        result.keys_twice = tuple(twice)
        return result

    def _integer(self, token):
        return int(token) if len(token) <= MAX_DIGITS else self._odd(RANGE)

    def _float(self, token):
        value = float(token)
        return value if math.isfinite(value) else self._odd(RANGE)

    def _constant(self, _token):
        return self._odd(NAN)

    def _odd(self, kind):
        self.is_odd = True
        return _Odd(kind)


# -- failures that are told in a 200 ---------------------------------------------------


def get_failure(answer, is_list=True):
    """Return what the other side says went wrong, in an answer without items.

    :param bool is_list: items were to be in it; else a ``status`` may be that of the
        only item, so it counts only beside an error
    :return: its message, ``""`` when it only says that it failed, ``None`` if all is well
    """
    if not isinstance(answer, dict):
        return None
    values = {_plain(key): value for key, value in answer.items()}
    errors = [
        values[name]
        for name in ("errors", "error", "faults", "fault", "exception")
        if _is_error(values.get(name))
    ]
    has_failed = any(
        _is_no(values.get(name))
        for name in ("success", "ok", "succeeded", "issuccess", "successful")
    )
    if any(_is_yes(values.get(name)) for name in ("success", "ok", "succeeded")):
        return None  # what it has besides is advice
    status = values.get("status")
    if is_list or errors:
        has_failed |= status is False or (
            isinstance(status, str)
            and _plain(status) in ("error", "fail", "failed", "failure", "false")
        )
    if not (errors or has_failed):
        return None
    texts = [_message(error) for error in errors]
    for name in ("message", "errormessage", "errordescription", "detail", "reason"):
        texts.append(_message(values.get(name)))
    return next((text for text in texts if text), "")


def _plain(name):
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def _is_no(value):
    return value is not None and str(value).strip().lower() in ("false", "0", "no")


def _is_yes(value):
    return value is True or str(value).strip().lower() == "true"


def _is_error(value):
    if isinstance(value, dict):
        return any(value.values())
    if isinstance(value, str):
        return _plain(value) not in ("", "0", "false", "none", "null", "no", "ok")
    return bool(value)


def _message(error):
    """Return the words of an error, however it is wrapped."""
    if isinstance(error, str):
        return error.strip()
    if isinstance(error, list):
        return "; ".join(filter(None, map(_message, error[:5])))
    if not isinstance(error, dict):
        return ""
    values = {_plain(key): value for key, value in error.items()}
    for name in ("message", "detail", "description", "title", "error", "code"):
        if values.get(name):
            return _message(values[name]) or str(values[name])
    return "; ".join(
        f"{key}: {_message(value) or value}" for key, value in list(error.items())[:5]
    )
