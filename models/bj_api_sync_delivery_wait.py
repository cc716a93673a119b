from collections import defaultdict

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from .bj_api_sync_delivery import NOW
from .bj_api_sync_delivery_claim import is_kept


class BjApiSyncDelivery(models.Model):
    """What a pending delivery waits for, and until when, in words."""

    _inherit = "bj.api.sync.delivery"

    wait_reason = fields.Text(
        string="Waits For",
        compute="_compute_wait",
        help="Why this is not over yet.",
    )
    wait_until = fields.Datetime(
        string="Until",
        compute="_compute_wait",
        help="When it goes on by itself, as far as that is known.",
    )

    @api.depends("state", "next_attempt_date")
    @api.depends_context("uid")
    def _compute_wait(self):
        pending = self.filtered(lambda delivery: delivery.state == "pending")
        done = self - pending
        done.wait_reason = done.wait_until = False
        if not pending:
            return
        rows = pending._read_waiting()
        holds = pending._read_holds()
        problem = self.env["bj.api.sync.sender"].sudo()._get_scheduler_problem()
        for delivery in pending:
            row = rows.get(delivery.id)
            reason, until = delivery._explain_wait(row, holds, problem)
            delivery.wait_reason, delivery.wait_until = reason, until

    def _read_waiting(self):
        """Return ``{id: what the database says about it}``.

        The earlier one is the oldest pending delivery about one of its records on its
        host that it cannot supersede, or the one that is on its way.
        """
        self.env.cr.execute(
            SQL(
                """SELECT d.id, d.next_attempt_date > %(now)s AS is_later,
                          d.answer IS NOT NULL AS is_answered,
                          (SELECT min(e.id) FROM bj_api_sync_delivery e
                           JOIN bj_api_sync_config c ON c.id = e.config_id AND c.active
                           WHERE e.state = 'pending' AND e.destination = d.destination
                             AND e.model = d.model AND e.id != d.id
                             AND (e.res_id = ANY(own.ids) OR e.record_ids && own.ids)
                             AND ((e.is_claimed IS TRUE
                                   AND e.next_attempt_date > %(now)s)
                                  OR (e.id < d.id
                                      AND (e.config_id != d.config_id
                                           OR e.method != d.method OR %(kept)s
                                           OR NOT COALESCE(
                                               e.record_ids, ARRAY[e.res_id])
                                               <@ own.ids)))) AS earlier_id
                   FROM bj_api_sync_delivery d
                   CROSS JOIN LATERAL (
                       SELECT COALESCE(d.record_ids, ARRAY[d.res_id]) AS ids) AS own
                   WHERE d.id = ANY(%(ids)s)""",
                now=NOW,
                kept=is_kept("e"),
                ids=self.ids,
            )
        )
        return {row["id"]: row for row in self.env.cr.dictfetchall()}

    def _read_holds(self):
        """Return ``{(host, config id): (destination, until)}`` of what may not be asked."""
        destinations = self.env["bj.api.sync.destination"].sudo()
        closed = defaultdict(dict)
        now = fields.Datetime.now()
        for destination in destinations.search(
            [("name", "in", self.mapped("destination"))]
        ):
            until = max(filter(None, (destination.hold_until, destination.opened_until)),
                        default=None)  # fmt: skip
            if until and until > now:
                closed[destination.name][destination.credential or ""] = (
                    destination,
                    until,
                )
        holds = {}
        for delivery in self:
            by_credential = closed.get(delivery.destination)
            key = delivery.destination, delivery.config_id.id
            if by_credential and key not in holds:
                holds[key] = by_credential.get(delivery.config_id._get_credential())
        return holds

    def _explain_wait(self, row, holds, problem):
        """Return ``(sentence, until)`` for a pending delivery."""
        config = self.config_id.sudo()
        until = self.next_attempt_date if row and row["is_later"] else False
        hold = holds.get((self.destination, config.id))
        if row and row["is_answered"]:
            reason = self.env._(
                "It has been answered; the answer is written as soon as another "
                "transaction lets go of the record."
            )
        elif until and self.is_claimed:
            reason = self.env._("It is being sent.")
        elif not config.active:
            reason, until = self.env._("%s is archived.", config.name), False
        elif config.is_paused:
            reason = self.env._(
                "%(config)s is paused until you press Resume. %(reason)s",
                config=config.name,
                reason=config.pause_reason or "",
            )
            until = False
        elif row and row["earlier_id"]:
            earlier = self.browse(row["earlier_id"])
            reason = self.env._(
                "An earlier delivery of its record goes first: %(delivery)s of "
                "%(config)s.",
                delivery=earlier.display_name,
                config=earlier.config_id.sudo().name,
            )
            until = earlier.next_attempt_date
            until = until if until and until > fields.Datetime.now() else False
        elif hold and (not until or hold[1] >= until):
            reason, until = self._explain_hold(*hold), hold[1]
        elif until and self.throttled_date:
            reason = self.env._("The other side has asked to wait.")
        elif until:
            reason = self.env._("It waits for its next attempt.")
        else:
            reason = problem or self.env._(
                "It is its turn: a sender takes it within seconds."
            )
        return reason, until

    def _explain_hold(self, destination, until):
        if destination.opened_until and destination.opened_until == until:
            return self.env._(
                "%(host)s has failed %(count)s times in a row, so it is paused. "
                "%(error)s",
                host=destination.name,
                count=destination.failures,
                error=destination.last_error or "",
            )
        return self.env._("%s has asked to wait.", destination.name)


class BjApiSyncConfig(models.Model):
    _inherit = "bj.api.sync.config"

    scheduler_problem = fields.Text(
        compute="_compute_scheduler_problem",
        help="Why nothing is sent by itself, whatever the configuration.",
    )

    @api.depends_context("uid")
    def _compute_scheduler_problem(self):
        outbound = self.filtered(lambda config: config.request_type == "out")
        (self - outbound).scheduler_problem = False
        sender = self.env["bj.api.sync.sender"].sudo()
        outbound.scheduler_problem = outbound and sender._get_scheduler_problem()

    def _get_credential(self):
        """Return the name of the credential that this sends, ``""`` if it has none, or
        one that cannot be read now."""
        outbound = self.env["bj.api.sync.outbound"].sudo()
        config = self.sudo()
        try:
            return outbound._get_credential(config, outbound._get_headers(config))
        except UserError:
            return ""
