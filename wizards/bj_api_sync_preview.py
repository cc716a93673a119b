import dataclasses
import json
import logging
import time
from urllib.parse import parse_qsl, urlsplit

import psycopg2
from odoo import SUPERUSER_ID, api, fields, models
from odoo.exceptions import UserError

from ..exceptions import ApiError, NotFound
from ..models.bj_api_log_ui import is_masked, parse_headers, pretty
from ..models.bj_api_sync_config import ROUTE
from ..models.bj_api_sync_refusal import describe_error
from ..tools import convert, dry_run, envelope, mapping, payload
from ..tools.message import Call, InboundRequest
from ..tools.node import Node

_logger = logging.getLogger("bj.api.preview")

METHODS = [(name, name) for name in ("GET", "POST", "PUT", "DELETE")]
MAX_LINES = 200  # of the table that explains a request
MAX_TEXT = 500  # characters of one of its cells
ERROR_CODES = {403: "FORBIDDEN", 404: "NOT_FOUND", 409: "CONFLICT"}


class BjApiSyncPreview(models.TransientModel):
    """What becomes of one request, shown key by key.

    Everything runs in a cursor of its own that is rolled back, so neither records nor
    what Odoo would do after a commit stay, and nothing is sent meanwhile.
    """

    _name = "bj.api.sync.preview"
    _description = "API Preview"

    config_id = fields.Many2one(
        "bj.api.sync.config", required=True, readonly=True, ondelete="cascade"
    )
    request_type = fields.Selection(related="config_id.request_type")
    model_name = fields.Char(related="config_id.model_name")
    is_pull = fields.Boolean(related="config_id.is_get")

    method = fields.Selection(
        METHODS,
        compute="_compute_method",
        compute_sudo=False,
        store=True,
        readonly=False,
    )
    log_id = fields.Many2one(
        "bj.api.log",
        string="Take a Logged Request",
        domain="[('config_id', '=', config_id), ('direction', '=', 'in')]",
        ondelete="set null",
    )
    record_key = fields.Char(
        string="Record ID",
        compute="_compute_record_key",
        compute_sudo=False,
        store=True,
        readonly=False,
        help="As at the end of the URL.",
    )
    query = fields.Char(
        compute="_compute_query", compute_sudo=False, store=True, readonly=False
    )
    body = fields.Text(
        compute="_compute_body", compute_sudo=False, store=True, readonly=False
    )
    res_id = fields.Many2oneReference(
        string="Record",
        model_field="model_name",
        compute="_compute_res_id",
        compute_sudo=False,
        store=True,
        readonly=False,
    )

    state = fields.Selection(
        [("draft", "Request"), ("shown", "Previewed"), ("done", "Done for Real")],
        default="draft",
        readonly=True,
    )
    is_error = fields.Boolean(readonly=True)
    status_code = fields.Integer(string="Status", readonly=True)
    message = fields.Text(readonly=True)
    answer = fields.Text(readonly=True)
    answer_headers = fields.Text(readonly=True)
    duration = fields.Float(string="Duration (s)", digits=(16, 4), readonly=True)
    line_ids = fields.One2many("bj.api.sync.preview.line", "preview_id", readonly=True)
    request_line = fields.Char(string="Request", readonly=True)
    request_headers = fields.Text(string="Headers", readonly=True)
    request_body = fields.Text(string="Payload", readonly=True)
    curl = fields.Char(string="As curl", readonly=True)
    is_masked = fields.Boolean(compute="_compute_is_masked")

    # Not as superuser, as Odoo computes what is stored: `log_id` is the caller's choice.
    # A method each: a value that is given at creation keeps only its own field from
    # being computed.
    @api.depends("config_id", "log_id")
    def _compute_method(self):
        for preview in self:
            methods = preview.config_id.http_method_ids.mapped("name")
            logged = preview.log_id.method
            if preview.config_id.request_type != "in":
                preview.method = False
            elif logged:
                preview.method = logged if logged in dict(METHODS) else "GET"
            else:
                write = "POST" in methods or not methods
                preview.method = "POST" if write else methods[0]

    @api.depends("log_id")
    def _compute_record_key(self):
        for preview in self:
            path = urlsplit(preview.log_id.url or "").path.removeprefix(ROUTE)
            preview.record_key = path.strip("/").partition("/")[2] or False

    @api.depends("log_id")
    def _compute_query(self):
        for preview in self:
            preview.query = urlsplit(preview.log_id.url or "").query or False

    @api.depends("config_id", "log_id")
    def _compute_body(self):
        for preview in self:
            if preview.config_id.request_type != "in":
                preview.body = False
            elif preview.log_id:
                preview.body = pretty(preview.log_id.request_data)
            else:
                preview.body = preview._get_example()

    def _get_example(self):
        sample = self.config_id._get_example()
        return json.dumps(sample, indent=2, ensure_ascii=False)

    @api.depends("config_id")
    def _compute_res_id(self):
        for preview in self:
            preview.res_id = False
            if preview.config_id.request_type == "out" and not preview.is_pull:
                config = preview.config_id
                model = self.env[config.model_name]
                if model.has_access("read"):
                    preview.res_id = model.search(
                        config._get_send_domain(), limit=1, order="id desc"
                    ).id

    @api.depends("body", "query")
    def _compute_is_masked(self):
        for preview in self:
            preview.is_masked = is_masked(preview.body) or "***" in (
                preview.query or ""
            )

    # -- buttons ---------------------------------------------------------------------

    def action_preview(self):
        self.ensure_one()
        self.config_id.check_access("write")
        self.line_ids.unlink()
        if self.request_type == "in":
            self.write(self._preview_inbound())
        else:
            self.write(self._preview_outbound())
        self.state = "shown"
        return self._reopen()

    def action_run(self):
        """In: handle the request for real. Out: send the record for real."""
        self.ensure_one()
        self.config_id.check_access("write")
        if self.request_type == "in":
            if self.is_masked:
                raise UserError(
                    self.env._(
                        "The log has masked a part of this request as ***. Put the real "
                        "value in its place first."
                    )
                )
            self.line_ids.unlink()
            self.write(self._preview_inbound(keep=True))
        else:
            self._send()
        self.state = "done"
        return self._reopen()

    def _reopen(self):
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Preview: %s", self.config_id.name),
            "res_model": self._name,
            "res_id": self.id,
            "views": [(False, "form")],
            "target": "new",
            "context": {"dialog_size": "extra-large"},
        }

    # -- In --------------------------------------------------------------------------

    def _preview_inbound(self, keep=False):
        """Handle the request; return the values of this record that tell what happened.

        :param bool keep: commit what was done, unless it failed, and log it
        """
        request = self._get_inbound_request()
        endpoint = self._get_endpoint()
        self.env.flush_all()
        registry = self.env.registry
        has_changes = bool(registry.cache_invalidated)
        started = time.perf_counter()
        with registry.cursor() as cr, dry_run.marked(not keep):
            env = api.Environment(cr, SUPERUSER_ID, {})
            answer, vals = env[self._name]._simulate(endpoint, request, not keep)
            if keep and not vals["is_error"]:
                env.flush_all()
            else:
                cr.rollback()
                if not has_changes:
                    registry.reset_changes()
        vals["duration"] = round(time.perf_counter() - started, 4)
        if keep:
            self._log_run(endpoint, request, answer, vals)
        return vals

    def _replay(self):
        """Handle the request in this transaction, log it, tell whether it succeeded."""
        request = self._get_inbound_request()
        endpoint = self._get_endpoint()
        env = api.Environment(self.env.cr, SUPERUSER_ID, {})
        started = time.perf_counter()
        with self.env.cr.savepoint() as savepoint:
            answer, vals = env[self._name]._simulate(endpoint, request, explain=False)
            if vals["is_error"]:
                savepoint.rollback()
        vals["duration"] = round(time.perf_counter() - started, 4)
        self._log_run(endpoint, request, answer, vals)
        return not vals["is_error"]

    def _get_endpoint(self):
        endpoint = self.config_id.sudo()._compile_endpoint()
        return dataclasses.replace(
            endpoint,
            endpoint=endpoint.endpoint or "preview",
            methods=endpoint.methods or tuple(dict(METHODS)),
            user_id=endpoint.user_id or self.env.uid,
            company_id=endpoint.company_id or self.env.company.id,
            # A preview is no call: it neither waits for a limit nor counts towards it.
            rate_limit_per_minute=0,
            rate_limit_per_hour=0,
        )

    def _get_inbound_request(self):
        config = self.config_id
        path = f"{ROUTE}/{config.endpoint or 'preview'}"
        if self.record_key:
            path = f"{path}/{self.record_key}"
        query = (self.query or "").lstrip("?")
        body = (self.body or "").encode() if self.method in ("POST", "PUT") else b""
        headers = {"content-type": "application/json"}
        logged = parse_headers(self.log_id.request_headers)
        for name in ("Accept-Language", "Prefer", "X-API-Version"):
            if logged.get(name):
                headers[name.lower()] = logged[name]
        return InboundRequest(
            method=self.method,
            endpoint=config.endpoint or "preview",
            record_key=self.record_key or None,
            query=tuple(parse_qsl(query, keep_blank_values=True)),
            headers=headers,
            body=body,
            request_id=f"preview-{self.id}",
            url=f"{path}?{query}" if query else path,
            base_url=config.get_base_url(),
            credential="preview",
        )

    @api.model
    def _simulate(self, endpoint, request, explain):
        """Run a request in this cursor, whose end is up to the caller.

        :return: ``(answer, vals)``; ``answer`` is the JSON value of the answer's body
        """
        inbound = self.env["bj.api.sync.inbound"]
        rows, answer, status, headers = [], None, 500, {}
        try:
            context = self.env["bj.api.sync.gate"]._get_user_context(endpoint, request)
            env = self.env(user=endpoint.user_id, context=context, su=False)
            inbound = env["bj.api.sync.inbound"]
            if explain and request.method in ("POST", "PUT"):
                rows = env[self._name]._explain_write(endpoint, request)
            response = inbound._handle(endpoint, request)
            env.flush_all()
            status, headers = response.status, response.headers
            answer = envelope.success(endpoint.response_format, response)
            message = response.message
            if explain and request.method == "GET":
                rows = env[self._name]._explain_read_answer(endpoint, request)
            elif explain:
                env[self._name]._add_after(endpoint, rows, response.record_id)
        except psycopg2.OperationalError:
            raise
        except Exception as error:
            status, code, message = classify(self.env, error)
            if status == 500:
                _logger.warning("Preview failed", exc_info=True)
            headers = dict(getattr(error, "extra_headers", {}))
            answer = envelope.error(
                endpoint.response_format,
                status,
                code,
                message,
                line_id=getattr(error, "line_id", None),
                details=dict(getattr(error, "details", {})),
            )
        vals = {
            "is_error": status >= 400,
            "status_code": status,
            "message": message if status >= 400 else False,
            "answer": json.dumps(answer, indent=2, ensure_ascii=False),
            "answer_headers": "\n".join(f"{n}: {v}" for n, v in headers.items()),
            "line_ids": [(0, 0, row) for row in rows[:MAX_LINES]],
        }
        return answer, vals

    def _log_run(self, endpoint, request, answer, vals):
        self.env["bj.api.log"].sudo()._record(
            endpoint.log_level,
            {
                "name": f"{request.method} {request.endpoint}",
                "config_id": endpoint.config_id,
                "company_id": endpoint.company_id,
                "user_id": endpoint.user_id,
                "model": endpoint.model,
                "direction": "in",
                "status": "error" if vals["is_error"] else "success",
                "method": request.method,
                "url": request.url,
                "request_headers": request.headers,
                "request_data": request.body or None,
                "response_data": payload.dumps(answer),
                "response_code": vals["status_code"],
                "error_message": vals["message"] or None,
                "request_id": request.request_id,
                "duration": vals["duration"],
                "action": "replay",
                "details": self.env._("Run by %s", self.env.user.name),
            },
        )

    # -- In, line by line ------------------------------------------------------------

    @api.model
    def _explain_write(self, endpoint, request):
        """Return a row per key of the first object of the body, nested ones too.

        What the scripts of the lines do meanwhile is undone: they run again when the
        request is handled.
        """
        cr = self.env.cr
        savepoint = cr.savepoint()
        try:
            return self._explain_first_row(endpoint, request)
        except (ApiError, UserError):
            return []  # the answer says what is wrong
        finally:
            savepoint.close(rollback=True)
            self.env.transaction.clear()

    @api.model
    def _explain_first_row(self, endpoint, request):
        inbound = self.env["bj.api.sync.inbound"]
        writer = self.env["bj.api.sync.writer"]
        plan = inbound._get_plan(endpoint)
        call = inbound._make_call(endpoint, request)
        body = inbound._parse_body(endpoint, request, call)
        row = body[0] if isinstance(body, list) else body
        if not isinstance(row, dict):
            return []
        node = Node(plan, row, 0)
        operation = "create" if request.method == "POST" else "update"
        if endpoint.upsert:
            operation = "upsert"
        if request.record_key:
            try:
                node.record = inbound._find_record(
                    endpoint, plan, request, for_write=True
                )
            except NotFound:
                if not endpoint.upsert:
                    raise
                node.row = inbound._with_identifier(plan, row, request)
        errors = writer._prepare(
            [node], call, operation, inbound._get_filter_domain(endpoint)
        )
        messages = {}
        for _code, error in errors.by_index.get(0, ()):
            messages.setdefault(error.get("key", ""), error["message"])
        rows = []
        self._explain_node(node, messages, rows, top=True)
        unknown = mapping.unknown_keys(row, plan.rules)
        rows += [
            {
                "api_key": key,
                "raw": as_text(take_text(row, key)),
                "state": "error" if plan.reject_unknown_keys else "ignored",
                "message": self.env._("No line maps this key."),
            }
            for key in unknown
        ]
        return rows

    @api.model
    def _explain_node(self, node, messages, rows, top=False):
        changes = {}
        if node.record and not messages:
            changes = self.env["bj.api.sync.diff"]._get_changes(node)
        links = {found.rule.line_id: found for found in node.links}
        for rule in node.plan.rules:
            key = f"{node.trail}{rule.api_key}"
            raw = mapping.take(node.row, rule.key_path)
            name = rule.field_path
            vals = {
                "line_id": rule.line_id,
                "api_key": key,
                "field_name": name,
                "raw": "" if raw is mapping.ABSENT else as_text(raw),
                "before": self._get_before(node, rule) if top else "",
            }
            linked = links.get(rule.line_id)
            if key in messages:
                vals.update(state="error", message=messages[key])
            elif linked or name in node.vals:
                vals["converted"] = (
                    self._describe_links(linked) if linked else as_text(node.vals[name])
                )
                is_new = linked and any(child.record is None for child in linked.nodes)
                is_same = node.record and not messages and name not in changes
                vals["state"] = "same" if is_same and not is_new else "written"
            elif not rule.writes:
                vals["state"] = "read_only"
            elif raw is mapping.ABSENT:
                vals["state"] = "absent"
            else:
                vals["state"] = "ignored"
            rows.append(vals)
            for child in linked.nodes if linked else ():
                # A record that is named twice is one node, explained where it is first.
                is_first = child.trail.startswith((f"{key}.", f"{key}["))
                if is_first and not child.lookup_only and len(rows) < MAX_LINES:
                    self._explain_node(child, messages, rows)

    @api.model
    def _get_before(self, node, rule):
        if not node.record or len(rule.path) != 1:
            return ""
        return self._show(node.record, rule.field_path)

    @api.model
    def _describe_links(self, links):
        names = [
            f"{child.record.display_name} ({child.record.id})"
            if child.record
            else self.env._("new")
            for child in links.nodes
        ]
        text = ", ".join(names) or self.env._("none")
        if links.remove:
            count = len(links.remove)
            text = self.env._("%(kept)s; removes %(count)s", kept=text, count=count)
        return text

    @api.model
    def _add_after(self, endpoint, rows, record_id):
        """Fill what the fields of the rows are after the write, if it named a record."""
        if not record_id or not rows:
            return
        record = self.env[endpoint.model].browse(record_id).exists()
        for row in rows:
            name = row.get("field_name")
            if record and name and "." not in name and not is_nested(row, rows):
                row["after"] = self._show(record, name)

    @api.model
    def _show(self, record, name):
        """Return a field's value as a person reads it."""
        try:
            value = record[name]
            if isinstance(value, models.BaseModel):
                return ", ".join(value.sudo().mapped("display_name"))[:MAX_TEXT]
            return as_text(convert.to_json(record._fields[name].type, value))
        except UserError:
            return self.env._("not readable")

    @api.model
    def _explain_read_answer(self, endpoint, request):
        inbound = self.env["bj.api.sync.inbound"]
        plan = inbound._get_plan(endpoint)
        call = inbound._make_call(endpoint, request)
        if request.record_key:
            record = inbound._find_record(endpoint, plan, request)
        else:
            listing = inbound._parse_query(endpoint, plan, request)
            domain = [*inbound._get_filter_domain(endpoint), *listing.domain]
            record = self.env[plan.model].search(domain, limit=1)
        return self._explain_read(plan, record, call) if record else []

    @api.model
    def _explain_read(self, plan, record, call):
        """Return a row per line: the field's value and what the payload has for it."""
        [data] = self.env["bj.api.sync.reader"]._read_payloads(plan, record, call)
        rows = []
        for rule in plan.rules:
            value = mapping.take(data, rule.key_path)
            is_sent = value is not mapping.ABSENT
            rows.append(
                {
                    "line_id": rule.line_id,
                    "api_key": rule.api_key,
                    "field_name": rule.field_path,
                    "before": self._show(record, rule.field_path)
                    if len(rule.path) == 1
                    else "",
                    "converted": as_text(value) if is_sent else "",
                    "state": "sent" if is_sent else "ignored",
                }
            )
        return rows

    # -- Out -------------------------------------------------------------------------

    def _preview_outbound(self):
        record = self._get_record()
        self.env.flush_all()
        registry = self.env.registry
        has_changes = bool(registry.cache_invalidated)
        with registry.cursor() as cr, dry_run.marked():
            env = self.env(cr=cr)
            config = self.config_id.with_env(env)
            found = config._preview_outbound(record.with_env(env))
            rows = []
            if not found.get("error"):
                plan = config._get_plan(config.id)
                call = Call(config.id, "out", found["method"])
                record_sudo = record.with_env(env).sudo()
                rows = record_sudo.env[self._name]._explain_read(
                    plan, record_sudo, call
                )
            cr.rollback()
            if not has_changes:
                registry.reset_changes()
        headers = found.get("headers") or {}
        return {
            "is_error": bool(found.get("error")),
            "message": found.get("error") or False,
            "request_line": f"{found.get('method', '')} {found.get('url', '')}".strip(),
            "request_headers": "\n".join(f"{n}: {v}" for n, v in headers.items()),
            "request_body": pretty(found.get("payload")),
            "curl": found.get("curl"),
            "status_code": 0,
            "answer": False,
            "line_ids": [(0, 0, row) for row in rows[:MAX_LINES]],
        }

    def _send(self):
        started = time.perf_counter()
        result = self.config_id._make_outbound_http_request(self._get_record())
        self.write(
            {
                "is_error": not result,
                "status_code": result.status_code or 0,
                "message": False if result else result["message"],
                "answer": pretty(result.text) or result["message"],
                "answer_headers": "\n".join(
                    f"{n}: {v}" for n, v in result.headers.items()
                ),
                "duration": round(time.perf_counter() - started, 4),
            }
        )


class BjApiSyncPreviewLine(models.TransientModel):
    _name = "bj.api.sync.preview.line"
    _description = "API Preview Line"

    preview_id = fields.Many2one(
        "bj.api.sync.preview", required=True, ondelete="cascade"
    )
    line_id = fields.Many2one("bj.api.sync.config.line", ondelete="cascade")
    api_key = fields.Char(string="External API Key")
    field_name = fields.Char(string="Field")
    raw = fields.Char(string="Received")
    converted = fields.Char()
    before = fields.Char()
    after = fields.Char()
    state = fields.Selection(
        [
            ("written", "Written"),
            ("same", "Unchanged"),
            ("absent", "Not sent"),
            ("read_only", "Read only"),
            ("ignored", "Ignored"),
            ("sent", "Sent"),
            ("error", "Error"),
        ]
    )
    message = fields.Char()


def classify(env, error):
    """Return ``(status, CODE, message)`` that an exception is answered with."""
    if isinstance(error, ApiError):
        return error.code, error.error_code, error.description
    if isinstance(error, UserError | psycopg2.IntegrityError):
        status, message = describe_error(env, error)
        return status, ERROR_CODES.get(status, "VALIDATION_ERROR"), message
    return 500, "INTERNAL_ERROR", f"{type(error).__name__}: {error}"


def as_text(value):
    """Return any value in one line, cut to what a cell can show."""
    if isinstance(value, str):
        text = value
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def take_text(row, key):
    value = mapping.take(row, mapping.split_key(key))
    return "" if value is mapping.ABSENT else value


def is_nested(row, rows):
    """Tell whether a row explains a related record: its key has the key of another."""
    return any(
        other is not row
        and row["api_key"].startswith((f"{other['api_key']}.", f"{other['api_key']}["))
        for other in rows
    )
