import json
import logging
import uuid
from dataclasses import dataclass, field
from datetime import datetime

from odoo import SUPERUSER_ID, api, fields, models
from odoo.exceptions import UserError
from odoo.modules import module
from odoo.tools import SQL

from ..tools import payload
from ..tools import url as url_tools

_logger = logging.getLogger("bj.api.delivery")

METHODS = ("POST", "PUT", "GET", "DELETE")  # the order within one transaction
KEEP_DAYS = {"delivered": 7, "superseded": 7, "cancelled": 7, "failed": 90}
VACUUM_BATCH = 10_000  # rows a statement, so that no vacuum holds locks for long
STEP_ROWS = 500  # that a button changes before it looks at the time
# Seconds a claimed delivery may wait for a free thread, and then for its settlement.
QUEUE_SECONDS = 10
SETTLE_SECONDS = 10
# Over connect and read timeout, for an answer that trickles; see Target.total_timeout.
TRICKLE_SECONDS = 10
NOW = SQL("timezone('UTC', clock_timestamp())")


@dataclass
class Row:
    """A delivery to be written: the columns that are not the same for all of them.

    ``record_ids`` are set for a batch only, ``res_id`` for a single record only.
    ``headers`` is the ciphertext of what a script changed, see ``Delivery.headers``;
    ``url_secret`` that of a URL which ``url`` shows masked. Without ``url`` there is no
    request: it could not be built, and ``error`` says why.
    """

    method: str
    url: str
    destination: str
    payload: str | None = None
    headers: str | None = None
    url_secret: str | None = None
    res_id: int | None = None
    record_ids: list | None = None
    error: str = ""
    failure: dict = field(default_factory=dict)  # more of the error, for its log row
    page_token: str | None = None
    sync_date: datetime | None = None
    pull_counts: dict | None = None
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    id: int = 0  # of the row to be changed, 0 for a new one

    @property
    def ids(self):
        return self.record_ids or ([self.res_id] if self.res_id else [])

    def _get_vals(self):
        return {
            "method": self.method,
            "url": self.url or None,
            "destination": self.destination,
            "payload": self.payload,
            "headers": self.headers,
            "url_secret": self.url_secret,
            "res_ids": self.ids,
            "res_id": self.res_id,
            "record_ids": self.record_ids,
            "state": "failed" if self.error else "pending",
            "last_error": self.error or None,
            "page_token": self.page_token,
            "sync_date": self.sync_date,
            "pull_counts": self.pull_counts,
        }


@dataclass(frozen=True)
class Claim:
    """A delivery that is ours to send, as plain values: threads may look at it."""

    id: int
    uuid: str
    config_id: int
    destination: str
    model: str
    res_ids: list
    event: str
    method: str
    url: str
    payload: str | None
    headers: str | None
    url_secret: str | None
    attempt_count: int
    attempts_before: int
    last_status_code: int | None
    user_id: int
    lang: str | None
    tz: str | None
    company_id: int | None
    page_token: str | None = None
    sync_date: datetime | None = None
    pull_counts: dict | None = None
    throttled_date: datetime | None = None
    answer: str | None = None

    @property
    def is_list_pull(self):
        """Whether it asks for a page of a list, and not for certain records."""
        return self.method == "GET" and not self.res_ids

    @property
    def body(self):
        return (self.payload or "").encode()


CLAIM_COLUMNS = tuple(Claim.__dataclass_fields__)


@dataclass(frozen=True)
class Settlement:
    """What became of one attempt: the next state of its delivery.

    ``wait`` is what the other side asks for, in seconds, from all that is sent with the
    same ``credential``. An attempt ``is_throttled`` if the other side got too much,
    ``is_free`` if it is not counted, ``is_unsure`` if the other side may have done what
    it was asked.
    """

    claim: Claim
    state: str
    status_code: int | None = None
    error: str = ""
    delay: float = 0.0  # seconds until the next attempt, when pending
    log: dict = field(default_factory=dict)
    credential: str = ""
    wait: float | None = None
    is_throttled: bool = False
    is_free: bool = False
    is_unsure: bool = False


class BjApiSyncDelivery(models.Model):
    """The outbox: one request to be sent, written with the data that it tells about.

    A pending delivery is due once ``next_attempt_date`` has come. Who claims it counts
    the attempt and moves that date behind the lease, so it needs no state of its own for
    "being sent", and a worker that dies leaves nothing but an attempt that is used up.
    """

    _name = "bj.api.sync.delivery"
    _inherit = ["bj.api.sync.progress"]
    _description = "API Delivery"
    _order = "id desc"
    _rec_name = "uuid"

    uuid = fields.Char(
        string="UUID",
        required=True,
        readonly=True,
        index=True,
        help="Idempotency-Key of every attempt.",
    )
    config_id = fields.Many2one(
        "bj.api.sync.config",
        string="Configuration",
        required=True,
        readonly=True,
        ondelete="cascade",
        index=True,
    )
    destination = fields.Char(readonly=True, help="Host and port of the other side.")
    model = fields.Char(readonly=True)
    res_ids = fields.Json(string="Record IDs", readonly=True)
    res_id = fields.Many2oneReference(
        string="Record", model_field="model", readonly=True, aggregator=None
    )
    event = fields.Selection(
        [
            ("create", "Creation"),
            ("write", "Update"),
            ("unlink", "Deletion"),
            ("schedule", "Schedule"),
            ("manual", "On demand"),
            ("pull", "Pull"),
            ("answer", "Answer"),
        ],
        readonly=True,
        help="What made it. Answer: the answer to another delivery of this configuration "
        "changed the record.",
    )
    method = fields.Char(readonly=True)
    url = fields.Char(string="URL", readonly=True)
    payload = fields.Text(readonly=True, help="The body, byte for byte.")
    # Headers that a script set, JSON sealed like every outbound secret: a signature or a
    # token may be among them. A null removes the configured header.
    headers = fields.Text(readonly=True, copy=False, groups=fields.NO_ACCESS)
    # The whole URL, sealed, where `url` shows it with a secret masked.
    url_secret = fields.Text(
        "URL Secret", readonly=True, copy=False, groups=fields.NO_ACCESS
    )
    state = fields.Selection(
        [
            ("pending", "Pending"),
            ("delivered", "Delivered"),
            ("failed", "Failed"),
            ("cancelled", "Cancelled"),
            ("superseded", "Superseded"),
        ],
        required=True,
        readonly=True,
        default="pending",
        index=True,
    )
    attempt_count = fields.Integer(
        string="Attempts", readonly=True, default=0, aggregator=None
    )
    attempts_before = fields.Integer(
        readonly=True,
        default=0,
        help="Attempts made before it was last sent again.",
        aggregator=None,
    )
    is_claimed = fields.Boolean(
        string="Being Sent", readonly=True, help="Until the next attempt is due."
    )
    next_attempt_date = fields.Datetime(string="Next Attempt", readonly=True)
    throttled_date = fields.Datetime(
        string="Asked to Wait Since",
        readonly=True,
        help="Since when the other side has answered that it gets too much. For a day "
        "such attempts are not counted.",
    )
    is_unsure = fields.Boolean(
        string="May Have Arrived",
        readonly=True,
        help="The other side may have processed the last attempt. A POST is then finished "
        "under its Idempotency-Key before a newer one goes.",
    )
    # An answer that could not be used yet, JSON sealed: it may hold a token. Until it is,
    # the row counts as on its way; it is never sent again.
    answer = fields.Text(readonly=True, copy=False, groups=fields.NO_ACCESS)
    last_status_code = fields.Integer(
        string="Last Status", readonly=True, aggregator=None
    )
    last_error = fields.Text(readonly=True)
    delivered_date = fields.Datetime(string="Delivered On", readonly=True)
    log_ids = fields.One2many("bj.api.log", "delivery_id", string="Attempts Log")
    user_id = fields.Many2one(
        "res.users", string="Triggered By", readonly=True, ondelete="set null"
    )
    lang = fields.Char(string="Language", readonly=True)
    tz = fields.Char(string="Time Zone", readonly=True)
    company_id = fields.Many2one("res.company", readonly=True, ondelete="set null")
    page_token = fields.Char(readonly=True, help="Which page of a pull this asks for.")
    sync_date = fields.Datetime(readonly=True, help="When the pull began.")
    # Of the pages before this one, see `_write_pulled`.
    pull_counts = fields.Json(readonly=True)

    def init(self):
        # Two columns that the ORM need not know. `record_ids` are the records of a batch
        # as an array, which PostgreSQL can intersect. `transaction_key` is known to the
        # transaction that made the row only, so that only it can change the payload.
        # The last two indexes are for runs of schedules, which look for what was sent
        # last of each record: only an inverted one finds it among the arrays of batches.
        self.env.cr.execute(
            """
            ALTER TABLE bj_api_sync_delivery
                ADD COLUMN IF NOT EXISTS record_ids integer[],
                ADD COLUMN IF NOT EXISTS transaction_key varchar;
            CREATE INDEX IF NOT EXISTS bj_api_sync_delivery_due
                ON bj_api_sync_delivery (destination, next_attempt_date, id)
                WHERE state = 'pending';
            CREATE INDEX IF NOT EXISTS bj_api_sync_delivery_record
                ON bj_api_sync_delivery (res_id, model, destination, id)
                WHERE state = 'pending';
            CREATE INDEX IF NOT EXISTS bj_api_sync_delivery_batch
                ON bj_api_sync_delivery (destination, model, id)
                WHERE state = 'pending' AND record_ids IS NOT NULL;
            CREATE INDEX IF NOT EXISTS bj_api_sync_delivery_transaction
                ON bj_api_sync_delivery (transaction_key)
                WHERE state = 'pending';
            CREATE INDEX IF NOT EXISTS bj_api_sync_delivery_next
                ON bj_api_sync_delivery (next_attempt_date)
                WHERE state = 'pending';
            CREATE INDEX IF NOT EXISTS bj_api_sync_delivery_config_pending
                ON bj_api_sync_delivery (config_id, destination)
                WHERE state = 'pending';
            CREATE INDEX IF NOT EXISTS bj_api_sync_delivery_answered
                ON bj_api_sync_delivery (next_attempt_date)
                WHERE state = 'pending' AND answer IS NOT NULL;
            CREATE INDEX IF NOT EXISTS bj_api_sync_delivery_last
                ON bj_api_sync_delivery (config_id, res_id, id);
            CREATE INDEX IF NOT EXISTS bj_api_sync_delivery_last_batch
                ON bj_api_sync_delivery USING gin (record_ids)
                WHERE record_ids IS NOT NULL;
            CREATE INDEX IF NOT EXISTS bj_api_sync_delivery_deletion
                ON bj_api_sync_delivery (res_id, destination, id)
                WHERE method = 'DELETE';
            """
        )

    @api.depends("method", "model", "res_ids")
    def _compute_display_name(self):
        for delivery in self:
            records = ", ".join(str(res_id) for res_id in (delivery.res_ids or [])[:3])
            more = "…" if len(delivery.res_ids or []) > 3 else ""
            delivery.display_name = (
                f"{delivery.method} {delivery.model} {records}{more}".strip()
            )

    @api.model
    def _search(self, domain, *args, **kwargs):
        # What was triggered in this transaction is written at its next flush: let who
        # looks for it see it.
        self.env["bj.api.sync.outbound"]._flush_triggers()
        return super()._search(domain, *args, **kwargs)

    # -- buttons -----------------------------------------------------------------------

    def action_send_again(self, progress=None):
        """Send the same bytes under the same Idempotency-Key; attempts start anew.

        What newer deliveries have overtaken is left as it is: it would put old values
        over theirs.
        """
        self._check_operator()
        if len(self) == 1 and not progress:
            self._check_can_send_again()
        return self._in_steps(
            "action_send_again",
            lambda deliveries: deliveries._send_again(),
            lambda counts: self._notify(self._describe_sent_again(counts)),
            progress,
            size=STEP_ROWS,
        )

    def _check_can_send_again(self):
        self.ensure_one()
        if not self.url:
            raise UserError(
                self.env._(
                    "%(delivery)s could not be built, so there is nothing to send again: "
                    "mend the cause, then press Rebuild and Send, or Pull Now for a pull.",
                    delivery=self.display_name,
                )
            )
        newer = self.browse(self._get_overtaken().get(self.id, ()))
        if newer:
            raise UserError(
                self.env._(
                    "%(delivery)s is older than %(newer)s, which is %(state)s: to send it "
                    "again would put its old values over the newer ones. Press Rebuild "
                    "and Send to send the values of now.",
                    delivery=self.display_name,
                    newer=newer.display_name,
                    state=dict(self._fields["state"]._description_selection(self.env))[
                        newer.state
                    ].lower(),
                )
            )

    def _get_overtaken(self):
        """Return ``{id: id of a newer delivery}`` of those that newer ones have overtaken.

        One of the same configuration and record that has been delivered, or waits; or a
        deletion of the record on the same host.
        """
        # One look-up for each kind, so that PostgreSQL finds an index for each.
        self.env.cr.execute(
            SQL(
                """SELECT d.id, max(n.id)
                   FROM bj_api_sync_delivery d
                   CROSS JOIN LATERAL (
                       SELECT COALESCE(d.record_ids, ARRAY[d.res_id]) AS ids) AS own
                   CROSS JOIN LATERAL (
                       SELECT id, state, model FROM bj_api_sync_delivery
                       WHERE config_id = d.config_id AND res_id = ANY(own.ids)
                         AND id > d.id
                       UNION ALL
                       SELECT id, state, model FROM bj_api_sync_delivery
                       WHERE config_id = d.config_id AND record_ids IS NOT NULL
                         AND id > d.id AND record_ids && own.ids
                       UNION ALL
                       SELECT id, state, model FROM bj_api_sync_delivery
                       WHERE method = 'DELETE' AND destination = d.destination
                         AND res_id = ANY(own.ids) AND id > d.id
                   ) AS n
                   WHERE d.id = ANY(%s) AND d.method != 'GET' AND n.model = d.model
                     AND n.state IN ('pending', 'delivered')
                   GROUP BY d.id""",
                self.ids,
            )
        )
        return dict(self.env.cr.fetchall())

    def _send_again(self):
        """Return how many are sent again, how many newer ones have overtaken."""
        # What could not be built has no URL: there is nothing that could be sent.
        overtaken = self.browse(self._get_overtaken())
        count = (
            (self - overtaken)
            .filtered("url")
            ._change_idle(
                SQL(
                    """state = 'pending', next_attempt_date = %s, is_claimed = false,
                   attempts_before = attempt_count, delivered_date = NULL,
                   throttled_date = NULL, last_status_code = NULL, last_error = NULL""",
                    NOW,
                ),
                ("pending", "delivered", "failed", "cancelled", "superseded"),
            )
        )
        self.env["bj.api.sync.outbound"]._wake_senders()
        return {"count": count, "overtaken": len(overtaken)}

    def _describe_sent_again(self, counts):
        message = self.env._(
            "%(count)s deliveries will be sent again.", count=counts["count"]
        )
        if counts["overtaken"]:
            left = self.env._(
                "%(count)s were left as they are, because newer deliveries of their "
                "records have been sent or wait: Rebuild and Send sends the values of "
                "now.",
                count=counts["overtaken"],
            )
            message = f"{message} {left}"
        return message

    def action_rebuild_and_send(self, progress=None):
        """Make new deliveries from the records as they are now, instead of these.

        Of many, those that cannot be built again are left as they are, and counted.
        """
        self._check_operator()
        if len(self) == 1 and not progress:
            self._check_rebuildable()
        return self._in_steps(
            "action_rebuild_and_send",
            lambda deliveries: deliveries._rebuild(),
            lambda counts: self._notify(self._describe_rebuilt(counts)),
            progress,
            size=STEP_ROWS,
        )

    def _check_rebuildable(self):
        self.ensure_one()
        if self.method == "GET":
            raise UserError(self.env._("A pull has no payload: send it again."))
        if self._is_unfinished():
            raise UserError(
                self.env._(
                    "%(delivery)s may have arrived, so it is finished under its own "
                    "Idempotency-Key first: a new one could make the same thing twice. "
                    "Wait for it, or cancel it if you know that it is not there.",
                    delivery=self.display_name,
                )
            )
        if not self.sudo()._is_rebuildable():
            raise UserError(
                self.env._(
                    "%(delivery)s: the record does not exist any more, so the "
                    "payload cannot be built again. Send it again as it is.",
                    delivery=self.display_name,
                )
            )

    def _is_rebuildable(self):
        return (
            self.method != "GET"
            and self.event != "unlink"
            and not self._is_unfinished()
            and bool(self.env[self.model].browse(self.res_ids).exists())
        )

    def _is_unfinished(self):
        """Tell whether this may be there already, and is still tried under its key."""
        may_be_there = self.is_unsure or self.is_claimed  # or its lease has run out
        return self.method == "POST" and self.state == "pending" and may_be_there

    def _rebuild(self):
        """Return how many were made, and how many of these could not be built again."""
        outbound = self.env["bj.api.sync.outbound"]
        rebuilt = self.sudo().filtered(lambda delivery: delivery._is_rebuildable())
        groups = rebuilt.grouped(lambda delivery: (delivery.config_id, delivery.event))
        made = self.browse()
        for (config, event), deliveries in groups.items():
            ids = dict.fromkeys(i for row in deliveries for i in row.res_ids)
            records = self.env[config.model_name].browse(ids).exists()
            made |= outbound._enqueue(config, records, event)
        # The Filter Domain may leave a record out by now: nothing replaces its delivery.
        kept = {(new.config_id.id, i) for new in made.sudo() for i in new.res_ids}
        rebuilt = rebuilt.filtered(
            lambda delivery: (
                kept & {(delivery.config_id.id, i) for i in delivery.res_ids}
            )
        )
        rebuilt._change_idle(
            SQL("state = 'superseded', is_claimed = false, next_attempt_date = NULL"),
            ("pending", "failed"),
        )
        return {"count": len(made), "left": len(self) - len(rebuilt)}

    def _describe_rebuilt(self, counts):
        message = self.env._(
            "%(count)s deliveries were made anew.", count=counts["count"]
        )
        if counts["left"]:
            left = self.env._(
                "%(count)s were left as they are: a pull has no payload, a record that "
                "does not exist any more gives none, neither does one that the Filter "
                "Domain leaves out, and a POST that may have arrived is finished first.",
                count=counts["left"],
            )
            message = f"{message} {left}"
        return message

    def action_cancel(self, progress=None):
        """Give up those that wait or have failed, if nobody is sending them now."""
        self._check_operator()
        changes = SQL(
            "state = 'cancelled', is_claimed = false, next_attempt_date = NULL"
        )
        return self._in_steps(
            "action_cancel",
            lambda deliveries: {
                "count": deliveries._change_idle(changes, ("pending", "failed"))
            },
            lambda counts: self._notify(
                self.env._(
                    "%(count)s deliveries were cancelled.", count=counts["count"]
                )
            ),
            progress,
            size=STEP_ROWS,
        )

    def action_open_record(self):
        self.ensure_one()
        ids = self.res_ids or []
        action = {"type": "ir.actions.act_window", "res_model": self.model}
        if len(ids) == 1:
            return {**action, "res_id": ids[0], "views": [(False, "form")]}
        return {
            **action,
            "name": self.display_name,
            "domain": [("id", "in", ids)],
            "views": [(False, "list"), (False, "form")],
        }

    def action_open_logs(self):
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Attempts"),
            "res_model": "bj.api.log",
            "domain": [("delivery_id", "in", self.ids)],
            "views": [(False, "list"), (False, "form")],
        }

    def _check_operator(self):
        self.check_access("read")
        self.env["bj.api.sync.config"].check_access("write")

    def _change_idle(self, changes, states):
        """Change those in one of ``states`` that nobody is sending; return how many."""
        self.flush_recordset()
        self.env.cr.execute(
            SQL(
                """UPDATE bj_api_sync_delivery SET %s
                   WHERE id IN %s AND state IN %s AND NOT (%s)""",
                changes,
                tuple(self.ids) or (0,),
                states,
                in_flight("bj_api_sync_delivery"),
            )
        )
        count = self.env.cr.rowcount
        self.invalidate_recordset()
        self.sudo().config_id._forget_failures()
        return count

    def _notify(self, message):
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "message": message,
                "type": "success",
                "next": {"type": "ir.actions.client", "tag": "soft_reload"},
            },
        }

    # -- writing -----------------------------------------------------------------------

    @api.model
    def _insert_rows(self, config, env, event, rows, *, key=None):
        """Write rows in this cursor, without the ORM: it is part of a user's save.

        :param env: whose user, language, time zone and company they are made under
        :param str key: of the transaction that may still change them
        :return: their ids
        """
        if not rows:
            return []
        self.env.cr.execute(SQL("SELECT %s", NOW))
        (now,) = self.env.cr.fetchone()
        neutralized = self._is_neutralized()
        common = {
            "config_id": config.id,
            "model": config.model_name,
            "event": event,
            "user_id": env.uid,
            "lang": env.context.get("lang") or None,
            "tz": env.context.get("tz") or None,
            "company_id": env.company.id,
            "transaction_key": key,
            "attempt_count": 0,
            "attempts_before": 0,
            "is_claimed": False,
            "create_date": now,
            "create_uid": SUPERUSER_ID,
        }
        values = []
        for row in rows:
            vals = row._get_vals()
            if neutralized:
                vals["state"] = "cancelled"
                vals["last_error"] = self.env._("This database is a neutralized copy.")
            vals["next_attempt_date"] = now if vals["state"] == "pending" else None
            vals["uuid"] = row.uuid
            values.append({**common, **vals})
        columns = SQL(", ").join(map(SQL.identifier, values[0]))
        self.env.cr.execute(
            SQL(
                "INSERT INTO bj_api_sync_delivery (%s) SELECT %s FROM %s RETURNING id",
                columns,
                columns,
                self._as_rows(values),
            ),
            log_exceptions=False,
        )
        ids = [row_id for (row_id,) in self.env.cr.fetchall()]
        config.invalidate_recordset(["delivery_ids"], flush=False)
        failed = {
            row_id: row for row_id, row in zip(ids, rows, strict=True) if row.error
        }
        if failed and not neutralized:
            self._log_failed_rows(config, env, event, failed)
            config._tell_failure(list(failed.values())[-1].error)
            self.env.flush_all()  # this may be the last flush of the transaction
        return ids

    @api.model
    def _as_rows(self, values):
        """Return dicts of columns as rows that SQL can select from, in their order.

        They are one parameter: a thousand as SQL values take longer to quote and parse.
        """
        return SQL(
            "json_populate_recordset(NULL::bj_api_sync_delivery, %s)",
            json.dumps(values, default=str),
        )

    @api.model
    def _log_failed_rows(self, config, env, event, rows):
        """Write the log rows of what could not be built, ``{delivery id: row}``."""
        for row_id, row in rows.items():
            self.env["bj.api.log"].sudo()._record(
                config.log_level,
                {
                    "name": f"{row.method} {config.model_name}",
                    "config_id": config.id,
                    "company_id": env.company.id,
                    "direction": "out",
                    "status": "error",
                    "method": row.method,
                    "url": config.url,
                    "error_message": row.error,
                    "model": config.model_name,
                    "record_id": row.res_id,
                    "record_count": len(row.ids),
                    "user_id": env.uid,
                    "delivery_id": row_id,
                    "action": event,
                    **row.failure,
                },
            )

    @api.model
    def _update_rows(self, env, event, rows):
        """Give rows that this transaction has made another payload: the last one wins."""
        if not rows:
            return
        values = [
            {**row._get_vals(), "event": event, "user_id": env.uid, "id": row.id}
            for row in rows
        ]
        self.env.cr.execute(
            SQL(
                "UPDATE bj_api_sync_delivery d SET %s FROM %s v WHERE d.id = v.id",
                SQL(", ").join(
                    SQL("%s = %s", SQL.identifier(name), SQL.identifier("v", name))
                    for name in values[0]
                    if name != "id"
                ),
                self._as_rows(values),
            )
        )
        self.browse(row.id for row in rows).invalidate_recordset()

    @api.model
    def _get_own_rows(self, config, key):
        """Return ``[(id, record ids)]`` that this transaction has made of a configuration.

        Locks nothing: the key is random, so nobody else can have such rows.
        """
        self.env.cr.execute(
            """SELECT id, res_ids FROM bj_api_sync_delivery
               WHERE transaction_key = %s AND config_id = %s AND state = 'pending'
               ORDER BY id""",
            [key, config.id],
        )
        return self.env.cr.fetchall()

    @api.model
    def _get_unchanged(self, config, rows):
        """Return the ids of records about which rows say what was said the last time.

        What is on its way counts as said, what has failed or was cancelled does not. Of a
        batch, each record's part is compared; if a script has given it another shape than
        a list with an entry for each record, only the whole can be.
        """
        last = self._get_last(config, {i for row in rows for i in row.ids})
        get_url = self._get_url_reader(config)
        unchanged = set()
        for row in rows:
            url = get_url(row.url, row.url_secret)
            parts = get_parts(row.res_id, row.record_ids, row.payload)
            same = {i for i, part in parts.items() if last.get(i) == (url, part)}
            if is_whole(parts) and len(same) < len(parts):
                same = set()
            unchanged |= same if not row.error else set()
        return unchanged

    @api.model
    def _get_last(self, config, record_ids):
        """Return ``{record id: (URL, its part of the payload)}`` of last deliveries."""
        self.env.cr.execute(
            """SELECT held.res_id, max(held.id) FROM (
                   SELECT res_id, id FROM bj_api_sync_delivery
                   WHERE config_id = %(config)s AND res_id = ANY(%(ids)s)
                   UNION ALL
                   SELECT unnest(record_ids), id FROM bj_api_sync_delivery
                   WHERE config_id = %(config)s AND record_ids && %(ids)s::integer[]
               ) AS held(res_id, id)
               WHERE held.res_id = ANY(%(ids)s) GROUP BY held.res_id""",
            {"config": config.id, "ids": list(record_ids)},
        )
        newest = dict(self.env.cr.fetchall())
        self.env.cr.execute(
            """SELECT id, res_id, record_ids, url, url_secret, payload
               FROM bj_api_sync_delivery
               WHERE id = ANY(%s) AND state IN ('pending', 'delivered')""",
            [list(set(newest.values()))],
        )
        get_url = self._get_url_reader(config)
        said = {
            row_id: (get_url(url, secret), get_parts(res_id, batch, body))
            for row_id, res_id, batch, url, secret, body in self.env.cr.fetchall()
        }
        return {
            record_id: (said[row_id][0], said[row_id][1][record_id])
            for record_id, row_id in newest.items()
            if row_id in said
        }

    @api.model
    def _get_url_reader(self, config):
        """Return the function that makes of the two columns the URL to be compared.

        Parameters of a batch are filled from its first record, whichever that was.
        """
        outbound = self.env["bj.api.sync.outbound"]
        values = outbound._get_params(config).values()
        texts = [t for v in values for t in (v if isinstance(v, list) else [v])]
        varies = outbound._is_batched(config) and any(
            url_tools.placeholders(text) for text in texts if isinstance(text, str)
        )

        def get_url(url, secret):
            whole = outbound._get_url(url, secret) or ""
            return whole.partition("?")[0] if varies else whole

        return get_url

    @api.model
    def _lock_pull(self, config):
        """Tell whether this transaction may begin a pull; if so, no other one can.

        Not if one is open or just being begun. The lock ends with the transaction, so
        whoever waited for nothing looks once more with a snapshot that is new.
        """
        self.env.cr.execute(
            "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))",
            [f"{self._name}:pull:{config.id}"],
        )
        (is_ours,) = self.env.cr.fetchone()
        if not is_ours or self._has_open_pull(config):
            return False
        with self.env.registry.cursor() as cr:
            return not self.with_env(self.env(cr=cr))._has_open_pull(config)

    @api.model
    def _has_open_pull(self, config):
        self.env.cr.execute(
            """SELECT 1 FROM bj_api_sync_delivery
               WHERE config_id = %s AND res_id IS NULL AND method = 'GET'
                 AND state = 'pending' LIMIT 1""",
            [config.id],
        )
        return bool(self.env.cr.fetchone())

    @api.model
    def _is_neutralized(self):
        parameters = self.env["ir.config_parameter"].sudo()
        return bool(parameters.get_param("database.is_neutralized"))

    def _rotate_secrets(self):
        """Encrypt URLs, the headers that scripts have set, and kept answers anew; see
        ``action_rotate_secrets``."""
        secret = self.env["bj.api.sync.secret"]
        self.env.cr.execute(
            """SELECT id, headers, url_secret, answer FROM bj_api_sync_delivery
               WHERE id = ANY(%s) AND (headers IS NOT NULL OR url_secret IS NOT NULL
                                       OR answer IS NOT NULL)
               FOR NO KEY UPDATE""",
            [self.ids],
        )
        for row_id, *sealed in self.env.cr.fetchall():
            self.env.cr.execute(
                """UPDATE bj_api_sync_delivery
                   SET headers = %s, url_secret = %s, answer = %s WHERE id = %s""",
                [*(text and secret._rotate(text) for text in sealed), row_id],
            )

    # -- settling ----------------------------------------------------------------------

    @api.model
    def _settle(self, settlements):
        """Write what became of attempts, with their log rows, in this cursor.

        An attempt whose delivery has been claimed again since, or is no longer pending,
        only leaves its log row: a stale result never overwrites a newer state.

        :param list settlements: of :class:`Settlement`
        :return: ids of the deliveries that were changed
        """
        rows = [
            SQL(
                "(%s, %s, %s, %s::integer, %s, %s, %s, %s, %s)",
                settlement.claim.id,
                settlement.claim.attempt_count,
                settlement.state,
                settlement.status_code,
                settlement.error or None,
                settlement.delay,
                settlement.is_throttled,
                settlement.is_free,
                settlement.is_unsure,
            )
            for settlement in settlements
        ]
        self.env.cr.execute(
            SQL(
                """UPDATE bj_api_sync_delivery d
                   SET state = v.state, is_claimed = false, answer = NULL,
                       is_unsure = v.state != 'delivered'
                           AND (d.is_unsure IS TRUE OR v.is_unsure),
                       attempts_before = d.attempts_before + v.is_free::integer,
                       throttled_date = CASE WHEN v.is_throttled
                           THEN COALESCE(d.throttled_date, %(now)s) END,
                       last_status_code = v.status_code, last_error = v.error,
                       delivered_date = CASE WHEN v.state = 'delivered' THEN %(now)s END,
                       next_attempt_date = CASE WHEN v.state = 'pending'
                           THEN %(now)s + make_interval(secs => v.delay) END
                   FROM (VALUES %(rows)s) AS v(id, attempt, state, status_code, error,
                                               delay, is_throttled, is_free, is_unsure)
                   WHERE d.id = v.id AND d.attempt_count = v.attempt
                     AND d.state = 'pending'
                   RETURNING d.id""",
                now=NOW,
                rows=SQL(", ").join(rows),
            ),
            log_exceptions=False,
        )
        settled = {row_id for (row_id,) in self.env.cr.fetchall()}
        self.env["bj.api.log"]._record_attempts(settlements)
        return settled

    # -- housekeeping ------------------------------------------------------------------

    @api.autovacuum
    def _gc_deliveries(self):
        """Delete what is over: failed ones after 90 days, all others after 7."""
        for state, days in KEEP_DAYS.items():
            while True:
                self.env.cr.execute(
                    SQL(
                        """DELETE FROM bj_api_sync_delivery WHERE id IN (
                               SELECT id FROM bj_api_sync_delivery
                               WHERE state = %s
                                 AND COALESCE(delivered_date, create_date)
                                     < %s - make_interval(days => %s)
                               LIMIT %s)""",
                        state,
                        NOW,
                        days,
                        VACUUM_BATCH,
                    )
                )
                if self.env.cr.rowcount < VACUUM_BATCH:
                    break
                commit_unless_testing(self.env.cr)
        configs = self.env["bj.api.sync.config"].with_context(active_test=False)
        configs.search([("request_type", "=", "out")])._forget_failures()


class BjApiLog(models.Model):
    _inherit = "bj.api.log"

    delivery_id = fields.Many2one(
        "bj.api.sync.delivery", ondelete="set null", index="btree_not_null"
    )

    @api.model
    def _record_attempts(self, settlements):
        """Write the log rows of many attempts with one statement."""
        # Whatever the rows refer to may have been deleted since the claim: theirs are the
        # references that are good.
        names = ("config_id", "company_id", "user_id")
        self.env.cr.execute(
            SQL(
                "SELECT id, %s FROM bj_api_sync_delivery WHERE id = ANY(%s)",
                SQL(", ").join(map(SQL.identifier, names)),
                [settlement.claim.id for settlement in settlements],
            )
        )
        found = {
            row_id: dict(zip(names, references, strict=True))
            for row_id, *references in self.env.cr.fetchall()
        }
        redactors = {}
        rows = []
        for settlement in settlements:
            log = dict(settlement.log)
            secret = log.get("secret_headers", ())
            if secret not in redactors:
                redactors[secret] = self._get_redactor(secret)
            gone = {"delivery_id": None, **dict.fromkeys(names)}
            log.update(found.get(settlement.claim.id, gone))
            level = log.pop("level", "none")
            row = self._prepare_row(level, log, redactors[secret])
            if row is not None:
                rows.append(row)
        self._insert_many(rows)


def get_parts(res_id, record_ids, body):
    """Return ``{record id: what the payload of a delivery says about it}``.

    That is its text or, in a batch that has not an entry for each record, the ids of all
    records and the whole.
    """
    if not record_ids:
        return {res_id: body} if res_id else {}
    try:
        items = json.loads(body or "")
    except ValueError:
        items = None
    if isinstance(items, list) and len(items) == len(record_ids):
        texts = [payload.dumps(item).decode() for item in items]
        return dict(zip(record_ids, texts, strict=True))
    return dict.fromkeys(record_ids, (tuple(record_ids), body))


def is_whole(parts):
    return any(isinstance(part, tuple) for part in parts.values())


def in_flight(alias):
    """SQL that is true for a row that somebody is sending, or that has its answer."""
    table = SQL.identifier(alias)
    return SQL(
        """(%(t)s.state = 'pending' AND (%(t)s.answer IS NOT NULL
            OR (%(t)s.is_claimed IS TRUE AND %(t)s.next_attempt_date > %(now)s)))""",
        t=table,
        now=NOW,
    )


def commit_unless_testing(cr):
    """Commit, which Odoo's tests forbid."""
    if not module.current_test:
        cr.commit()  # pylint: disable=invalid-commit
