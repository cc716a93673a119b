import re

from odoo import api, fields, models
from odoo.exceptions import ValidationError

from .bj_api_sync_config import MASK

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


class BjApiSyncHeader(models.Model):
    _name = "bj.api.sync.header"
    _inherit = "bj.api.sync.secret.value"
    _description = "API Header"
    _order = "config_id, id"

    config_id = fields.Many2one(
        "bj.api.sync.config", required=True, ondelete="cascade", index=True
    )
    company_id = fields.Many2one(related="config_id.company_id", store=True)
    name = fields.Char(string="Key", required=True)
    is_secret = fields.Boolean(string="Secret", help="Masked in views and logs.")

    @api.depends("value_clear", "is_secret")
    def _compute_value(self):
        for header in self:
            secret = MASK if header.sudo().value_secret else False
            header.value = secret if header.is_secret else header.value_clear

    @api.model_create_multi
    def create(self, vals_list):
        headers = super().create(vals_list)
        headers._after_change()
        return headers

    def write(self, vals):
        result = super().write(vals)
        self._after_change()
        return result

    def unlink(self):
        configs = self.config_id
        result = super().unlink()
        configs._forget_plans()
        return result

    def _is_secret(self, text=None):
        return self.is_secret

    def _seal(self, text):
        if self.config_id.request_type == "out":
            return super()._seal(text)
        return self.env["bj.api.sync.secret"]._digest(text)

    def _after_change(self):
        for header in self:
            if not TOKEN.fullmatch(header.name):
                raise ValidationError(
                    self.env._(
                        'Header "%s" is no valid header name: use letters, digits and '
                        "hyphens.",
                        header.name,
                    )
                )
            if re.search(r"[\r\n\0]", header.value_clear or ""):
                raise ValidationError(
                    self.env._(
                        'Header "%s" has a line break in its value.', header.name
                    )
                )
        self.config_id._forget_plans()

    def _matches(self, received):
        """Tell whether a caller's header value is the expected one, in constant time.

        :param str received: ``None`` if the caller has not sent the header
        """
        self.ensure_one()
        secret = self.env["bj.api.sync.secret"]
        if self.is_secret:
            right = secret._matches_digest(received or "", self.sudo().value_secret)
        else:
            right = secret._same(received or "", self.value_clear or "")
        return right and received is not None
