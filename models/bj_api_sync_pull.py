import json
import logging
from dataclasses import dataclass, replace

from odoo import SUPERUSER_ID, api, fields, models
from odoo.exceptions import UserError

from ..exceptions import ApiError
from ..tools import pagination
from ..tools.message import Call
from .bj_api_sync_delivery import Row
from .bj_api_sync_outbound import describe, get_destination, get_failure

_logger = logging.getLogger("bj.api.pull")

# The parameters that ask for a page, by Pagination Style.
PAGE_PARAMS = {
    "offset": ("limit", "offset"),
    "page": ("limit", "page"),
    "cursor": ("limit", "cursor"),
    "link": (),
}
NO_COUNTS = {"pages": 0, "created": 0, "updated": 0, "unchanged": 0, "errors": 0}
COUNTED = {"error": "errors"}  # where the name of a status is another one
EPOCH = "1970-01-01T00:00:00Z"
# Statuses by which page 0 may be refused without anything being wrong.
RETRIED_OR_REFUSED = (401, 403, 408, 425, 429)


@dataclass(frozen=True)
class PullStop:
    """Why a pull cannot go on after a page whose items are kept."""

    error: str
    counts: dict

    def fail(self, settlement):
        """Return the settlement of the page's delivery: failed, with nothing undone."""
        return replace(
            settlement,
            claim=replace(settlement.claim, pull_counts=self.counts),
            state="failed",
            error=self.error,
            log={**settlement.log, "status": "error", "error_message": self.error},
        )


class BjApiSyncOutbound(models.AbstractModel):
    """GET: each page is a delivery whose answer is written through the lines and enqueues
    the next page. So a pull is retried, logged and resumed like everything else."""

    _inherit = "bj.api.sync.outbound"

    @api.model
    def _enqueue_pull(self, config, records=None):
        """Have the other side asked for its list, or for each of these records.

        :return: the deliveries, none for a list while its last pull is not over
        """
        self = self._for_config(config)
        deliveries = self.env["bj.api.sync.delivery"]
        config = config.with_env(self.env)
        if records:
            records = self._filter_records(config, records.with_env(self.env))
            rows = self._build_rows(config, records)
        elif not deliveries._lock_pull(config):
            _logger.info("Configuration %s: the last pull is not over yet", config.id)
            return deliveries
        else:
            rows = [self._build_first_page(config)]
        ids = deliveries._insert_rows(config, self.env, "pull", rows)
        self._wake_senders()
        return deliveries.browse(ids)

    @api.model
    def _build_first_page(self, config):
        """Return the row that begins a pull; what a script does wrong is put down in it."""
        try:
            with self.env.cr.savepoint():
                return self._build_pull_row(config, self._get_draft(config))
        except (ApiError, UserError, ValueError) as error:
            return Row(
                "GET",
                "",
                get_destination(config.url),
                error=describe(error),
                failure=get_failure(error),
            )

    @api.model
    def _build_pull_row(
        self,
        config,
        draft,
        record=None,
        data=None,
        *,
        token=None,
        is_url=False,
        sync_date=None,
        counts=None,
    ):
        """Return the row that asks for one page.

        Parameters may say how the other side calls them: ``skip`` = ``{offset}``. Those
        that no Parameter holds are added under their own names.

        :param dict data: payload of ``record``, for placeholders
        :param str token: offset, page number, cursor or, if ``is_url``, URL of the page
        :param dict counts: of the pages before, see :meth:`_write_pulled`
        """
        params, headers = draft._get_params(), dict(draft.headers)
        values = {
            **(self._get_url_values(record, data) if record else {}),
            "last_sync_date": to_iso(config.last_sync_date),
            "limit": config.page_size,
            "offset": token or 0,
            "page": token or 1,
            "cursor": token or "",
        }
        if is_url:
            self._check_origin(token, self._expand_url(config.url, {}, values))
        self._add_page_params(config, params, values)
        if config.request_script:
            call = Call(config.id, "out", "GET")
            records = record if record else self.env[config.model_name]
            _data, headers, params = self._run_request_script(
                config, records, {}, headers, params, call
            )
        url = token if is_url else self._expand_url(config.url, params, values)
        return self._make_row(
            draft,
            "GET",
            url,
            headers,
            res_id=record.id if record else None,
            page_token=None if is_url else token,
            sync_date=sync_date or fields.Datetime.now(),
            pull_counts=counts,
        )

    @api.model
    def _check_origin(self, url, request_url):
        """Refuse to send the credentials of today to where the page before came from.

        The Request URL, and the credentials with it, may have changed in the middle of a
        pull.
        """
        if pagination.get_origin(url) != pagination.get_origin(request_url):
            raise UserError(
                self.env._(
                    "The Request URL leads to another host, port or scheme than when this "
                    "pull began, so its next page is not asked. Start the pull again."
                )
            )

    @api.model
    def _add_page_params(self, config, params, values):
        """Add the parameters that ask for a page, but for those that have other names."""
        taken = " ".join([config.url, *map(str, params.values())])
        for name in PAGE_PARAMS.get(config.pagination_style, ()):
            is_given = f"{{{name}}}" in taken or name in params
            if not is_given and (name != "cursor" or values["cursor"]):
                params[name] = str(values[name])

    # -- with whose rights -------------------------------------------------------------

    @api.model
    def _get_answer_env(self, claim, config):
        """Return the environment that the answer to a delivery is used in.

        What comes from elsewhere is written with the rights of a user, as if that user
        had called: the other side must not reach more than he does.
        """
        if claim.method != "GET":
            return self.env
        return self._get_run_as_env(config)

    @api.model
    def _get_run_as_env(self, config):
        """Return the environment of Run As, in the Company of the configuration.

        :raise UserError: there is no such user
        """
        config_sudo = config.sudo()
        user = config_sudo.user_id
        if not user or not user.active or user.id == SUPERUSER_ID:
            raise UserError(
                self.env._(
                    "%(config)s: choose in Run As an active user with whose rights items "
                    "are written; it is %(user)s now.",
                    config=config_sudo.name,
                    user=user.name or self.env._("nobody"),
                )
            )
        company = config_sudo.company_id or user.company_id
        if company not in user.company_ids:
            raise UserError(
                self.env._(
                    "%(config)s: Run As: %(user)s is not allowed in %(company)s.",
                    config=config_sudo.name,
                    user=user.name,
                    company=company.name,
                )
            )
        context = {
            "lang": config_sudo._get_lang(),
            "tz": user.tz,
            "allowed_company_ids": company.ids,
        }
        return api.Environment(self.env.cr, user.id, context, su=False)

    # -- pages -------------------------------------------------------------------------

    @api.model
    def _is_pull_end(self, claim, response):
        """Tell whether a status that is no 2xx says that a pull has come to its end.

        304 does on every page. 404 and 410 do where Odoo counts on and asks for one page
        more than there is, and so does any refusal of page 0. A page that the other side
        has announced itself is missing if it is not there.
        """
        status = response.status
        if claim.method != "GET" or status is None:
            return False
        if status == 304:
            return True
        state = (claim.pull_counts or {}).get("walk") or {}
        if not claim.is_list_pull or not state.get("number"):
            return False
        if state.get("zero"):
            return 400 <= status < 500 and status not in RETRIED_OR_REFUSED
        if status not in (404, 410):
            return False
        config = self.env["bj.api.sync.config"].sudo().browse(claim.config_id)
        return config.pagination_style in ("offset", "page")

    @api.model
    def _write_pulled(self, claim, config, response):
        """Write the items of a page, and return what comes next.

        The counts of all pages so far, and what :class:`~..tools.pagination.Walk` has to
        remember of them, go along with the next row; the log gets the counts once there
        is no next one.

        :return: row of the next page, ``None`` at the end, or :class:`PullStop`
        """
        counts = {**NO_COUNTS, **(claim.pull_counts or {})}
        counts["pages"] += int(response.ok)
        step = pagination.Step()
        plan = self.env["bj.api.sync.config"]._get_plan(config.id)
        if plan.writable or config.pagination_style:  # else a script is interested
            page = self._read_page(claim, config, plan, response)
            style = config.pagination_style if claim.is_list_pull else ""
            walk = pagination.Walk(
                style or "", config.page_size, dict(counts.get("walk") or {})
            )
            verdict = walk.see(page.items, page.facts)
            step = walk.go_on(page.facts, response.url, claim.page_token)
            if verdict == "same":
                raise UserError(self._describe_step(step, counts))
            if verdict == "new" and plan.writable:
                for result in self._write_items(claim, config, plan, page):
                    counts[COUNTED.get(result.status, result.status)] += 1
                self._log_repairs(claim, config, page, counts)
            counts["walk"] = walk.state
        if step.error:
            return PullStop(self._describe_step(step, counts), counts)
        if not claim.is_list_pull:
            return None
        if step.token is not None:
            return self._build_next_page(claim, config, step, counts)
        if claim.sync_date:
            config._update_quietly(last_sync_date=claim.sync_date)
        self._log_pull_end(claim, counts)
        return None

    @api.model
    def _build_next_page(self, claim, config, step, counts):
        """Return the row that asks for the next page, as the sender does all requests."""
        service = self.with_env(config.env)
        try:
            with self.env.cr.savepoint():
                return service._build_pull_row(
                    config,
                    service._get_draft(config),
                    token=step.token,
                    is_url=step.is_url,
                    sync_date=claim.sync_date,
                    counts=counts,
                )
        except (ApiError, UserError, ValueError) as error:
            return PullStop(describe(error), counts)

    @api.model
    def _log_pull_end(self, claim, counts=None, error=""):
        """Write the one log row that tells how a pull of a list went as a whole.

        :param dict counts: without it, those of the pages before the claimed one
        :param str error: why it ended before the last page
        """
        config = self.env["bj.api.sync.config"].sudo().browse(claim.config_id).exists()
        if not claim.is_list_pull or not config:
            return
        counts = {**NO_COUNTS, **(counts or claim.pull_counts or {})}
        error, details = self._describe_pull_end(config, counts, error)
        now = fields.Datetime.now()
        self.env["bj.api.log"]._record(
            config.log_level,
            {
                "name": self.env._("Pull: %s", config.name),
                "config_id": config.id,
                "company_id": claim.company_id,
                "direction": "out",
                "status": "error" if error else "success",
                "method": "GET",
                "url": claim.url,
                "model": config.model_name,
                "record_count": sum(counts[name] for name in NO_COUNTS)
                - counts["pages"],
                "error_message": error,
                "duration": (now - (claim.sync_date or now)).total_seconds(),
                "user_id": claim.user_id,
                "delivery_id": self._get_delivery_id(claim),
                "action": "pull",
                "details": json.dumps(details, ensure_ascii=False),
            },
        )

    @api.model
    def _describe_pull_end(self, config, counts, error):
        """Return the error and the Details of the row about a pull as a whole."""
        details = {name: counts[name] for name in NO_COUNTS}
        if counts.get("repairs"):
            details["repairs"] = counts["repairs"]
        if error:
            error = self.env._(
                "The pull ended after %(pages)s complete pages: %(error)s",
                pages=counts["pages"],
                error=error,
            )
        elif counts["errors"]:
            error = self.env._(
                "%s items could not be written, the rows of their pages say why.",
                counts["errors"],
            )
        open_count = self.env["bj.api.sync.event"]._count_open(config)
        if error and open_count:
            waiting = self.env._("%(count)s items wait in the Inbox.", count=open_count)
            error = f"{error} {waiting}"
        elif open_count:
            details["open"] = open_count
        return error, details


def to_iso(date):
    return date.strftime("%Y-%m-%dT%H:%M:%SZ") if date else EPOCH
