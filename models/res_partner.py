from odoo import models


class ResPartner(models.Model):
    _inherit = "res.partner"

    def _check_access(self, operation):
        # Odoo's first step once the messages on a contact are deleted, and the cache with
        # them.
        if operation == "unlink" and self.env.context.get("bj_api_sync_preload"):
            self.env["bj.api.sync.preload"]._read_for_unlink(self)
        return super()._check_access(operation)
