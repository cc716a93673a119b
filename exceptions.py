"""Every error that the API answers with: HTTP status, stable CODE and details.

:class:`ApiError` extends werkzeug's ``HTTPException`` because Odoo lets only that family
(and ``AccessDenied``) leave an authentication method unchanged. ``code`` is werkzeug's
name for the HTTP status; ``error_code`` is the CODE of the answer, stable for clients.
"""

from werkzeug.exceptions import HTTPException


class ApiError(HTTPException):
    """A request that is refused, with what the caller needs to mend it.

    :param str description: sentence for a person: what was wrong, where, what to do
    :param dict details: more facts for a program, e.g. ``{"key": "email", "line_id": 3}``
    :param dict headers: answer headers that belong to the status, e.g. ``Allow``
    :param int line_id: configuration line that failed, if one did
    """

    code = 400
    error_code = "BAD_REQUEST"

    def __init__(self, description=None, *, details=None, headers=None, line_id=None):
        super().__init__(description)
        self.details = dict(details or {})
        self.extra_headers = dict(headers or {})
        self.line_id = line_id


class BadRequest(ApiError):
    """The request cannot be understood: JSON, query string or header."""


class PayloadError(ApiError):
    """The body is well-formed JSON that does not fit the mapping.

    :param list errors: ``[{"index": int, "key": str, "line_id": int, "message": str}]``,
        ``index`` being the row in a bulk call and 0 otherwise
    """

    error_code = "VALIDATION_ERROR"

    def __init__(self, errors, **kwargs):
        first = errors[0]
        details = {
            key: first[key] for key in ("key", "line_id", "index") if key in first
        }
        super().__init__(
            first["message"] if len(errors) == 1 else summary(errors),
            details={**details, "errors": errors},
            line_id=first.get("line_id"),
            **kwargs,
        )
        self.errors = errors


class ScriptError(ApiError):
    """A script of the configuration failed or was refused."""

    error_code = "VALIDATION_ERROR"


class Unauthorized(ApiError):
    code = 401
    error_code = "UNAUTHORIZED"


class Forbidden(ApiError):
    """The caller is known and may not do this."""

    code = 403
    error_code = "FORBIDDEN"


class NotFound(ApiError):
    code = 404
    error_code = "NOT_FOUND"


class MethodNotAllowed(ApiError):
    code = 405
    error_code = "METHOD_NOT_ALLOWED"


class NotAcceptable(ApiError):
    code = 406
    error_code = "NOT_ACCEPTABLE"


class RequestTimeout(ApiError):
    code = 408
    error_code = "REQUEST_TIMEOUT"


class Conflict(ApiError):
    code = 409
    error_code = "CONFLICT"


class PreconditionFailed(ApiError):
    code = 412
    error_code = "PRECONDITION_FAILED"


class PayloadTooLarge(ApiError):
    code = 413
    error_code = "PAYLOAD_TOO_LARGE"


class UnsupportedMediaType(ApiError):
    code = 415
    error_code = "UNSUPPORTED_MEDIA_TYPE"


class IdempotencyMismatch(ApiError):
    code = 422
    error_code = "IDEMPOTENCY_MISMATCH"


class RateLimited(ApiError):
    code = 429
    error_code = "RATE_LIMITED"


class DryRun(HTTPException):
    """Leaves the controller with an answer but without its effect: Odoo rolls back.

    :param ApiResponse response: what is answered
    """

    code = 200

    def __init__(self, response):
        super().__init__()
        self.api_response = response


# SQLSTATE of what another record stands in the way of: foreign key, its RESTRICT since
# PostgreSQL 18, unique, exclusion.
STILL_USED = ("23503", "23001")
CONFLICT_CODES = (*STILL_USED, "23505", "23P01")
DATABASE_BUSY = "The database is busy, repeat the request %s."  # its request id
# Odoo's own text names rules, users and hidden records; it goes to the log only.
ACCESS_REFUSED = "The user that this endpoint runs as has no right to do this."


def summary(errors):
    """Return one sentence for several errors: the first in full, the others counted."""
    return f"{errors[0]['message']} (and {len(errors) - 1} more, see details.errors)"
