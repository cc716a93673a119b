from dataclasses import dataclass, replace

from odoo import SUPERUSER_ID, api, models
from odoo.exceptions import UserError

from .bj_api_sync_delivery import METHODS

TRIGGERS = "bj_api_sync.triggers"
KNOWN = "bj_api_sync.known_triggers"
ANSWERED = "bj_api_sync.answered"


@dataclass(frozen=True)
class Answered:
    """The delivery whose answer is being used, in this transaction."""

    config_id: int
    res_ids: tuple
    event: str


@dataclass(frozen=True)
class Trigger:
    """Who and when of a record that is to be sent; equal ones are read as a batch.

    The language is that of the configuration, see ``_for_config``.
    """

    event: str
    uid: int
    tz: str | None
    company_ids: tuple

    def _get_env(self, cr):
        context = {"tz": self.tz}
        if self.company_ids:
            context["allowed_company_ids"] = list(self.company_ids)
        return api.Environment(cr, self.uid, context, su=True)


class BjApiSyncOutbound(models.AbstractModel):
    """Triggers are gathered and written at the next flush of the transaction: at its end,
    and before and after each of its savepoints. So records that fire one by one, or
    several times, are read as one batch with their last values, and what is rolled back
    is not sent: Odoo drops what was gathered with the savepoint, PostgreSQL the rows.
    """

    _inherit = "bj.api.sync.outbound"

    @api.model
    def _trigger(self, config, records, event):
        """Have records sent by an Out configuration once this transaction is committed.

        :param str event: ``create``, ``write``, ``unlink`` or ``manual``; what an answer
            of this configuration has changed is ``answer``, whatever it was
        """
        config_sudo = config.sudo()
        self._check_records(config_sudo, records)
        if not config_sudo.active:
            return
        method = config_sudo.http_method_ids.name
        is_deletion = event == "unlink"
        answered = self.env.cr.postcommit.data.get(ANSWERED)
        if answered and answered.config_id == config.id:
            records = self._leave_out_answered(answered, method, records)
            event = "answer"
        if not records:
            return
        if is_deletion or method == "GET":
            # The record is about to go, so all that is known of it is written now, what
            # was triggered before first.
            self._flush_triggers()
            if method == "GET":
                self._enqueue_pull(config, records)
            else:
                self._enqueue(config, records, event)
            return
        trigger = self._get_trigger(event)
        gathered = self.env.cr.precommit.data.get(TRIGGERS)
        if gathered is None:
            gathered = self.env.cr.precommit.data[TRIGGERS] = {}
            env = api.Environment(self.env.cr, SUPERUSER_ID, {})
            self.env.cr.precommit.add(env[self._name]._flush_triggers)
        if config.id not in gathered:
            gathered[config.id] = {}
            config.invalidate_recordset(["delivery_ids"], flush=False)
        by_record = gathered[config.id]
        for record_id in records.ids:
            known = by_record.get(record_id)
            # What began as a creation stays one, whatever is written to it afterwards.
            by_record[record_id] = (
                replace(trigger, event="create")
                if known and known.event == "create"
                else trigger
            )

    @api.model
    def _leave_out_answered(self, answered, method, records):
        """Return those of ``records`` that the configuration sends because of its answer.

        Not the record that was answered, which would answer its own answer for ever. Nor
        any once it is an answer already that had the delivery made: two records whose
        answers change each other would not end either. A GET that has an item written
        does not ask for that item again.
        """
        if answered.event == "answer" or method == "GET":
            return records.browse()
        return records.filtered(lambda record: record.id not in answered.res_ids)

    @api.model
    def _get_trigger(self, event):
        # A rule runs its action once a record, each time in a new environment, which would
        # look for the companies anew.
        context = self.env.context
        known = self.env.cr.precommit.data.setdefault(KNOWN, {})
        key = (
            event,
            self.env.uid,
            context.get("tz"),
            tuple(context.get("allowed_company_ids") or ()),
        )
        if key not in known:
            known[key] = Trigger(
                event,
                self.env.uid,
                context.get("tz") or self.env.user.tz or None,
                # The current one first: that is what it is taken for later.
                (self.env.company | self.env.companies)._ids,
            )
        return known[key]

    @api.model
    def _flush_triggers(self):
        """Write the deliveries that were triggered since the last flush."""
        self.env.cr.precommit.data.pop(KNOWN, None)
        gathered = self.env.cr.precommit.data.pop(TRIGGERS, None)
        if not gathered:
            return
        configs = self.env["bj.api.sync.config"].sudo().browse(gathered).exists()
        # A record is created on the other side before it is updated there.
        ranks = {c.id: METHODS.index(c.http_method_ids.name) for c in configs}
        groups = {}
        for config in configs:
            for record_id, trigger in gathered[config.id].items():
                groups.setdefault((config.id, trigger), []).append(record_id)
        for (config_id, trigger), record_ids in sorted(
            groups.items(), key=lambda group: ranks[group[0][0]]
        ):
            env = trigger._get_env(self.env.cr)
            config = configs.browse(config_id).with_env(env)
            records = env[config.model_name].browse(record_ids).exists()
            env[self._name]._enqueue(config, records, trigger.event)

    @api.model
    def _check_records(self, config_sudo, records):
        if config_sudo.request_type != "out":
            raise UserError(
                self.env._(
                    "%(config)s serves calls and sends nothing: choose a configuration "
                    "whose Request Type is Out.",
                    config=config_sudo.name,
                )
            )
        if records._name != config_sudo.model_name:
            raise UserError(
                self.env._(
                    "%(config)s sends %(expected)s, not %(got)s.",
                    config=config_sudo.name,
                    expected=config_sudo.model_name,
                    got=records._name,
                )
            )
