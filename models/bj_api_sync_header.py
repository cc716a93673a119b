import logging
import re

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ..tools import credential
from .bj_api_sync_config import MASK

_logger = logging.getLogger("bj.api.credential")

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
    is_secret = fields.Boolean(
        string="Secret",
        compute="_compute_is_secret",
        store=True,
        readonly=False,
        precompute=True,
        help="Masked in views, and kept as a hash (In) or encrypted (Out). So is a header "
        "whose Key says that it is a password, secret, token or api_key, and what callers "
        "send is masked in logs in any case.",
    )

    @api.depends("config_id")
    def _compute_is_secret(self):
        for header in self:
            # Whoever sends the right value gets in.
            header.is_secret = header.config_id.request_type == "in"

    @api.depends("value_clear", "is_secret")
    def _compute_value(self):
        for header in self:
            header_sudo = header.sudo()
            # One of before its name counted may be in clear yet.
            secret = header_sudo.value_secret or header_sudo.value_clear
            header.value = header.value_clear
            if header._is_secret():
                header.value = MASK if secret else False

    @api.model_create_multi
    def create(self, vals_list):
        headers = super().create(vals_list)
        headers._after_change()
        headers._check_has_value()
        return headers

    def write(self, vals):
        before = self.filtered(lambda header: header._has_value())
        result = super().write(vals)
        self._after_change()
        # One that an older version let be saved without a value can be changed otherwise.
        is_typed = {"value", "value_clear", "config_id"} & vals.keys()
        (self if is_typed else before)._check_has_value()
        return result

    def unlink(self):
        configs = self.config_id
        result = super().unlink()
        configs._forget_plans()
        return result

    def _is_secret(self, text=None):
        """As the log masks it, whatever the mark says."""
        redactor, _limit = self.env["bj.api.log"]._get_redactor()
        return self.is_secret or redactor.is_secret_header(self.name or "")

    def _seal(self, text):
        if self.config_id.request_type == "out":
            return super()._seal(text)
        return self.env["bj.api.sync.secret"]._hash_typed(text)

    def _store_value(self, text):
        if text and self.config_id.request_type == "in":
            # A server takes the blanks around a value away, and one of nothing else is
            # as good as none. Nor does the word before a token count.
            text = text.strip() if credential.strip_bearer(text) else False
        return super()._store_value(text)

    def _has_value(self):
        self.ensure_one()
        header_sudo = self.sudo()
        return bool(header_sudo.value_secret or (header_sudo.value_clear or "").strip())

    def _check_has_value(self):
        """Refuse a header that an endpoint demands and that nobody can send."""
        for header in self:
            config = header.config_id
            is_served = config.request_type == "in" and config.endpoint
            if is_served and not header._has_value():
                raise ValidationError(
                    self.env._(
                        'Header "%(header)s" of %(config)s has no value, so nobody could '
                        "call the endpoint. Type the value that callers send; when Secret "
                        "is taken off, type it anew: only its hash was kept.",
                        header=header.name,
                        config=config.name,
                    )
                )

    def _renew_hashes(self):
        """See ``bj.api.sync.secret``."""
        for header in self.sudo():
            stored = header.value_secret
            if header.config_id.request_type == "in" and credential.is_digest(stored):
                header._write_columns(value_secret=credential.renew_typed(stored))
            elif header.value_clear and header._is_secret():
                try:
                    header._store_value(header.value_clear)
                except UserError as error:  # no key to encrypt it with
                    _logger.warning("Header %s stays as it is: %s", header.id, error)

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

    def _matches(self, received, checks=None):
        """Tell whether a caller's header value is the expected one, in constant time.

        A header without a stored value matches nothing, not even nothing.

        :param str received: ``None`` if the caller has not sent the header
        :param checks: :class:`~..tools.credential.Checks` of the call
        """
        self.ensure_one()
        header_sudo = self.sudo()
        received = (received or "").strip()
        if header_sudo.value_secret:
            checks = checks or credential.Checks()
            right = checks.is_typed(received, header_sudo.value_secret)
        else:
            right = credential.same(received, (header_sudo.value_clear or "").strip())
        return right and bool(received)


class BjApiSyncConfig(models.Model):
    _inherit = "bj.api.sync.config"

    def write(self, vals):
        unserved = self.filtered(lambda c: c.request_type != "in" or not c.endpoint)
        result = super().write(vals)
        unserved.header_ids._check_has_value()
        return result

    def _get_secret_header_names(self):
        """Return the headers to mask: all that callers send are credentials."""
        is_in = self.request_type == "in"
        return [h.name.lower() for h in self.header_ids if is_in or h._is_secret()]
