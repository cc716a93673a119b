from odoo import models
from odoo.tools import SQL

from .bj_api_sync_give_way import asking, lock_rows


class IrModuleModule(models.Model):
    """Lets apps be installed, upgraded and uninstalled while senders are at work."""

    _inherit = "ir.module.module"

    def _button_immediate_function(self, function):
        with asking(self.env):
            lock_rows(self.env, SQL("TRUE"), SQL("UPDATE"))
            return super()._button_immediate_function(function)
