"""The values that travel through the layers: read once, never changed on the way.

``InboundRequest`` and ``ApiResponse`` are one call to our API, ``OutboundRequest`` and
``OutboundResponse`` one call that we make, ``Plan`` and ``Rule`` a compiled mapping.
"""

import json
from dataclasses import dataclass, field
from typing import Any


def loads_foreign(text):
    """Return JSON of others as Python reads it, for who takes other text as well.

    :raise ValueError: it is no JSON, or nests deeper than Python's stack allows
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("The JSON is nested too deep") from error


@dataclass(frozen=True)
class InboundRequest:
    """One call to ``/bj_api_sync/v1/<endpoint>[/<record_key>]``.

    ``query`` keeps order and repetition: ``(("limit", "10"), ("tag", "a"))``. Header
    names in ``headers`` are in lower case. ``url`` is the path with its query string,
    ``base_url`` scheme and host. ``credential`` names who calls: a token, login or
    address.
    """

    method: str
    endpoint: str
    record_key: str | None = None
    query: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    request_id: str = ""
    remote_addr: str = ""
    url: str = ""
    base_url: str = ""
    credential: str = ""

    @property
    def is_dry_run(self):
        """Tell whether a write is asked for that must have no effect."""
        return self.method not in ("GET", "HEAD", "OPTIONS") and any(
            name == "dry_run" and text.lower() in ("true", "1")
            for name, text in self.query
        )

    def prefers(self, preference):
        """Tell whether the caller has sent it in ``Prefer`` (RFC 7240)."""
        text = self.headers.get("prefer", "").replace(" ", "").lower()
        return preference in text.split(",")


@dataclass(frozen=True)
class ApiResponse:
    """What a handler answers, before the envelope: ``payload`` is any JSON value.

    ``kind`` chooses the envelope: ``object``, ``list``, ``lines`` (NDJSON) or
    ``raw`` (sent as it is). ``chunks`` are lists of rows that are read while they are
    sent, in place of ``payload``, which is not sent when ``status`` is 204 or 304. ``action``, ``record_id`` and
    ``record_count`` are for the log; ``is_dry_run`` asks to undo what was done.
    """

    status: int = 200
    payload: Any = None
    chunks: Any = None
    kind: str = "object"
    headers: dict[str, str] = field(default_factory=dict)
    message: str = ""
    pagination: dict | None = None
    action: str = ""
    record_id: int = 0
    record_count: int = 0
    is_dry_run: bool = False


@dataclass(frozen=True)
class OutboundRequest:
    """Bytes to send and the limits to send them under; all times are seconds.

    ``total_timeout`` bounds the whole attempt, because a read timeout is per chunk and
    a trickling answer would never reach it. ``blocked_networks`` are CIDR strings,
    checked against the address that is connected to.
    """

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    connect_timeout: float = 5.0
    read_timeout: float = 15.0
    total_timeout: float = 30.0
    verify_tls: bool = True
    blocked_networks: tuple[str, ...] = ()
    max_response_bytes: int = 1024 * 1024


@dataclass(frozen=True)
class OutboundResponse:
    """The answer, or what stood in its way; ``transport.send`` never raises for the net.

    ``status`` is ``None`` without an answer; ``error_kind`` is then one of ``dns``,
    ``connect``, ``tls``, ``timeout``, ``reset``, ``blocked``, ``invalid`` (bad URL or
    header) and ``error`` a sentence. ``duration`` is in seconds.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    truncated: bool = False
    error_kind: str = ""
    error: str = ""
    duration: float = 0.0
    url: str = ""

    @property
    def status_code(self):
        return self.status

    @property
    def ok(self):
        return self.status is not None and 200 <= self.status < 300

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        """Return the parsed body; raise ``ValueError`` for anything but JSON."""
        return loads_foreign(self.body)


@dataclass
class Call:
    """What scripts may know of the exchange they run in, and change.

    ``direction`` is ``in`` or ``out``; ``params`` are the query's values by name;
    ``request_data`` is the body that was sent, as the request script left it.
    """

    config_id: int
    direction: str
    method: str = ""
    params: dict = field(default_factory=dict)
    headers: dict = field(default_factory=dict)
    request_data: Any = None


@dataclass
class RowResult:
    """What became of one row of a write.

    ``status`` is ``created``, ``updated``, ``unchanged``, ``deleted`` or ``error``;
    ``code`` the HTTP status the row would have had alone; ``errors`` are those of
    :class:`~..exceptions.PayloadError`, ``cause`` the exception behind them, if any.
    """

    index: int
    status: str = ""
    code: int = 200
    record_id: int = 0
    identifier: Any = None
    message: str = ""
    line_id: int | None = None
    errors: list = field(default_factory=list)
    cause: Exception | None = None


@dataclass(frozen=True)
class Rule:
    """One configuration line, compiled: everything that a conversion needs to know.

    ``path`` are the steps of the field path (empty for a line without a field),
    ``key_path`` those of the external key (``address.city`` gives two). ``field_type``,
    ``relation``, ``selection`` and ``size`` describe the field at the end of the path;
    ``selection`` is empty when its values are computed each time. ``access`` is what is
    possible of what the line says: ``read_write``, ``read``, ``write`` or ``none``.
    """

    line_id: int
    api_key: str
    key_path: tuple[str, ...]
    field_path: str = ""
    path: tuple[str, ...] = ()
    field_type: str = ""
    relation: str = ""
    selection: tuple[str, ...] = ()
    value_type: str = "plain"
    access: str = "read_write"
    required: bool = False
    is_identifier: bool = False
    script: str = ""
    script_mode: str = "evaluate"
    read_script: str = ""
    mapping_config_id: int = 0
    create_missing: bool = False
    x2many_mode: str = ""
    nested_format: str = "object"
    constant: Any = None
    size: int = 0

    @property
    def is_relational(self):
        return self.value_type == "relational_mapping"

    @property
    def is_x2many(self):
        return self.field_type in ("one2many", "many2many")

    @property
    def reads(self):
        return self.access in ("read_write", "read")

    @property
    def writes(self):
        return self.access in ("read_write", "write")


@dataclass(frozen=True)
class Plan:
    """A configuration's lines, compiled once per registry and shared by all requests."""

    config_id: int
    name: str
    model: str
    rules: tuple[Rule, ...]
    identifier: Rule | None = None
    reject_unknown_keys: bool = False
    filter_domain: str = "[]"

    @property
    def readable(self):
        return tuple(rule for rule in self.rules if rule.reads)

    @property
    def writable(self):
        return tuple(rule for rule in self.rules if rule.writes)


@dataclass(frozen=True)
class Contract:
    """What a client may know of an endpoint: all that a document about it is made of.

    ``plans`` are the mapping models that ``plan`` leads to, by configuration id.
    ``filters`` and ``params`` are what ``tools.query`` takes (``FilterField`` and
    ``ParamRule``), ``orders`` and ``keys`` the names that ``order=`` and ``fields=``
    take. ``headers`` are the names of the required ones. ``list_lines`` are ids of lines
    whose path goes through a list on its way. The examples are made up, never data.
    """

    endpoint: str
    title: str
    plan: Plan
    methods: tuple[str, ...]
    description: str = ""
    auth_type: str = "none"
    headers: tuple[str, ...] = ()
    response_format: str = "bare"
    is_paginated: bool = False
    limit: int = 100
    max_limit: int = 1000
    max_bulk: int = 1000
    upsert: bool = False
    delete_mode: str = "unlink"
    is_rate_limited: bool = False
    has_request_script: bool = False
    has_response_script: bool = False
    plans: dict[int, Plan] = field(default_factory=dict)
    filters: tuple = ()
    params: tuple = ()
    orders: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    list_lines: frozenset[int] = frozenset()
    read_example: dict = field(default_factory=dict)
    create_example: dict = field(default_factory=dict)
    update_example: dict = field(default_factory=dict)
