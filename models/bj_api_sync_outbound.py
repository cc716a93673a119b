import base64
import json
import logging
import re
import traceback
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from http import HTTPStatus
from urllib.parse import urlsplit

import psycopg2
from odoo import SUPERUSER_ID, api, models
from odoo.exceptions import UserError
from odoo.modules.module import get_manifest

from ..exceptions import ApiError, ScriptError
from ..tools import convert, mapping, payload, redact, retry, signature, transport
from ..tools import url as url_tools
from ..tools.message import Call, OutboundRequest
from .bj_api_sync_config import split_list
from .bj_api_sync_delivery import (
    METHODS,
    TRICKLE_SECONDS,
    Claim,
    Row,
    Settlement,
)
from .bj_api_sync_phrase import translate
from .bj_api_sync_script import NOTHING

_logger = logging.getLogger("bj.api.outbound")

TRIGGERS = "bj_api_sync.triggers"
KNOWN = "bj_api_sync.known_triggers"
TRANSACTION = "bj_api_sync.transaction"
ANSWERED = "bj_api_sync.answered"
MAX_SNIPPET = 300  # characters of an answer in an error message
MAX_PULL_BYTES = 10 * 1024 * 1024

# What an administrator does about a status that is final.
ADVICE = {
    400: "Check the payload against what the other side expects.",
    401: "Check the Authorization of the configuration.",
    403: "Check the rights of the credentials on the other side.",
    404: "Check the Request URL.",
    405: "Check the HTTP method of the configuration.",
    409: "The other side reports a conflict with what it has.",
    410: "The address is gone for good; the configuration has been paused.",
    413: "Send fewer or smaller records: lower Page Size.",
    415: "Check the Content Type of the configuration.",
    422: "Check the payload against what the other side expects.",
}


@dataclass(frozen=True)
class Target:
    """What sending needs of an Out configuration, with secrets in clear: never logged,
    never cached beyond a pass."""

    config_id: int
    name: str
    model: str
    method: str
    headers: dict
    secret_headers: tuple
    content_type: str
    signing_secrets: tuple
    connect_timeout: int
    read_timeout: int
    max_attempts: int
    verify_tls: bool
    log_level: str
    blocked_networks: tuple
    max_response_bytes: int
    handles_answer: bool
    credential: str = ""  # as whom it is sent, see ``_get_credential``
    watches_arrival: bool = False  # see ``_find_arrived``

    @property
    def total_timeout(self):
        """Seconds of one attempt in all; a read timeout is per chunk."""
        return self.connect_timeout + self.read_timeout + TRICKLE_SECONDS


@dataclass(frozen=True)
class Answered:
    """The delivery whose answer is being used, in this transaction."""

    config_id: int
    res_ids: tuple
    event: str


@dataclass(frozen=True)
class Draft:
    """What every request of a configuration begins with, read once for a batch."""

    params: dict  # {name: value or list of values}
    headers: dict  # those that are not secret
    redactor: redact.Redactor

    def _get_params(self):
        """Return Parameters that the caller may change."""
        return {
            name: list(value) if isinstance(value, list) else value
            for name, value in self.params.items()
        }


@dataclass(frozen=True)
class Trigger:
    """Who and when of a record that is to be sent; equal ones are read as a batch.

    The language is that of the configuration, see ``_for_config``.
    """

    event: str
    uid: int
    tz: str | None
    company_ids: tuple

    def _get_env(self, cr):
        context = {"tz": self.tz}
        if self.company_ids:
            context["allowed_company_ids"] = list(self.company_ids)
        return api.Environment(cr, self.uid, context, su=True)


class OutboundResult(dict):
    """What :meth:`_make_outbound_http_request` answers: a mapping and a response.

    Keys: ``success``, ``status_code``, ``message``, ``data`` (parsed JSON, else text),
    ``delivery_ids``. False in a condition unless it was a success, like the response of
    ``requests``.
    """

    def __init__(self, response=None, **values):
        super().__init__(values)
        self._response = response

    def __bool__(self):
        return bool(self["success"])

    @property
    def status_code(self):
        return self["status_code"]

    @property
    def ok(self):
        return bool(self["success"])

    @property
    def text(self):
        return self._response.text if self._response else ""

    @property
    def headers(self):
        return self._response.headers if self._response else {}

    def json(self):
        """Return the parsed answer; raise ``ValueError`` for anything but JSON."""
        return json.loads(self.text)


class BjApiSyncOutbound(models.AbstractModel):
    """Records to deliveries, and one attempt from its request to what its answer means.

    Triggers are gathered and written at the next flush of the transaction: at its end,
    and before and after each of its savepoints. So records that fire one by one, or
    several times, are read as one batch with their last values, and what is rolled back
    is not sent: Odoo drops what was gathered with the savepoint, PostgreSQL the rows.
    """

    _name = "bj.api.sync.outbound"
    _description = "API Outbound"

    # -- triggers ----------------------------------------------------------------------

    @api.model
    def _trigger(self, config, records, event):
        """Have records sent by an Out configuration once this transaction is committed.

        :param str event: ``create``, ``write``, ``unlink`` or ``manual``; what an answer
            of this configuration has changed is ``answer``, whatever it was
        """
        config_sudo = config.sudo()
        self._check_records(config_sudo, records)
        if not config_sudo.active:
            return
        method = config_sudo.http_method_ids.name
        is_deletion = event == "unlink"
        answered = self.env.cr.postcommit.data.get(ANSWERED)
        if answered and answered.config_id == config.id:
            records = self._leave_out_answered(answered, method, records)
            event = "answer"
        if not records:
            return
        if is_deletion or method == "GET":
            # The record is about to go, so all that is known of it is written now, what
            # was triggered before first.
            self._flush_triggers()
            if method == "GET":
                self._enqueue_pull(config, records)
            else:
                self._enqueue(config, records, event)
            return
        trigger = self._get_trigger(event)
        gathered = self.env.cr.precommit.data.get(TRIGGERS)
        if gathered is None:
            gathered = self.env.cr.precommit.data[TRIGGERS] = {}
            env = api.Environment(self.env.cr, SUPERUSER_ID, {})
            self.env.cr.precommit.add(env[self._name]._flush_triggers)
        if config.id not in gathered:
            gathered[config.id] = {}
            config.invalidate_recordset(["delivery_ids"], flush=False)
        by_record = gathered[config.id]
        for record_id in records.ids:
            known = by_record.get(record_id)
            # What began as a creation stays one, whatever is written to it afterwards.
            by_record[record_id] = (
                replace(trigger, event="create")
                if known and known.event == "create"
                else trigger
            )

    @api.model
    def _leave_out_answered(self, answered, method, records):
        """Return those of ``records`` that the configuration sends because of its answer.

        Not the record that was answered, which would answer its own answer for ever. Nor
        any once it is an answer already that had the delivery made: two records whose
        answers change each other would not end either. A GET that has an item written
        does not ask for that item again.
        """
        if answered.event == "answer" or method == "GET":
            return records.browse()
        return records.filtered(lambda record: record.id not in answered.res_ids)

    @api.model
    def _get_trigger(self, event):
        # A rule runs its action once a record, each time in a new environment, which would
        # look for the companies anew.
        context = self.env.context
        known = self.env.cr.precommit.data.setdefault(KNOWN, {})
        key = (
            event,
            self.env.uid,
            context.get("tz"),
            tuple(context.get("allowed_company_ids") or ()),
        )
        if key not in known:
            known[key] = Trigger(
                event,
                self.env.uid,
                context.get("tz") or self.env.user.tz or None,
                # The current one first: that is what it is taken for later.
                (self.env.company | self.env.companies)._ids,
            )
        return known[key]

    @api.model
    def _flush_triggers(self):
        """Write the deliveries that were triggered since the last flush."""
        self.env.cr.precommit.data.pop(KNOWN, None)
        gathered = self.env.cr.precommit.data.pop(TRIGGERS, None)
        if not gathered:
            return
        configs = self.env["bj.api.sync.config"].sudo().browse(gathered).exists()
        # A record is created on the other side before it is updated there.
        ranks = {c.id: METHODS.index(c.http_method_ids.name) for c in configs}
        groups = {}
        for config in configs:
            for record_id, trigger in gathered[config.id].items():
                groups.setdefault((config.id, trigger), []).append(record_id)
        for (config_id, trigger), record_ids in sorted(
            groups.items(), key=lambda group: ranks[group[0][0]]
        ):
            env = trigger._get_env(self.env.cr)
            config = configs.browse(config_id).with_env(env)
            records = env[config.model_name].browse(record_ids).exists()
            env[self._name]._enqueue(config, records, trigger.event)

    @api.model
    def _check_records(self, config_sudo, records):
        if config_sudo.request_type != "out":
            raise UserError(
                self.env._(
                    "%(config)s serves calls and sends nothing: choose a configuration "
                    "whose Request Type is Out.",
                    config=config_sudo.name,
                )
            )
        if records._name != config_sudo.model_name:
            raise UserError(
                self.env._(
                    "%(config)s sends %(expected)s, not %(got)s.",
                    config=config_sudo.name,
                    expected=config_sudo.model_name,
                    got=records._name,
                )
            )

    # -- outbox ------------------------------------------------------------------------

    @api.model
    def _enqueue(self, config, records, event, *, skip_unchanged=False):
        """Write deliveries for records in this transaction, and wake the senders.

        Records that this transaction has enqueued already get another payload instead of
        another delivery.

        :param bool skip_unchanged: leave out records about which the last delivery says
            the very same
        :return: the deliveries
        """
        self = self._for_config(config)
        deliveries = self.env["bj.api.sync.delivery"]
        config = config.with_env(self.env)
        records = self._filter_records(config, records.with_env(self.env))
        if not records:
            return deliveries
        key, is_known = self._get_transaction_key()
        own = deliveries._get_own_rows(config, key) if is_known else []
        if not self._is_batched(config):
            rows = self._build_single(config, records, own, skip_unchanged)
        elif skip_unchanged:
            rows = self._build_changed_batches(config, records, own)
        else:
            rows = self._build_batches(config, records, own)
        deliveries._update_rows(self.env, event, [row for row in rows if row.id])
        new = [row for row in rows if not row.id]
        ids = deliveries._insert_rows(config, self.env, event, new, key=key)
        if ids:
            self._wake_senders(config)
        return deliveries.browse([*(row.id for row in rows if row.id), *ids])

    @api.model
    def _for_config(self, config):
        """Return this service as superuser, in the Language of the configuration and in
        its Company if any: what is sent must not depend on who has saved the record."""
        company = config.sudo().company_id
        context = {"allowed_company_ids": company.ids} if company else {}
        lang = config.with_env(self.sudo().env)._get_lang()
        return self.sudo().with_context(**context, lang=lang)

    @api.model
    def _get_transaction_key(self):
        """Return the secret name of this transaction, and whether it was used before.

        Kept where a savepoint's rollback does not forget it. Not the number of the
        transaction, which begins anew when a database is restored elsewhere.
        """
        data = self.env.cr.postcommit.data
        is_known = TRANSACTION in data
        return data.setdefault(TRANSACTION, uuid.uuid4().hex), is_known

    @api.model
    def _filter_records(self, config, records):
        """Return the records that the Filter Domain and the Company let through."""
        domain = config._get_send_domain()
        if not domain:
            return records
        found = records.filtered_domain(domain)
        if len(found) < len(records):
            _logger.debug(
                "Configuration %s: %s of %s records are outside Filter Domain or Company",
                config.id,
                len(records) - len(found),
                len(records),
            )
        return found

    @api.model
    def _is_batched(self, config):
        # A form has no way to hold several records.
        return (
            config.is_paginated
            and config.content_type == "json"
            and config.http_method_ids.name != "GET"
        )

    @api.model
    def _build_single(self, config, records, own, skip_unchanged):
        """Return a row for each record, which may be one that this transaction has."""
        rows = self._build_rows(config, records)
        if skip_unchanged:
            unchanged = self.env["bj.api.sync.delivery"]._get_unchanged(config, rows)
            rows = [row for row in rows if row.res_id not in unchanged]
        by_record = {ids[0]: row_id for row_id, ids in own if len(ids) == 1}
        for row in rows:
            row.id = by_record.get(row.res_id, 0)
        return rows

    @api.model
    def _build_changed_batches(self, config, records, own):
        """Return full batches of the records that have something new to say.

        What each has to say is known once a batch with it is built.
        """
        rows = self._build_rows(config, records)
        unchanged = self.env["bj.api.sync.delivery"]._get_unchanged(config, rows)
        if not unchanged and not own:
            return rows
        rest = records.filtered(lambda record: record.id not in unchanged)
        return self._build_batches(config, rest, own) if rest else []

    @api.model
    def _build_batches(self, config, records, own):
        """Return the rows for records in batches; see :meth:`_build_rows`.

        Rows of this transaction that hold one of the records are built anew with all of
        theirs, and the last one takes more until it is full.
        """
        rows = []
        waiting = dict.fromkeys(records.ids)
        for row_id, ids in own:
            is_last = row_id == own[-1][0]
            if not (
                set(ids) & set(waiting) or (is_last and len(ids) < config.page_size)
            ):
                continue
            room = config.page_size - len(ids)
            more = (
                [i for i in waiting if i not in ids][: max(room, 0)] if is_last else []
            )
            for record_id in (*ids, *more):
                waiting.pop(record_id, None)
            members = records.browse([*ids, *more]).exists()
            built = self._build_rows(config, members)
            if built:
                built[0].id = row_id
            rows += built
        return rows + self._build_rows(config, records.browse(list(waiting)))

    @api.model
    def _build_rows(self, config, records):
        """Return a row per record, or per batch of records to one URL.

        What a mapping, script or placeholder does wrong is put down in the row, which
        then is a failed delivery: the save that triggered it goes on.

        :return: list of :class:`~.bj_api_sync_delivery.Row`
        """
        if not records:
            return []
        plan = self.env["bj.api.sync.config"]._get_plan(config.id)
        call = Call(config.id, "out", config.http_method_ids.name)
        self.env.flush_all()
        try:
            # No flush on the way out: it would run the transaction's other hooks early,
            # and a rollback would drop them.
            with self.env.cr.savepoint(flush=False):
                rows = self._build_rows_of(config, plan, records, call)
                self.env.flush_all()
                return rows
        except psycopg2.OperationalError:
            raise
        except Exception as error:
            self.env.transaction.clear()
            if len(records) > 1:
                rows = []
                for record in records:
                    rows += self._build_rows(config, record)
                return rows
            is_expected = isinstance(error, ApiError | UserError | ValueError)
            _logger.warning(
                "Configuration %s: nothing to send for %s: %s",
                config.id,
                records,
                describe(error),
                exc_info=not is_expected,
            )
            return [
                Row(
                    call.method,
                    "",
                    get_destination(config.url),
                    res_id=records.id,
                    error=describe(error),
                    failure=get_failure(error),
                )
            ]

    @api.model
    def _build_rows_of(self, config, plan, records, call):
        reader = self.env["bj.api.sync.reader"]
        payloads = reader._read_payloads(plan, records, call)
        draft = self._get_draft(config)
        if not self._is_batched(config):
            return [
                self._build_row(config, draft, record, data, call)
                for record, data in zip(records, payloads, strict=True)
            ]
        by_url = {}
        for record, data in zip(records, payloads, strict=True):
            url = url_tools.expand(config.url, self._get_url_values(record, data))
            by_url.setdefault(url, []).append((record.id, data))
        rows = []
        for members in by_url.values():
            for start in range(0, len(members), config.page_size):
                chunk = members[start : start + config.page_size]
                batch = records.browse([record_id for record_id, _data in chunk])
                data = [data for _record_id, data in chunk]
                row = self._build_row(config, draft, batch, data, call)
                row.record_ids = batch.ids
                row.res_id = None
                rows.append(row)
        return rows

    @api.model
    def _build_row(self, config, draft, records, data, call):
        """Return the row of one request: ``data`` is an object, or a list for a batch."""
        if call.method == "GET":
            return self._build_pull_row(config, draft, record=records, data=data)
        first = data[0] if isinstance(data, list) else data
        url_values = self._get_url_values(records[:1], first)
        params, headers = draft._get_params(), dict(draft.headers)
        if config.request_script:
            data, headers, params = self._run_request_script(
                config, records, data, headers, params, call
            )
            if isinstance(data, dict):
                url_values = {**url_values, **data}
        return self._make_row(
            draft,
            call.method,
            self._expand_url(config.url, params, url_values),
            headers,
            payload=self._dump(config, data, call.method, headers),
            res_id=records.id if len(records) == 1 else None,
        )

    @api.model
    def _get_draft(self, config):
        redactor, _limit = self.env["bj.api.log"]._get_redactor()
        return Draft(
            self._get_params(config),
            {h.name: h.value_clear or "" for h in config.header_ids if not h.is_secret},
            redactor,
        )

    @api.model
    def _make_row(self, draft, method, url, headers, **values):
        """Return a row whose URL shows no secret, and that keeps the headers which are
        not the configured ones, both sealed."""
        encrypt = self.env["bj.api.sync.secret"]._encrypt
        shown = draft.redactor.query(url or "")
        changed = {
            name: text
            for name, text in headers.items()
            if draft.headers.get(name) != text
        }
        changed.update(
            dict.fromkeys(name for name in draft.headers if name not in headers)
        )
        return Row(
            method,
            shown,
            get_destination(url),
            headers=encrypt(json.dumps(changed)) if changed else None,
            url_secret=encrypt(url) if shown != url else None,
            **values,
        )

    @api.model
    def _get_url_values(self, record, data):
        # The identifier is what a URL needs most, so the Odoo id is there without a line.
        return {"id": record.id, **(data if isinstance(data, dict) else {})}

    @api.model
    def _get_params(self, config):
        """Return ``{name: value or list of values}`` of the Parameters."""
        params = {}
        for param in config.param_ids:
            value = param._get_value()
            if param.name in params:
                known = params[param.name]
                known = known if isinstance(known, list) else [known]
                params[param.name] = [*known, value]
            else:
                params[param.name] = value
        return params

    @api.model
    def _expand_url(self, template, params, values):
        """Return the URL with placeholders filled and parameters added."""
        pairs = [
            (
                name,
                url_tools.expand(text, values, query=True)
                if isinstance(text, str)
                else text,
            )
            for name, value in params.items()
            for text in (value if isinstance(value, list) else [value])
        ]
        return url_tools.with_params(url_tools.expand(template, values), pairs)

    @api.model
    def _get_url(self, url, url_secret):
        """Return the whole URL for the two columns that it is kept in."""
        return self.env["bj.api.sync.secret"]._decrypt(url_secret) or url

    @api.model
    def _run_request_script(self, config, records, data, headers, params, call):
        script = self.env["bj.api.sync.script"]
        context = script._make_context(
            config,
            direction="out",
            records=records,
            request_data=data,
            params=params,
            headers=headers,
            method=call.method,
        )
        name = self.env._("Request Script")
        keep = convert.get_floats(data)  # those of the lines have been rounded
        value = script._run(config.request_script, "execute", context, name=name)
        data = context["request_data"] if value is NOTHING else value
        try:
            data = convert.round_floats(data, keep)
        except convert.ConvertError as error:
            raise self.env["bj.api.sync.reader"]._no_number(name, error) from error
        return data, context["headers"], context["params"]

    @api.model
    def _dump(self, config, data, method, headers):
        """Return the body as text, ``None`` for a request without one.

        What a script gives as text is sent as it is under a type that is not JSON.

        :param dict headers: those that are not secret, as the script has left them
        """
        if method == "GET":
            return None
        if method == "DELETE" and isinstance(data, dict):
            # Servers may refuse the body of a DELETE, so what the URL says already is
            # not said again.
            keys = {key.split(".")[0] for key in url_tools.placeholders(config.url)}
            if keys and not set(data) - keys:
                return None
        if isinstance(data, str | bytes):
            content_type = self._get_content_type(config, headers)
            if config.content_type == "form" or not payload.is_json_type(content_type):
                return self._check_text(data, content_type)
        if config.content_type == "form":
            return payload.dumps_form(data).decode()
        return payload.dumps(data).decode()

    @api.model
    def _get_content_type(self, config, headers):
        """Return the Content-Type that script or Headers say, JSON if they say none."""
        # What a script adds stands at the end, whatever the case of its name.
        for name, value in reversed(headers.items()):
            if name.lower() == "content-type" and value:
                return str(value)
        for header in config.header_ids:
            if header.name.lower() == "content-type" and header.is_secret:
                return header._get_value()
        return "application/json"

    @api.model
    def _check_text(self, data, content_type):
        """Return what a script has made the whole body, as a text that can be sent."""
        try:
            text = data if isinstance(data, str) else data.decode()
            text.encode()
        except UnicodeError as error:
            raise UserError(
                self.env._(
                    "Request Script: result is no text in UTF-8 (%(error)s), and nothing "
                    "else can be sent. Encode it, for example with b64encode.",
                    error=error,
                )
            ) from error
        if "\0" in text:
            raise UserError(
                self.env._(
                    "Request Script: result has the character NUL, which no delivery can "
                    "keep. Leave it out."
                )
            )
        charset = payload.get_charset(content_type)
        if charset not in ("utf-8", "utf8") and not text.isascii():
            raise UserError(
                self.env._(
                    "Request Script: result is sent in UTF-8, but Content-Type says "
                    "%(content_type)s. Change its charset to utf-8, or leave it out.",
                    content_type=content_type,
                )
            )
        return text

    @api.model
    def _wake_senders(self, config=None):
        """Have the sender start when this transaction is committed; once is enough.

        :param config: whose administrators are told if it cannot start at all
        """
        data = self.env.cr.postcommit.data
        trigger = (
            self.env["ir.cron.trigger"].sudo().browse(data.get("bj_api_sync.wake", ()))
        )
        if trigger.exists():  # a savepoint's rollback may have taken it along
            return
        cron = self.env.ref("bj_api_sync.ir_cron_send", raise_if_not_found=False)
        if cron:
            data["bj_api_sync.wake"] = cron.sudo()._trigger().ids
        if config and not (cron and cron.sudo().active):
            sender = self.env["bj.api.sync.sender"]
            problem = sender._get_scheduler_problem()
            if problem:
                sender._tell_scheduler_problem(config, problem)

    @api.model
    def _make_claim(self, config, row, event, row_id):
        """Return the claim of a row that is sent at once by who makes it."""
        return Claim(
            id=row_id,
            uuid=row.uuid,
            config_id=config.id,
            destination=row.destination,
            model=config.model_name,
            res_ids=row.ids,
            event=event,
            method=row.method,
            url=row.url,
            payload=row.payload,
            headers=row.headers,
            url_secret=row.url_secret,
            attempt_count=1,
            attempts_before=0,
            last_status_code=None,
            user_id=self.env.uid,
            lang=self.env.context.get("lang"),
            tz=self.env.context.get("tz"),
            company_id=self.env.company.id,
            page_token=row.page_token,
            sync_date=row.sync_date,
            pull_counts=row.pull_counts,
        )

    # -- one attempt -------------------------------------------------------------------

    @api.model
    def _get_target(self, config):
        """Return what sending needs of a configuration.

        :raise UserError: a secret cannot be read with the keys of this installation
        """
        config = config.sudo()
        parameters = self.env["ir.config_parameter"].sudo()
        networks = parameters.get_param("bj_api_sync.blocked_networks")
        method = config.http_method_ids.name
        headers = self._get_headers(config)
        return Target(
            config_id=config.id,
            name=config.name,
            model=config.model_name,
            method=method,
            headers=headers,
            secret_headers=tuple(config._get_secret_header_names()),
            content_type={
                "json": "application/json",
                "form": "application/x-www-form-urlencoded",
            }[config.content_type],
            signing_secrets=tuple(config._get_secret("signing_secret").split()),
            connect_timeout=config.connect_timeout,
            read_timeout=config.read_timeout,
            max_attempts=config.max_attempts,
            verify_tls=config.verify_tls,
            log_level=config.log_level,
            blocked_networks=split_list(networks)
            if networks
            else transport.DEFAULT_BLOCKED,
            max_response_bytes=MAX_PULL_BYTES if method == "GET" else 1024 * 1024,
            handles_answer=bool(
                config.response_script or config.response_field_path or method == "GET"
            ),
            credential=self._get_credential(config, headers),
            watches_arrival=self._is_watching_arrival(config),
        )

    @api.model
    def _get_headers(self, config):
        """Return the headers of a configuration, with Authorization, in clear."""
        headers = {
            "User-Agent": f"bj_api_sync/{get_manifest('bj_api_sync')['version']}",
            "Accept": "application/json",
        }
        for header in config.header_ids:
            merge(headers, {header.name: header._get_value()})
        if config.auth_type == "basic":
            login = f"{config.auth_login or ''}:{config._get_secret('auth_password')}"
            merge(headers, {"Authorization": f"Basic {b64(login)}"})
        elif config.auth_type == "bearer":
            token = config._get_secret("bearer_token")
            if token:
                # A stored token may start with the word; it is never said twice.
                token = re.sub(r"^\s*bearer\s+", "", token, flags=re.IGNORECASE)
                merge(headers, {"Authorization": f"Bearer {token.strip()}"})
        return headers

    @api.model
    def _get_credential(self, config, headers):
        """Return a name for whom requests are sent as, ``""`` for nobody.

        The same for configurations that send the same Authorization, secret headers and
        secret parameters: limits of the other side are theirs together. It tells nothing
        about the secrets.

        :param dict headers: from :meth:`_get_headers`
        """
        secret = {"authorization", *map(str.lower, config._get_secret_header_names())}
        parts = [[n.lower(), v] for n, v in headers.items() if n.lower() in secret]
        parts += [[p.name, p._get_value()] for p in config.param_ids if p.value_secret]
        if not parts:
            return ""
        text = json.dumps(sorted(parts, key=str))
        return self.env["bj.api.sync.secret"]._name_secret(text)

    @api.model
    def _prepare_request(self, claim, target, timeouts=None):
        """Return the :class:`OutboundRequest` of one attempt, signed over its bytes.

        Precedence of headers: what the sender needs to say, then what a script has set,
        then Authorization, then the Headers of the configuration, then defaults.

        :param timeouts: ``(connect, read)`` seconds instead of the configuration's
        """
        body = claim.body
        headers = {}
        if body:
            headers["Content-Type"] = target.content_type
        merge(headers, target.headers)
        if claim.headers:
            changed = json.loads(self.env["bj.api.sync.secret"]._decrypt(claim.headers))
            merge(headers, changed)
        merge(
            headers,
            {
                "X-Request-ID": get_request_id(claim),
                "Idempotency-Key": claim.uuid,
            },
        )
        if target.signing_secrets:
            now = datetime.now(timezone.utc).timestamp()
            secrets = target.signing_secrets
            merge(headers, signature.headers(secrets, claim.uuid, now, body))
        connect, read = timeouts or (target.connect_timeout, target.read_timeout)
        return OutboundRequest(
            method=claim.method,
            url=self._get_url(claim.url, claim.url_secret),
            headers=headers,
            body=body,
            connect_timeout=connect,
            read_timeout=read,
            total_timeout=connect + read + TRICKLE_SECONDS,
            verify_tls=target.verify_tls,
            blocked_networks=target.blocked_networks,
            max_response_bytes=target.max_response_bytes,
        )

    @api.model
    def _judge(self, claim, target, request, response):
        """Return what an answer means for its delivery, as a :class:`Settlement`."""
        attempt_409 = 2 if claim.last_status_code == 409 else 1
        now = datetime.now(timezone.utc)
        wait = retry.get_wait(response.status, response.headers, response.body, now)
        verdict = retry.classify(
            response.status,
            response.error_kind,
            attempt_409,
            method=claim.method,
            wait=wait,
        )
        if self._is_pull_end(claim, response):
            verdict = retry.DELIVERED
        state, delay, error = "delivered", 0.0, ""
        throttled_for = self._get_throttled_seconds(claim, response, wait, now)
        is_throttled = throttled_for is not None
        is_free = is_throttled and throttled_for < retry.FREE_SECONDS
        if verdict != retry.DELIVERED:
            error = self._explain(response)
            state = "failed"
            tries = claim.attempt_count - claim.attempts_before
            if verdict == retry.RETRY and (is_free or tries < target.max_attempts):
                state = "pending"
                delay = retry.delay(
                    tries,
                    response.status,
                    response.error_kind,
                    wait,
                    throttled_for=throttled_for or 0,
                )
        return Settlement(
            claim,
            state,
            response.status,
            error,
            delay,
            self._prepare_log(claim, target, request, response, error),
            credential=target.credential,
            wait=wait if wait is None else min(wait, retry.MAX_RETRY_AFTER),
            is_throttled=is_throttled,
            is_free=is_free,
            is_unsure=retry.is_unsure(response.status, response.error_kind),
        )

    @api.model
    def _get_throttled_seconds(self, claim, response, wait, now):
        """Return for how long a delivery has met a limit, ``None`` if it met none."""
        if not retry.is_throttled(response.status, wait):
            return None
        if not claim.throttled_date:
            return 0.0
        since = claim.throttled_date.replace(tzinfo=timezone.utc)
        return (now - since).total_seconds()

    @api.model
    def _explain(self, response):
        """Return a sentence for an attempt that failed: what happened, what to do."""
        redactor, _limit = self.env["bj.api.log"]._get_redactor()
        if response.status is None:
            return redact.storable(response.error)
        parts = [f"HTTP {response.status} {get_phrase(response.status)}."]
        location = redactor.query(response.headers.get("location", ""))
        if 300 <= response.status < 400 and location:
            location = redact.cut(location, MAX_SNIPPET)
            parts.append(
                f"Redirects are not followed; it leads to {location}. If that is right, "
                "make it the Request URL."
            )
        elif response.status in ADVICE:
            parts.append(ADVICE[response.status])
        if response.body:
            text = redactor.body(
                response.body, response.headers.get("content-type", "")
            )
            text = " ".join(text.split())[:MAX_SNIPPET]
            parts.append(f"It answered: {text}")
        return redact.storable(" ".join(parts))

    @api.model
    def _prepare_log(self, claim, target, request, response, error):
        return {
            "level": target.log_level,
            "name": f"{claim.method} {claim.model}",
            "config_id": claim.config_id,
            "company_id": claim.company_id,
            "direction": "out",
            "status": "error" if error else "success",
            "method": request.method,
            "url": request.url,
            "request_headers": request.headers,
            "request_data": request.body or None,
            "response_headers": dict(response.headers),
            "response_data": response.body or None,
            "response_code": response.status,
            "error_message": error,
            "duration": response.duration,
            "model": claim.model,
            "record_id": claim.res_ids[0] if len(claim.res_ids) == 1 else None,
            "record_count": len(claim.res_ids),
            "request_id": get_request_id(claim),
            "user_id": claim.user_id,
            "attempt": claim.attempt_count,
            "delivery_id": claim.id,
            "action": claim.event,
            "secret_headers": target.secret_headers,
            "content_type": target.content_type,
        }

    @api.model
    def _get_outcome(self, settlement, response):
        """Return what an attempt says about its host, see ``_record_outcomes``.

        That it asked to wait, or gave no way to ask, says nothing about how it does.
        """
        claim = settlement.claim
        verdict = retry.classify(
            response.status, response.error_kind, method=claim.method
        )
        if settlement.is_throttled or response.error_kind in ("invalid", "blocked"):
            ok = None
        elif response.status is None:
            ok = False
        else:
            ok = verdict != retry.RETRY or response.status == 409
        return ok, settlement.wait, claim.config_id, settlement.error

    # -- the answer --------------------------------------------------------------------

    @api.model
    def _handle_answer(self, claim, config, response):
        """Do with a good answer what the configuration says, in this transaction.

        What this changes in the records of the delivery does not trigger the
        configuration itself; see :meth:`_leave_out_answered`.

        :return: row of the next page of a pull, or its ``PullStop``, else ``None``
        :raise Exception: whatever the response script or the mapping raises
        """
        data = self.env.cr.postcommit.data
        before = data.get(ANSWERED)  # of the delivery whose script has sent this one
        data[ANSWERED] = Answered(config.id, tuple(claim.res_ids or ()), claim.event)
        try:
            service = self.with_env(self._get_answer_env(claim, config))
            return service._use_answer(claim, config, response)
        finally:
            data[ANSWERED] = before

    @api.model
    def _use_answer(self, claim, config, response):
        records = self.env[claim.model].browse(claim.res_ids).exists()
        next_row = None
        if claim.method == "GET":
            next_row = self._write_pulled(claim, config, response)
        if not response.ok:
            return next_row  # the end of a pull: nothing that a script could read
        # Without a body, as under 204, there is nothing to be written.
        if config.response_field_path and records and response.body.strip():
            without = self._filter_without_value(config, records)
            self._write_answer(claim, config, response)
            self._trigger_updates(config, without)
        if config.response_script:
            script = self.env["bj.api.sync.script"]
            context = script._make_context(
                config,
                direction="out",
                records=records,
                request_data=parse_json(claim.payload),
                headers=dict(response.headers),
                method=claim.method,
                response=ScriptResponse(response),
            )
            script._run(
                config.response_script,
                "execute",
                context,
                name=self.env._("Response Script"),
            )
        self.env.flush_all()
        return next_row

    @api.model
    def _write_answer(self, claim, config, response):
        """Write one value of the answer to the field that the configuration names.

        Nothing is written unless there is a value for each record of the delivery.
        """
        values = [
            self._get_answer_value(config, item)
            for item in self._get_answers(claim, config, response)
        ]
        *path, name = config.response_field_path.split(".")
        model = self.env[claim.model]
        known = set(model.browse(claim.res_ids).exists()._ids)
        for record_id, value in zip(claim.res_ids, values, strict=True):
            if record_id in known:
                record = model.browse(record_id)
                holder = record.mapped(".".join(path)) if path else record
                holder.write({name: value})

    @api.model
    def _get_answers(self, claim, config, response):
        """Return the part of the answer that is about each record of the delivery.

        Paired by position with all that were sent, also those that are gone by now: a
        list that is shorter or longer cannot be told apart from one that has been shifted.
        """
        try:
            answer = payload.loads(response.body)
        except ApiError as error:
            raise UserError(
                self.env._("The answer is not JSON, so there is no Answer Key in it.")
            ) from error
        count = len(claim.res_ids)
        if isinstance(answer, list) and len(answer) == count:
            return answer
        if count == 1:
            return [answer]
        if isinstance(answer, list):
            got = self.env._("a list of %(count)s", count=len(answer))
        else:
            got = translate(self.env, convert.describe(answer))
        raise UserError(
            self.env._(
                "Answer Key %(key)s: the answer to a batch of %(count)s records must be a "
                "list of %(count)s entries in the same order, but it is %(got)s. Nothing "
                "was written to %(field)s: read such an answer in the Response Script.",
                key=config.response_key or "",
                count=count,
                got=got,
                field=config.response_field_path,
            )
        )

    @api.model
    def _get_answer_value(self, config, item):
        value = mapping.take_path(item, config.response_key or "")
        if value is mapping.ABSENT:
            raise UserError(
                self.env._(
                    "The answer has no %(key)s, which should be written to %(field)s.",
                    key=config.response_key,
                    field=config.response_field_path,
                )
            )
        if isinstance(value, dict | list):
            return json.dumps(value, ensure_ascii=False)
        return value


class ScriptResponse:
    """The answer as scripts see it: plain values, nothing of ours behind them."""

    __slots__ = ("headers", "ok", "status_code", "text")

    def __init__(self, response):
        self.status_code = response.status
        self.ok = response.ok
        self.headers = dict(response.headers)
        self.text = response.text

    def json(self):
        return json.loads(self.text)


def merge(headers, more):
    """Change ``headers`` in place; names are compared in any case, ``None`` removes."""
    for name, value in more.items():
        for known in [known for known in headers if known.lower() == name.lower()]:
            del headers[known]
        if value is not None:
            headers[name] = value


def get_request_id(claim):
    """Return the name of one attempt."""
    return f"{claim.uuid}-{claim.attempt_count}"


def b64(text):
    return base64.b64encode(text.encode()).decode()


def get_destination(url):
    """Return host and port of a URL, the port only when it is unusual."""
    try:
        parts = urlsplit(url or "")
        port = parts.port
    except ValueError:
        return ""
    host = parts.hostname or ""
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return f"{host}:{port}" if port and port != usual else host


def get_phrase(status):
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def parse_json(text):
    try:
        return json.loads(text or "null")
    except ValueError:
        return text


def get_failure(error):
    """Return what a log row has of an exception beside its message."""
    found = {"line_id": getattr(error, "line_id", None) or None}
    if not isinstance(error, ApiError | UserError) or isinstance(error, ScriptError):
        found["traceback"] = "".join(traceback.format_exception(error))
    return found


def describe(error):
    """Return the message of an exception, with its class where that says something."""
    if isinstance(error, ApiError):
        return redact.storable(error.description)
    if isinstance(error, UserError):
        return redact.storable(str(error))
    return redact.storable(f"{type(error).__name__}: {error}")
