from odoo import api, models
from odoo.exceptions import AccessError, UserError


class BjApiSyncPreview(models.TransientModel):
    """What a preview may be of: what its user may read."""

    _inherit = "bj.api.sync.preview"

    @api.model_create_multi
    def create(self, vals_list):
        previews = super().create(vals_list)
        previews._check_sources()
        return previews

    def write(self, vals):
        result = super().write(vals)
        if {"config_id", "log_id"} & vals.keys():
            self._check_sources()
        return result

    def _check_sources(self):
        """Refuse a configuration or a logged request that the user may not read."""
        for preview in self:
            config, log = preview.config_id, preview.log_id
            config.check_access("read")
            log.check_access("read")
            if log and log.config_id != config:
                raise UserError(
                    self.env._(
                        "Log row %(log)s is not about %(config)s: take a request of its "
                        "own log.",
                        log=log.id,
                        config=config.name,
                    )
                )

    def _get_record(self):
        if self.is_pull:
            raise UserError(
                self.env._("A pull sends no record: use Test Connection or Pull Now.")
            )
        if not self.res_id:
            raise UserError(self.env._("Choose a record to preview."))
        record = self.env[self.model_name].browse(self.res_id).exists()
        if not record:
            raise UserError(
                self.env._("The record does not exist any more: choose another one.")
            )
        if not record.has_access("read"):
            raise AccessError(
                self.env._(
                    "You may not read the record %(id)s of %(model)s, so you may neither "
                    "preview nor send it: choose another one.",
                    id=record.id,
                    model=self.model_name,
                )
            )
        return record
