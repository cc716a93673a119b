"""Take secrets out of what is logged: headers, bodies, URLs and messages.

A key is secret when it contains a secret word in any case (``X-Auth-Token``,
``clientSecret``, ``api-key``). JSON that mentions one is parsed and masked by key; other
text, broken or cut JSON included, is masked where a secret word is followed by a value.
A search domain has its values in terms: ``["password", "=", "S"]`` is masked as well.
Everything here takes time linear in the text, because the text may be hostile.
"""

import ast
import base64
import json
import re
from urllib.parse import quote_plus, unquote_plus

MASK = "***"
MAX_LENGTH = 64 * 1024
HEADER_NAMES = (
    "authorization",
    "cookie",
    "set-cookie",
    "proxy-authorization",
    "x-api-key",
    "webhook-signature",
    "x-hub-signature-256",
)
BODY_KEYS = ("password", "secret", "token", "api_key")

_USERINFO = re.compile(r"(://)[^/?#\s@\"'<>]*@")
# In any text, and in what is nothing but a URL, where a semicolon may be part of a value.
_QUERY_PART = re.compile(r"(\A|[?&;#])([^?&;#=\s\"'<>]{1,200})=([^&;#\s\"'<>]+)")
_URL_PART = re.compile(
    r"([?&;#])([^?&;#=]{1,200})=([^&;#]+(?:;(?![^?&;#=]{1,200}=)[^&;#]*)*)"
)
_ESCAPE = re.compile(r"(?<!\\)\\+(?:u00|U000000|x)([2-7][0-9a-fA-F])")
_JOINT = re.compile(r"""'\s{0,8}'|"\s{0,8}\"""")  # Python takes 'a' 'b' for 'ab'
MAX_NESTING = 3  # URLs inside parameters of URLs, and percent-encoding of percent signs
MAX_LITERAL = 8000  # characters, of a domain as of any other literal that is understood
MIN_ECHO = 4  # characters of a secret that is recognised where a text repeats it
MIN_HEADER_ECHO = 8
_CREDENTIAL = re.compile(r"\b((?:bearer|basic)\s{1,8})[\w.~+/=-]{6,}", re.IGNORECASE)
_STRUCTURE = re.compile(
    r""""[^"\\]*(?:\\.[^"\\]*)*"?|'[^'\\]*(?:\\.[^'\\]*)*'?|[\[\](){}]""", re.DOTALL
)


class Redactor:
    """Masks by header name and by key; make one per configuration and keep it.

    :param header_names: masked besides :data:`HEADER_NAMES`
    :param body_keys: secret words besides :data:`BODY_KEYS`
    """

    def __init__(self, header_names=(), body_keys=()):
        self._header_names = {name.lower() for name in (*HEADER_NAMES, *header_names)}
        words = {}
        for key in (*BODY_KEYS, *body_keys):
            key = key.strip().lower()
            for variant in (
                key,
                *(re.sub(r"[_-]", new, key) for new in ("", "_", "-")),
            ):
                if variant:
                    words[variant] = True
        self._words = tuple(words)
        # From a secret word on: the rest of the key, a separator, the value. Every
        # repetition is bounded or cannot overlap what follows it.
        self._secret = re.compile(
            rf"""(?:{"|".join(map(re.escape, words))})
            [\w.\-\]\[]{{0,64}} (?:\\{{0,8}}["'])? \s{{0,8}}
            (?: (?P<query>=) | (?P<tag>>) | (?P<pair>:) | (?P<part>\r?\n\r?\n)
                | (?P<term>, \s{{0,8}} \\{{0,8}}["'] [=!<>?a-z_\ ]{{1,16}} \\{{0,8}}["']
                   \s{{0,8}} ,) )
            \s{{0,8}}""",
            re.IGNORECASE | re.VERBOSE,
        )

    def headers(self, headers):
        """Return ``headers`` with the values of secret ones masked."""
        return {
            name: MASK if self.is_secret_header(name) else self._header_value(value)
            for name, value in headers.items()
        }

    def query(self, url):
        """Return ``url`` without user and password, and with secret parameters masked.

        So are terms of a domain, and parameters of a URL that is itself a parameter.
        """
        return self._mask_url(url, _URL_PART)

    def find_echoes(self, url, headers):
        """Return the texts that :meth:`query` and :meth:`headers` mask.

        For :func:`hide`, where an answer or an error may repeat them. Short ones are left
        out: they would be found everywhere.

        :param headers: ``dict``, or anything else for none
        """
        found = []
        if self._mask_url(url, _URL_PART) != url:
            for _start, name, text in _URL_PART.findall(url):
                plain = decode(text)
                value = parse_literal(plain)
                if self.is_secret(decode(name)):
                    found += [plain, *plain.split(",")]
                elif value is not None:
                    found += self._find_in(value)
                elif is_like_literal(plain):
                    found += _QUOTED.findall(plain)
        found = [text for text in found if len(text) >= MIN_ECHO]
        for name, value in headers.items() if isinstance(headers, dict) else ():
            if isinstance(value, str) and self.is_secret_header(name):
                parts = [value, value.partition(" ")[2], get_password(value)]
                found += [text for text in parts if len(text) >= MIN_HEADER_ECHO]
        return set(found)

    def body(self, body, content_type="", limit=None):
        """Return the text of a body to log.

        :param body: text or bytes; bytes that are not UTF-8 text give ``<N bytes>``
        :param str content_type: of the body, if known
        :param int limit: cut to so many bytes; spares masking what is then cut
        """
        text, size = body or "", len(body or "")
        if not isinstance(text, str):
            if not _is_texty(content_type):
                return f"<{size} bytes>"
            try:
                text = bytes(text).decode("utf-8")
            except UnicodeDecodeError:
                return f"<{size} bytes>"
        elif limit and size * 4 > limit:
            size = len(text.encode("utf-8", "replace"))
        if not limit or size <= limit:
            return self._whole_body(text)
        # Twice the limit, so that what a cut made unrecognisable is not shown.
        masked = self.text(text[: 2 * limit])
        return cut(masked, limit, size)

    def text(self, text, depth=0):
        """Return any text (a message, a traceback, a form) with secrets masked.

        :param int depth: of how many URLs it is a part
        """
        lowered = text.lower()
        return self._mask(text, lowered, self._mentions(lowered), depth)

    def _mask(self, text, lowered, is_suspect, depth=0):
        """As :meth:`text`, for a caller that knows whether it has a secret word."""
        if "\\" in text:
            plain = unescape(text)
            if plain != text and self._mentions(plain.lower()):
                text, lowered, is_suspect = plain, plain.lower(), True
        if "bearer" in lowered or "basic" in lowered:
            text = _CREDENTIAL.sub(rf"\1{MASK}", text)
        has_url = "/" in lowered and "://" in lowered  # one character is found at once
        if is_suspect:
            text = self._mask_values(text)
        if is_suspect or has_url or "%" in lowered:
            text = self._mask_url(text, _QUERY_PART, depth)
        return text.replace("\0", "\ufffd")  # which PostgreSQL would refuse

    def _whole_body(self, text):
        lowered = text.lower()
        is_suspect = self._mentions(lowered)
        # A key may be spelt with escapes: then only the parser knows it.
        may_hide = "\\" in lowered and "\\u00" in lowered
        if text.lstrip()[:1] in ("{", "[") and (is_suspect or may_hide):
            try:
                return dumps(self._value(json.loads(text)))
            except (ValueError, RecursionError):
                pass  # broken or too deep: masked as text
        return self._mask(text, lowered, is_suspect)

    def _mask_values(self, text):
        pieces, position = [], 0
        while match := self._secret.search(text, position):
            start = match.end()
            position_after = _value_end(text, start, match.lastgroup)
            pieces.append(text[position:start])
            if position_after > start:
                quote = text[start] if text[start] in "\"'" else ""
                pieces.append(f"{quote}{MASK}{quote}")
            position = position_after
        return "".join([*pieces, text[position:]])

    def is_secret(self, key):
        """Tell whether a key says that its value is secret."""
        key = key.lower()
        return any(word in key for word in self._words)

    def is_secret_header(self, name):
        """Tell whether a header's name says that its value is secret."""
        return name.lower() in self._header_names or self.is_secret(name)

    def _mentions(self, lowered):
        return any(word in lowered for word in self._words)

    def _header_value(self, value):
        return self.text(value) if isinstance(value, str) else value

    def _mask_url(self, text, pattern, depth=0):
        text = _USERINFO.sub(rf"\1{MASK}@", text)
        if not self._mentions(spell_out(decode(text))):
            return text
        return pattern.sub(lambda match: self._mask_parameter(match, depth), text)

    def _mask_parameter(self, match, depth):
        start, name, text = match.groups()
        if self.is_secret(decode(name)):
            return f"{start}{name}={MASK}"
        plain = decode(text)
        if not self._mentions(spell_out(plain)):
            return match[0]
        if depth >= MAX_NESTING:
            return f"{start}{name}={MASK}"
        value = parse_literal(plain)
        if value is not None:
            masked = self._value(value, depth + 1)
            if dumps(masked) == dumps(value):
                return match[0]
            masked = dumps(masked, separators=(",", ":"))
        elif is_like_literal(plain):  # broken, so nobody knows where a value ends
            masked = MASK
        else:
            masked = self.text(plain, depth + 1)
        if masked == plain:
            return match[0]
        return f"{start}{name}={quote_plus(masked, safe='*[](),:=/')}"

    def _value(self, value, depth=0):
        if isinstance(value, dict):
            return {
                key: MASK
                if item is not None and self.is_secret(str(key))
                else self._value(item, depth)
                for key, item in value.items()
            }
        if self._is_secret_term(value):
            return [*value[:2], MASK]
        if isinstance(value, list | tuple):
            return [self._value(item, depth) for item in value]
        return self.text(value, depth) if isinstance(value, str) else value

    def _is_secret_term(self, value):
        """Tell whether this is a term of a domain about a field with a secret name."""
        return (
            isinstance(value, list | tuple)
            and len(value) == 3
            and isinstance(value[0], str)
            and isinstance(value[1], str)
            and _OPERATOR.fullmatch(value[1]) is not None
            and self.is_secret(value[0])
        )

    def _find_in(self, value, is_secret=False):
        """Yield the texts in a value that :meth:`_value` masks."""
        if isinstance(value, dict):
            for key, item in value.items():
                yield from self._find_in(item, is_secret or self.is_secret(str(key)))
        elif self._is_secret_term(value):
            yield from self._find_in(value[2], is_secret=True)
        elif isinstance(value, list | tuple):
            for item in value:
                yield from self._find_in(item, is_secret)
        elif is_secret:
            yield str(value)


def decode(text):
    """Return text without percent-encoding, however often it was applied."""
    for _time in range(MAX_NESTING):
        plain = unquote_plus(text) if "%" in text or "+" in text else text
        if plain == text:
            break
        text = plain
    return text


def unescape(text):
    """Return text with the letters of keys that are spelt as ``\\u0077`` or ``\\x77``."""
    return _ESCAPE.sub(_unescape_one, text) if "\\" in text else text


def spell_out(text):
    """Return text in which a secret word is seen, however a literal spells it."""
    return _JOINT.sub("", unescape(text)).lower()


def _unescape_one(match):
    character = chr(int(match[1], 16))
    return character if character.isalnum() or character in "_-" else match[0]


def parse_literal(text):
    """Return the list or object that a text is, in JSON or Python, ``None`` for none."""
    text = text.strip()
    if not is_like_literal(text) or len(text) > MAX_LITERAL:
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return value if isinstance(value, list | tuple | dict) else None
    return None


def is_like_literal(text):
    return text.lstrip()[:1] in ("[", "(", "{")


def get_password(authorization):
    """Return the password of a Basic ``Authorization``, ``""`` for anything else."""
    scheme, _space, text = authorization.partition(" ")
    try:
        plain = base64.b64decode(text, validate=True).decode()
    except ValueError:
        return ""
    return plain.partition(":")[2] if scheme.lower() == "basic" else ""


def dumps(value, **options):
    text = json.dumps(value, ensure_ascii=False, default=str, **options)
    return text.encode("utf-8", "replace").decode()


def hide(text, echoes):
    """Return a text without the secrets that it repeats, as they are or inside JSON.

    :param echoes: from :meth:`Redactor.find_echoes`
    """
    for echo in sorted(echoes, key=len, reverse=True):
        for shown in {echo, json.dumps(echo)[1:-1], quote_plus(echo)}:
            text = text.replace(shown, MASK)
    return text


def storable(text):
    """Return text as PostgreSQL takes it: without NUL and halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def cut(text, limit=MAX_LENGTH, size=None):
    """Return ``text`` if it has at most ``limit`` bytes in UTF-8, else its start.

    A marker then says how many bytes there were. Cut after masking, not before.

    :param int size: of the original in bytes, if ``text`` is not all of it
    """
    if size is None and len(text) * 4 <= limit:
        return text
    data = text.encode("utf-8", "replace")
    size = len(data) if size is None else size
    if size <= limit:
        return text
    start = data[:limit].decode("utf-8", "ignore")
    return f"{start}… [cut, {size} bytes in all]"


def _is_texty(content_type):
    media_type = content_type.split(";")[0].strip().lower()
    return (
        not media_type
        or media_type.startswith(("text/", "multipart/form-data"))
        or media_type.endswith(("json", "xml", "javascript", "form-urlencoded"))
    )


def _value_end(text, start, separator):
    """Return where the value ends that begins at ``start``."""
    first = text[start : start + 1]
    if separator in ("pair", "term") and first and first in "[{(":
        depth = 0
        for match in _STRUCTURE.finditer(text, start):
            depth += (match[0] in "[{(") - (match[0] in "]})")
            if not depth:
                return match.end()
        return len(text)
    end = _VALUE.get(first, _VALUE[separator]).match(text, start).end()
    # Python takes "a" "b" for one text.
    while separator == "term" and (more := _MORE.match(text, end)):
        end = more.end()
    return end


_DOUBLE = r'"[^"\\]*(?:\\.[^"\\]*)*"?'
_SINGLE = r"'[^'\\]*(?:\\.[^'\\]*)*'?"
# Python's, with letters before it.
_PREFIXED = rf"[bBrRuUfF]{{1,2}}(?:{_DOUBLE}|{_SINGLE})"
_QUOTED = re.compile(r"""["']([^"'\\]*)["']""")
_MORE = re.compile(rf"\s{{0,8}}(?:{_PREFIXED}|{_DOUBLE}|{_SINGLE})", re.DOTALL)
_OPERATOR = re.compile(r"[=!<>?a-zA-Z_ ]{1,16}")

#: What a value is, by its first character or by what separates it from its key.
_VALUE = {
    '"': re.compile(_DOUBLE, re.DOTALL),
    "'": re.compile(_SINGLE, re.DOTALL),
    "\\": re.compile(r"\\+(?:[\"'][^\"']*[\"']?|[^\s,}\]&\"'<>]*)"),
    "query": re.compile(rf"{_PREFIXED}|[^\s&\"'<>]*", re.DOTALL),
    "pair": re.compile(rf"{_PREFIXED}|[^\s,}}\]&\"'<>]*", re.DOTALL),
    "term": re.compile(rf"{_PREFIXED}|[^\s,}})\]&\"'<>]*", re.DOTALL),
    "tag": re.compile(r"[^<]*"),
    "part": re.compile(r"[^\r\n]*"),
}
