from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError


class BjApiSyncWizardToken(models.TransientModel):
    _name = "bj.api.sync.wizard.token"
    _description = "Generate API Token"

    config_id = fields.Many2one("bj.api.sync.config", required=True, ondelete="cascade")
    name = fields.Char(
        required=True,
        default=lambda self: self.env._("Token"),
        help="Who will use it, e.g. the name of the calling system.",
    )
    expiry = fields.Selection(
        [
            ("30", "30 days"),
            ("90", "90 days"),
            ("365", "1 year"),
            ("never", "Never"),
            ("date", "On a date"),
        ],
        string="Expires After",
        required=True,
        default="365",
    )
    expiry_date = fields.Datetime(
        string="Expires On", compute="_compute_expiry_date", store=True, readonly=False
    )
    allowed_networks = fields.Char(
        help="Only clients in these networks may use it, e.g. 203.0.113.0/24."
    )
    # Never stored: it travels to the screen in the context of the second dialog, and is
    # gone when that one is closed.
    token = fields.Char(store=False)
    header = fields.Char(store=False)

    @api.depends("expiry")
    def _compute_expiry_date(self):
        for wizard in self:
            if wizard.expiry == "never":
                wizard.expiry_date = False
            elif wizard.expiry != "date":
                days = timedelta(days=int(wizard.expiry))
                wizard.expiry_date = fields.Datetime.now() + days

    def action_generate(self):
        self.ensure_one()
        if self.expiry_date and self.expiry_date <= fields.Datetime.now():
            raise UserError(self.env._("Expires On must be in the future."))
        token = self.env["bj.api.sync.token"]._generate(
            self.config_id,
            self.name,
            expiry_date=self.expiry_date,
            allowed_networks=self.allowed_networks,
        )
        view = self.env.ref("bj_api_sync.bj_api_sync_wizard_token_view_form_shown")
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Token of %s", self.config_id.name),
            "res_model": self._name,
            "views": [(view.id, "form")],
            "target": "new",
            "context": {
                "default_config_id": self.config_id.id,
                "default_name": self.name,
                "default_token": token,
                "default_header": f"Authorization: Bearer {token}",
            },
        }
