import math
import re
import shlex
import time

from markupsafe import escape
from odoo import api, fields, models, tools
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..compat import all_of, group_users
from ..tools import cron_state, dry_run, transport
from ..tools import url as url_tools
from ..tools.message import OutboundRequest
from .bj_api_sync_delivery import commit_unless_testing
from .bj_api_sync_progress import STEP_SECONDS

CHUNK = 500  # records of a scheduled run between two commits
CRON_SECONDS = 20  # after which a scheduled run goes on in the next call
PAUSE_ACTIVITY = "bj_api_sync.mail_activity_type_paused"
FAILED_ACTIVITY = "bj_api_sync.mail_activity_type_failed"


class BjApiSyncConfig(models.Model):
    _name = "bj.api.sync.config"
    # Whoever gets an activity follows the record, so it has to be a thread too.
    _inherit = [
        "bj.api.sync.config",
        "bj.api.sync.progress",
        "mail.thread",
        "mail.activity.mixin",
    ]

    lang = fields.Selection(
        lambda self: self.env["res.lang"].get_installed(),
        string="Language",
        compute="_compute_lang",
        store=True,
        readonly=False,
        precompute=True,
        help="Translated values are sent, and written from answers and what is fetched, "
        "in this language, whoever saves the record. Empty: that of the company.",
    )
    delivery_ids = fields.One2many(
        "bj.api.sync.delivery", "config_id", string="Deliveries"
    )
    delivery_count = fields.Integer(compute="_compute_delivery_counts")
    delivery_pending_count = fields.Integer(
        string="Waiting", compute="_compute_delivery_counts"
    )
    delivery_failed_count = fields.Integer(
        string="Failed", compute="_compute_delivery_counts"
    )
    is_paused = fields.Boolean(
        string="Paused",
        copy=False,
        readonly=True,
        help="Deliveries wait until the configuration is resumed.",
    )
    pause_reason = fields.Text(copy=False, readonly=True)
    sync_position = fields.Integer(
        copy=False, readonly=True, help="Last ID that an unfinished scheduled run sent."
    )
    sync_start_date = fields.Datetime(copy=False, readonly=True)
    server_action_ids = fields.One2many(
        "ir.actions.server",
        "bj_api_config_id",
        string="Triggers",
        groups="base.group_system",  # who else may not read server actions
    )
    trigger_count = fields.Integer(compute="_compute_trigger_count")

    @api.depends("request_type", "company_id")
    def _compute_lang(self):
        for config in self:
            if config.request_type == "out":
                config.lang = config.lang or config._get_company_lang()
            else:
                config.lang = config.lang  # of no use, and there again after a change

    def _get_company_lang(self):
        """Return the language of the Company, else of the current one, if it is used."""
        lang = (self.company_id or self.env.company).sudo().partner_id.lang
        return lang if lang in dict(self.env["res.lang"].get_installed()) else False

    def _get_lang(self):
        """Return the language to send in.

        :return: code of a language that is installed; ``False``, which reads terms as
            they are before any translation, where neither this nor the company has one
        """
        self.ensure_one()
        is_installed = self.lang in dict(self.env["res.lang"].get_installed())
        return self.lang if is_installed else self._get_company_lang()

    @api.depends("delivery_ids.state")
    def _compute_delivery_counts(self):
        groups = self.env["bj.api.sync.delivery"]._read_group(
            [("config_id", "in", self.ids)], ["config_id", "state"], ["__count"]
        )
        counts = {(config.id, state): count for config, state, count in groups}
        for config in self:
            config.delivery_pending_count = counts.get((config.id, "pending"), 0)
            config.delivery_failed_count = counts.get((config.id, "failed"), 0)
            config.delivery_count = sum(
                count
                for (config_id, _state), count in counts.items()
                if config_id == config.id
            )

    @api.depends("server_action_ids")
    def _compute_trigger_count(self):
        for config in self:
            config.trigger_count = len(config.sudo().server_action_ids)

    @api.model
    @tools.ormcache()
    def _get_answer_fields_by_model(self):
        """Return ``{model: names}`` of the fields that answers are written to.

        Also under the names of models that have these fields by ``_inherits``, or that
        they have them from. Not required ones: without a value there is no record.
        """
        configs = self.sudo().with_context(active_test=False)
        configs = configs.search(
            [("request_type", "=", "out"), ("response_field_path", "!=", False)]
        )
        origins = {
            self._get_origin(config.model_name, config.response_field_path)
            for config in configs
        }
        found = {}
        for model_name, name in origins - {None}:
            for model in self.env.registry.values():
                field = model._fields.get(name)
                if (
                    field
                    and not field.required
                    and self._get_origin(model._name, name) == (model_name, name)
                ):
                    found.setdefault(model._name, set()).add(name)
        return {model_name: frozenset(names) for model_name, names in found.items()}

    @api.model
    def _get_origin(self, model_name, name):
        """Return the model that a direct field is inherited from, and its name."""
        model = self.env.get(model_name)
        while model is not None and name in model._fields:
            field = model._fields[name]
            if not field.inherited:
                return model._name, name
            model = self.env[model._fields[field.related.split(".")[0]].comodel_name]
        return None

    @api.ondelete(at_uninstall=False)
    def _unlink_triggers(self):
        self.sudo().server_action_ids._delete_with_holders()
        # Not left to the foreign keys of both tables: they would meet in the log.
        self.env.cr.execute(
            "DELETE FROM bj_api_sync_delivery WHERE config_id = ANY(%s)", [self.ids]
        )

    # -- buttons -----------------------------------------------------------------------

    def action_open_deliveries(self):
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Deliveries"),
            "res_model": "bj.api.sync.delivery",
            "domain": [("config_id", "in", self.ids)],
            "views": [(False, "list"), (False, "form")],
        }

    def action_open_triggers(self):
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Triggers"),
            "res_model": "ir.actions.server",
            "domain": [("bj_api_config_id", "in", self.ids)],
            "views": [(False, "list"), (False, "form")],
        }

    def action_pause(self):
        self.check_access("write")
        self._pause(self.env._("Paused by %s.", self.env.user.name), tell=False)

    def action_resume(self):
        """Send what has waited meanwhile."""
        self.check_access("write")
        self._update_quietly(is_paused=False, pause_reason=None)
        self._close_activity(PAUSE_ACTIVITY)
        self.env["bj.api.sync.outbound"]._wake_senders()

    def action_run_now(self, progress=None):
        """Do now what a scheduled run does: send what matches, or pull.

        One that is stopped goes on where it was at the next scheduled run.
        """
        self.ensure_one()
        self.check_access("write")
        self._check_is_out()
        if not self.active:
            raise UserError(
                self.env._("%s is archived: unarchive it first.", self.display_name)
            )
        if self.env["bj.api.sync.delivery"]._is_neutralized():
            raise UserError(self.env._("This database is a neutralized copy."))
        if self.http_method_ids.name != "GET":
            return self._send_now(progress)
        delivery = self.env["bj.api.sync.outbound"].sudo()._enqueue_pull(self.sudo())
        if delivery.state == "failed":
            return self._notify(delivery.last_error, kind="danger", sticky=True)
        if delivery:
            return self._notify(self.env._("The pull has begun."))
        return self._notify(
            self.env._(
                "The last pull is not over yet, so no other one was begun: its Deliveries "
                "show which page it waits for."
            ),
            kind="warning",
        )

    def _send_now(self, progress):
        """Do a step of a run for a button; see :meth:`_show_progress`."""
        config = self.sudo()
        progress = progress or {
            "total": config._count_schedule(),
            "is_first": not config.last_sync_date,
            "sent": 0,
            "failed": 0,
        }
        sent, failed = config._run_step(STEP_SECONDS)
        progress["sent"] += sent
        progress["failed"] += failed
        message = self._describe_run(progress)
        if not config.sync_start_date:
            return self._notify(message)
        done = max(progress["total"] - config._count_schedule(), 0)
        later = self.env._("The next run goes on from there.")
        return self._show_progress(
            "action_run_now",
            done,
            progress["total"],
            progress,
            self._notify(f"{message} {later}"),
        )

    def _describe_run(self, progress):
        if progress["sent"] or progress["failed"]:
            message = self.env._("%s records will be sent.", progress["sent"])
        elif self.sync_scope == "modified" and not progress["is_first"]:
            message = self.env._("Nothing has changed since the last run.")
        else:
            message = self.env._("No record is to be sent: see the Filter Domain.")
        if progress["failed"]:
            failed = self.env._(
                "%s could not be built: their Deliveries say why.", progress["failed"]
            )
            message = f"{message} {failed}"
        return message

    def action_test_connection(self):
        """Make a real request and say in words how it went."""
        self.ensure_one()
        self.check_access("write")
        found = self._test_connection()
        return self._notify(
            found["message"],
            title=found["title"],
            kind="success" if found["ok"] else "danger",
            sticky=True,
        )

    def _notify(self, message, title=None, kind="success", sticky=False):
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "title": title or self.name,
                "message": message,
                "type": kind,
                "sticky": sticky,
            },
        }

    def _check_is_out(self):
        for config in self:
            if config.request_type != "out":
                raise UserError(
                    self.env._(
                        "%s serves calls and sends nothing: this is for configurations "
                        "whose Request Type is Out.",
                        config.name,
                    )
                )

    # -- synchronous send --------------------------------------------------------------

    @api.model
    def _make_outbound_http_request(
        self, record_ids=None, config_id_ref=None, timeout=None
    ):
        """Send records now and return the answer, for scripts.

        Network and HTTP failures do not raise: they are logged, and sent again by the
        queue if that may help.

        :param record_ids: recordset of any number, id or list of ids; none for a GET
        :param config_id_ref: configuration, its id or its XML id; ``self`` if not given
        :param timeout: seconds, or a pair for connecting and reading
        :return: :class:`~.bj_api_sync_outbound.OutboundResult`, for the last request
        :raise UserError: the configuration or the records do not fit
        """
        config = self._resolve_config(config_id_ref)
        config._check_is_out()
        model = self.env[config.model_name]
        if record_ids is None or record_ids is False:
            records = model
        elif isinstance(record_ids, models.BaseModel):
            records = record_ids
        else:
            ids = [record_ids] if isinstance(record_ids, int) else list(record_ids)
            records = model.browse(ids)
        return self.env["bj.api.sync.sender"]._send_now(config, records, timeout)

    def _resolve_config(self, reference):
        if not reference:
            config = self
        elif isinstance(reference, models.BaseModel):
            config = reference
        elif isinstance(reference, str) and not reference.isdigit():
            config = self.env.ref(reference, raise_if_not_found=False)
        else:
            config = self.browse(int(reference)).sudo().exists()
        if not config or config._name != self._name or len(config) != 1:
            raise UserError(
                self.env._(
                    "Which API configuration is meant? %(reference)s is not exactly one.",
                    reference=reference or self,
                )
            )
        return config.sudo()  # the code may be run by anybody who has its button

    # -- schedule ----------------------------------------------------------------------

    def _run_schedule(self, seconds=None):
        """Send what the Filter Domain matches and what has changed since the last run.

        A run that does not end within ``seconds`` goes on in the next call, after the
        last record it has sent; a scheduled action is called again at once.

        :param seconds: without it, a scheduled action takes 20, anything else no end
        :return: number of records that are to be sent, or of pulls that were begun
        """
        sent, _failed = self._run_step(seconds)
        return sent

    def _run_step(self, seconds=None):
        """As :meth:`_run_schedule`, and how many records could not be built besides."""
        self.ensure_one()
        outbound = self.env["bj.api.sync.outbound"]._for_config(self)
        self = self.with_env(outbound.env)
        if not self.active:
            return 0, 0
        if self.http_method_ids.name == "GET":
            return len(outbound._enqueue_pull(self)), 0
        # Not the context alone, which callers and scripts make up.
        cron_id = self.env.context.get("cron_id")
        is_cron = bool(cron_id) and cron_id == cron_state.get_cron_id()
        if seconds is None:
            seconds = CRON_SECONDS if is_cron else math.inf
        start = time.monotonic()
        if not self.sync_start_date:
            self._update_quietly(sync_start_date=self._get_watermark(), sync_position=0)
        domain = self._get_schedule_domain()
        model = self.env[self.model_name].sudo()
        only_changed = self.sync_scope == "modified"
        sent = failed = 0
        while True:
            records = model.search(
                [*domain, ("id", ">", self.sync_position)], order="id", limit=CHUNK
            )
            made = outbound._enqueue(
                self, records, "schedule", skip_unchanged=only_changed
            )
            made.fetch(["state", "res_ids"])  # and not all the payloads
            broken = made.filtered(lambda delivery: delivery.state == "failed")
            # A batch of this transaction may hold records of the part before it.
            sent += len(
                {i for d in made - broken for i in d.res_ids} & set(records.ids)
            )
            failed += sum(len(delivery.res_ids) for delivery in broken)
            if len(records) < CHUNK:
                break
            self._update_quietly(sync_position=records[-1].id)
            if is_cron:
                commit_unless_testing(self.env.cr)
                self.env.invalidate_all()
            if time.monotonic() - start > seconds:
                if is_cron:
                    self.env["ir.cron"].browse(cron_id)._trigger()
                return sent, failed
        self._update_quietly(
            last_sync_date=self.sync_start_date, sync_start_date=None, sync_position=0
        )
        return sent, failed

    def _count_schedule(self):
        """Return how many records a run has before it, from where the last one ended."""
        self = self.with_env(self.env["bj.api.sync.outbound"]._for_config(self).env)
        domain = [*self._get_schedule_domain(), ("id", ">", self.sync_position)]
        return self.env[self.model_name].sudo().search_count(domain)

    def _get_send_domain(self):
        """Return the Filter Domain, and that records are of the Company or of none."""
        domain = self.env["bj.api.sync.script"]._eval_domain(self, self.env.user)
        model = self.env[self.model_name]
        holders = [model._fields.get(name) for name in ("company_id", "company_ids")]
        if self.company_id and any(
            field
            and field.comodel_name == "res.company"
            and field._description_searchable
            for field in holders
        ):
            return all_of(domain, model._check_company_domain(self.company_id))
        return domain

    def _get_schedule_domain(self):
        domain = self._get_send_domain()
        fields_known = self.env[self.model_name]._fields
        if (
            self.sync_scope == "modified"
            and self.last_sync_date
            and "write_date" in fields_known
        ):
            return all_of(domain, [("write_date", ">=", self.last_sync_date)])
        return domain

    def _get_watermark(self):
        """Return the moment before which everything written is visible to us.

        ``write_date`` is when a transaction began. One that is still running now will
        commit changes that look older than this run, so the next run begins with the
        oldest transaction of today.
        """
        self.env.cr.execute(
            """SELECT GREATEST(
                   timezone('UTC', LEAST(now(), min(xact_start))),
                   timezone('UTC', now()) - interval '1 day')
               FROM pg_stat_activity
               WHERE datname = current_database() AND backend_type = 'client backend'"""
        )
        return self.env.cr.fetchone()[0]

    def _update_quietly(self, **vals):
        """Write columns that no mapping depends on, without dropping compiled plans."""
        self.env.cr.execute(
            SQL(
                "UPDATE bj_api_sync_config SET %s WHERE id IN %s",
                SQL(", ").join(
                    SQL("%s = %s", SQL.identifier(name), value)
                    for name, value in vals.items()
                ),
                tuple(self.ids) or (0,),
            )
        )
        self.invalidate_recordset(list(vals), flush=False)

    # -- pause -------------------------------------------------------------------------

    def _pause(self, reason, tell=True):
        self._update_quietly(is_paused=True, pause_reason=reason)
        if tell:
            for config in self.exists():
                config._open_activity(
                    PAUSE_ACTIVITY,
                    self.env._("%s is paused", config.name),
                    self.env._(
                        "The other side answered that the address is gone for good, so "
                        "nothing is sent until the configuration is resumed: %s",
                        reason,
                    ),
                )

    def _open_activity(self, activity_type, summary, note):
        """Give each administrator an activity, unless there is one already.

        :param str note: text; it may have words of the other side, so no HTML
        """
        config_sudo = self.sudo().exists()
        if not config_sudo or config_sudo.activity_search([activity_type]):
            return
        users = group_users(self.env.ref("base.group_system").sudo())
        for user in users.filtered(lambda user: user.active and not user.share):
            config_sudo.with_context(mail_activity_quick_update=True).activity_schedule(
                activity_type,
                summary=summary,
                note=escape(note),
                user_id=user.id,
            )

    def _close_activity(self, activity_type):
        self.sudo().exists().activity_unlink([activity_type])

    def _tell_failure(self, error):
        """Tell administrators that a delivery has failed for good, once until all are
        mended; see :meth:`_forget_failures`."""
        activity_type = self.env.ref(FAILED_ACTIVITY, raise_if_not_found=False)
        if not activity_type:
            return
        # Writes the row, so that of two senders one is repeated and then sees what the
        # other one has told.
        self.env.cr.execute(
            """UPDATE bj_api_sync_config c SET is_paused = is_paused
               WHERE id IN %s AND NOT EXISTS (
                   SELECT FROM mail_activity
                   WHERE res_model = %s AND res_id = c.id AND activity_type_id = %s
                     AND active)
               RETURNING id""",
            [tuple(self.ids) or (0,), self._name, activity_type.id],
            log_exceptions=False,
        )
        for config in self.browse(row_id for (row_id,) in self.env.cr.fetchall()):
            config._open_activity(
                FAILED_ACTIVITY,
                self.env._("Deliveries of %s have failed", config.sudo().name),
                self.env._(
                    "They are not sent again by themselves. Mend the cause, then press "
                    "Send Again or Rebuild and Send in its Deliveries: %s",
                    error,
                ),
            )

    def _forget_failures(self):
        """Close what :meth:`_tell_failure` has opened where no delivery is failed."""
        failed = self.env["bj.api.sync.delivery"]._read_group(
            [("config_id", "in", self.ids), ("state", "=", "failed")], ["config_id"]
        )
        (self - self.browse(config.id for (config,) in failed))._close_activity(
            FAILED_ACTIVITY
        )

    # -- preview and test --------------------------------------------------------------

    def _preview_outbound(self, record):
        """Return what would be sent for a record, as values that JSON can hold.

        :return: ``{"method", "url", "headers", "payload", "error", "curl"}``; secret
            headers are masked
        """
        self.ensure_one()
        self._check_is_out()
        outbound = self.env["bj.api.sync.outbound"]._for_config(self)
        config = self.with_env(outbound.env)
        rows = outbound._build_rows(config, record.with_env(outbound.env))
        if not rows:
            return {"error": self.env._("Nothing is sent for this record.")}
        row = rows[0]
        target = outbound._get_target(config)
        claim = outbound._make_claim(config, row, "manual", 0)
        request = outbound._prepare_request(claim, target)
        redactor, _limit = self.env["bj.api.log"]._get_redactor(target.secret_headers)
        headers = redactor.headers(request.headers)
        url = redactor.query(request.url or config.url)
        return {
            "method": request.method,
            "url": url,
            "headers": headers,
            "payload": row.payload or "",
            "error": row.error,
            "curl": to_curl(request.method, url, headers, row.payload),
        }

    def _test_connection(self):
        """Make a real request without a body (HEAD, else OPTIONS, else GET).

        :return: what ``transport.probe`` gives, with ``title`` and ``message``
        """
        self.ensure_one()
        self._check_is_out()
        outbound = self.env["bj.api.sync.outbound"].sudo()
        if self.env["bj.api.sync.delivery"]._is_neutralized():
            raise UserError(self.env._("This database is a neutralized copy."))
        if dry_run.is_marked():
            raise UserError(self.env._("Not sent: dry run"))
        target = outbound._get_target(self)
        request = OutboundRequest(
            "HEAD",
            self._get_sample_url(),
            target.headers,
            connect_timeout=target.connect_timeout,
            read_timeout=target.read_timeout,
            total_timeout=target.total_timeout,
            verify_tls=target.verify_tls,
            blocked_networks=target.blocked_networks,
        )
        found = transport.probe(request)
        lines = [
            f"{'✓' if step['ok'] else '✗'} {step['name']}: {step['detail']} ({step['ms']:g} ms)"
            for step in found["steps"]
        ]
        advice = self._get_advice(found)
        if advice:
            lines.append(advice)
        found["title"] = (
            self.env._("%s can be reached", request.url)
            if found["ok"]
            else self.env._("%s cannot be used", request.url)
        )
        found["message"] = "\n".join(lines)
        self._log_test(target, request, found, advice)
        return found

    def _log_test(self, target, request, found, advice):
        self.env["bj.api.log"]._record(
            self.log_level,
            {
                "name": "Test Connection",
                "config_id": self.id,
                "company_id": self.company_id.id,
                "direction": "out",
                "status": "success" if found["ok"] else "error",
                "method": found["method"],
                "url": request.url,
                "request_headers": request.headers,
                "response_headers": found["headers"],
                "response_code": found["status"],
                "error_message": found["error"] or ("" if found["ok"] else advice),
                "duration": found["ms"] / 1000,
                "user_id": self.env.uid,
                "action": "test",
                "secret_headers": target.secret_headers,
            },
        )

    def _get_sample_url(self):
        """Return the URL with placeholders filled from any record that would be sent."""
        if not url_tools.placeholders(self.url):
            return self.url
        outbound = self.env["bj.api.sync.outbound"]._for_config(self)
        config = self.with_env(outbound.env)
        record = outbound.env[self.model_name].search(
            config._get_send_domain(), limit=1
        )
        with dry_run.marked():  # a Request Script may send something else
            rows = outbound._build_rows(config, record)
        if rows and not rows[0].error:
            return outbound._get_url(rows[0].url, rows[0].url_secret)
        return re.sub(r"\{[^{}/?#\s]+\}", "1", self.url)

    def _get_advice(self, found):
        """Return what to do about the outcome of a test, ``""`` when it is fine."""
        status = found["status"]
        if found["ok"]:
            return ""
        if status in (401, 403):
            return self.env._(
                "The other side refuses the credentials: check Authorization and Headers."
            )
        if status == 404:
            return self.env._(
                "The host answers, but not under this path: check the Request URL."
            )
        if status and 300 <= status < 400:
            return self.env._(
                "It leads to %s: make that the Request URL if it is right.",
                found["headers"].get("location", "?"),
            )
        if status in (405, 501):
            return self.env._(
                "The host answers, but knows none of HEAD, OPTIONS and GET here. That is "
                "fine for an address that only takes %s.",
                self.http_method_ids.name,
            )
        if status and status < 500:
            return self.env._(
                "The host answers, but refuses a request without data. That is fine for an "
                "address that wants a %s with data: send a record.",
                self.http_method_ids.name,
            )
        if status:
            return self.env._(
                "The other side has a problem of its own: ask its operator."
            )
        return ""


def to_curl(method, url, headers, body):
    """Return a command line that sends the same, whatever a stranger may have sent."""
    # With -X HEAD, curl would wait for a body that does not come.
    verb = ["--head"] if method == "HEAD" else ["-X", shlex.quote(method)]
    parts = ["curl", *verb, shlex.quote(url)]
    for name, value in headers.items():
        parts += ["-H", shlex.quote(f"{name}: {value}")]
    if body:
        # Not --data-binary: of a body that begins with @ it would send the file.
        parts += ["--data-raw", shlex.quote(body)]
    return " ".join(parts)
