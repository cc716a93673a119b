"""Bytes of a body to JSON values and back; strict, because what follows trusts it.

RFC 8259 leaves much to the parser. Here: strict UTF-8 (a byte order mark is skipped, as
section 8.1 allows, because .NET and 1C clients send one), no NaN or Infinity, no number
out of range, no key twice, no NUL and no lone surrogate (PostgreSQL stores neither), and
no nesting that would exhaust the stack. Every refusal is a ``BadRequest`` with line and
column, counted from 1.
"""

import json
import math
import re
from urllib.parse import parse_qsl, urlencode

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from ..exceptions import BadRequest, UnsupportedMediaType

MAX_DEPTH = 64
MAX_DIGITS = 30
MAX_FORM_FIELDS = 1000
NDJSON = "application/x-ndjson"
NDJSON_TYPES = (NDJSON, "application/ndjson")

_BOM = b"\xef\xbb\xbf"
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_SQUARE = bytes.maketrans(b"{}", b"[]")
_SUSPECT_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
# An escaped backslash is consumed in pairs, so that "\\ud800" is not taken for an escape.
_ESCAPE = re.compile(
    r"\\(?:\\|u(?P<code>0000|[dD][89abAB][0-9a-fA-F]{2}"
    r"(?P<low>\\u[dD][c-fC-F][0-9a-fA-F]{2})?|[dD][c-fC-F][0-9a-fA-F]{2}))"
)
_TOKEN = re.compile(
    r'"[^"\\]*(?:\\.[^"\\]*)*"|-?(?:NaN|Infinity)|-?[0-9][0-9.eE+-]*|[\[\]{}:,]'
)
_COLON = re.compile(r"\s*:")
_FORM_KEY = re.compile(r"\[([^\[\]]*)\]")


class _Refused(Exception):
    """A value that the JSON parser handed to us and that we do not take.

    :param str message: what is wrong, without the place
    :param str token: the text as it was written, to find its place
    """

    def __init__(self, message, token):
        super().__init__(message)
        self.message = message
        self.token = token


def loads(body, max_depth=MAX_DEPTH):
    """Return the JSON value that the bytes ``body`` hold.

    :raise BadRequest: with line and column, for anything but strict JSON
    """
    return _parse(body.removeprefix(_BOM), max_depth)


def loads_ndjson(body, max_depth=MAX_DEPTH):
    """Return the objects of a body with one JSON object a line; empty lines are skipped.

    :raise BadRequest: naming the line
    """
    items = []
    for number, line in enumerate(body.removeprefix(_BOM).split(b"\n"), 1):
        if not line.strip():
            continue
        item = _parse(line, max_depth, first_line=number)
        if not isinstance(item, dict):
            raise BadRequest(
                f"Line {number} is not a JSON object: send one object a line.",
                details={"line": number, "column": 1},
            )
        items.append(item)
    return items


def dumps(value):
    """Return compact UTF-8 JSON; raise ``ValueError`` for NaN and Infinity."""
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    ).encode()


def dumps_rows(rows):
    """Return a part of a JSON array: its rows without the brackets."""
    return dumps(rows)[1:-1]


def dumps_lines(rows):
    """Return NDJSON: each row on a line of its own."""
    return b"".join(dumps(row) + b"\n" for row in rows)


def wants_lines(accept):
    """Tell whether an ``Accept`` header likes NDJSON better than a JSON array."""
    if "ndjson" not in (accept or ""):
        return False
    wishes = parse_accept_header(accept, MIMEAccept)
    return wishes.best_match(("application/json", *NDJSON_TYPES)) in NDJSON_TYPES


def accepts_json(accept):
    """Tell whether an ``Accept`` header admits JSON, as no header does."""
    if not accept or not accept.strip():
        return True
    for wish, quality in parse_accept_header(accept):
        kind = wish.split(";")[0].strip().lower()
        is_json = kind.startswith("application/") and kind.endswith(("/json", "+json"))
        if quality and (is_json or kind in ("*/*", "application/*")):
            return True
    return False


def is_json_type(content_type):
    """Tell whether a ``Content-Type`` is JSON: ``application/json`` or ``…+json``."""
    media_type = content_type.split(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def get_charset(content_type):
    """Return the charset of a ``Content-Type`` in lower case, UTF-8 if it has none."""
    for parameter in content_type.lower().split(";")[1:]:
        name, _equals, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' "'):
            return value.strip(' "')
    return "utf-8"


def check_content_type(header_value, has_body, encoding=None):
    """Return how to parse the body: ``"json"`` or ``"ndjson"``.

    A missing header is tolerated, as is any type of an empty body.

    :param str encoding: header ``Content-Encoding``, if there is one
    :raise UnsupportedMediaType: another type, a charset that is not UTF-8, or a
        compressed body
    """
    if not has_body:
        return "json"
    if encoding and encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType(
            f"The content encoding {encoding.strip()[:40]} is not supported:"
            " send the body as it is."
        )
    if not header_value or not header_value.strip():
        return "json"
    media_type, *parameters = (part.strip() for part in header_value.lower().split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' "') not in ("utf-8", "utf8"):
            raise UnsupportedMediaType(
                f"The charset {value.strip()[:40]} is not supported: send UTF-8."
            )
    if media_type in NDJSON_TYPES:
        return "ndjson"
    if media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        return "json"
    raise UnsupportedMediaType(
        f"The content type {media_type[:80]} is not supported:"
        " send JSON with Content-Type: application/json."
    )


def dumps_form(mapping):
    """Return ``application/x-www-form-urlencoded`` bytes of a JSON object.

    ``{"a": {"b": 1}, "c": [True, None]}`` gives ``a[b]=1&c[0]=true&c[1]=``.
    """
    return urlencode(list(_flatten("", mapping))).encode()


def loads_form(body):
    """Return the object that form bytes hold: the reverse of :func:`dumps_form`.

    Values stay text. ``c[]=1&c[]=2`` and a repeated ``c=1&c=2`` give a list too.

    :raise BadRequest: not UTF-8, more than 1000 fields, nested deeper than 64, or a key
        used both as a value and as an object
    """
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
    except ValueError as error:  # UnicodeDecodeError is one
        raise BadRequest(f"The form cannot be read: {error}.") from error
    result = {}
    for name, value in pairs:
        _form_set(result, name, value)
    return _form_lists(result)


def _decode(body, first_line):
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        before = body[: error.start].decode("utf-8")
        raise _bad(
            f"The body is not UTF-8 (byte 0x{body[error.start]:02x}): encode it as UTF-8",
            before,
            len(before),
            first_line,
        ) from error


def _parse(body, max_depth, first_line=1):
    if not body or body.isspace():
        raise BadRequest("The body is empty: send a JSON object or array.")
    text = _decode(body, first_line)
    _check_depth(body, text, max_depth, first_line)
    try:
        value = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise _bad(
            f"The body is not valid JSON: {error.msg}", text, error.pos, first_line
        ) from error
    except _Refused as error:
        position = _find(text, error.token)
        raise _bad(error.message, text, position, first_line) from error
    except RecursionError as error:
        raise BadRequest(_too_deep(max_depth) + ".") from error
    if _SUSPECT_ESCAPE.search(text):
        _check_escapes(text, first_line)
    return value


def _check_depth(body, text, max_depth, first_line):
    """Refuse nesting before the parser recurses into it.

    Only quotes and brackets are kept; what stands at even places between the quotes is
    outside strings. These brackets are taken away pair by pair from the inside: one pass
    of C code a level, instead of a loop over the characters.
    """
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = body.translate(_SQUARE, _NOT_STRUCTURE).replace(b'""', b"")
    if b'"' in brackets:
        brackets = b"".join(brackets.split(b'"')[::2])
    for _level in range(max_depth):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"")
    if not brackets:
        return
    # Too deep, or brackets that do not match: the parser reports the latter better.
    depth = 0
    for match in _TOKEN.finditer(text):
        if match[0] in "[{":
            depth += 1
            if depth > max_depth:
                raise _bad(_too_deep(max_depth), text, match.start(), first_line)
        elif match[0] in "]}":
            depth -= 1


def _check_escapes(text, first_line):
    for match in _ESCAPE.finditer(text):
        code = match["code"]
        if code == "0000":
            message = "The NUL character (\\u0000) cannot be stored: leave it out"
        elif code and not match["low"]:
            message = f"\\u{code} is half of a surrogate pair: send the whole character"
        else:
            continue
        raise _bad(message, text, match.start(), first_line)


def _find(text, token):
    """Return where the parser met ``token``; a key counts at its second time."""
    keys = [set()]
    for match in _TOKEN.finditer(text):
        found = match[0]
        if found == token and found[0] != '"':
            return match.start()
        if found in "{[":
            keys.append(set())
        elif found in "}]":
            keys.pop()
        elif found[0] == '"' and _COLON.match(text, match.end()):
            key = json.dumps(json.loads(found))
            if key == token and key in keys[-1]:
                return match.start()
            keys[-1].add(key)
    return 0


def _object(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = set()
        for key, _value in pairs:
            if key in keys:
                raise _Refused(
                    f"The key {json.dumps(key[:80], ensure_ascii=False)} is there twice:"
                    " send it once",
                    json.dumps(key),
                )
            keys.add(key)
    return result


def _integer(token):
    if len(token) > MAX_DIGITS and len(token.lstrip("-")) > MAX_DIGITS:
        raise _Refused(
            f"A number has more than {MAX_DIGITS} digits: send it as text", token
        )
    return int(token)


def _float(token):
    value = float(token)
    if math.isinf(value):
        raise _Refused("A number is out of range: send it as text", token)
    return value


def _constant(token):
    raise _Refused(f"{token} is not JSON: send null or a number", token)


_decoder = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_float,
    parse_constant=_constant,
)


def _bad(message, text, position, first_line=1):
    line = text.count("\n", 0, position) + first_line
    column = position - text.rfind("\n", 0, position)
    return BadRequest(
        f"{message} (line {line}, column {column}).",
        details={"line": line, "column": column},
    )


def _too_deep(max_depth):
    return f"The body is nested deeper than {max_depth} levels: send a flatter one"


def _flatten(name, value):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flatten(f"{name}[{key}]" if name else str(key), item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _flatten(f"{name}[{index}]", item)
    elif value is None:
        yield name, ""
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    else:
        yield name, str(value)


def _form_set(result, name, value):
    head, bracket, _rest = name.partition("[")
    steps = [head, *_FORM_KEY.findall(name)] if bracket else [name]
    if len(steps) > MAX_DEPTH:
        raise BadRequest(_too_deep(MAX_DEPTH) + ".")
    target = result
    for step in steps[:-1]:
        target = target.setdefault(step or str(len(target)), {})
        if not isinstance(target, dict):
            raise BadRequest(
                f"The form field {name[:80]} is both a value and an object."
            )
    last = steps[-1] if steps[-1] or len(steps) == 1 else str(len(target))
    known = target.get(last)
    if isinstance(known, dict):
        raise BadRequest(f"The form field {name[:80]} is both a value and an object.")
    if known is None:
        target[last] = value
    elif isinstance(known, list):
        known.append(value)
    else:
        target[last] = [known, value]


def _form_lists(value):
    """Turn objects whose keys are 0, 1, 2 … into lists."""
    if not isinstance(value, dict):
        return value
    items = {key: _form_lists(item) for key, item in value.items()}
    if items and list(items) == [str(index) for index in range(len(items))]:
        return list(items.values())
    return items
