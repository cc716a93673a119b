from dataclasses import dataclass, replace
from datetime import datetime

from odoo import api, models
from odoo.tools import SQL

from ..tools import fifo
from .bj_api_sync_delivery import (
    CLAIM_COLUMNS,
    NOW,
    QUEUE_SECONDS,
    SETTLE_SECONDS,
    TRICKLE_SECONDS,
    Claim,
    in_flight,
)

MIN_WINDOW = 100  # due rows looked at together; more than are claimed, as some wait
MAX_WINDOWS = 50  # so that no claim lasts long, however many rows wait for others


@dataclass(frozen=True)
class Due:
    """What deciding about a delivery needs to know of it; see :func:`get_columns`."""

    id: int
    config_id: int
    method: str
    model: str
    res_id: int | None
    record_ids: list | None
    next_attempt_date: datetime
    in_flight: bool
    is_kept: bool

    @property
    def records(self):
        """The records it tells about, ``{(model, id)}``."""
        ids = self.record_ids or [self.res_id]
        return frozenset((self.model, record_id) for record_id in ids if record_id)


class BjApiSyncDelivery(models.Model):
    """Who may be sent now, and by whom: claims, and what they replace."""

    _inherit = "bj.api.sync.delivery"

    @api.model
    def _get_due_destinations(self):
        """Return the destinations that have something pending, however many rows."""
        # A loose index scan: one look-up a destination. DISTINCT would read every row.
        self.env.cr.execute(
            """WITH RECURSIVE found(destination) AS (
                   (SELECT destination FROM bj_api_sync_delivery
                    WHERE state = 'pending' ORDER BY destination LIMIT 1)
                   UNION ALL
                   SELECT (SELECT d.destination FROM bj_api_sync_delivery d
                           WHERE d.state = 'pending'
                             AND d.destination > found.destination
                           ORDER BY d.destination LIMIT 1)
                   FROM found WHERE found.destination IS NOT NULL
               )
               SELECT destination FROM found f WHERE destination IS NOT NULL
               AND EXISTS (SELECT FROM bj_api_sync_delivery d
                           WHERE d.state = 'pending' AND d.destination = f.destination
                             AND d.next_attempt_date <= timezone('UTC', clock_timestamp()))
            """
        )
        return [destination for (destination,) in self.env.cr.fetchall()]

    @api.model
    def _get_pending_configs(self, destination):
        """Return the ids of the configurations that have something pending for a host."""
        self.env.cr.execute(
            """SELECT c.id FROM bj_api_sync_config c
               WHERE c.active AND c.request_type = 'out' AND EXISTS (
                   SELECT FROM bj_api_sync_delivery d
                   WHERE d.config_id = c.id AND d.destination = %s
                     AND d.state = 'pending')
               ORDER BY c.id""",
            [destination],
        )
        return [config_id for (config_id,) in self.env.cr.fetchall()]

    @api.model
    def _choose_due(self, destination, limit, is_ready=None, config_ids=None):
        """Return what to claim for a host, locked, and what that supersedes.

        (i) Nobody else gets these rows while this transaction lasts: ``FOR NO KEY UPDATE
        SKIP LOCKED``, the weakest lock that excludes itself; it lets the foreign key of
        a log row through.
        (ii) First in, first out per record, of any configuration: see ``tools.fifo``.
        (iii) A row is left for later when it, or an older one that it supersedes, cannot
        be locked: somebody is about to change that.
        (iv) What one window takes or replaces counts as such in the windows that follow,
        though the database does not know it yet: else the newest version of a record
        and an older one, found in another window, would be sent at once.

        PostgreSQL raises a serialization failure for a row that somebody claimed after
        our snapshot; the caller then starts again.

        :param is_ready: callable that filters ``[(id, config id)]`` to ids
        :param config_ids: the configurations that may be sent with, by default all
        :return: ``(ids, superseded ids)``
        """
        ids, superseded, locked = [], set(), set()
        size = max(limit, MIN_WINDOW)
        after = None
        for _window in range(MAX_WINDOWS):
            due = self._lock_window(destination, size, after, config_ids)
            if not due:
                break
            after = due[-1].next_attempt_date, due[-1].id
            locked |= {row.id for row in due}
            done = superseded.union(ids)
            fresh = [row for row in due if row.id not in done]
            taken = set(ids)
            waiting = [
                replace(row, in_flight=True) if row.id in taken else row
                for row in self._get_waiting(destination, fresh, config_ids)
                if row.id not in superseded
            ]
            chosen = fifo.choose(waiting)
            groups = {row.id: row.group for row in waiting}
            found = [(row_id, groups[row_id][0]) for row_id in chosen]
            ready = set(is_ready(found)) if is_ready else set(chosen)
            locked |= self._lock_rest(chosen, locked)
            for row_id, older in chosen.items():
                if row_id in ready and {row_id, *older} <= locked and len(ids) < limit:
                    ids.append(row_id)
                    superseded |= older
            if len(ids) >= limit or len(due) < size:
                break
        return ids, list(superseded)

    @api.model
    def _lock_window(self, destination, limit, after, config_ids):
        """Lock the next due rows of a host, in the order in which they became due."""
        self.env.cr.execute(
            SQL(
                """SELECT %s
                   FROM bj_api_sync_delivery d
                   JOIN bj_api_sync_config c ON c.id = d.config_id
                   WHERE d.destination = %s AND d.state = 'pending'
                     AND d.next_attempt_date <= %s AND d.answer IS NULL AND %s AND %s
                   ORDER BY d.next_attempt_date, d.id
                   LIMIT %s
                   FOR NO KEY UPDATE OF d SKIP LOCKED""",
                get_columns("d"),
                destination,
                NOW,
                is_sendable("c", config_ids),
                SQL("(d.next_attempt_date, d.id) > (%s, %s)", *after)
                if after
                else SQL("TRUE"),
                limit,
            ),
            log_exceptions=False,
        )
        return [Due(*row) for row in self.env.cr.fetchall()]

    @api.model
    def _get_waiting(self, destination, due, config_ids=None):
        """Return due rows and all others that wait about the same records, for ``fifo``.

        Newer ones that are due are candidates too, so that a record's newest version is
        found at once; not batches that tell about more records than were asked for: what
        they wait for is not known here.

        Not those of archived configurations, which nobody sends: they would keep back
        what others tell about the record for ever.
        """
        rows = {row.id: row for row in due}
        records = {key for row in due for key in row.records}
        candidates = set(rows)
        if records:
            record_ids = [record_id for _model, record_id in records]
            self.env.cr.execute(
                SQL(
                    """SELECT %(columns)s, e.next_attempt_date <= %(now)s AND %(ready)s
                       FROM bj_api_sync_delivery e
                       JOIN bj_api_sync_config c ON c.id = e.config_id AND c.active
                       WHERE e.state = 'pending' AND e.destination = %(destination)s
                         AND NOT e.id = ANY(%(ids)s)
                         AND (e.res_id = ANY(%(record_ids)s)
                              OR e.record_ids && %(record_ids)s::integer[])""",
                    columns=get_columns("e"),
                    now=NOW,
                    ready=is_sendable("c", config_ids),
                    destination=destination,
                    ids=list(rows),
                    record_ids=record_ids,
                )
            )
            for *columns, is_due in self.env.cr.fetchall():
                row = rows[columns[0]] = Due(*columns)
                if is_due and row.records <= records:
                    candidates.add(row.id)
        return [
            fifo.Waiting(
                row.id,
                (row.config_id, row.method),
                row.records,
                is_due=row.id in candidates,
                in_flight=row.in_flight,
                is_kept=row.is_kept,
            )
            for row in rows.values()
        ]

    @api.model
    def _lock_rest(self, chosen, locked):
        """Lock what is chosen or would be superseded, but for what is locked already.

        :return: ids of the rows that are locked now and were not before
        """
        rest = {
            i for row_id, older in chosen.items() for i in (row_id, *older)
        } - locked
        if not rest:
            return set()
        self.env.cr.execute(
            """SELECT id FROM bj_api_sync_delivery WHERE id = ANY(%s)
               FOR NO KEY UPDATE SKIP LOCKED""",
            [list(rest)],
            log_exceptions=False,
        )
        return {row_id for (row_id,) in self.env.cr.fetchall()}

    @api.model
    def _choose_answered(self, limit):
        """Return ids, locked, of rows whose kept answer may be used now.

        Whatever their host, configuration or record waits for: they have been sent.
        """
        self.env.cr.execute(
            SQL(
                """SELECT id FROM bj_api_sync_delivery
                   WHERE state = 'pending' AND answer IS NOT NULL
                     AND next_attempt_date <= %s
                   ORDER BY next_attempt_date LIMIT %s
                   FOR NO KEY UPDATE SKIP LOCKED""",
                NOW,
                limit,
            ),
            log_exceptions=False,
        )
        return [row_id for (row_id,) in self.env.cr.fetchall()]

    @api.model
    def _take_at_once(self, row_id, destination, lease):
        """Claim a row for who has just written it and sends it at once.

        :param float lease: seconds
        :return: the claim, ``None`` if the row has to wait for another one about its
            record
        """
        self.env.cr.execute(
            SQL(
                "SELECT %s FROM bj_api_sync_delivery d WHERE d.id = %s",
                get_columns("d"),
                row_id,
            )
        )
        own = [Due(*row) for row in self.env.cr.fetchall()]
        waiting = [
            replace(row, is_due=row.id == row_id)
            for row in self._get_waiting(destination, own)
        ]
        older = fifo.choose(waiting).get(row_id)
        if older is None or not older <= self._lock_rest({row_id: older}, {row_id}):
            return None
        (claim,) = self._take([row_id], list(older), lease=lease)
        return claim

    @api.model
    def _take(self, ids, superseded, lease=None):
        """Count the attempt of locked rows, lease them, and return their claims.

        Using an answer that was kept is no attempt. What is claimed still, though its
        lease ran out, may have arrived: its sender has died.

        :param float lease: seconds, by default as long as an attempt may last
        """
        self._supersede(superseded)
        columns = SQL(", ").join(SQL.identifier("d", name) for name in CLAIM_COLUMNS)
        seconds = SQL(
            "c.connect_timeout + c.read_timeout + %s",
            TRICKLE_SECONDS + QUEUE_SECONDS + SETTLE_SECONDS,
        )
        self.env.cr.execute(
            SQL(
                """UPDATE bj_api_sync_delivery d
                   SET attempt_count = attempt_count
                           + CASE WHEN answer IS NULL THEN 1 ELSE 0 END,
                       is_unsure = is_unsure IS TRUE OR is_claimed IS TRUE,
                       is_claimed = true,
                       next_attempt_date = %s + make_interval(secs => %s)
                   FROM bj_api_sync_config c
                   WHERE c.id = d.config_id AND d.id = ANY(%s)
                   RETURNING %s""",
                NOW,
                seconds if lease is None else lease,
                ids,
                columns,
            )
        )
        claims = [Claim(*row) for row in self.env.cr.fetchall()]
        order = {row_id: position for position, row_id in enumerate(ids)}
        return sorted(claims, key=lambda claim: order[claim.id])

    @api.model
    def _supersede(self, ids, reason=None):
        """Have rows replaced by what is newer; ``reason`` is shown with them."""
        if ids:
            self.env.cr.execute(
                """UPDATE bj_api_sync_delivery
                   SET state = 'superseded', is_claimed = false, next_attempt_date = NULL,
                       last_error = COALESCE(%s, last_error)
                   WHERE id = ANY(%s)""",
                [reason, list(ids)],
            )

    @api.model
    def _postpone(self, ids, seconds, error):
        """Say why locked rows cannot be sent now, without using up an attempt."""
        self.env.cr.execute(
            SQL(
                """UPDATE bj_api_sync_delivery
                   SET last_error = %s, is_claimed = false,
                       next_attempt_date = %s + make_interval(secs => %s)
                   WHERE id = ANY(%s)""",
                error,
                NOW,
                seconds,
                ids,
            )
        )

    @api.model
    def _release(self, claims):
        """Take back claims that were not begun: due again, attempt not used up."""
        for claim in claims:
            self.env.cr.execute(
                SQL(
                    """UPDATE bj_api_sync_delivery
                       SET attempt_count = attempt_count
                               - CASE WHEN answer IS NULL THEN 1 ELSE 0 END,
                           is_claimed = false,
                           next_attempt_date = %s
                       WHERE id = %s AND state = 'pending' AND attempt_count = %s""",
                    NOW,
                    claim.id,
                    claim.attempt_count,
                )
            )


def get_columns(alias):
    """Return the SQL columns that a :class:`Due` is made of."""
    table = SQL.identifier(alias)
    return SQL(
        """%(t)s.id, %(t)s.config_id, %(t)s.method, %(t)s.model, %(t)s.res_id,
           %(t)s.record_ids, %(t)s.next_attempt_date, %(flying)s, %(kept)s""",
        t=table,
        flying=in_flight(alias),
        kept=is_kept(alias),
    )


def is_kept(alias):
    """SQL that is true for a row which nothing may supersede.

    A POST that may have arrived makes something new each time but under its own key: it
    has to be finished under that key before a newer one goes. A lease that ran out tells
    as little about its fate as an answer that did not come. Of any other method it is so
    for a while: the other side may still be at work on it.
    """
    return SQL(
        """(COALESCE(%(t)s.unsure_until > %(now)s, FALSE)
            OR (%(t)s.method = 'POST'
                AND (%(t)s.is_unsure IS TRUE OR %(t)s.is_claimed IS TRUE)))""",
        t=SQL.identifier(alias),
        now=NOW,
    )


def is_sendable(alias, config_ids=None):
    """SQL that is true for a configuration whose deliveries may be sent now.

    :param config_ids: which of them alone, ``None`` for all
    """
    table = SQL.identifier(alias)
    return SQL(
        "(%(t)s.active AND %(t)s.is_paused IS NOT TRUE AND %(chosen)s)",
        t=table,
        chosen=SQL("TRUE")
        if config_ids is None
        else SQL("%s.id = ANY(%s)", table, list(config_ids)),
    )
