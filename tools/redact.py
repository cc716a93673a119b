"""Take secrets out of what is logged: headers, bodies, URLs and messages.

A key is secret when it contains a secret word in any case (``X-Auth-Token``,
``clientSecret``, ``api-key``). JSON that mentions one is parsed and masked by key; other
text, broken or cut JSON included, is masked where a secret word is followed by a value.
Everything here takes time linear in the text, because the text may be hostile.
"""

import json
import re
from urllib.parse import unquote_plus

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
_QUERY_PART = re.compile(r"[?&;#]([^?&;#=\s\"'<>]{1,200})=([^&;#\s\"'<>]+)")
_CREDENTIAL = re.compile(r"\b((?:bearer|basic)\s{1,8})[\w.~+/=-]{6,}", re.IGNORECASE)
_STRUCTURE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)


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
            [\w.\-\]\[]{{0,64}} (?:\\?["'])? \s{{0,8}}
            (?: (?P<query>=) | (?P<tag>>) | (?P<pair>:) | (?P<part>\r?\n\r?\n) )
            \s{{0,8}}""",
            re.IGNORECASE | re.VERBOSE,
        )

    def headers(self, headers):
        """Return ``headers`` with the values of secret ones masked."""
        return {
            name: MASK
            if name.lower() in self._header_names or self.is_secret(name)
            else self._header_value(value)
            for name, value in headers.items()
        }

    def query(self, url):
        """Return ``url`` without user and password, and with secret parameters masked."""
        url = _USERINFO.sub(rf"\1{MASK}@", url)
        if not self._mentions(unquote_plus(url).lower()):
            return url
        return _QUERY_PART.sub(self._mask_parameter, url)

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

    def text(self, text):
        """Return any text (a message, a traceback, a form) with secrets masked."""
        lowered = text.lower()
        return self._mask(text, lowered, self._mentions(lowered))

    def _mask(self, text, lowered, is_suspect):
        """As :meth:`text`, for a caller that knows whether it has a secret word."""
        if "bearer" in lowered or "basic" in lowered:
            text = _CREDENTIAL.sub(rf"\1{MASK}", text)
        has_url = "/" in lowered and "://" in lowered  # one character is found at once
        if is_suspect or has_url or "%" in lowered:
            text = self.query(text)
        if is_suspect:
            text = self._mask_values(text)
        return text.replace("\0", "\ufffd")  # which PostgreSQL would refuse

    def _whole_body(self, text):
        lowered = text.lower()
        is_suspect = self._mentions(lowered)
        # A key may be spelt with escapes: then only the parser knows it.
        may_hide = "\\" in lowered and "\\u00" in lowered
        if text.lstrip()[:1] in ("{", "[") and (is_suspect or may_hide):
            try:
                masked = json.dumps(self._value(json.loads(text)), ensure_ascii=False)
                return masked.encode("utf-8", "replace").decode()
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

    def _mentions(self, lowered):
        return any(word in lowered for word in self._words)

    def _header_value(self, value):
        return self.text(value) if isinstance(value, str) else value

    def _mask_parameter(self, match):
        if not self.is_secret(unquote_plus(match[1])):
            return match[0]
        return match[0][: match.start(2) - match.start()] + MASK

    def _value(self, value):
        if isinstance(value, dict):
            return {
                key: MASK
                if item is not None and self.is_secret(key)
                else self._value(item)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self._value(item) for item in value]
        return self.text(value) if isinstance(value, str) else value


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
    if separator == "pair" and first in ("[", "{"):
        depth = 0
        for match in _STRUCTURE.finditer(text, start):
            depth += (match[0] in "[{") - (match[0] in "]}")
            if not depth:
                return match.end()
        return len(text)
    return _VALUE.get(first, _VALUE[separator]).match(text, start).end()


#: What a value is, by its first character or by what separates it from its key.
_VALUE = {
    '"': re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL),
    "'": re.compile(r"'[^'\\]*(?:\\.[^'\\]*)*'?", re.DOTALL),
    "\\": re.compile(r"\\+(?:[\"'][^\"']*[\"']?|[^\s,}\]&\"'<>]*)"),
    "query": re.compile(r"[^\s&\"'<>]*"),
    "pair": re.compile(r"[^\s,}\]&\"'<>]*"),
    "tag": re.compile(r"[^<]*"),
    "part": re.compile(r"[^\r\n]*"),
}
