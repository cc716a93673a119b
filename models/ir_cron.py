import logging

from odoo import models

from ..tools import cron_state
from .bj_api_sync_transaction import LOST

_logger = logging.getLogger("bj.api.sender")


class IrCron(models.Model):
    """Marks runs of scheduled actions, so that a "Send" action knows one for sure."""

    _inherit = "ir.cron"

    def _callback(self, cron_name, server_action_id):
        with cron_state.running(self.id):
            return super()._callback(cron_name, server_action_id)

    def method_direct_trigger(self):
        """Run Manually: 18.0 runs the action here, 19.0 by ``_callback``."""
        # Opened from a record, the form brings that one along in its context.
        context = dict(self.env.context)
        for name in ("active_model", "active_id", "active_ids"):
            context.pop(name, None)
        self = self.with_context(context)  # pylint: disable=context-overridden
        with cron_state.running(self.id):
            return super().method_direct_trigger()

    def _notifydb(self):
        # Called when the transaction is committed: an error would tell who has saved that
        # it is not. Senders are called a moment later by another notice, or by the clock.
        try:
            super()._notifydb()
        except LOST as error:
            _logger.warning("Scheduled actions could not be woken: %s", error)
