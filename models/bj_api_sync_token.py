from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ..tools import credential
from .bj_api_sync_config import find_no_network, no_network_message

MIN_LENGTH = 16  # characters of a typed token below which it could be guessed


class BjApiSyncToken(models.Model):
    """An inbound bearer token: only a hash is kept, so a dump cannot log in.

    The SHA-256 of a generated one is enough, because it has 32 random bytes; checking it
    costs less than a microsecond. What somebody typed is kept like a password.
    """

    _name = "bj.api.sync.token"
    _description = "API Token"
    _order = "config_id, create_date desc, id desc"

    config_id = fields.Many2one(
        "bj.api.sync.config",
        string="Configuration",
        required=True,
        ondelete="cascade",
        index=True,
    )
    company_id = fields.Many2one(related="config_id.company_id", store=True)
    name = fields.Char(required=True)
    active = fields.Boolean(default=True)
    prefix = fields.Char(readonly=True, help="First characters, to tell tokens apart.")
    token_hash = fields.Char(required=True, copy=False, groups=fields.NO_ACCESS)
    is_typed = fields.Boolean(
        readonly=True, help="Typed into the configuration's Bearer Token field."
    )
    is_short = fields.Boolean(readonly=True, help="Short enough to be guessed.")
    expiry_date = fields.Datetime()
    last_use_date = fields.Datetime(readonly=True)
    last_use_addr = fields.Char(string="Last Address", readonly=True)
    allowed_networks = fields.Char(
        help="Only clients in these networks may use it, e.g. 203.0.113.0/24."
    )
    state = fields.Selection(
        [("valid", "Valid"), ("expired", "Expired"), ("revoked", "Revoked")],
        compute="_compute_state",
    )

    _sql_constraints = [
        (
            "hash_unique",
            "UNIQUE(config_id, token_hash)",
            "This token is already known to the configuration.",
        )
    ]

    @api.depends("active", "expiry_date")
    def _compute_state(self):
        now = fields.Datetime.now()
        for token in self:
            expired = token.expiry_date and token.expiry_date <= now
            token.state = (
                "revoked" if not token.active else "expired" if expired else "valid"
            )

    @api.constrains("allowed_networks")
    def _check_allowed_networks(self):
        for token in self:
            if network := find_no_network(token.allowed_networks):
                raise ValidationError(no_network_message(self.env, network))

    @api.model
    def _generate(self, config, name, **vals):
        """Create a token and return it in clear, the only time that it can be seen."""
        text = credential.new_token()
        self._store(config, text, name=name, **vals)
        return text

    @api.model
    def _set_typed(self, config, text):
        """Make ``text`` the token of the Bearer Token field, instead of the last one."""
        tokens = config.with_context(active_test=False).token_ids  # revoked ones, too
        tokens.filtered("is_typed").sudo().unlink()
        if text:
            self._store(
                config,
                text,
                name=self.env._("Bearer Token field"),
                is_typed=True,
                token_hash=credential.hash_typed(text),
                is_short=len(credential.strip_bearer(text)) < MIN_LENGTH,
            )

    @api.model
    def _store(self, config, text, **vals):
        if not credential.strip_bearer(text):
            raise UserError(self.env._("A token cannot be empty."))
        # The rights of the user on the configuration decide; the column of the hash is
        # closed to everybody, so it is filled as superuser.
        config.check_access("write")
        return self.sudo().create(
            {
                "config_id": config.id,
                "prefix": credential.prefix(credential.strip_bearer(text)),
                "token_hash": credential.hash_token(text),
                **vals,
            }
        )

    def _renew_hashes(self):
        """See ``bj.api.sync.secret``."""
        for token in self.sudo():
            if token.is_typed and credential.is_digest(token.token_hash):
                token.token_hash = credential.renew_typed(token.token_hash)

    def action_revoke(self):
        self.active = False
        return True
