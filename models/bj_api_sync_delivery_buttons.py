from odoo import fields, models
from odoo.exceptions import AccessError, UserError
from odoo.tools import SQL

from .bj_api_sync_delivery import NOW, in_flight

STEP_ROWS = 500  # that a button changes before it looks at the time


class BjApiSyncDelivery(models.Model):
    """What people may do with deliveries: send again, rebuild, cancel, look."""

    _inherit = "bj.api.sync.delivery"

    def action_send_again(self, progress=None):
        """Send the same bytes under the same Idempotency-Key; attempts start anew.

        What newer deliveries have overtaken is left as it is: it would put old values
        over theirs.
        """
        self._check_operator()
        if len(self) == 1 and not progress:
            self._check_can_send_again()
        return self._in_steps(
            "action_send_again",
            lambda deliveries: deliveries._send_again(),
            lambda counts: self._notify(self._describe_sent_again(counts)),
            progress,
            size=STEP_ROWS,
        )

    def _check_can_send_again(self):
        self.ensure_one()
        if not self.url:
            raise UserError(
                self.env._(
                    "%(delivery)s could not be built, so there is nothing to send again: "
                    "mend the cause, then press Rebuild and Send, or Pull Now for a pull.",
                    delivery=self.display_name,
                )
            )
        newer = self.browse(self._get_overtaken().get(self.id, ()))
        if newer:
            states = dict(self._fields["state"]._description_selection(self.env))
            raise UserError(
                self.env._(
                    "A newer delivery of this record is there: %(newer)s of %(date)s UTC "
                    "(%(state)s). To send this one again would put its old values over "
                    "the newer ones. Press Rebuild and Send to send the values of now.",
                    newer=newer.display_name,
                    date=fields.Datetime.to_string(newer.create_date),
                    state=states[newer.state],
                )
            )

    def _get_overtaken(self):
        """Return ``{id: id of a newer delivery}`` of those that newer ones have overtaken.

        One of the same configuration and record that has been delivered, waits, or has
        failed itself: of several versions the newest is the one to be sent. Or a deletion
        of the record on the same host.
        """
        # One look-up for each kind, so that PostgreSQL finds an index for each.
        self.env.cr.execute(
            SQL(
                """SELECT d.id, max(n.id)
                   FROM bj_api_sync_delivery d
                   CROSS JOIN LATERAL (
                       SELECT COALESCE(d.record_ids, ARRAY[d.res_id]) AS ids) AS own
                   CROSS JOIN LATERAL (
                       SELECT id, state, url, model FROM bj_api_sync_delivery
                       WHERE config_id = d.config_id AND res_id = ANY(own.ids)
                         AND id > d.id
                       UNION ALL
                       SELECT id, state, url, model FROM bj_api_sync_delivery
                       WHERE config_id = d.config_id AND record_ids IS NOT NULL
                         AND id > d.id AND record_ids && own.ids
                       UNION ALL
                       SELECT id, state, url, model FROM bj_api_sync_delivery
                       WHERE method = 'DELETE' AND destination = d.destination
                         AND res_id = ANY(own.ids) AND id > d.id
                   ) AS n
                   WHERE d.id = ANY(%s) AND d.method != 'GET' AND n.model = d.model
                     AND (n.state IN ('pending', 'delivered')
                          OR (n.state = 'failed' AND n.url IS NOT NULL))
                   GROUP BY d.id""",
                self.ids,
            )
        )
        return dict(self.env.cr.fetchall())

    def _send_again(self):
        """Return how many are sent again, how many newer ones have overtaken."""
        # What could not be built has no URL: there is nothing that could be sent.
        overtaken = self.browse(self._get_overtaken())
        count = (
            (self - overtaken)
            .filtered("url")
            ._change_idle(
                SQL(
                    """state = 'pending', next_attempt_date = %s, is_claimed = false,
                   attempts_before = attempt_count, delivered_date = NULL,
                   throttled_date = NULL, last_status_code = NULL, last_error = NULL""",
                    NOW,
                ),
                ("pending", "delivered", "failed", "cancelled", "superseded"),
            )
        )
        self.env["bj.api.sync.outbound"]._wake_senders()
        return {"count": count, "overtaken": len(overtaken)}

    def _describe_sent_again(self, counts):
        message = self.env._(
            "%(count)s deliveries will be sent again.", count=counts["count"]
        )
        if counts["overtaken"]:
            left = self.env._(
                "%(count)s were left as they are, because there are newer deliveries of "
                "their records: Rebuild and Send sends the values of now.",
                count=counts["overtaken"],
            )
            message = f"{message} {left}"
        return message

    def action_rebuild_and_send(self, progress=None):
        """Make new deliveries from the records as they are now, instead of these.

        Of many, those that cannot be built again are left as they are, and counted.
        """
        self._check_operator()
        if len(self) == 1 and not progress:
            self._check_rebuildable()
        return self._in_steps(
            "action_rebuild_and_send",
            lambda deliveries: deliveries._rebuild(),
            lambda counts: self._notify(self._describe_rebuilt(counts)),
            progress,
            size=STEP_ROWS,
        )

    def _check_rebuildable(self):
        self.ensure_one()
        if self.method == "GET":
            raise UserError(self.env._("A pull has no payload: send it again."))
        if self._is_unfinished():
            raise UserError(
                self.env._(
                    "%(delivery)s may have arrived, so it is finished under its own "
                    "Idempotency-Key first: a new one could make the same thing twice. "
                    "Wait for it, or cancel it if you know that it is not there.",
                    delivery=self.display_name,
                )
            )
        if not self.sudo()._is_rebuildable():
            raise UserError(
                self.env._(
                    "%(delivery)s: the record does not exist any more, so the "
                    "payload cannot be built again. Send it again as it is.",
                    delivery=self.display_name,
                )
            )
        if not self._is_readable():
            raise AccessError(
                self.env._(
                    "You may not read all records of %(delivery)s, so you cannot have "
                    "them sent as they are now. Send it again as it is, or ask somebody "
                    "who may read them.",
                    delivery=self.display_name,
                )
            )

    def _is_readable(self):
        """Tell whether the user may read the records that are there still."""
        records = self.env[self.model].browse(self.res_ids).exists()
        return records.has_access("read")

    def _is_rebuildable(self):
        return (
            self.method != "GET"
            and self.event != "unlink"
            and not self._is_unfinished()
            and bool(self.env[self.model].browse(self.res_ids).exists())
        )

    def _is_unfinished(self):
        """Tell whether this may be there already, and is still tried under its key."""
        may_be_there = self.is_unsure or self.is_claimed  # or its lease has run out
        return self.method == "POST" and self.state == "pending" and may_be_there

    def _rebuild(self):
        """Return how many were made, and how many of these could not be built again."""
        outbound = self.env["bj.api.sync.outbound"]
        rebuilt = self.sudo().filtered(
            lambda delivery: (
                delivery._is_rebuildable() and delivery.sudo(self.env.su)._is_readable()
            )
        )
        groups = rebuilt.grouped(lambda delivery: (delivery.config_id, delivery.event))
        made = self.browse()
        for (config, event), deliveries in groups.items():
            ids = dict.fromkeys(i for row in deliveries for i in row.res_ids)
            records = self.env[config.model_name].browse(ids).exists()
            made |= outbound._enqueue(config, records, event)
        # The Filter Domain may leave a record out by now: nothing replaces its delivery.
        kept = {(new.config_id.id, i) for new in made.sudo() for i in new.res_ids}
        rebuilt = rebuilt.filtered(
            lambda delivery: (
                kept & {(delivery.config_id.id, i) for i in delivery.res_ids}
            )
        )
        rebuilt._change_idle(
            SQL("state = 'superseded', is_claimed = false, next_attempt_date = NULL"),
            ("pending", "failed"),
        )
        return {"count": len(made), "left": len(self) - len(rebuilt)}

    def _describe_rebuilt(self, counts):
        message = self.env._(
            "%(count)s deliveries were made anew.", count=counts["count"]
        )
        if counts["left"]:
            left = self.env._(
                "%(count)s were left as they are: a pull has no payload, a record that "
                "does not exist any more gives none, neither does one that you may not "
                "read or that the Filter Domain leaves out, and a POST that may have "
                "arrived is finished first.",
                count=counts["left"],
            )
            message = f"{message} {left}"
        return message

    def action_cancel(self, progress=None):
        """Give up those that wait or have failed, if nobody is sending them now."""
        self._check_operator()
        changes = SQL(
            "state = 'cancelled', is_claimed = false, next_attempt_date = NULL"
        )
        return self._in_steps(
            "action_cancel",
            lambda deliveries: {
                "count": deliveries._change_idle(changes, ("pending", "failed"))
            },
            lambda counts: self._notify(
                self.env._(
                    "%(count)s deliveries were cancelled.", count=counts["count"]
                )
            ),
            progress,
            size=STEP_ROWS,
        )

    def action_open_record(self):
        self.ensure_one()
        ids = self.res_ids or []
        action = {"type": "ir.actions.act_window", "res_model": self.model}
        if len(ids) == 1:
            return {**action, "res_id": ids[0], "views": [(False, "form")]}
        return {
            **action,
            "name": self.display_name,
            "domain": [("id", "in", ids)],
            "views": [(False, "list"), (False, "form")],
        }

    def action_open_logs(self):
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Attempts"),
            "res_model": "bj.api.log",
            "domain": [("delivery_id", "in", self.ids)],
            "views": [(False, "list"), (False, "form")],
        }

    def _check_operator(self):
        self.check_access("read")
        self.env["bj.api.sync.config"].check_access("write")

    def _change_idle(self, changes, states):
        """Change those in one of ``states`` that nobody is sending; return how many."""
        self.flush_recordset()
        self.env.cr.execute(
            SQL(
                """UPDATE bj_api_sync_delivery SET %s
                   WHERE id IN %s AND state IN %s AND NOT (%s)""",
                changes,
                tuple(self.ids) or (0,),
                states,
                in_flight("bj_api_sync_delivery"),
            )
        )
        count = self.env.cr.rowcount
        self.invalidate_recordset()
        self.sudo().config_id._forget_failures()
        return count

    def _notify(self, message):
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "message": message,
                "type": "success",
                "next": {"type": "ir.actions.client", "tag": "soft_reload"},
            },
        }
