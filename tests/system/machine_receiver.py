"""The other side of the deliveries' machine: keeps what it is told, and how it was told.

It applies a request at the moment in which it answers, as real ones do, and answers an
Idempotency-Key that it knows as before. So what it holds in the end is what a shop or a
warehouse would hold, and its diary tells how that came about.
"""

import itertools
import json
import random
import select
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from harness import receiver

READ_TIMEOUT = 1  # seconds, of the configurations that send here
LONGEST = 0.3  # seconds until an answer, those that never come aside
# An answer that took so long may have been given up. What its sender says meanwhile would
# be overtaken here, which is the fault of a busy machine and of nobody else.
TOO_LATE = 0.8
GIVEN_UP = "given up by its sender before it was applied"
SILENCE = 30
# Faults after which the other side has done what it was asked, unknown to the sender.
APPLIED = ("reset after", "close after", "silent", "504 after")


@dataclass
class Visit:
    """One request on its way."""

    number: int
    request: object
    socket: object
    part: str  # single, batch or pair
    items: list  # of (record, version); the version is None for a deletion
    begun: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    fault: str = ""
    outcome: str = "on its way"
    is_cut: bool = False  # this side has hung up, perhaps before the answer was read

    @property
    def is_answered(self):
        """Whether a sender that lives has a good answer for certain."""
        quick = self.ended and self.ended - self.begun < TOO_LATE
        is_good = not self.fault and self.outcome != GIVEN_UP
        return bool(quick and is_good and not self.is_cut)

    @property
    def key(self):
        return self.request.headers.get("idempotency-key", "")

    @property
    def refs(self):
        return {ref for ref, _version in self.items}

    def __str__(self):
        items = ", ".join(f"{ref} v{version}" for ref, version in self.items)
        attempt = self.request.headers.get("x-request-id", "").rpartition("-")[2]
        return (
            f"{self.begun % 1000:8.3f}-{self.ended % 1000:7.3f} {self.request.method:6} "
            f"{self.request.path} [{items}] {self.key[:8]} attempt {attempt}: "
            f"{self.fault or 'good'}, {self.outcome}"
        )


@dataclass(frozen=True)
class Applied:
    """One thing that has become true over there."""

    order: int
    part: str
    method: str
    ref: str
    version: int | None
    key: str


class Ledger(receiver.Receiver):
    """Has three parts, by the beginning of the path.

    - ``/single``: POST makes an object, PUT ``/single/<ref>`` sets it, DELETE removes it
    - ``/batch``: PUT sets those that are in the list
    - ``/pair``: POST makes an object with a number, PUT ``/pair/<number>`` changes it

    :param str name: begins each number, which no other round may have
    """

    def __init__(self, name, seed):
        super().__init__()
        self.name = name
        self._numbers_made = itertools.count(1)
        self._visits_made = itertools.count(1)
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._active = {}
        self._faults = deque()
        self.visits = []
        self.applied = []
        self.overlaps = []
        self.repeats = 0
        self.strangers = []  # what should never come here
        self.answers = {}  # by key
        self.bodies = {}
        self.single = {}  # ref: [versions of its objects]
        self.batch = {}  # ref: version
        self.pair = {}  # number: (ref, version)

    def fail_next(self, faults):
        with self._lock:
            self._faults.extend(faults)

    def heal(self):
        with self._lock:
            self._faults.clear()

    def hang_up(self):
        with self._lock:
            for visit in self.visits:
                if not visit.ended or time.monotonic() - visit.ended < LONGEST:
                    visit.is_cut = True
        return super().hang_up()

    @property
    def active(self):
        with self._lock:
            return len(self._active)

    def wait_idle(self, timeout=5):
        """Wait until no request is under way, whether or not its sender is alive."""
        deadline = time.monotonic() + timeout
        while self.active and time.monotonic() < deadline:
            time.sleep(0.01)

    def wait_busy(self, timeout=1):
        deadline = time.monotonic() + timeout
        while not self.active and time.monotonic() < deadline:
            time.sleep(0.005)

    def _next_behaviour(self, path):
        return self._serve_visit

    def _serve_visit(self, exchange):
        visit, delay = self._begin(exchange)
        self.sleep(delay)
        answer = (500, b"{}")
        visit.outcome = "not applied"
        if not visit.fault or visit.fault in APPLIED:
            answer = self._apply(visit)
        elif visit.fault == "422":
            answer = (422, b'{"error": "refused"}')
            visit.outcome = "refused"
        if visit.fault == "silent":
            deadline = time.monotonic() + SILENCE
            while not is_gone(visit.socket) and time.monotonic() < deadline:
                time.sleep(0.01)
        # Before the answer: its sender may come with the next one as soon as it has it.
        self._end(visit)
        if visit.fault in ("reset", "reset after"):
            return receiver.reset()(exchange)
        if visit.fault in ("close", "close after", "silent"):
            return False
        if visit.fault[:3] in ("503", "429", "500", "504"):
            wait = {"429": {"Retry-After": "1"}, "429 long": {"Retry-After": "30"}}
            headers = wait.get(visit.fault, {})
            return receiver.answer(int(visit.fault[:3]), b"{}", headers)(exchange)
        return receiver.answer(*answer)(exchange)

    def _begin(self, exchange):
        request = exchange.request
        part, items = read_items(request)
        visit = Visit(next(self._visits_made), request, exchange.socket, part, items)
        with self._lock:
            for other in self._active.values():
                if visit.refs & other.refs and not is_gone(other.socket):
                    self.overlaps.append((other, visit))
            self._active[visit.number] = visit
            self.visits.append(visit)
            if self._faults:
                visit.fault = self._faults.popleft()
            if visit.fault == "422" and request.method != "PUT":
                visit.fault = "500"  # what is created late is created after its update
            fast = self._random.random() < 0.6
            return visit, self._random.uniform(0, 0.02 if fast else LONGEST)

    def _end(self, visit):
        with self._lock:
            visit.ended = time.monotonic()
            self._active.pop(visit.number)

    def _apply(self, visit):
        with self._lock:
            key = visit.key
            if self.bodies.setdefault(key, visit.request.body) != visit.request.body:
                self.strangers.append(f"another body under the same key: {visit}")
            if key in self.answers:
                self.repeats += 1
                visit.outcome = "known, answered as before"
                return self.answers[key]
            late = time.monotonic() - visit.begun > TOO_LATE
            if late and is_gone(visit.socket):
                visit.outcome = GIVEN_UP
                return 500, b"{}"
            answer = getattr(self, f"_apply_{visit.part}")(visit)
            visit.outcome = f"applied as {len(self.applied)}"
            self.answers[key] = answer
            return answer

    def _note(self, visit, ref, version):
        self.applied.append(
            Applied(
                len(self.applied),
                visit.part,
                visit.request.method,
                ref,
                version,
                visit.key,
            )
        )

    def _apply_single(self, visit):
        ((ref, version),) = visit.items
        method = visit.request.method
        self._note(visit, ref, version)
        if method == "POST":
            self.single.setdefault(ref, []).append(version)
            return 201, b'{"ok": true}'
        if method == "PUT":
            self.single[ref] = [*self.single.get(ref, [])[:-1], version]
        else:
            self.single.pop(ref, None)
        return 200, b'{"ok": true}'

    def _apply_batch(self, visit):
        for ref, version in visit.items:
            self._note(visit, ref, version)
            self.batch[ref] = version
        return 200, b'{"ok": true}'

    def _apply_pair(self, visit):
        ((ref, version),) = visit.items
        self._note(visit, ref, version)
        if visit.request.method == "POST":
            number = f"{self.name}-{next(self._numbers_made)}"
            self.pair[number] = (ref, version)
            return 201, json.dumps({"id": number}).encode()
        number = visit.request.path.rpartition("/")[2]
        if self.pair.get(number, (None,))[0] != ref:
            self.strangers.append(f"{number} is not the number of {ref}: {visit}")
        self.pair[number] = (ref, version)
        return 200, b'{"ok": true}'


def read_items(request):
    """Return the part of the ledger and ``[(record, version)]`` of a request."""
    _empty, part, *rest = request.path.split("/")
    if request.method == "DELETE":
        return part, [(rest[0], None)]
    body = json.loads(request.body)
    items = body if isinstance(body, list) else [body]
    return part, [(item["ref"], int(item["name"].lstrip("v"))) for item in items]


def is_gone(sock):
    """Tell whether the other side has closed its connection."""
    with suppress(BlockingIOError):
        try:
            readable, _writable, _broken = select.select([sock], [], [], 0)
            flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
            return bool(readable) and not sock.recv(1, flags)
        except (OSError, ValueError):
            return True
    return False
