import dataclasses
import logging
import time
import traceback
from functools import partial

from odoo.exceptions import (
    AccessDenied,
    AccessError,
    MissingError,
    RedirectWarning,
    UserError,
)
from odoo.http import Dispatcher, Response
from psycopg2 import IntegrityError
from werkzeug.exceptions import HTTPException

from ..exceptions import (
    ACCESS_REFUSED,
    CONFLICT_CODES,
    DATABASE_BUSY,
    STILL_USED,
    ApiError,
    DryRun,
    PayloadError,
    ScriptError,
)
from ..models.bj_api_log_apart import record_apart
from ..models.bj_api_sync_refusal import DATA_FAILURES, data_message
from ..models.bj_api_sync_transaction import is_busy
from ..tools import envelope, payload
from ..tools.framing import frame
from ..tools.stream import Stream

_logger = logging.getLogger("bj.api.http")

# Status, CODE and message; no message stands for the error's own. The first match wins:
# the first three are subclasses of UserError.
ODOO_ERRORS = (
    (AccessDenied, 401, "UNAUTHORIZED", "Authentication failed"),
    (AccessError, 403, "FORBIDDEN", ACCESS_REFUSED),
    (MissingError, 404, "NOT_FOUND", "The record does not exist any more."),
    (UserError, 400, "VALIDATION_ERROR", None),
    (RedirectWarning, 400, "VALIDATION_ERROR", None),
)
HTTP_CODES = {
    400: "BAD_REQUEST",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    413: "PAYLOAD_TOO_LARGE",
}
CLOSING_LINE = "closing-line"  # what a caller may prefer, RFC 7240
EXPOSED_HEADERS = (
    "ETag, Link, Location, X-Total-Count, X-Request-ID, Retry-After, "
    "Idempotent-Replayed, X-Dry-Run, X-Next-Cursor, "
    "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"
)


class LoggedResponse(Response):
    """An answer whose log row is written just before it goes out.

    Odoo calls it when the transaction of the call is over and its connection is back in
    the pool, and only once: what a repetition or an error has replaced is never called.
    """

    write_row = None

    def __call__(self, environ, start_response):
        write_row, self.write_row = self.write_row, None
        if write_row:
            write_row()
        return super().__call__(environ, start_response)


class ApiDispatcher(Dispatcher):
    """Serves the API's routes: JSON whatever happens, no session, no CSRF, no form.

    Life of a call: ``_auth_method_bj_api_sync`` sets ``inbound`` and ``endpoint``, the
    controller returns through :meth:`respond`; whatever is raised on the way ends in
    :meth:`handle_error`. Odoo then rolls back, and the log row is written when it calls
    the response; see :class:`LoggedResponse`.
    """

    routing_type = "bj_api_sync"

    def __init__(self, request):
        super().__init__(request)
        self.inbound = None
        self.endpoint = None
        self.body = None
        self.stream = None  # that is to be sent
        self.limits = None  # headers X-RateLimit-*, once the call has been counted
        self.started = time.perf_counter()

    @classmethod
    def is_compatible_with(cls, request):
        return True

    def authenticate(self, credential):
        self.inbound = dataclasses.replace(self.inbound, credential=credential)

    def dispatch(self, endpoint, args):
        self.request.params = dict(args)
        return self.request.registry["ir.http"]._dispatch(endpoint)

    def respond(self, answer, is_logged=True):
        """Return the HTTP response of an :class:`ApiResponse` and log the exchange."""
        if answer.chunks is not None:
            return self._respond_in_chunks(answer)
        value = envelope.success(self._format, answer)
        body = b"" if answer.status in (204, 304) else payload.dumps(value)
        response = self._make_response(body, answer.status, answer.headers)
        if not is_logged:
            return response
        vals = self._log_vals(response, body, status="success")
        vals.update(
            record_id=answer.record_id,
            record_count=answer.record_count,
            action=answer.action,
            details="dry run" if answer.is_dry_run else None,
        )
        is_read = self.inbound.method in ("GET", "HEAD")
        # Nobody proves himself for OPTIONS: the row is a stranger's.
        if answer.is_dry_run or self.inbound.method == "OPTIONS":
            self._log_later(response, vals)
        elif is_read and self.request.env.cr.readonly:
            self._log_later(response, vals)
        elif is_read:  # it has no effect to be one with
            self._log(self.request.env["bj.api.log"]._record_read, vals)
        else:
            self._log(self.request.env["bj.api.log"]._record, vals)
        return response

    def _respond_in_chunks(self, answer):
        """Return a response that reads its rows while they are sent, and logs then."""
        is_lines = answer.kind == "lines"
        is_closed = is_lines and self.inbound.prefers(CLOSING_LINE)
        environ = self.request.httprequest._HTTPRequest__environ
        frame(environ)
        empty = dataclasses.replace(answer, payload=[])
        empty = payload.dumps(envelope.success(self._format, empty))
        start, _brackets, end = empty.partition(b"[]")
        self._drop_stream()
        self.stream = stream = Stream(
            answer.chunks,
            payload.dumps_lines if is_lines else payload.dumps_rows,
            (b"", b"", b"") if is_lines else (start + b"[", b",", b"]" + end),
            report=self._report_break if is_lines else None,
            finish=report_end if is_closed else None,
            connection=environ.get("werkzeug.socket"),
            on_close=lambda stream: self._log_stream(answer, response, stream),
        )
        response = self._make_response(stream, answer.status, answer.headers)
        if is_lines:
            response.headers["Content-Type"] = payload.NDJSON
        if is_closed:
            response.headers["Preference-Applied"] = CLOSING_LINE
        return response

    def _drop_stream(self):
        """Forget a stream that is not sent, because Odoo repeats the call or it fails."""
        if self.stream:
            self.stream.drop()
        self.stream = None

    def _report_break(self, exc):
        """Return the last line of NDJSON that breaks off, which is no row."""
        _status, code, message = self._classify(exc)
        error = envelope.error(
            "success", 0, code, message, request_id=self.inbound.request_id
        )
        return payload.dumps_lines([error])

    def _log_stream(self, answer, response, stream):
        vals = self._log_vals(response, stream.beginning, status="success")
        vals.update(record_count=stream.rows, action=answer.action)
        if self.inbound.method != "HEAD":
            vals["details"] = (
                f"streamed: {stream.rows} rows, {stream.size} bytes;"
                " the log shows the first rows"
            )
        if stream.error:
            vals.update(
                status="error",
                error_message=own_message(stream.error)
                or self._classify(stream.error)[2],
                traceback=get_trace(stream.error),
            )
        elif not stream.is_whole and self.inbound.method != "HEAD":
            vals.update(
                status="error",
                error_message=f"The caller left after {stream.rows} rows.",
            )
        self._write_apart(vals)

    def handle_error(self, exc):
        """Return the response of any exception; the ORM may not be used any more."""
        self._drop_stream()
        if isinstance(exc, DryRun):
            return self.respond(exc.api_response)
        status, code, message = self._classify(exc)
        details = dict(getattr(exc, "details", {}))
        value = envelope.error(
            self._format,
            status,
            code,
            message,
            line_id=getattr(exc, "line_id", None),
            details=details,
            request_id=self.inbound.request_id if self.inbound else None,
        )
        body = payload.dumps(value)
        headers = dict(getattr(exc, "extra_headers", {}))
        if status == 503:
            headers["Retry-After"] = "1"
        is_dry_run = self.inbound is not None and self.inbound.is_dry_run
        if is_dry_run:
            headers["X-Dry-Run"] = "true"
        response = self._make_response(body, status, headers)
        # Without a connection there was no call yet, only somebody who knocked.
        is_call = self.inbound is not None or status != 503
        if is_call and getattr(exc, "is_logged", True):
            vals = self._log_vals(response, body, status="error")
            vals.update(
                error_message=own_message(exc) or message,
                line_id=getattr(exc, "line_id", None),
                traceback=get_trace(exc),
                details="dry run" if is_dry_run else None,
            )
            self._log_later(response, vals)
        return response

    def _classify(self, exc):
        """Return ``(status, CODE, message)`` of an exception."""
        if isinstance(exc, ApiError):
            return exc.code, exc.error_code, exc.description
        # Raised at the commit itself, it is not wrapped by Odoo.
        cause = exc if isinstance(exc, IntegrityError) else exc.__cause__
        if isinstance(cause, IntegrityError) and cause.pgcode in CONFLICT_CODES:
            return 409, "CONFLICT", conflict_message(exc, cause)
        if isinstance(exc, DATA_FAILURES):
            return 400, "BAD_REQUEST", data_message(exc)
        for family, status, code, message in ODOO_ERRORS:
            if isinstance(exc, family):
                return status, code, message or own_message(exc)
        if isinstance(exc, HTTPException) and exc.code and exc.code < 500:
            code = HTTP_CODES.get(exc.code, "BAD_REQUEST")
            return exc.code, code, exc.description or exc.name
        request_id = self.inbound.request_id if self.inbound else "-"
        if is_busy(exc):
            return 503, "INTERNAL_ERROR", DATABASE_BUSY % request_id
        message = (
            f"Internal error. Tell your Odoo administrator the request {request_id}."
        )
        return 500, "INTERNAL_ERROR", message

    @property
    def _format(self):
        return self.endpoint.response_format if self.endpoint else "bare"

    def _make_response(self, body, status, headers):
        if self.inbound is None:  # the request could not even be read
            return LoggedResponse(
                body, status=status, headers=headers, mimetype="application/json"
            )
        is_head = self.inbound.method == "HEAD"
        response = LoggedResponse(
            b"" if is_head else body, status=status, headers=headers
        )
        if is_head and isinstance(body, Stream):
            response.call_on_close(body.close)
        if status in (204, 304):
            response.headers.pop("Content-Type", None)
        else:
            response.headers["Content-Type"] = "application/json; charset=utf-8"
            if is_head and not isinstance(body, Stream):
                response.headers["Content-Length"] = str(len(body))
        response.headers.update(self.limits or {})
        response.headers["X-Request-ID"] = self.inbound.request_id
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        self._add_cors(response.headers)
        return response

    def _add_cors(self, headers):
        """Let pages of the configured origins read the answer, errors included."""
        origins = self.endpoint.cors_origins if self.endpoint else ()
        if not origins:
            return
        headers.add("Vary", "Origin")
        origin = self.inbound.headers.get("origin", "")
        if origin in origins or "*" in origins:
            headers["Access-Control-Allow-Origin"] = "*" if "*" in origins else origin
            headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS

    def _log_vals(self, response, body, status):
        inbound, endpoint = self.inbound, self.endpoint
        if inbound is None:
            return {"status": status, "direction": "in", "response_code": 400}
        return {
            "name": f"{inbound.method} {inbound.endpoint}"[:200],
            "config_id": endpoint.config_id if endpoint else None,
            "company_id": endpoint.company_id if endpoint else None,
            "user_id": endpoint.user_id if endpoint else None,
            "model": endpoint.model if endpoint else None,
            "direction": "in",
            "status": status,
            "method": inbound.method,
            "url": inbound.url,
            "request_headers": inbound.headers,
            "request_data": inbound.body or None,
            "response_headers": dict(response.headers),
            "response_data": body or None,
            "response_code": response.status_code,
            "request_id": inbound.request_id,
            "remote_addr": inbound.remote_addr,
            "duration": round(time.perf_counter() - self.started, 4),
            "content_type": inbound.headers.get("content-type", "application/json"),
            "secret_headers": endpoint.secret_headers if endpoint else (),
        }

    def _log(self, record, vals):
        record(self.endpoint.log_level if self.endpoint else "full", vals)

    def _log_later(self, response, vals):
        """Write the row when the answer goes out, which no rollback can take along."""
        response.write_row = partial(self._write_apart, vals)

    def _write_apart(self, vals):
        level = self.endpoint.log_level if self.endpoint else "full"
        is_known = self.inbound is not None and self.inbound.credential
        stranger = None if is_known else self.request.httprequest.remote_addr or ""
        record_apart(self.request.registry, level, vals, stranger)


def report_end(rows):
    """Return the last line of whole NDJSON, for who has asked for it; it is no row."""
    return payload.dumps_lines([{"success": True, "rows": rows}])


def conflict_message(exc, cause):
    """Return what the constraint says, which Odoo has looked up for most of them."""
    if cause.pgcode in STILL_USED:
        return (
            "The operation cannot be completed: another model requires the record"
            f" (constraint {cause.diag.constraint_name}). If possible, archive it"
            " instead."
        )
    return own_message(exc) or cause.diag.message_primary


def own_message(exc):
    """Return what an error of Odoo says itself, ``""`` for any other one."""
    if isinstance(exc, UserError | RedirectWarning) and exc.args:
        return str(exc.args[0])
    return ""


def get_trace(exc):
    """Return the traceback, ``None`` for a refusal that explains itself."""
    if isinstance(exc, PayloadError):
        exc = exc.__cause__  # the script that failed for a row, or the save
    if not exc or (isinstance(exc, HTTPException) and not isinstance(exc, ScriptError)):
        return None
    return "".join(traceback.format_exception(exc))
