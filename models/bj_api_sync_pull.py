import hashlib
import json
import logging
import re

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..exceptions import ApiError
from ..tools import mapping, payload
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
# Where an answer has its list, and the cursor of the next page, when nobody says.
ROOTS = ("data", "items", "results", "records", "value")
CURSORS = (
    "next_cursor",
    "nextCursor",
    "cursor",
    "next",
    "next_page_token",
    "nextPageToken",
)
CURSOR_HOLDERS = ("", "pagination", "paging", "meta", "page_info", "pageInfo", "links")
MAX_REPORTED = 20  # failed items that a log row names
NO_COUNTS = {"pages": 0, "created": 0, "updated": 0, "unchanged": 0, "errors": 0}
COUNTED = {"error": "errors"}  # where the name of a status is another one
EPOCH = "1970-01-01T00:00:00Z"


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
        sync_date=None,
        counts=None,
    ):
        """Return the row that asks for one page.

        Parameters may say how the other side calls them: ``skip`` = ``{offset}``. Those
        that no Parameter holds are added under their own names.

        :param dict data: payload of ``record``, for placeholders
        :param str token: offset, page number, cursor or URL of the page
        :param dict counts: of the pages before, see :meth:`_write_pulled`
        """
        params, headers = draft._get_params(), dict(draft.headers)
        style = config.pagination_style
        values = {
            **(self._get_url_values(record, data) if record else {}),
            "last_sync_date": to_iso(config.last_sync_date),
            "limit": config.page_size,
            "offset": token or 0,
            "page": token or 1,
            "cursor": token or "",
        }
        taken = " ".join([config.url, *map(str, params.values())])
        for name in PAGE_PARAMS.get(style, ()):
            is_given = f"{{{name}}}" in taken or name in params
            if not is_given and (name != "cursor" or token):
                params[name] = str(values[name])
        if config.request_script:
            call = Call(config.id, "out", "GET")
            records = record if record else self.env[config.model_name]
            _data, headers, params = self._run_request_script(
                config, records, {}, headers, params, call
            )
        url = token if style == "link" and token else None
        url = url or self._expand_url(config.url, params, values)
        return self._make_row(
            draft,
            "GET",
            url,
            headers,
            res_id=record.id if record else None,
            page_token=None if style == "link" else token,  # there it is the URL
            sync_date=sync_date or fields.Datetime.now(),
            pull_counts=counts,
        )

    @api.model
    def _write_pulled(self, claim, config, response):
        """Write the items of a page, and return the row of the next one or ``None``.

        The counts of all pages so far go along with that row; the log gets them once
        there is no next one.
        """
        if response.truncated:
            raise UserError(
                self.env._("The answer is larger than 10 MiB: lower the Page Size.")
            )
        plan = self.env["bj.api.sync.config"]._get_plan(config.id)
        counts = {**NO_COUNTS, **(claim.pull_counts or {})}
        counts["pages"] += 1
        token = None
        if plan.writable or config.pagination_style:  # else a script is interested
            try:
                answer = payload.loads(response.body)
            except ApiError as error:
                raise UserError(
                    self.env._("The answer is not JSON: %s", error.description)
                ) from error
            items = self._get_items(config, answer)
            self._check_is_another_page(counts, items)
            if plan.writable and items:
                for result in self._write_items(claim, config, plan, items):
                    counts[COUNTED.get(result.status, result.status)] += 1
            token = self._get_next_token(config, claim, answer, response, len(items))
        if not claim.is_list_pull:
            return None
        if token:
            return self._build_pull_row(
                config,
                self._get_draft(config),
                token=token,
                sync_date=claim.sync_date,
                counts=counts,
            )
        if claim.sync_date:
            config._update_quietly(last_sync_date=claim.sync_date)
        self._log_pull_end(claim, counts)
        return None

    @api.model
    def _check_is_another_page(self, counts, items):
        """End a pull that gets the same page again: it would never end by itself."""
        text = json.dumps(items, sort_keys=True, default=str)
        before = counts.get("digest")
        counts["digest"] = hashlib.sha256(text.encode()).hexdigest()
        if items and before == counts["digest"]:
            raise UserError(
                self.env._(
                    "Page %(page)s is the same as the one before, so the other side does "
                    "not know the parameters that ask for a page. Check Pagination Style "
                    "and Parameters.",
                    page=counts["pages"],
                )
            )

    @api.model
    def _log_pull_end(self, claim, counts=None, error=""):
        """Write the one log row that tells how a pull of a list went as a whole.

        :param dict counts: without it, those of the pages before the claimed one
        :param str error: why it ended before the last page
        """
        config = self.env["bj.api.sync.config"].sudo().browse(claim.config_id).exists()
        if not claim.is_list_pull or not config:
            return
        counts = counts or claim.pull_counts or NO_COUNTS
        counts = {name: counts[name] for name in NO_COUNTS}
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
                "record_count": sum(counts.values()) - counts["pages"],
                "error_message": error,
                "duration": (now - (claim.sync_date or now)).total_seconds(),
                "user_id": claim.user_id,
                "delivery_id": claim.id,
                "action": "pull",
                "details": json.dumps(counts),
            },
        )

    @api.model
    def _get_items(self, config, answer):
        """Return the list in an answer: at Response Root, else where lists usually are."""
        found = answer
        if config.response_root:
            found = mapping.take_path(answer, config.response_root)
            if found is mapping.ABSENT:
                raise UserError(
                    self.env._(
                        "The answer has nothing at Response Root %s.",
                        config.response_root,
                    )
                )
        elif isinstance(answer, dict):
            lists = [answer[key] for key in ROOTS if isinstance(answer.get(key), list)]
            found = lists[0] if lists else answer
        return found if isinstance(found, list) else [found] if found else []

    @api.model
    def _write_items(self, claim, config, plan, items):
        """Write items through the lines; those that fail do not keep back the others.

        :return: the result of each
        """
        call = Call(config.id, "out", "GET")
        writer = self.env["bj.api.sync.writer"]
        asked_for = self.env[claim.model].browse(claim.res_ids).exists()
        if len(asked_for) == len(items) == 1:
            # Known by the question, whatever identifier the answer has.
            return writer._write_rows(plan, items, call, targets=[asked_for])
        results = writer._write_rows(plan, items, call, operation="pull", partial=True)
        failed = [result for result in results if result.status == "error"]
        if not failed:
            return results
        _logger.warning(
            "Configuration %s: %s of %s items could not be written",
            config.id,
            len(failed),
            len(items),
        )
        messages = [
            f"[{result.index}] {result.message}" for result in failed[:MAX_REPORTED]
        ]
        self.env["bj.api.log"]._record(
            config.log_level,
            {
                "name": self.env._("Pulled items that could not be written"),
                "config_id": config.id,
                "company_id": claim.company_id,
                "direction": "out",
                "status": "error",
                "method": "GET",
                "url": claim.url,
                "model": config.model_name,
                "record_count": len(failed),
                "error_message": "\n".join(messages),
                "user_id": self.env.uid,
                "delivery_id": claim.id,
                "action": "pull",
                "line_id": failed[0].line_id,
            },
        )
        return results

    @api.model
    def _get_next_token(self, config, claim, answer, response, count):
        """Return what asks for the next page, ``None`` after the last one."""
        style = config.pagination_style
        if style == "offset":
            offset = int(claim.page_token or 0)
            return str(offset + count) if count and count >= config.page_size else None
        if style == "page":
            page = int(claim.page_token or 1)
            return str(page + 1) if count and count >= config.page_size else None
        if style == "cursor":
            token = get_cursor(answer)
        elif style == "link":
            token = get_next_link(response.headers.get("link", ""))
        else:
            return None
        if not token or token in (claim.page_token, response.url):
            return None
        if "://" in token and get_destination(token) != claim.destination:
            # Credentials go only where the configuration says.
            raise UserError(
                self.env._(
                    "The next page is on another host, which is not asked: %s", token
                )
            )
        return token


def get_cursor(answer):
    """Return the cursor of the next page in an answer, or ``None``."""
    if not isinstance(answer, dict):
        return None
    for holder in CURSOR_HOLDERS:
        place = answer.get(holder) if holder else answer
        for name in CURSORS if isinstance(place, dict) else ():
            if isinstance(place.get(name), str | int) and place[name]:
                return str(place[name])
    return None


def get_next_link(header):
    """Return the URL of ``rel="next"`` in a ``Link`` header (RFC 8288), or ``None``."""
    for match in re.finditer(r"<([^<>]*)>([^<]*)", header):
        if re.search(r';\s*rel\s*=\s*"?[^";]*\bnext\b', match[2], re.IGNORECASE):
            return match[1]
    return None


def to_iso(date):
    return date.strftime("%Y-%m-%dT%H:%M:%SZ") if date else EPOCH
