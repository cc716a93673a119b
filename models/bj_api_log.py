import json
import logging
from datetime import timedelta
from functools import lru_cache
from itertools import chain

import psycopg2
from odoo import api, fields, models, tools
from odoo.modules import module

from ..tools import redact
from ..tools.script_state import is_running

_logger = logging.getLogger("bj.api.log")

BODY_FIELDS = ("request_data", "response_data")
HEADER_FIELDS = ("request_headers", "response_headers")
MESSAGE_FIELDS = ("error_message", "traceback", "details")
ECHO_FIELDS = ("response_data", "response_headers", *MESSAGE_FIELDS)
MAX_BODY_BYTES = 64 * 1024  # unless bj_api_sync.log_body_bytes says otherwise
NO_WAIT_FOR_A_READ = """SELECT set_config('synchronous_commit', 'off', true)
    WHERE txid_current_if_assigned() IS NULL;"""
VACUUM_BATCH = 10_000  # rows a statement, so that no vacuum holds locks for long


class BjApiLog(models.Model):
    """One exchange, in or out; an audit trail, so nobody may change or delete a row."""

    _name = "bj.api.log"
    _description = "API Log"
    _order = "timestamp desc, id desc"

    name = fields.Char()
    config_id = fields.Many2one(
        "bj.api.sync.config", string="Configuration", ondelete="set null", index=True
    )
    company_id = fields.Many2one("res.company", ondelete="set null")
    direction = fields.Selection([("in", "In"), ("out", "Out")])
    status = fields.Selection(
        [("success", "Success"), ("error", "Error"), ("skipped", "Skipped")], index=True
    )
    method = fields.Char()
    url = fields.Char(string="URL")
    request_headers = fields.Text()
    request_data = fields.Text()
    response_headers = fields.Text()
    response_data = fields.Text()
    response_code = fields.Integer(aggregator=None)
    error_message = fields.Text()
    traceback = fields.Text()
    line_id = fields.Many2one(
        "bj.api.sync.config.line", string="Configuration Line", ondelete="set null"
    )
    duration = fields.Float(
        string="Duration (s)", digits=(16, 4), help="Seconds.", aggregator="avg"
    )
    timestamp = fields.Datetime(default=fields.Datetime.now, index=True)
    model = fields.Char()
    record_id = fields.Many2oneReference(model_field="model", aggregator=None)
    record_count = fields.Integer(string="Records")
    request_id = fields.Char(string="Request ID", index=True)
    remote_addr = fields.Char(string="Remote Address")
    user_id = fields.Many2one("res.users", string="Run As", ondelete="set null")
    attempt = fields.Integer(aggregator=None)
    action = fields.Char()
    details = fields.Text()

    @api.model_create_multi
    def create(self, vals_list):
        # Scripts are documented to write rows of their own, whoever they run as; nobody
        # else has the right to.
        if is_running():
            return super(BjApiLog, self.sudo()).create(vals_list).with_env(self.env)
        return super().create(vals_list)

    def action_open_record(self):
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "res_model": self.model,
            "res_id": self.record_id,
            "views": [(False, "form")],
        }

    @api.model
    def _record(self, level, vals):
        """Write one row in this cursor, redacted and cut, if ``level`` asks for it.

        :param str level: ``log_level`` of the configuration
        :param dict vals: field values; headers as ``dict``, bodies as ``bytes`` or text,
            with ``content_type`` and ``secret_headers`` to redact them by
        :return: the id of the row, or ``None``
        """
        vals = self._prepare_row(level, vals)
        return None if vals is None else self._insert_many([vals])[0]

    @api.model
    def _prepare_row(self, level, vals, redactor=None):
        """Return the values of a row, redacted and cut, ``None`` if it is not wanted.

        :param redactor: what ``_get_redactor`` gives, for a caller with many rows
        """
        if not is_wanted(level, vals):
            return None
        content_type = vals.pop("content_type", "application/json")
        secret_headers = vals.pop("secret_headers", ())
        redactor, limit = redactor or self._get_redactor(tuple(secret_headers))
        echoes = self._find_echoes(redactor, vals)
        if level == "metadata":
            vals = {
                name: value
                for name, value in vals.items()
                if name not in (*BODY_FIELDS, *HEADER_FIELDS)
            }
        for name in HEADER_FIELDS:
            if isinstance(vals.get(name), dict):
                text = json.dumps(redactor.headers(vals[name]), ensure_ascii=False)
                vals[name] = redact.cut(text, limit)
        for name in BODY_FIELDS:
            if vals.get(name) is not None:
                vals[name] = redactor.body(vals[name], content_type, limit)
        for name in MESSAGE_FIELDS:
            if vals.get(name):
                vals[name] = redact.cut(redactor.text(vals[name]), limit)
        if vals.get("url"):
            vals["url"] = redactor.query(vals["url"])
        for name in ECHO_FIELDS if echoes else ():
            if vals.get(name):
                vals[name] = redact.hide(vals[name], echoes)
        return vals

    @api.model
    def _find_echoes(self, redactor, vals):
        """Return the secrets of a request that its answer may repeat.

        What a caller reads in peace is left as it is: a short value of a header could be
        found all over it.
        """
        if vals.get("direction") == "in" and vals.get("status") != "error":
            return ()
        return redactor.find_echoes(vals.get("url") or "", vals.get("request_headers"))

    @api.model
    def _insert_many(self, vals_list, before=""):
        """Write rows with one statement and return their ids.

        :param str before: a statement to send along
        """
        # Straight SQL: the row belongs to nobody's record rules, has nothing computed,
        # and create() would cost a read of every call several times what this does.
        if not vals_list:
            return []
        now = fields.Datetime.now()
        # Nobody is its creator: PostgreSQL would look up that user for every row.
        common = {"timestamp": now, "create_date": now, **self._get_required_values()}
        names = tuple(dict.fromkeys(chain(common, *vals_list)))
        values = []
        for vals in vals_list:
            row = {**common, **vals}
            for name in names:
                value = row.get(name)
                if isinstance(value, str):
                    value = redact.storable(value)
                values.append(None if value in (False, "") else value)
        self.env.cr.execute(make_insert(names, len(vals_list), before), values)
        return [row_id for (row_id,) in self.env.cr.fetchall()]

    @api.model
    def _get_required_values(self):
        """Return the defaults of fields that another module adds and requires."""
        names = [f.name for f in self._fields.values() if f.store and f.required]
        return {
            name: self._fields[name].convert_to_column_insert(value, self)
            for name, value in (self.default_get(names) if names else {}).items()
        }

    @api.model
    def _record_read(self, level, vals):
        """Write the row of a call that changed nothing, in this cursor.

        That spares another transaction. The disk is not waited for, as in ``record_apart``,
        unless the call did write: a script may.
        """
        try:
            if vals := self._prepare_row(level, vals):
                self._insert_many([vals], before=NO_WAIT_FOR_A_READ)
        except psycopg2.OperationalError:
            raise  # Odoo repeats the call
        except Exception as error:  # an answer must never fail because of its log row
            _logger.exception("Request %s could not be logged", vals.get("request_id"))
            if isinstance(error, psycopg2.Error):
                self.env.cr.rollback()

    @api.model
    @tools.ormcache("secret_headers")
    def _get_redactor(self, secret_headers=()):
        """Return the redactor and the number of bytes after which a body is cut."""
        parameters = self.env["ir.config_parameter"].sudo()
        keys = parameters.get_param("bj_api_sync.redacted_keys") or ""
        limit = parameters.get_param("bj_api_sync.log_body_bytes") or ""
        return (
            redact.Redactor(
                tuple(secret_headers), tuple(key.strip() for key in keys.split(","))
            ),
            int(limit) if limit.isdecimal() else MAX_BODY_BYTES,
        )

    @api.autovacuum
    def _gc_logs(self):
        """Delete old rows in bounded batches; errors stay at least as long as successes.

        Rows without a configuration go after the default of 30 days.
        """
        now = fields.Datetime.now()
        configs = self.env["bj.api.sync.config"].with_context(active_test=False)
        retentions = [
            (config.id, config.log_retention_days) for config in configs.search([])
        ]
        for config_id, days in [*retentions, (None, 30)]:
            before = now - timedelta(days=days)
            self._delete_before(config_id, before)

    def _delete_before(self, config_id, before):
        while True:
            self.env.cr.execute(
                """DELETE FROM bj_api_log WHERE id IN (
                       SELECT id FROM bj_api_log
                       WHERE config_id IS NOT DISTINCT FROM %s AND timestamp < %s
                       LIMIT %s)""",
                [config_id, before, VACUUM_BATCH],
            )
            if self.env.cr.rowcount < VACUUM_BATCH:
                return
            # Each batch is final: what is deleted stays deleted if the next one fails.
            if not module.current_test:
                self.env.cr.commit()  # pylint: disable=invalid-commit


def is_wanted(level, vals):
    """Tell whether a configuration with this ``log_level`` keeps the row at all."""
    return level != "none" and (level != "errors" or vals.get("status") == "error")


@lru_cache(100)
def make_insert(names, count, before=""):
    """Return the statement that writes ``count`` rows with these columns.

    A text, whose values psycopg2 puts in much faster than those of a tuple.
    """
    columns = ", ".join(f'"{name}"' for name in names)
    row = f"({', '.join(['%s'] * len(names))})"
    rows = ", ".join([row] * count)
    # Names of columns are the code's own, values are placeholders.
    return f"{before} INSERT INTO bj_api_log ({columns}) VALUES {rows} RETURNING id"  # nosec B608
