"""What an attempt is: who calls what, and what must come of it.

The tables of this folder are made of these. Names in angle brackets, as ``<b1>``, stand
for what the world of ``world.py`` has by that name: an id, a token, an address.

Two things must hold after each attempt, whatever else its row says: no answer holds one
of the world's secrets, and, unless the row says ``changes``, nothing of what
``judge.py`` watches is another than before.
"""

import re
from dataclasses import dataclass

ROUTE = "/bj_api_sync/v1"


@dataclass(frozen=True)
class Http:
    """One call; ``body`` becomes JSON unless it is bytes, ``path`` is sent as it is."""

    method: str
    path: str
    body: object = None
    token: str | None = None
    headers: tuple = ()
    source: str = "127.0.0.1"
    session: str | None = None  # the user whose browser it is


@dataclass(frozen=True)
class Wire:
    """Bytes for a socket, sent as they are; ``parts`` after the first one come later."""

    parts: tuple
    pause: float = 0.0
    source: str = "127.0.0.1"


@dataclass(frozen=True)
class Rpc:
    """A remote call. Refused it counts as a status: 403 for a lack of rights, 400 for
    what Odoo says to a person, 404 for a record that is not there, else 500."""

    user: str
    model: str
    method: str
    args: tuple = ()
    context: tuple = ()


@dataclass(frozen=True)
class Sql:
    """What somebody with a dump reads: 200 with rows, 404 without any."""

    statement: str


@dataclass(frozen=True)
class Pull:
    """The other side answers a fetch like this; settled when the fetch is over.

    :param tuple answers: ``(path, behaviour, arguments)`` for ``receiver.py``, the first
        of them that of the fetch
    :param str host: whose address is fetched from
    """

    answers: tuple
    host: str = "receiver"


@dataclass(frozen=True)
class Script:
    """An administrator stores a script, a holder of the token makes a call with it.

    400 as well when it is refused on being saved.
    """

    field: str
    text: str
    body: object
    query: str = ""
    headers: tuple = ()


@dataclass(frozen=True)
class Received:
    """What the other side has received at a path or below: 200, or 404 for nothing.

    Without a path it forgets all.
    """

    path: str = ""


@dataclass(frozen=True)
class ServerLog:
    """What the server has written since the attempt's first call, or ever."""

    from_start: bool = False


@dataclass(frozen=True)
class Comes:
    """What must come.

    :param tuple status: one of these
    :param code: the answer's CODE
    :param tuple has, lacks: texts of the answer, its headers included
    :param tuple facts: ``(SQL, value of its first row)`` that must hold afterwards
    :param bool changes: the call may change what is watched
    """

    status: tuple
    code: str | None = None
    has: tuple = ()
    lacks: tuple = ()
    facts: tuple = ()
    changes: bool = False


@dataclass(frozen=True)
class Attempt:
    """All calls but the last one prepare; ``undo`` are the administrator's."""

    id: str
    actor: str
    calls: tuple
    comes: Comes
    undo: tuple = ()

    @property
    def area(self):
        return self.id.partition(".")[0]


def call(method, path, body=None, token=None, **options):
    headers = options.pop("headers", {})
    pairs = tuple(headers.items() if isinstance(headers, dict) else headers)
    path = path if path.startswith("!") else f"{ROUTE}{path}"
    return Http(method, path.removeprefix("!"), body, token, pairs, **options)


def rpc(user, model, method, *args, **context):
    return Rpc(user, model, method, args, tuple(context.items()))


def comes(*status, code=None, has=(), lacks=(), facts=(), changes=False):
    has, lacks = ((text,) if isinstance(text, str) else text for text in (has, lacks))
    return Comes(status, code, tuple(has), tuple(lacks), tuple(facts), changes)


def table(area, actor, rows):
    """Return the attempts of rows ``(name, call or calls, what must come[, undo])``."""
    found = {}
    for name, calls, expected, *undo in rows:
        calls = calls if isinstance(calls, tuple) else (calls,)
        undo = tuple(undo[0]) if undo else ()
        name = f"{area}.{slug(name)}"
        while name in found:  # names that differ in signs alone
            name += "-again"
        found[name] = Attempt(name, actor, calls, expected, undo)
    return list(found.values())


def slug(text):
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def fill(value, names):
    """Return a value with the names in angle brackets replaced, however deep."""
    if isinstance(value, str):
        whole = re.fullmatch(r"<(\w+)>", value)
        if whole and whole[1] in names:
            return names[whole[1]]
        return re.sub(
            r"<(\w+)>", lambda match: str(names.get(match[1], match[0])), value
        )
    if isinstance(value, bytes):
        return fill(value.decode("latin-1"), names).encode("latin-1")
    if isinstance(value, dict):
        return {fill(key, names): fill(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(fill(item, names) for item in value)
    return value
