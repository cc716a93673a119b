from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError, ValidationError

from ..tools import cron_state, dry_run
from ..tools.script_state import running


class IrActionsServer(models.Model):
    _inherit = "ir.actions.server"

    state = fields.Selection(
        selection_add=[("bj_api_sync", "Send with BJ API"), ("multi",)],
        ondelete={"bj_api_sync": lambda actions: actions._delete_with_holders()},
    )
    bj_api_config_id = fields.Many2one(
        "bj.api.sync.config",
        string="API Configuration",
        domain="[('request_type', '=', 'out'), ('model_id', '=', model_id)]",
        ondelete="cascade",
        index="btree_not_null",
    )
    bj_api_trigger = fields.Char(
        string="Runs",
        compute="_compute_bj_api_trigger",
        help="What makes this action run.",
    )

    @api.depends("usage", "binding_model_id", "base_automation_id")
    def _compute_bj_api_trigger(self):
        crons = self.env["ir.cron"].sudo().with_context(active_test=False)
        by_action = {
            cron.ir_actions_server_id.id: cron
            for cron in crons.search([("ir_actions_server_id", "in", self.ids)])
        }
        for action in self:
            cron = by_action.get(action.id)
            rule = action.base_automation_id
            if cron:
                action.bj_api_trigger = self._describe_interval(cron)
            elif rule:
                trigger = dict(rule._fields["trigger"]._description_selection(self.env))
                action.bj_api_trigger = trigger.get(rule.trigger, rule.trigger)
            elif action.binding_model_id:
                action.bj_api_trigger = self.env._("Action menu")
            else:
                action.bj_api_trigger = self.env._("Called by other actions")

    def _describe_interval(self, cron):
        if cron.interval_number == 1:
            return {
                "minutes": self.env._("Every minute"),
                "hours": self.env._("Every hour"),
                "days": self.env._("Every day"),
                "weeks": self.env._("Every week"),
                "months": self.env._("Every month"),
            }[cron.interval_type]
        units = dict(cron._fields["interval_type"]._description_selection(self.env))
        return self.env._(
            "Every %(number)s %(unit)s",
            number=cron.interval_number,
            unit=units[cron.interval_type].lower(),
        )

    @api.depends("bj_api_config_id.name")
    def _compute_name(self):
        super()._compute_name()
        for action in self:  # actions of rules are named by what they do
            config = action.bj_api_config_id.sudo()
            if action.state == "bj_api_sync" and action.base_automation_id and config:
                action.name = self.env._("Send: %s", config.name)

    @api.constrains("state", "bj_api_config_id", "model_id", "base_automation_id")
    def _check_bj_api_config(self):
        for action in self.filtered(lambda action: action.state == "bj_api_sync"):
            config = action.bj_api_config_id.sudo()
            if not config:
                raise ValidationError(
                    self.env._("%s: choose an API Configuration.", action.name)
                )
            if config.request_type != "out" or config.model_id != action.model_id:
                raise ValidationError(
                    self.env._(
                        "%(action)s: %(config)s is no Out configuration of %(model)s.",
                        action=action.name,
                        config=config.name,
                        model=action.model_id.name,
                    )
                )
            if action.base_automation_id.trigger == "on_change":
                raise ValidationError(self._get_onchange_message())

    def _get_onchange_message(self):
        return self.env._(
            "A rule on UI changes cannot send: the record is not saved yet. Use a rule "
            "on save."
        )

    def _run_action_code_multi(self, eval_context):
        with running():  # its rows in our log are a script's, whoever it runs as
            return super()._run_action_code_multi(eval_context)

    def _run_action_webhook(self, eval_context=None):
        # 18.0 sends it at once and does not wait for the commit.
        if dry_run.is_marked():
            return None
        return super()._run_action_webhook(eval_context)

    def _run_action_bj_api_sync_multi(self, eval_context=None):
        """Have the records sent after the commit; without any, do a scheduled run."""
        config = self.bj_api_config_id
        if self.env.context.get("onchange_self") is not None:
            raise UserError(self._get_onchange_message())
        records = eval_context.get("records") or eval_context.get("record")
        if not records:
            if self._is_run_of_all(eval_context["env"]):
                config.with_env(self._get_schedule_env())._run_schedule()
            return False
        if not all(isinstance(record_id, int) for record_id in records._ids):
            raise UserError(self._get_onchange_message())
        # Odoo leaves that to the groups of an action that has some.
        records.with_env(eval_context["env"]).check_access("read")
        self.env["bj.api.sync.outbound"]._trigger(config, records, self._get_event())
        if "__action_done" in self.env.context or self.base_automation_id:
            return False
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "message": self.env._(
                    "%(count)s records will be sent by %(config)s.",
                    count=len(records),
                    config=config.name,
                ),
                "type": "success",
                "next": {"type": "ir.actions.act_window_close"},
            },
        }

    def _is_run_of_all(self, env):
        """Tell whether a call without records means all that a scheduled run sends.

        A scheduled action does, and a call that has nothing to do with records: a run
        reads and sends as superuser, so that one is for who may press Send Now.

        :param env: the caller's environment
        :raise AccessError: a caller who may not
        """
        if "active_ids" in env.context or "active_id" in env.context:
            return False  # none was chosen, or those of another model
        if cron_state.get_cron_id():
            return True
        config = env["bj.api.sync.config"].browse(self.bj_api_config_id.id)
        if not config.has_access("write"):
            raise AccessError(
                env._(
                    "%(action)s was called without a record, which begins a whole "
                    "scheduled run. Choose the records to be sent; only a scheduled "
                    "action or an API Manager begins such a run.",
                    action=self.name,
                )
            )
        return True

    def _get_event(self):
        """Return what has happened to the records, as far as the caller lets us know."""
        trigger = self.base_automation_id.trigger
        if not trigger:
            return "manual"
        if trigger == "on_unlink":
            return "unlink"
        # base.automation gives the old values of an update, and None for a creation.
        if trigger == "on_create" or (
            "old_values" in self.env.context and self.env.context["old_values"] is None
        ):
            return "create"
        return "write"

    def _get_schedule_env(self):
        names = ("cron_id", "ir_cron_progress_id", "lastcall", "tz", "lang")
        context = self.env.context
        return self.env(
            context={name: context[name] for name in names if name in context}
        )

    def _delete_with_holders(self):
        """Delete actions whose state goes away with the addon, and what is made of them.

        A scheduled action is its server action and would keep it from being deleted.
        """
        crons = self.env["ir.cron"].with_context(active_test=False)
        crons.search([("ir_actions_server_id", "in", self.ids)]).unlink()
        rules = self.base_automation_id
        self.exists().unlink()
        rules.filtered(lambda rule: not rule.action_server_ids).unlink()
