from odoo import api, fields, models

from .bj_api_log_ui import can_open, pretty, summary


class BjApiSyncDelivery(models.Model):
    """What the screens show about a delivery."""

    _inherit = "bj.api.sync.delivery"

    payload_pretty = fields.Text(
        string="Pretty Payload", compute="_compute_payload_pretty"
    )
    error_summary = fields.Char(string="Error", compute="_compute_error_summary")
    has_record = fields.Boolean(compute="_compute_has_record")

    @api.depends("payload")
    def _compute_payload_pretty(self):
        for delivery in self:
            delivery.payload_pretty = pretty(delivery.payload)

    @api.depends("last_error")
    def _compute_error_summary(self):
        for delivery in self:
            delivery.error_summary = summary(delivery.last_error)

    @api.depends("model", "res_ids")
    def _compute_has_record(self):
        for delivery in self:
            delivery.has_record = bool(
                delivery.res_ids
                and delivery.model in self.env
                and can_open(self.env[delivery.model].browse(delivery.res_ids))
            )


class IrActionsServer(models.Model):
    _inherit = "ir.actions.server"

    def action_open_bj_api_trigger(self):
        """Open what runs this action: its scheduled action or rule, else itself."""
        self.ensure_one()
        crons = self.env["ir.cron"].with_context(active_test=False)
        holder = (
            crons.search([("ir_actions_server_id", "=", self.id)], limit=1)
            or self.base_automation_id
            or self
        )
        return {
            "type": "ir.actions.act_window",
            "res_model": holder._name,
            "res_id": holder.id,
            "views": [(False, "form")],
        }
