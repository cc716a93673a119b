import re

from odoo import api, fields, models
from odoo.exceptions import ValidationError

from .bj_api_sync_config import MASK

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


class BjApiSyncHeader(models.Model):
    _name = "bj.api.sync.header"
    _description = "API Header"
    _order = "config_id, id"

    config_id = fields.Many2one(
        "bj.api.sync.config", required=True, ondelete="cascade", index=True
    )
    company_id = fields.Many2one(related="config_id.company_id", store=True)
    name = fields.Char(string="Key", required=True)
    # As with the secrets of the configuration, what is typed goes to one of the two
    # columns below: clear, or sealed so that reading gives a mask.
    value = fields.Char(compute="_compute_value", readonly=False)
    value_clear = fields.Char()
    value_secret = fields.Char(copy=False, groups=fields.NO_ACCESS)
    is_secret = fields.Boolean(string="Secret", help="Masked in views and logs.")

    @api.depends("value_clear", "is_secret")
    def _compute_value(self):
        for header in self:
            secret = MASK if header.sudo().value_secret else False
            header.value = secret if header.is_secret else header.value_clear

    @api.model_create_multi
    def create(self, vals_list):
        typed = [vals.pop("value", False) for vals in vals_list]
        headers = super().create(vals_list)
        for header, text in zip(headers, typed, strict=True):
            header._store_value(text or header.value_clear)
        headers._after_change()
        return headers

    def write(self, vals):
        vals = dict(vals)
        typed = vals.pop("value", MASK)
        result = super().write(vals)
        for header in self:
            if typed != MASK:
                header._store_value(typed)
            elif header.is_secret and header.value_clear:
                header._store_value(header.value_clear)
            elif not header.is_secret and header.sudo().value_secret:
                header._store_value(False)  # never turned back into clear text
        self._after_change()
        return result

    def unlink(self):
        configs = self.config_id
        result = super().unlink()
        configs._forget_plans()
        return result

    def _store_value(self, text):
        self.ensure_one()
        sealed = False
        if text and self.is_secret:
            secret = self.env["bj.api.sync.secret"]
            direction = self.config_id.request_type
            sealed = (
                secret._encrypt(text) if direction == "out" else secret._digest(text)
            )
        # sudo: nobody has access to the sealed value; the header itself was checked.
        super(BjApiSyncHeader, self.sudo()).write(
            {
                "value_clear": False if self.is_secret else text,
                "value_secret": sealed,
            }
        )

    def _drop_secrets(self):
        secret = self.sudo().filtered("is_secret")
        super(BjApiSyncHeader, secret).write({"value_secret": False})

    def _rotate_secrets(self):
        """Encrypt the values that are sent anew, under the installation's first key."""
        secret = self.env["bj.api.sync.secret"]
        for header in self.sudo().filtered("value_secret"):
            sealed = secret._rotate(header.value_secret)
            super(BjApiSyncHeader, header).write({"value_secret": sealed})

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

    def _get_value(self):
        """Return the value to send, in clear."""
        self.ensure_one()
        if self.is_secret:
            return self.env["bj.api.sync.secret"]._decrypt(self.sudo().value_secret)
        return self.value_clear or ""

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
