import logging
from contextlib import contextmanager

from odoo import models
from odoo.tools import SQL

from ..tools import cron_state
from .bj_api_sync_give_way import asking, lock_rows
from .bj_api_sync_transaction import LOST

_logger = logging.getLogger("bj.api.sender")

SENDERS = ("bj_api_sync.ir_cron_send", "bj_api_sync.ir_cron_send_second")


class IrCron(models.Model):
    """Marks runs of scheduled actions, so that a "Send" action knows one for sure, and
    lets a person change those of senders that are at work."""

    _inherit = "ir.cron"

    def write(self, vals):
        with self._ask_senders(SQL("NO KEY UPDATE")):
            return super().write(vals)

    def unlink(self):
        with self._ask_senders(SQL("UPDATE")):
            return super().unlink()

    def _callback(self, cron_name, server_action_id):
        with cron_state.running(self.id):
            return super()._callback(cron_name, server_action_id)

    def method_direct_trigger(self):
        """Run Manually: 18.0 runs the action here, 19.0 by ``_callback``."""
        # Asked no longer than until the row is ours: this runs a sender itself.
        with self._ask_senders(SQL("NO KEY UPDATE")):
            pass
        # Opened from a record, the form brings that one along in its context.
        context = dict(self.env.context)
        for name in ("active_model", "active_id", "active_ids"):
            context.pop(name, None)
        self = self.with_context(context)  # pylint: disable=context-overridden
        with cron_state.running(self.id):
            return super().method_direct_trigger()

    @contextmanager
    def _ask_senders(self, strength):
        """Have these rows locked for the transaction, if a sender is among them."""
        senders = self._get_senders()
        if not (self & senders and self.env.registry.ready):
            yield
            return
        with asking(self.env):
            lock_rows(self.env, SQL("id = ANY(%s)", list(self.ids)), strength)
            yield

    def _get_senders(self):
        senders = self.browse()
        for xml_id in SENDERS:
            senders |= self.env.ref(xml_id, raise_if_not_found=False) or senders
        return senders

    def _notifydb(self):
        # Called when the transaction is committed: an error would tell who has saved that
        # it is not. Senders are called a moment later by another notice, or by the clock.
        try:
            super()._notifydb()
        except LOST as error:
            _logger.warning("Scheduled actions could not be woken: %s", error)
