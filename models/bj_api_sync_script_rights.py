from contextlib import contextmanager

from odoo import api, models
from odoo.exceptions import AccessError

from .bj_api_sync_config import SCRIPTS
from .bj_api_sync_config_line import SCRIPTS as LINE_SCRIPTS


class BjApiSyncConfig(models.Model):
    """A script stays what a Settings administrator has made it.

    Not only its text: as whom it runs, on which model, in which company and direction,
    and whether a line uses it at all. Who is none may change all else around it.
    """

    _inherit = "bj.api.sync.config"

    @api.model_create_multi
    def create(self, vals_list):
        configs = super().create(vals_list)
        if not self._may_change_scripts():
            configs._refuse_new_runs(set())
        return configs

    def write(self, vals):
        with self._keeping_scripts():
            return super().write(vals)

    @api.model
    def _may_change_scripts(self):
        return self.env.su or self.env.user._is_system()

    @contextmanager
    def _keeping_scripts(self):
        """Refuse a change by which a script would run otherwise, or as somebody else."""
        if self._may_change_scripts():
            yield
            return
        before = set((self | self._get_ancestors())._get_script_runs())
        yield
        (self | self._get_ancestors())._refuse_new_runs(before)

    def _filter_usable(self):
        """Return those that the user may have used as mapping models."""
        if self._may_change_scripts():
            return self
        return self.filtered(lambda config: not config._get_script_runs())

    def _refuse_new_runs(self, before):
        for run, (config, name) in self._get_script_runs().items():
            if run not in before:
                raise AccessError(
                    self.env._(
                        "%(config)s: a script (%(script)s) would run as another user, "
                        "elsewhere or in another way: Run As, Company, Model, Request "
                        "Type, GET or not, and of its line Configuration, Value "
                        "Calculation Type, Script Evaluation Mode and Access. Only "
                        "Settings administrators can change these, or have a Mapping "
                        "Model with a script used.",
                        config=config.name,
                        script=name,
                    )
                )

    def _get_script_runs(self):
        """Return ``{run: (configuration, name)}`` of each script that these run.

        ``run`` says all that decides what the script does and as whom.
        """
        runs = {}
        for config in self.sudo():
            methods = config.http_method_ids.mapped("name")
            is_as_user = config.request_type == "in" or methods == ["GET"]
            way = (
                config.id,
                config.request_type,
                config.model_id.id,
                config.company_id.id,
                config.user_id.id if is_as_user else 0,
            )
            for name in filter(config.__getitem__, SCRIPTS):
                label = config._fields[name]._description_string(self.env)
                runs[way, name] = config, label
            for line in config._get_lines_below():
                for name in filter(line.__getitem__, LINE_SCRIPTS):
                    runs[way, name, line._get_script_way()] = config, line.api_key
        return runs

    def _get_lines_below(self):
        """Return the lines of this configuration and of its mapping models, all levels."""
        found, level = self.browse(), self
        while level:
            found |= level
            lines = level.line_ids.filtered(
                lambda line: line.value_type == "relational_mapping"
            )
            level = lines.mapping_config_id - found
        return found.line_ids


class BjApiSyncConfigLine(models.Model):
    _inherit = "bj.api.sync.config.line"

    @api.model_create_multi
    def create(self, vals_list):
        config_ids = {vals.get("config_id") for vals in vals_list}
        configs = self.config_id.browse(filter(None, config_ids)).exists()
        with configs._keeping_scripts():
            return super().create(vals_list)

    def write(self, vals):
        configs = self.config_id | self.config_id.browse(vals.get("config_id") or ())
        with configs._keeping_scripts():
            return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_unless_script(self):
        if self.config_id._may_change_scripts():
            return
        for line in self.sudo():
            if any(line[name] for name in LINE_SCRIPTS):
                raise AccessError(
                    self.env._(
                        'Line "%(line)s" of %(config)s has a script: only Settings '
                        "administrators can delete it. The whole configuration can be "
                        "archived or deleted.",
                        line=line.api_key,
                        config=line.config_id.name,
                    )
                )

    def _get_script_way(self):
        """Return what decides what the scripts of this line do, their text apart."""
        return (
            self.id,
            self.config_id.id,
            self.config_id.model_id.id,
            self.value_type,
            self.script_mode,
            self.access,
        )
