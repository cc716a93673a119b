from contextlib import contextmanager

from odoo import api, fields, models

from ..tools import url as url_tools
from .bj_api_sync_config import SECRETS


class BjApiSyncConfig(models.Model):
    """Stored credentials are for the address that they were typed for.

    Whoever may change the Request URL, but is no Settings administrator, would have them
    sent to himself: a change of scheme, host or port drops them.
    """

    _inherit = "bj.api.sync.config"

    drops_secrets = fields.Boolean(compute="_compute_drops_secrets")

    @api.depends("url", "request_type")
    @api.depends_context("uid")
    def _compute_drops_secrets(self):
        may_keep = self._may_keep_secrets()
        for config in self:
            saved = config._origin
            config.drops_secrets = bool(
                not may_keep
                and saved.request_type == "out"
                and saved._is_other_address(config.url)
                and saved._has_sent_secrets()
            )

    def write(self, vals):
        if "url" in vals and not self._may_keep_secrets():
            # Before the write: what it brings is typed for the new address.
            self.filtered(
                lambda config: (
                    config.request_type == "out"
                    and config._is_other_address(vals["url"])
                )
            )._drop_secrets()
        return super().write(vals)

    @api.model
    def _may_keep_secrets(self):
        return self.env.su or self.env.user._is_system()

    def _is_other_address(self, url):
        return url_tools.get_address(self.url) != url_tools.get_address(url)

    def _has_sent_secrets(self):
        config_sudo = self.sudo()
        return any(
            [
                *(config_sudo[column] for column in SECRETS.values()),
                *config_sudo.header_ids.mapped("value_secret"),
                *config_sudo.param_ids.mapped("value_secret"),
            ]
        )

    @api.model
    @contextmanager
    def _watching_hosts(self):
        """Drop the credentials of configurations whose host is made of other data now.

        For a change of lines: they say what the placeholders of a host stand for.
        """
        if self._may_keep_secrets():
            yield
            return
        before = self._get_host_sources()
        yield
        for config, sources in self._get_host_sources().items():
            if sources != before.get(config, sources):
                config._drop_secrets()

    @api.model
    def _get_host_sources(self):
        """Return ``{configuration: lines}`` where the host of an Out one is made of them."""
        configs = self.sudo().with_context(active_test=False)
        configs = configs.search([("request_type", "=", "out"), ("url", "like", "{")])
        return {
            config: frozenset(
                source
                for path in url_tools.get_host_keys(config.url)
                for source in config._get_sources(path, frozenset())
            )
            for config in configs
        }

    def _get_sources(self, path, above):
        """Yield what each line says that gives the value at a path of the payload."""
        for line in self.line_ids:
            key = tuple((line.api_key or "").split("."))
            shared = min(len(key), len(path))
            if key[:shared] != path[:shared]:
                continue
            nested = line.mapping_config_id
            yield (
                *key, line.field_path, line.value_type, line.access, nested.id,
                line.constant_value, line.script, line.script_mode,
            )  # fmt: skip
            if nested and nested not in above:
                yield from nested._get_sources(path[shared:], {*above, nested})


class BjApiSyncConfigLine(models.Model):
    _inherit = "bj.api.sync.config.line"

    @api.model_create_multi
    def create(self, vals_list):
        with self.config_id._watching_hosts():
            return super().create(vals_list)

    def write(self, vals):
        with self.config_id._watching_hosts():
            return super().write(vals)

    def unlink(self):
        with self.config_id._watching_hosts():
            return super().unlink()


class BjApiSyncSecretValue(models.AbstractModel):
    _inherit = "bj.api.sync.secret.value"

    def write(self, vals):
        if (
            "config_id" in vals
            and not self.env["bj.api.sync.config"]._may_keep_secrets()
        ):
            moved = self.filtered(lambda value: value.config_id.id != vals["config_id"])
            moved._drop_secrets()
        return super().write(vals)
