import json
import uuid

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools import mapping, pagination
from .bj_api_log_ui import can_open, pretty, summary
from .bj_api_sync_delivery import NOW, delete_in_batches
from .bj_api_sync_delivery_buttons import STEP_ROWS
from .bj_api_sync_trigger import ANSWERED

OPEN = ("pending", "failed")
KEEP_DAYS = {"done": 7, "ignored": 7, "failed": 90}
MAX_NAME = 200  # characters of an identifier that serves as the name of an event


class BjApiSyncEvent(models.Model):
    """The inbox: what came from another system and could not be written yet.

    An item is there once, however often it fails, so the newest JSON of it is what is
    processed; a later pull that writes it closes its event.
    """

    _name = "bj.api.sync.event"
    _inherit = ["bj.api.sync.progress"]
    _description = "API Event"
    _order = "id desc"
    _rec_name = "source_event"

    uuid = fields.Char(
        string="UUID",
        required=True,
        readonly=True,
        index=True,
        copy=False,
        default=lambda self: str(uuid.uuid4()),
    )
    config_id = fields.Many2one(
        "bj.api.sync.config",
        string="Configuration",
        required=True,
        readonly=True,
        ondelete="cascade",
        index=True,
    )
    company_id = fields.Many2one(
        related="config_id.company_id", store=True, readonly=True
    )
    source_event = fields.Char(
        string="Item",
        required=True,
        readonly=True,
        help="The value of the record identifier, or a digest of an item without one.",
    )
    # As it came: it may hold secrets, and a masked one could not be written.
    body = fields.Text(
        string="JSON",
        required=True,
        readonly=True,
        groups="bj_api_sync.group_bj_api_manager",
    )
    body_pretty = fields.Text(
        string="Pretty JSON",
        compute="_compute_body_pretty",
        groups="bj_api_sync.group_bj_api_manager",
    )
    state = fields.Selection(
        [
            ("pending", "Pending"),
            ("failed", "Failed"),
            ("ignored", "Ignored"),
            ("done", "Done"),
            ("stale", "Stale"),
        ],
        required=True,
        readonly=True,
        default="pending",
        index=True,
    )
    attempt_count = fields.Integer(
        string="Attempts", readonly=True, default=0, aggregator=None
    )
    last_error = fields.Text(readonly=True)
    error_summary = fields.Char(string="Error", compute="_compute_error_summary")
    model = fields.Char(readonly=True)
    res_ids = fields.Json(string="Record IDs", readonly=True)
    has_record = fields.Boolean(compute="_compute_has_record")
    received_date = fields.Datetime(
        string="Received On", readonly=True, default=fields.Datetime.now
    )
    delivery_id = fields.Many2one(
        "bj.api.sync.delivery",
        string="Page",
        readonly=True,
        ondelete="set null",
        index="btree_not_null",
        help="The delivery whose answer had the item last.",
    )

    _sql_constraints = [
        (
            "source_event_unique",
            "UNIQUE(config_id, source_event)",
            "A configuration has an item only once.",
        )
    ]

    @api.depends("body")
    def _compute_body_pretty(self):
        for event in self:
            event.body_pretty = pretty(event.body)

    @api.depends("last_error")
    def _compute_error_summary(self):
        for event in self:
            event.error_summary = summary(event.last_error)

    @api.depends("model", "res_ids")
    def _compute_has_record(self):
        for event in self:
            event.has_record = bool(
                event.res_ids
                and event.model in self.env
                and can_open(self.env[event.model].browse(event.res_ids))
            )

    # -- buttons -----------------------------------------------------------------------

    def action_process_again(self, progress=None):
        """Write the items with the configuration as it is now, by the same rights."""
        self._check_operator()
        return self._in_steps(
            "action_process_again",
            lambda events: events._process(),
            lambda counts: self._notify(
                self._describe_processed(counts), is_good=not counts["failed"]
            ),
            progress,
            size=STEP_ROWS,
        )

    def action_ignore(self, progress=None):
        """Let open items be: they are not counted any more, unless they change."""
        self._check_operator()

        def ignore(events):
            waiting = events.sudo().filtered(lambda event: event.state in OPEN)
            waiting.write({"state": "ignored"})
            return {"count": len(waiting)}

        return self._in_steps(
            "action_ignore",
            ignore,
            lambda counts: self._notify(
                self.env._("%(count)s items are ignored.", count=counts["count"])
            ),
            progress,
            size=STEP_ROWS,
        )

    def action_open_record(self):
        """Open what became of the items, of one model at a time."""
        written = self.filtered("has_record")
        model = written[:1].model
        ids = [i for event in written if event.model == model for i in event.res_ids]
        if not ids:
            return self._notify(
                self.env._("None of these items has become a record yet."),
                is_good=False,
            )
        action = {"type": "ir.actions.act_window", "res_model": model}
        if len(ids) == 1:
            return {**action, "res_id": ids[0], "views": [(False, "form")]}
        return {
            **action,
            "name": self.env._("Written Items"),
            "domain": [("id", "in", ids)],
            "views": [(False, "list"), (False, "form")],
        }

    def _describe_processed(self, counts):
        message = self.env._(
            "%(done)s items were written, %(failed)s failed.",
            done=counts["done"],
            failed=counts["failed"],
        )
        if counts["left"]:
            left = self.env._(
                "%(count)s were left as they are: they have been written already.",
                count=counts["left"],
            )
            message = f"{message} {left}"
        return message

    def _check_operator(self):
        self.check_access("read")
        self.env["bj.api.sync.config"].check_access("write")

    def _notify(self, message, is_good=True):
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "message": message,
                "type": "success" if is_good else "warning",
                "next": {"type": "ir.actions.client", "tag": "soft_reload"},
            },
        }

    def _process(self):
        """Write the items again; return how many were written, failed and left.

        One that is done stays: what it holds may be older than what its record has.
        """
        done = 0
        waiting = self.sudo().filtered(lambda event: event.state in (*OPEN, "ignored"))
        for config, events in waiting.grouped("config_id").items():
            # The oldest first, as they came.
            events = events.sorted("id")
            outbound = self.env["bj.api.sync.outbound"].sudo()
            results = outbound._write_kept(
                config, [json.loads(event.body) for event in events]
            )
            for event, result in zip(events, results, strict=True):
                event._set_result(result)
                done += result.status != "error"
        return {
            "done": done,
            "failed": len(waiting) - done,
            "left": len(self) - len(waiting),
        }

    def _set_result(self, result):
        self.ensure_one()
        has_failed = result.status == "error"
        self.write(
            {
                "state": "failed" if has_failed else "done",
                "attempt_count": self.attempt_count + 1,
                "last_error": result.message if has_failed else False,
                "res_ids": self.res_ids if has_failed else [result.record_id],
            }
        )

    # -- pulls -------------------------------------------------------------------------

    @api.model
    def _keep(self, config, plan, claim, items, results):
        """Keep the items of a page that failed, and close the events of the others."""
        last = {}  # of an item that comes twice in a page its last result counts
        for item, result in zip(items, results, strict=True):
            last[get_source_event(plan, item)] = (item, result)
        failed, written = [], {}
        for name, (item, result) in last.items():
            if result.status == "error":
                failed.append((name, item, result))
            else:
                written[name] = result.record_id
        if failed:
            self._keep_failed(config, claim, failed)
        if written:
            self._close(config, written)
        self.invalidate_model()

    @api.model
    def _keep_failed(self, config, claim, failed):
        delivery_id = self.env["bj.api.sync.outbound"]._get_delivery_id(claim)
        # What was ignored stays so while it is the same.
        rows = [
            SQL(
                "(%s, %s, %s, %s, %s, %s, 'failed', 1, %s, '[]', %s, %s, %s, %s, 1)",
                str(uuid.uuid4()),
                config.id,
                config.company_id.id or None,
                name,
                json.dumps(item, ensure_ascii=False),
                result.message,
                config.model_name,
                NOW,
                NOW,
                NOW,
                delivery_id,
            )
            for name, item, result in failed
        ]
        self.env.cr.execute(
            SQL(
                """INSERT INTO bj_api_sync_event AS e
                       (uuid, config_id, company_id, source_event, body, last_error,
                        state, attempt_count, model, res_ids, received_date, create_date,
                        write_date, delivery_id, create_uid)
                   VALUES %s
                   ON CONFLICT (config_id, source_event) DO UPDATE SET
                       state = CASE WHEN e.state = 'ignored' AND e.body = EXCLUDED.body
                           THEN 'ignored' ELSE 'failed' END,
                       body = EXCLUDED.body, last_error = EXCLUDED.last_error,
                       attempt_count = e.attempt_count + 1, model = EXCLUDED.model,
                       received_date = EXCLUDED.received_date,
                       write_date = EXCLUDED.write_date,
                       delivery_id = EXCLUDED.delivery_id""",
                SQL(", ").join(rows),
            )
        )

    @api.model
    def _close(self, config, written):
        """Mark the events of items that were written now as done."""
        self.env.cr.execute(
            """UPDATE bj_api_sync_event e
               SET state = 'done', last_error = NULL,
                   res_ids = jsonb_build_array(v.res_id),
                   write_date = timezone('UTC', clock_timestamp())
               FROM unnest(%s::varchar[], %s::integer[]) AS v(name, res_id)
               WHERE e.config_id = %s AND e.source_event = v.name
                 AND e.state IN ('pending', 'failed', 'ignored')""",
            [list(written), list(written.values()), config.id],
        )

    @api.model
    def _count_open(self, config):
        """Return how many items of a configuration wait for somebody."""
        self.env.cr.execute(
            """SELECT count(*) FROM bj_api_sync_event
               WHERE config_id = %s AND state IN ('pending', 'failed')""",
            [config.id],
        )
        return self.env.cr.fetchone()[0]

    # -- housekeeping ------------------------------------------------------------------

    @api.autovacuum
    def _gc_events(self):
        """Delete what is over after 7 days, and what has failed after 90."""
        for state, days in KEEP_DAYS.items():
            delete_in_batches(
                self.env.cr,
                self._table,
                SQL(
                    """state = %s AND GREATEST(received_date, write_date)
                                      < %s - make_interval(days => %s)""",
                    state,
                    NOW,
                    days,
                ),
            )


class BjApiSyncOutbound(models.AbstractModel):
    _inherit = "bj.api.sync.outbound"

    @api.model
    def _write_kept(self, config, items):
        """Write items that were kept; return the result of each.

        What this changes does not trigger the configuration itself.
        """
        service = self.with_env(self._get_run_as_env(config))
        plan = self.env["bj.api.sync.config"]._get_plan(config.id)
        data = self.env.cr.postcommit.data
        before = data.get(ANSWERED)
        data[ANSWERED] = config.id
        try:
            results = service._write_pulled_rows(config, plan, items)
            service.env.flush_all()
            return results
        finally:
            data.pop(ANSWERED)
            if before:
                data[ANSWERED] = before


class BjApiSyncConfig(models.Model):
    _inherit = "bj.api.sync.config"

    event_open_count = fields.Integer(
        string="To Process", compute="_compute_event_open_count"
    )

    def _compute_event_open_count(self):
        groups = self.env["bj.api.sync.event"]._read_group(
            [("config_id", "in", self.ids), ("state", "in", OPEN)],
            ["config_id"],
            ["__count"],
        )
        counts = {config.id: count for config, count in groups}
        for config in self:
            config.event_open_count = counts.get(config._origin.id, 0)

    def action_open_events(self):
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "bj_api_sync.bj_api_sync_event_action"
        )
        return {
            **action,
            "domain": [("config_id", "in", self.ids)],
            "context": {"search_default_open": 1},
        }


def get_source_event(plan, item):
    """Return what names an item among those of its configuration.

    The value of the record identifier as it came, else a digest of the item.
    """
    if plan.identifier and isinstance(item, dict):
        value = mapping.take(item, plan.identifier.key_path)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            text = str(value).strip()
            if 0 < len(text) <= MAX_NAME:
                return text
    return f"sha256:{pagination.get_digest(item)}"
