from odoo import models


class MailMessage(models.Model):
    _inherit = "mail.message"

    def unlink(self):
        if self.env.context.get("bj_api_sync_preload"):
            self.env["bj.api.sync.preload"]._note_empty_lists(self)
        return super().unlink()
