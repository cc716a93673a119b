import ast
import base64
import copy
import functools
import logging
from datetime import timedelta

import odoo
import psycopg2
import pytz
from dateutil.relativedelta import relativedelta
from odoo import Command, api, fields, models
from odoo.exceptions import (
    AccessError,
    RedirectWarning,
    UserError,
    ValidationError,
)
from odoo.tools import float_compare
from odoo.tools.safe_eval import dateutil, safe_eval, test_python_expr

from ..compat import SAFE_EVAL_OPTIONS
from ..exceptions import ACCESS_REFUSED, ApiError, ScriptError
from ..tools import (
    deadline,
    script_cursor,
    script_helpers,
    script_limits,
    script_lint,
    script_result,
    script_rewrite,
)
from ..tools.script_state import running

_logger = logging.getLogger("bj.api.script")
_logger.addFilter(script_helpers.keep_in_one_record)

DEFAULT_TIMEOUT = 10.0  # seconds
FILENAME = "<bj_api_sync script>"  # of the script's frames in a traceback
DOMAIN_FILENAME = "<bj_api_sync domain>"
COMMIT_MARK = "bj_api_sync.script"


class _Nothing:
    """What an Execute script gives that has not set ``result``."""

    __slots__ = ()

    def __bool__(self):
        return False

    def __repr__(self):
        return "NOTHING"


NOTHING = _Nothing()

# The variables that are the same for every run.
HELPERS = {
    "time": script_helpers.Time(),
    "datetime": script_helpers.Datetime(),
    "dateutil": dateutil,
    "timezone": script_helpers.Timezone(pytz.timezone),
    "timedelta": timedelta,
    "float_compare": script_helpers.Function(float_compare),
    "b64encode": script_helpers.Function(base64.b64encode),
    "b64decode": script_helpers.Function(base64.b64decode),
    "json": script_helpers.Json(),
    "re": script_helpers.Re(),
    "UserError": UserError,
    "Command": Command,
    "log": script_helpers.Log(_logger),
    "_logger": script_helpers.Logger(_logger),
    "hmac_sha256": script_helpers.Function(script_helpers.hmac_sha256),
    "sha256": script_helpers.Function(script_helpers.sha256),
    "range": script_helpers.Function(script_helpers.limited_range, "range"),
    "xrange": script_helpers.Function(script_helpers.limited_range, "range"),
    **{
        name: script_helpers.Function(function, name)
        for name, function in script_limits.FUNCTIONS.items()
    },
}
# What stands in for operators and methods; a script cannot say their names.
OPERATIONS = {
    name: script_helpers.Function(function, name)
    for name, function in script_limits.OPERATIONS.items()
}
GUARDED_METHODS = frozenset(name for _kind, name in script_limits.METHODS)
# What is sent or answered when a script has gone over it.
OUTCOMES = ("request_data", "response_data", "headers", "params")


class BjApiSyncScript(models.AbstractModel):
    """Runs the scripts and domains of the configurations.

    The only caller of ``safe_eval``: what a script sees is made in :meth:`_make_context`, what
    it may contain is checked by :meth:`_check`, on saving and before each run.
    """

    _name = "bj.api.sync.script"
    _description = "API Script"

    @api.model
    def _check(self, source, mode):
        """Raise :class:`ScriptError` for a script that may not or cannot run.

        :param str mode: ``evaluate`` or ``execute``
        """
        problems = _problems(source or "", mode)
        if problems:
            raise ScriptError("\n".join(map(_sentence, problems)))

    @api.model
    def _make_context(
        self,
        config,
        *,
        direction,
        records,
        request_data=None,
        params=None,
        headers=None,
        method="",
        line=None,
        **more,
    ):
        """Return the variables of a script, by name.

        Everything belongs to the environment of ``self``: its user, rights and language.
        ``request_data``, ``params`` and ``headers`` are the caller's own objects, which
        the script may change.

        :param str direction: ``in`` or ``out``
        :param records: recordset, or ``None`` for none
        :param more: further variables, e.g. ``response``
        """
        model = self.env[config.model_name]
        records = model if records is None else records.with_env(self.env)
        if line is None:
            line = self.env["bj.api.sync.config.line"]
        return {
            **HELPERS,
            "env": self.env,
            "model": model,
            "record": records[:1],
            "records": records,
            "request_data": {} if request_data is None else request_data,
            "params": {} if params is None else params,
            "headers": {} if headers is None else headers,
            "method": method,
            "direction": direction,
            "config": config.with_env(self.env),
            "line": line.with_env(self.env),
            **more,
        }

    @api.model
    def _run(self, source, mode, context, *, name, line_id=None):
        """Run a script and return its value.

        ``evaluate`` gives the value of the expression, ``execute`` that of ``result``, or
        ``NOTHING`` when the script has not set it. ``context`` is changed in place, so
        that the caller sees what the script has bound again.

        Errors of PostgreSQL that Odoo answers by repeating the request, or by the message
        of the constraint, pass unchanged.

        :param str name: how messages call the script
        :raise ScriptError: the script was refused, failed or took too long
        """
        source = source or ""
        problems = _problems(source, mode)
        if problems:
            raise self._error(name, problems[0].message, problems[0].line, line_id)
        context.pop("result", None)
        marks = self.env.cr.postrollback.data
        mark = marks.setdefault(COMMIT_MARK, object())  # gone after commit and rollback
        outcomes = () if line_id else OUTCOMES
        try:
            with running(), script_cursor.guarded(self.env.cr) as guard:
                value = deadline.run(
                    lambda: _evaluate(source, mode, context, outcomes),
                    self._timeout(),
                    evented=odoo.evented,
                )
        except script_result.NoNumber as error:
            raise self._no_number(name, error.got, line_id) from error
        except script_result.NoData as error:
            raise self._error(name, str(error), 0, line_id) from error
        except Exception as raised:
            error = _original(raised)
            if isinstance(error, psycopg2.OperationalError | psycopg2.IntegrityError):
                raise error from None  # not safe_eval's wrapper
            line = _line_number(error, source, mode)
            raise self._error(name, _describe(error), line, line_id) from error
        if guard.is_broken() or marks.get(COMMIT_MARK) is not mark:
            raise self._error(name, script_cursor.REASON, 0, line_id)
        return value

    @api.model
    def _eval_domain(self, config, user=None, company_id=None):
        """Return the Filter Domain as a list.

        :param config: configuration, or ``(model name, text of the domain)``
        :param user: what ``user`` and ``uid`` are, else the user of the environment
        :param int company_id: else the id of the company of the environment
        :raise ValidationError: it is refused, fails, or is no list
        """
        text = config[1] if isinstance(config, tuple) else config.filter_domain
        return self._eval_domain_text(text, user, company_id)

    @api.model
    def _eval_domain_text(self, text, user=None, company_id=None):
        """As :meth:`_eval_domain`, for the text of a domain."""
        text = (text or "").strip()
        if text in ("", "[]"):
            return []
        literal = _literal_domain(text)
        if literal is not None:
            return copy.deepcopy(literal)
        problems = _domain_problems(text)
        if problems:
            raise self._domain_error(text, problems[0])
        variables = self._domain_context(text, user or self.env.user, company_id)
        try:
            domain = safe_eval(text, variables, filename=DOMAIN_FILENAME)
        except Exception as error:
            raise self._domain_error(text, _describe(_original(error))) from error
        if not isinstance(domain, list):
            raise self._domain_error(text, "it is not a list")
        return domain

    @api.model
    def _domain_context(self, text, user, company_id):
        zone = user.tz or "UTC"
        datetime = HELPERS["datetime"]
        if "to_utc" in text:
            datetime = script_helpers.Datetime(
                script_helpers.local_datetime(pytz.timezone(zone))
            )
        today = functools.partial(fields.Date.context_today, self.with_context(tz=zone))
        return {
            "uid": user.id,
            "user": user,
            "company_id": company_id or self.env.company.id,
            "time": HELPERS["time"],
            "datetime": datetime,
            "timedelta": HELPERS["timedelta"],
            "relativedelta": relativedelta,
            "context_today": script_helpers.Function(today, "context_today"),
        }

    @api.model
    def _domain_error(self, text, error):
        return ValidationError(
            self.env._(
                "The domain %(domain)s cannot be evaluated: %(error)s",
                domain=text,
                error=error,
            )
        )

    @api.model
    def _timeout(self):
        """Return the seconds that a script may take."""
        value = (
            self.env["ir.config_parameter"]
            .sudo()
            .get_param("bj_api_sync.script_timeout")
        )
        try:
            seconds = float(value or 0)
        except ValueError:
            seconds = 0
        return seconds if 0 < seconds < 86400 else DEFAULT_TIMEOUT

    @api.model
    def _no_number(self, name, got, line_id=None):
        message = self.env._(
            "%(got)s is not a number that JSON has; give None, or a number.", got=got
        )
        return self._error(name, message, 0, line_id)

    @api.model
    def _error(self, name, message, line, line_id):
        if line:
            description = self.env._(
                "Script %(name)s, line %(line)s: %(message)s",
                name=name,
                line=line,
                message=message,
            )
        else:
            description = self.env._(
                "Script %(name)s: %(message)s", name=name, message=message
            )
        return ScriptError(description, line_id=line_id)


def _evaluate(source, mode, context, outcomes=()):
    """Call safe_eval and return the value, or ``result``, with nothing left to compute.

    :param outcomes: names of the variables that are looked at as the value is
    :raise script_result.NoData: it is no data
    """
    context.update(OPERATIONS)
    try:
        value = _call_safe_eval(source, mode, context)
        for name in outcomes:
            script_result.check(name, context.get(name), (models.BaseModel,))
    finally:
        for name in (*OPERATIONS, *script_rewrite.OWN_NAMES, "__builtins__"):
            context.pop(name, None)
    return value


def _call_safe_eval(source, mode, context):
    safe_eval(
        _rewritten(source, mode),
        context,
        mode="exec",
        filename=FILENAME,
        **SAFE_EVAL_OPTIONS,
    )
    name = script_rewrite.VALUE if mode == "evaluate" else "result"
    value = context.get(name, NOTHING)
    # `map` and generators would run later, out of the sandbox's sight and its deadline.
    value = list(value) if hasattr(value, "__next__") else value
    if value is not NOTHING:
        script_result.check("result", value, (models.BaseModel,))
    return value


@functools.lru_cache(maxsize=512)
def _rewritten(source, mode):
    return script_rewrite.rewrite(source, mode, GUARDED_METHODS)


@functools.lru_cache(maxsize=512)
def _problems(source, mode):
    """Return what is wrong with a script before it runs, as a tuple of ``Problem``."""
    problems = script_lint.check(source, mode)
    if problems:
        return tuple(problems)
    try:
        message = test_python_expr(source, script_lint.COMPILE_MODES[mode])
    except (NameError, RecursionError, MemoryError) as error:
        message = str(error) or "nested too deep"
    if not message:
        return ()
    explained = script_lint.explain_opcodes(source, mode, message)
    return (explained or script_lint.Problem(0, message),)


@functools.lru_cache(maxsize=512)
def _domain_problems(text):
    return tuple(script_lint.check_domain(text))


@functools.lru_cache(maxsize=512)
def _literal_domain(text):
    """Return the list that a domain without variables is, else ``None``."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def _original(error):
    """Return what the script raised: safe_eval wraps it into a ``ValueError``."""
    if type(error) is ValueError and "while evaluating\n" in str(error):
        return error.__context__ or error
    return error


def _line_number(error, source, mode):
    """Return the line of the script where ``error`` was raised, 0 when unknown."""
    if isinstance(error, deadline.DeadlineExceeded):
        error = error.__cause__
    line = 0
    trace = error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == FILENAME:
            line = trace.tb_lineno + script_lint.line_shift(source, mode)
        trace = trace.tb_next
    return line


def _describe(error):
    """Return the message of an exception, with its class where that says something."""
    if isinstance(error, ApiError):
        return error.description
    if isinstance(error, script_cursor.TransactionError):
        return str(error)
    if isinstance(error, deadline.DeadlineExceeded):
        return f"{error} (bj_api_sync.script_timeout)"
    if isinstance(error, AccessError):  # the caller's answer; the log has Odoo's text
        return f"AccessError: {ACCESS_REFUSED}"
    if isinstance(error, UserError | RedirectWarning):
        return str(error.args[0]) if error.args else type(error).__name__
    if isinstance(error, KeyError):
        return f"KeyError: {error.args[0]!r}" if error.args else "KeyError"
    return f"{type(error).__name__}: {error}"


def _sentence(problem):
    text = str(problem)
    return text[:1].upper() + text[1:]
