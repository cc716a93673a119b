import shlex
from datetime import timedelta
from urllib.parse import urlsplit

from odoo import api, fields, models

from ..compat import may_read
from ..tools import example, payload
from ..tools.message import Call
from .bj_api_sync_config import MAX_DEPTH

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class BjApiSyncConfig(models.Model):
    """What the screens show about a configuration, and the buttons on them."""

    _inherit = "bj.api.sync.config"

    log_count = fields.Integer(string="Calls in 24 h", compute="_compute_health")
    error_count = fields.Integer(
        string="Errors in 24 h",
        compute="_compute_health",
        search="_search_error_count",
    )
    last_success_date = fields.Datetime(
        string="Last Success", compute="_compute_health"
    )
    is_run_as_admin = fields.Boolean(compute="_compute_warnings")
    is_public = fields.Boolean(compute="_compute_warnings")
    is_plain_http = fields.Boolean(compute="_compute_warnings")
    has_short_token = fields.Boolean(compute="_compute_warnings")
    has_no_token = fields.Boolean(compute="_compute_warnings")
    has_empty_header = fields.Boolean(compute="_compute_warnings")
    has_no_credential = fields.Boolean(compute="_compute_warnings")
    can_edit_scripts = fields.Boolean(compute="_compute_can_edit_scripts")
    is_get = fields.Boolean(compute="_compute_is_get")
    is_delete = fields.Boolean(compute="_compute_is_get")
    lang_count = fields.Integer(compute="_compute_lang_count")
    mapping_use_count = fields.Integer(
        string="Used By", compute="_compute_mapping_use_count"
    )
    curl_get = fields.Char(string="Read", compute="_compute_curl")
    curl_post = fields.Char(string="Write", compute="_compute_curl")

    def _compute_health(self):
        since = fields.Datetime.now() - timedelta(days=1)
        logs = self.env["bj.api.log"]
        recent = {}
        for config, status, count in logs._read_group(
            [("config_id", "in", self.ids), ("timestamp", ">=", since)],
            ["config_id", "status"],
            ["__count"],
        ):
            recent[config.id, status] = count
        last = dict(
            logs._read_group(
                [("config_id", "in", self.ids), ("status", "=", "success")],
                ["config_id"],
                ["timestamp:max"],
            )
        )
        for config in self:
            config.log_count = sum(
                count
                for (config_id, _s), count in recent.items()
                if config_id == config.id
            )
            config.error_count = recent.get((config.id, "error"), 0)
            config.last_success_date = last.get(config, False)

    @api.model
    def _search_error_count(self, operator, value):
        if (operator, value) != (">", 0):
            raise NotImplementedError
        since = fields.Datetime.now() - timedelta(days=1)
        failed = self.env["bj.api.log"]._search(
            [("status", "=", "error"), ("timestamp", ">=", since)]
        )
        return [("id", "in", failed.subselect("config_id"))]

    @api.depends_context("uid")
    def _compute_can_edit_scripts(self):
        self.can_edit_scripts = self.env.user._is_system()

    @api.depends("request_type", "http_method_ids")
    def _compute_is_get(self):
        for config in self:
            methods = config.http_method_ids.mapped("name")
            config.is_get = config.request_type == "out" and methods == ["GET"]
            config.is_delete = config.request_type == "out" and methods == ["DELETE"]

    @api.depends(
        "request_type",
        "http_method_ids",
        "endpoint",
        "auth_type",
        "user_id",
        "url",
        "bearer_token",
        "header_ids.is_secret",
        "header_ids.value_clear",
        "header_ids.value_secret",
        "token_ids.active",
        "token_ids.expiry_date",
        "token_ids.is_short",
    )
    def _compute_warnings(self):
        for config in self:
            served = config.request_type == "in" and bool(config.endpoint)
            config_sudo = config.sudo()  # secrets are for managers only
            user_sudo = config_sudo.user_id
            config.is_run_as_admin = (served or config.is_get) and user_sudo.has_group(
                "base.group_system"
            )
            config.is_public = (
                served and config.auth_type == "none" and not config.header_ids
            )
            # Shut, and not open: nothing matches a value that is not there.
            config.has_empty_header = served and not all(
                header._has_value() for header in config_sudo.header_ids._origin
            )
            address = config.get_base_url() if served else config.url
            parts = urlsplit(address or "") if served or config.url else None
            config.is_plain_http = bool(
                parts and parts.scheme == "http" and parts.hostname not in LOOPBACK
            )
            tokens = config.token_ids.filtered(lambda token: token.state == "valid")
            needs_token = served and config.auth_type == "bearer"
            config.has_short_token = needs_token and any(tokens.mapped("is_short"))
            config.has_no_token = bool(needs_token and config._origin and not tokens)
            config.has_no_credential = (
                config.request_type == "out"
                and config.auth_type == "bearer"
                and not config_sudo.bearer_token
                and not any(h._is_secret() for h in config_sudo.header_ids)
            )

    def _compute_lang_count(self):
        self.lang_count = len(self.env["res.lang"].get_installed())

    def _compute_mapping_use_count(self):
        lines = self.env["bj.api.sync.config.line"]
        found = dict(
            lines._read_group(
                [("mapping_config_id", "in", self.ids)],
                ["mapping_config_id"],
                ["config_id:count_distinct"],
            )
        )
        for config in self:
            config.mapping_use_count = found.get(config._origin, 0)

    def _compute_curl(self):
        for config in self:
            config.curl_get = config.curl_post = False
            saved = config._origin
            if not saved.endpoint_url:
                continue
            methods = saved.http_method_ids.mapped("name")
            head = " ".join(["curl", *saved._get_curl_credentials()])
            if "GET" in methods:
                url = shlex.quote(f"{saved.endpoint_url}?limit=1")
                config.curl_get = f"{head} {url}"
            if "POST" in methods:
                body = shlex.quote(payload.dumps(saved._get_example()).decode())
                config.curl_post = (
                    f"{head} -H 'Content-Type: application/json' -d {body} "
                    f"{shlex.quote(saved.endpoint_url)}"
                )

    def _get_curl_credentials(self):
        self.ensure_one()
        options = []
        if self.auth_type == "bearer":
            options.append("-H 'Authorization: Bearer TOKEN'")
        elif self.auth_type == "basic":
            options.append(f"-u {shlex.quote(self.auth_login or 'LOGIN')}:PASSWORD")
        options += [
            f"-H {shlex.quote(f'{header.name}: VALUE')}" for header in self.header_ids
        ]
        return options

    def _get_example(self):
        """Return a payload that a POST could take."""
        self.ensure_one()
        plans = {}
        waiting = [self.id]
        while waiting:
            config_id = waiting.pop()
            plan = plans[config_id] = self._get_plan(config_id)
            waiting += [
                rule.mapping_config_id
                for rule in plan.rules
                if rule.is_relational and rule.mapping_config_id not in plans
            ]
        sample = example.create(plans[self.id], plans)
        self._put_real_references(plans, plans[self.id], sample)
        return sample

    def _put_real_references(self, plans, plan, sample, depth=0):
        """Name related records that exist, so that the example can be sent as it is."""
        reader = self.env["bj.api.sync.reader"]
        for rule in plan.writable:
            *parents, last = rule.key_path
            inner = sample
            for step in parents:
                inner = inner.get(step, {})
            if not rule.is_relational or last not in inner:
                continue
            nested = plans[rule.mapping_config_id]
            found = inner[last][0] if rule.is_x2many else inner[last]
            if isinstance(found, dict):
                if depth < MAX_DEPTH:
                    self._put_real_references(plans, nested, found, depth + 1)
                continue
            name = nested.identifier.field_path
            model = self.env[nested.model]
            # As whoever looks at it: the example names only what he may read.
            record = model.has_access("read") and may_read(model, model._fields[name])
            record = record and model.search([(name, "!=", False)], limit=1)
            if record:
                call = Call(self.id, "in", "POST")
                [found] = reader._read_identifiers(nested, record, call)
                inner[last] = [found] if rule.is_x2many else found

    # -- buttons ---------------------------------------------------------------------

    def action_generate_token(self):
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Generate Token"),
            "res_model": "bj.api.sync.wizard.token",
            "views": [(False, "form")],
            "target": "new",
            "context": {"default_config_id": self.id},
        }

    def action_open_preview(self):
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Preview: %s", self.name),
            "res_model": "bj.api.sync.preview",
            "views": [(False, "form")],
            "target": "new",
            "context": {"default_config_id": self.id, "dialog_size": "extra-large"},
        }

    def action_open_logs(self):
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "bj_api_sync.bj_api_log_action"
        )
        return {
            **action,
            "domain": [("config_id", "=", self.id)],
            "context": {"search_default_last_day": 1},
        }

    def action_open_errors(self):
        action = self.action_open_logs()
        action["context"]["search_default_error"] = 1
        return action

    def action_open_failed_deliveries(self):
        action = self.action_open_deliveries()
        return {**action, "context": {"search_default_failed": 1}}

    def action_open_tokens(self):
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "bj_api_sync.bj_api_sync_token_action"
        )
        return {**action, "domain": [("config_id", "=", self.id)]}

    def action_open_users_of_mapping(self):
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Used By"),
            "res_model": self._name,
            "domain": [("line_ids.mapping_config_id", "=", self.id)],
            "views": [(False, "list"), (False, "form")],
        }


class BjApiSyncConfigLine(models.Model):
    _inherit = "bj.api.sync.config.line"

    can_edit_scripts = fields.Boolean(related="config_id.can_edit_scripts")
