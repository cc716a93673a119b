"""Where a Request URL leads to: the place that its credentials are for."""

import re

from .url import DEFAULT_PORTS, placeholders

_PART = re.compile(r"(\{[^{}]+\})")


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
