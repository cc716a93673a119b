from datetime import timedelta

from odoo import SUPERUSER_ID, fields, models

from ..tools import field_reads
from .bj_api_sync_config_line import MAGIC_FIELDS


class BjApiSyncConfig(models.Model):
    """The buttons that make what triggers an Out configuration."""

    _inherit = "bj.api.sync.config"

    def action_create_rule(self):
        """Create an automation rule that sends each record that is saved or deleted."""
        self.ensure_one()
        self.check_access("write")
        self._check_is_out()
        is_delete = self.http_method_ids.name == "DELETE"
        # Without trigger fields a rule fires for every recomputation of the record.
        watched = self._get_watched_fields()
        triggers = (
            self.env["ir.model.fields"]
            .sudo()
            .search([("model", "=", self.model_name), ("name", "in", watched)])
        )
        rule = self._as_maker("base.automation").create(
            {
                "name": self.name,
                "model_id": self.model_id.id,
                "trigger": "on_unlink" if is_delete else "on_create_or_write",
                "trigger_field_ids": [] if is_delete else [(6, 0, triggers.ids)],
            }
        )
        # Not by a command of the rule, which Odoo carries out with the caller's rights.
        self._as_maker("ir.actions.server").create(
            {
                **self._prepare_server_action(),
                "usage": "base_automation",
                "base_automation_id": rule.id,
            }
        )
        return self._open(rule)

    def _get_watched_fields(self):
        """Return the names of the fields whose change may change what is sent.

        Those of the lines, those that scripts read as far as their text tells, and those
        of the Filter Domain and the Company, which let a record in. A rule does not see
        a field change that is computed each time it is read, but what it depends on.
        """
        self.ensure_one()
        config_sudo = self.sudo()  # whoever may edit it may not read scripts
        names = set(field_reads.of_domain(self._get_send_domain()))
        names |= field_reads.of_script(config_sudo.request_script)
        for line in config_sudo.line_ids:
            names.add((line.field_path or "").split(".")[0])
            if line.value_type in ("python_plain", "python_relational"):
                names |= field_reads.of_script(line.script)
        known = self.env[self.model_name]._fields
        depends = self.env.registry.field_depends
        found, waiting = set(), names
        while waiting:
            name = waiting.pop()
            if name in known and name not in found:
                found.add(name)
                if known[name].compute and not known[name].store:
                    paths = depends.get(known[name], ())
                    waiting |= {path.split(".")[0] for path in paths}
        return sorted(found - set(MAGIC_FIELDS))

    def action_create_cron(self):
        """Create a scheduled action that sends, or pulls, once a day.

        The first run is a day ahead: it sends all that matches, and a click that only
        opens a form to be filled in must not do that.
        """
        self.ensure_one()
        self.check_access("write")
        self._check_is_out()
        cron = self._as_maker("ir.cron").create(
            {
                **self._prepare_server_action(),
                "interval_number": 1,
                "interval_type": "days",
                "nextcall": fields.Datetime.now() + timedelta(days=1),
                "user_id": self.env.uid,
            }
        )
        return self._open(cron)

    def action_create_server_action(self):
        """Put "Send" into the Action menu of the model's records."""
        self.ensure_one()
        self.check_access("write")
        self._check_is_out()
        actions = self._as_maker("ir.actions.server")
        action = actions.create(self._prepare_server_action())
        action.create_action()
        return self._open(action)

    def _prepare_server_action(self):
        return {
            "name": self.env._("Send: %s", self.name)
            if self.http_method_ids.name != "GET"
            else self.env._("Pull: %s", self.name),
            "model_id": self.model_id.id,
            "state": "bj_api_sync",
            "bj_api_config_id": self.id,
        }

    def _as_maker(self, model_name):
        """Return a model in which what is made has no default of the caller's.

        Its context and personal defaults would put code or a condition in.
        """
        context = {"lang": self.env.lang}
        return self.env(user=SUPERUSER_ID, su=True, context=context)[model_name]

    def _open(self, record):
        record = record.with_env(self.env)
        if not record.has_access("read"):
            return self._notify(
                self.env._(
                    "%s was created. Settings administrators can open and change it.",
                    record.sudo().display_name,
                )
            )
        return {
            "type": "ir.actions.act_window",
            "res_model": record._name,
            "res_id": record.id,
            "views": [(False, "form")],
        }
