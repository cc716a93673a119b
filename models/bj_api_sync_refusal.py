"""What a save raised, as status and sentence, and which of it is the caller's doing."""

from odoo.exceptions import AccessError, MissingError, RedirectWarning, UserError
from psycopg2 import DataError, IntegrityError
from psycopg2.errors import (
    ProgramLimitExceeded,
    StatementTooComplex,
    TooManyArguments,
    TooManyColumns,
)

from ..compat import integrity_message
from ..exceptions import (
    ACCESS_REFUSED,
    CONFLICT_CODES,
    ApiError,
    Conflict,
    Forbidden,
    NotFound,
    PayloadError,
)
from ..tools.message import RowResult

# SQLSTATE classes 54 and 22: values that PostgreSQL cannot store or compare, such as a
# text too long for an index. psycopg2 files the former under OperationalError, beside
# serialization failures, but to repeat them would help nobody.
LIMIT_FAILURES = (
    ProgramLimitExceeded,
    StatementTooComplex,
    TooManyColumns,
    TooManyArguments,
)
DATA_FAILURES = (DataError, *LIMIT_FAILURES)
# What a row may do wrong. Serialization failures are not among them: Odoo repeats the
# whole request then.
ROW_FAILURES = (
    UserError,
    RedirectWarning,
    ApiError,
    IntegrityError,
    *DATA_FAILURES,
    ValueError,
)


def describe_error(env, error):
    """Return ``(status, sentence)`` of what a save raised."""
    if isinstance(error, ApiError):
        return error.code, error.description
    if isinstance(error, IntegrityError):
        code = 409 if error.pgcode in CONFLICT_CODES else 400
        return code, integrity_message(env, error)
    if isinstance(error, DATA_FAILURES):
        return 400, data_message(error)
    code = 400
    if isinstance(error, AccessError):  # whose text names rules and hidden records
        return 403, ACCESS_REFUSED
    if isinstance(error, MissingError):
        code = 404
    return code, str(error.args[0] if error.args else error)


def data_message(error):
    """Return what PostgreSQL says about a value, without the statement it was in."""
    said = error.diag.message_primary or str(error).partition("\n")[0]
    return f"The database cannot take a value: {said}."


def refused_result(index, found, cause=None):
    """Return the result of a row from what is wrong, ``[(status, error)]``."""
    code, first = found[0]
    return RowResult(
        index=index,
        status="error",
        code=code,
        message=first["message"],
        line_id=first.get("line_id"),
        errors=[error for _code, error in found],
        cause=cause,
    )


def raise_refused(found, cause):
    """Raise what is wrong with the only row of a call: ``[(status, error)]``."""
    code, _first = found[0]
    raise refusal(code, [error for _code, error in found]) from cause


def refusal(code, errors):
    """Return the exception of a status for errors of rows."""
    error = PayloadError(errors)
    family = {403: Forbidden, 404: NotFound, 409: Conflict}.get(code)
    return family(error.description, details=error.details) if family else error
