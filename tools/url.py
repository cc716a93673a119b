"""Request URLs: checked when saved, completed from the payload when used.

    https://api.example.com/orders/{number}?shop={shop.code}

A value never becomes more than the piece of the URL it stands for: it is encoded on
its own, so ``../admin?x=`` is one odd path segment and not another place.
"""

import re
from ipaddress import IPv6Address
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
_PLACEHOLDER = re.compile(r"\{([^{}/?#\s]+)\}")
_DOT = re.compile(r"(?<!\\)\.")
_ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::([0-9]{1,5}))?/?"
)
_REFUSED = re.compile(r"[\x00-\x20\x7f\\]")
_PART = re.compile(r"(\{[^{}]+\})")


class UrlError(ValueError):
    """A URL that cannot be used; ``str()`` is a sentence for a person."""


class PlaceholderError(ValueError):
    """A placeholder that the payload cannot fill.

    :param str message: what is wrong with it
    :param str key: the placeholder without its braces
    :param tuple available: keys that the payload has, dotted
    """

    def __init__(self, message, key, available=()):
        super().__init__(message)
        self.key = key
        self.available = available


def check(url):
    """Accept a complete http(s) URL, which may hold placeholders.

    :raise UrlError: what to change
    """
    if not url:
        raise UrlError("The URL is empty.")
    if _REFUSED.search(url):
        raise UrlError(
            "The URL contains a space, a backslash or a control character. "
            "Percent-encode it (a space is %20)."
        )
    url = _PLACEHOLDER.sub("x", url)
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise UrlError(f"The URL is not well formed: {error}.") from None
    if parts.scheme not in ("http", "https"):
        raise UrlError("The URL must start with https:// or http://.")
    if "@" in parts.netloc:
        raise UrlError(
            "The URL contains a login or password (before @). Use the fields of the "
            "Authorization instead: a URL is shown and logged."
        )
    if not host:
        raise UrlError("The URL has no host, as in https://api.example.com/orders.")


def to_origin(text):
    """Return an origin as a browser sends it, ``None`` for what is none.

    >>> to_origin("HTTPS://Кава.example:443/")
    'https://xn--80aaf4a.example'
    """
    if text in ("*", "null"):
        return text
    match = _ORIGIN.fullmatch(text.lower())
    if not match:
        return None
    scheme, address, host, port = match.groups()
    try:
        # The host as DNS knows it, an IPv6 address in its short form.
        host = f"[{IPv6Address(address)}]" if address else host.encode("idna").decode()
    except ValueError:
        return None
    if not port or int(port) == DEFAULT_PORTS.get(scheme):
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{int(port)}" if int(port) < 65536 else None


def placeholders(template):
    """Return the keys of the placeholders in a template, each once, in order."""
    return tuple(dict.fromkeys(_PLACEHOLDER.findall(template)))


def expand(template, payload, query=False):
    r"""Return a template with its placeholders filled from the payload.

    ``{id}`` is a key, ``{address.city}`` a nested one, ``{a\.b}`` a key with a dot.

    - Path: percent-encoded; empty, ``.`` and ``..`` are refused, because they would
      name another resource (``DELETE /orders/`` may mean all orders).
    - Query: percent-encoded, may be empty.
    - Host: letters, digits and ``-`` only, so that data cannot choose the host beyond
      one label of its name.

    :param dict payload: what is sent, JSON values
    :param bool query: ``template`` is the value of one parameter and not a URL; values
        are inserted as they are, because :func:`with_params` encodes the whole
    :raise PlaceholderError: a value is missing, unfit, or not a single value
    """
    if query:
        return _PLACEHOLDER.sub(lambda match: _text(payload, match[1]), template)
    start, slashes, rest = template.partition("://")
    host, path, query_part = re.fullmatch(r"([^/?#]*)([^?#]*)(.*)", rest, re.S).groups()
    host = _PLACEHOLDER.sub(lambda match: _label(payload, match[1]), host)
    path = "/".join(_segment(payload, segment) for segment in path.split("/"))
    query_part = _PLACEHOLDER.sub(
        lambda match: quote(_text(payload, match[1]), safe=""), query_part
    )
    return f"{start}{slashes}{host}{path}{query_part}"


def with_params(url, pairs):
    """Return the URL with ``(name, value)`` pairs added to its query, encoded.

    What the URL has already stays as it is; a fragment is dropped, as it is never sent.
    """
    pairs = [(name, _scalar(value)) for name, value in pairs]
    parts = urlsplit(url)
    added = urlencode(pairs, quote_via=quote, safe="")
    query = "&".join(part for part in (parts.query, added) if part)
    return urlunsplit((*parts[:3], query, ""))


def _label(payload, key):
    value = _text(payload, key)
    if not re.fullmatch(r"[A-Za-z0-9-]+", value):
        raise PlaceholderError(
            f"The value of {{{key}}} cannot be part of a host name.", key
        )
    return value


def _segment(payload, template):
    keys = _PLACEHOLDER.findall(template)
    segment = _PLACEHOLDER.sub(
        lambda match: quote(_text(payload, match[1]), safe=""), template
    )
    for key in keys:
        if not _text(payload, key):
            raise PlaceholderError(
                f"The value of {{{key}}} is empty: the URL would mean something else.",
                key,
            )
        if segment in (".", ".."):
            raise PlaceholderError(
                f"The value of {{{key}}} makes '{segment}', which changes the path.",
                key,
            )
    return segment


def _text(payload, key):
    """Return the payload's value under a dotted key as text, ``""`` for null."""
    value = payload
    steps = [step.replace("\\.", ".") for step in _DOT.split(key)]
    for step in steps:
        if not isinstance(value, dict) or step not in value:
            available = tuple(_keys(payload))
            names = ", ".join(available) or "none"
            raise PlaceholderError(
                f"The payload has no value for {{{key}}}. Available: {names}.",
                key,
                available,
            )
        value = value[step]
    if isinstance(value, dict | list):
        raise PlaceholderError(f"The value of {{{key}}} is not a single value.", key)
    return _scalar(value)


def _scalar(value):
    """Return a JSON scalar as it is written in a URL."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _keys(payload, start=""):
    """Yield the dotted keys of all single values in a payload."""
    if not isinstance(payload, dict):
        return
    for key, value in payload.items():
        name = start + str(key).replace(".", "\\.")
        if isinstance(value, dict):
            yield from _keys(value, name + ".")
        elif not isinstance(value, list):
            yield name


def get_address(template):
    """Return ``(scheme, host, port)`` of a Request URL, the same however it is spelled.

    A placeholder in the host stays as it is, because keys have a case.

    >>> get_address("HTTPS://API.Example.com:443/orders/{number}")
    ('https', 'api.example.com', 443)
    """
    scheme, _slashes, rest = (template or "").strip().partition("://")
    host, port = re.match(r"[^/?#]*", rest)[0], ""
    if match := re.fullmatch(r"(.*):([0-9]*)", host):
        host, port = match.groups()
    scheme = scheme.lower()
    host = "".join(
        part if part.startswith("{") else part.lower() for part in _PART.split(host)
    )
    return scheme, host, int(port) if port else DEFAULT_PORTS.get(scheme, 0)


def get_host_keys(template):
    """Return the placeholders that the host is made of, each as the steps of its key."""
    _scheme, host, _port = get_address(template)
    return tuple(tuple(key.split(".")) for key in placeholders(host))


def leads_to(template, url):
    """Tell whether a Request URL may have become ``url``, as far as its address goes."""
    scheme, host, port = get_address(template)
    pattern = "".join(
        "[a-z0-9-]+" if part.startswith("{") else re.escape(part)
        for part in _PART.split(host)
    )
    there = get_address(url)
    return (scheme, port) == (there[0], there[2]) and bool(
        re.fullmatch(pattern, there[1], re.IGNORECASE)
    )
