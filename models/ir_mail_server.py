import logging

from odoo import api, models

from ..tools import dry_run

_logger = logging.getLogger("bj.api.script")


class IrMailServer(models.Model):
    _inherit = "ir.mail_server"

    @api.model
    def send_email(self, message, *args, **kwargs):
        # Most mail waits for the commit, but not what a script has sent at once.
        if dry_run.is_marked():
            _logger.info("Mail %s is not sent: dry run", message["Message-Id"])
            return message["Message-Id"]
        return super().send_email(message, *args, **kwargs)
