from odoo import api, fields, models
from odoo.tools import SQL

from .bj_api_sync_delivery import NOW, UNSURE_SECONDS


class BjApiSyncDelivery(models.Model):
    """How attempts end, in the table."""

    _inherit = "bj.api.sync.delivery"

    @api.model
    def _settle(self, settlements):
        """Write what became of attempts, with their log rows, in this cursor.

        An attempt whose delivery has been claimed again since, or is no longer pending,
        only leaves its log row: a stale result never overwrites a newer state.

        :param list settlements: of :class:`Settlement`
        :return: ids of the deliveries that were changed
        """
        self.env.cr.execute(
            SQL(
                """UPDATE bj_api_sync_delivery d
                   SET state = v.state, is_claimed = false, answer = NULL,
                       is_unsure = v.state != 'delivered'
                           AND (d.is_unsure IS TRUE OR v.is_unsure),
                       unsure_until = CASE WHEN v.state = 'pending' AND v.is_unsure
                           THEN %(now)s + make_interval(secs => %(unsure)s) END,
                       attempts_before = d.attempts_before + v.is_free::integer,
                       throttled_date = CASE WHEN v.is_throttled
                           THEN COALESCE(d.throttled_date, %(now)s) END,
                       last_status_code = v.status_code, last_error = v.error,
                       delivered_date = CASE WHEN v.state = 'delivered' THEN %(now)s END,
                       next_attempt_date = CASE WHEN v.state = 'pending'
                           THEN %(now)s + make_interval(secs => v.delay) END
                   FROM (VALUES %(rows)s) AS v(id, attempt, state, status_code, error,
                                               delay, is_throttled, is_free, is_unsure)
                   WHERE d.id = v.id AND d.attempt_count = v.attempt
                     AND d.state = 'pending'
                   RETURNING d.id""",
                now=NOW,
                unsure=UNSURE_SECONDS,
                rows=SQL(", ").join(map(get_row, settlements)),
            ),
            log_exceptions=False,
        )
        settled = {row_id for (row_id,) in self.env.cr.fetchall()}
        self.env["bj.api.log"]._record_attempts(settlements)
        return settled


def get_row(settlement):
    """Return the values of a settlement as a row of SQL."""
    return SQL(
        "(%s, %s, %s, %s::integer, %s, %s, %s, %s, %s)",
        settlement.claim.id,
        settlement.claim.attempt_count,
        settlement.state,
        settlement.status_code,
        settlement.error or None,
        settlement.delay,
        settlement.is_throttled,
        settlement.is_free,
        settlement.is_unsure,
    )


class BjApiLog(models.Model):
    _inherit = "bj.api.log"

    delivery_id = fields.Many2one(
        "bj.api.sync.delivery", ondelete="set null", index="btree_not_null"
    )

    @api.model
    def _record_attempts(self, settlements):
        """Write the log rows of many attempts with one statement."""
        # Whatever the rows refer to may have been deleted since the claim: theirs are the
        # references that are good.
        names = ("config_id", "company_id", "user_id")
        self.env.cr.execute(
            SQL(
                "SELECT id, %s FROM bj_api_sync_delivery WHERE id = ANY(%s)",
                SQL(", ").join(map(SQL.identifier, names)),
                [settlement.claim.id for settlement in settlements],
            )
        )
        found = {
            row_id: dict(zip(names, references, strict=True))
            for row_id, *references in self.env.cr.fetchall()
        }
        redactors = {}
        rows = []
        for settlement in settlements:
            log = dict(settlement.log)
            secret = log.get("secret_headers", ())
            if secret not in redactors:
                redactors[secret] = self._get_redactor(secret)
            gone = {"delivery_id": None, **dict.fromkeys(names)}
            log.update(found.get(settlement.claim.id, gone))
            level = log.pop("level", "none")
            row = self._prepare_row(level, log, redactors[secret])
            if row is not None:
                rows.append(row)
        self._insert_many(rows)
