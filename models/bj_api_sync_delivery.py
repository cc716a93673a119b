import json
import logging
import uuid
from dataclasses import dataclass, field
from datetime import datetime

from odoo import SUPERUSER_ID, api, fields, models
from odoo.modules import module
from odoo.tools import SQL

from ..tools import dry_run

_logger = logging.getLogger("bj.api.delivery")

METHODS = ("POST", "PUT", "GET", "DELETE")  # the order within one transaction
KEEP_DAYS = {"delivered": 7, "superseded": 7, "cancelled": 7, "failed": 90}
VACUUM_BATCH = 10_000  # rows a statement, so that no vacuum holds locks for long
# Seconds a claimed delivery may wait for a free thread, and then for its settlement.
QUEUE_SECONDS = 10
SETTLE_SECONDS = 10
# After an attempt that broke off, in which the other side may still carry it out.
UNSURE_SECONDS = 30
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
    it was asked, ``is_used`` if something is to be done with its answer.
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
    is_used: bool = False


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
        help="Attempts that do not count: those before it was last sent again, and those "
        "that met a limit.",
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
    # Until then the other side may still be at work on the last attempt, and would put
    # its values over those of a newer one.
    unsure_until = fields.Datetime(readonly=True)
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
        neutralized = self._is_neutralized()
        values = self._prepare_values(config, env, event, rows, key, neutralized)
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
    def _prepare_values(self, config, env, event, rows, key, neutralized):
        """Return the columns of new rows, ``[{column: value}]``."""
        self.env.cr.execute(SQL("SELECT %s", NOW))
        (now,) = self.env.cr.fetchone()
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
        return values

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

    # -- housekeeping ------------------------------------------------------------------

    @api.autovacuum
    def _gc_deliveries(self):
        """Delete what is over: failed ones after 90 days, all others after 7."""
        for state, days in KEEP_DAYS.items():
            delete_in_batches(
                self.env.cr,
                self._table,
                SQL(
                    """state = %s AND COALESCE(delivered_date, create_date)
                                      < %s - make_interval(days => %s)""",
                    state,
                    NOW,
                    days,
                ),
            )
        configs = self.env["bj.api.sync.config"].with_context(active_test=False)
        configs.search([("request_type", "=", "out")])._forget_failures()


def in_flight(alias):
    """SQL that is true for a row that somebody is sending, or that has its answer."""
    table = SQL.identifier(alias)
    return SQL(
        """(%(t)s.state = 'pending' AND (%(t)s.answer IS NOT NULL
            OR (%(t)s.is_claimed IS TRUE AND %(t)s.next_attempt_date > %(now)s)))""",
        t=table,
        now=NOW,
    )


def delete_in_batches(cr, table, condition):
    """Delete the rows of a table for which SQL is true, some at a time."""
    name = SQL.identifier(table)
    while True:
        cr.execute(
            SQL(
                "DELETE FROM %s WHERE id IN (SELECT id FROM %s WHERE %s LIMIT %s)",
                name,
                name,
                condition,
                VACUUM_BATCH,
            )
        )
        if cr.rowcount < VACUUM_BATCH:
            break
        commit_unless_testing(cr)


def commit_unless_testing(cr):
    """Commit, which Odoo's tests forbid, and which would end a dry run."""
    if not (module.current_test or dry_run.is_marked()):
        cr.commit()  # pylint: disable=invalid-commit
