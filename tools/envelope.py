"""The three shapes of an answer: ``bare``, ``status`` and ``success``.

========  ==============================================  ===============================
format    object or list                                  error
========  ==============================================  ===============================
bare      the payload                                     ``{"message"}``, or ``{"error",
                                                          "line_id", "status_code"}``
status    ``{"status": "success", "data"}``               ``{"status": "error",
                                                          "message", "code"}``
success   ``{"success": true, "data", "message"}``        ``{"success": false, "error":
                                                          {"code", "message", "details"}}``
========  ==============================================  ===============================

``code`` is the HTTP status in ``status`` and the stable name in ``success``, as is
``status_code`` in ``bare``. Errors carry ``request_id`` and, if there are any,
``details`` besides; a list in an envelope carries ``pagination`` if it has one.
"""

DEFAULT_MESSAGE = "Success"


def success(format, response):
    """Return the JSON value that answers a successful request.

    :param str format: ``bare``, ``status`` or ``success``
    :param ApiResponse response: ``kind`` ``raw`` is never wrapped
    :return: any JSON value; ``None`` where the status has no body
    """
    if response.status in (204, 304):
        return None
    if response.kind == "raw":
        return response.payload
    return _SUCCESS[format](response)


def error(
    format, code, error_code, message, line_id=None, details=None, request_id=None
):
    """Return the JSON value that answers a failed request.

    :param str format: ``bare``, ``status`` or ``success``
    :param int code: HTTP status
    :param str error_code: stable name, as ``VALIDATION_ERROR``
    :param int line_id: configuration line that failed, if one did
    :param dict details: facts for a program
    """
    value = _ERROR[format](code, error_code, message, line_id, dict(details or {}))
    if request_id:
        value["request_id"] = request_id
    return value


def _bare_success(response):
    return response.payload


def _status_success(response):
    return _paginated({"status": "success", "data": response.payload}, response)


def _success_success(response):
    value = {
        "success": True,
        "data": response.payload,
        "message": response.message or DEFAULT_MESSAGE,
    }
    return _paginated(value, response)


def _paginated(value, response):
    if response.pagination is not None:
        value["pagination"] = response.pagination
    return value


def _bare_error(_code, error_code, message, line_id, details):
    if line_id:
        value = {"error": message, "line_id": line_id, "status_code": error_code}
    else:
        value = {"message": message}
    return _detailed(value, details)


def _status_error(code, _error_code, message, line_id, details):
    value = {"status": "error", "message": message, "code": code}
    if line_id:
        value["line_id"] = line_id
    return _detailed(value, details)


def _success_error(_code, error_code, message, line_id, details):
    if line_id:
        details.setdefault("line_id", line_id)
    return {
        "success": False,
        "error": {"code": error_code, "message": message, "details": details},
    }


def _detailed(value, details):
    if details:
        value["details"] = details
    return value


_SUCCESS = {
    "bare": _bare_success,
    "status": _status_success,
    "success": _success_success,
}
_ERROR = {"bare": _bare_error, "status": _status_error, "success": _success_error}
