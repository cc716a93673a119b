from odoo import api, fields, models
from odoo.exceptions import AccessError

from .bj_api_sync_config import SCRIPTS
from .bj_api_sync_config_line import SCRIPTS as LINE_SCRIPTS


class BjApiSyncGuarded(models.AbstractModel):
    """Fields that nobody, or only Settings administrators may write: they begin empty.

    What a creation leaves out Odoo takes from ``default_<field>`` in the context and from
    ``ir.default``, and anybody chooses both for himself.
    """

    _name = "bj.api.sync.guarded"
    _description = "API Guarded Fields"

    _settings_fields = ()  # code, which is for Settings administrators

    @api.model
    def default_get(self, fields_list):
        guarded = self._get_nobodys_fields()
        if not self.env.user._is_system():
            guarded |= set(self._settings_fields)
        return super().default_get(
            [name for name in fields_list if name not in guarded]
        )

    @api.model_create_multi
    def create(self, vals_list):
        if self.env.su:
            return super().create(vals_list)
        # 18.0 looks at the groups of fields in a write only.
        nobodys = self._get_nobodys_fields()
        for name in sorted({name for vals in vals_list for name in vals} & nobodys):
            raise AccessError(
                self.env._(
                    "%(model)s: nobody may write the field %(field)s. Leave it out.",
                    model=self._description,
                    field=name,
                )
            )
        records = super().create(vals_list)
        if not self.env.user._is_system():
            # What is stored, whichever way it has come in.
            records._refuse_scripts()
        return records

    @api.model
    def _get_nobodys_fields(self):
        return {
            name
            for name, field in self._fields.items()
            if field.groups == fields.NO_ACCESS
        }

    def _refuse_scripts(self):
        if any(
            record[name] for record in self.sudo() for name in self._settings_fields
        ):
            raise AccessError(
                self.env._("Scripts can be changed by Settings administrators only.")
            )


class BjApiSyncConfig(models.Model):
    _name = "bj.api.sync.config"
    _inherit = ["bj.api.sync.config", "bj.api.sync.guarded"]

    _settings_fields = SCRIPTS


class BjApiSyncConfigLine(models.Model):
    _name = "bj.api.sync.config.line"
    _inherit = ["bj.api.sync.config.line", "bj.api.sync.guarded"]

    _settings_fields = LINE_SCRIPTS


class BjApiSyncHeader(models.Model):
    _name = "bj.api.sync.header"
    _inherit = ["bj.api.sync.header", "bj.api.sync.guarded"]


class BjApiSyncParam(models.Model):
    _name = "bj.api.sync.param"
    _inherit = ["bj.api.sync.param", "bj.api.sync.guarded"]


class BjApiSyncToken(models.Model):
    _name = "bj.api.sync.token"
    _inherit = ["bj.api.sync.token", "bj.api.sync.guarded"]
