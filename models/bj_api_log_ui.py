import json
from datetime import datetime, timedelta

import pytz
from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..tools import redact
from ..tools.message import loads_foreign
from .bj_api_sync_config_outbound import to_curl

MAX_SUMMARY = 200  # characters
WRITING = ("POST", "PUT", "DELETE")
UNSENT_HEADERS = ("host", "content-length", "connection", "accept-encoding")


class BjApiLog(models.Model):
    """What the screens show about an exchange, and the buttons on them."""

    _name = "bj.api.log"
    _inherit = ["bj.api.log", "bj.api.sync.progress"]

    request_pretty = fields.Text(string="Request Body", compute="_compute_pretty")
    response_pretty = fields.Text(string="Response Body", compute="_compute_pretty")
    request_headers_pretty = fields.Text(
        string="Headers Received or Sent", compute="_compute_pretty"
    )
    response_headers_pretty = fields.Text(
        string="Answer Headers", compute="_compute_pretty"
    )
    error_summary = fields.Char(string="Error", compute="_compute_error_summary")
    curl = fields.Char(string="As curl", compute="_compute_curl")
    # The client groups moments by day at the finest, so the hour is a field of its own.
    hour = fields.Char(compute="_compute_hour", search="_search_hour")
    has_record = fields.Boolean(compute="_compute_has_record")
    can_replay = fields.Boolean(compute="_compute_can_replay")

    @api.depends("request_data", "response_data", "request_headers", "response_headers")
    def _compute_pretty(self):
        for log in self:
            log.request_pretty = pretty(log.request_data)
            log.response_pretty = pretty(log.response_data)
            log.request_headers_pretty = pretty_headers(log.request_headers)
            log.response_headers_pretty = pretty_headers(log.response_headers)

    @api.depends("error_message")
    def _compute_error_summary(self):
        for log in self:
            log.error_summary = summary(log.error_message)

    @api.depends("method", "url", "request_headers", "request_data", "direction")
    def _compute_curl(self):
        for log in self:
            log.curl = log._get_curl() if log.method and log.url else False

    @api.depends("timestamp")
    @api.depends_context("tz")
    def _compute_hour(self):
        for log in self:
            moment = log.timestamp and fields.Datetime.context_timestamp(
                log, log.timestamp
            )
            log.hour = moment.strftime("%Y-%m-%d %H:00") if moment else False

    @api.model
    def _search_hour(self, operator, value):
        if operator != "=":
            raise NotImplementedError
        if not value:
            return [("timestamp", "=", False)]
        start = datetime.strptime(value, "%Y-%m-%d %H:%M")
        zone = self._get_zone()
        start = zone.localize(start).astimezone(pytz.utc).replace(tzinfo=None)
        end = start + timedelta(hours=1)
        return [("timestamp", ">=", start), ("timestamp", "<", end)]

    @api.model
    def _read_group_groupby(self, *args):
        *_alias, groupby_spec, query = args  # 19.0 has the alias of the table as well
        if groupby_spec != "hour":
            return super()._read_group_groupby(*args)
        return SQL(
            "to_char(timezone(%s, timezone('UTC', %s)), 'YYYY-MM-DD HH24:00')",
            self._get_zone().zone,
            self._field_to_sql(self._table, "timestamp", query),
        )

    @api.model
    def _get_zone(self):
        name = self.env.context.get("tz") or self.env.user.tz
        return pytz.timezone(name if name in pytz.all_timezones_set else "UTC")

    @api.depends("model", "record_id")
    def _compute_has_record(self):
        for log in self:
            log.has_record = bool(
                log.record_id
                and log.model in self.env
                and can_open(self.env[log.model].browse(log.record_id))
            )

    @api.depends("direction", "config_id", "method", "delivery_id")
    def _compute_can_replay(self):
        can_configure = self.env["bj.api.sync.config"].has_access("write")
        for log in self:
            log.can_replay = bool(
                can_configure
                and log.config_id
                and (log.delivery_id if log.direction == "out" else log.method)
            )

    def _get_curl(self):
        """Return the request as a command line, with what was masked left masked."""
        self.ensure_one()
        url = self.url
        if self.direction == "in":
            url = f"{self.get_base_url()}{url}"
        headers = {
            name: value
            for name, value in parse_headers(self.request_headers).items()
            if name.lower() not in UNSENT_HEADERS
        }
        return to_curl(self.method, url, headers, self.request_data)

    def action_open_config(self):
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "res_model": "bj.api.sync.config",
            "res_id": self.config_id.id,
            "views": [(False, "form")],
        }

    def action_open_delivery(self):
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "res_model": "bj.api.sync.delivery",
            "res_id": self.delivery_id.id,
            "views": [(False, "form")],
        }

    def action_replay(self):
        """In: open the request in the preview. Out: send the delivery again."""
        self.ensure_one()
        if not self.can_replay:
            raise UserError(
                self.env._("There is no configuration or delivery to replay this with.")
            )
        if self.direction == "out":
            return self.delivery_id.action_send_again()
        action = self.config_id.action_open_preview()
        action["context"]["default_log_id"] = self.id
        return action

    def action_replay_many(self, progress=None):
        """Do again what these ask for, the oldest first, each in a savepoint of its own.

        Calls that only read, and those of which the log has masked a part, are left out.
        """
        self.env["bj.api.sync.config"].check_access("write")
        return self.sorted("id")._in_steps(
            "action_replay_many",
            lambda logs: logs._replay(),
            self._describe_replay,
            progress,
            size=1,
        )

    def _replay(self):
        self.ensure_one()
        if self.can_replay and self.direction == "out":
            self.delivery_id.check_access("read")
            counts = self.delivery_id._send_again()
            return {"done": counts["count"], "overtaken": counts["overtaken"]}
        if (
            not self.can_replay
            or self.method not in WRITING
            or not self.config_id.active
        ):
            return {"left": 1}
        preview = self.env["bj.api.sync.preview"].create(
            {"config_id": self.config_id.id, "log_id": self.id}
        )
        if preview.is_masked:
            return {"left": 1}
        return {"done" if preview._replay() else "failed": 1}

    def _describe_replay(self, counts):
        lines = [self.env._("%(count)s done again.", count=counts["done"])]
        if counts["failed"]:
            lines.append(
                self.env._(
                    "%(count)s failed again: see the newest rows.",
                    count=counts["failed"],
                )
            )
        if counts["left"]:
            lines.append(
                self.env._(
                    "%(count)s left out: they only read, hold masked values, or have no "
                    "configuration.",
                    count=counts["left"],
                )
            )
        if counts["overtaken"]:
            lines.append(
                self.env._(
                    "%(count)s left out: there are newer deliveries of their records.",
                    count=counts["overtaken"],
                )
            )
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "message": " ".join(lines),
                "type": "warning" if counts["failed"] else "success",
                "sticky": any(counts[name] for name in ("failed", "left", "overtaken")),
                "next": {"type": "ir.actions.client", "tag": "soft_reload"},
            },
        }


def pretty(text):
    """Return JSON text with line breaks; other text as it is."""
    try:
        return json.dumps(loads_foreign(text), indent=2, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # writing it nests as well
        return text


def summary(text):
    """Return the beginning of a message, for one line of a list."""
    line = (text or "").strip().partition("\n")[0]
    return line if len(line) <= MAX_SUMMARY else f"{line[:MAX_SUMMARY]}…"


def can_open(records):
    """Tell whether there is one of these that the user may look at."""
    return bool(records.exists()._filtered_access("read"))


def parse_headers(text):
    """Return the headers of a log row as a ``dict``, empty if they cannot be read."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def pretty_headers(text):
    headers = parse_headers(text)
    if not headers:
        return False if text == "{}" else text
    return "\n".join(f"{name}: {value}" for name, value in headers.items())


def is_masked(text):
    """Tell whether redaction took something out of ``text``, or cut it."""
    return f'"{redact.MASK}"' in (text or "")
