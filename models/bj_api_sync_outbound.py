import json
import logging
import traceback
import uuid
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg2
from odoo import api, models
from odoo.exceptions import UserError

from ..exceptions import ApiError, ScriptError
from ..tools import convert, payload, redact
from ..tools import url as url_tools
from ..tools.message import Call, loads_foreign
from .bj_api_sync_delivery import (
    Claim,
    Row,
)
from .bj_api_sync_script import NOTHING

_logger = logging.getLogger("bj.api.outbound")

TRANSACTION = "bj_api_sync.transaction"


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


class BjApiSyncOutbound(models.AbstractModel):
    """Records to deliveries. What triggers them, what an attempt is made of and what is
    done with its answer is in files of their own."""

    _name = "bj.api.sync.outbound"
    _description = "API Outbound"

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
            {h.name: h._get_value() for h in config.header_ids if not h._is_secret()},
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
        if not isinstance(data, str | bytes):  # a text may be the body as it is
            reader = self.env["bj.api.sync.reader"]
            data = reader._to_jsonable(data, name, keep=keep)
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
            if header.name.lower() == "content-type" and header._is_secret():
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


def parse_json(text):
    try:
        return loads_foreign(text or "null")
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
