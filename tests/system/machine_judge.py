"""Whether a round of the deliveries' machine ended as it should have: pure decisions."""

from collections import defaultdict
from dataclasses import dataclass

SHOWN_RECORDS = 3  # of those that went wrong, with all that happened to them


@dataclass(frozen=True)
class Delivery:
    """A row of the outbox after the quiet; ``config`` is a name of ``CONFIGS``."""

    id: int
    config: str
    key: str
    method: str
    url: str
    payload: str
    state: str
    attempt_count: int
    status_code: int | None
    error: str

    def tells_about(self, ref):
        return f'"{ref}"' in self.payload or self.url.endswith(f"/{ref}")

    def __str__(self):
        return (
            f"delivery {self.id} {self.config} {self.key[:8]} {self.payload}: "
            f"{self.state}, {self.attempt_count} attempts, {self.status_code or '-'} "
            f"{self.error}"
        )


@dataclass(frozen=True)
class Violation:
    kind: str  # overlap, lost, repeat, order, rolled back, single, batch, pair ...
    about: str  # a record, or a delivery
    text: str

    def __str__(self):
        return f"{self.kind}: {self.about}: {self.text}"


@dataclass(frozen=True)
class Facts:
    """What is known after the quiet.

    :param ledger: what is over there, and how it came
    :param dict records: ``{ref: (version, barcode)}`` of those that exist
    :param set made: refs that certainly existed at some time
    :param dict written: ``{ref: version}`` saved last, ``None`` where that is not sure
    :param set rolled_back: versions that were never committed
    :param float killed: monotonic moment of the last kill, 0 without
    :param list deliveries: of :class:`Delivery`, ascending
    """

    ledger: object
    records: dict
    made: set
    written: dict
    rolled_back: set
    killed: float
    deliveries: list

    def tell(self, violations):
        """Return all that happened to the first records that went wrong."""
        named = dict.fromkeys(violation.about for violation in violations)
        text = []
        for ref in [name for name in named if name in self.refs][:SHOWN_RECORDS]:
            text.append(f"{ref}, in Odoo {self.records.get(ref, 'deleted')}")
            text += [
                f"    {visit}" for visit in self.ledger.visits if ref in visit.refs
            ]
            text += [f"    {row}" for row in self.deliveries if row.tells_about(ref)]
        return "\n".join(text)

    @property
    def refs(self):
        return {
            *self.made,
            *self.records,
            *(event.ref for event in self.ledger.applied),
        }


def judge(facts):
    """Return the :class:`Violation` s of a round."""
    events = defaultdict(list)
    for event in facts.ledger.applied:
        events[event.ref].append(event)
    found = [Violation("stranger", "-", text) for text in facts.ledger.strangers]
    found += find_overlaps(facts.ledger)
    found += find_lost(facts)
    found += find_repeats(facts)
    for ref in sorted(facts.refs):
        for kind, texts in {
            "order": find_disorder(events[ref]),
            "rolled back": find_ghosts(events[ref], facts),
            "single": find_single(facts, ref),
            "batch": find_batch(facts, ref) if "b" in get_kind(ref) else (),
            "pair": find_pair(facts, ref) if "p" in get_kind(ref) else (),
        }.items():
            found += [Violation(kind, ref, text) for text in texts]
    return found


def get_kind(ref):
    """Return the letters of ``machine_plan.KINDS`` at the end of a record's name."""
    return ref.lstrip("M.0123456789")


def find_overlaps(ledger):
    for first, second in ledger.overlaps:
        for ref in sorted(first.refs & second.refs):
            yield Violation("overlap", ref, f"two at once: {first} and {second}")


def find_lost(facts):
    """What Odoo says was delivered has to be over there, and nothing may be left."""
    for row in facts.deliveries:
        text = ""
        if row.state == "delivered" and row.key not in facts.ledger.answers:
            text = "green, but it never arrived"
        elif row.state not in ("delivered", "superseded", "failed"):
            text = "stuck"
        elif row.state == "failed" and row.status_code != 422:
            text = "failed although nobody refused it"
        if text:
            yield Violation("lost", f"delivery {row.id}", f"{text}: {row}")


def find_repeats(facts):
    """What was answered in time is not sent again, but by those who did not live to note
    it down: a lost connection to the database is no reason."""
    answered = set()
    for visit in facts.ledger.visits:
        if visit.key in answered:
            text = f"sent again though it was answered: {visit}"
            yield Violation("repeat", sorted(visit.refs)[0], text)
        elif visit.is_answered and visit.begun > facts.killed:
            answered.add(visit.key)


def find_disorder(events):
    """Create before update before delete, and never back to an older version."""
    newest = None
    deleted = None
    for event in events:
        if deleted:
            yield f"{event.method} {event.part} v{event.version} after its deletion"
        if event.method == "DELETE":
            deleted = event
            continue
        if newest and event.version < newest.version:
            yield (
                f"{event.method} {event.part} v{event.version} came after "
                f"{newest.method} {newest.part} v{newest.version}"
            )
        else:
            newest = event
    single = [event for event in events if event.part == "single"]
    if single and single[0].method != "POST":
        yield f"{single[0].method} came before its creation"


def find_ghosts(events, facts):
    for event in events:
        if event.version in facts.rolled_back:
            yield f"v{event.version} was rolled back, and sent"


def find_single(facts, ref):
    objects = facts.ledger.single.get(ref, [])
    if ref in facts.records:
        version, _barcode = facts.records[ref]
        if len(objects) != 1:
            yield f"{len(objects)} objects by the creating configuration"
        elif objects[0] != version:
            yield f"v{objects[0]} over there, v{version} in Odoo"
    elif ref in facts.made and objects:
        yield f"deleted in Odoo, {len(objects)} objects over there"


def find_batch(facts, ref):
    version = facts.ledger.batch.get(ref)
    wanted = facts.written.get(ref)
    if ref in facts.records:
        wanted, _barcode = facts.records[ref]
    if wanted and version != wanted:
        yield f"v{version} in the batches, v{wanted} in Odoo"


def find_pair(facts, ref):
    objects = {
        number: version
        for number, (other, version) in facts.ledger.pair.items()
        if other == ref
    }
    if len(objects) > 1:
        yield f"{len(objects)} objects by the pair: {objects}"
    if ref not in facts.records:
        return
    version, barcode = facts.records[ref]
    if not objects:
        yield "no object by the pair"
    elif barcode not in objects:
        yield f"Odoo knows it as {barcode}, the pair has {objects}"
    elif objects[barcode] != version:
        yield f"v{objects[barcode]} by the pair, v{version} in Odoo"
