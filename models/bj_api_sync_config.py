import ipaddress
import logging
import re
from dataclasses import dataclass

from odoo import SUPERUSER_ID, api, fields, models, tools
from odoo.exceptions import AccessError, UserError, ValidationError

from ..exceptions import ApiError
from ..tools import mapping
from ..tools import url as url_tools
from ..tools.message import Plan

_logger = logging.getLogger("bj.api.config")

ROUTE = "/bj_api_sync/v1"
RESERVED_ENDPOINTS = ("openapi.json", "postman.json", "health", "docs")
ENDPOINT_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]*")
MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_DEPTH = 8  # levels of mapping models below a configuration
MASK = "********"  # what a secret reads as; writing it back changes nothing
# field the administrator types into -> column that holds its hash or ciphertext
SECRETS = {
    "auth_password": "auth_password_secret",
    "bearer_token": "bearer_token_secret",
    "signing_secret": "signing_secret_secret",
}
SCRIPTS = ("request_script", "response_script")


@dataclass(frozen=True)
class Endpoint:
    """What serving a call needs of an In configuration, read once per registry.

    Of its user, its company and the parameters too: a change of these drops Odoo's caches
    as well.
    """

    config_id: int
    name: str
    endpoint: str
    model: str
    methods: tuple[str, ...]
    auth_type: str
    auth_login: str
    user_id: int
    is_user_usable: bool
    lang: str
    tz: str
    company_id: int
    company_facts: tuple[tuple[str, object], ...]
    response_format: str
    is_paginated: bool
    limit: int
    max_limit: int
    max_body_bytes: int
    upsert: bool
    delete_mode: str
    record_id_match: str
    filter_domain: str
    request_script: str
    response_script: str
    log_level: str
    cors_origins: tuple[str, ...]
    allowed_networks: tuple[str, ...]
    rate_limit_per_minute: int
    rate_limit_per_hour: int
    headers: tuple[tuple[str, int], ...]
    secret_headers: tuple[str, ...]


class BjApiSyncConfig(models.Model):
    _name = "bj.api.sync.config"
    _description = "API Configuration"
    _order = "request_type, name, id"
    _check_company_auto = True

    name = fields.Char(required=True)
    active = fields.Boolean(default=True)
    description = fields.Text()
    request_type = fields.Selection(
        [("in", "In"), ("out", "Out")],
        required=True,
        default="in",
        help="In: other systems call Odoo. Out: Odoo calls another system.",
    )
    model_id = fields.Many2one(
        "ir.model",
        required=True,
        ondelete="cascade",
        domain=lambda self: self._get_model_domain(),
        default=lambda self: self._default_model_id(),
    )
    model_name = fields.Char(related="model_id.model", store=True, string="Model Name")
    filter_domain = fields.Text(
        default="[]",
        help="Only matching records can be read, changed or sent. The domain may use "
        "uid, user, company_id, time, datetime, timedelta, relativedelta and "
        "context_today().",
    )
    company_id = fields.Many2one("res.company", default=lambda self: self.env.company)
    http_method_ids = fields.Many2many("bj.http.method", string="HTTP Methods")
    auth_type = fields.Selection(
        [("none", "No Auth"), ("basic", "Basic Auth"), ("bearer", "Bearer Token")],
        string="Authorization Type",
        required=True,
        default="bearer",
    )
    auth_login = fields.Char(string="Login", copy=False)
    # The three secrets below are never stored as typed: create and write turn them into
    # a hash (In) or a Fernet token (Out) before the ORM sees them, and reading gives a
    # mask. `exportable=False` keeps even the mask out of exports.
    auth_password = fields.Char(
        string="Password",
        compute="_compute_masks",
        readonly=False,
        copy=False,
        exportable=False,
        groups="bj_api_sync.group_bj_api_manager",
    )
    auth_password_secret = fields.Char(copy=False, groups=fields.NO_ACCESS)
    bearer_token = fields.Char(
        compute="_compute_masks",
        readonly=False,
        copy=False,
        exportable=False,
        groups="bj_api_sync.group_bj_api_manager",
    )
    bearer_token_secret = fields.Char(copy=False, groups=fields.NO_ACCESS)
    line_ids = fields.One2many(
        "bj.api.sync.config.line",
        "config_id",
        string="Configuration Lines",
        copy=True,
    )
    header_ids = fields.One2many(
        "bj.api.sync.header", "config_id", string="Headers", copy=True
    )
    param_ids = fields.One2many(
        "bj.api.sync.param", "config_id", string="Parameters", copy=True
    )
    token_ids = fields.One2many("bj.api.sync.token", "config_id", string="Tokens")
    is_paginated = fields.Boolean(string="Is paginated?")
    page_size = fields.Integer(default=100)
    log_level = fields.Selection(
        [
            ("full", "Full"),
            ("metadata", "Metadata"),
            ("errors", "Errors"),
            ("none", "None"),
        ],
        string="Log",
        required=True,
        default="full",
        help="Full: with headers and bodies. Metadata: without them. Errors: only "
        "failed exchanges, in full. None: nothing.",
    )
    log_retention_days = fields.Integer(default=30)
    request_script = fields.Text(groups="bj_api_sync.group_bj_api_user")
    response_script = fields.Text(groups="bj_api_sync.group_bj_api_user")

    # In only
    endpoint = fields.Char(
        copy=False,
        help="Last part of the URL. Leave it empty for a configuration that is only the "
        "mapping model of others.",
    )
    endpoint_url = fields.Char(compute="_compute_endpoint_url", string="Endpoint URL")
    limit = fields.Integer(default=100)
    max_limit = fields.Integer(string="Maximum Limit", default=1000)
    user_id = fields.Many2one(
        "res.users",
        string="Run As",
        compute="_compute_user_id",
        store=True,
        readonly=False,
        precompute=True,
        copy=False,
        ondelete="restrict",
        help="Requests run, and what is fetched is written, with the access rights, record "
        "rules and time zone of this user. Requests have the user's language too, what is "
        "fetched has that of the configuration.",
    )
    response_format = fields.Selection(
        [("bare", "Bare"), ("status", "Status"), ("success", "Success")],
        required=True,
        default="bare",
    )
    upsert = fields.Boolean(
        help="POST updates the record when its identifier exists, PUT creates it when "
        "it does not."
    )
    delete_mode = fields.Selection(
        [("unlink", "Delete"), ("archive", "Archive")],
        string="On Delete",
        required=True,
        default="unlink",
    )
    record_id_match = fields.Selection(
        [
            ("identifier", "Record identifier"),
            ("id", "Odoo ID"),
            ("any", "Record identifier, then Odoo ID"),
        ],
        string="Record ID in URL",
        required=True,
        default="any",
    )
    reject_unknown_keys = fields.Boolean()
    cors_origins = fields.Char(
        string="CORS Origins",
        help="Web pages of these origins may call the endpoint, e.g. "
        "https://shop.example.com; separate several with commas.",
    )
    allowed_networks = fields.Char(
        help="Only clients in these networks are let in, e.g. 203.0.113.0/24; separate "
        "several with commas."
    )
    rate_limit_per_minute = fields.Integer(
        help="Calls per address and minute; 0 is no limit."
    )
    rate_limit_per_hour = fields.Integer(
        help="Calls per credential and hour; 0 is no limit."
    )

    # Out only
    url = fields.Char(
        string="Request URL",
        help="Full address; {external_key} is replaced by the payload's value.",
    )
    connect_timeout = fields.Integer(string="Connection Timeout in Seconds", default=5)
    read_timeout = fields.Integer(string="Read Timeout in Seconds", default=15)
    max_attempts = fields.Integer(string="Maximum Attempts", default=8)
    verify_tls = fields.Boolean(string="Verify TLS", default=True)
    content_type = fields.Selection(
        [("json", "JSON"), ("form", "Form")], required=True, default="json"
    )
    response_field_path = fields.Char(
        string="Write Answer To",
        help="Field of the record that gets one value of the answer.",
    )
    response_key = fields.Char(
        string="Answer Key", help="Key of the answer, e.g. data.id."
    )
    sync_scope = fields.Selection(
        [("modified", "Modified since the last run"), ("all", "All")],
        string="Scheduled runs send",
        required=True,
        default="modified",
    )
    last_sync_date = fields.Datetime(copy=False)
    signing_secret = fields.Char(
        compute="_compute_masks",
        readonly=False,
        copy=False,
        exportable=False,
        groups="bj_api_sync.group_bj_api_manager",
        help="Secret of the Standard Webhooks signature, e.g. whsec_…; two secrets "
        "separated by a space sign during a rotation.",
    )
    signing_secret_secret = fields.Char(copy=False, groups=fields.NO_ACCESS)
    response_root = fields.Char(
        help="Key of the list in the answer of a GET, e.g. data.items."
    )
    pagination_style = fields.Selection(
        [
            ("offset", "Offset"),
            ("page", "Page"),
            ("cursor", "Cursor"),
            ("link", "Link header"),
        ],
        help="How a GET asks the other side for the next page.",
    )

    def init(self):
        # The check below reads before it writes, so two administrators saving at once
        # could both pass it; the index cannot be passed.
        self.env.cr.execute(
            """CREATE UNIQUE INDEX IF NOT EXISTS bj_api_sync_config_endpoint_unique
               ON bj_api_sync_config (endpoint)
               WHERE active AND request_type = 'in' AND endpoint IS NOT NULL"""
        )

    def _default_model_id(self):
        """Return the model that a line leads to, if it is for it that one is made."""
        relation = self.env.context.get("bj_api_sync_relation")
        return self.env["ir.model"]._get(relation).id

    @api.model
    def _get_model_domain(self):
        """Return the domain of the models that have records to be mapped."""
        names = [
            name
            for name, model in self.env.registry.items()
            if not model._abstract and not model._transient
        ]
        return [("model", "in", sorted(names))]

    @api.depends("endpoint", "request_type")
    def _compute_endpoint_url(self):
        for config in self:
            config.endpoint_url = (
                f"{config.get_base_url()}{ROUTE}/{config.endpoint}"
                if config.request_type == "in" and config.endpoint
                else False
            )

    @api.depends("auth_type", "request_type")
    def _compute_user_id(self):
        public = self.env.ref("base.public_user", raise_if_not_found=False)
        for config in self:
            if config.request_type == "in" and config.auth_type == "none":
                config.user_id = public
            elif not config.user_id or config.user_id == public:
                # Not OdooBot: a configuration made by data or a script runs as the
                # administrator until somebody chooses better.
                config.user_id = (
                    self.env.ref("base.user_admin", raise_if_not_found=False)
                    if self.env.uid == SUPERUSER_ID
                    else self.env.user
                )

    @api.depends(
        "request_type", "token_ids.is_typed", "token_ids.active", *SECRETS.values()
    )
    def _compute_masks(self):
        for config in self:
            config_sudo = config.sudo()
            for name, column in SECRETS.items():
                config[name] = MASK if config_sudo[column] else False
            if config.request_type == "in":
                typed = config_sudo.token_ids.filtered("is_typed")
                config.bearer_token = MASK if typed else False

    @api.model_create_multi
    def create(self, vals_list):
        self._check_script_rights(vals_list)
        secrets = []
        vals_list = [dict(vals) for vals in vals_list]
        for vals in vals_list:
            self._check_endpoint_is_free(vals)
            secrets.append(self._take_secrets(vals))
        configs = super(
            BjApiSyncConfig, self.with_context(bj_api_sync_checks_later=True)
        ).create(vals_list)
        configs = configs.with_env(self.env)
        for config, typed in zip(configs, secrets, strict=True):
            config._keep_secrets(typed)
        configs._check_configuration()
        self._forget_plans()
        return configs

    def write(self, vals):
        self._check_script_rights([vals], records=self)
        vals = dict(vals)
        for config in self:
            config._check_endpoint_is_free(vals)
        typed = self._take_secrets(vals)
        config_base = super(
            BjApiSyncConfig, self.with_context(bj_api_sync_checks_later=True)
        )
        if "request_type" in vals:
            # A hash cannot be sent and a ciphertext cannot be compared, so secrets do
            # not survive a change of direction.
            changed = self.filtered(lambda c: c.request_type != vals["request_type"])
            changed._drop_secrets()
        result = config_base.write(vals)
        if "request_type" in vals:
            # What is sent may be a secret, a filter is none: each is judged anew.
            changed.param_ids.write({})
        for config in self if typed else ():
            config._keep_secrets(typed)
        self._check_configuration()
        self._forget_plans()
        return result

    @api.ondelete(at_uninstall=False)
    def _unlink_unless_mapped(self):
        lines = self.env["bj.api.sync.config.line"].sudo()
        users = lines.search([("mapping_config_id", "in", self.ids)])
        for line in users:
            if line.config_id not in self:
                raise UserError(
                    self.env._(
                        "%(mapping)s is the Mapping Model of %(key)s in %(config)s: "
                        "change that line first, or archive the configuration.",
                        mapping=line.mapping_config_id.name,
                        key=line.api_key or line.field_path,
                        config=line.config_id.name,
                    )
                )
        # Their own lines go with them, but a restricting key does not wait for that.
        users.unlink()

    def unlink(self):
        result = super().unlink()
        self._forget_plans()
        return result

    def copy_data(self, default=None):
        return [
            dict(vals, name=self.env._("%s (copy)", config.name))
            for config, vals in zip(self, super().copy_data(default), strict=True)
        ]

    @api.model
    def _forget_plans(self):
        """Drop what is compiled, here at once and in other workers at their next call."""
        self.env.registry.clear_cache()

    # -- secrets ---------------------------------------------------------------------

    @api.model
    def _take_secrets(self, vals):
        """Remove the secrets from ``vals`` and return those that were typed anew."""
        typed = {name: vals.pop(name) for name in SECRETS if name in vals}
        return {
            name: text if text and text.strip() else False
            for name, text in typed.items()
            if text != MASK
        }

    @api.model
    def _seal_secrets(self, typed, request_type):
        """Return ``{column: hash or ciphertext}`` for what was typed."""
        secret = self.env["bj.api.sync.secret"]
        sealed = {}
        for name, text in typed.items():
            if request_type == "in" and name == "auth_password":
                sealed[SECRETS[name]] = secret._hash_password(text)
            elif request_type == "out":
                sealed[SECRETS[name]] = secret._encrypt(text)
        return sealed

    def _keep_secrets(self, typed):
        """Store what was typed: sealed, and the Bearer Token of callers as a token."""
        self.ensure_one()
        sealed = self._seal_secrets(typed, self.request_type)
        if sealed:  # sudo: the record was checked, these are nobody's columns
            super(BjApiSyncConfig, self.sudo()).write(sealed)
        if self.request_type == "in" and "bearer_token" in typed:
            self.env["bj.api.sync.token"]._set_typed(self, typed["bearer_token"])

    def _drop_secrets(self):
        if self:
            self.check_access("write")
            nothing = dict.fromkeys(SECRETS.values(), False)
            super(BjApiSyncConfig, self.sudo()).write(nothing)
            self.header_ids._drop_secrets()
            self.param_ids._drop_secrets()
            self.sudo().token_ids.unlink()

    def action_rotate_secrets(self):
        """Encrypt what is sent anew, under the first key of ``bj_api_sync_key``.

        :raise UserError: a secret cannot be read with any key; nothing is changed then
        """
        self.check_access("write")
        secret = self.env["bj.api.sync.secret"]
        outbound = self.filtered(lambda config: config.request_type == "out").sudo()
        for config in outbound:
            sealed = {
                column: secret._rotate(config[column])
                for column in SECRETS.values()
                if config[column]
            }
            super(BjApiSyncConfig, config).write(sealed)
        outbound.header_ids._rotate_secrets()
        outbound.param_ids._rotate_secrets()
        outbound.delivery_ids._rotate_secrets()

    def _get_secret(self, name):
        """Return an Out configuration's secret in clear, or ``""``.

        :raise UserError: the key of this installation is missing or is another one
        """
        self.ensure_one()
        return self.env["bj.api.sync.secret"]._decrypt(self.sudo()[SECRETS[name]])

    @api.model
    def _check_script_rights(self, vals_list, names=SCRIPTS, records=None):
        """Let only Settings administrators put code into the database, or take it away.

        :param records: those that are written, ``None`` when ``vals_list`` is for new ones
        """
        if self.env.su or self.env.user._is_system():
            return
        records_sudo = records.sudo() if records else [{}]
        if any(
            (vals[name] or False) != (record[name] if records else False)
            for vals in vals_list
            for name in names
            if name in vals
            for record in records_sudo
        ):
            raise AccessError(
                self.env._("Scripts can be changed by Settings administrators only.")
            )

    # -- checks when saving ----------------------------------------------------------

    def _check_configuration(self):
        """Check everything about these configurations that one field alone cannot tell.

        Called once at the end of each change, its lines included: a form that moves the
        record identifier from one line to another passes through a state with none.

        :raise ValidationError: naming the line
        """
        for config in self:
            config._check_general()
            config._check_direction()
            config._check_scripts()
            config.line_ids._check_lines()
            config._check_identifier()
            config._check_keys()
        ancestors = self._get_ancestors()
        (self | ancestors)._check_depth()
        (ancestors - self).line_ids._check_mapping_models()

    def _get_ancestors(self):
        """Return the configurations that use these as mapping models, near or far."""
        lines = self.env["bj.api.sync.config.line"].sudo()
        found, level = self.browse(), self
        while level:
            parents = lines.search([("mapping_config_id", "in", level.ids)]).config_id
            level = parents.with_env(self.env) - found
            found |= level
        return found

    def _fail(self, message):
        raise ValidationError(
            self.env._("%(config)s: %(message)s", config=self.name, message=message)
        )

    def _check_general(self):
        self.ensure_one()
        if self.model_name not in self.env or self.env[self.model_name]._abstract:
            self._fail(self.env._("choose a model with records of its own."))
        for name, low, high in (
            ("limit", 1, 1_000_000),
            ("max_limit", 1, 1_000_000),
            ("page_size", 1, 1_000_000),
            ("connect_timeout", 1, 60),
            ("read_timeout", 1, 300),
            ("max_attempts", 1, 50),
            ("log_retention_days", 1, 36_500),
            ("rate_limit_per_minute", 0, 1_000_000),
            ("rate_limit_per_hour", 0, 1_000_000),
        ):
            if not low <= self[name] <= high:
                label = self._fields[name]._description_string(self.env)
                self._fail(
                    self.env._(
                        "%(label)s must be from %(low)s to %(high)s, not %(value)s.",
                        label=label,
                        low=low,
                        high=high,
                        value=self[name],
                    )
                )
        if network := find_no_network(self.allowed_networks):
            self._fail(no_network_message(self.env, network))
        for origin in split_list(self.cors_origins):
            if not url_tools.to_origin(origin):
                self._fail(
                    self.env._(
                        "CORS Origins: %s is no origin such as "
                        "https://shop.example.com, without a path, or *.",
                        origin,
                    )
                )
        script = self.env["bj.api.sync.script"]
        try:
            domain = script._eval_domain(self, self.env.user)
            model = self.env[self.model_name].sudo().with_context(active_test=False)
            model._search(domain)  # makes the query, does not run it
        except Exception as error:
            self._fail(
                self.env._("the Filter Domain is not usable: %(error)s", error=error)
            )

    def _check_direction(self):
        self.ensure_one()
        if self.request_type == "out":
            if len(self.http_method_ids) != 1:
                self._fail(
                    self.env._("an Out configuration has exactly one HTTP method.")
                )
            try:
                url_tools.check(self.url or "")
            except ValueError as error:
                self._fail(self.env._("Request URL: %(error)s", error=error))
            path = self.response_field_path
            if path and not self._get_field(path):
                label = self._fields["response_field_path"]._description_string(
                    self.env
                )
                message = self.env._(
                    "%(model)s has no field %(path)s.", model=self.model_name, path=path
                )
                self._fail(f"{label}: {message}")
            if self.http_method_ids.name == "GET":
                self._check_run_as()
            return
        if not self.endpoint:
            return
        if not self.http_method_ids:
            self._fail(self.env._("an endpoint has at least one HTTP method."))
        if not ENDPOINT_SLUG.fullmatch(self.endpoint):
            self._fail(
                self.env._(
                    'Endpoint "%(endpoint)s" must consist of a-z, 0-9, "-" and "_" and '
                    "start with a letter or digit.",
                    endpoint=self.endpoint,
                )
            )
        if self.endpoint in RESERVED_ENDPOINTS:
            self._fail(
                self.env._(
                    'Endpoint "%(name)s" is a reserved name.', name=self.endpoint
                )
            )
        self._check_run_as()
        if self.auth_type == "basic" and not (
            self.auth_login and self.sudo().auth_password_secret
        ):
            self._fail(self.env._("Basic Auth needs a Login and a Password."))

    def _get_field(self, path):
        """Return the field at the end of the path, ``None`` if there is no such path."""
        self.ensure_one()
        model, field = self.env[self.model_name], None
        for name in (path or "").split("."):
            if model is None or name not in model._fields:
                return None
            field = model._fields[name]
            model = self.env[field.comodel_name] if field.comodel_name else None
        return field

    def _check_endpoint_is_free(self, vals):
        """Say who has the endpoint, before the index of the table says less about it.

        :param dict vals: of a write to this configuration, or of a new one
        """
        if not {"endpoint", "active", "request_type"} & vals.keys():
            return
        endpoint = vals.get("endpoint", self.endpoint)
        is_active = vals.get("active", self.active if self else True)
        request_type = vals.get("request_type", self.request_type or "in")
        twin = self.sudo().search(
            [
                ("endpoint", "=", endpoint),
                ("request_type", "=", "in"),
                ("id", "!=", self.id),
            ],
            limit=1,
        )
        if endpoint and is_active and request_type == "in" and twin:
            raise ValidationError(
                self.env._(
                    '%(config)s: Endpoint "%(endpoint)s" is already used by %(other)s.',
                    config=vals.get("name", self.name),
                    endpoint=endpoint,
                    other=twin.name,
                )
            )

    def _check_run_as(self):
        user = self.sudo().user_id
        if not user or user.id == SUPERUSER_ID:
            self._fail(
                self.env._(
                    "Run As needs a user, and not OdooBot, who passes every rule."
                )
            )
        if self.company_id and self.company_id not in user.company_ids:
            self._fail(
                self.env._(
                    "Run As: %(user)s is not allowed in %(company)s.",
                    user=user.name,
                    company=self.company_id.name,
                )
            )
        if self.request_type == "out" and not user.active:
            self._fail(self.env._("Run As: %s is archived.", user.name))

    def _check_identifier(self):
        self.ensure_one()
        identifiers = self.line_ids.filtered("is_record_identifier")
        if len(identifiers) > 1:
            self._fail(
                self.env._(
                    "only one line can be the record identifier, not %(lines)s.",
                    lines=", ".join(identifiers.mapped("api_key")),
                )
            )
        if self.request_type == "in" and self.endpoint and not identifiers:
            self._fail(self.env._("mark one line as the record identifier."))

    def _check_keys(self):
        """Refuse two lines that read, or two that write, the same external key."""
        self.ensure_one()
        for side in ("read", "write"):
            taken = {}
            for line in self.line_ids.sorted():
                if line.access not in ("read_write", side) or not line.api_key:
                    continue
                path = mapping.split_key(line.api_key)
                for other, other_line in taken.items():
                    shared = min(len(path), len(other))
                    if path[:shared] == other[:shared]:
                        self._fail(
                            self.env._(
                                'line "%(line)s": External API Key collides with '
                                '"%(other)s".',
                                line=line.api_key,
                                other=other_line.api_key,
                            )
                        )
                taken[path] = line

    def _check_depth(self):
        """Refuse mapping models nested deeper than MAX_DEPTH, cycles among them.

        A line whose Nested Format is "identifier" ends a path, because reading goes no
        further there; so a tree can refer to its own configuration.
        """
        deepest = {}  # {configuration: lines of the longest way down from it}

        def get_deepest(config, above):
            if config not in deepest:
                if config in above:
                    return [None] * (MAX_DEPTH + 1)  # a ring has no end
                longest = []
                for line in config.line_ids:
                    if (
                        line.value_type == "relational_mapping"
                        and line.nested_format == "object"
                        and line.mapping_config_id
                    ):
                        below = get_deepest(line.mapping_config_id, above | config)
                        if len(below) >= len(longest):
                            longest = [line, *below]
                deepest[config] = longest
            return deepest[config]

        for config in self.sudo():
            lines = get_deepest(config, config.browse())
            if len(lines) > MAX_DEPTH:
                config._fail(
                    self.env._(
                        'line "%(line)s": mapping models nest deeper than %(depth)s '
                        "levels (%(trail)s). Set Nested Format of one of the lines to "
                        "Identifier.",
                        line=lines[0].api_key,
                        depth=MAX_DEPTH,
                        trail=" > ".join(
                            line.api_key if line else "…"
                            for line in lines[: MAX_DEPTH + 1]
                        ),
                    )
                )

    def _check_scripts(self):
        self.ensure_one()
        script = self.env["bj.api.sync.script"]
        for name in SCRIPTS:
            if self.sudo()[name]:
                label = self._fields[name]._description_string(self.env)
                try:
                    script._check(self.sudo()[name], "execute")
                except ApiError as error:
                    self._fail(f"{label}: {error.description}")

    # -- compiled forms --------------------------------------------------------------

    @api.model
    def _get_endpoint(self, name):
        """Return the :class:`Endpoint` of an active In configuration, or ``None``."""
        return self._get_endpoints().get(name)

    @api.model
    @tools.ormcache()
    def _get_endpoints(self):
        """Return ``{name: Endpoint}`` of the active In configurations.

        All under one key: names that callers make up must not push others out of the
        cache.
        """
        configs = self.sudo().search(
            [("endpoint", "!=", False), ("request_type", "=", "in")]
        )
        return {config.endpoint: config._compile_endpoint() for config in configs}

    def _compile_endpoint(self):
        self.ensure_one()
        user = self.user_id
        company = self.company_id or user.company_id
        return Endpoint(
            config_id=self.id,
            name=self.name,
            endpoint=self.endpoint,
            model=self.model_name,
            methods=tuple(self.http_method_ids.mapped("name")),
            auth_type=self.auth_type,
            auth_login=self.auth_login or "",
            user_id=user.id,
            # The public user, who serves endpoints without authentication, is archived.
            # Somebody has to ask for groups, and there is no current user yet.
            is_user_usable=bool(user)
            and (user.active or user.with_user(SUPERUSER_ID)._is_public()),
            lang=user.lang,
            tz=user.tz,
            company_id=company.id,
            company_facts=tuple((n, company[n]) for n in ("active", "parent_path")),
            response_format=self.response_format,
            is_paginated=self.is_paginated,
            limit=self.page_size if self.is_paginated else self.limit,
            max_limit=self.max_limit,
            max_body_bytes=self.env["bj.api.sync.inbound"]._get_int_parameter(
                "bj_api_sync.max_body_bytes", MAX_BODY_BYTES
            ),
            upsert=self.upsert,
            delete_mode=self.delete_mode,
            record_id_match=self.record_id_match,
            filter_domain=self.filter_domain or "[]",
            request_script=self.request_script or "",
            response_script=self.response_script or "",
            log_level=self.log_level,
            cors_origins=tuple(
                filter(None, map(url_tools.to_origin, split_list(self.cors_origins)))
            ),
            allowed_networks=split_list(self.allowed_networks),
            rate_limit_per_minute=self.rate_limit_per_minute,
            rate_limit_per_hour=self.rate_limit_per_hour,
            headers=tuple((h.name.lower(), h.id) for h in self.header_ids),
            secret_headers=tuple(self._get_secret_header_names()),
        )

    @api.model
    @tools.ormcache("config_id")
    def _get_plan(self, config_id):
        """Return the compiled mapping of a configuration.

        :return: :class:`~..tools.message.Plan`; nested mapping models are referred to by
            id and compiled on their own
        """
        config = self.sudo().browse(config_id)
        rules = tuple(line._compile_rule() for line in config.line_ids.sorted())
        return Plan(
            config_id=config.id,
            name=config.name,
            model=config.model_name,
            rules=rules,
            identifier=next((rule for rule in rules if rule.is_identifier), None),
            reject_unknown_keys=config.reject_unknown_keys,
            filter_domain=config.filter_domain or "[]",
        )


def find_no_network(text):
    """Return the first part of a list of networks that is none, ``None`` if all are."""
    for part in split_list(text):
        try:
            ipaddress.ip_network(part, strict=False)
        except ValueError:
            return part
    return None


def no_network_message(env, part):
    return env._("Allowed Networks: %s is no network such as 203.0.113.0/24.", part)


def split_list(text):
    """Return the parts of a comma, space or newline separated list."""
    return tuple(part for part in re.split(r"[\s,;]+", text or "") if part)
