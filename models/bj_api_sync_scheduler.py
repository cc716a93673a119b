from datetime import timedelta

from odoo import api, fields, models, tools

from .bj_api_sync_delivery import NOW

ACTIVITY = "bj_api_sync.mail_activity_type_scheduler"
CRON = "bj_api_sync.ir_cron_send"
# A scheduled action of each minute is late by two at most, with the time of a pass.
LATE_SECONDS = 300
# Where this server runs none, and nobody else seems to either.
LATE_HERE_SECONDS = 90
OVERDUE_SECONDS = 60  # after which a delivery that nobody sends is a sign of it


class BjApiSyncSender(models.AbstractModel):
    """Whether anything calls the senders at all: without Odoo's scheduler all waits."""

    _inherit = "bj.api.sync.sender"

    @api.model
    def _get_scheduler_problem(self):
        """Return why nothing is sent by itself and what to do, ``""`` if all is well.

        That no server runs scheduled actions shows in one that is late while a delivery
        waits: which servers there are is known to nobody.
        """
        if self.env["bj.api.sync.delivery"]._is_neutralized():
            return ""
        cron = self.env.ref(CRON, raise_if_not_found=False)
        if not cron:
            return self.env._(
                "The scheduled action that sends deliveries was deleted: upgrade the "
                "app API Synchronization to have it back."
            )
        cron = cron.sudo()
        if not cron.active:
            return self.env._(
                'The scheduled action "%s" is archived, so nothing is sent or fetched: '
                "unarchive it under Settings > Technical > Scheduled Actions.",
                cron.name,
            )
        limit = LATE_SECONDS if tools.config["max_cron_threads"] else LATE_HERE_SECONDS
        late = fields.Datetime.now() - timedelta(seconds=limit)
        if cron.nextcall > late or not self._is_something_overdue():
            return ""
        if self._is_running_since(cron, late):
            return ""
        return self.env._(
            "No server runs scheduled actions (the one that sends was due at %s UTC), so "
            "deliveries wait: start Odoo with --max-cron-threads of at least 1, or find "
            "out what keeps its workers busy.",
            fields.Datetime.to_string(cron.nextcall),
        )

    @api.model
    def _is_something_overdue(self):
        """Tell whether a delivery waits for nothing but a sender, and for long."""
        self.env.cr.execute(
            tools.SQL(
                """SELECT 1 FROM bj_api_sync_delivery d
                   JOIN bj_api_sync_config c ON c.id = d.config_id
                   WHERE d.state = 'pending' AND c.active AND c.is_paused IS NOT TRUE
                     AND d.next_attempt_date < %(now)s - make_interval(secs => %(late)s)
                     AND NOT EXISTS (
                         SELECT FROM bj_api_sync_destination h
                         WHERE h.name = d.destination
                           AND (h.hold_until > %(now)s OR h.opened_until > %(now)s))
                   LIMIT 1""",
                now=NOW,
                late=OVERDUE_SECONDS,
            )
        )
        return bool(self.env.cr.fetchone())

    @api.model
    def _is_running_since(self, cron, moment):
        """Tell whether a pass has shown since ``moment`` that it lives."""
        self.env.cr.execute(
            """SELECT 1 FROM ir_cron_progress
               WHERE cron_id = %s AND write_date > %s LIMIT 1""",
            [cron.id, moment],
        )
        return bool(self.env.cr.fetchone())

    @api.model
    def _tell_scheduler_problem(self, config, problem):
        """Give administrators one activity about it, whatever the configuration."""
        activity_type = self.env.ref(ACTIVITY, raise_if_not_found=False)
        if activity_type and not self._get_scheduler_activities():
            config._open_activity(
                ACTIVITY, self.env._("Deliveries are not sent"), problem
            )

    @api.model
    def _get_scheduler_activities(self):
        activity_type = self.env.ref(ACTIVITY, raise_if_not_found=False)
        activities = self.env["mail.activity"].sudo()
        if not activity_type:
            return activities
        return activities.search([("activity_type_id", "=", activity_type.id)])

    @api.model
    def _cron_send(self, is_second=False):
        if not is_second:
            self._get_scheduler_activities().unlink()
        return super()._cron_send(is_second)
