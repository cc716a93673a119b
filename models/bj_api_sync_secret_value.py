from odoo import api, fields, models

from .bj_api_sync_config import MASK


class BjApiSyncSecretValue(models.AbstractModel):
    """A ``value`` that is kept in clear, or sealed so that reading gives a mask."""

    _name = "bj.api.sync.secret.value"
    _description = "API Value"

    # As with the secrets of the configuration, what is typed goes to one of the two
    # columns below.
    value = fields.Char(compute="_compute_value", readonly=False)
    value_clear = fields.Char()
    value_secret = fields.Char(copy=False, groups=fields.NO_ACCESS)

    @api.depends("value_clear")
    def _compute_value(self):
        for record in self:
            sealed = record.sudo().value_secret
            record.value = MASK if sealed else record.value_clear

    @api.model_create_multi
    def create(self, vals_list):
        typed = [vals.get("value", False) for vals in vals_list]
        vals_list = [
            {name: vals[name] for name in vals if name != "value"} for vals in vals_list
        ]
        records = super().create(vals_list)
        for record, text in zip(records, typed, strict=True):
            record._store_value(text or record.value_clear)
        return records

    def write(self, vals):
        vals = dict(vals)
        typed = vals.pop("value", MASK)
        result = super().write(vals)
        for record in self:
            if typed != MASK:
                record._store_value(typed)
            elif record.value_clear and record._is_secret(record.value_clear):
                record._store_value(record.value_clear)
            elif record.sudo().value_secret and not record._is_secret():
                record._store_value(False)  # never turned back into clear text
        return result

    def _is_secret(self, text=None):
        """Tell whether a text, or any, has to be sealed here: if nobody knows better."""
        return True

    def _seal(self, text):
        return self.env["bj.api.sync.secret"]._encrypt(text)

    def _store_value(self, text):
        self.ensure_one()
        is_secret = self._is_secret(text)
        self._write_columns(
            value_clear=False if is_secret else text,
            value_secret=self._seal(text) if text and is_secret else False,
        )

    def _write_columns(self, **vals):
        # sudo: nobody has access to the sealed value; the record itself was checked.
        super(BjApiSyncSecretValue, self.sudo()).write(vals)

    def _drop_secrets(self):
        self.sudo().filtered("value_secret")._write_columns(value_secret=False)

    def _rotate_secrets(self):
        """Encrypt the values that are sent anew, under the installation's first key."""
        secret = self.env["bj.api.sync.secret"]
        for record in self.sudo().filtered("value_secret"):
            record._write_columns(value_secret=secret._rotate(record.value_secret))

    def _get_value(self):
        """Return the value to send, in clear."""
        self.ensure_one()
        sealed = self.sudo().value_secret
        if sealed:
            return self.env["bj.api.sync.secret"]._decrypt(sealed)
        return self.value_clear or ""
