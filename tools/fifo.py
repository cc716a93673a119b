"""First in, first out per record: which of the waiting deliveries to a host may go.

Decided here and not by the database, because the statistics of a queue are always out of
date: PostgreSQL then chooses plans that read the whole queue once for each of its rows.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """A delivery that is not over.

    :param int id: the order in which deliveries were made
    :param tuple group: configuration and method; within it, newer supersedes older
    :param frozenset records: what it tells about; empty for a pull, which never waits
    :param bool is_due: a candidate; others are only there to be waited for
    :param bool in_flight: somebody is sending it
    :param bool is_kept: nothing supersedes it, what follows waits until it is over
    """

    id: int
    group: tuple
    records: frozenset
    is_due: bool = True
    in_flight: bool = False
    is_kept: bool = False


class _Earlier:
    """What there is already about one record."""

    __slots__ = ("has_batch", "has_kept", "rows")

    def __init__(self):
        self.rows = {}  # group: rows, oldest first
        self.has_kept = False
        self.has_batch = False

    def add(self, row):
        self.rows.setdefault(row.group, []).append(row)
        self.has_kept = self.has_kept or row.is_kept
        self.has_batch = self.has_batch or len(row.records) > 1

    def blocks(self, row):
        """Tell whether ``row`` has to wait for any of these.

        It need not for older ones of its group that tell about no other record: they are
        superseded.
        """
        if self.has_kept or any(group != row.group for group in self.rows):
            return True
        return self.has_batch and any(
            not older.records <= row.records for older in self.rows[row.group]
        )


def choose(rows):
    """Return which deliveries may be sent, and which older ones each of them replaces.

    One delivery about a record is on its way at a time, whatever their order.

    :param rows: :class:`Waiting` of one host: candidates, and all that share a record
        with one of them and are older or on their way; in any order
    :return: ``{id: {ids of superseded rows}}``, ascending; nothing that is superseded is
        a key
    """
    rows = sorted(rows, key=lambda row: row.id)
    flying = {key for row in rows if row.in_flight for key in row.records}
    by_record = {}
    ready = []
    for row in rows:
        seen = [by_record[key] for key in row.records if key in by_record]
        is_free = row.is_due and not row.in_flight and flying.isdisjoint(row.records)
        if is_free and not any(e.blocks(row) for e in seen):
            # How many there are now; the ids are only gathered for those that go.
            parts = [(e.rows[row.group], len(e.rows[row.group])) for e in seen]
            ready.append((row, parts))
        for key in row.records:
            by_record.setdefault(key, _Earlier()).add(row)
    chosen, superseded = {}, set()
    for row, parts in reversed(ready):
        if row.id not in superseded:
            older = {o.id for group, count in parts for o in group[:count]}
            chosen[row.id] = older
            superseded |= older
    return dict(sorted(chosen.items()))
